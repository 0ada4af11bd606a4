import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { dimensionsOf } from '../../../src/domain/dataset.ts';
import { partOf } from '../../../src/domain/part.ts';
import { hoursOf } from '../../../src/emulator/hours.ts';
import { startCopy } from '../../../src/internals/copy-in.ts';
import { transaction } from '../../../src/postgres/connection/transaction.ts';
import { CopyArena, CopyMemory } from '../../../src/postgres/copy/copy-memory.ts';
import { copyChunks } from '../../../src/postgres/copy/copy-text.ts';
import { encodeRows, FACT_COLUMNS } from '../../../src/postgres/copy/encode-rows.ts';
import { type PlainRow, rowBlock } from '../../../src/rows/row-block.ts';
import type { TestDatabase } from '../../support/postgres.ts';
import { migratedDatabase } from '../../support/synchronisation.ts';

let database: TestDatabase;
let lastSlice = 0;

beforeAll(async () => {
  database = await migratedDatabase();
});
afterAll(() => database.close());

/** Texts of what Google may send, and of what breaks things. */
const text = fc.oneof(
  fc.string({ unit: 'grapheme', maxLength: 40 }),
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.string({
    unit: fc.constantFrom(
      '\t',
      '\n',
      '\r',
      '\\',
      '\\.',
      '\\N',
      '"',
      "'",
      '\0',
      '\ud83d',
      '\ude00',
      '😀',
      'ß',
      'ﷺ',
      '\b',
      '\v',
      ',',
    ),
    maxLength: 20,
  }),
);

interface Stored {
  page: string | null;
  query: string | null;
  country: string | null;
  clicks: number;
  impressions: number;
  position: number | null;
}

function encode(sliceId: string, dataset: string, rows: readonly PlainRow[]) {
  const arena = new CopyArena(new CopyMemory());
  const encoded = encodeRows({ id: sliceId, dataset }, rowBlock(rows, dimensionsOf(dataset).length), arena);
  return { ...encoded, bytes: arena.buffer.subarray(encoded.from, encoded.to) };
}

async function roundTrip(
  rows: readonly PlainRow[],
  dataset: string,
): Promise<{ stored: Stored[]; replaced: number }> {
  lastSlice += 1;
  const sliceId = String(lastSlice);
  const encoded = encode(sliceId, dataset, rows);
  await transaction(database.sql, (tx) =>
    startCopy(tx, `copy longtail.fact (${FACT_COLUMNS}) from stdin`).send(
      (maxBytes) => copyChunks(encoded.bytes, maxBytes),
      () => tx`select 1`,
    ),
  );
  const stored = await database.sql<Stored[]>`
    select page, query, country, clicks::float8 as clicks, impressions::float8 as impressions, position
    from longtail.fact where slice_id = ${sliceId} order by clicks`;
  return { stored: [...stored], replaced: encoded.replacedCharacters };
}

/** What PostgreSQL can hold of a text. */
function storable(value: string): string {
  return value.toWellFormed().replaceAll('\0', '\ufffd');
}

function countReplaced(value: string): number {
  // The other way round than the encoder: every U+FFFD that was not there before.
  const count = (whole: string): number => [...whole].filter((character) => character === '\ufffd').length;
  return count(storable(value)) - count(value);
}

test('every text comes back as it was, but for what PostgreSQL cannot hold, which is counted', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(text, text, fc.option(fc.double({ min: 1, max: 1000, noNaN: true }))), {
        maxLength: 30,
      }),
      async (given) => {
        const rows = given.map(([page, query, position], index) => ({
          keys: [page, query],
          clicks: index,
          impressions: index * 3,
          position,
        }));
        const { stored, replaced } = await roundTrip(rows, 'page+query');
        expect(stored).toEqual(
          rows.map(({ keys, clicks, impressions, position }) => ({
            page: storable(keys[0] ?? ''),
            query: storable(keys[1] ?? ''),
            country: null,
            clicks,
            impressions,
            position,
          })),
        );
        expect(replaced).toBe(
          rows.flatMap(({ keys }) => keys).reduce((sum, key) => sum + countReplaced(key), 0),
        );
      },
    ),
    { numRuns: 150 },
  );
}, 60_000);

test('chunks are never larger than the driver bears, and lose nothing, whatever a text is long', async () => {
  const huge = '漢'.repeat(150_000);
  const rows = [
    { keys: ['a', huge], clicks: 1, impressions: 1, position: 1 },
    ...Array.from({ length: 5_000 }, (_, index) => ({
      keys: [`😀 page ${index}`, `query\t${index}`],
      clicks: index + 2,
      impressions: 1,
      position: null,
    })),
  ];
  const sizes = [...copyChunks(encode('1', 'page+query', rows).bytes, 65_536)].map((chunk) => chunk.length);
  expect(sizes.length).toBeGreaterThan(8);
  expect(Math.max(...sizes)).toBeLessThanOrEqual(65_536);
  const { stored } = await roundTrip(rows, 'page+query');
  expect(stored).toHaveLength(rows.length);
  expect(stored[0]?.query).toBe(huge);
  expect(stored.at(-1)).toMatchObject({ page: '😀 page 4999', query: 'query\t4999' });
});

test('keys go to the columns of their dimensions, and the other columns are null', () => {
  const row = { keys: ['usa'], clicks: 1, impressions: 2, position: 3.5 };
  const line = encode('7', 'country', [row]).bytes.toString();
  expect(line).toBe('7\t\\N\t\\N\tusa\t\\N\t\\N\t\\N\t1\t2\t3.5\n');
  const totals = encode('7', 'date', [{ ...row, keys: [], position: null }]).bytes;
  expect(totals.toString()).toBe('7\t\\N\t\\N\t\\N\t\\N\t\\N\t\\N\t1\t2\t\\N\n');
});

test('an empty text is not null', async () => {
  const { stored } = await roundTrip(
    [{ keys: ['', ''], clicks: 0, impressions: 0, position: null }],
    'page+query',
  );
  expect(stored[0]).toMatchObject({ page: '', query: '' });
});

test('what a part fixes stands in its column, in every row, as it was written', async () => {
  const value = 'A\\B\tC\nD=,%é';
  const slice = {
    id: '900001',
    dataset: 'page+query+country',
    part: partOf([
      { dimension: 'country', value },
      { dimension: 'device', value: 'MOBILE' },
    ]),
  };
  const rows = [1, 2].map((clicks) => ({
    keys: [`https://x/${clicks}`, 'q'],
    clicks,
    impressions: 9,
    position: null,
  }));
  await write(slice, rows);
  expect([
    ...(await database.sql`select page, query, country, device, hour, clicks::int as clicks
      from longtail.fact where slice_id = 900001 order by clicks`),
  ]).toEqual(
    rows.map(({ keys: [page, query], clicks }) => ({
      page,
      query,
      country: value,
      device: null,
      hour: null,
      clicks,
    })),
  );
});

test.each([
  ['2026-03-08', 23],
  ['2026-11-01', 25],
])('the hours of %s are %i instants', async (date, count) => {
  const id = date.replaceAll('-', '');
  const rows = hoursOf(date).map((hour) => ({ keys: [hour], clicks: 1, impressions: 1, position: 1 }));
  await write({ id, dataset: 'hour' }, rows);
  const [found] = await database.sql<{ hours: number; days: number; span: number }[]>`
    select count(distinct hour)::int as hours,
      count(distinct (hour at time zone 'America/Los_Angeles')::date)::int as days,
      (extract(epoch from max(hour) - min(hour)) / 3600)::int as span
    from longtail.fact where slice_id = ${id}::text::bigint`;
  expect(found).toEqual({ hours: count, days: 1, span: count - 1 });
});

async function write(
  slice: { readonly id: string; readonly dataset: string; readonly part?: string },
  rows: readonly PlainRow[],
): Promise<void> {
  const arena = new CopyArena(new CopyMemory());
  const encoded = encodeRows(slice, rowBlock(rows), arena);
  const bytes = arena.buffer.subarray(encoded.from, encoded.to);
  await transaction(database.sql, (tx) =>
    startCopy(tx, `copy longtail.fact (${FACT_COLUMNS}) from stdin`).send(
      (maxBytes) => copyChunks(bytes, maxBytes),
      () => tx`select 1`,
    ),
  );
}
