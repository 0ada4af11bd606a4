import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { createSync } from '../../src/sync/sync.ts';
import { differences, lineOf, servedRows } from '../support/compare.ts';
import { ledgerProblems } from '../support/ledger-check.ts';
import { testDatabase } from '../support/postgres.ts';
import { emulate, options, queries, SITE, settledDays } from '../support/property.ts';

afterEach(() => {
  vi.unstubAllEnvs();
});

describe.each(['fast', 'public'])('on the %s path', (path) => {
  beforeEach(() => {
    if (path === 'public') vi.stubEnv('LONGTAIL_FAST_PATHS', 'off');
  });

  test('slices shorter than a page, of exact multiples of it, and one row longer', async () => {
    const days = settledDays(7);
    const counts = [1, 99, 100, 101, 200, 300, 301];
    await using emulator = await emulate({ rowsPerDay: 400, rowsOn: (date) => counts[days.indexOf(date)] });
    await using database = await testDatabase();
    await using sync = createSync(
      options(database.url, emulator, days, { datasets: ['page+query'], rowsPerPage: 100 }),
    );
    const fallbacks: string[] = [];
    sync.on('fallback', ({ what, reason }) => fallbacks.push(`${what}: ${reason}`));
    expect(await sync.run()).toMatchObject({ status: 'complete', rows: 1_102 });
    // Each is told once, however many pages there are.
    const off = 'LONGTAIL_FAST_PATHS is off';
    expect(fallbacks).toEqual(path === 'fast' ? [] : [`gunzip: ${off}`, `copy: ${off}`]);
    const range = { siteUrl: SITE, searchTypes: ['web'], datasets: ['page+query'], days } as const;
    expect(await differences(database.sql, emulator, range)).toEqual([]);
    expect(await ledgerProblems(database.sql)).toEqual([]);
    const asked = queries(emulator).filter(({ dimensions }) => dimensions === 'page+query');
    const startRows = days.map((day) =>
      asked.filter(({ date }) => date === day).map(({ startRow }) => startRow),
    );
    expect(startRows).toEqual([
      [0],
      [0],
      [0, 100],
      [0, 100],
      [0, 100, 200],
      [0, 100, 200, 300],
      [0, 100, 200, 300],
    ]);
  });

  test('the 50,000 rows that Google gives at most, in pages of 25,000', async () => {
    const days = settledDays(1);
    await using emulator = await emulate({ rowsPerDay: 60_000 });
    await using database = await testDatabase();
    await using sync = createSync(options(database.url, emulator, days, { datasets: ['page+query'] }));
    expect(await sync.run()).toMatchObject({ status: 'complete', rows: 50_000 });
    const range = { siteUrl: SITE, searchTypes: ['web'], datasets: ['page+query'], days } as const;
    expect(await differences(database.sql, emulator, range)).toEqual([]);
    expect(await database.sql`select capped, duplicate_rows::int from longtail.slice`).toEqual([
      { capped: true, duplicate_rows: 0 },
    ]);
    const asked = queries(emulator).filter(({ dimensions }) => dimensions === 'page+query');
    expect(asked.map(({ startRow }) => startRow)).toEqual([0, 25_000, 50_000]);
  });

  test('text as Google sends it: NUL, emoji, tabs, backslashes, quotes', async () => {
    const days = settledDays(1);
    await using emulator = await emulate({ rowsPerDay: 6_000, nulQueries: true });
    await using database = await testDatabase();
    const datasets = ['page', 'query', 'page+query'];
    await using sync = createSync(options(database.url, emulator, days, { datasets }));
    expect(await sync.run()).toMatchObject({ status: 'complete' });
    const range = { siteUrl: SITE, searchTypes: ['web'], datasets, days } as const;
    expect(await differences(database.sql, emulator, range)).toEqual([]);
    for (const [what, text] of Object.entries({
      nul: '\ufffd',
      tab: '\t',
      back: '\\',
      quote: '"',
      emoji: '🥾',
    })) {
      const rows = await database.sql`
      select from search_analytics where strpos(coalesce(query, '') || coalesce(page, ''), ${text}) > 0 limit 1`;
      expect([what, rows.length]).toEqual([what, 1]);
    }
    const [slice] = await database.sql<{ replaced: number; held: number }[]>`
    select replaced_characters as replaced, (select count(*)::int from search_analytics
      where dataset = 'query' and strpos(query, ${'\ufffd'}) > 0) as held
    from longtail.slice where dataset = 'query'`;
    expect(slice?.replaced).toBeGreaterThan(0);
    expect(slice?.replaced).toBe(slice?.held);
  });

  test('ties in another order each time: what a page boundary may lose is looked for again, and counted', async () => {
    const days = settledDays(6);
    await using emulator = await emulate({ rowsPerDay: 260, ties: 'perRequest' });
    await using database = await testDatabase();
    await using sync = createSync(
      options(database.url, emulator, days, { datasets: ['page', 'page+query'], rowsPerPage: 50 }),
    );
    expect(await sync.run()).toMatchObject({ status: 'complete', slices: { complete: 12 } });
    expect(await ledgerProblems(database.sql)).toEqual([]);
    let looked = 0;
    for (const date of days) {
      for (const dataset of ['page', 'page+query']) {
        const served = await servedRows(emulator, { siteUrl: SITE, searchType: 'web', dataset, date });
        const truth = new Set(served.rows.map(lineOf));
        const stored = await database.sql<{ line: string }[]>`
        select concat_ws(E'\x1f', page, query, clicks, impressions, position) as line from search_analytics
        where dataset = ${dataset} and date = ${date}`;
        const [slice] = await database.sql<{ duplicates: number; second: boolean }[]>`
        select duplicate_rows as duplicates, exists (select from longtail.slice other where other.second_look
          and other.dataset = s.dataset and other.date = s.date) as second
        from longtail.slice s where status = 'complete' and dataset = ${dataset} and date = ${date}`;
        const different = new Set(stored.map(({ line }) => line));
        // As many rows as there are; none that was not served; every one that is missing is owned up to.
        expect(stored.length).toBe(truth.size);
        expect([...different].filter((line) => !truth.has(line))).toEqual([]);
        expect(truth.size - different.size).toBe(slice?.duplicates);
        if (slice?.second === true) looked += 1;
        else expect(slice?.duplicates).toBe(0);
      }
    }
    expect(looked).toBeGreaterThan(0);
  });

  test('ties in another order each time harm no slice that fits a page', async () => {
    const days = settledDays(3);
    await using emulator = await emulate({ rowsPerDay: 260, ties: 'perRequest' });
    await using database = await testDatabase();
    const datasets = ['page', 'page+query', 'country', 'device', 'date'];
    await using sync = createSync(options(database.url, emulator, days, { datasets }));
    expect(await sync.run()).toMatchObject({ status: 'complete' });
    const range = { siteUrl: SITE, searchTypes: ['web'], datasets, days } as const;
    expect(await differences(database.sql, emulator, range)).toEqual([]);
  });

  test('search appearance; Discover and Google News, which have no position and no queries', async () => {
    const days = settledDays(3);
    await using emulator = await emulate({ rowsPerDay: 2_000 });
    await using database = await testDatabase();
    const datasets = ['page', 'page+query', 'country', 'device', 'date', 'searchAppearance'];
    const searchTypes = ['web', 'discover', 'googleNews', 'news', 'video'] as const;
    await using sync = createSync(options(database.url, emulator, days, { datasets, searchTypes }));
    // Three types have all six, Google News no queries, Discover no devices either.
    expect(await sync.run()).toMatchObject({ status: 'complete', slices: { planned: 3 * (18 + 5 + 4) } });
    expect(await differences(database.sql, emulator, { siteUrl: SITE, searchTypes, datasets, days })).toEqual(
      [],
    );
    const positions = await database.sql`
    select search_type, count(position)::int > 0 as any, bool_and(position is not null) as all
    from search_analytics group by 1 order by 1`;
    expect(positions).toEqual([
      { search_type: 'discover', any: false, all: false },
      { search_type: 'googleNews', any: false, all: false },
      { search_type: 'news', any: true, all: true },
      { search_type: 'video', any: true, all: true },
      { search_type: 'web', any: true, all: true },
    ]);
    const [appearance] = await database.sql<{ count: number }[]>`
    select count(distinct search_appearance)::int as count from search_analytics where dataset = 'searchAppearance'`;
    expect(appearance?.count).toBeGreaterThan(3);
  });
});
