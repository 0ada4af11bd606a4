/** What plan, workers, probe, reapers and the user may do next, given what they know. */
import type { AfterPage } from '../../../src/domain/page-result.ts';
import { type CoordinatorEvent, PROBE } from '../../../src/machines/coordinator/context.ts';
import type { CoordinatorSnapshot } from '../../../src/machines/coordinator/coordinator.ts';
import type { BatchOutcome, Page } from '../../../src/machines/messages.ts';
import type { CoordinatorNotes, WorkerNotes } from './coordinator-notes.ts';
import { CRASH } from './fake-children.ts';

export interface CoordinatorBounds {
  readonly workers: number;
  readonly batchSize: number;
  /** Pages each slice has. */
  readonly slices: readonly number[];
  /** Whether pages may fail as often as they like. Where not, a failed page is one of the rare things. */
  readonly failures: boolean;
  /** How many things may happen that seldom do: crashes, failed calls, pauses, halts, a database that is away. */
  readonly rare: number;
}

function afterPage({ sliceId, startRow }: Page, slices: readonly number[]): AfterPage {
  const pages = slices[Number(sliceId.slice(1))] ?? 1;
  const next = startRow + 25_000;
  return next < pages * 25_000 ? { kind: 'page', startRow: next } : { kind: 'sealed' };
}

function rareOutcomes(): readonly BatchOutcome[] {
  return [
    { kind: 'failed', reason: 'reset' },
    { kind: 'unauthorized' },
    { kind: 'databaseAway', reason: 'gone' },
    { kind: 'denied', quota: 'daily' },
    { kind: 'fatal', fatal: { code: 'FORBIDDEN', reason: 'no' } },
  ];
}

function workerEvents(
  workerId: string,
  worker: WorkerNotes,
  rare: boolean,
  bounds: CoordinatorBounds,
): readonly CoordinatorEvent[] {
  const { state, ordered, assignmentId, pages } = worker;
  const report = { workerId, assignmentId };
  const events: CoordinatorEvent[] = [];
  const ended = (outcome: BatchOutcome): CoordinatorEvent => ({
    type: 'batch.ended',
    ...report,
    outcome,
    chance: 0.5,
  });
  if (state === 'busy') {
    const [page] = pages;
    if (page !== undefined) {
      const { sliceId, startRow } = page;
      const about = { ...report, sliceId, startRow };
      events.push({ type: 'page.committed', ...about, rows: 5, next: afterPage(page, bounds.slices) });
      const final = page.attempts + 1 >= 2;
      const mayFail = sliceId !== PROBE && (rare || bounds.failures);
      if (mayFail) events.push({ type: 'page.failed', ...about, reason: 'truncated', final });
      if (ordered !== null) events.push({ type: 'pages.returned', ...report, pages });
      // As after two calls in a row that failed.
      if (rare) {
        const failed = pages.map((page) => ({ ...page, callFailures: 2 }));
        events.push({ type: 'pages.returned', ...report, pages: failed });
      }
    } else {
      if (ordered === 'halt') events.push(ended({ kind: 'aborted' }));
      else events.push(ended({ kind: 'answered' }));
      if (ordered === 'pause') events.push(ended({ kind: 'cancelled' }));
      if (rare) events.push(...rareOutcomes().map(ended));
    }
  }
  if (state === 'backingOff' && ordered !== 'halt') events.push({ type: 'worker.ready', ...report });
  if (ordered === 'halt' && (state === 'idle' || state === 'backingOff')) {
    events.push({ type: 'worker.halted', ...report });
  }
  if (rare && state !== 'crashed' && state !== 'halted') events.push(errorOf(workerId));
  return events;
}

const errorOf = (actorId: string): CoordinatorEvent => ({
  type: `xstate.error.actor.${actorId}`,
  actorId,
  error: CRASH,
});

const doneOf = (actorId: string, output: unknown): CoordinatorEvent => ({
  type: `xstate.done.actor.${actorId}`,
  actorId,
  output,
});

function childEvents(
  snapshot: CoordinatorSnapshot,
  notes: CoordinatorNotes,
  rare: boolean,
  bounds: CoordinatorBounds,
): CoordinatorEvent[] {
  const events: CoordinatorEvent[] = [];
  for (const id of Object.keys(snapshot.children)) {
    if (id === 'probe') events.push(doneOf(id, undefined), errorOf(id));
    if (!id.startsWith('reap:')) continue;
    const workerId = id.slice('reap:'.length);
    events.push(doneOf(id, { workerId, committed: [] }));
    const [page] = notes.workers[workerId]?.pages ?? [];
    if (page !== undefined) {
      const { sliceId, startRow } = page;
      const committed = [{ sliceId, startRow, rows: 5, next: afterPage(page, bounds.slices) }];
      events.push(doneOf(id, { workerId, committed }));
    }
    if (rare) events.push(errorOf(id));
  }
  return events;
}

export function eventsIn(
  snapshot: CoordinatorSnapshot,
  notes: CoordinatorNotes,
  bounds: CoordinatorBounds,
): readonly CoordinatorEvent[] {
  const rare = notes.rare < bounds.rare;
  const events: CoordinatorEvent[] = [];
  if (notes.planAsked) {
    const left = bounds.slices.length - notes.supplied;
    const pages: Page[] = [];
    if (left > 0) pages.push({ sliceId: `s${notes.supplied}`, startRow: 0, attempts: 0, callFailures: 0 });
    events.push({ type: 'plan.supplied', pages, more: left > 1 ? 'whenLow' : 'none' });
    const outcome = { kind: 'databaseAway', reason: 'gone' } as const;
    if (rare) events.push({ type: 'plan.failed', outcome, chance: 0.5 });
  }
  for (const [workerId, worker] of Object.entries(notes.workers)) {
    events.push(...workerEvents(workerId, worker, rare, bounds));
  }
  events.push(...childEvents(snapshot, notes, rare, bounds));
  if (rare) {
    events.push({ type: 'pause' }, { type: 'halt', reason: { kind: 'asked', reason: 'enough' } });
    events.push({ type: 'fail', fatal: { code: 'LOCK_LOST', reason: 'lost' } });
    for (const maxConcurrency of [1, 2]) {
      if (maxConcurrency !== notes.maxConcurrency)
        events.push({ type: 'concurrency.change', maxConcurrency });
    }
  }
  if (notes.paused) events.push({ type: 'resume' });
  return events;
}
