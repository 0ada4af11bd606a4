/**
 * The leases of one run on its property and its account: acquired at the start, renewed during the run, released at the end.
 * They hold no connection, except one presence session per process.
 */
import { createActor, type InspectionEvent, type Observer } from 'xstate';
import { createLeaseBook } from '../actors/lease-book.ts';
import type { CallPermit } from '../domain/call-permit.ts';
import type { Clock } from '../domain/clock.ts';
import { LongtailError } from '../domain/errors.ts';
import {
  isValid,
  type LeaseValidity,
  leaseJoined,
  lookAgain,
  NO_LOOK,
  renewalAsked,
  renewalKept,
  validSince,
} from '../domain/lease-rules.ts';
import { createStopwatch } from '../domain/stopwatch.ts';
import { pause, within } from '../domain/wait.ts';
import { isKept, leaseKeeperMachine } from '../machines/lease-keeper/lease-keeper.ts';
import type { Database } from '../postgres/connection/connect.ts';
import {
  createLeaseTable,
  LEASE_MS,
  type LeaseTable,
  type PropertyGrant,
  propertyResource,
  type Taking,
  type TakingOptions,
} from '../postgres/locks/lease-book.ts';
import { enterPresence, NO_PRESENCE, type Presence } from '../postgres/locks/presence.ts';
import { actorClock } from './limiter.ts';
import type { LimiterInternals } from './limiter-internals.ts';

const RENEW_EVERY_MS = 10_000;
const RETRY_MS = 1_000;
/** Allows for clock drift within a minute and for late timers. */
const CLOCK_MARGIN_MS = 5_000;
/** How long this process relies on a lease. */
const OWN_LEASE_MS = LEASE_MS - CLOCK_MARGIN_MS;
const ANSWER_WITHIN_MS = 20_000;
/** Long enough for a server restart. */
const GIVE_UP_MS = 300_000;
/** Polling interval while another process holds the lease; it grows because a live holder usually keeps it for long. */
const POLL_INTERVAL_MS = { first: 1_000, max: 15_000 };
/** A live process that lost its session re-enters its presence or renews its lease within this time. */
const GONE_AFTER_MS = 500;
const RELEASE_WITHIN_MS = 1_000;
const RELEASE_RETRY_MS = 100;

export interface KeptLeases extends PropertyGrant, CallPermit {
  /** Unique to this run. */
  readonly holder: string;
  /** Resolves with the reason when a lease is lost for good. Never rejects. */
  readonly lost: Promise<string>;
  /**
   * Acquires the lease on the account's quota, `user:…`. Rejects with USER_SCOPE_BUSY when another process holds it.
   */
  takeAccount(scope: string, limiter: Pick<LimiterInternals, 'id'>): Promise<void>;
  /** Releases all leases, within a second even if the database does not answer. Safe to repeat, and after a loss. */
  release(): Promise<void>;
}

export interface LeaseOptions {
  readonly siteUrl: string;
  readonly clock: Clock;
  readonly newId: () => string;
  /** Wait while another run holds the property or the account. */
  readonly wait: boolean;
  readonly signal: AbortSignal;
  readonly inspect?: Observer<InspectionEvent> | ((event: InspectionEvent) => void) | undefined;
  /** Milliseconds since some moment, see {@link createStopwatch}. */
  readonly stopwatch?: () => number;
}

/**
 * Acquires the property, and enters this process's presence if a connection can be spared for it. Rejects with PROPERTY_BUSY
 * when another run holds the property, with another LongtailError when the database does not answer, and with the
 * signal's reason when it is aborted.
 */
export async function takeLeases(database: Database, options: LeaseOptions): Promise<KeptLeases> {
  const { sql } = database;
  const presence = database.maySpareConnection
    ? await enterPresence(sql, options.clock, () => `longtail:presence:${options.newId()}`)
    : NO_PRESENCE;
  return await takeLeasesIn(createLeaseTable(sql, options.clock), presence, options);
}

/** As {@link takeLeases}, in any table. Leaves the presence at the end and when it fails. */
export async function takeLeasesIn(
  table: LeaseTable,
  presence: Presence,
  options: LeaseOptions,
): Promise<KeptLeases> {
  const { newId, siteUrl, stopwatch = createStopwatch() } = options;
  try {
    const holder = newId();
    const taken = await patiently(
      (how) => table.takeProperty(siteUrl, { id: holder, party: holder }, how),
      () =>
        new LongtailError(
          'PROPERTY_BUSY',
          `Another synchronisation of "${siteUrl}" is under way in this database.`,
          'Wait for it to end (`--wait`, or `wait: true`), or stop it. This run has changed nothing.',
        ),
      { ...options, presence, stopwatch },
    );
    return new Keeping(table, options, presence, { taken, holder, stopwatch });
  } catch (error) {
    await presence.leave();
    throw error;
  }
}

interface Start {
  readonly taken: Taken<PropertyGrant>;
  readonly holder: string;
  readonly stopwatch: () => number;
}

class Keeping implements KeptLeases {
  readonly propertyId: string;
  readonly epoch: string;
  readonly holder: string;
  readonly lost: Promise<string>;
  readonly #table: LeaseTable;
  readonly #options: LeaseOptions;
  readonly #presence: Presence;
  readonly #stopwatch: () => number;
  readonly #resources: string[];
  readonly #keeper;
  readonly #stopListening: () => void;
  #validity: LeaseValidity;
  #releasing: Promise<void> | undefined;

  constructor(table: LeaseTable, options: LeaseOptions, presence: Presence, start: Start) {
    const { taken, holder, stopwatch } = start;
    const { clock, inspect, siteUrl } = options;
    this.#table = table;
    this.#options = options;
    this.#presence = presence;
    this.#stopwatch = stopwatch;
    this.propertyId = taken.value.propertyId;
    this.epoch = taken.value.epoch;
    this.holder = holder;
    this.#resources = [propertyResource(siteUrl)];
    this.#validity = validSince(taken.askedAt, OWN_LEASE_MS);
    const machine = leaseKeeperMachine.provide({
      actors: {
        leaseBook: createLeaseBook({
          clock,
          answerWithinMs: ANSWER_WITHIN_MS,
          renew: () => table.renew(holder, [...this.#resources], presence.name()),
          onAsked: (serial) => {
            this.#validity = renewalAsked(this.#validity, serial, stopwatch());
          },
          onKept: (serial) => {
            this.#validity = renewalKept(this.#validity, serial, OWN_LEASE_MS);
          },
        }),
      },
    });
    this.#keeper = createActor(machine, {
      input: {
        leaseMs: OWN_LEASE_MS,
        ageMs: stopwatch() - taken.askedAt,
        renewEveryMs: RENEW_EVERY_MS,
        retryMs: RETRY_MS,
        giveUpMs: GIVE_UP_MS,
      },
      clock: actorClock(clock),
      ...(inspect === undefined ? {} : { inspect }),
    });
    this.lost = new Promise((resolve) => {
      this.#keeper.on('lease.lost', ({ reason }) => resolve(reason));
      // A bug in the keeper: the leases are no longer renewed.
      this.#keeper.subscribe({
        error: (error) => resolve(error instanceof Error ? error.message : String(error)),
      });
    });
    this.#stopListening = presence.onChange(() => {
      if (this.#isActive()) this.#keeper.send({ type: 'lease.changed' });
    });
    this.#keeper.start();
    this.#tellChange(taken.shown);
  }

  /** A lease that names an old presence would look like one of a dead process. */
  #tellChange(shown: string | null): void {
    if (this.#presence.name() !== shown && this.#isActive()) this.#keeper.send({ type: 'lease.changed' });
  }

  mayCall(): boolean {
    return isKept(this.#keeper.getSnapshot()) && isValid(this.#validity, this.#stopwatch());
  }

  async whenKept(signal: AbortSignal): Promise<boolean> {
    while (!this.mayCall()) {
      if (signal.aborted || !this.#isActive()) return false;
      await this.#nextChange(signal);
    }
    return !signal.aborted;
  }

  /** Waits for the keeper's next step, at most `RETRY_MS`: a lease that is over by our clock alone is renewed soon. */
  #nextChange(signal: AbortSignal): Promise<void> {
    const { clock } = this.#options;
    return new Promise((resolve) => {
      const over = (): void => {
        clock.clearTimeout(timer);
        subscription.unsubscribe();
        signal.removeEventListener('abort', over);
        resolve();
      };
      const timer = clock.setTimeout(over, RETRY_MS);
      const subscription = this.#keeper.subscribe({ next: over, complete: over, error: over });
      signal.addEventListener('abort', over, { once: true });
    });
  }

  async takeAccount(scope: string, limiter: Pick<LimiterInternals, 'id'>): Promise<void> {
    const { clock, wait } = this.#options;
    const giveUp = new AbortController();
    void this.lost.then((reason) => giveUp.abort(new LongtailError('LOCK_LOST', reason, 'Run again.')));
    const taken = await patiently(
      // Runs that share a limiter share the lease on the account.
      (how) => this.#table.takeScope(scope, { id: this.holder, party: limiter.id }, how),
      () =>
        new LongtailError(
          'USER_SCOPE_BUSY',
          'Another process uses the same Google account. Together they would exceed its quota.',
          'Wait for it to end (`--wait`, or `wait: true`), use other credentials, or run both in one process with a shared rate limiter.',
        ),
      {
        clock,
        wait,
        signal: AbortSignal.any([this.#options.signal, giveUp.signal]),
        presence: this.#presence,
        stopwatch: this.#stopwatch,
      },
    );
    this.#resources.push(scope);
    this.#validity = leaseJoined(this.#validity, taken.askedAt, OWN_LEASE_MS);
    this.#tellChange(taken.shown);
  }

  release(): Promise<void> {
    this.#releasing ??= this.#release();
    return this.#releasing;
  }

  async #release(): Promise<void> {
    this.#stopListening();
    if (this.#isActive()) this.#keeper.send({ type: 'release' });
    const { clock } = this.#options;
    const over = new AbortController();
    // If the database does not answer, the leases expire.
    await within(clock, RELEASE_WITHIN_MS, this.#giveUp(over.signal));
    over.abort();
    await this.#presence.leave();
  }

  /** Retries if the session ends during the release: the next run should not wait until the leases expire. */
  async #giveUp(signal: AbortSignal): Promise<void> {
    while (!signal.aborted && !(await this.#table.release(this.holder))) {
      await pause(this.#options.clock, RELEASE_RETRY_MS, signal);
    }
  }

  #isActive(): boolean {
    return this.#keeper.getSnapshot().status === 'active';
  }
}

/** An acquired lease. */
interface Taken<T> {
  readonly value: T;
  /** Stopwatch time just before the request: the lease is valid from here on. */
  readonly askedAt: number;
  /** The presence that its row names. */
  readonly shown: string | null;
}

interface Patience extends Pick<LeaseOptions, 'clock' | 'wait' | 'signal'> {
  readonly presence: Presence;
  readonly stopwatch: () => number;
}

/**
 * Polls until the lease is acquired or its holder proves to be alive. A holder without a presence is alive if it renews its
 * lease, and dead if the lease expires. A holder whose presence has gone is dead if it does not return within a moment.
 */
async function patiently<T>(
  take: (how: TakingOptions) => Promise<Taking<T>>,
  busy: () => LongtailError,
  { clock, wait, signal, presence, stopwatch }: Patience,
): Promise<Taken<T>> {
  let looks = NO_LOOK;
  let lookMs = POLL_INTERVAL_MS.first;
  for (;;) {
    signal.throwIfAborted();
    const askedAt = stopwatch();
    const shown = presence.name();
    const taking = await take({ presence: shown, goneSince: looks.goneSince });
    if (taking.kind === 'taken') return { value: taking.value, askedAt, shown };
    const looked = lookAgain(looks, taking);
    looks = looked.looks;
    if (looked.isAlive && !wait) throw busy();
    await pause(clock, taking.holder === 'gone' ? GONE_AFTER_MS : lookMs, signal);
    if (looked.isAlive) lookMs = Math.min(1.5 * lookMs, POLL_INTERVAL_MS.max);
  }
}
