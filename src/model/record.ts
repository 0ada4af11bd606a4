/** Records facts during a turn that no single state shows. The invariants use them. */
import type { AnyEventObject } from 'xstate';
import type { Address } from '../internals/xstate.ts';
import {
  type CoordinatorEmitted,
  type Page,
  type PlanReport,
  PROBE,
  type WorkerOrder,
} from '../machines/index.ts';
import { scopeKindOf } from '../machines/rate-limiter/quota-window.ts';
import type { AbstractCall } from './abstract-call.ts';
import { isCommitted } from './abstract-database.ts';
import type { ModelOptions, Property, Refusal } from './options.ts';
import { type Broken, type Draft, isAtWork, type PageFate, pageKey } from './world.ts';

/** The turn being recorded. */
interface Turn {
  readonly world: Draft;
  readonly options: ModelOptions;
  readonly property: Property;
  breaks(invariant: Broken['invariant'], what: string): void;
}

type PageId = Pick<Page, 'sliceId' | 'startRow'>;

/** The coordinator handles an event. Pages that the plan supplies are due from now on. */
export function noteDelivery(turn: Turn, to: Address, event: AnyEventObject): void {
  if (to !== 'coordinator' || event.type !== 'plan.supplied') return;
  // Only the abstract plan sends this.
  for (const page of (event as Extract<PlanReport, { type: 'plan.supplied' }>).pages) becomesDue(turn, page);
}

/** The coordinator reports that a page is committed or has failed for good. */
export function noteCommit(turn: Turn, emitted: AnyEventObject): void {
  // The coordinator emits nothing but these.
  const fact = emitted as CoordinatorEmitted;
  if (fact.type === 'page.failed' && fact.final) ends(turn, fact, 'failed');
  if (fact.type !== 'page.committed') return;
  ends(turn, fact, 'committed');
  if (fact.next.kind === 'page') becomesDue(turn, { sliceId: fact.sliceId, startRow: fact.next.startRow });
  if (fact.next.kind === 'again') becomesDue(turn, { sliceId: fact.next.sliceId, startRow: 0 });
}

/** The coordinator assigns pages to a worker. */
export function noteAssignment(turn: Turn, workerId: Address, event: AnyEventObject): void {
  // No other event has this type.
  const { pages } = event as Extract<WorkerOrder, { type: 'batch.assign' }>;
  const { coordinator, history, database, calls } = turn.world;
  const { workers, maxConcurrency } = coordinator.context;
  const working = workers.filter(isAtWork).length;
  if (working > maxConcurrency)
    turn.breaks(8, `${working} workers have work, but only ${maxConcurrency} may`);
  if (pages.length > turn.options.batchSize)
    turn.breaks(8, `${workerId} was given a batch of ${pages.length}`);
  if (pages.length === 0) turn.breaks(8, `${workerId} was given an empty batch`);
  if (history.haltAsked || coordinator.status !== 'active' || coordinator.matches('halting')) {
    turn.breaks(5, `${workerId} was given pages after the halt`);
  }
  if (coordinator.matches('drainingForQuota')) turn.breaks(5, `${workerId} was given pages without a quota`);
  if (coordinator.matches('pausing') || coordinator.matches('paused')) {
    turn.breaks(5, `${workerId} was given pages during a pause`);
  }
  const waiting = Object.keys(calls).find(
    (id) => calls[id]?.stalled?.is === 'waiting' && calls[id]?.orphaned === false,
  );
  if (waiting !== undefined && turn.options.semantics === 'sync') {
    turn.breaks(8, `${workerId} was given pages while those of ${waiting} wait for the database`);
  }
  for (const page of pages) {
    // Not a page of the plan.
    if (page.sliceId === PROBE) continue;
    if (coordinator.matches({ running: 'waitingForGoogle' })) {
      turn.breaks(8, `${workerId} was given pages while Google is away`);
    }
    const key = pageKey(page);
    // A worker that crashed loses the pages it had read.
    if (history.read.includes(key) && history.rare.workerCrash === undefined) {
      turn.breaks(1, `${key} is requested again although it was read and only waits for the database`);
    }
    if (history.pages[key] !== 'due') turn.breaks(1, `${key} was given to ${workerId}, but is not due`);
    // If a page's result was lost in the call of a crashed worker, the database is asked about it again.
    const unseen = isCommitted(database, page) || history.rare.workerCrash !== undefined;
    if (database[page.sliceId]?.status === 'failed' && !unseen) {
      turn.breaks(1, `${key} was given out, but its slice has failed`);
    }
    if (page.attempts >= turn.options.maxAttempts)
      turn.breaks(1, `${key} was given out after its last attempt`);
  }
}

/** A page has been read, and the database did not accept it. */
export function noteRead(turn: Turn, page: PageId): void {
  const { history } = turn.world;
  const key = pageKey(page);
  if (!history.read.includes(key)) {
    turn.world.history = { ...history, read: [...history.read, key].sort() };
  }
}

/** The server has refused a page for quota. */
export function noteRefusal(turn: Turn, refusal: Refusal): void {
  const { conditions } = turn.world.limiter.context;
  const kind = refusal.startsWith('user') ? 'user' : 'site';
  const refused = turn.property.scopes.filter((scope) => scopeKindOf(scope) === kind);
  const isCalm = refused.some((scope) => (conditions.get(scope)?.state ?? 'calm') === 'calm');
  if (turn.options.semantics === 'sync' && isCalm) {
    turn.breaks(3, 'the server refused a page, and the limiter still grants tokens');
  }
}

/** A worker starts a call. */
export function noteCallStart(turn: Turn, workerId: Address, call: AbstractCall): void {
  const { calls, history, limiter } = turn.world;
  if (calls[workerId] !== undefined) turn.breaks(8, `${workerId} has two calls at once`);
  // If messages are delayed, a worker may not know of the halt yet.
  if (history.haltAsked && turn.options.semantics === 'sync')
    turn.breaks(5, `${workerId} starts a call after the halt`);
  const held = limiter.context.leases.get(call.leaseId)?.unsettled ?? 0;
  if (held !== call.pages.length) {
    turn.breaks(3, `${workerId} sends ${call.pages.length} requests with ${held} tokens`);
  }
  for (const page of call.pages) {
    if (page.sliceId === PROBE) continue;
    const other = Object.keys(calls).find((id) =>
      calls[id]?.pages.some((taken) => pageKey(taken) === pageKey(page)),
    );
    if (other !== undefined)
      turn.breaks(4, `${pageKey(page)} is in a call of ${workerId} and in one of ${other}`);
  }
}

function becomesDue(turn: Turn, page: PageId): void {
  const key = pageKey(page);
  if (turn.world.history.pages[key] !== undefined) turn.breaks(1, `${key} is queued a second time`);
  setFate(turn, key, 'due');
}

function ends(turn: Turn, page: PageId, fate: PageFate): void {
  const key = pageKey(page);
  const before = turn.world.history.pages[key];
  if (before !== 'due') turn.breaks(1, `${key} is reported as ${fate}, but is ${before ?? 'unknown'}`);
  setFate(turn, key, fate);
}

function setFate(turn: Turn, key: string, fate: PageFate): void {
  const { history } = turn.world;
  turn.world.history = { ...history, pages: { ...history.pages, [key]: fate } };
}
