import { pacificDay } from '../domain/day.ts';
import type { RefusalKind } from './api-errors.ts';

/**
 * Quotas of Search Analytics. Calls count when they arrive, and each call of a batch counts. Google's limits:
 * https://developers.google.com/webmaster-tools/limits
 */
export interface QuotaLimits {
  /** Maximum calls per minute and property, over all users. */
  readonly perSiteQpm: number;
  /** Maximum calls per minute and user, over all properties. */
  readonly perUserQpm: number;
  /** Maximum calls per minute in total: the emulator is one Google Cloud project. */
  readonly perProjectQpm: number;
  /** Maximum calls per day (Pacific time) in total. */
  readonly perDay: number;
  /**
   * Load units that a property may use in ten minutes. Undefined: no limit. A call costs one unit per day of its range, or
   * four if it groups or filters by page or query. Google publishes no numbers: these are assumptions.
   */
  readonly loadPerTenMinutes: number | undefined;
  /** Whether refused calls count as well. */
  readonly countRefused: boolean;
}

export const DEFAULT_LIMITS: QuotaLimits = {
  perSiteQpm: 1_200,
  perUserQpm: 1_200,
  perProjectQpm: 40_000,
  perDay: 30_000_000,
  loadPerTenMinutes: undefined,
  countRefused: false,
};

const MINUTE_MS = 60_000;
const TEN_MINUTES_MS = 600_000;

/** Maximum number of calls, accepted or refused, that arrived in any 60 seconds: in total, per property and per user. */
export interface WidestWindows {
  readonly all: number;
  readonly bySite: Readonly<Record<string, number>>;
  readonly byUser: Readonly<Record<string, number>>;
}

export interface Arrival {
  readonly siteUrl: string;
  readonly user: string;
  readonly nowMs: number;
  /** Load units, see {@link QuotaLimits.loadPerTenMinutes}. */
  readonly load: number;
  /** The property's own limit, if it has one. */
  readonly siteQpm: number | undefined;
}

/** Counts calls in sliding windows and refuses those that exceed a limit. */
export class QuotaMeter {
  limits: QuotaLimits;
  readonly #site = new Windows(MINUTE_MS);
  readonly #user = new Windows(MINUTE_MS);
  readonly #project = new Windows(MINUTE_MS);
  readonly #load = new Windows(TEN_MINUTES_MS);
  readonly #seenSite = new Windows(MINUTE_MS);
  readonly #seenUser = new Windows(MINUTE_MS);
  readonly #seenAll = new Windows(MINUTE_MS);
  #day = '';
  #today = 0;

  constructor(limits: QuotaLimits) {
    this.limits = limits;
  }

  /** Counts a call that arrives now. Returns the quota that refuses it, or undefined. */
  arrive(arrival: Arrival): RefusalKind | undefined {
    const { siteUrl, user, nowMs, load } = arrival;
    this.#seenSite.of(siteUrl).add(nowMs, 1);
    this.#seenUser.of(user).add(nowMs, 1);
    this.#seenAll.of('').add(nowMs, 1);
    const day = pacificDay(nowMs);
    if (day !== this.#day) [this.#day, this.#today] = [day, 0];

    const refusal = this.#refusal(arrival);
    if (refusal === undefined || this.limits.countRefused) {
      this.#site.of(siteUrl).add(nowMs, 1);
      this.#user.of(user).add(nowMs, 1);
      this.#project.of('').add(nowMs, 1);
      this.#load.of(siteUrl).add(nowMs, load);
      this.#today += 1;
    }
    return refusal;
  }

  widest(): WidestWindows {
    return {
      all: this.#seenAll.of('').widest,
      bySite: this.#seenSite.widest(),
      byUser: this.#seenUser.widest(),
    };
  }

  #refusal({ siteUrl, user, nowMs, load, siteQpm }: Arrival): RefusalKind | undefined {
    const { perSiteQpm, perUserQpm, perProjectQpm, perDay, loadPerTenMinutes } = this.limits;
    if (this.#today >= perDay) return 'daily';
    if (this.#site.of(siteUrl).sum(nowMs) >= (siteQpm ?? perSiteQpm)) return 'qps';
    if (this.#user.of(user).sum(nowMs) >= perUserQpm) return 'qps';
    if (this.#project.of('').sum(nowMs) >= perProjectQpm) return 'qps';
    if (loadPerTenMinutes !== undefined && this.#load.of(siteUrl).sum(nowMs) + load > loadPerTenMinutes)
      return 'load';
    return undefined;
  }
}

/** A sliding window per key. */
class Windows {
  readonly #widthMs: number;
  readonly #byKey = new Map<string, SlidingWindow>();

  constructor(widthMs: number) {
    this.#widthMs = widthMs;
  }

  of(key: string): SlidingWindow {
    let window = this.#byKey.get(key);
    if (window === undefined) {
      window = new SlidingWindow(this.#widthMs);
      this.#byKey.set(key, window);
    }
    return window;
  }

  widest(): Record<string, number> {
    return Object.fromEntries([...this.#byKey].map(([key, window]) => [key, window.widest]));
  }
}

/** A sum over the last `widthMs`. An entry exactly that old no longer counts. */
class SlidingWindow {
  readonly #widthMs: number;
  readonly #entries: { readonly atMs: number; amount: number }[] = [];
  #first = 0;
  #sum = 0;
  /** Maximum sum that the window has held. */
  widest = 0;

  constructor(widthMs: number) {
    this.#widthMs = widthMs;
  }

  sum(nowMs: number): number {
    for (let entry = this.#entries[this.#first]; entry !== undefined; entry = this.#entries[this.#first]) {
      if (entry.atMs > nowMs - this.#widthMs) break;
      this.#sum -= entry.amount;
      this.#first += 1;
    }
    if (this.#first > 1_024 && this.#first * 2 > this.#entries.length) {
      this.#entries.splice(0, this.#first);
      this.#first = 0;
    }
    return this.#sum;
  }

  add(nowMs: number, amount: number): void {
    this.sum(nowMs);
    const last = this.#entries.at(-1);
    if (last !== undefined && last.atMs === nowMs && this.#first < this.#entries.length)
      last.amount += amount;
    else this.#entries.push({ atMs: nowMs, amount });
    this.#sum += amount;
    this.widest = Math.max(this.widest, this.#sum);
  }
}
