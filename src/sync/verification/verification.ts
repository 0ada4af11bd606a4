/** The public `Verification`. Its life is the same statechart as a synchronisation's, with another machine in it. */
import { type Clock, systemClock } from '../../domain/clock.ts';
import { oldestDayKept, pacificDay } from '../../domain/day.ts';
import { LongtailError } from '../../domain/errors.ts';
import type { Ending } from '../../machines/coordinator/context.ts';
import { haltShares } from '../../machines/run-life/context.ts';
import { toldError } from '../../postgres/connection/told-error.ts';
import { finishRun } from '../../postgres/queries/run.ts';
import { countOlderDays, readSampleSlices } from '../../postgres/queries/sample.ts';
import { startVerificationRun } from '../../postgres/queries/verification-run.ts';
import { guardInspect } from '../guarded-inspect.ts';
import { answered, endOf, errorOf, type Life, type LifeActors, startLife } from '../life.ts';
import { following, inOneLine, tell } from '../life-commands.ts';
import { createListeners } from '../listeners.ts';
import { explainFatal } from '../next-steps.ts';
import { Holdings } from '../resources.ts';
import { readVerificationConfig, type VerificationConfig } from './config.ts';
import { scopeOf, startVerification, type VerificationExecution } from './execution.ts';
import { figuresOf } from './figures.ts';
import type {
  Verification,
  VerificationEvents,
  VerificationFigures,
  VerificationOptions,
  VerificationOutcome,
} from './types.ts';

/**
 * Prepares a check of one property's table against Google: a sample of its rows, and some keys that it does not have, are
 * asked for one by one. Nothing is opened before `run`.
 * @throws LongtailError `BAD_OPTION` or `INSECURE_ROOT`, with the correction.
 */
export function createVerification(options: VerificationOptions): Verification {
  const clock = systemClock;
  const config = readVerificationConfig(options, pacificDay(clock.now()), clock.random());
  return new PropertyVerification(config, clock);
}

class PropertyVerification implements Verification {
  readonly #config: VerificationConfig;
  readonly #clock: Clock;
  readonly #listeners = createListeners<VerificationEvents>();
  readonly #holdings: Holdings;
  readonly #inspect: ReturnType<typeof guardInspect>;
  readonly #life: Pick<Life, 'actor' | 'ended'>;
  #execution: VerificationExecution | undefined;
  #startedAt = 0;
  #daysTooOld = 0;
  #outcome: VerificationOutcome | undefined;

  constructor(config: VerificationConfig, clock: Clock) {
    this.#config = config;
    this.#clock = clock;
    const { base, options, dataset, searchType, sample, seed } = config;
    const { from, to } = base;
    this.#inspect = guardInspect(options.inspect);
    const inspect = this.#inspect === undefined ? {} : { inspect: this.#inspect };
    this.#holdings = new Holdings(
      base,
      { ...options, ...inspect },
      clock,
      (notice) => this.#listeners.emit('notice', notice),
      (sql, lock) =>
        startVerificationRun(sql, lock, { from, to, verification: { dataset, searchType, sample, seed } }),
    );
    this.#life = startLife({
      purpose: 'run',
      config: base,
      clock,
      inspect: this.#inspect,
      actors: {
        open: async (step, signal) => {
          await this.#holdings.open(step, signal);
          if (step === 'schema') await this.#requireSomething();
        },
        execute: (given) => this.#execute(given),
        ask: ({ question, ending }) =>
          answered(this.#ask(question === 'record' ? ending : undefined), () => this.#sql),
        closeAll: async (result, signal) => {
          this.#conclude(result.ending);
          await this.#holdings.close(result.withinMs, signal);
        },
      },
    });
  }

  on<K extends keyof VerificationEvents>(
    type: K,
    listener: (event: VerificationEvents[K]) => void,
  ): () => void {
    return this.#listeners.on(type, listener);
  }

  async run({ signal }: { readonly signal?: AbortSignal | undefined } = {}): Promise<VerificationOutcome> {
    const snapshot = this.#life.actor.getSnapshot();
    if (snapshot.matches('closed')) {
      throw new LongtailError(
        'CLOSED',
        'This verification is closed.',
        'Create a new one with createVerification().',
      );
    }
    if (!snapshot.matches('ready')) {
      throw new LongtailError(
        'ALREADY_RUN',
        'This verification has already run.',
        'Create a new one with createVerification().',
      );
    }
    this.#startedAt = this.#clock.now();
    const { fault } = await following(signal, this.#life);
    if (fault !== undefined) throw errorOf(fault);
    if (this.#outcome === undefined) throw new Error('the verification ended without an outcome');
    return this.#outcome;
  }

  async halt(reason: unknown = 'asked'): Promise<void> {
    const isOver = ['ready', 'ended', 'closed'].some(
      (state) => this.#life.actor.getSnapshot().value === state,
    );
    if (isOver) return;
    tell(this.#life, { type: 'halt', reason: { kind: 'asked', reason: inOneLine(reason) } });
    await Promise.allSettled([this.#life.ended]);
  }

  async close(): Promise<void> {
    await this.halt('closed');
    tell(this.#life, { type: 'close' });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  get #sql() {
    return this.#holdings.need('database').sql;
  }

  /** Before the property is taken: a property that the table does not have must not come into being. */
  async #requireSomething(): Promise<void> {
    const { base, dataset, searchType } = this.#config;
    const { siteUrl, from, to, today } = base;
    try {
      const slices = await readSampleSlices(this.#sql, scopeOf(this.#config));
      this.#daysTooOld = await countOlderDays(
        this.#sql,
        { siteUrl, dataset, searchType },
        oldestDayKept(today),
      );
      if (slices.some(({ rows }) => rows > 0)) return;
    } catch (error) {
      throw await toldError(this.#sql, error);
    }
    const what = [dataset ?? 'any dataset', ...(searchType === null ? [] : [searchType])].join(', ');
    throw new LongtailError(
      'NOTHING_TO_VERIFY',
      `The table has no complete and final day with rows of "${siteUrl}" (${what}) from ${from} to ${to}.`,
      'Run a synchronisation first, or name another range or dataset. Days of the last three days are not final.',
    );
  }

  #execute: LifeActors['execute'] = ({ sendBack, receive }) => {
    const { executionMs } = haltShares(this.#config.base.haltDeadlineMs);
    const resources = this.#holdings.all();
    const started = startVerification(
      this.#config,
      executionMs,
      resources,
      this.#clock,
      this.#listeners,
      this.#inspect,
    );
    this.#execution = started;
    receive((order) => {
      if (order.type === 'halt') started.halt(order.reason);
    });
    void resources.leases.lost.then((reason) =>
      started.fail({ code: 'LOCK_LOST', reason: `a lease is lost: ${reason}` }),
    );
    void resources.database.hostEnded.then(() =>
      started.halt({ kind: 'asked', reason: 'the given pool has been closed' }),
    );
    started.ended.then(
      async (ending) => {
        const isQuiet = await started.quiesce();
        sendBack({ type: 'execution.ended', ending: this.#judged(ending), isQuiet });
      },
      async (error: unknown) => {
        await started.quiesce();
        sendBack({ type: 'execution.broke', error });
      },
    );
    return () => void started.quiesce();
  };

  /** In the run's row, one that found everything equal is `complete`. */
  #judged(ending: Ending): Ending {
    if (ending.status !== 'complete') return ending;
    const { equal, different, unanswered } = this.#found();
    const isClean = different + unanswered === 0 && equal > 0;
    return isClean ? ending : { status: 'completeWithFailures' };
  }

  /** Nothing but the end of the run is written; there is nothing to tidy or to read. */
  async #ask(ending: Ending | undefined): Promise<void> {
    if (ending !== undefined) await finishRun(this.#sql, this.#holdings.need('run'), endOf(ending));
  }

  #found() {
    return figuresOf(this.#execution?.checks.all() ?? [], this.#execution?.drawn());
  }

  #conclude(ending: Ending | undefined): void {
    if (ending === undefined) return;
    const { base, dataset, searchType, seed, sample } = this.#config;
    const { siteUrl, from, to } = base;
    const { apiCalls = 0, httpCalls = 0, quotaRefusals = 0 } = this.#execution?.counters ?? {};
    const figures: VerificationFigures = {
      siteUrl,
      from,
      to,
      dataset,
      searchType,
      seed,
      sample,
      daysTooOld: this.#daysTooOld,
      ...this.#found(),
      apiCalls,
      httpCalls,
      quotaRefusals,
      durationMs: this.#clock.now() - this.#startedAt,
    };
    const serviceAccountEmail = this.#holdings.opened.auth?.identity.serviceAccountEmail;
    this.#outcome = outcomeOf(ending, figures, serviceAccountEmail);
  }
}

function outcomeOf(
  ending: Ending,
  figures: VerificationFigures,
  serviceAccountEmail: string | undefined,
): VerificationOutcome {
  switch (ending.status) {
    case 'complete':
      return { status: 'equal', ...figures, haltReason: null };
    case 'completeWithFailures':
      return { status: figures.different > 0 ? 'different' : 'incomplete', ...figures, haltReason: null };
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
