/** The public `Sync`. Each command goes to the run's statechart, `machines/run-life/run-life.ts`. */

import { type Clock, systemClock } from '../domain/clock.ts';
import { pacificDay } from '../domain/day.ts';
import { LongtailError } from '../domain/errors.ts';
import { peakRssBytes } from '../domain/peak-memory.ts';
import type { Ending } from '../machines/coordinator/context.ts';
import type { HaltReason } from '../machines/messages.ts';
import type { LifeResult } from '../machines/run-life/context.ts';
import { keysOf } from '../planning/plan.ts';
import { type Config, MAX_CONCURRENCY, readConfig } from './config.ts';
import { createLife, errorOf, type Life, type Missing } from './life.ts';
import { following, inOneLine, tell } from './life-commands.ts';
import { createListeners } from './listeners.ts';
import { explainFatal } from './next-steps.ts';
import { createTelemetry } from './telemetry.ts';
import type { DryRun, Outcome, RunFigures, Sync, SyncEvents, SyncOptions } from './types.ts';

/**
 * Prepares one property's synchronisation. Nothing is opened before `run` or `dryRun`.
 * @throws LongtailError `BAD_OPTION` or `INSECURE_ROOT`, with the correction.
 */
export function createSync(options: SyncOptions): Sync {
  const clock = systemClock;
  return new PropertySync(readConfig(options, pacificDay(clock.now())), options, clock);
}

class PropertySync implements Sync {
  readonly #config: Config;
  readonly #options: SyncOptions;
  readonly #clock: Clock;
  readonly #listeners = createListeners<SyncEvents>();
  readonly #life: Life;
  readonly #dryRuns = new Set<Life>();
  #startedAt = 0;
  #outcome: Outcome | undefined;

  constructor(config: Config, options: SyncOptions, clock: Clock) {
    this.#config = config;
    this.#options = options;
    this.#clock = clock;
    this.#life = createLife({
      purpose: 'run',
      config,
      options,
      clock,
      listeners: this.#listeners,
      conclude: (life, result) => this.#conclude(life, result),
    });
  }

  on<K extends keyof SyncEvents>(type: K, listener: (event: SyncEvents[K]) => void): () => void {
    return this.#listeners.on(type, listener);
  }

  async run({ signal }: { readonly signal?: AbortSignal | undefined } = {}): Promise<Outcome> {
    this.#refuseWhenClosed();
    if (!this.#life.actor.getSnapshot().matches('ready')) {
      throw new LongtailError(
        'ALREADY_RUN',
        'This synchronisation has already run.',
        'Create a new one with createSync().',
      );
    }
    this.#startedAt = this.#clock.now();
    const { fault } = await following(signal, this.#life);
    if (fault !== undefined) throw errorOf(fault);
    if (this.#outcome === undefined) throw new Error('the run ended without an outcome');
    return this.#outcome;
  }

  async dryRun({ signal }: { readonly signal?: AbortSignal | undefined } = {}): Promise<DryRun> {
    this.#refuseWhenClosed();
    const life = createLife({
      purpose: 'dryRun',
      config: this.#config,
      options: this.#options,
      clock: this.#clock,
      listeners: this.#listeners,
      conclude: () => undefined,
    });
    this.#dryRuns.add(life);
    try {
      const { fault, ending } = await following(signal, life);
      if (fault !== undefined) throw errorOf(fault);
      const missing = life.missing();
      if (ending !== undefined || missing === undefined) {
        throw new LongtailError('HALTED', 'The dry run was halted before it had a result.', 'Run it again.');
      }
      return this.#planOf(missing);
    } finally {
      this.#dryRuns.delete(life);
      tell(life, { type: 'close' });
    }
  }

  pause(): void {
    tell(this.#life, { type: 'pause' });
  }

  resume(): void {
    tell(this.#life, { type: 'resume' });
  }

  setConcurrency(maxConcurrency: number): void {
    if (!Number.isInteger(maxConcurrency) || maxConcurrency < 1 || maxConcurrency > MAX_CONCURRENCY) {
      throw new LongtailError(
        'BAD_OPTION',
        `maxConcurrency is a whole number from 1 to ${MAX_CONCURRENCY}.`,
        `Give setConcurrency() such a number; it was given ${String(maxConcurrency)}.`,
      );
    }
    tell(this.#life, { type: 'concurrency.change', maxConcurrency });
  }

  async halt(reason: unknown = 'asked'): Promise<void> {
    const wish: HaltReason = { kind: 'asked', reason: inOneLine(reason) };
    const underWay = [this.#life, ...this.#dryRuns].filter(
      ({ actor }) => !['ready', 'ended', 'closed'].some((state) => actor.getSnapshot().value === state),
    );
    for (const life of underWay) tell(life, { type: 'halt', reason: wish });
    await Promise.allSettled(underWay.map(({ ended }) => ended));
  }

  async close(): Promise<void> {
    await this.halt('closed');
    tell(this.#life, { type: 'close' });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #refuseWhenClosed(): void {
    if (!this.#life.actor.getSnapshot().matches('closed')) return;
    throw new LongtailError(
      'CLOSED',
      'This synchronisation is closed.',
      'Create a new one with createSync().',
    );
  }

  /** Builds the outcome and reports it to telemetry before that closes. */
  #conclude(life: Life, { ending, figures, fault }: LifeResult): void {
    const { auth } = life.holdings.opened;
    const { siteUrl, from, to } = this.#config;
    // A run that did not get as far as its telemetry is one that ended, too.
    const telemetry = life.holdings.opened.telemetry ?? createTelemetry(siteUrl, this.#clock);
    const durationMs = this.#clock.now() - this.#startedAt;
    if (fault !== undefined) telemetry.runThrew(errorOf(fault), durationMs);
    if (fault !== undefined || ending === undefined) return;
    const counters = life.execution()?.figures.counters;
    const {
      apiCalls = 0,
      httpCalls = 0,
      retries = 0,
      quotaRefusals = 0,
      shortPages = 0,
      rows = 0,
    } = counters ?? {};
    const all: RunFigures = {
      siteUrl,
      from,
      to,
      ...life.held(figures),
      apiCalls,
      httpCalls,
      retries,
      quotaRefusals,
      shortPages,
      durationMs,
      peakRssBytes: peakRssBytes(),
    };
    const outcome = outcomeOf(ending, all, auth?.identity.serviceAccountEmail);
    this.#outcome = outcome;
    telemetry.runEnded({
      status: outcome.status,
      durationMs,
      ...('failure' in outcome ? { reason: outcome.failure.message } : {}),
      rows,
      apiCalls,
      httpCalls,
    });
  }

  #planOf(missing: Missing): DryRun {
    const { batchSize, requestsPerMinute, siteUrl, from, to } = this.#config;
    const apiCalls = missing.slices + missing.calendars;
    return {
      siteUrl,
      from,
      to,
      slicesPlanned: keysOf(this.#config).length,
      slicesToFetch: missing.slices,
      apiCalls,
      httpCalls: Math.ceil(missing.calendars / batchSize) + Math.ceil(missing.slices / batchSize),
      // The requests of the first minute go out immediately; each further minute waits for a window.
      durationMs: apiCalls === 0 ? 0 : Math.floor((apiCalls - 1) / requestsPerMinute) * 60_000,
    };
  }
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
