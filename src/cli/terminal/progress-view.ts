import type { Clock } from '../../domain/clock.ts';
import { count, counted, roughDuration } from '../../report/render.ts';
import type { Progress, ProgressState } from '../../sync/types.ts';
import type { Output } from './output.ts';

/** Minimum interval between lines without a terminal. A change of state is shown without delay. */
const PLAIN_INTERVAL_MS = 5_000;
/** Redraw interval on a terminal. */
const LIVE_INTERVAL_MS = 100;
const MAX_BAR_WIDTH = 40;

/** Shows progress on standard error: a bar on a terminal, plain lines elsewhere. */
export interface ProgressView {
  update(progress: Progress): void;
  /** Removes the bar. */
  end(): void;
}

export function createProgressView(output: Output, clock: Clock): ProgressView {
  return output.isTerminal ? createBar(output, clock) : createLines(output, clock);
}

function createBar(output: Output, clock: Clock): ProgressView {
  let drawnAtMs = Number.NEGATIVE_INFINITY;
  return {
    update(progress) {
      if (clock.now() - drawnAtMs < LIVE_INTERVAL_MS) return;
      drawnAtMs = clock.now();
      output.live(barLines(progress, output));
    },
    end: () => output.live([]),
  };
}

function barLines(progress: Progress, { columns, noteColours }: Output): string[] {
  const { slicesDone, slicesPlanned } = progress;
  const share = slicesPlanned === 0 ? 0 : slicesDone / slicesPlanned;
  const figures = [
    `${count(progress.daysDone)} of ${counted(progress.daysPlanned, 'day')}`,
    `${percent(share)}`,
    timeLeft(progress),
  ];
  const head = figures.filter((text) => text !== '').join('  ');
  const width = Math.max(8, Math.min(MAX_BAR_WIDTH, columns() - head.length - 6));
  const filled = Math.round(width * share);
  const bar = noteColours.cyan('█'.repeat(filled)) + noteColours.dim('░'.repeat(width - filled));
  const rows = `${counted(progress.rows, 'row')}  ${count(progress.rowsPerSecond)} rows/s`;
  const detail = `  ${rows}  ${quotaUsed(progress)}  ${counted(progress.retries, 'retry', 'retries')}`;
  const level = `  ${concurrency(progress)}`;
  // On a narrow terminal, the concurrency is omitted.
  const fits = detail.length + level.length < columns();
  return [`  ${bar}  ${head}`, noteColours.dim(fits ? detail + level : detail)];
}

function createLines(output: Output, clock: Clock): ProgressView {
  let shownAtMs = Number.NEGATIVE_INFINITY;
  let shownState: ProgressState | undefined;
  let shownLine: string | undefined;
  return {
    update(progress) {
      const { state } = progress;
      const due = clock.now() - shownAtMs >= PLAIN_INTERVAL_MS;
      if (!due && state === shownState) return;
      const line = plainLine(progress);
      // During a long wait, an unchanged line is not repeated.
      if (line === shownLine) return;
      shownAtMs = clock.now();
      shownState = state;
      shownLine = line;
      output.note(line);
    },
    end: () => undefined,
  };
}

function plainLine(progress: Progress): string {
  const words = STATE_WORDS[progress.state];
  const name = `${words.charAt(0).toUpperCase()}${words.slice(1)}`;
  if (progress.slicesPlanned === 0) return `${name} …`;
  return [
    `${name}: ${count(progress.daysDone)} of ${counted(progress.daysPlanned, 'day')}`,
    counted(progress.rows, 'row'),
    `${count(progress.rowsPerSecond)} rows/s`,
    quotaUsed(progress),
    counted(progress.retries, 'retry', 'retries'),
    concurrency(progress),
    progress.state === 'fetching' ? timeLeft(progress) : '',
  ]
    .filter((text) => text !== '')
    .join(', ');
}

const percent = (share: number): string => `${Math.floor(share * 100)} %`;

function quotaUsed({ quotaUsed: used, quotaLimit: limit, pagesInFlight, pagesWaiting }: Progress): string {
  if (limit === 0) return 'quota unused';
  const isWaiting = used >= limit && pagesInFlight === 0 && pagesWaiting > 0;
  return `quota ${count(used)} of ${count(limit)}${isWaiting ? ' (waiting for more)' : ''}`;
}

const concurrency = ({ maxConcurrency, isAuto }: Progress): string =>
  `concurrency ${count(maxConcurrency)}${isAuto ? ' (auto)' : ''}`;

function timeLeft(progress: Progress): string {
  if (progress.state !== 'fetching') return STATE_WORDS[progress.state];
  return progress.remainingMs === null ? '' : `about ${roughDuration(progress.remainingMs)} left`;
}

const STATE_WORDS: Readonly<Record<ProgressState, string>> = {
  planning: 'planning',
  fetching: 'fetching',
  waitingForGoogle: 'waiting for Google',
  waitingForDatabase: 'waiting for the database',
  pausing: 'pausing',
  paused: 'paused',
  halting: 'halting',
  ended: 'ended',
};
