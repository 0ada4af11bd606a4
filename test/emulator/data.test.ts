import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { addDays } from '../../src/domain/day.ts';
import { type Emulator, startEmulator } from '../../src/emulator/index.ts';
import { query, type Row, SITE, TODAY } from './support.ts';

const DAY = '2026-05-06';
let emulator: Emulator;

beforeAll(async () => {
  emulator = await startEmulator({ today: TODAY, rowsPerDay: 1_500 });
});
afterAll(() => emulator.close());

function sum(rows: readonly { clicks: number; impressions: number }[]): {
  clicks: number;
  impressions: number;
} {
  return {
    clicks: rows.reduce((total, row) => total + row.clicks, 0),
    impressions: rows.reduce((total, row) => total + row.impressions, 0),
  };
}

async function rowsOf(
  dimensions: readonly string[],
  more: object = {},
  server = emulator,
): Promise<readonly Row[]> {
  const { body, status, text } = await query(server, {
    startDate: DAY,
    endDate: DAY,
    dimensions,
    rowLimit: 25_000,
    ...more,
  });
  expect(status, text).toBe(200);
  return body.rows ?? [];
}

function sumBy(rows: readonly Row[], index: number): Map<string, { clicks: number; impressions: number }> {
  const sums = new Map<string, { clicks: number; impressions: number }>();
  for (const row of rows) {
    const key = row.keys?.[index] ?? '';
    const old = sums.get(key) ?? { clicks: 0, impressions: 0 };
    sums.set(key, { clicks: old.clicks + row.clicks, impressions: old.impressions + row.impressions });
  }
  return sums;
}

describe('agreement of the datasets', () => {
  it('has as many rows of page+query as asked for, each key once', async () => {
    const rows = await rowsOf(['page', 'query']);
    expect(rows).toHaveLength(1_500);
    expect(new Set(rows.map((row) => JSON.stringify(row.keys))).size).toBe(1_500);
  });

  it('gives the same clicks by date, page, country and device, and the same impressions within one aggregation', async () => {
    const totals = sum(await rowsOf([]));
    for (const dimensions of [
      ['date'],
      ['country'],
      ['device'],
      ['country', 'device'],
      ['date', 'country'],
    ]) {
      expect(sum(await rowsOf(dimensions)), dimensions.join('+')).toEqual(totals);
    }
    const byPage = sum(await rowsOf(['page']));
    expect(byPage.clicks).toBe(totals.clicks);
    expect(byPage.impressions).toBeGreaterThan(totals.impressions);
    for (const dimensions of [
      ['page', 'country'],
      ['page', 'device'],
      ['page', 'country', 'device'],
    ]) {
      expect(sum(await rowsOf(dimensions)), dimensions.join('+')).toEqual(byPage);
    }
    expect(sum(await rowsOf([], { aggregationType: 'byPage' }))).toEqual(byPage);
  });

  it('withholds rare queries: details never exceed their page, and are less in sum', async () => {
    const pages = new Map((await rowsOf(['page'])).map((row) => [row.keys?.[0] ?? '', row]));
    const details = await rowsOf(['page', 'query']);
    for (const [page, detail] of sumBy(details, 0)) {
      expect(detail.clicks).toBeLessThanOrEqual(pages.get(page)?.clicks ?? -1);
      expect(detail.impressions).toBeLessThanOrEqual(pages.get(page)?.impressions ?? -1);
    }
    expect(sum(details).clicks).toBeLessThan(sum([...pages.values()]).clicks);
    expect(sum(details).impressions).toBeLessThan(sum([...pages.values()]).impressions * 0.9);
  });

  it('sums page+query to query, in the same aggregation', async () => {
    const queries = sumBy(await rowsOf(['query'], { aggregationType: 'byPage' }), 0);
    expect(sumBy(await rowsOf(['page', 'query']), 1)).toEqual(queries);
    const byProperty = await rowsOf(['query']);
    expect(byProperty).toHaveLength(queries.size);
    for (const row of byProperty) {
      expect(row.clicks).toBe(queries.get(row.keys?.[0] ?? '')?.clicks);
      expect(row.impressions).toBeLessThanOrEqual(queries.get(row.keys?.[0] ?? '')?.impressions ?? 0);
    }
  });

  it('sums days to a range, with and without dates', async () => {
    const range = { startDate: '2026-05-01', endDate: '2026-05-09' };
    const byDay = await rowsOf(['date'], range);
    expect(byDay.map((row) => row.keys?.[0]).sort()).toEqual(
      Array.from({ length: 9 }, (_, i) => addDays('2026-05-01', i)),
    );
    expect(sum(byDay)).toEqual(sum(await rowsOf([], range)));
    expect(sum(await rowsOf(['device'], range))).toEqual(sum(byDay));
    expect(sum(await rowsOf(['page', 'date'], range))).toEqual(sum(await rowsOf(['page'], range)));
    const single = await rowsOf(['date'], { startDate: '2026-05-04', endDate: '2026-05-04' });
    expect(byDay.find((row) => row.keys?.[0] === '2026-05-04')).toEqual(single[0]);
  });

  it('computes ctr and position from what the row says', async () => {
    for (const dimensions of [['page', 'query'], ['country', 'device'], ['query']]) {
      for (const row of await rowsOf(dimensions)) {
        expect(row.clicks).toBeLessThanOrEqual(row.impressions);
        expect(row.impressions).toBeGreaterThan(0);
        expect(row.ctr).toBe(row.clicks / row.impressions);
        expect(row.position).toBeGreaterThanOrEqual(1);
      }
    }
  });

  it('filters', async () => {
    const filtered = (filters: readonly object[], dimensions = ['query']): Promise<readonly Row[]> =>
      rowsOf(dimensions, { dimensionFilterGroups: [{ groupType: 'and', filters }] });
    const all = await rowsOf(['query'], { aggregationType: 'byPage' });
    const one = all[3]?.keys?.[0] ?? '';
    expect(await filtered([{ dimension: 'query', operator: 'equals', expression: one }])).toHaveLength(1);
    expect(await filtered([{ dimension: 'query', operator: 'notEquals', expression: one }])).toHaveLength(
      all.length - 1,
    );
    const shoes = (rows: readonly Row[]): boolean[] => rows.map((row) => /shoes/i.test(row.keys?.[0] ?? ''));
    const including = await filtered([
      { dimension: 'query', operator: 'includingRegex', expression: '(?i)SHOES' },
    ]);
    expect(including.length).toBeGreaterThan(10);
    expect(shoes(including)).not.toContain(false);
    expect(await filtered([{ dimension: 'query', operator: 'contains', expression: 'Shoes' }])).toEqual(
      including,
    );
    const excluding = await filtered([
      { dimension: 'query', operator: 'EXCLUDING_REGEX', expression: 'shoes' },
    ]);
    expect(including.length + excluding.length).toBe(all.length);
    const devices = await rowsOf(['device']);
    const desktop = await filtered([{ dimension: 'device', expression: 'desktop' }], []);
    expect(desktop[0]?.clicks).toBe(devices.find((row) => row.keys?.[0] === 'DESKTOP')?.clicks);
    const countries = await rowsOf(['country']);
    const notUsa = await filtered(
      [{ dimension: 'country', operator: 'notEquals', expression: 'usa' }],
      ['country'],
    );
    expect(notUsa).toHaveLength(countries.length - 1);
  });

  it('gives search appearances on their own, and as a filter', async () => {
    const appearances = await rowsOf(['searchAppearance']);
    expect(appearances.length).toBeGreaterThan(3);
    const [first] = appearances;
    const filters = [{ dimension: 'searchAppearance', operator: 'equals', expression: first?.keys?.[0] }];
    const pages = await rowsOf(['page'], { dimensionFilterGroups: [{ filters }] });
    expect(sum(pages).clicks).toBe(first?.clicks);
  });
});

describe('what the data looks like', () => {
  it('is the same for a seed, another for another, whatever was asked before', async () => {
    await using same = await startEmulator({ today: '2026-05-20', rowsPerDay: 1_500 });
    await using other = await startEmulator({ today: TODAY, rowsPerDay: 1_500, seed: 2 });
    await rowsOf(['country'], { startDate: '2026-04-01' }, same);
    const wanted = await rowsOf(['page', 'query']);
    expect(await rowsOf(['page', 'query'], {}, same)).toEqual(wanted);
    expect(await rowsOf(['page', 'query'], {}, other)).not.toEqual(wanted);
  });

  it('differs from day to day and is quieter at weekends', async () => {
    const days = await rowsOf(['date'], { startDate: '2026-03-02', endDate: '2026-05-24' });
    const clicksOf = (weekdays: readonly number[]): number =>
      days
        .filter((row) => weekdays.includes(new Date(`${row.keys?.[0]}T00:00:00Z`).getUTCDay()))
        .reduce((total, row) => total + row.clicks, 0);
    expect(clicksOf([2, 3]) / 2).toBeGreaterThan((clicksOf([0, 6]) / 2) * 1.2);
    const keysOf = (rows: readonly Row[]): Set<string> =>
      new Set(rows.map((row) => JSON.stringify(row.keys)));
    const monday = keysOf(
      await rowsOf(['page', 'query'], { startDate: '2026-05-04', endDate: '2026-05-04' }),
    );
    const tuesday = keysOf(
      await rowsOf(['page', 'query'], { startDate: '2026-05-05', endDate: '2026-05-05' }),
    );
    const both = [...monday].filter((key) => tuesday.has(key)).length;
    expect(both).toBeGreaterThan(700);
    expect(both).toBeLessThan(1_400);
  });

  it('has few queries with many clicks and many with none, in several scripts, with awkward characters', async () => {
    await using large = await startEmulator({ today: TODAY, rowsPerDay: 20_000 });
    const rows = await rowsOf(['page', 'query'], {}, large);
    const clicks = rows.map((row) => row.clicks);
    expect(clicks.filter((n) => n === 0).length).toBeGreaterThan(rows.length / 2);
    const head = clicks.slice(0, rows.length / 100).reduce((a, b) => a + b, 0);
    expect(head).toBeGreaterThan(sum(rows).clicks * 0.4);
    const queries = rows.map((row) => row.keys?.[1] ?? '').join('\n');
    for (const pattern of [/[а-я]/, /[ぁ-ん]/, /[ء-ي]/, /ß|é|ñ/, /👟/u, /"/, /\\/, /\t/])
      expect(queries).toMatch(pattern);
    const lengths = rows.map((row) => row.keys?.[0]?.length ?? 0);
    expect(Math.max(...lengths)).toBeGreaterThan(2_000);
    expect(Math.min(...lengths)).toBeLessThan(60);
    for (const row of rows.slice(0, 500)) expect(row.keys?.[0]).toMatch(/^https:\/\/\w+\.example\.com\//);
  });

  it('puts NUL characters into queries when asked to', async () => {
    await using nul = await startEmulator({ today: TODAY, rowsPerDay: 1_000, nulQueries: true });
    const has = (rows: readonly Row[]): boolean => rows.some((row) => row.keys?.[0]?.includes('\u0000'));
    expect(has(await rowsOf(['query'], {}, nul))).toBe(true);
    expect(has(await rowsOf(['query']))).toBe(false);
  });

  it('is smaller in other search types, without queries or positions in Discover', async () => {
    const web = sum(await rowsOf(['page']));
    for (const type of ['image', 'video', 'news', 'discover', 'googleNews']) {
      const rows = await rowsOf(['page'], { type });
      expect(rows.length, type).toBeGreaterThan(0);
      expect(sum(rows).clicks, type).toBeLessThan(web.clicks);
      const hasPosition = rows.every((row) => row.position !== undefined);
      expect(hasPosition).toBe(type !== 'discover' && type !== 'googleNews');
    }
    expect((await rowsOf(['page'], { searchType: 'IMAGE' })).length).toBeGreaterThan(0);
  });
});

describe('order and pages', () => {
  it('sorts by clicks, pages without loss, and ends with an answer without rows', async () => {
    const all = await rowsOf(['page', 'query']);
    for (const [index, row] of all.entries())
      expect(row.clicks).toBeLessThanOrEqual(all[index - 1]?.clicks ?? Infinity);
    const paged = [
      ...(await rowsOf(['page', 'query'], { rowLimit: 700 })),
      ...(await rowsOf(['page', 'query'], { rowLimit: 700, startRow: 700 })),
      ...(await rowsOf(['page', 'query'], { rowLimit: 700, startRow: 1_400 })),
    ];
    expect(paged).toEqual(all);
    const { body } = await query(emulator, {
      startDate: DAY,
      endDate: DAY,
      dimensions: ['page', 'query'],
      startRow: 1_500,
    });
    expect(body).toEqual({ responseAggregationType: 'byPage' });
  });

  it('can order ties anew for each request, so that pages overlap', async () => {
    await using loose = await startEmulator({ today: TODAY, rowsPerDay: 1_500, ties: 'perRequest' });
    const paged = [
      ...(await rowsOf(['page', 'query'], { rowLimit: 750 }, loose)),
      ...(await rowsOf(['page', 'query'], { rowLimit: 750, startRow: 750 }, loose)),
    ];
    expect(paged).toHaveLength(1_500);
    const keys = new Set(paged.map((row) => JSON.stringify(row.keys)));
    expect(keys.size).toBeLessThan(1_500);
    for (const [index, row] of paged.entries()) {
      expect(row.clicks).toBeLessThanOrEqual(paged[index - 1]?.clicks ?? Infinity);
    }
  });

  it('gives 1,000 rows by default', async () => {
    const { body } = await query(emulator, { startDate: DAY, endDate: DAY, dimensions: ['page', 'query'] });
    expect(body.rows).toHaveLength(1_000);
  });

  it('gives at most 50,000 rows a day, those with the most clicks', async () => {
    await using large = await startEmulator({ today: TODAY, rowsPerDay: 52_000 });
    const pages = await Promise.all(
      [0, 25_000, 50_000].map((startRow) => rowsOf(['page', 'query'], { startRow }, large)),
    );
    expect(pages.map((rows) => rows.length)).toEqual([25_000, 25_000, 0]);
    await using uncapped = await startEmulator({ today: TODAY, rowsPerDay: 52_000, rowCap: 60_000 });
    const all = await uncapped.served(SITE, { startDate: DAY, endDate: DAY, dimensions: ['page', 'query'] });
    expect(all.totals.rows).toBe(52_000);
    expect(all.rows.slice(0, 50_000).map((row) => row.clicks)).toEqual(pages.flat().map((row) => row.clicks));
  });
});

describe('which days there are', () => {
  const days = async (
    startDate: string,
    endDate: string,
    more: object = {},
    server = emulator,
  ): Promise<string[]> =>
    (await rowsOf(['date'], { startDate, endDate, ...more }, server))
      .map((row) => row.keys?.[0] ?? '')
      .sort();

  it('leaves out fresh days unless all data is asked for, and says from when data is incomplete', async () => {
    expect(await days('2026-05-27', TODAY)).toEqual(['2026-05-27', '2026-05-28', '2026-05-29']);
    const all = await query(emulator, {
      startDate: '2026-05-27',
      endDate: TODAY,
      dimensions: ['date'],
      dataState: 'all',
    });
    const dates = all.body.rows?.map((row) => row.keys?.[0]).sort();
    expect(dates).toEqual(['2026-05-27', '2026-05-28', '2026-05-29', '2026-05-30', '2026-05-31']);
    expect(all.body.metadata).toEqual({ firstIncompleteDate: '2026-05-30' });
    for (const body of [
      { startDate: '2026-05-27', endDate: '2026-05-29', dimensions: ['date'], dataState: 'all' },
      { startDate: '2026-05-27', endDate: TODAY, dimensions: ['page'], dataState: 'all' },
      { startDate: '2026-05-27', endDate: TODAY, dimensions: ['date'], dataState: 'final' },
    ]) {
      expect((await query(emulator, body)).body.metadata).toBeUndefined();
    }
  });

  it('fills fresh days as they age, up to the final rows', async () => {
    const clicks: number[] = [];
    for (const today of ['2026-05-06', '2026-05-07', '2026-05-08', '2026-05-09']) {
      await using server = await startEmulator({ today, rowsPerDay: 1_500 });
      clicks.push(sum(await rowsOf([], { dataState: 'all' }, server)).clicks);
    }
    expect(clicks[0]).toBe(0);
    expect(clicks[1]).toBeGreaterThan(0);
    expect(clicks[2]).toBeGreaterThan(clicks[1] ?? 0);
    expect(clicks[3]).toBeGreaterThan(clicks[2] ?? 0);
    expect(clicks[3]).toBe(sum(await rowsOf([])).clicks);
  });

  it('has forgotten what is older than 16 months', async () => {
    const old = await days('2025-01-25', '2025-02-04');
    expect(old).toEqual(['2025-02-01', '2025-02-02', '2025-02-03', '2025-02-04']);
  });

  it('has nothing before a young property began, and leaves out days without data', async () => {
    await using young = await startEmulator({
      today: TODAY,
      rowsPerDay: 100,
      firstDay: '2026-05-03',
      rowsOn: (date) => (date === '2026-05-05' ? 0 : undefined),
    });
    expect(await days('2026-05-01', '2026-05-06', {}, young)).toEqual([
      '2026-05-03',
      '2026-05-04',
      '2026-05-06',
    ]);
    const { body } = await query(young, { startDate: '2026-05-05', endDate: '2026-05-05' });
    expect(body.rows).toBeUndefined();
  });

  it.each([
    ['2026-05-06', 24, '2026-05-06T13:00:00-07:00'],
    // Clocks go from two to three, and from two back to one.
    ['2026-03-08', 23, '2026-03-08T03:00:00-07:00'],
    ['2026-11-01', 25, '2026-11-01T01:00:00-08:00'],
  ])('gives the hours of %s, in Pacific time, that sum to the day', async (day, count, one) => {
    await using near = await startEmulator({ today: addDays(day, 5), rowsPerDay: 1_500 });
    const range = { startDate: day, endDate: day };
    const hours = await rowsOf(['hour'], { ...range, dataState: 'hourly_all' }, near);
    const keys = hours.map((row) => row.keys?.[0] ?? '');
    expect(keys).toHaveLength(count);
    expect(keys).toContain(one);
    const instants = keys.map((key) => Date.parse(key)).sort((a, b) => a - b);
    expect(instants).toEqual(instants.map((_, hour) => (instants[0] ?? 0) + hour * 3_600_000));
    expect(sum(hours)).toEqual(sum(await rowsOf([], range, near)));
  });

  it('has hours of ten days, and says which is the first that is not whole', async () => {
    const ask = async (startDate: string, endDate: string, metadataNames: 'camel' | 'snake' = 'camel') => {
      await using near = await startEmulator({ today: TODAY, rowsPerDay: 100, metadataNames });
      const body = { startDate, endDate, dimensions: ['hour'], dataState: 'hourly_all', rowLimit: 25_000 };
      return (await query(near, body)).body;
    };
    expect((await ask(addDays(TODAY, -10), addDays(TODAY, -10))).rows).toBeUndefined();
    const oldest = await ask(addDays(TODAY, -9), addDays(TODAY, -9));
    expect(oldest.rows?.length).toBeGreaterThan(10);
    expect(oldest.metadata).toBeUndefined();
    const hour = `${addDays(TODAY, -2)}T00:00:00-07:00`;
    expect(await ask(addDays(TODAY, -4), TODAY)).toMatchObject({ metadata: { firstIncompleteHour: hour } });
    expect(await ask(TODAY, TODAY, 'snake')).toMatchObject({
      metadata: { first_incomplete_hour: `${TODAY}T00:00:00-07:00` },
    });
  });

  it('follows today through a function', async () => {
    let today = '2026-05-06';
    await using moving = await startEmulator({ today: () => today, rowsPerDay: 100 });
    expect(await rowsOf(['date'], {}, moving)).toHaveLength(0);
    today = '2026-05-09';
    expect(await rowsOf(['date'], {}, moving)).toHaveLength(1);
  });
});
