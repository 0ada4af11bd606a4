/**
 * The table of leases, for one resource: what `postgres/locks/lease-book.ts` and `recordLease` in `postgres/locks/token-leases.ts` do in SQL, as pure
 * functions. A test plays both against each other.
 */
import { type BusyLease, type HolderState, judgeHolders } from '../domain/lease-rules.ts';

export interface LeaseRow {
  readonly holder: string;
  readonly presence: string | null;
  /** Grows with every renewal. */
  readonly renewedAt: number;
  /** Time until it is over; 0: it is. */
  readonly expiresIn: number;
}

export interface LeaseAsker {
  readonly holder: string;
  readonly presence: string | null;
  readonly goneSince: string | null;
}

/** Whether a presence is still shown. */
export type IsThere = (presence: string) => boolean;

function stateOf({ presence }: LeaseRow, isThere: IsThere): HolderState {
  if (presence === null) return 'unknown';
  return isThere(presence) ? 'alive' : 'gone';
}

/** Takes the resource, or says who has it. `renewed`: what to write into the row. */
export function takeLease(
  rows: readonly LeaseRow[],
  { holder, presence, goneSince }: LeaseAsker,
  renewed: Pick<LeaseRow, 'renewedAt' | 'expiresIn'>,
  isThere: IsThere,
): { readonly rows: readonly LeaseRow[]; readonly busy: BusyLease | undefined } {
  const others = rows.filter((row) => row.holder !== holder);
  const unexpired = others.filter(({ expiresIn }) => expiresIn > 0);
  const busy = judgeHolders(
    unexpired.map((row) => ({ state: stateOf(row, isThere), renewedAt: String(row.renewedAt) })),
    goneSince,
  );
  if (busy !== undefined) return { rows, busy };
  return { rows: [{ holder, presence, ...renewed }], busy };
}

/** Renews what a holder has: it may have expired, as long as nobody has taken it. Undefined: it has nothing. */
export function renewLease(
  rows: readonly LeaseRow[],
  holder: string,
  presence: string | null,
  renewed: Pick<LeaseRow, 'renewedAt' | 'expiresIn'>,
): readonly LeaseRow[] | undefined {
  if (!rows.some((row) => row.holder === holder)) return undefined;
  return rows.map((row) => (row.holder === holder ? { ...row, presence, ...renewed } : row));
}

/** Whether tokens may be recorded in a holder's name: as long as nobody has taken it. */
export const mayRecord = (rows: readonly LeaseRow[], holder: string): boolean =>
  rows.some((row) => row.holder === holder);

export const releaseLease = (rows: readonly LeaseRow[], holder: string): readonly LeaseRow[] =>
  rows.filter((row) => row.holder !== holder);
