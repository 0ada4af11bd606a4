/** Which worker gets which pages: pure decisions over the coordinator's queues and worker pool. */
import type { Blame, Page } from '../messages.ts';

/** Queued pages in dispatch order: slices that have begun first, then the plan's look-ahead. */
export interface Queues {
  /** Further pages of begun slices, and pages that came back. */
  readonly begun: readonly Page[];
  /** First pages of slices not yet begun, newest day first. */
  readonly ahead: readonly Page[];
  /** Pages waiting for a retry: one group per batch. */
  readonly delayed: readonly DelayedGroup[];
}

export interface DelayedGroup {
  readonly groupId: string;
  readonly pages: readonly Page[];
}

/**
 * - `idle`: takes work.
 * - `busy`: has an assignment.
 * - `stalled`: has an assignment whose pages wait for the database.
 * - `retrying`: was told to try the database again and has not reported since.
 * - `backingOff`: has no assignment and takes none.
 * - `reaping`: crashed; its call is being ended and the ledger read.
 * - `halted`: has nothing under way and takes no more work.
 */
export type WorkerStatus = 'idle' | 'busy' | 'stalled' | 'retrying' | 'backingOff' | 'reaping' | 'halted';

/** Whether the worker has an assignment. */
export const hasAssignment = ({ status }: Pick<WorkerSlot, 'status'>): boolean =>
  status === 'busy' || status === 'stalled' || status === 'retrying';

export interface WorkerSlot {
  readonly workerId: string;
  readonly status: WorkerStatus;
  /** Number of assignments so far. Part of the assignment ID. */
  readonly serial: number;
  /** Pages of the assignment without a report so far. */
  readonly pages: readonly Page[];
  readonly blame: Blame;
  /** Failed pages of the assignment that may be retried. They wait as a group once it has ended. */
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

/** Pages that wait for a worker or for their retry. */
export function countHeld(queues: Queues): number {
  return queues.delayed.reduce((sum, { pages }) => sum + pages.length, countWaiting(queues));
}

/**
 * Idle workers that may take work: at most `maxConcurrency` are busy. If the limit was lowered, a worker above it
 * finishes its assignment and then rests.
 */
export function availableSlots(slots: readonly WorkerSlot[], maxConcurrency: number): readonly WorkerSlot[] {
  const busy = slots.filter((slot) => hasAssignment(slot) || slot.status === 'reaping').length;
  return slots.filter((slot) => slot.status === 'idle').slice(0, Math.max(0, maxConcurrency - busy));
}

/**
 * A batch that failed twice in a row as a whole is sent again in halves, then quarters. It may be too much for the
 * server.
 */
function largestBatchWith(page: Page, batchSize: number): number {
  return Math.max(1, Math.floor(batchSize / 2 ** Math.max(0, page.callFailures - 1)));
}

/** What dispatch must know besides the pages. */
export interface DispatchRules {
  readonly batchSize: number;
  /** Busy workers that will be free again and can take a share then. */
  readonly busy: number;
  /** The plan has no more before these are done. Until then only further pages of begun slices can come. */
  readonly isEnd: boolean;
}

/**
 * Spreads queued pages over the available workers: with 100 pages and 3 workers, no worker gets 50 while another idles.
 * At the end of the plan the rest is also shared with busy workers, as long as that costs no extra call: 60 pages
 * become 30 and 30, not 50 and 10. Further pages follow a full one, so each takes long whatever the call's overhead. No
 * worker gets more than its share of them while others are about to be free.
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
    const maxFurther = isEnd ? Math.ceil(further / (workers + busy)) : share;
    const { batch, left } = takeBatch(waiting, share, maxFurther, batchSize);
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

/** Takes pages from the head of the queue, skipping further pages beyond `maxFurther`. */
function takeBatch(
  waiting: readonly Page[],
  share: number,
  maxFurther: number,
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
    if (page.startRow > 0 && further === maxFurther) {
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

/** Puts pages that were not attempted back at the head of their queue. */
export function putBack(queues: Queues, pages: readonly Page[]): Queues {
  const isBegun = (page: Page): boolean => page.startRow > 0 || page.attempts > 0 || page.callFailures > 0;
  return {
    ...queues,
    begun: [...pages.filter(isBegun), ...queues.begun],
    ahead: [...pages.filter((page) => !isBegun(page)), ...queues.ahead],
  };
}
