/** Settings of a role, of a database, of a server and of a pool that change what a session means: every run comes to the same table. */
import postgres from 'postgres';
import { describe, expect, test } from 'vitest';
import { createSync } from '../../src/sync.ts';
import { differences } from '../support/compare.ts';
import { startFakePooler } from '../support/fake-pooler.ts';
import { type TestDatabase, testDatabase } from '../support/postgres.ts';
import { emulate, options, SITE, settledDays } from '../support/property.ts';

const datasets = ['page', 'page+query'];
const days = settledDays(4);

const SETTINGS: readonly (readonly [string, string])[] = [
  ['DateStyle', "'SQL, DMY'"],
  ['DateStyle', "'German'"],
  ['DateStyle', "'Postgres, YMD'"],
  ['IntervalStyle', "'iso_8601'"],
  ['extra_float_digits', '-15'],
  ['bytea_output', "'escape'"],
  ['search_path', "'nowhere'"],
  ['search_path', "''"],
  ['row_security', 'off'],
  ['default_transaction_isolation', "'serializable'"],
  ['default_transaction_isolation', "'repeatable read'"],
  ['default_transaction_deferrable', 'on'],
  ['TimeZone', "'Pacific/Kiritimati'"],
  ['client_min_messages', "'debug5'"],
  ['statement_timeout', "'40ms'"],
  ['lock_timeout', "'1ms'"],
  ['idle_in_transaction_session_timeout', "'1ms'"],
  ['idle_session_timeout', "'20ms'"],
  ['transaction_timeout', "'60ms'"],
  ['quote_all_identifiers', 'on'],
  ['transform_null_equals', 'on'],
  ['enable_indexscan', 'off'],
  ['plan_cache_mode', "'force_generic_plan'"],
  ['synchronous_commit', 'off'],
];

async function expectWholeRun(database: TestDatabase, target: string | postgres.Sql): Promise<void> {
  await using emulator = await emulate({ rowsPerDay: 30 });
  await using sync = createSync(options(target, emulator, days, { datasets, rowsPerPage: 20 }));
  const outcome = await sync.run();
  expect(outcome).toMatchObject({ status: 'complete', slices: { complete: 8, failed: 0 } });
  const plain = postgres(database.url, { max: 1, connection: { DateStyle: 'ISO', search_path: 'public' } });
  try {
    expect(
      await differences(plain, emulator, { siteUrl: SITE, searchTypes: ['web'], datasets, days }),
    ).toEqual([]);
  } finally {
    await plain.end();
  }
}

describe.each(['directly', 'through a transaction pooler'] as const)('%s', (how) => {
  test.each(SETTINGS)('the database has set %s to %s', async (name, value) => {
    await using database = await testDatabase();
    const [{ name: databaseName } = { name: '' }] = await database.sql<
      { name: string }[]
    >`select current_database() as name`;
    await database.sql.unsafe(`alter database ${databaseName} set ${name} = ${value}`);
    if (how === 'directly') return await expectWholeRun(database, database.url);
    await using pooler = await startFakePooler(database.url);
    await expectWholeRun(database, pooler.url);
  });
});

test('the role has set all of it at once', async () => {
  await using database = await testDatabase();
  const role = `role_${new URL(database.url).pathname.slice(6)}`;
  await database.sql.unsafe(`create role ${role} login superuser password 'pw'`);
  try {
    for (const [name, value] of SETTINGS)
      await database.sql.unsafe(`alter role ${role} set ${name} = ${value}`);
    const url = Object.assign(new URL(database.url), { username: role, password: 'pw' });
    await expectWholeRun(database, url.href);
  } finally {
    await database.sql.unsafe(`drop owned by ${role} cascade`);
    await database.sql.unsafe(`drop role ${role}`);
  }
});

const POOLS: readonly (readonly [string, postgres.Options<Record<string, postgres.PostgresType>>])[] = [
  ['renames columns', { transform: postgres.pascal }],
  ['changes values and rows', { transform: { value: () => 'x', row: () => ({}) } }],
  ['reads numbers as BigInt', { types: { bigint: postgres.BigInt } }],
  [
    'reads text and dates its own way',
    {
      types: {
        text: { to: 25, from: [25, 1043, 23, 16, 701, 1082], parse: () => 'x', serialize: () => 'y' },
      },
    },
  ],
  ['prepares nothing', { prepare: false }],
  ['gives connections a tenth of a second', { max_lifetime: 0.1, idle_timeout: 0.1 }],
  ['fetches no types', { fetch_types: false }],
  [
    'sets what sessions mean',
    { connection: { DateStyle: 'German', statement_timeout: 1, search_path: 'x' } },
  ],
  ['has a password that is a promise', {}],
  [
    'listens to everything',
    {
      debug: () => {
        throw new Error('the hook of the host');
      },
      onnotice: () => {
        throw new Error('the hook of the host');
      },
    },
  ],
];

test.each(POOLS)('a pool handed in that %s', async (what, more) => {
  await using database = await testDatabase();
  const { password } = new URL(database.url);
  const pool = postgres(database.url, {
    ...more,
    max: 3,
    ...(what.includes('promise') ? { password: async () => password } : {}),
  });
  try {
    await expectWholeRun(database, pool);
  } finally {
    await pool.end({ timeout: 1 });
  }
});
