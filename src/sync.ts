/**
 * One property's synchronisation, from outside: opened, run once, steered, closed.
 *
 *   ready ──run──► opening ──► running ──► ended
 *     └──────────────── close ─────────────────► closed
 */
import { type Config, MOST_CONCURRENCY, readConfig } from './config.ts';
import { analyze, cleanUp } from './db/cleanup.ts';
import { readPropertyCoverage } from './db/coverage.ts';
import { toFailure } from './db/failure.ts';
import { readOutcome } from './db/outcome.ts';
import { finishRun } from './db/run.ts';
import { type Clock, systemClock } from './domain/clock.ts';
import { pacificDay } from './domain/day.ts';
import { peakRssBytes } from './domain/peak-memory.ts';
import { LongtailError } from './errors.ts';
import { explainFatal } from './failure-advice.ts';
import { createListeners } from './listeners.ts';
import type { Ending } from './machines/coordinator-context.ts';
import type { HaltReason } from './machines/messages.ts';
import { keysOf, missingKeys } from './machines/plan.ts';
import { countOwnSlices } from './own-slices.ts';
import { type Execution, startExecution } from './sync-execution.ts';
import { openDatabase, openResources, type Resources } from './sync-resources.ts';
import type { DryRun, Outcome, RunFigures, Sync, SyncEvents, SyncOptions } from './sync-types.ts';

/**
 * Prepares one property's synchronisation. Nothing is opened before `run` or `dryRun`.
 * @throws LongtailError `BAD_OPTION` or `INSECURE_ROOT`, saying what is wrong and what to write instead.
 */
export function createSync(options: SyncOptions): Sync {
  const clock = systemClock;
  return new PropertySync(readConfig(options, pacificDay(clock.now())), options, clock);
}

/** What the range holds, as the outcome tells it. */
type Held = Pick<RunFigures, 'slices' | 'rows' | 'failures'>;

/** How long a halted run waits to be told what the table holds, and after commits that hang. */
const READ_WITHIN_MS = 2_000;
const HURRIED_READ_MS = 500;

type Phase =
  | { readonly kind: 'ready' }
  /** Connections are being opened: what is asked for now is kept until there is somebody to ask. */
  | {
      readonly kind: 'opening';
      halt: HaltReason | undefined;
      isPaused: boolean;
      maxConcurrency: number | undefined;
    }
  | { readonly kind: 'running'; readonly execution: Execution }
  | { readonly kind: 'ended' }
  | { readonly kind: 'closed' };

class PropertySync implements Sync {
  readonly #config: Config;
  readonly #options: SyncOptions;
  readonly #clock: Clock;
  readonly #listeners = createListeners<SyncEvents>();
  #phase: Phase = { kind: 'ready' };
  #running: Promise<Outcome> | undefined;
  /** A halt that comes when the machines have ended cuts the tidying short. */
  #isHalting = false;

  constructor(config: Config, options: SyncOptions, clock: Clock) {
    this.#config = config;
    this.#options = options;
    this.#clock = clock;
  }

  on<K extends keyof SyncEvents>(type: K, listener: (event: SyncEvents[K]) => void): () => void {
    return this.#listeners.on(type, listener);
  }

  async run({ signal }: { readonly signal?: AbortSignal } = {}): Promise<Outcome> {
    if (this.#phase.kind === 'closed') {
      throw new LongtailError(
        'CLOSED',
        'This synchronisation is closed.',
        'Make a new one with createSync().',
      );
    }
    if (this.#phase.kind !== 'ready') {
      throw new LongtailError(
        'ALREADY_RUN',
        'This synchronisation has been run.',
        'Make a new one with createSync().',
      );
    }
    this.#phase = { kind: 'opening', halt: undefined, isPaused: false, maxConcurrency: undefined };
    const onAbort = (): void => this.#askToHalt({ kind: 'asked', reason: abortReason(signal) });
    if (signal?.aborted === true) onAbort();
    signal?.addEventListener('abort', onAbort, { once: true });
    this.#running = this.#execute().finally(() => {
      signal?.removeEventListener('abort', onAbort);
      if (this.#phase.kind !== 'closed') this.#phase = { kind: 'ended' };
    });
    return this.#running;
  }

  async #execute(): Promise<Outcome> {
    const startedAt = this.#clock.now();
    const resources = await openResources(this.#config, this.#options, this.#clock);
    try {
      const execution = startExecution(
        this.#config,
        resources,
        this.#clock,
        this.#listeners,
        this.#options.inspect,
      );
      this.#enterRunning(execution);
      void resources.lock.lost.then((reason) =>
        execution.fail('LOCK_LOST', `the property's lock is lost: ${reason}`),
      );
      void resources.database.hostEnded.then(() =>
        execution.halt({ kind: 'asked', reason: 'the pool that was handed in has been closed' }),
      );
      const ownSlices = countOwnSlices(this.#listeners);
      try {
        const ending = await execution.ended;
        const isQuiet = await execution.quiesce();
        const held = this.#readHeld(ending, isQuiet, resources, execution);
        const read = ending.status === 'halted' ? await this.#inTime(held, isQuiet) : await held;
        return this.#outcome(ending, read ?? ownSlices.figures(keysOf(this.#config).length), {
          resources,
          execution,
          startedAt,
        });
      } catch (error) {
        resources.telemetry.runThrew(error);
        await execution.quiesce();
        throw error;
      } finally {
        ownSlices.stop();
      }
    } finally {
      await resources.close();
    }
  }

  /** All that a run has done is written: a connection that is cut at its very end must not make a failure of it. */
  async #patiently<T>(work: () => Promise<T>): Promise<T> {
    for (const delayMs of [250, 500, 1_000, 2_000, 4_000]) {
      try {
        return await work();
      } catch (error) {
        if (this.#isHalting || !isAway(error)) throw error;
        await new Promise<void>((resolve) => this.#clock.setTimeout(resolve, delayMs));
      }
    }
    return await work();
  }

  #enterRunning(execution: Execution): void {
    const before = this.#phase;
    this.#phase = { kind: 'running', execution };
    if (before.kind !== 'opening') return;
    if (before.maxConcurrency !== undefined) execution.setConcurrency(before.maxConcurrency);
    if (before.isPaused) execution.pause();
    if (before.halt !== undefined) execution.halt(before.halt);
  }

  /** Writes down how the run ended, tidies, and reads what the range holds now. */
  async #readHeld(
    ending: Ending,
    isQuiet: boolean,
    { database: { sql }, run }: Resources,
    execution: Execution,
  ): Promise<Held> {
    // A commit that hangs holds the run's row: whoever takes the property next writes down how this run ended.
    if (isQuiet) await this.#patiently(() => finishRun(sql, run, endOf(ending)));
    return await this.#patiently(async () => {
      if (ending.status === 'complete' || ending.status === 'completeWithFailures') {
        await cleanUp(sql, run.propertyId, () => this.#isHalting);
        if (execution.figures.counters.rows > 0) await analyze(sql);
      }
      const { rows, failures, ...slices } = await readOutcome(sql, run, this.#config);
      return { slices: { planned: keysOf(this.#config).length, ...slices }, rows, failures };
    });
  }

  /** Who has halted does not wait for a database that does not answer. Undefined: it did not. */
  async #inTime(held: Promise<Held>, isQuiet: boolean): Promise<Held | undefined> {
    let timer: unknown;
    const late = new Promise<undefined>((resolve) => {
      timer = this.#clock.setTimeout(() => resolve(undefined), isQuiet ? READ_WITHIN_MS : HURRIED_READ_MS);
    });
    const answered = held.catch((error: unknown) => {
      if (isAway(error)) return undefined;
      throw error;
    });
    try {
      return await Promise.race([answered, late]);
    } finally {
      this.#clock.clearTimeout(timer);
    }
  }

  #outcome(
    ending: Ending,
    held: Held,
    {
      resources: { telemetry, auth },
      execution,
      startedAt,
    }: { readonly resources: Resources; readonly execution: Execution; readonly startedAt: number },
  ): Outcome {
    const { counters } = execution.figures;
    const figures: RunFigures = {
      siteUrl: this.#config.siteUrl,
      from: this.#config.from,
      to: this.#config.to,
      ...held,
      apiCalls: counters.apiCalls,
      httpCalls: counters.httpCalls,
      retries: counters.retries,
      quotaRefusals: counters.quotaRefusals,
      durationMs: this.#clock.now() - startedAt,
      peakRssBytes: peakRssBytes(),
    };
    const outcome = outcomeOf(ending, figures, auth.identity.serviceAccountEmail);
    telemetry.runEnded({
      status: outcome.status,
      ...('failure' in outcome ? { reason: outcome.failure.message } : {}),
      rows: counters.rows,
      apiCalls: counters.apiCalls,
      httpCalls: counters.httpCalls,
    });
    return outcome;
  }

  async dryRun(): Promise<DryRun> {
    const { database, close } = await openDatabase(this.#config, this.#clock);
    try {
      const held = await readPropertyCoverage(database.sql, this.#config.siteUrl, this.#config);
      const missing = this.#config.refresh ? keysOf(this.#config) : missingKeys(this.#config, held);
      const calendars = new Set(missing.map(({ searchType }) => searchType)).size;
      const apiCalls = missing.length + calendars;
      const { batchSize, requestsPerMinute, siteUrl, from, to } = this.#config;
      return {
        siteUrl,
        from,
        to,
        slicesPlanned: keysOf(this.#config).length,
        slicesToFetch: missing.length,
        apiCalls,
        httpCalls: Math.ceil(calendars / batchSize) + Math.ceil(missing.length / batchSize),
        // The first minute's worth goes out at once; each further one has to wait for a window.
        durationMs: apiCalls === 0 ? 0 : Math.floor((apiCalls - 1) / requestsPerMinute) * 60_000,
      };
    } finally {
      await close();
    }
  }

  pause(): void {
    if (this.#phase.kind === 'opening') this.#phase.isPaused = true;
    if (this.#phase.kind === 'running') this.#phase.execution.pause();
  }

  resume(): void {
    if (this.#phase.kind === 'opening') this.#phase.isPaused = false;
    if (this.#phase.kind === 'running') this.#phase.execution.resume();
  }

  setConcurrency(maxConcurrency: number): void {
    if (!Number.isInteger(maxConcurrency) || maxConcurrency < 1 || maxConcurrency > MOST_CONCURRENCY) {
      throw new LongtailError(
        'BAD_OPTION',
        `maxConcurrency is a whole number from 1 to ${MOST_CONCURRENCY}.`,
        `Give setConcurrency() such a number; it was given ${String(maxConcurrency)}.`,
      );
    }
    if (this.#phase.kind === 'opening') this.#phase.maxConcurrency = maxConcurrency;
    if (this.#phase.kind === 'running') this.#phase.execution.setConcurrency(maxConcurrency);
  }

  async halt(reason = 'asked'): Promise<void> {
    this.#askToHalt({ kind: 'asked', reason });
    await this.#running?.catch(() => undefined);
  }

  #askToHalt(reason: HaltReason): void {
    this.#isHalting = true;
    if (this.#phase.kind === 'opening') this.#phase.halt ??= reason;
    if (this.#phase.kind === 'running') this.#phase.execution.halt(reason);
  }

  async close(): Promise<void> {
    await this.halt('closed');
    this.#phase = { kind: 'closed' };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** Whether the database may answer when it is asked again. */
function isAway(error: unknown): boolean {
  if (error instanceof LongtailError) return error.code === 'DATABASE_UNAVAILABLE';
  return toFailure(error)?.kind === 'databaseAway';
}

function outcomeOf(ending: Ending, figures: RunFigures, serviceAccountEmail: string | undefined): Outcome {
  switch (ending.status) {
    case 'complete':
    case 'completeWithFailures':
      return { status: ending.status, ...figures, haltReason: null };
    case 'halted':
      return { status: 'halted', ...figures, haltReason: ending.reason };
    case 'failed':
      return {
        status: 'failed',
        ...figures,
        haltReason: null,
        failure: explainFatal(ending.fatal, { siteUrl: figures.siteUrl, serviceAccountEmail }),
      };
  }
}

/** The ending as the run's row has it. */
function endOf(ending: Ending): { readonly status: Ending['status']; readonly reason?: string } {
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

function abortReason(signal: AbortSignal | undefined): string {
  const reason: unknown = signal?.reason;
  return typeof reason === 'string' ? reason : 'the signal was aborted';
}
