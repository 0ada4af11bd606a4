// @module-tag long
/** Settings of a role, of a database, of a server and of a pool that change what a session means: every run comes to the same table. */
import postgres from 'postgres';
import { expect, test } from 'vitest';
import { createSync } from '../../src/sync/sync.ts';
import { differences } from '../support/compare.ts';
import { startFakePooler } from '../support/fake-pooler.ts';
import { emptyDatabase, type TestDatabase } from '../support/postgres.ts';
import { emulate, options, SITE, settledDays } from '../support/property.ts';

const datasets = ['page', 'page+query'];
const days = settledDays(2);

/** Each changes the meaning of what is written or read, or ends what takes its time. */
const SETTINGS: readonly (readonly [string, string])[] = [
  ['DateStyle', "'SQL, DMY'"],
  ['DateStyle', "'German'"],
  ['IntervalStyle', "'iso_8601'"],
  ['extra_float_digits', '-15'],
  ['bytea_output', "'escape'"],
  ['search_path', "''"],
  ['row_security', 'off'],
  ['default_transaction_isolation', "'serializable'"],
  ['default_transaction_deferrable', 'on'],
  ['TimeZone', "'Pacific/Kiritimati'"],
  ['client_min_messages', "'debug5'"],
  ['statement_timeout', "'300ms'"],
  ['lock_timeout', "'1ms'"],
  ['idle_in_transaction_session_timeout', "'300ms'"],
  ['idle_session_timeout', "'100ms'"],
  ['transaction_timeout', "'500ms'"],
  ['quote_all_identifiers', 'on'],
  ['transform_null_equals', 'on'],
  ['enable_indexscan', 'off'],
  ['plan_cache_mode', "'force_generic_plan'"],
];

/** For the one that compares. */
const PLAIN = { DateStyle: 'ISO', search_path: 'public', extra_float_digits: 1, statement_timeout: 60_000 };

async function expectWholeRun(database: TestDatabase, target: string | postgres.Sql): Promise<void> {
  await using emulator = await emulate({ rowsPerDay: 30 });
  await using sync = createSync(options(target, emulator, days, { datasets, rowsPerPage: 20 }));
  const outcome = await sync.run();
  expect(outcome).toMatchObject({ status: 'complete', slices: { complete: 4, failed: 0 } });
  const plain = postgres(database.url, { max: 1, connection: PLAIN });
  try {
    expect(
      await differences(plain, emulator, { siteUrl: SITE, searchTypes: ['web'], datasets, days }),
    ).toEqual([]);
  } finally {
    await plain.end();
  }
}

/** Alone, since one may hide another; the others together. */
const ALONE = new Set(['DateStyle', 'default_transaction_isolation', 'search_path', 'statement_timeout']);

const CASES: readonly (readonly [string, typeof SETTINGS])[] = [
  ...SETTINGS.filter(([name]) => ALONE.has(name)).map(
    ([name, value]) => [`${name} to ${value}`, [[name, value]]] as const,
  ),
  ['all of it', SETTINGS],
];

async function alterDatabase({ sql }: TestDatabase, settings: typeof SETTINGS): Promise<void> {
  const [row] = await sql<{ name: string }[]>`select current_database() as name`;
  for (const [name, value] of settings) {
    await sql.unsafe(`alter database ${row?.name ?? ''} set ${name} = ${value}`);
  }
}

test.each(CASES)('the database has set %s', async (_, settings) => {
  await using database = await emptyDatabase();
  await alterDatabase(database, settings);
  await expectWholeRun(database, database.url);
});

test.each(CASES)('the database has set %s, and there is a transaction pooler', async (_, settings) => {
  await using database = await emptyDatabase();
  await alterDatabase(database, settings);
  await using pooler = await startFakePooler(database.url);
  await expectWholeRun(database, pooler.url);
});

test('the role has set all of it at once', async () => {
  await using database = await emptyDatabase();
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

test.each(POOLS)('a pool passed in that %s', async (what, more) => {
  await using database = await emptyDatabase();
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
