import type { Clock } from '../domain/clock.ts';
import type { RecoveredEvent } from '../machines/rate-limiter/rate-limiter.ts';
import type { LeaseRecord } from '../store/types.ts';

/** Longer than `readOpenLeases` looks back. */
const REMEMBERED_MS = 2 * 3_600_000;

interface Counted {
  /** Tokens that the limiter has counted for this lease. */
  tokens: number;
  /** When the last of them settled, by this process's clock. */
  settledAtMs: number;
  /** The same moment as the database writes it: comparable between two reads. */
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
 * Tokens that other processes and earlier runs took from one limiter's budgets. They are read at the start of every run,
 * and each counts once. A lease that settles later than assumed counts from its actual time.
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
   * Returns what is still to be counted of the leases in a database. Unsettled leases count as if their request had left
   * just now: the process may be gone while its bytes are still in transit.
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

  /** Groups by lease and scope. Skips the leases that this limiter granted itself. */
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

/** A stored lease id is `<run number>/<limiter id>-<n>…`. */
function isLeaseOf(limiterId: string, leaseId: string): boolean {
  return leaseId.slice(leaseId.indexOf('/') + 1).startsWith(`${limiterId}-`);
}
