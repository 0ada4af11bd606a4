import type { Sql } from 'postgres';
import type { Clock } from '../domain/clock.ts';
import { errorFacts } from './failure.ts';
import type { HeldLock } from './held-lock.ts';
import { type PropertyLock, retakeProperty } from './property-lock.ts';

const RETAKE_INTERVAL_MS = 250;
/** A server that was restarted is back by then, and one that lost us without knowing has noticed. */
const RETAKE_WITHIN_MS = 300_000;

/**
 * A property's lock that outlives its connection: when that dies (the server restarts, an administrator ends the
 * session), it is taken again, and the run goes on. It is lost for good when another run has taken the property over,
 * or when it cannot be had again in five minutes.
 *
 *   held ──connection dies──► retaking ──taken, epoch unchanged──► held
 *     │                          │ epoch raised · too late
 *     └──release──► released     └──────────────────► lost
 *
 * What is written meanwhile is safe without it: whoever takes the property over raises its epoch first, and then every
 * commit of this run is refused.
 */
export function keepPropertyLock(sql: Sql, siteUrl: string, first: PropertyLock, clock: Clock): PropertyLock {
  return new KeptLock(sql, siteUrl, first, clock);
}

type Retaken = { readonly kind: 'taken' } | { readonly kind: 'notYet' | 'never'; readonly reason: string };

class KeptLock implements PropertyLock {
  readonly propertyId: string;
  readonly epoch: string;
  readonly lost: Promise<string>;
  readonly #sql: Sql;
  readonly #siteUrl: string;
  readonly #clock: Clock;
  readonly #released = Promise.withResolvers<undefined>();
  /** Names of the locks that were taken beside the property's. */
  readonly #others: string[] = [];
  readonly #keeping: Promise<void>;
  #held: HeldLock;
  #isReleased = false;

  constructor(sql: Sql, siteUrl: string, first: PropertyLock, clock: Clock) {
    this.#sql = sql;
    this.#siteUrl = siteUrl;
    this.#clock = clock;
    this.#held = first;
    this.propertyId = first.propertyId;
    this.epoch = first.epoch;
    const lost = Promise.withResolvers<string>();
    this.lost = lost.promise;
    this.#keeping = this.#keep().then((reason) => {
      if (reason !== undefined) lost.resolve(reason);
    });
  }

  async alsoTake(name: string): Promise<boolean> {
    const taken = await this.#held.alsoTake(name);
    if (taken) this.#others.push(name);
    return taken;
  }

  async release(): Promise<void> {
    this.#isReleased = true;
    this.#released.resolve(undefined);
    await this.#keeping;
    await this.#held.release();
  }

  /** Resolves with why the lock is lost for good, or with undefined when it was released. */
  async #keep(): Promise<string | undefined> {
    for (;;) {
      const cause = await Promise.race([this.#held.lost, this.#released.promise]);
      if (cause === undefined) return undefined;
      const deadline = this.#clock.now() + RETAKE_WITHIN_MS;
      let outcome = await this.#retakeOrRelease();
      while (outcome.kind === 'notYet' && !this.#isReleased && this.#clock.now() < deadline) {
        await this.#pause();
        outcome = await this.#retakeOrRelease();
      }
      if (outcome.kind === 'taken') continue;
      if (this.#isReleased) return undefined;
      return outcome.kind === 'notYet' ? `${cause}; ${outcome.reason}` : outcome.reason;
    }
  }

  /** Whoever releases does not wait for a database that may not answer. */
  #retakeOrRelease(): Promise<Retaken> {
    const released = this.#released.promise.then(() => ({ kind: 'notYet', reason: 'released' }) as const);
    return Promise.race([this.#retake(), released]);
  }

  async #retake(): Promise<Retaken> {
    try {
      const taking = await retakeProperty(this.#sql, this.#siteUrl, this, this.#clock);
      if (taking.kind === 'takenOver') {
        return { kind: 'never', reason: 'another run has taken the property over' };
      }
      if (taking.kind === 'busy') return { kind: 'notYet', reason: 'somebody else holds it' };
      for (const name of this.#others) {
        if (await taking.lock.alsoTake(name)) continue;
        await taking.lock.release();
        return { kind: 'notYet', reason: 'another process uses the same account' };
      }
      if (this.#isReleased) {
        await taking.lock.release();
        return { kind: 'notYet', reason: 'released' };
      }
      this.#held = taking.lock;
      return { kind: 'taken' };
    } catch (error) {
      return { kind: 'notYet', reason: errorFacts(error).message };
    }
  }

  async #pause(): Promise<void> {
    const over = Promise.withResolvers<undefined>();
    const timer = this.#clock.setTimeout(() => over.resolve(undefined), RETAKE_INTERVAL_MS);
    await Promise.race([over.promise, this.#released.promise]);
    this.#clock.clearTimeout(timer);
  }
}
