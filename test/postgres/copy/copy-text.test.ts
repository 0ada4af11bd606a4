import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { dimensionsOf } from '../../../src/domain/slice.ts';
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
  const encoded = encodeRows(sliceId, dataset, rowBlock(rows, dimensionsOf(dataset).length), arena);
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
  expect(line).toBe('7\t\\N\t\\N\tusa\t\\N\t\\N\t1\t2\t3.5\n');
  const totals = encode('7', 'date', [{ ...row, keys: [], position: null }]).bytes;
  expect(totals.toString()).toBe('7\t\\N\t\\N\t\\N\t\\N\t\\N\t1\t2\t\\N\n');
});

test('an empty text is not null', async () => {
  const { stored } = await roundTrip(
    [{ keys: ['', ''], clicks: 0, impressions: 0, position: null }],
    'page+query',
  );
  expect(stored[0]).toMatchObject({ page: '', query: '' });
});
