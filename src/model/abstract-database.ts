/**
 * The database as the protocol sees it: the progress of each slice. A commit is one transaction, and a second commit of
 * the same page changes nothing.
 */
import type { AfterPage, Page } from '../machines/index.ts';

/**
 * `superseded`: it is fetched again under another ID. `doubted`: it is complete by a short page, and short pages have
 * turned out not to be ends. It will be fetched again.
 */
export type SliceStatus = 'missing' | 'open' | 'complete' | 'failed' | 'superseded' | 'doubted';

export interface AbstractSlice {
  readonly status: SliceStatus;
  /** Number of its pages at the server. */
  readonly size: number;
  /** Number of committed pages, from the first on. */
  readonly committed: number;
}

/** Slices by ID: those of the plan, and replacements that are fetched again. */
export type AbstractDatabase = Readonly<Record<string, AbstractSlice>>;

type PageId = Pick<Page, 'sliceId' | 'startRow'>;

export const SLICE_NAMES = 'abcdefgh';

export function createDatabase(sizes: readonly number[], calendar: boolean): AbstractDatabase {
  const slices: Record<string, AbstractSlice> = {};
  if (calendar) slices.calendar = { status: 'missing', size: 1, committed: 0 };
  for (const [index, size] of sizes.entries()) {
    slices[SLICE_NAMES.charAt(index)] = { status: 'missing', size, committed: 0 };
  }
  return slices;
}

export function isCommitted(database: AbstractDatabase, { sliceId, startRow }: PageId): boolean {
  return startRow < (database[sliceId]?.committed ?? 0);
}

/** How a slice ends with its last page. `further`: that page was short, and another one follows. */
export type SliceEnd = 'sealed' | 'again' | 'shrunk' | 'further';

/** The possible ends. A page already in the ledger has its end, too. */
export function possibleEnds(database: AbstractDatabase, page: PageId): readonly SliceEnd[] {
  const slice = database[page.sliceId];
  if (slice === undefined || slice.status === 'failed' || isCommitted(database, page)) return ['sealed'];
  if (page.startRow + 1 < slice.size || page.sliceId === 'calendar') return ['sealed'];
  const ends: readonly SliceEnd[] = ['sealed', 'shrunk', 'further'];
  return page.sliceId.endsWith("'") ? ends : [...ends, 'again'];
}

/** @returns the database after the commit, and what follows. Pages must come in order, or the protocol is broken. */
export function commit(
  database: AbstractDatabase,
  page: PageId,
  end: SliceEnd,
): { readonly database: AbstractDatabase; readonly next: AfterPage } {
  const { sliceId, startRow } = page;
  const slice = database[sliceId];
  if (slice === undefined) throw new Error(`slice "${sliceId}" is not in the database`);
  if (isCommitted(database, page)) return { database, next: afterPage(database, page) };
  if (startRow > slice.committed)
    throw new Error(`page ${startRow} of "${sliceId}" comes before its predecessor`);
  const committed = startRow + 1;
  if (committed < slice.size) {
    const changed = { ...database, [sliceId]: { ...slice, status: 'open' as const, committed } };
    return { database: changed, next: { kind: 'page', startRow: committed } };
  }
  if (end === 'further') {
    const longer = { ...slice, status: 'open' as const, size: slice.size + 1, committed };
    return {
      database: { ...doubtAll(database), [sliceId]: longer },
      next: { kind: 'page', startRow: committed },
    };
  }
  const status = ({ sealed: 'complete', again: 'superseded', shrunk: 'failed' } as const)[end];
  const ended: AbstractDatabase = { ...database, [sliceId]: { ...slice, status, committed } };
  const changed: AbstractDatabase =
    end === 'again'
      ? { ...ended, [`${sliceId}'`]: { status: 'open', size: slice.size, committed: 0 } }
      : ended;
  return { database: changed, next: afterPage(changed, page) };
}

/** What is complete may have been cut. */
function doubtAll(database: AbstractDatabase): AbstractDatabase {
  const doubted = Object.entries(database).map(([sliceId, slice]) => {
    const isDoubted = slice.status === 'complete' && sliceId !== 'calendar';
    return [sliceId, isDoubted ? { ...slice, status: 'doubted' as const } : slice];
  });
  return Object.fromEntries(doubted);
}

export function doubtedSlices(database: AbstractDatabase): readonly string[] {
  return Object.keys(database)
    .sort()
    .filter((sliceId) => database[sliceId]?.status === 'doubted');
}

/** What follows a page in the ledger. The answer is the same for every repeat. */
export function afterPage(database: AbstractDatabase, { sliceId, startRow }: PageId): AfterPage {
  const slice = database[sliceId];
  if (slice !== undefined && startRow + 1 < slice.size) return { kind: 'page', startRow: startRow + 1 };
  if (slice?.status === 'superseded') return { kind: 'again', sliceId: `${sliceId}'` };
  return slice?.status === 'failed' ? { kind: 'failed', reason: 'it shrank' } : { kind: 'sealed' };
}

/** A page's last attempt failed: its slice is recorded as failed. */
export function fail(database: AbstractDatabase, sliceId: string): AbstractDatabase {
  const slice = database[sliceId];
  return slice === undefined ? database : { ...database, [sliceId]: { ...slice, status: 'failed' } };
}

/**
 * Opens a slice: a failed one from its beginning, an open one where its ledger ends, a doubted one under another ID.
 * Returns the ID that it has now.
 */
export function open(
  database: AbstractDatabase,
  sliceId: string,
): { readonly database: AbstractDatabase; readonly sliceId: string } {
  const slice = database[sliceId];
  if (slice === undefined) return { database, sliceId };
  if (slice.status === 'doubted') {
    const again = `${sliceId}'`;
    return {
      database: {
        ...database,
        [sliceId]: { ...slice, status: 'superseded' },
        [again]: { status: 'open', size: slice.size, committed: 0 },
      },
      sliceId: again,
    };
  }
  const committed = slice.status === 'failed' ? 0 : slice.committed;
  return { database: { ...database, [sliceId]: { ...slice, status: 'open', committed } }, sliceId };
}

/** A new run requests the calendar, whatever an earlier one got. */
export function askForCalendar(database: AbstractDatabase): AbstractDatabase {
  return { ...database, calendar: { status: 'open', size: 1, committed: 0 } };
}

/** The calendar has arrived or never will. */
export function isCalendarSettled(database: AbstractDatabase): boolean {
  return (
    isCommitted(database, { sliceId: 'calendar', startRow: 0 }) || database.calendar?.status === 'failed'
  );
}

/** Slices that a new run must fetch, in the plan's order. */
export function missingSlices(database: AbstractDatabase): readonly string[] {
  return Object.keys(database)
    .sort()
    .filter((sliceId) => {
      const status = database[sliceId]?.status;
      return sliceId !== 'calendar' && status !== 'complete' && status !== 'superseded';
    });
}
