import type { Answer, LeaseGrant, LeaseRecord, LeaseSettlement } from './types.ts';

/** The granted tokens, recorded so that a restart and other processes count them. */
export interface TokenLedger {
  /** Records the lease before its first request is sent. */
  recordLease(grant: LeaseGrant): Promise<Answer<null>>;

  settleLease(settlement: LeaseSettlement): Promise<Answer<null>>;

  /** Leases of any run in these scopes that may still count: settled at most `windowMs` ago, or never. */
  readOpenLeases(scopes: readonly string[], windowMs: number): Promise<Answer<readonly LeaseRecord[]>>;
}
