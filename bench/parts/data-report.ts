/** The report of the data-bound part. */
import type { AnswerFigures } from '../support/answers.ts';
import type { CopyFigure } from '../support/copy.ts';
import { BUSY_EMULATOR } from '../support/emulator.ts';
import { goal, type PartResult } from '../support/report.ts';
import { megabytes, millis, percent, seconds, whole } from '../support/text.ts';
import type { DataFigures } from './data.ts';

/** The measured limits. */
export interface Measured {
  readonly copyOne: CopyFigure;
  readonly copyTwo: CopyFigure;
  readonly answers: AnswerFigures;
  readonly loopbackMs: number;
  readonly copyBytes: number;
  readonly psql: string | undefined;
}

const MOST_RATIO = 1.25;
const MOST_RSS_BYTES = 200e6;
const MOST_DELAY_MS = 100;

export function presentData(figures: DataFigures): PartResult<DataFigures> {
  const { rows, wallMs, cpuMs, copyOne, copyTwo, answers, sharedCpuMs, loopDelayMs, peakRssBytes } = figures;
  const rate = (ms: number): string => `${whole(rows / (ms / 1_000))} rows/s`;
  const client = figures.psql === null ? 'COPY by the driver, encoded beforehand' : 'COPY by psql';
  const limit = (name: string, ms: number): string[] => [
    name,
    seconds(ms),
    rate(ms),
    (wallMs / ms).toFixed(2),
  ];
  const allCpuMs = cpuMs.sync + cpuMs.emulator + (cpuMs.server ?? 0);
  return {
    title: `Data-bound: ${figures.days} days, ${whole(rows)} rows, 200 ms a call`,
    figures,
    tables: [
      {
        title: `The synchronisation, concurrency ${figures.concurrency}`,
        columns: ['time', 'rows/s', 'peak memory', 'event-loop delay p50', 'p99', 'most'],
        rows: [
          [
            seconds(wallMs),
            whole(figures.rowsPerSecond),
            megabytes(peakRssBytes),
            ...[loopDelayMs.p50, loopDelayMs.p99, loopDelayMs.max].map(millis),
          ],
        ],
      },
      {
        title: 'The limits, measured in the same run',
        columns: ['limit', 'time', 'rate', 'ours against it'],
        rows: [
          limit(`${client}, one connection`, copyOne.wallMs),
          limit(`${client}, two connections`, copyTwo.wallMs),
          limit('JSON.parse of the answers', answers.parseMs),
          limit(`loopback transfer of ${megabytes(answers.wireBytes)}`, figures.loopbackMs),
          ...(sharedCpuMs === null
            ? []
            : [limit(`CPU of COPY’s server side, parse and emulator ÷ ${figures.cores} cores`, sharedCpuMs)]),
        ],
      },
      {
        title: 'CPU time during the median run',
        columns: ['process', 'CPU', 'of all cores'],
        rows: [
          ...(
            [
              ['synchronisation', cpuMs.sync],
              ['emulator', cpuMs.emulator],
              ['PostgreSQL', cpuMs.server],
              ['together', allCpuMs],
            ] as const
          ).flatMap(([name, ms]) =>
            ms === null ? [] : [[name, seconds(ms), percent(ms / (wallMs * figures.cores))]],
          ),
        ],
      },
    ],
    goals: [
      goal(
        'Data-bound, roofline ratio',
        `≤ ${MOST_RATIO}`,
        figures.rooflineRatio.toFixed(2),
        figures.rooflineRatio <= MOST_RATIO,
      ),
      goal(
        'Data-bound, peak memory',
        `< ${megabytes(MOST_RSS_BYTES)}`,
        megabytes(peakRssBytes),
        peakRssBytes < MOST_RSS_BYTES,
      ),
      goal(
        'Data-bound, event-loop delay p99',
        `< ${MOST_DELAY_MS} ms`,
        millis(loopDelayMs.p99),
        loopDelayMs.p99 < MOST_DELAY_MS,
      ),
    ],
    notes: notesOf(figures),
  };
}

function notesOf(figures: DataFigures): string[] {
  const { answers, copyOne, emulatorBusyShare, psql } = figures;
  const busy = percent(emulatorBusyShare);
  return [
    `Roofline ratio ${figures.rooflineRatio.toFixed(2)}: our time over the largest limit. With the quicker of the two COPYs in place of both it is ${figures.strictRatio.toFixed(2)}.`,
    `The ${answers.answers} answers are ${megabytes(answers.jsonBytes)} of JSON, ${megabytes(answers.wireBytes)} on the wire; undoing gzip takes ${seconds(answers.gunzipMs)} more, which no limit counts. COPY’s text is ${megabytes(figures.copyBytes)}.`,
    'Answers were made and compressed beforehand, in a run that is not counted. ' +
      (emulatorBusyShare > BUSY_EMULATOR
        ? `**The emulator was the bottleneck nevertheless**: its thread was busy ${busy} of the time.`
        : `The emulator’s thread was busy ${busy} of the time: it was not the bottleneck.`),
    psql === null
      ? 'There is no psql here: COPY was fed by the driver from files in COPY’s own format, CPU of that process not counted.'
      : `COPY by ${psql}, from files in COPY’s own format.`,
    copyOne.serverCpuMs === null
      ? 'This system does not tell the CPU time of PostgreSQL’s processes: the limit of the shared cores is left out.'
      : `COPY on one connection took ${seconds(copyOne.serverCpuMs)} of PostgreSQL’s CPU time.`,
    `Times of the runs: ${figures.wallMsOfRuns.map(seconds).join(', ')}.`,
    'Peak memory is the operating system’s figure for the whole process; the largest of the runs. The event-loop delay is what Node’s histogram has beyond its own interval of 2 ms.',
  ];
}
