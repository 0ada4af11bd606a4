/**
 * The table of leases for one resource: the SQL of `postgres/locks/lease-book.ts` and of `recordLease` in
 * `postgres/locks/token-leases.ts`, as pure functions. A test compares the two.
 */
import { type BusyLease, type HolderState, judgeHolders } from '../domain/lease-rules.ts';

export interface LeaseRow {
  readonly holder: string;
  readonly presence: string | null;
  /** Grows with every renewal. */
  readonly renewedAt: number;
  /** Time until it expires; 0 if it has. */
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

/** Takes the resource, or says who has it. `renewed`: the value to write into the row. */
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

/** Renews a holder's leases. An expired lease is renewed too if no one has taken it. Undefined: the holder has none. */
export function renewLease(
  rows: readonly LeaseRow[],
  holder: string,
  presence: string | null,
  renewed: Pick<LeaseRow, 'renewedAt' | 'expiresIn'>,
): readonly LeaseRow[] | undefined {
  if (!rows.some((row) => row.holder === holder)) return undefined;
  return rows.map((row) => (row.holder === holder ? { ...row, presence, ...renewed } : row));
}

/** Whether tokens may be recorded for a holder: only while no one else has taken the lease. */
export const mayRecord = (rows: readonly LeaseRow[], holder: string): boolean =>
  rows.some((row) => row.holder === holder);

export const releaseLease = (rows: readonly LeaseRow[], holder: string): readonly LeaseRow[] =>
  rows.filter((row) => row.holder !== holder);
