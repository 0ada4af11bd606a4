import type { Clock } from '../../domain/clock.ts';
import { count, counted, roughDuration } from '../../report/render.ts';
import type { Progress } from '../../sync/types.ts';
import type { Output } from './output.ts';

/** Without a terminal, a line this often at most, and at every change of state. */
const PLAIN_INTERVAL_MS = 5_000;
/** On a terminal: often enough to look alive. */
const LIVE_INTERVAL_MS = 100;
const WIDEST_BAR = 40;

/** Shows how far a run is: a bar on a terminal, plain lines elsewhere. On standard error. */
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
  const width = Math.max(8, Math.min(WIDEST_BAR, columns() - head.length - 6));
  const filled = Math.round(width * share);
  const bar = noteColours.cyan('█'.repeat(filled)) + noteColours.dim('░'.repeat(width - filled));
  const rows = `${counted(progress.rows, 'row')}  ${count(progress.rowsPerSecond)} rows/s`;
  const detail = `  ${rows}  ${quotaUsed(progress)}  ${counted(progress.retries, 'retry', 'retries')}`;
  const atOnce = `  ${callsAtOnce(progress)}`;
  // What can do best without is left out where there is no room.
  const isRoom = detail.length + atOnce.length < columns();
  return [`  ${bar}  ${head}`, noteColours.dim(isRoom ? detail + atOnce : detail)];
}

function createLines(output: Output, clock: Clock): ProgressView {
  let toldAtMs = Number.NEGATIVE_INFINITY;
  let toldState: string | undefined;
  let told: string | undefined;
  return {
    update(progress) {
      const state = stateWords(progress.state);
      const due = clock.now() - toldAtMs >= PLAIN_INTERVAL_MS;
      if (!due && state === toldState) return;
      const line = plainLine(progress, state);
      // A wait may be long: the same line again and again says nothing.
      if (line === told) return;
      toldAtMs = clock.now();
      toldState = state;
      told = line;
      output.note(line);
    },
    end: () => undefined,
  };
}

function plainLine(progress: Progress, state: string): string {
  const name = `${state.charAt(0).toUpperCase()}${state.slice(1)}`;
  if (progress.slicesPlanned === 0) return `${name} …`;
  return [
    `${name}: ${count(progress.daysDone)} of ${counted(progress.daysPlanned, 'day')}`,
    counted(progress.rows, 'row'),
    `${count(progress.rowsPerSecond)} rows/s`,
    quotaUsed(progress),
    counted(progress.retries, 'retry', 'retries'),
    callsAtOnce(progress),
    state === 'fetching' ? timeLeft(progress) : '',
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

const callsAtOnce = ({ maxConcurrency, isAuto }: Progress): string =>
  `concurrency ${count(maxConcurrency)}${isAuto ? ' (auto)' : ''}`;

function timeLeft(progress: Progress): string {
  const words = stateWords(progress.state);
  if (words !== 'fetching') return words;
  return progress.remainingMs === null ? '' : `about ${roughDuration(progress.remainingMs)} left`;
}

/** The coordinator's state in a word or two. */
function stateWords(state: string): string {
  if (state.startsWith('planning')) return 'planning';
  if (state.includes('waitingForDatabase')) return 'waiting for the database';
  if (state.includes('waitingForGoogle')) return 'waiting for Google';
  if (state.startsWith('running')) return 'fetching';
  if (state.startsWith('pausing')) return 'pausing';
  if (state.startsWith('paused')) return 'paused';
  if (state.startsWith('halting')) return 'halting';
  return 'ending';
}
