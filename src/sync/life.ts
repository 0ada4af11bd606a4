/** The actors of a run: they carry out what `machines/run-life/run-life.ts` decides, with the resources of `resources.ts`. */
import {
  type AnyEventObject,
  type CallbackLogicFunction,
  createActor,
  fromCallback,
  fromPromise,
} from 'xstate';
import type { Clock } from '../domain/clock.ts';
import { LongtailError } from '../domain/errors.ts';
import type { Ending } from '../machines/coordinator/context.ts';
import {
  type CloseInput,
  type ExecutionOrder,
  haltShares,
  type LifeFault,
  type LifeResult,
  type OpeningStep,
  type QuestionAnswer,
  type QuestionInput,
  type RunLifeInput,
  type Wishes,
} from '../machines/run-life/context.ts';
import { type RunLifeActor, runLifeMachine } from '../machines/run-life/run-life.ts';
import { keysOf, missingKeys } from '../planning/plan.ts';
import { toldError } from '../postgres/connection/told-error.ts';
import { toFailure } from '../postgres/driver/failure.ts';
import { analyze, cleanUp } from '../postgres/queries/cleanup.ts';
import { readPropertyCoverage } from '../postgres/queries/coverage.ts';
import { finishRun } from '../postgres/queries/run.ts';
import { readOutcome } from '../postgres/queries/run-outcome.ts';
import { type Config, selectionIn } from './config.ts';
import { type Execution, startExecution } from './execution.ts';
import { guardInspect } from './guarded-inspect.ts';
import { actorClock } from './limiter.ts';
import type { Listeners } from './listeners.ts';
import { Holdings } from './resources.ts';
import { countOwnSlices } from './run-tally.ts';
import type { RunFigures, SyncEvents, SyncOptions } from './types.ts';

/** Maximum duration of each phase. Every operation has a shorter limit itself; these are the last resort. */
const LIMITS_MS: RunLifeInput['limits'] = {
  credentials: 60_000,
  // The embedded server's own limit is three minutes.
  server: 200_000,
  database: 60_000,
  // An index on a large table takes long, and so may another process that migrates.
  schema: 600_000,
  // The lease of a dead holder expires a minute after its last renewal.
  property: 150_000,
  run: 60_000,
  budgets: 60_000,
  record: 60_000,
  tidy: 60_000,
  read: 60_000,
  count: 60_000,
};
/** The maximum of a timer. */
const LONGEST_WAIT_MS = 2 ** 31 - 1;
const CLOSING_MS = { allMs: 5_000, oneMs: 1_000 };
const LAST_ANSWERS_MS = 3_000;
const RETRY_DELAYS_MS = [250, 500, 1_000, 2_000, 4_000];

/** The contents of the range, as in the outcome. */
export type Held = Pick<RunFigures, 'slices' | 'rows' | 'failures' | 'notServed'>;

/** The result of a dry run. */
export interface Missing {
  readonly slices: number;
  readonly calendars: number;
}

/** The life of one run or dry run. */
export interface Life {
  readonly actor: RunLifeActor;
  readonly holdings: Holdings;
  /** Undefined before the machines have started. */
  readonly execution: () => Execution | undefined;
  /** The contents of the range, or only this run's part: see {@link LifeResult}. */
  readonly held: (figures: LifeResult['figures']) => Held;
  readonly missing: () => Missing | undefined;
  /** Resolves with the result when everything is closed. Rejects only for a bug in the machine. */
  readonly ended: Promise<LifeResult>;
}

export interface LifePorts {
  readonly purpose: RunLifeInput['purpose'];
  readonly config: Config;
  readonly options: SyncOptions;
  readonly clock: Clock;
  readonly listeners: Listeners<SyncEvents>;
  /** Called with the result before anything is closed. */
  readonly conclude: (life: Life, result: LifeResult) => void;
}

/** The implementation of one life's actors. */
export interface LifeActors {
  readonly open: (step: OpeningStep, signal: AbortSignal) => Promise<void>;
  readonly execute: CallbackLogicFunction<ExecutionOrder, AnyEventObject, Wishes>;
  readonly ask: (input: QuestionInput, signal: AbortSignal) => Promise<QuestionAnswer>;
  readonly closeAll: (input: CloseInput, signal: AbortSignal) => Promise<void>;
}

/** Keyed by the life's actor system. */
const lifeActors = new WeakMap<object, LifeActors>();

function actorsOf(system: object): LifeActors {
  const found = lifeActors.get(system);
  if (found === undefined) throw new Error('a life without actors');
  return found;
}

/** Provided once for all lives: `provide` is expensive, and a host may start forty lives together. */
const machine = runLifeMachine.provide({
  actors: {
    open: fromPromise(({ input, signal, system }) => actorsOf(system).open(input.step, signal)),
    execute: fromCallback<ExecutionOrder, Wishes>((given) => actorsOf(given.system).execute(given)),
    ask: fromPromise(({ input, signal, system }) => actorsOf(system).ask(input, signal)),
    closeAll: fromPromise(({ input, signal, system }) => actorsOf(system).closeAll(input, signal)),
  },
});

/** Creates a life; `start` begins it. */
export function createLife({ purpose, config, options, clock, listeners, conclude }: LifePorts): Life {
  const inspect = guardInspect(options.inspect);
  const holdings = new Holdings(
    config,
    { ...options, ...(inspect === undefined ? {} : { inspect }) },
    clock,
    (notice) => listeners.emit('notice', notice),
  );
  const planned = keysOf(config).length;
  const own = countOwnSlices(listeners);
  let execution: Execution | undefined;
  let held: Held | undefined;
  let missing: Missing | undefined;

  const execute: LifeActors['execute'] = ({ input, sendBack, receive }) => {
    const { executionMs } = haltShares(config.haltDeadlineMs);
    const resources = holdings.all();
    const started = startExecution(
      { ...config, haltDeadlineMs: executionMs },
      resources,
      clock,
      listeners,
      inspect,
    );
    execution = started;
    if (input.maxConcurrency !== undefined) started.setConcurrency(input.maxConcurrency);
    if (input.isPaused) started.pause();
    receive((order) => carryOut(order, started));
    void resources.leases.lost.then((reason) => started.fail('LOCK_LOST', `a lease is lost: ${reason}`));
    void resources.database.hostEnded.then(() =>
      started.halt({ kind: 'asked', reason: 'the given pool has been closed' }),
    );
    started.ended.then(
      async (ending) => {
        const isQuiet = await started.quiesce();
        sendBack({ type: 'execution.ended', ending, isQuiet });
      },
      async (error: unknown) => {
        await started.quiesce();
        sendBack({ type: 'execution.broke', error });
      },
    );
    return () => void started.quiesce();
  };

  const ask = async ({ question, ending }: QuestionInput, signal: AbortSignal): Promise<void> => {
    const { sql } = holdings.need('database');
    switch (question) {
      case 'record':
        if (ending !== undefined) await finishRun(sql, holdings.need('run'), endOf(ending));
        return;
      case 'tidy':
        await cleanUp(sql, holdings.need('run').propertyId, () => signal.aborted);
        if ((execution?.figures.counters.rows ?? 0) > 0 && !signal.aborted) await analyze(sql);
        return;
      case 'read': {
        const { rows, failures, refused, ...slices } = await readOutcome(sql, holdings.need('run'), config);
        held = { slices, rows, failures, notServed: [...config.notServed, ...refused] };
        return;
      }
      case 'count': {
        const { selection } = selectionIn(config);
        const { held: found, refused } = await readPropertyCoverage(sql, config.siteUrl, config, selection);
        const range = { ...config, refused };
        const keys = config.refresh ? keysOf(range) : missingKeys(range, found);
        missing = {
          slices: keys.length,
          calendars: new Set(keys.map(({ searchType }) => searchType)).size,
        };
      }
    }
  };

  const closeAll = async (input: CloseInput, signal: AbortSignal): Promise<void> => {
    own.stop();
    conclude(life, input);
    await holdings.close(input.withinMs, signal);
  };

  const { actor, ended } = startLife({
    purpose,
    config,
    clock,
    inspect,
    actors: {
      open: (step, signal) => holdings.open(step, signal),
      execute,
      ask: (input, signal) => answered(ask(input, signal), () => holdings.need('database').sql),
      closeAll,
    },
  });
  const life: Life = {
    actor,
    holdings,
    execution: () => execution,
    held: (figures) =>
      (figures === 'range' ? held : undefined) ?? { ...own.figures(planned), notServed: config.notServed },
    missing: () => missing,
    ended,
  };
  return life;
}

/** What a life consists of, whatever its work is. */
export interface LifeParts {
  readonly purpose: RunLifeInput['purpose'];
  readonly config: Pick<Config, 'haltDeadlineMs' | 'wait'>;
  readonly clock: Clock;
  readonly inspect: SyncOptions['inspect'];
  readonly actors: LifeActors;
}

/** Starts the machine of a life: it is `ready`. */
export function startLife({
  purpose,
  config,
  clock,
  inspect,
  actors,
}: LifeParts): Pick<Life, 'actor' | 'ended'> {
  const actor = createActor(machine, {
    input: {
      purpose,
      haltDeadlineMs: config.haltDeadlineMs,
      limits: config.wait ? { ...LIMITS_MS, property: LONGEST_WAIT_MS } : LIMITS_MS,
      closing: CLOSING_MS,
      lastAnswersMs: LAST_ANSWERS_MS,
      retryDelaysMs: RETRY_DELAYS_MS,
    },
    clock: actorClock(clock),
    ...(inspect === undefined ? {} : { inspect }),
  });
  lifeActors.set(actor.system, actors);
  const ended = new Promise<LifeResult>((resolve, reject) => {
    actor.subscribe({
      next: (snapshot) => {
        if (snapshot.matches('ended')) resolve(snapshot.context);
      },
      error: reject,
    });
  });
  // Closed without having run: no caller awaits this promise.
  ended.catch(() => undefined);
  actor.start();
  return { actor, ended };
}

function carryOut(order: ExecutionOrder, execution: Execution): void {
  switch (order.type) {
    case 'pause':
      execution.pause();
      break;
    case 'resume':
      execution.resume();
      break;
    case 'concurrency.change':
      execution.setConcurrency(order.maxConcurrency);
      break;
    case 'halt':
      execution.halt(order.reason);
  }
}

/** Turns a database error into a value. A bug remains a rejection. */
export async function answered(
  asking: Promise<void>,
  sql: () => Parameters<typeof toldError>[0],
): Promise<QuestionAnswer> {
  try {
    await asking;
    return { kind: 'answered' };
  } catch (error) {
    const isKnown = error instanceof LongtailError || toFailure(error) !== undefined;
    if (!isKnown) throw error;
    return { kind: isAway(error) ? 'away' : 'refused', error: await toldError(sql(), error) };
  }
}

const AWAY: readonly string[] = ['DATABASE_UNAVAILABLE', 'DATABASE_READ_ONLY', 'DATABASE_TIMEOUT'];

/** Whether a retry may succeed. */
function isAway(error: unknown): boolean {
  if (error instanceof LongtailError) return AWAY.includes(error.code);
  return toFailure(error)?.kind === 'databaseAway';
}

/** The ending as stored in the run's row. */
export function endOf(ending: Ending): { readonly status: Ending['status']; readonly reason?: string } {
  switch (ending.status) {
    case 'complete':
    case 'completeWithFailures':
      return { status: ending.status };
    case 'halted':
      return {
        status: 'halted',
        reason: 'reason' in ending.reason ? ending.reason.reason : ending.reason.quota,
      };
    case 'failed':
      return { status: 'failed', reason: ending.fatal.reason };
  }
}

/** The error that `run` rejects with. */
export function errorOf(fault: LifeFault): unknown {
  if (fault.kind === 'threw') return fault.error;
  const seconds = Math.round(fault.afterMs / 1_000);
  switch (fault.at) {
    case 'credentials':
      return new LongtailError(
        'NO_CREDENTIALS',
        `No access token arrived within ${seconds} seconds.`,
        'Make sure that getAccessToken returns a token and that the token endpoint can be reached.',
      );
    case 'server':
      return new LongtailError(
        'EMBEDDED_SERVER',
        `The embedded PostgreSQL did not start within ${seconds} seconds.`,
        'See its log under .longtail/.',
      );
    default:
      return new LongtailError(
        'DATABASE_UNAVAILABLE',
        `The database did not answer within ${seconds} seconds (${IN_WORDS[fault.at]}).`,
        'Check that the server is running and reachable, and that no session holds a lock on the schema longtail.',
      );
  }
}

const IN_WORDS: Readonly<
  Record<Exclude<Extract<LifeFault, { kind: 'late' }>['at'], 'credentials' | 'server'>, string>
> = {
  database: 'connecting',
  schema: 'creating the tables',
  property: 'acquiring the property',
  run: 'starting the run',
  budgets: 'reading the used quota',
  record: 'recording how the run ended',
  tidy: 'cleaning up',
  read: 'reading the results',
  count: 'counting what is missing',
};
