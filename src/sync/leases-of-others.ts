import type { Clock } from '../domain/clock.ts';
import type { RecoveredEvent } from '../machines/rate-limiter/rate-limiter.ts';
import type { LeaseRecord } from '../store/types.ts';

/** Longer than any lease is read: see `readOpenLeases`. */
const REMEMBERED_MS = 2 * 3_600_000;

interface Counted {
  /** Tokens of it that the limiter counts, or has counted. */
  tokens: number;
  /** When the last of them settled, as the limiter has it. */
  settledAtMs: number;
  /** The moment in the database's own words, which two readings have in common. */
  settledAt: string | null;
  seenAtMs: number;
}

interface Found {
  readonly scope: string;
  unsettled: number;
  settled: number;
  settledMsAgo: number;
  settledAt: string | null;
}

/**
 * Tokens that others took from the budgets of one limiter: other processes, and runs before this one. They are read again
 * whenever a run begins, and each counts once; but one that has settled since, later than it was thought it could, counts
 * from then.
 */
export class LeasesOfOthers {
  readonly #limiterId: string;
  readonly #clock: Pick<Clock, 'now'>;
  readonly #counted = new Map<string, Counted>();

  constructor(limiterId: string, clock: Pick<Clock, 'now'>) {
    this.#limiterId = limiterId;
    this.#clock = clock;
  }

  /**
   * Of the leases that a database has, what is still to be counted. Those that never settled count as if their request had
   * left just now: the process that sent it is gone, its bytes may not be.
   */
  toCount(records: readonly LeaseRecord[], graceMs: number): RecoveredEvent['leases'] {
    const nowMs = this.#clock.now();
    for (const [key, { seenAtMs }] of this.#counted) {
      if (nowMs - seenAtMs > REMEMBERED_MS) this.#counted.delete(key);
    }
    const leases: { scope: string; tokens: number; settledMsAgo: number }[] = [];
    for (const [key, found] of this.#gather(records)) {
      const { scope, unsettled, settled, settledMsAgo, settledAt } = found;
      const known = this.#counted.get(key);
      const settledAtMs = nowMs - settledMsAgo;
      const hasSettledLater =
        known !== undefined && settledAt !== known.settledAt && settledAtMs > known.settledAtMs;
      const parts = [
        { tokens: unsettled, settledMsAgo: -graceMs },
        { tokens: settled, settledMsAgo },
      ].filter(({ tokens }) => tokens > 0);
      let isCounted = hasSettledLater ? 0 : (known?.tokens ?? 0);
      for (const part of parts) {
        const tokens = Math.max(0, part.tokens - isCounted);
        isCounted = Math.max(0, isCounted - part.tokens);
        if (tokens > 0) leases.push({ scope, tokens, settledMsAgo: part.settledMsAgo });
      }
      const latest = Math.max(
        settled > 0 ? settledAtMs : Number.NEGATIVE_INFINITY,
        known?.settledAtMs ?? (unsettled > 0 ? nowMs + graceMs : Number.NEGATIVE_INFINITY),
      );
      this.#counted.set(key, {
        tokens: Math.max(known?.tokens ?? 0, unsettled + settled),
        settledAtMs: latest,
        settledAt,
        seenAtMs: nowMs,
      });
    }
    return leases;
  }

  /** By lease and scope; what this limiter granted itself it knows better than any table. */
  #gather(records: readonly LeaseRecord[]): ReadonlyMap<string, Found> {
    const found = new Map<string, Found>();
    for (const { leaseId, scope, tokens, settledMsAgo, settledAt } of records) {
      if (isLeaseOf(this.#limiterId, leaseId)) continue;
      const key = JSON.stringify([leaseId, scope]);
      const lease = found.get(key) ?? { scope, unsettled: 0, settled: 0, settledMsAgo: 0, settledAt: null };
      if (settledMsAgo === null) lease.unsettled += tokens;
      else {
        lease.settled += tokens;
        lease.settledMsAgo = settledMsAgo;
        lease.settledAt = settledAt;
      }
      found.set(key, lease);
    }
    return found;
  }
}

/** Names of runs begin with their limiter's, and stored names of leases with the number of the run in its database. */
function isLeaseOf(limiterId: string, leaseId: string): boolean {
  return leaseId.slice(leaseId.indexOf('/') + 1).startsWith(`${limiterId}-`);
}
