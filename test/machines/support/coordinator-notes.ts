/** What plan and workers know of the coordinator, kept apart from what it knows itself. */

import { expect } from 'vitest';
import type { AfterPage } from '../../../src/domain/page-result.ts';
import {
  type CoordinatorContext,
  type CoordinatorEvent,
  PROBE,
} from '../../../src/machines/coordinator/context.ts';
import type { Page, PlanOrder, WorkerOrder } from '../../../src/machines/messages.ts';
import type { Sent } from './refs.ts';
import type { Turn } from './turn.ts';

export interface WorkerNotes {
  readonly state: 'idle' | 'busy' | 'backingOff' | 'crashed' | 'halted';
  readonly ordered: 'pause' | 'halt' | null;
  readonly assignmentId: string;
  readonly pages: readonly Page[];
}

export interface CoordinatorNotes {
  readonly workers: Readonly<Record<string, WorkerNotes>>;
  /** Keys of every page that is known of. */
  readonly planned: readonly string[];
  readonly committed: readonly string[];
  readonly failed: readonly string[];
  readonly planAsked: boolean;
  readonly supplied: number;
  readonly rare: number;
  readonly halted: boolean;
  readonly paused: boolean;
  readonly maxConcurrency: number;
  readonly busyWhenLowered: number;
  /** Workers born in the place of one that crashed. */
  readonly restarts: number;
  readonly batchSize: number;
}

export const keyOf = ({ sliceId, startRow }: { sliceId: string; startRow: number }): string =>
  `${sliceId}@${startRow}`;

export function freshNotes(maxConcurrency: number, batchSize: number): CoordinatorNotes {
  return {
    workers: {},
    planned: [],
    committed: [],
    failed: [],
    planAsked: false,
    supplied: 0,
    rare: 0,
    halted: false,
    paused: false,
    maxConcurrency,
    busyWhenLowered: 0,
    restarts: 0,
    batchSize,
  };
}

const RARE = ['page.failed', 'pages.returned', 'pause', 'halt', 'fail', 'concurrency.change', 'plan.failed'];

function isRare(event: CoordinatorEvent): boolean {
  if (event.type === 'batch.ended') return !['answered', 'cancelled', 'aborted'].includes(event.outcome.kind);
  return (
    RARE.includes(event.type) || (event.type.startsWith('xstate.error') && !event.type.endsWith('probe'))
  );
}

function withWorker(notes: CoordinatorNotes, id: string, change: Partial<WorkerNotes>): CoordinatorNotes {
  const worker = notes.workers[id];
  return worker === undefined
    ? notes
    : { ...notes, workers: { ...notes.workers, [id]: { ...worker, ...change } } };
}

function afterCommit(
  notes: CoordinatorNotes,
  page: string,
  sliceId: string,
  next: AfterPage,
): CoordinatorNotes {
  if (sliceId === PROBE) return notes;
  const following = next.kind === 'page' ? [keyOf({ sliceId, startRow: next.startRow })] : [];
  return {
    ...notes,
    committed: [...notes.committed, page],
    planned: [...notes.planned, ...following],
  };
}

/** @param turn for the workers that the coordinator spawned in this turn. */
export function noteEvent(
  before: CoordinatorNotes,
  event: CoordinatorEvent | undefined,
  turn: Turn,
): CoordinatorNotes {
  let notes = event === undefined ? before : noteIncoming(before, event);
  if (event !== undefined && isRare(event)) notes = { ...notes, rare: notes.rare + 1 };
  for (const { id, input } of turn.spawned) {
    if (!id.startsWith('w')) continue;
    const { assignmentId } = input as { assignmentId: string };
    if (notes.workers[id] !== undefined) notes = { ...notes, restarts: notes.restarts + 1 };
    const fresh: WorkerNotes = { state: 'idle', ordered: null, assignmentId, pages: [] };
    notes = { ...notes, workers: { ...notes.workers, [id]: fresh } };
  }
  return notes;
}

function noteIncoming(notes: CoordinatorNotes, event: CoordinatorEvent): CoordinatorNotes {
  switch (event.type) {
    case 'plan.supplied': {
      const planned = [...notes.planned, ...event.pages.map(keyOf)];
      return { ...notes, planAsked: false, planned, supplied: notes.supplied + event.pages.length };
    }
    case 'plan.failed':
      return { ...notes, planAsked: false };
    case 'page.committed':
    case 'page.failed': {
      const key = keyOf(event);
      const pages = notes.workers[event.workerId]?.pages.filter((page) => keyOf(page) !== key) ?? [];
      const told = withWorker(notes, event.workerId, { pages });
      if (event.type === 'page.committed') return afterCommit(told, key, event.sliceId, event.next);
      return event.final ? { ...told, failed: [...told.failed, key] } : told;
    }
    case 'pages.returned':
      return withWorker(notes, event.workerId, { pages: [] });
    case 'batch.ended': {
      const state = event.outcome.kind === 'failed' ? 'backingOff' : 'idle';
      return withWorker(notes, event.workerId, { state, pages: [] });
    }
    case 'worker.ready':
      return withWorker(notes, event.workerId, { state: 'idle' });
    case 'worker.halted':
      return withWorker(notes, event.workerId, { state: 'halted' });
    case 'halt':
    case 'fail':
      return { ...notes, halted: true };
    case 'pause':
      return { ...notes, paused: true };
    case 'resume':
      return { ...notes, paused: false };
    case 'concurrency.change': {
      const busy = Object.values(notes.workers).filter(({ state }) => state === 'busy').length;
      return { ...notes, maxConcurrency: event.maxConcurrency, busyWhenLowered: busy };
    }
    default:
      return noteChild(notes, event);
  }
}

function noteChild(notes: CoordinatorNotes, event: CoordinatorEvent): CoordinatorNotes {
  if (!('actorId' in event)) return notes;
  if (event.actorId.startsWith('reap:')) {
    const output =
      'output' in event
        ? (event.output as { committed: readonly { sliceId: string; startRow: number; next: AfterPage }[] })
        : undefined;
    const told = withWorker(notes, event.actorId.slice('reap:'.length), { state: 'halted', pages: [] });
    return (output?.committed ?? []).reduce(
      (sum, { sliceId, startRow, next }) => afterCommit(sum, keyOf({ sliceId, startRow }), sliceId, next),
      told,
    );
  }
  return withWorker(notes, event.actorId, { state: 'crashed' });
}

export function noteSent(notes: CoordinatorNotes, { to, event }: Sent): CoordinatorNotes {
  const order = event as WorkerOrder | PlanOrder;
  switch (order.type) {
    case 'plan.requested':
      // The plan owes one answer at a time.
      expect(notes.planAsked).toBe(false);
      return { ...notes, planAsked: true };
    case 'batch.assign': {
      // Work goes to the idle, and never once a halt or a pause was asked for.
      expect(notes.workers[to]?.state).toBe('idle');
      expect(notes.workers[to]?.ordered === 'halt' || notes.halted || notes.paused).toBe(false);
      const { assignmentId, pages } = order;
      // Pages of calls that failed go out in half a batch, then a quarter.
      const failures = Math.max(...pages.map(({ callFailures }) => callFailures));
      const most = Math.max(1, Math.floor(notes.batchSize / 2 ** Math.max(0, failures - 1)));
      expect(pages.length).toBeLessThanOrEqual(most);
      return withWorker(notes, to, { state: 'busy', ordered: null, assignmentId, pages });
    }
    case 'worker.pause':
      return withWorker(notes, to, { ordered: 'pause' });
    case 'worker.halt':
      expect(notes.workers[to]?.state).not.toBe('crashed');
      return withWorker(notes, to, { ordered: 'halt' });
    default:
      return notes;
  }
}

/** Where every page is: with the coordinator, with a worker, committed or failed. */
export function allPages({ queues, workers }: CoordinatorContext, notes: CoordinatorNotes): string[] {
  const held = [
    ...queues.begun,
    ...queues.ahead,
    ...queues.delayed.flatMap(({ pages }) => pages),
    ...workers.flatMap(({ pages, retry }) => [...pages, ...retry]),
  ];
  return [...held.map(keyOf), ...notes.committed, ...notes.failed].sort();
}
