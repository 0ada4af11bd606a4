/**
 * One run of the machines: provides the actors, starts the coordinator, turns what it emits into figures and events.
 */
import { type ActorRefFrom, createActor, type SnapshotFrom } from 'xstate';
import { createCallRegistry } from '../actors/call-registry.ts';
import { createFetchBatch } from '../actors/fetch-batch.ts';
import { createLoadPlan, type PlanSummary } from '../actors/load-plan.ts';
import { createProbeDatabase } from '../actors/probe-database.ts';
import { createReapWorker } from '../actors/reap-worker.ts';
import type { Clock } from '../domain/clock.ts';
import { isSelective } from '../domain/filter.ts';
import type { Day } from '../domain/slice.ts';
import { within } from '../domain/wait.ts';
import { batchWorkerMachine } from '../machines/batch-worker/batch-worker.ts';
import { type Ending, PROBE } from '../machines/coordinator/context.ts';
import { coordinatorMachine } from '../machines/coordinator/coordinator.ts';
import { countWaiting } from '../machines/coordinator/dispatch.ts';
import type { ControlEvent, Fatal, HaltReason } from '../machines/messages.ts';
import { type Budgets, budgetsOf, withScopes } from '../machines/rate-limiter/quota-window.ts';
import type { RateLimiterContext } from '../machines/rate-limiter/rate-limiter.ts';
import { createCatalogue } from '../planning/catalogue.ts';
import { createSliceEnds } from '../planning/end-of-slice.ts';
import { bothObservers, type ConcurrencyControl, startConcurrencyControl } from './concurrency.ts';
import { type Config, daysIn, maxCalls } from './config.ts';
import { actorClock } from './limiter.ts';
import type { Listeners } from './listeners.ts';
import type { GaugeReading } from './metrics.ts';
import {
  noteConcurrency,
  noteCoordinator,
  noteDecision,
  noteFallback,
  noteLimiter,
  noteQuota,
  noteShortPage,
  observeCalls,
} from './observe.ts';
import { createProgress, type ProgressTracker } from './progress.ts';
import { progressState } from './progress-state.ts';
import type { Resources } from './resources.ts';
import { type NameSlice, nameSlicesOf } from './slice-names.ts';
import type { Progress, SyncEvents, SyncOptions } from './types.ts';

const RETRY_BACKOFF = { baseMs: 1_000, maxMs: 60_000 };
const CALL_BACKOFF = { baseMs: 1_000, maxMs: 60_000 };
const PROBE_BACKOFF = { baseMs: 500, maxMs: 10_000 };
const MAX_DATABASE_PROBES = 30;
/** A run waits up to a quarter of an hour for Google: 63 seconds in the first six steps, then a minute each. */
const GOOGLE_BACKOFF = { baseMs: 1_000, maxMs: 60_000 };
const MAX_GOOGLE_PROBES = 21;
const CALL_FAILURES_OF_OUTAGE = 3;
const SOUND_ANSWERS = 3;
/** At least ten, or six per worker: an expired token is refused to all workers at the same time. */
const MIN_CALL_FAILURES = 10;
const CALL_FAILURES_PER_WORKER = 6;
const MAX_WORKER_RESTARTS = 5;
/** Google takes up to two minutes before the first byte of an answer; a large answer takes longer. */
const FINISH_WITHIN_MS = 180_000;
const PROGRESS_INTERVAL_MS = 100;

type CoordinatorRef = ActorRefFrom<typeof coordinatorMachine>;

export interface Execution {
  /** How the coordinator ended. Rejects only for a bug. */
  readonly ended: Promise<Ending>;
  readonly figures: ProgressTracker;
  halt(reason: HaltReason): void;
  fail(code: string, reason: string): void;
  pause(): void;
  resume(): void;
  setConcurrency(maxConcurrency: number): void;
  progress(): Progress;
  /**
   * Aborts the remaining calls and waits for them, within the rest of the halt deadline. Resolves to whether all of them
   * ended.
   */
  quiesce(): Promise<boolean>;
}

/** The open resources that the machines need. */
export type ExecutionResources = Pick<
  Resources,
  'store' | 'client' | 'auth' | 'limiter' | 'leases' | 'run' | 'runName' | 'scopes' | 'telemetry' | 'graceMs'
> &
  Partial<Pick<Resources, 'listedName' | 'nextTurn' | 'fallbacks'>>;

/** The statecharts of a run. */
export interface Machines {
  readonly coordinator: typeof coordinatorMachine;
  readonly batchWorker: typeof batchWorkerMachine;
}

const MACHINES: Machines = { coordinator: coordinatorMachine, batchWorker: batchWorkerMachine };

export function startExecution(
  config: Config,
  resources: ExecutionResources,
  clock: Clock,
  listeners: Listeners<SyncEvents>,
  inspect: SyncOptions['inspect'],
  machines: Machines = MACHINES,
): Execution {
  const { store, client, auth, limiter, run, scopes, telemetry } = resources;
  const catalogue = createCatalogue();
  for (const searchType of config.searchTypes.slice(0, 1)) {
    catalogue.add(PROBE, { kind: 'probe', siteUrl: config.siteUrl, searchType, date: config.to });
  }
  const calls = createCallRegistry();
  const figures = createProgress(clock);
  const scope = new AbortController();
  const leftBehind = new Set<Promise<unknown>>();
  let haltingSince: number | undefined;
  const background = (work: Promise<unknown>): void => {
    leftBehind.add(work);
    void work.finally(() => leftBehind.delete(work)).catch(() => undefined);
  };

  const nameSlice: NameSlice = (sliceId) => {
    const entry = catalogue.get(sliceId);
    return entry?.kind === 'slice' ? entry.slice : undefined;
  };
  const watchers = { figures, listeners, telemetry };
  const ends = createSliceEnds(config.endOfSlice, (slice) => noteShortPage(slice, watchers));
  let control: ConcurrencyControl | undefined;
  const observer = bothObservers(observeCalls(figures, telemetry, nameSlice), () => control?.observer);
  const machine = machines.coordinator.provide({
    actors: {
      batchWorker: machines.batchWorker.provide({
        actors: {
          fetchBatch: createFetchBatch({
            client,
            auth,
            store,
            clock,
            catalogue,
            listedName: resources.listedName,
            calls,
            leases: resources.leases,
            rowsPerPage: config.rowsPerPage,
            selection: config.selection,
            ends,
            graceMs: resources.graceMs,
            scope: scope.signal,
            observer,
            background,
            nextTurn: resources.nextTurn,
          }),
        },
      }),
      loadPlan: createLoadPlan({
        store,
        clock,
        catalogue,
        siteUrl: config.siteUrl,
        range: config,
        today: config.today,
        ends,
        pool: { maxConcurrency: config.maxConcurrency, batchSize: config.batchSize },
        isSelective: isSelective(config.selection),
        onPlanned: (plan) => figures.planned(planFigures(config, plan)),
        onReplanned: (changes) => figures.replanned(changes),
        scope: scope.signal,
        background,
      }),
      probeDatabase: createProbeDatabase(store),
      reapWorker: createReapWorker(calls),
    },
  });
  const coordinator = createActor(machine, {
    input: {
      runId: resources.runName,
      limiter: limiter.actor,
      scopes,
      maxConcurrency: config.maxConcurrency,
      batchSize: config.batchSize,
      maxAttempts: config.maxAttempts,
      maxConsecutiveCallFailures: Math.max(MIN_CALL_FAILURES, CALL_FAILURES_PER_WORKER * maxCalls(config)),
      callFailuresOfOutage: CALL_FAILURES_OF_OUTAGE,
      soundAnswers: SOUND_ANSWERS,
      maxGoogleProbes: MAX_GOOGLE_PROBES,
      maxWorkerRestarts: MAX_WORKER_RESTARTS,
      maxDatabaseProbes: MAX_DATABASE_PROBES,
      haltDeadlineMs: config.haltDeadlineMs,
      finishDeadlineMs: FINISH_WITHIN_MS,
      retryBackoff: RETRY_BACKOFF,
      callBackoff: CALL_BACKOFF,
      probeBackoff: PROBE_BACKOFF,
      googleBackoff: GOOGLE_BACKOFF,
    },
    clock: actorClock(clock),
    ...(inspect === undefined ? {} : { inspect }),
  });

  nameSlicesOf(coordinator.system, nameSlice);

  /** Commands after the coordinator has stopped are ignored: XState would warn on the host's console. */
  const tell = (event: ControlEvent): void => {
    if (coordinator.getSnapshot().status === 'active') coordinator.send(event);
  };
  const quota = () => fullestBudget(limiter.actor.getSnapshot().context.budgets, scopes);
  const progress = (): Progress =>
    figures.snapshot({
      ...machineFigures(coordinator.getSnapshot()),
      ...quota(),
      isAuto: control?.isActive() === true,
    });
  const tellProgress = throttle(clock, PROGRESS_INTERVAL_MS, () => listeners.emit('progress', progress()));
  const unsubscribe = [
    // Without its limiter, a run would wait for tokens forever.
    limiter.actor.subscribe({
      error: (error) => tell({ type: 'fail', fatal: bugIn(error) }),
      complete: () => tell({ type: 'fail', fatal: CLOSED_LIMITER }),
    }),
    coordinator.on('*', (event) => {
      noteCoordinator(event, catalogue, watchers);
    }),
    limiter.actor.on('*', (event) => {
      noteLimiter(event, scopes, watchers);
    }),
  ];
  const ended = new Promise<Ending>((resolve, reject) => {
    coordinator.subscribe({
      next: (snapshot) => {
        if (snapshot.matches('halting')) haltingSince ??= clock.now();
        tellProgress.soon();
      },
      error: reject,
      complete: () => {
        const { output } = coordinator.getSnapshot();
        if (output === undefined) reject(new Error('the coordinator ended without an output'));
        else resolve(output);
      },
    });
  }).finally(() => {
    control?.stop();
    for (const stop of unsubscribe) stop.unsubscribe();
    tellProgress.now();
  });

  telemetry.runStarted(
    {
      runId: run.runId,
      from: config.from,
      to: config.to,
      datasets: config.datasets,
      searchTypes: config.searchTypes,
      maxConcurrency: config.maxConcurrency,
      batchSize: config.batchSize,
    },
    () => gauges(progress(), coordinator, limiter.actor.getSnapshot().context, scopes),
  );
  listeners.emit('started', { siteUrl: config.siteUrl, runId: run.runId });
  if (config.autoConcurrency !== null) {
    const ref: CoordinatorRef = coordinator;
    control = startConcurrencyControl({
      auto: config.autoConcurrency,
      batchSize: config.batchSize,
      coordinator: ref,
      clock,
      quotaShare: () => {
        const { quotaUsed, quotaLimit } = quota();
        return quotaLimit === 0 ? 0 : quotaUsed / quotaLimit;
      },
      moreToDo: () => hasMore(coordinator.getSnapshot()),
      onDecision: (decision) => noteDecision(decision, watchers),
      inspect,
    });
  }
  coordinator.start();
  const { accountProblem } = auth.identity;
  resources.fallbacks?.listen((fallback) => noteFallback(fallback, watchers));
  if (accountProblem !== undefined) noteQuota({ kind: 'accountUnknown', reason: accountProblem }, watchers);

  return {
    ended,
    figures,
    halt: (reason) => {
      telemetry.haltStarted(reason.kind);
      tell({ type: 'halt', reason });
    },
    fail: (code, reason) => tell({ type: 'fail', fatal: { code, reason } }),
    pause: () => tell({ type: 'pause' }),
    resume: () => tell({ type: 'resume' }),
    setConcurrency(maxConcurrency) {
      const { status, context } = coordinator.getSnapshot();
      if (status !== 'active') return;
      control?.release();
      noteConcurrency({ from: context.maxConcurrency, to: maxConcurrency, reason: 'asked' }, watchers);
      tell({ type: 'concurrency.change', maxConcurrency });
    },
    progress,
    async quiesce() {
      scope.abort();
      // The system clock may have been set back: never wait longer than the whole deadline.
      const waitedMs = Math.max(0, clock.now() - (haltingSince ?? clock.now()));
      const deadlineMs = Math.max(0, config.haltDeadlineMs - waitedMs);
      const quiet = Promise.all([calls.endAll(), Promise.allSettled([...leftBehind])]);
      return await within(clock, deadlineMs, quiet);
    },
  };
}

const CLOSED_LIMITER: Fatal = {
  code: 'CLOSED',
  reason: 'The rate limiter was closed during the run.',
  nextStep: 'Close it after the last run has ended. The next run continues where this one stopped.',
};

function bugIn(error: unknown): Fatal {
  const reason = error instanceof Error ? error.message : String(error);
  return { code: 'INTERNAL', reason: `the rate limiter crashed: ${reason}` };
}

function planFigures(config: Config, plan: PlanSummary) {
  const openSlicesByDay = new Map<Day, number>();
  for (const { date } of plan.toFetch) openSlicesByDay.set(date, (openSlicesByDay.get(date) ?? 0) + 1);
  const slicesPlanned = plan.planned;
  return {
    slicesPlanned,
    slicesDone: slicesPlanned - plan.toFetch.length,
    openSlicesByDay,
    daysPlanned: daysIn(config),
  };
}

function machineFigures(snapshot: SnapshotFrom<typeof coordinatorMachine>) {
  const { queues, maxConcurrency } = snapshot.context;
  return {
    state: progressState(snapshot.value),
    pagesWaiting: countWaiting(queues) + queues.delayed.reduce((sum, { pages }) => sum + pages.length, 0),
    maxConcurrency,
  };
}

/** Whether pages are queued or the plan has more. */
function hasMore({ context }: SnapshotFrom<typeof coordinatorMachine>): boolean {
  return context.plan === 'whenLow' || context.plan === 'asked' || countWaiting(context.queues) > 0;
}

/** The budget of this run's scopes with the highest used share. */
function fullestBudget(budgets: Budgets, scopes: readonly string[]) {
  const [fullest] = budgetsOf(budgets, scopes).toSorted((a, b) => b.spent / b.limit - a.spent / a.limit);
  return { quotaUsed: fullest?.spent ?? 0, quotaLimit: fullest?.limit ?? 0 };
}

function gauges(
  progress: Progress,
  coordinator: CoordinatorRef,
  { budgets, input }: RateLimiterContext,
  scopes: readonly string[],
): GaugeReading {
  const workers: Record<string, number> = {};
  for (const { status } of coordinator.getSnapshot().context.workers) {
    workers[status] = (workers[status] ?? 0) + 1;
  }
  return {
    ...progress,
    workers,
    // Of scopes that nothing counts against at the moment, too.
    budgets: budgetsOf(withScopes(budgets, input.rules, scopes), scopes),
    memoryBytes: process.memoryUsage.rss(),
  };
}

/** Calls `tell` at most once per interval, and within one interval of each request. */
function throttle(clock: Clock, intervalMs: number, tell: () => void) {
  let timer: unknown;
  return {
    soon() {
      timer ??= clock.setTimeout(() => {
        timer = undefined;
        tell();
      }, intervalMs);
    },
    now() {
      clock.clearTimeout(timer);
      timer = undefined;
      tell();
    },
  };
}
