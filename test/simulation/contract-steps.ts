/** What the contract's tests do to a store, in few words. */

import type { Slice, SliceKey } from '../../src/domain/slice.ts';
import type { RunParameters } from '../../src/postgres/queries/run.ts';
import { type PlainRow, rowBlock } from '../../src/rows/row-block.ts';
import type { Answer, CommitResult, PageEnd } from '../../src/store/types.ts';
import type { ContractRun } from './contract-ground.ts';

export const LIMIT = 4;
export const KEY: SliceKey = { searchType: 'web', dataset: 'page+query', date: '2026-03-01' };
export const PARAMETERS: RunParameters = {
  from: '2026-02-01',
  to: '2026-03-31',
  searchTypes: ['web'],
  datasets: ['page+query'],
  refresh: false,
  acceptShrunk: false,
};
export const MINUTE_MS = 60_000;
export const HOUR_MS = 60 * MINUTE_MS;

export const rows = (count: number, salt = ''): PlainRow[] =>
  Array.from({ length: count }, (_, index) => ({
    keys: [`https://example.com/${salt}${index}`, `query ${index}`],
    clicks: 100 - index,
    impressions: 1_000 - index,
    position: 1 + index / 2,
  }));

export function answered<T>(answer: Answer<T>): T {
  if (answer.kind === 'ok') return answer.value;
  throw new Error(`${answer.kind}: ${answer.reason}`);
}

export async function open({ store }: ContractRun, key = KEY): Promise<{ slice: Slice; startRow: number }> {
  const [opened] = answered(await store.openSlices([key], { continueYoungerThanMinutes: 15 }));
  if (opened === undefined) throw new Error('nothing was opened');
  return opened;
}

export function commit(
  { store }: ContractRun,
  slice: Slice,
  page: readonly PlainRow[],
  {
    startRow = 0,
    final = true,
    mayBeEmpty = true,
    end = 'short',
  }: {
    readonly startRow?: number;
    readonly final?: boolean;
    readonly mayBeEmpty?: boolean;
    readonly end?: PageEnd;
  } = {},
): Promise<CommitResult> {
  return store.openQueue(new AbortController().signal).commitPage({
    slice,
    rows: rowBlock(page, 2),
    startRow,
    rowLimit: LIMIT,
    end,
    day: { final, mayBeEmpty },
  });
}

/** A whole slice, page after page; what the last page led to. */
export async function fill(
  run: ContractRun,
  slice: Slice,
  all: readonly PlainRow[],
  mayBeEmpty = true,
): Promise<CommitResult> {
  for (let startRow = 0; ; startRow += LIMIT) {
    const page = all.slice(startRow, startRow + LIMIT);
    const result = await commit(run, slice, page, { startRow, mayBeEmpty });
    if (page.length < LIMIT) return result;
  }
}
