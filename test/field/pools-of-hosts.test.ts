// @module-tag long
/** Pools of backends, passed in: small, with options of their own, with a session's settings in their URL. */
import postgres from 'postgres';
import { describe, expect, test } from 'vitest';
import { createSync } from '../../src/sync/sync.ts';
import { emptyDatabase } from '../support/postgres.ts';
import { emulate, options, settledDays } from '../support/property.ts';
import { until } from '../support/until.ts';
import { askedAgain, expectWhole } from './support/watching.ts';

const datasets = ['page+query'];
const days = settledDays(6);

type PoolOptions = postgres.Options<Record<string, postgres.PostgresType>>;

const POOLS: readonly (readonly [what: string, PoolOptions])[] = [
  ['has one connection', { max: 1 }],
  [
    'has one connection, which lives for a tenth of a second',
    { max: 1, max_lifetime: 0.1, idle_timeout: 0.1 },
  ],
  [
    'renames columns both ways, and takes undefined for null',
    { max: 2, transform: { ...postgres.camel, undefined: null } },
  ],
  ['speaks Latin-1', { max: 3, connection: { client_encoding: 'LATIN1' } }],
  [
    'has settings in its options',
    {
      max: 3,
      connection: {
        options: '-c client_encoding=LATIN1 -c search_path=nowhere -c statement_timeout=50 -c lock_timeout=1',
      },
    },
  ],
  [
    'wants the server to answer in another way',
    {
      max: 3,
      prepare: false,
      fetch_types: false,
      types: { bigint: postgres.BigInt },
      connection: {
        bytea_output: 'escape',
        extra_float_digits: -15,
        IntervalStyle: 'sql_standard',
        TimeZone: 'Asia/Kathmandu',
      },
    },
  ],
];

describe('a pool that', () => {
  test.each(POOLS)('%s: the table is the same, to the last letter', async (_, more) => {
    await using database = await emptyDatabase();
    await using emulator = await emulate({ rowsPerDay: 60, latencyMs: 5 });
    const pool = postgres(database.url, { ...more, onnotice: () => undefined });
    try {
      await using sync = createSync(
        options(pool, emulator, days, { datasets, rowsPerPage: 25, batchSize: 3, maxConcurrency: 4 }),
      );
      expect(await sync.run()).toMatchObject({ status: 'complete', slices: { complete: 6, failed: 0 } });
      expect(askedAgain(emulator)).toEqual([]);
      await expectWhole(database.sql, emulator, datasets, days);
    } finally {
      await pool.end({ timeout: 1 });
    }
  });
});

test('a client encoding in the URL, and in the environment’s stead in the role: the table is the same', async () => {
  await using database = await emptyDatabase();
  await database.sql.unsafe(
    `alter database ${new URL(database.url).pathname.slice(1)} set client_encoding = 'LATIN1'`,
  );
  await using emulator = await emulate({ rowsPerDay: 60 });
  const url = new URL(database.url);
  url.searchParams.set('client_encoding', 'LATIN1');
  url.searchParams.set('options', '-c client_encoding=LATIN1');
  await using sync = createSync(options(url.href, emulator, days, { datasets }));
  expect(await sync.run()).toMatchObject({ status: 'complete' });
  const plain = postgres(database.url, { max: 1, onnotice: () => undefined });
  try {
    await expectWhole(plain, emulator, datasets, days);
  } finally {
    await plain.end();
  }
});

test('the host uses all of its pool, ends it while pages wait to be written, and makes another: the run halts and says so', async () => {
  await using database = await emptyDatabase();
  await using emulator = await emulate({ rowsPerDay: 20, latencyMs: 10 });
  const many = settledDays(30);
  const pool = postgres(database.url, { max: 3, onnotice: () => undefined });
  await using first = createSync(options(pool, emulator, many.slice(0, 2), { datasets }));
  await first.run();
  await using sync = createSync(
    options(pool, emulator, many, { datasets, batchSize: 2, haltDeadlineMs: 2_000 }),
  );
  let state = '';
  sync.on('progress', (progress) => {
    state = progress.state;
  });
  const blocker = await database.sql.reserve();
  await blocker`begin`;
  await blocker`lock table longtail.fact in share mode`;
  try {
    const running = sync.run();
    await until(() => state === 'waitingForDatabase', 'pages wait');
    const endedAtMs = performance.now();
    await pool.end({ timeout: 1 });
    expect(await running).toMatchObject({
      status: 'halted',
      haltReason: { kind: 'asked', reason: expect.stringContaining('has been closed') },
    });
    expect(performance.now() - endedAtMs).toBeLessThan(10_000);
  } finally {
    await blocker`rollback`;
    blocker.release();
  }
  const another = postgres(database.url, { max: 3, onnotice: () => undefined });
  try {
    await using rest = createSync(options(another, emulator, many, { datasets }));
    expect(await rest.run()).toMatchObject({ status: 'complete', slices: { complete: 30 } });
    await expectWhole(database.sql, emulator, datasets, many);
  } finally {
    await another.end({ timeout: 1 });
  }
});
