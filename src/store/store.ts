import type { RowSink } from './row-sink.ts';
import type { SliceLedger } from './slice-ledger.ts';
import type { TokenLedger } from './token-ledger.ts';
import type { Answer } from './types.ts';

/**
 * All ports of one run. PostgreSQL is behind them, and in a simulation something else.
 * No call rejects because the database is away, full or refusing: these are values. A rejection is a bug.
 */
export interface Store extends SliceLedger, RowSink, TokenLedger {
  /** Whether the database would take a page now: a server that answers may be read-only, or its tables locked. */
  probe(): Promise<Answer<null>>;
}
