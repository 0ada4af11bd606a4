import { LEASE_LOST } from '../../src/postgres/connection/answer.ts';
import type { LeaseGrant, LeaseRecord, LeaseSettlement, RunIdentity } from '../../src/store/types.ts';
import type { LeaseRows } from './lease-rows.ts';
import { Refused } from './table-rows.ts';

const HOUR_MS = 3_600_000;

interface LeaseRow {
  readonly leaseId: string;
  readonly scope: string;
  tokens: number;
  settledTokens: number;
  readonly grantedAt: number;
  settledAt: number | null;
}

/** Tokens granted, by lease and scope. */
export class LeaseTable {
  readonly #now: () => number;
  readonly #leases: LeaseRow[] = [];
  readonly #holders: LeaseRows;

  constructor(now: () => number, holders: LeaseRows) {
    this.#now = now;
    this.#holders = holders;
  }

  record({ runId, holder }: RunIdentity, grant: LeaseGrant): null {
    if (!this.#holders.holds({ holder }, grant.scopes)) throw new Refused(LEASE_LOST);
    const leaseId = `${runId}/${grant.leaseId}`;
    for (const scope of grant.scopes) {
      if (this.#leases.some((lease) => lease.leaseId === leaseId && lease.scope === scope)) continue;
      this.#leases.push({
        leaseId,
        scope,
        tokens: grant.tokens,
        settledTokens: 0,
        grantedAt: this.#now(),
        settledAt: null,
      });
    }
    return null;
  }

  settle({ runId }: RunIdentity, { leaseId, settled, graceMs, returned }: LeaseSettlement): null {
    for (const lease of this.#leases) {
      if (lease.leaseId !== `${runId}/${leaseId}`) continue;
      lease.tokens -= returned;
      lease.settledTokens += settled;
      if (settled > 0) lease.settledAt = Math.max(lease.settledAt ?? 0, this.#now() + graceMs);
    }
    return null;
  }

  readOpen(scopes: readonly string[], windowMs: number): LeaseRecord[] {
    const now = this.#now();
    const found: LeaseRecord[] = [];
    for (const { leaseId, scope, tokens, settledTokens, grantedAt, settledAt } of this.#leases) {
      if (!scopes.includes(scope) || grantedAt <= now - 25 * HOUR_MS) continue;
      if (tokens > settledTokens && grantedAt > now - HOUR_MS) {
        found.push({ leaseId, scope, tokens: tokens - settledTokens, settledMsAgo: null, settledAt: null });
      }
      if (settledTokens > 0 && settledAt !== null && settledAt > now - windowMs) {
        found.push({
          leaseId,
          scope,
          tokens: settledTokens,
          settledMsAgo: now - settledAt,
          settledAt: String(settledAt),
        });
      }
    }
    return found;
  }
}
