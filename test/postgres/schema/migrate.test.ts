import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { drizzle } from 'drizzle-orm/postgres-js';
import { migrate as drizzleMigrate } from 'drizzle-orm/postgres-js/migrator';
import postgres from 'postgres';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { migrate } from '../../../src/postgres/schema/migrate.ts';
import { emptyDatabase, type TestDatabase } from '../../support/postgres.ts';

let database: TestDatabase;

beforeEach(async () => {
  database = await emptyDatabase();
});
afterEach(() => database.close());

async function relations(): Promise<string[]> {
  const rows = await database.sql<{ name: string }[]>`
    select n.nspname || '.' || c.relname as name from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname in ('longtail', 'public', 'drizzle') and c.relkind in ('r', 'v') order by name`;
  return rows.map(({ name }) => name);
}

const ALL = [
  'longtail.calendar',
  'longtail.day_total',
  'longtail.fact',
  'longtail.lease',
  'longtail.made_view',
  'longtail.migrations',
  'longtail.not_served',
  'longtail.property',
  'longtail.quota_lease',
  'longtail.run',
  'longtail.slice',
  'longtail.slice_page',
  'public.search_analytics',
  'public.search_analytics_filtered',
  'public.search_coverage',
  'public.search_page_lifetime',
  'public.search_revisions',
  'public.search_totals',
  'public.searchdata_site_impression',
  'public.searchdata_url_impression',
];

test('makes the tables once', async () => {
  const { applied } = await migrate(database.url);
  expect(applied).toBeGreaterThan(0);
  expect(await relations()).toEqual(ALL);
  expect(await migrate(database.url)).toEqual({ applied: 0 });
});

test('the view says how it must be read', async () => {
  await migrate(database.url);
  const rows = await database.sql<{ comment: string }[]>`
    select obj_description('public.search_analytics'::regclass) as comment`;
  expect(rows[0]?.comment).toMatch(/filter one dataset/);
});

test('the rows have one index, no foreign key, plain collation, and are vacuumed early', async () => {
  await migrate(database.url);
  const { sql } = database;
  expect(await sql`select from pg_index where indrelid = 'longtail.fact'::regclass`).toHaveLength(1);
  expect(
    await sql`select from pg_constraint where conrelid = 'longtail.fact'::regclass and contype <> 'n'`,
  ).toHaveLength(0);
  const collations = await sql`
    select distinct collation_name from information_schema.columns
    where table_schema = 'longtail' and table_name = 'fact' and data_type = 'text'`;
  expect([...collations]).toEqual([{ collation_name: 'C' }]);
  const options = await sql<{ options: string }[]>`
    select array_to_string(reloptions, ',') as options from pg_class where oid = 'longtail.fact'::regclass`;
  expect(options[0]?.options).toContain('autovacuum_vacuum_scale_factor=0.02');
});

test('eight at once: one makes them, the others find them', async () => {
  const outcomes = await Promise.all(Array.from({ length: 8 }, () => migrate(database.url)));
  expect(outcomes.filter(({ applied }) => applied > 0)).toHaveLength(1);
  expect(await relations()).toEqual(ALL);
});

test("a host's own Drizzle migrations, older and newer, go their own way, before and after ours", async () => {
  const folder = await mkdtemp(join(tmpdir(), 'longtail-host-'));
  try {
    // As a host's folder looks whose newest migration is of the far future, and then a newer one still.
    const entries = [
      { idx: 0, version: '7', when: 4_000_000_000_000, tag: '0000_first', breakpoints: true },
      { idx: 1, version: '7', when: 4_000_000_000_001, tag: '0001_second', breakpoints: true },
    ];
    await mkdir(join(folder, 'meta'));
    await writeFile(join(folder, '0000_first.sql'), 'create table public.host_first (id int)');
    await writeFile(join(folder, '0001_second.sql'), 'create table public.host_second (id int)');
    const journal = (count: number): Promise<void> =>
      writeFile(
        join(folder, 'meta', '_journal.json'),
        JSON.stringify({ version: '7', dialect: 'postgresql', entries: entries.slice(0, count) }),
      );
    const host = postgres(database.url, { max: 1, onnotice: () => {} });
    try {
      await journal(1);
      await drizzleMigrate(drizzle(host), { migrationsFolder: folder });
      expect((await migrate(database.url)).applied).toBeGreaterThan(0);
      await journal(2);
      await drizzleMigrate(drizzle(host), { migrationsFolder: folder });
    } finally {
      await host.end();
    }
    expect(await relations()).toEqual(
      expect.arrayContaining([
        ...ALL,
        'public.host_first',
        'public.host_second',
        'drizzle.__drizzle_migrations',
      ]),
    );
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

test('a connection passed in stays open, and reads dates as it did', async () => {
  const before = await database.sql`select date '2026-03-01' as day, now() as instant`;
  await migrate(database.sql);
  const after = await database.sql`select date '2026-03-01' as day, now() as instant`;
  expect(after[0]?.day).toEqual(before[0]?.day);
  expect(after[0]?.day).toBeInstanceOf(Date);
  expect(after[0]?.instant).toBeInstanceOf(Date);
});

test("a view of the host's by that name is left alone, and nothing is made", async () => {
  await database.sql`create view public.search_analytics as select 1 as mine`;
  await expect(migrate(database.url)).rejects.toMatchObject({
    code: 'MIGRATION_FAILED',
    nextStep: expect.stringContaining('rename it'),
  });
  expect(await relations()).toEqual(['public.search_analytics']);
});

test('tables of a newer version are refused', async () => {
  await migrate(database.url);
  await database.sql`insert into longtail.migrations (hash, created_at) values ('x', 4000000000000)`;
  await expect(migrate(database.url)).rejects.toMatchObject({
    code: 'MIGRATION_FAILED',
    nextStep: expect.stringContaining('Update'),
  });
});

test('a user who may make nothing is told what to grant, and one with finished tables needs nothing', async () => {
  const role = `weak_${new URL(database.url).pathname.slice(1)}`;
  const { sql } = database;
  await sql.unsafe(`create role ${role} login password 'weak'`);
  try {
    const url = new URL(database.url);
    url.username = role;
    url.password = 'weak';
    await expect(migrate(url.href)).rejects.toMatchObject({
      code: 'DATABASE_REFUSED',
      nextStep: expect.stringContaining('GRANT CREATE ON DATABASE'),
    });
    await migrate(database.url);
    await expect(migrate(url.href)).rejects.toMatchObject({
      code: 'DATABASE_REFUSED',
      nextStep: expect.stringContaining('GRANT USAGE ON SCHEMA longtail'),
    });
    await sql.unsafe(
      `grant usage on schema longtail to ${role}; grant all on all tables in schema longtail to ${role}`,
    );
    expect(await migrate(url.href)).toEqual({ applied: 0 });
  } finally {
    await sql.unsafe(`drop owned by ${role}; drop role ${role}`);
  }
});
