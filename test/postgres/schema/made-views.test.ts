import type { Sql } from 'postgres';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createSync } from '../../../src/index.ts';
import { VIEW_NAMES } from '../../../src/postgres/schema/made-views.ts';
import { migrate } from '../../../src/postgres/schema/migrate.ts';
import { VIEWS } from '../../../src/postgres/schema/views.ts';
import { emptyDatabase, type TestDatabase, testDatabase } from '../../support/postgres.ts';
import { emulate, options, settledDays } from '../../support/property.ts';

let database: TestDatabase;
let sql: Sql;

beforeEach(async () => {
  database = await testDatabase();
  ({ sql } = database);
});
afterEach(() => database.close());

async function describe(): Promise<unknown[]> {
  const rows = await sql`
    select c.relname, c.reloptions::text, pg_get_viewdef(c.oid) as definition, obj_description(c.oid) as comment,
      (select string_agg(objsubid || description, '; ' order by objsubid) from pg_description d where d.objoid = c.oid) as comments
    from pg_class c where c.relkind = 'v' and c.relnamespace = 'public'::regnamespace order by c.relname`;
  return [...rows];
}

test('every view reads with its reader’s rights, and says what it is', async () => {
  const found = await sql<{ name: string; options: string | null; comment: string | null }[]>`
    select relname as name, reloptions::text as options, obj_description(oid) as comment
    from pg_class where relkind = 'v' and relnamespace = 'public'::regnamespace`;
  expect(found.map(({ name }) => name).toSorted()).toEqual([...VIEW_NAMES].toSorted());
  for (const { options: set, comment } of found) {
    expect(set).toBe('{security_invoker=true}');
    expect(comment).not.toBeNull();
  }
});

test('columns that are described are there', async () => {
  for (const { name, columns = {} } of VIEWS) {
    const found = await sql<{ column: string }[]>`
      select attname as column from pg_attribute where attrelid = ${`public.${name}`}::text::regclass`;
    expect(found.map(({ column }) => column)).toEqual(expect.arrayContaining(Object.keys(columns)));
  }
});

test('views that a migration tool has dropped are made again, as they were', async () => {
  const before = await describe();
  await sql.unsafe(`drop view ${VIEW_NAMES.map((name) => `public.${name}`).join(', ')}`);
  expect(await migrate(database.url)).toEqual({ applied: 0 });
  expect(await describe()).toEqual(before);
  // And each by itself.
  await sql`drop view search_coverage`;
  expect(await migrate(database.url)).toEqual({ applied: 0 });
  expect(await describe()).toEqual(before);
});

test('a view that somebody has changed is named, and left as it is', async () => {
  await sql.unsafe(`
    drop view public.search_totals;
    create view public.search_totals as select p.site_url, d.date, d.clicks from longtail.day_total d join longtail.property p on p.id = d.property_id`);
  await sql.unsafe(
    'create or replace view public.search_analytics as select * from (select p.site_url, s.search_type, s.dataset, s.date, f.page, f.query, f.country, f.device, f.clicks, f.impressions, 0::double precision as ctr, f.position, f.search_appearance, s.data_state from longtail.fact f join longtail.slice s on s.id = f.slice_id join longtail.property p on p.id = s.property_id) x',
  );
  const before = await describe();
  const { notices = [] } = await migrate(database.url);
  expect(notices.map(({ view }) => view).toSorted()).toEqual([
    'public.search_analytics',
    'public.search_totals',
  ]);
  for (const { message, nextStep } of notices) {
    expect(message).toMatch(/^[^\n]*somebody has changed it[^\n]*$/);
    expect(nextStep).toContain('DROP VIEW');
  }
  expect(await describe()).toEqual(before);
  // The next step does what it says.
  for (const { nextStep } of notices) await sql.unsafe(/DROP VIEW [^;]+/.exec(nextStep)?.[0] ?? '');
  expect(await migrate(database.url)).toEqual({ applied: 0 });
  await sql`select hidden_share from search_coverage`;
  await sql`select ctr from search_totals`;
});

test('a synchronisation tells of it once, and is complete', async () => {
  await sql.unsafe('drop view search_totals; create table public.search_totals (mine int)');
  await using emulator = await emulate({ rowsPerDay: 5 });
  await using sync = createSync(options(database.url, emulator, settledDays(1), { datasets: ['page'] }));
  const told: unknown[] = [];
  sync.on('notice', (event) => told.push(event));
  expect(await sync.run()).toMatchObject({ status: 'complete' });
  expect(told).toEqual([
    {
      kind: 'view',
      view: 'public.search_totals',
      message: expect.stringContaining('The table public.search_totals in the database'),
      nextStep: expect.stringContaining('rename it'),
    },
  ]);
});

test('objects of others with the names of views are left alone, and the rest is made', async () => {
  await using empty = await emptyDatabase();
  await empty.sql.unsafe(`
    create table public.searchdata_url_impression (data_date date);
    create view public.search_revisions as select 1 as mine`);
  const { applied, notices = [] } = await migrate(empty.url);
  expect(applied).toBeGreaterThan(0);
  expect(notices.map(({ view }) => view)).toEqual([
    'public.search_revisions',
    'public.searchdata_url_impression',
  ]);
  expect([...(await empty.sql`select * from search_revisions`)]).toEqual([{ mine: 1 }]);
  await empty.sql`select from search_coverage`;
  expect((await migrate(empty.url)).notices).toHaveLength(2);
});

test('a view of an earlier version is replaced, and keeps its grants', async () => {
  const [role] = await sql<{ name: string }[]>`select 'reader_' || current_database() as name`;
  const reader = role?.name ?? '';
  await sql.unsafe(`create role ${reader}; grant select on search_coverage to ${reader}`);
  try {
    const before = await describe();
    // As an earlier version would have made it: with fewer columns.
    await sql`update longtail.made_view set source = 'earlier' where name in ('search_coverage', 'search_revisions')`;
    await sql.unsafe('drop view public.search_revisions');
    await sql.unsafe(`create view public.search_revisions as select id, version from longtail.slice`);
    // The definition as Longtail's own sessions read it.
    await sql.begin(async (tx) => {
      await tx`set local search_path = pg_catalog`;
      await tx`update longtail.made_view set definition = md5(pg_get_viewdef('public.search_revisions'::regclass))
        where name = 'search_revisions'`;
    });
    expect(await migrate(database.url)).toEqual({ applied: 0 });
    expect(await describe()).toEqual(before);
    const granted =
      await sql`select has_table_privilege(${reader}::text, 'search_coverage', 'select') as may`;
    expect(granted[0]).toEqual({ may: true });
    expect(await migrate(database.url)).toEqual({ applied: 0 });
  } finally {
    await sql.unsafe(`drop owned by ${reader}; drop role ${reader}`);
  }
});

test('a new server that writes definitions in another way is no change', async () => {
  await sql`update longtail.made_view set server = 9, definition = 'as another server wrote it'`;
  expect(await migrate(database.url)).toEqual({ applied: 0 });
  const kept = await sql`select from longtail.made_view where server = 9`;
  expect(kept).toHaveLength(0);
});

test('without the right to create in public, the grant is named and the run goes on', async () => {
  const [role] = await sql<{ name: string }[]>`select 'app_' || current_database() as name`;
  const app = role?.name ?? '';
  await using empty = await emptyDatabase();
  await empty.sql.unsafe(`create role ${app} login password 'a'; grant create on schema public to ${app};
    create schema longtail authorization ${app}`);
  try {
    const url = new URL(empty.url);
    url.username = app;
    url.password = 'a';
    expect((await migrate(url.href)).notices).toBeUndefined();
    await empty.sql.unsafe(`drop view search_coverage; revoke create on schema public from ${app}, public`);
    const { notices } = await migrate(url.href);
    expect(notices).toEqual([
      {
        view: 'public.search_coverage',
        message: expect.stringContaining('may not create the views search_coverage'),
        nextStep: `As its owner, run: GRANT USAGE, CREATE ON SCHEMA public TO "${app}";`,
      },
    ]);
  } finally {
    await empty.sql.unsafe(`drop owned by ${app} cascade; drop role ${app}`);
  }
});
