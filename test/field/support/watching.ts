/** What a run beside other people's doings has asked of Google, what it says, and what it leaves. */
import type { Sql } from 'postgres';
import { expect } from 'vitest';
import type { Emulator } from '../../../src/emulator/index.ts';
import type { Sync } from '../../../src/sync/types.ts';
import { differences } from '../../support/compare.ts';
import { ledgerProblems } from '../../support/ledger-check.ts';
import { queries, SITE } from '../../support/property.ts';

/** Requests for a page that had been asked for before. */
export function askedAgain(emulator: Emulator): string[] {
  const seen = new Set<string>();
  return queries(emulator)
    .map(({ date, dimensions, type, startRow }) => [type, dimensions, date, startRow].join(' '))
    .filter((page) => seen.size === seen.add(page).size);
}

export interface Watched {
  /** Why it waited for the database, each time. */
  readonly reasons: readonly string[];
  readonly slices: () => number;
  readonly isWaiting: () => boolean;
}

export function watch(sync: Sync): Watched {
  const reasons: string[] = [];
  let state = '';
  let slices = 0;
  sync.on('retry', (event) => event.kind === 'database' && reasons.push(event.reason));
  sync.on('slice', () => (slices += 1));
  sync.on('progress', (progress) => {
    state = progress.state;
  });
  return { reasons, slices: () => slices, isWaiting: () => state === 'waitingForDatabase' };
}

/** Every row is there once, and the ledger says the same. */
export async function expectWhole(
  sql: Sql,
  emulator: Emulator,
  datasets: readonly string[],
  days: readonly string[],
): Promise<void> {
  expect(await differences(sql, emulator, { siteUrl: SITE, searchTypes: ['web'], datasets, days })).toEqual(
    [],
  );
  expect(await ledgerProblems(sql)).toEqual([]);
}
