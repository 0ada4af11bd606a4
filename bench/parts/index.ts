import type { BenchContext } from '../support/context.ts';
import type { PartResult } from '../support/report.ts';
import { control } from './control.ts';
import { data } from './data.ts';
import { growth } from './growth.ts';
import { latency } from './latency.ts';
import { peers } from './peers.ts';
import { questions } from './questions.ts';
import { quota } from './quota.ts';

/** The parts of the bench by name, in the order of the report. */
export const PARTS: Readonly<Record<string, (context: BenchContext) => Promise<PartResult>>> = {
  latency,
  data,
  quota,
  peers,
  control,
  growth,
  questions,
};
