// Holds invariants 7 of SPEC.md.
// @module-tag long

import type { Sql } from 'postgres';
import { expect, test } from 'vitest';
import type { Emulator } from '../../src/emulator/index.ts';
import { migrate } from '../../src/postgres/schema/migrate.ts';
import { chances } from '../support/chance.ts';
import { differences, servedRows } from '../support/compare.ts';
import { ledgerProblems } from '../support/ledger-check.ts';
import { emptyDatabase } from '../support/postgres.ts';
import { emulate, SITE, settledDays } from '../support/property.ts';
import { startSyncProcess } from '../support/sync-process.ts';
import { until } from '../support/until.ts';

/** Slices of two pages: with 25,000 rows a page, a slice that is half there could be seen. */
const ROWS_PER_DAY = 25_200;
const days = settledDays(10);
const datasets = ['page', 'page+query'];
const range = { siteUrl: SITE, searchTypes: ['web'], datasets, days } as const;
const [to = ''] = days;
const from = days.at(-1) ?? '';

const SEED = Number(process.env.KILL_SEED ?? 7);

/** A slice as a reader sums it up: `rows clicks impressions`. */
type Sums = Map<string, string>;

async function visible(sql: Sql): Promise<Sums> {
  const rows = await sql<{ name: string; sums: string }[]>`
    select concat_ws(' ', dataset, date) as name, concat_ws(' ', count(*), sum(clicks), sum(impressions)) as sums
    from search_analytics group by dataset, date`;
  return new Map(rows.map(({ name, sums }) => [name, sums]));
}

async function truth(emulator: Emulator): Promise<Sums> {
  const sums: Sums = new Map();
  for (const date of days) {
    for (const dataset of datasets) {
      const { totals } = await servedRows(emulator, { siteUrl: SITE, searchType: 'web', dataset, date });
      sums.set(`${dataset} ${date}`, `${totals.rows} ${totals.clicks} ${totals.impressions}`);
    }
  }
  return sums;
}

/** Reads the view until stopped; says what it saw that no reader may see. */
function startReader(sql: Sql, allowed: (name: string, sums: string | undefined) => boolean) {
  const problems: string[] = [];
  let looks = 0;
  let isOver = false;
  const reading = (async () => {
    while (!isOver) {
      const seen = await visible(sql);
      looks += 1;
      for (const name of days.flatMap((date) => datasets.map((dataset) => `${dataset} ${date}`))) {
        if (!allowed(name, seen.get(name))) problems.push(`${name}: ${seen.get(name) ?? 'nothing'}`);
      }
      // It shares the machine with what it watches.
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  })();
  return async () => {
    isOver = true;
    await reading;
    return { problems, looks };
  };
}

test('kill -9 at any moment, twenty times; a refresh likewise: the table is what one run would have made', async () => {
  await using database = await emptyDatabase();
  await migrate(database.url);
  await using emulator = await emulate({ rowsPerDay: ROWS_PER_DAY, latencyMs: 60 });
  const chance = chances(SEED);
  const start = (at: Emulator, ...args: string[]) =>
    startSyncProcess({
      databaseUrl: database.url,
      emulator: at,
      from,
      to,
      args: ['--batch-size', '1', '--datasets', datasets.join(','), ...args],
    });
  /** Kills a run while it starts (one in five), or at some moment after one of its first calls. */
  const killOne = async (at: Emulator, ...args: string[]): Promise<boolean> => {
    const isEarly = chance() < 0.2;
    const calls = at.counters.httpCalls + (isEarly ? 0 : 1 + Math.floor(chance() * 5));
    const delayMs = chance() * (isEarly ? 800 : 300);
    await using run = start(at, ...args);
    let isOver = false;
    const ended = run.ended.then(() => {
      isOver = true;
    });
    await until(() => isOver || at.counters.httpCalls >= calls, 'its calls');
    await Promise.race([ended, new Promise((resolve) => setTimeout(resolve, delayMs))]);
    if (isOver) expect(run.child.exitCode, run.written()).toBe(0);
    return !isOver;
  };

  const first = await truth(emulator);
  let stop = startReader(database.sql, (name, sums) => sums === undefined || sums === first.get(name));
  let killed = 0;
  const begun: number[] = [];
  for (let round = 0; round < 20; round += 1) {
    if (await killOne(emulator)) killed += 1;
    begun.push((await visible(database.sql)).size);
  }
  await using plain = start(emulator);
  expect(await plain.ended.then(({ code }) => code)).toBe(0);
  const looked = await stop();
  console.info(`seed ${SEED}: ${killed} kills, slices after each ${begun.join(' ')}; ${looked.looks} looks`);
  expect(killed).toBeGreaterThanOrEqual(15);
  expect(begun.filter((slices) => slices > 0 && slices < 20).length).toBeGreaterThan(0);
  expect(looked.problems).toEqual([]);
  expect(plain.json()).toMatchObject({
    status: 'complete',
    slices: { planned: 20, complete: 20, failed: 0 },
  });
  expect(await differences(database.sql, emulator, range)).toEqual([]);
  expect(await ledgerProblems(database.sql)).toEqual([]);

  // The same days with other rows, in place of the first ones.
  await using changed = await emulate({ rowsPerDay: ROWS_PER_DAY, seed: 2, latencyMs: 60 });
  const second = await truth(changed);
  stop = startReader(database.sql, (name, sums) => sums === first.get(name) || sums === second.get(name));
  const replaced: number[] = [];
  for (let round = 0; round < 6; round += 1) {
    await killOne(changed, '--refresh');
    const seen = await visible(database.sql);
    replaced.push([...seen].filter(([name, sums]) => sums === second.get(name)).length);
  }
  await using rest = start(changed);
  expect(await rest.ended.then(({ code }) => code)).toBe(0);
  const refreshed = await stop();
  console.info(`refresh: slices replaced after each kill ${replaced.join(' ')}; ${refreshed.looks} looks`);
  expect(refreshed.problems).toEqual([]);
  // What a killed refresh had replaced is not fetched again: each resumes where the one before stopped.
  expect(replaced).toEqual(replaced.toSorted((a, b) => a - b));
  expect(replaced.some((count) => count > 0 && count < 20)).toBe(true);
  expect(await differences(database.sql, changed, range)).toEqual([]);
  expect(await ledgerProblems(database.sql)).toEqual([]);
}, 600_000);
