/** Rows of the simulated tables, and small questions about them. */

import type { CoverageRange } from '../../src/domain/coverage.ts';
import type { SliceKey } from '../../src/domain/slice.ts';
import type { PageKeys } from '../../src/postgres/duplicates/packed-keys.ts';
import type { PlainRow } from '../../src/rows/row-block.ts';
import type { CommitResult, DatabaseFailure, PageCommit } from '../../src/store/types.ts';

export interface LedgerRow {
  readonly startRow: number;
  readonly rows: number;
  readonly clicks: number;
  readonly impressions: number;
  readonly last: boolean;
  readonly committedAt: number;
}

export interface SliceRow extends SliceKey {
  readonly id: string;
  readonly version: number;
  status: 'open' | 'complete' | 'superseded' | 'failed' | 'abandoned';
  rows: number;
  clicks: number;
  impressions: number;
  duplicateRows: number;
  final: boolean;
  readonly secondLook: boolean;
  successorId: string | null;
  readonly openedAt: number;
  fetchedAt: number | null;
  runId: string;
  error: string | null;
  hasFacts: boolean;
}
/** Ends a transaction that changed nothing. */
export class Refused extends Error {
  readonly failure: DatabaseFailure;
  constructor(failure: DatabaseFailure) {
    super(failure.reason);
    this.failure = failure;
  }
}

/** A page whose rows have been read. */
export interface PlainPage extends Omit<PageCommit, 'rows'> {
  readonly rows: readonly PlainRow[];
  /** Hashes of its keys, when it has other pages beside it. */
  readonly keys: PageKeys | undefined;
}

export type Next = Extract<CommitResult, { kind: 'committed' | 'alreadyCommitted' }>['next'];

export const keyOf = ({ searchType, dataset, date, part = '' }: SliceKey): string =>
  `${searchType} ${dataset} ${date} ${part}`;
export const compare = (one: string, other: string): number => (one < other ? -1 : one > other ? 1 : 0);

export function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0);
}

/** Rows from the start on without a gap. */
export function contiguous(pages: readonly LedgerRow[]): number {
  let reached = 0;
  for (const { startRow, rows } of pages) if (startRow === reached) reached += rows;
  return reached;
}

export function countDuplicates(rows: readonly PlainRow[]): number {
  return rows.length - new Set(rows.map(({ keys }) => JSON.stringify(keys))).size;
}

export function contains(range: CoverageRange, { searchType, dataset, date }: SliceKey): boolean {
  return (
    range.from <= date &&
    date <= range.to &&
    range.searchTypes.includes(searchType) &&
    range.datasets.includes(dataset)
  );
}

export const spansAll = (one: CoverageRange, other: CoverageRange): boolean =>
  one.from <= other.from &&
  one.to >= other.to &&
  other.searchTypes.every((type) => one.searchTypes.includes(type)) &&
  other.datasets.every((dataset) => one.datasets.includes(dataset));
