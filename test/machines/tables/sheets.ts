/**
 * The tables of all machines in one form, to be asked by whoever wants to know whether a machine is the one that they
 * describe: the test of the tables, and those that look for faults which nobody notices.
 */
import { readFileSync } from 'node:fs';
import type { AnyStateMachine, EventFromLogic, EventObject, InputFrom, SnapshotFrom } from 'xstate';
import { batchWorkerMachine } from '../../../src/machines/batch-worker/batch-worker.ts';
import { concurrencyControllerMachine } from '../../../src/machines/concurrency/concurrency-controller.ts';
import { coordinatorMachine } from '../../../src/machines/coordinator/coordinator.ts';
import { leaseKeeperMachine } from '../../../src/machines/lease-keeper/lease-keeper.ts';
import type { ControlEvent, GrantEvent, LimiterEvent, WorkerReport } from '../../../src/machines/messages.ts';
import { rateLimiterMachine } from '../../../src/machines/rate-limiter/rate-limiter.ts';
import { runLifeMachine } from '../../../src/machines/run-life/run-life.ts';
import { verificationMachine } from '../../../src/machines/verification/verification.ts';
import { createBystander } from '../support/refs.ts';
import * as worker from './batch-worker.ts';
import { TABLE as WORKER_TABLE } from './batch-worker-table.ts';
import * as controller from './concurrency-controller.ts';
import { TABLE as CONTROLLER_TABLE } from './concurrency-controller-table.ts';
import * as coordinator from './coordinator.ts';
import { TABLE as COORDINATOR_TABLE } from './coordinator-table.ts';
import * as keeper from './lease-keeper.ts';
import { TABLE as KEEPER_TABLE } from './lease-keeper-table.ts';
import * as limiter from './rate-limiter.ts';
import { TABLE as LIMITER_TABLE } from './rate-limiter-table.ts';
import * as life from './run-life.ts';
import { TABLE as LIFE_TABLE, VARIANTS as LIFE_VARIANTS } from './run-life-table.ts';
import { type Answer, answerOf, beginningOf, type Expected, stateOf } from './table.ts';
import * as verification from './verification.ts';
import { TABLE as VERIFICATION_TABLE } from './verification-table.ts';

export const MACHINE_NAMES = [
  'batch worker',
  'rate limiter',
  'concurrency controller',
  'lease keeper',
  'coordinator',
  'run life',
  'verification',
] as const;
export type MachineName = (typeof MACHINE_NAMES)[number];

/** The machine, brought into each situation. */
interface Built {
  readonly situations: readonly string[];
  readonly state: (situation: string) => string;
  readonly answer: (situation: string, name: string) => Answer;
}

export interface Sheet {
  readonly title: MachineName;
  /** Those that have a row in the table: states, and states when something else is known, `running, halting`. */
  readonly tabled: readonly string[];
  /** By the names of the table's columns. */
  readonly columns: Readonly<Record<string, EventObject>>;
  /** Those, and others that have no column. */
  readonly events: Readonly<Record<string, EventObject>>;
  readonly expected: (situation: string, name: string) => Expected<string>;
  readonly beginning: () => Answer;
  readonly build: () => Built;
}

type Row = Readonly<Partial<Record<string, Expected<string>>>>;

function sheetOf<M extends AnyStateMachine>(
  title: MachineName,
  machine: M,
  input: InputFrom<M>,
  states: () => Readonly<Record<string, SnapshotFrom<M>>>,
  cases: Readonly<Record<string, EventFromLogic<M>>>,
  table: Readonly<Record<string, Row>>,
  further: Readonly<Record<string, EventFromLogic<M>>> = {},
): Sheet {
  const events = { ...cases, ...further };
  const found = <T>(record: Readonly<Record<string, T>>, key: string): T => {
    const value = record[key];
    if (value === undefined) throw new Error(`the table of the ${title} knows no "${key}"`);
    return value;
  };
  return {
    title,
    tabled: Object.keys(table),
    columns: cases,
    events,
    expected: (situation, name) => found(table, situation)[name] ?? 'ignored',
    beginning: () => beginningOf(machine, input),
    build: () => {
      const built = states();
      return {
        situations: Object.keys(built),
        state: (situation) => stateOf(found(built, situation)),
        answer: (situation, name) => answerOf(machine, found(built, situation), found(events, name)),
      };
    },
  };
}

/** `running, halting` → `running`. */
export const baseOf = (situation: string): string => situation.replace(/, .*/, '');

/** All tables, by machine. The neighbours that the machines speak to are real actors, which hold nothing. */
export function createSheets(): Readonly<Record<MachineName, Sheet>> {
  const toLimiter = createBystander<LimiterEvent>('limiter', () => {});
  const toCoordinator = createBystander<WorkerReport>('coordinator', () => {});
  const toControlled = createBystander<ControlEvent>('coordinator', () => {});
  const toClient = createBystander<GrantEvent>('client', () => {});
  const workerInput = {
    workerId: 'w0',
    assignmentId: 'run:w0.0',
    coordinator: toCoordinator.ref,
    limiter: toLimiter.ref,
    scopes: ['site:a'],
    backoff: { baseMs: 100, maxMs: 1_000 },
  };
  return {
    'batch worker': sheetOf(
      'batch worker',
      batchWorkerMachine,
      workerInput,
      () => worker.fixture(workerInput),
      worker.CASES,
      WORKER_TABLE,
    ),
    'rate limiter': sheetOf(
      'rate limiter',
      rateLimiterMachine,
      limiter.input,
      () => limiter.fixture(toClient.ref),
      limiter.casesFor(toClient.ref),
      LIMITER_TABLE,
    ),
    'concurrency controller': sheetOf(
      'concurrency controller',
      concurrencyControllerMachine,
      controller.inputFor(toControlled.ref),
      () => controller.fixture(controller.inputFor(toControlled.ref)),
      controller.CASES,
      CONTROLLER_TABLE,
      controller.FURTHER,
    ),
    'lease keeper': sheetOf(
      'lease keeper',
      leaseKeeperMachine,
      keeper.INPUT,
      () => keeper.fixture(),
      keeper.CASES,
      KEEPER_TABLE,
    ),
    coordinator: sheetOf(
      'coordinator',
      coordinatorMachine,
      coordinator.inputFor(toLimiter.ref),
      () => coordinator.fixture(coordinator.inputFor(toLimiter.ref)),
      coordinator.CASES,
      COORDINATOR_TABLE,
      coordinator.FURTHER,
    ),
    'run life': sheetOf(
      'run life',
      runLifeMachine,
      life.INPUT,
      () => {
        const { states, variants } = life.statesOf(runLifeMachine);
        return { ...states, ...variants };
      },
      life.CASES,
      { ...LIFE_TABLE, ...LIFE_VARIANTS },
    ),
    verification: sheetOf(
      'verification',
      verificationMachine,
      verification.inputFor(toLimiter.ref),
      () => verification.fixture(verification.inputFor(toLimiter.ref)),
      verification.CASES,
      VERIFICATION_TABLE,
    ),
  };
}

const BEGINNING = 'as it begins';

/** An answer as it is written down: in words what no table has, and the seal for all the rest. */
function recordOf({ outcome, keeps, seal }: Answer, isTabled: boolean): string {
  if (outcome === 'ignored') return '';
  const words = [...(isTabled ? [] : outcome), ...(keeps === '' ? [] : [`keeps ${keeps}`])];
  return [...words, `#${seal}`].join(' · ');
}

/** What is written down beside the table, of every event in every situation. */
export function recordText({ build, tabled, columns, events, beginning }: Sheet): string {
  const built = build();
  const isTabled = (situation: string, name: string): boolean =>
    tabled.includes(situation) && Object.hasOwn(columns, name);
  const lines = built.situations.flatMap((situation) => {
    const records = Object.keys(events)
      .map((name) => [name, recordOf(built.answer(situation, name), isTabled(situation, name))] as const)
      .filter(([, record]) => record !== '');
    return [situation, ...records.map(([name, record]) => `  ${name} → ${record}`), ''];
  });
  return [`${BEGINNING} → ${recordOf(beginning(), false)}`, '', ...lines].join('\n');
}

export const recordFile = (title: MachineName): URL =>
  new URL(`records/${title.replaceAll(' ', '-')}.txt`, import.meta.url);

/** What is written down, asked by situation and case. */
type Records = (situation: string, name: string) => string;

export function readRecords(title: MachineName): Records {
  const written = new Map<string, string>();
  let situation = '';
  for (const line of readFileSync(recordFile(title), 'utf8').split('\n')) {
    const [name, record] = line.trim().split(' → ');
    if (name === undefined || record === undefined) situation = line;
    else written.set(`${situation} ${name}`, record);
  }
  return (at, name) => written.get(`${at} ${name}`) ?? '';
}

/** The first cell in which the machine is not what its table and its records say; undefined when it is. */
export function firstDifference(
  { tabled, columns, events, expected, beginning, build }: Sheet,
  records: Records,
): string | undefined {
  const begun = recordOf(beginning(), false);
  if (begun !== records('', BEGINNING)) return `${BEGINNING}: ${begun}`;
  const built = build();
  for (const situation of built.situations) {
    const state = built.state(situation);
    if (state !== baseOf(situation)) return `what should be "${situation}" is "${state}"`;
    for (const name of Object.keys(events)) {
      const answer = built.answer(situation, name);
      const isTabled = tabled.includes(situation) && Object.hasOwn(columns, name);
      const is = JSON.stringify(answer.outcome);
      if (isTabled && is !== JSON.stringify(expected(situation, name))) return `${situation}, ${name}: ${is}`;
      const record = recordOf(answer, isTabled);
      if (record !== records(situation, name)) return `${situation}, ${name}: ${record}`;
    }
  }
  return undefined;
}
