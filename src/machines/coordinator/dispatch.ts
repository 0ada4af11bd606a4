/**
 * Who gets which pages: pure decisions over the coordinator's queues and its pool of workers.
 */
import type { Blame, Page } from '../messages.ts';

/** Pages that wait, in the order in which they go out: begun slices first, then the plan's look-ahead. */
export interface Queues {
  /** Pages of slices that have a page already, and pages that came back. */
  readonly begun: readonly Page[];
  /** Slices not begun, newest day first. */
  readonly ahead: readonly Page[];
  /** Pages that wait for a retry: one group a batch. */
  readonly delayed: readonly DelayedGroup[];
}

export interface DelayedGroup {
  readonly groupId: string;
  readonly pages: readonly Page[];
}

/**
 * `idle` takes work. `busy` has an assignment. `stalled` has one whose pages wait for the database; `retrying` was told to try
 * again, and nothing was heard since. `backingOff` has none and takes none. `reaping` crashed: its call is being
 * ended and its ledger read. `halted` has nothing under way and never will again.
 */
export type WorkerStatus = 'idle' | 'busy' | 'stalled' | 'retrying' | 'backingOff' | 'reaping' | 'halted';

/** Whether it has an assignment. */
export const hasAssignment = ({ status }: Pick<WorkerSlot, 'status'>): boolean =>
  status === 'busy' || status === 'stalled' || status === 'retrying';

export interface WorkerSlot {
  readonly workerId: string;
  readonly status: WorkerStatus;
  /** Assignments given so far; the present one's id is made of it. */
  readonly serial: number;
  /** Pages of the assignment of which nothing was heard yet. */
  readonly pages: readonly Page[];
  readonly blame: Blame;
  /** Pages of the assignment that failed and may be tried again: they wait together when it has ended. */
  readonly retry: readonly Page[];
}

export interface Assignment {
  readonly slot: WorkerSlot;
  readonly pages: readonly Page[];
}

export function createSlot(workerId: string): WorkerSlot {
  return { workerId, status: 'idle', serial: 0, pages: [], blame: 'call', retry: [] };
}

export function countWaiting(queues: Queues): number {
  return queues.begun.length + queues.ahead.length;
}

/** Pages that wait, for a worker or for their retry. */
export function countHeld(queues: Queues): number {
  return queues.delayed.reduce((sum, { pages }) => sum + pages.length, countWaiting(queues));
}

/**
 * Idle workers that may be given work: no more than `maxConcurrency` are ever busy. A worker above a lowered limit finishes
 * what it has and then rests.
 */
export function availableSlots(slots: readonly WorkerSlot[], maxConcurrency: number): readonly WorkerSlot[] {
  const busy = slots.filter((slot) => hasAssignment(slot) || slot.status === 'reaping').length;
  return slots.filter((slot) => slot.status === 'idle').slice(0, Math.max(0, maxConcurrency - busy));
}

/** A batch that failed twice in a row as a whole is resent in halves, then quarters: it may be too much for the server. */
function largestBatchWith(page: Page, batchSize: number): number {
  return Math.max(1, Math.floor(batchSize / 2 ** Math.max(0, page.callFailures - 1)));
}

/** What is known, besides the pages, when they are given out. */
export interface DispatchRules {
  readonly batchSize: number;
  /** Workers under way that will be free again, and take a share then. */
  readonly busy: number;
  /** The plan has no more: what waits is all there will be, but for further pages of slices. */
  readonly isEnd: boolean;
}

/**
 * Spreads the waiting pages over the available workers: with 100 pages and 3 workers nobody gets 50 while another
 * idles. Where the plan ends, what is left is shared with those who are busy still, as far as that costs no call more:
 * 60 pages are 30 and 30, not 50 and 10. Further pages of a slice follow a full one: they take long by themselves,
 * whatever a call costs, so nobody gets more than his share of them while others are about to be free.
 */
export function assignPages(
  queues: Queues,
  available: readonly WorkerSlot[],
  { batchSize, busy, isEnd }: DispatchRules,
): { readonly assignments: readonly Assignment[]; readonly queues: Queues } {
  let waiting: readonly Page[] = [...queues.begun, ...queues.ahead];
  const assignments: Assignment[] = [];
  for (const [index, slot] of available.entries()) {
    const workers = available.length - index;
    const calls = isEnd ? Math.max(workers, Math.ceil(waiting.length / batchSize)) : workers;
    const share = Math.min(batchSize, Math.ceil(waiting.length / calls));
    const further = waiting.filter(({ startRow }) => startRow > 0).length;
    const mostFurther = isEnd ? Math.ceil(further / (workers + busy)) : share;
    const { batch, left } = takeBatch(waiting, share, mostFurther, batchSize);
    if (batch.length > 0) assignments.push({ slot, pages: batch });
    waiting = left;
  }
  const left = new Set(waiting);
  const isLeft = (page: Page): boolean => left.has(page);
  return {
    assignments,
    queues: { ...queues, begun: queues.begun.filter(isLeft), ahead: queues.ahead.filter(isLeft) },
  };
}

/** Takes from the head of the line, passing over further pages beyond `mostFurther`. */
function takeBatch(
  waiting: readonly Page[],
  share: number,
  mostFurther: number,
  batchSize: number,
): { readonly batch: readonly Page[]; readonly left: readonly Page[] } {
  const batch: Page[] = [];
  const passed: Page[] = [];
  let limit = share;
  let further = 0;
  let at = 0;
  for (; at < waiting.length && batch.length < limit; at += 1) {
    const page = waiting[at];
    if (page === undefined) break;
    if (page.startRow > 0 && further === mostFurther) {
      passed.push(page);
      continue;
    }
    const largest = largestBatchWith(page, batchSize);
    if (batch.length + 1 > largest) break;
    limit = Math.min(limit, largest);
    if (page.startRow > 0) further += 1;
    batch.push(page);
  }
  return { batch, left: [...passed, ...waiting.slice(at)] };
}

/** Puts pages that nothing happened to back where they stood: at the head of their line. */
export function putBack(queues: Queues, pages: readonly Page[]): Queues {
  const isBegun = (page: Page): boolean => page.startRow > 0 || page.attempts > 0 || page.callFailures > 0;
  return {
    ...queues,
    begun: [...pages.filter(isBegun), ...queues.begun],
    ahead: [...pages.filter((page) => !isBegun(page)), ...queues.ahead],
  };
}
