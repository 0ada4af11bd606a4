/** What each event of the world leads to. */

import { refTo } from '../internals/xstate.ts';
import {
  type CallEvent,
  type CallOutcome,
  type ControlEvent,
  type CoordinatorInput,
  coordinatorMachine,
  type MorePlan,
  type Page,
  type PageResult,
  type PlanReport,
  PROBE,
  type QuotaKind,
  type RateLimiterInput,
  type ReapOutput,
  rateLimiterMachine,
} from '../machines/index.ts';
import type { CallEnd } from './abstract-call.ts';
import {
  afterPage,
  askForCalendar,
  commit,
  createDatabase,
  fail,
  isCommitted,
  open,
  type SliceEnd,
} from './abstract-database.ts';
import { startPlan } from './abstract-plan.ts';
import { age, type ServerWindow, settleAtServer } from './abstract-server.ts';
import { rareKindOf } from './events.ts';
import {
  ALONE,
  GRACE_MS,
  MARGIN_MS,
  type ModelOptions,
  type Property,
  RESTART_MS,
  type Refusal,
  WINDOW_MS,
} from './options.ts';
import { noteRead, noteRefusal } from './record.ts';
import type { StepMemory } from './step-memory.ts';
import { type Listener, Turn } from './turn.ts';
import { receiverOf, type World, type WorldEvent, withEntry } from './world.ts';

/** Random numbers are constant. Backoffs are timers that may fire at any moment anyway. */
const CHANCE = 0.5;
/** Shared objects, so that worlds differ by what happened, not by when. */
const CRASH = new Error('the worker crashed');
const REAPER_FAILED = new Error('the reaper failed');
const PROBE_DONE = { type: 'xstate.done.actor.probe', output: undefined, actorId: 'probe' };
const PROBE_FAILED = {
  type: 'xstate.error.actor.probe',
  error: new Error('the database does not answer'),
  actorId: 'probe',
};
const REFUSALS: Readonly<Record<Refusal, { quota: QuotaKind; scopeKind?: string }>> = {
  qps: { quota: 'qps' },
  load: { quota: 'load' },
  daily: { quota: 'daily' },
  userQps: { quota: 'qps', scopeKind: 'user' },
  userDaily: { quota: 'daily', scopeKind: 'user' },
};
const AWAY = { kind: 'databaseAway', reason: 'away' } as const;
const FATAL = { kind: 'fatal', fatal: { code: 'FORBIDDEN', reason: 'no permission' } } as const;

export function coordinatorInput(
  options: ModelOptions,
  { runId, scopes }: Property = ALONE,
): CoordinatorInput {
  const backoff = { baseMs: 1_000, maxMs: 1_000 };
  return {
    runId,
    // The limiter's stand-in accepts what the limiter accepts.
    limiter: refTo('limiter') as unknown as CoordinatorInput['limiter'],
    scopes,
    maxConcurrency: options.workers,
    batchSize: options.batchSize,
    maxAttempts: options.maxAttempts,
    maxConsecutiveCallFailures: options.maxConsecutiveCallFailures,
    callFailuresOfOutage: options.callFailuresOfOutage,
    soundAnswers: options.soundAnswers,
    maxGoogleProbes: options.maxGoogleProbes,
    maxWorkerRestarts: options.maxWorkerRestarts,
    maxDatabaseProbes: options.maxDatabaseProbes,
    haltDeadlineMs: 5_000,
    finishDeadlineMs: 180_000,
    retryBackoff: backoff,
    callBackoff: backoff,
    probeBackoff: backoff,
    googleBackoff: backoff,
  };
}

export function limiterInput(options: ModelOptions): RateLimiterInput {
  return {
    rules: [{ scopeKind: 'site', limit: options.quota, windowMs: WINDOW_MS }],
    marginMs: MARGIN_MS,
    loadCoolingMs: 900_000,
    qpsCoolingMs: 60_000,
    maxLoadCoolings: 1,
    maxQpsCoolings: 2,
    refusingMs: 3_600_000,
  };
}

export function initialWorld(options: ModelOptions, memory: StepMemory): World {
  const database = createDatabase(options.slices, options.calendar);
  return bornWorld(options, memory, { database, server: [], rare: {} });
}

/** What a starting process finds: an empty database, or what a crashed process left behind. */
export interface Left extends Pick<World, 'database' | 'server'> {
  readonly rare: World['history']['rare'];
}

function bornWorld(options: ModelOptions, memory: StepMemory, left: Left): World {
  const turn = new Turn(unbornWorld(options, memory, left), options, memory);
  recoverLeases(turn);
  turn.begin(coordinatorMachine, 'coordinator', coordinatorInput(options));
  return turn.world;
}

/** Before the coordinator's first step. */
export function unbornWorld(
  options: ModelOptions,
  memory: StepMemory,
  left: Left,
  input: RateLimiterInput = limiterInput(options),
): World {
  const limiter = memory.begin(rateLimiterMachine, 'limiter', input).snapshot;
  return {
    status: 'active',
    output: undefined,
    error: undefined,
    // Each is replaced below by its machine's first snapshot.
    coordinator: limiter as unknown as World['coordinator'],
    limiter: limiter as World['limiter'],
    workers: {},
    channels: {},
    timers: [],
    calls: {},
    plan: startPlan(left.database),
    probing: false,
    reapers: {},
    database: left.database,
    server: left.server,
    history: { rare: left.rare, haltAsked: false, pages: {}, read: [], broken: [] },
  };
}

/** The limiter counts what this run had sent before, in each of its scopes. */
export function recoverLeases(turn: Turn): void {
  const { runId, scopes } = turn.property;
  const own = turn.world.server.filter((settled) => settled.runId === runId);
  if (own.length === 0) return;
  turn.happen('limiter', {
    type: 'leases.recovered',
    leases: own.flatMap(({ tokens, lastingMs }) =>
      scopes.map((scope) => ({ scope, tokens, settledMsAgo: WINDOW_MS - lastingMs })),
    ),
  });
}

export function nextWorld(
  world: World,
  event: WorldEvent,
  options: ModelOptions,
  memory: StepMemory,
  listener?: Listener,
): World {
  const counted = countRare(world, event);
  if (event.type === 'process.crashes') return restart(counted, options, memory);
  const turn = new Turn(counted, options, memory, listener);
  carryOut(turn, event);
  return turn.world;
}

export function countRare(world: World, event: WorldEvent): World {
  const kind = rareKindOf(event);
  if (kind === undefined) return world;
  const { rare } = world.history;
  return { ...world, history: { ...world.history, rare: { ...rare, [kind]: (rare[kind] ?? 0) + 1 } } };
}

export function carryOut(turn: Turn, event: Exclude<WorldEvent, { type: 'process.crashes' }>): void {
  switch (event.type) {
    case 'deliver':
      deliverFrom(turn, event.channel);
      break;
    case 'timer':
      // Calls that have not finished by now are aborted, as after a halt.
      if (event.timer.includes('finishDeadline')) {
        turn.world.history = { ...turn.world.history, haltAsked: true };
      }
      fire(turn, event.owner, event.timer);
      break;
    case 'call.commits':
      commitPage(turn, event, event.end);
      break;
    case 'call.pageFails':
      failPage(turn, event);
      break;
    case 'call.refuses':
      answerPage(turn, event, 0, { kind: 'refused', retryAfterMs: null, ...REFUSALS[event.quota] });
      noteRefusal(turn, event.quota);
      break;
    case 'call.stalls':
      stall(turn, event, event.landed);
      break;
    case 'call.ends':
      endCall(turn, event.worker, event.how);
      break;
    case 'plan.answers':
      answerPlan(turn, event.how);
      break;
    case 'probe.answers':
      turn.world.probing = false;
      turn.happen('coordinator', event.how === 'back' ? PROBE_DONE : PROBE_FAILED);
      break;
    case 'reaper.ends':
      endReaper(turn, event.worker, event.how);
      break;
    case 'worker.crashes':
      turn.crash(event.worker, CRASH);
      break;
    case 'halt':
    case 'fail':
      turn.world.history = { ...turn.world.history, haltAsked: true };
      turn.happen('coordinator', controlEvent(event));
      break;
    default:
      turn.happen('coordinator', controlEvent(event));
  }
}

/** A command from the host to the coordinator. */
export function controlEvent(
  event: Extract<WorldEvent, { type: 'pause' | 'resume' | 'halt' | 'fail' | 'concurrency' }>,
): ControlEvent {
  switch (event.type) {
    case 'halt':
      return { type: 'halt', reason: { kind: 'asked', reason: 'asked' } };
    case 'fail':
      return { type: 'fail', fatal: { code: 'LOCK_LOST', reason: 'the lock is lost' } };
    case 'concurrency':
      return { type: 'concurrency.change', maxConcurrency: event.maxConcurrency };
    default:
      return { type: event.type };
  }
}

function deliverFrom(turn: Turn, channel: string): void {
  const [event, ...rest] = turn.world.channels[channel] ?? [];
  turn.world.channels = withEntry(turn.world.channels, channel, rest.length === 0 ? undefined : rest);
  if (event !== undefined) turn.deliver(receiverOf(channel), event);
}

/** A timer that fires shows that its delay has passed. What the server counted before that has expired. */
function fire(turn: Turn, owner: string, name: string): void {
  const timer = turn.takeTimer(owner, name);
  if (timer !== undefined) turn.happen(owner, timer.event);
}

interface PageOfCall {
  readonly worker: string;
  readonly sliceId: string;
  readonly startRow: number;
}

function commitPage(turn: Turn, page: PageOfCall, end: SliceEnd): void {
  if (page.sliceId === PROBE) {
    answerPage(turn, page, 1, { kind: 'committed', rows: 0, next: { kind: 'sealed' } });
    return;
  }
  if (turn.world.database[page.sliceId]?.status === 'failed' && !isCommitted(turn.world.database, page)) {
    // Its slice has failed without a report, and accepts nothing more.
    answerPage(turn, page, 1, { kind: 'failed', reason: 'its slice has ended', final: true });
    return;
  }
  const { database, next } = commit(turn.world.database, page, end);
  turn.world.database = database;
  answerPage(turn, page, 1, { kind: 'committed', rows: 1, next });
}

/**
 * A page's last attempt failed, so its slice fails. If the page was already committed, the database says so instead.
 */
function failPage(turn: Turn, page: PageOfCall): void {
  const call = turn.world.calls[page.worker];
  const attempts = findPage(call?.pages ?? [], page)?.attempts ?? 0;
  const final = attempts + 1 >= (call?.maxAttempts ?? 1);
  if (final && isCommitted(turn.world.database, page)) {
    const next = afterPage(turn.world.database, page);
    answerPage(turn, page, 1, { kind: 'committed', rows: 1, next });
    return;
  }
  if (final) turn.world.database = fail(turn.world.database, page.sliceId);
  answerPage(turn, page, 1, { kind: 'failed', reason: 'a part failed', final });
}

/** A page is answered: its token settles, and its worker receives both. */
function answerPage(turn: Turn, page: PageOfCall, accepted: number, result: PageResult): void {
  const { worker, sliceId, startRow } = page;
  const call = turn.world.calls[worker];
  if (call === undefined) return;
  const pages = call.pages.filter((other) => other !== findPage(call.pages, page));
  if (call.stalled !== null) {
    // The answer had arrived before and was settled then.
    turn.world.calls = withEntry(turn.world.calls, worker, { ...call, pages, stalled: null });
  } else {
    turn.world.calls = withEntry(turn.world.calls, worker, { ...call, pages });
    settleOne(turn, worker, accepted);
  }
  tell(turn, worker, { type: 'call.page', sliceId, startRow, result });
}

/** A page is answered. */
function settleOne(turn: Turn, worker: string, accepted: number): void {
  const call = turn.world.calls[worker];
  if (call === undefined) return;
  turn.world.calls = withEntry(turn.world.calls, worker, {
    ...call,
    answered: true,
    unsettled: call.unsettled - 1,
  });
  turn.settleAtServer(1, WINDOW_MS);
  tell(turn, worker, { type: 'call.settled', tokens: 1, accepted, graceMs: 0 });
}

/** A page is or was answered, and the database does not accept it. */
function stall(turn: Turn, page: PageOfCall, landed: boolean): void {
  const { worker } = page;
  const call = turn.world.calls[worker];
  const waiting = findPage(call?.pages ?? [], page);
  if (call === undefined || waiting === undefined) return;
  if (landed && turn.world.database[page.sliceId]?.status !== 'failed') {
    turn.world.database = commit(turn.world.database, page, 'sealed').database;
  }
  turn.world.calls = withEntry(turn.world.calls, worker, {
    ...call,
    stalled: { page: waiting, is: 'waiting' },
  });
  noteRead(turn, page);
  if (call.stalled === null) settleOne(turn, worker, 1);
  tell(turn, worker, { type: 'call.stalled', away: { reason: 'away' }, chance: CHANCE });
}

function endCall(turn: Turn, worker: string, how: CallEnd): void {
  const call = turn.world.calls[worker];
  if (call === undefined) return;
  const unsent = how === 'failedUnsent' || how === 'abortedUnsent' || how === 'databaseAwayUnsent';
  // The call was answered as a whole, so all its requests have arrived.
  const graceMs = how === 'unauthorized' || how === 'fatal' ? 0 : GRACE_MS;
  const tokens = call.unsettled;
  turn.world.calls = withEntry(turn.world.calls, worker, {
    ...call,
    pages: [],
    stalled: null,
    unsettled: 0,
  });
  if (!unsent) turn.settleAtServer(tokens, WINDOW_MS + graceMs);
  if (tokens > 0) {
    tell(
      turn,
      worker,
      unsent ? { type: 'call.unsent', tokens } : { type: 'call.settled', tokens, accepted: 0, graceMs },
    );
  }
  turn.world.calls = withEntry(turn.world.calls, worker, undefined);
  if (!call.orphaned) turn.happen(worker, { type: 'call.ended', outcome: outcomeOf(how), chance: CHANCE });
}

function outcomeOf(how: CallEnd): CallOutcome {
  switch (how) {
    case 'failed':
    case 'failedUnsent':
      return { kind: 'failed', reason: 'no answer' };
    case 'databaseAwayUnsent':
      return AWAY;
    case 'aborted':
    case 'abortedUnsent':
      return { kind: 'aborted' };
    case 'fatal':
      return FATAL;
    default:
      return { kind: how };
  }
}

/** A call and its worker need no channel between them: they live and die together. */
function tell(turn: Turn, worker: string, event: CallEvent): void {
  if (turn.world.calls[worker]?.orphaned !== true) turn.happen(worker, event);
}

function answerPlan(turn: Turn, how: 'supplied' | 'databaseAway' | 'fatal'): void {
  const { plan } = turn.world;
  turn.world.plan = { ...plan, owed: plan.owed - 1 };
  const report: PlanReport =
    how === 'supplied'
      ? { type: 'plan.supplied', ...supply(turn) }
      : { type: 'plan.failed', outcome: how === 'fatal' ? FATAL : AWAY, chance: CHANCE };
  turn.happen('coordinator', report);
}

function supply(turn: Turn): { readonly pages: readonly Page[]; readonly more: MorePlan } {
  const { plan } = turn.world;
  const { speculative, planChunk, secondSteps } = turn.options;
  if (plan.stage === 'calendar') {
    turn.world.plan = { ...plan, stage: speculative > 0 ? 'speculative' : 'slices' };
    turn.world.database = askForCalendar(turn.world.database);
    return {
      pages: [{ sliceId: 'calendar', startRow: 0, attempts: 0, callFailures: 0 }],
      more: speculative > 0 ? 'whenLow' : 'whenQuiet',
    };
  }
  const isSpeculative = plan.stage === 'speculative';
  const first = Math.max(0, plan.left.length - secondSteps);
  const chosen = plan.left.slice(0, isSpeculative ? speculative : Math.min(planChunk, first || planChunk));
  const left = plan.left.slice(chosen.length);
  turn.world.plan = { ...plan, stage: isSpeculative ? 'waiting' : 'slices', left };
  const pages = chosen.map((sliceId): Page => {
    turn.world.database = open(turn.world.database, sliceId);
    const startRow = turn.world.database[sliceId]?.committed ?? 0;
    return { sliceId, startRow, attempts: 0, callFailures: 0 };
  });
  if (isSpeculative) return { pages, more: 'whenLow' };
  const isFirstDone = first > 0 && left.length === secondSteps;
  return { pages, more: left.length === 0 ? 'none' : isFirstDone ? 'whenQuiet' : 'whenLow' };
}

function endReaper(turn: Turn, workerId: string, how: 'done' | 'failed'): void {
  const reaping = turn.world.reapers[workerId];
  if (reaping === undefined) return;
  turn.world.reapers = withEntry(turn.world.reapers, workerId, undefined);
  const actorId = `reap:${workerId}`;
  if (how === 'failed') {
    turn.happen('coordinator', { type: `xstate.error.actor.${actorId}`, error: REAPER_FAILED, actorId });
    return;
  }
  const { database } = turn.world;
  const found = turn.options.reaperReadsLedger
    ? reaping.pages.filter((page) => isCommitted(database, page))
    : [];
  const output: ReapOutput = {
    workerId,
    committed: found.map((page) => ({
      sliceId: page.sliceId,
      startRow: page.startRow,
      rows: 1,
      next: afterPage(database, page),
    })),
  };
  turn.happen('coordinator', { type: `xstate.done.actor.${actorId}`, output, actorId });
}

/** The process dies and is restarted. What its calls had sent counts from when the new process finds it. */
function restart(world: World, options: ModelOptions, memory: StepMemory): World {
  const server = settleUnderWay(age(world.server, RESTART_MS), world, ALONE);
  return bornWorld(options, memory, { database: world.database, server, rare: world.history.rare });
}

/** What a run's calls had sent when its process died. */
export function settleUnderWay(server: ServerWindow, { calls }: World, { runId }: Property): ServerWindow {
  const tokens = Object.values(calls).reduce((sum, { unsettled }) => sum + unsettled, 0);
  return settleAtServer(server, { runId, tokens, lastingMs: WINDOW_MS });
}

const findPage = (pages: readonly Page[], { sliceId, startRow }: PageOfCall): Page | undefined =>
  pages.find((page) => page.sliceId === sliceId && page.startRow === startRow);
