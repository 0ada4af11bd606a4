import type { RowSink } from './row-sink.ts';
import type { SliceLedger } from './slice-ledger.ts';
import type { TokenLedger } from './token-ledger.ts';
import type { Answer } from './types.ts';

/**
 * All ports of one run. The implementation is PostgreSQL or, in tests, a simulation. If the database is away, full or
 * refuses a call, the result is a value. A rejection is a bug.
 */
export interface Store extends SliceLedger, RowSink, TokenLedger {
  /**
   * Checks whether the database would accept a page now. A server that answers may be read-only, or its tables locked.
   */
  probe(): Promise<Answer<null>>;
}
