// @module-tag long
/** Longtail's tables and view in databases that have an owner, rules and a past of their own. */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import postgres, { type Sql } from 'postgres';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { migrate } from '../../src/postgres/schema/migrate.ts';
import { MIGRATIONS } from '../../src/postgres/schema/migrations.ts';
import { createSync } from '../../src/sync/sync.ts';
import { differences } from '../support/compare.ts';
import { emptyDatabase, startTestServer, type TestDatabase } from '../support/postgres.ts';
import { emulate, options, SITE, settledDays } from '../support/property.ts';

let database: TestDatabase;
let sql: Sql;
/** Roles belong to the server: each test's have names of their own. */
let tag = '';
let roles: string[] = [];

beforeEach(async () => {
  database = await emptyDatabase();
  sql = database.sql;
  tag = randomBytes(6).toString('hex');
  roles = [];
});
afterEach(async () => {
  for (const role of roles.toReversed()) await sql.unsafe(`drop owned by ${role} cascade; drop role ${role}`);
  await database.close();
});

/** A role that may log in, gone with the test. */
async function role(name: string, more = ''): Promise<string> {
  const full = `${name}_${tag}`;
  await sql.unsafe(`create role ${full} login password 'a' ${more}`);
  roles.push(full);
  return full;
}

function urlOf(user: string): string {
  const url = new URL(database.url);
  url.username = user;
  url.password = 'a';
  return url.href;
}

/** Work on a connection as somebody else. */
async function as<T>(user: string, work: (sql: Sql) => Promise<T>): Promise<T> {
  const theirs = postgres(urlOf(user), { max: 1, onnotice: () => undefined });
  try {
    return await work(theirs);
  } finally {
    await theirs.end({ timeout: 1 });
  }
}

/** The tables as the first version made them, with default privileges and all. */
async function installFirstVersion(owner: Sql): Promise<void> {
  const there = await owner`select from pg_namespace where nspname = 'longtail'`;
  await owner.unsafe(`${there.length === 0 ? 'create schema longtail;' : ''}
    create table longtail.migrations (id serial primary key, hash text not null, created_at bigint)`);
  for (const { statements, hash, moment } of MIGRATIONS.slice(0, 2)) {
    for (const statement of statements) await owner.unsafe(statement);
    await owner`insert into longtail.migrations (hash, created_at) values (${hash}, ${moment})`;
  }
}

/** Resolves when somebody waits for such a lock in this test's database. */
async function waiter(which: string): Promise<void> {
  for (;;) {
    const waiting = await sql.unsafe(
      `select from pg_locks l join pg_database d on d.oid = l.database
      where not granted and d.datname = current_database() and ${which}`,
    );
    if (waiting.length > 0) return;
    await sleep(20);
  }
}

/** Everything that catalogues say of names in the two schemas: equal before and after where nothing was touched. */
async function snapshot(): Promise<unknown> {
  return sql`
    select n.nspname, c.relname, c.relkind, c.relacl::text, c.xmin::text, n.nspacl::text
    from pg_namespace n left join pg_class c on c.relnamespace = n.oid
    where n.nspname in ('longtail', 'public') order by n.nspname, c.relname`;
}

async function grantees(): Promise<string[]> {
  const rows = await sql<{ grantee: string }[]>`
    select distinct case g.grantee when 0 then 'public' else pg_get_userbyid(g.grantee) end as grantee
    from (
      select c.relacl as acl, c.relowner as owner from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where n.nspname = 'longtail' or c.relname = 'search_analytics'
      union all select nspacl, nspowner from pg_namespace where nspname = 'longtail'
    ) r cross join lateral aclexplode(r.acl) g where g.grantee <> r.owner order by 1`;
  return rows.map(({ grantee }) => grantee);
}

const READ = (reader: string) => `
  grant usage on schema longtail to ${reader};
  grant select on longtail.fact, longtail.slice, longtail.property, search_analytics to ${reader}`;

describe('who may read', () => {
  const HOSTED = (anon: string) => `
    alter default privileges grant all on tables to ${anon};
    alter default privileges grant all on sequences to ${anon};
    alter default privileges in schema public grant all on tables to ${anon}, public;
    alter default privileges grant usage on schemas to ${anon};
    grant usage on schema public to ${anon}`;

  test('a role that default privileges name reads neither the view nor a table', async () => {
    const anon = await role('anon');
    await sql.unsafe(HOSTED(anon));
    await migrate(database.url);
    expect(await grantees()).toEqual([]);
    await as(anon, async (theirs) => {
      await expect(theirs`select from search_analytics`).rejects.toMatchObject({ code: '42501' });
      await expect(theirs`select from longtail.fact`).rejects.toMatchObject({ code: '42501' });
      await expect(theirs`select nextval('longtail.slice_id_seq')`).rejects.toMatchObject({ code: '42501' });
    });
    // The host's own tables are given as before.
    await sql`create table public.hosts_own (id int)`;
    await as(anon, (theirs) => theirs`select from hosts_own`);
  });

  test('the view reads with its reader’s rights: the view alone is not enough, the documented grants are', async () => {
    const reader = await role('reader');
    await migrate(database.url);
    await sql.unsafe(`grant select on search_analytics to ${reader}`);
    await as(reader, async (theirs) => {
      await expect(theirs`select from search_analytics`).rejects.toMatchObject({ code: '42501' });
    });
    await sql.unsafe(READ(reader));
    await as(reader, async (theirs) => {
      expect(await theirs`select from search_analytics`).toHaveLength(0);
      await expect(theirs`delete from longtail.fact`).rejects.toMatchObject({ code: '42501' });
    });
  });

  test('what was granted on purpose later stays, a grant to the role that default privileges name too', async () => {
    const anon = await role('anon');
    await sql.unsafe(HOSTED(anon));
    await migrate(database.url);
    await sql.unsafe(READ(anon));
    // As an update finds it: the newest migration is applied again.
    await migrate(database.url);
    await as(anon, (theirs) => theirs`select from search_analytics`);
  });

  test('tables of the first version lose what default privileges gave, and keep what was granted', async () => {
    const anon = await role('anon');
    const reader = await role('reader');
    const column = await role('column');
    await sql.unsafe(HOSTED(anon));
    await installFirstVersion(sql);
    await sql.unsafe(
      `grant select on search_analytics to ${reader}; grant select (page, clicks) on search_analytics to ${column}`,
    );
    await as(anon, (theirs) => theirs`select from search_analytics`);

    expect((await migrate(database.url)).applied).toBe(MIGRATIONS.length - 2);
    expect(await grantees()).toEqual([column, reader].toSorted());
    await as(anon, async (theirs) => {
      await expect(theirs`select from search_analytics`).rejects.toMatchObject({ code: '42501' });
      await expect(theirs`select from longtail.fact`).rejects.toMatchObject({ code: '42501' });
    });
    await as(reader, (theirs) => theirs`select from search_analytics`);
    await as(column, (theirs) => theirs`select page, clicks from search_analytics`);
  });

  test('rows of the first version are there after the update', async () => {
    await installFirstVersion(sql);
    await sql`insert into longtail.property (site_url, epoch) values (${SITE}, 1)`;
    await sql`insert into longtail.run (property_id, epoch, status, from_date, to_date, parameters, force)
      values (1, 1, 'complete', '2026-01-01', '2026-01-01', '{}', false)`;
    await sql`insert into longtail.slice (property_id, search_type, dataset, date, version, status, run_id)
      values (1, 'web', 'date', '2026-01-01', 1, 'complete', 1)`;
    await sql`insert into longtail.fact (slice_id, clicks, impressions, position) values (1, 3, 9, 1.5)`;
    const before = await sql`select * from search_analytics`;
    await migrate(database.url);
    expect(before).toHaveLength(1);
    expect([...(await sql`select * from search_analytics`)]).toEqual(
      before.map((row) => ({ ...row, hour: null })),
    );
  });

  test('a schema that its owner had prepared, with grants of his, keeps them', async () => {
    const app = await role('app');
    const reader = await role('reader');
    await sql.unsafe(`create schema longtail; grant usage, create on schema longtail to ${app};
      grant usage on schema longtail to ${reader}; grant create on schema public to ${app}`);
    await migrate(urlOf(app));
    expect(await grantees()).toEqual([app, reader].toSorted());
    expect(await migrate(urlOf(app))).toEqual({ applied: 0 });
  });
});

describe('names that are somebody else’s', () => {
  const FOREIGN: Record<string, string> = {
    'a schema longtail with tables of other names':
      'create schema longtail; create table longtail.customer (id int)',
    'a schema longtail with a table named as one of ours':
      'create schema longtail; create table longtail.fact (id int)',
    'a schema longtail with a record of migrations in another shape':
      'create schema longtail; create table longtail.migrations (version text primary key)',
    'a schema longtail with the migrations of another Drizzle': `create schema longtail; create table longtail.migrations (id serial primary key, hash text not null, created_at bigint);
       insert into longtail.migrations (hash, created_at) values ('a', 1700000000000); create table longtail.customer (id int)`,
    'a schema longtail with an empty record and a table of ours': `create schema longtail;
      create table longtail.migrations (id serial primary key, hash text not null, created_at bigint);
      create table longtail.fact (id int)`,
    'a schema longtail with a view': 'create schema longtail; create view longtail.mine as select 1 as one',
    'a view public.search_analytics': 'create view public.search_analytics as select 1 as mine',
    'a table public.search_analytics': 'create table public.search_analytics (id int)',
    'a materialized view public.search_analytics':
      'create materialized view public.search_analytics as select 1 as mine',
    'a type public.search_analytics': 'create type public.search_analytics as (a int)',
  };
  test.each(Object.entries(FOREIGN))('%s: one line, and nothing is touched', async (_name, statements) => {
    await sql.unsafe(statements);
    const before = await snapshot();
    const failure = await migrate(database.url).catch((error: unknown) => error);
    expect(failure).toMatchObject({
      code: 'MIGRATION_FAILED',
      message: expect.stringMatching(/^[^\n]*not Longtail's[^\n]*$/),
      nextStep: expect.stringMatching(/rename it/),
    });
    expect(await snapshot()).toEqual(before);
  });

  test('a synchronisation says so, and asks Google for nothing', async () => {
    await sql`create schema longtail`;
    await sql`create table longtail.run (id int)`;
    await using emulator = await emulate();
    await using sync = createSync(options(database.url, emulator, settledDays(2)));
    await expect(sync.run()).rejects.toMatchObject({
      code: 'MIGRATION_FAILED',
      message: expect.stringContaining('contains run'),
    });
    expect(emulator.requests).toHaveLength(0);
  });

  test.each([
    ['an empty schema longtail', 'create schema longtail'],
    [
      'a schema with an empty record of migrations, and nothing else',
      'create schema longtail; create table longtail.migrations (id serial primary key, hash text not null, created_at bigint)',
    ],
  ])('%s is ours to fill', async (_name, statements) => {
    await sql.unsafe(statements);
    expect((await migrate(database.url)).applied).toBe(MIGRATIONS.length);
    await sql`select from search_analytics`;
  });
});

describe('a database that is not whole', () => {
  test('a table that somebody dropped is named', async () => {
    await migrate(database.url);
    await sql`drop table longtail.slice_page`;
    const before = await snapshot();
    await expect(migrate(database.url)).rejects.toMatchObject({
      code: 'MIGRATION_FAILED',
      message: expect.stringContaining('slice_page is missing'),
      nextStep: expect.stringContaining('backup'),
    });
    expect(await snapshot()).toEqual(before);
  });

  test('a view that went with the schema public is made again, with all that is said of it', async () => {
    await migrate(database.url);
    const described = () => sql`
      select c.reloptions::text, pg_get_viewdef(c.oid) as definition, obj_description(c.oid) as comment,
        (select count(*) from pg_description d where d.objoid = c.oid)::int as comments
      from pg_class c where c.relname = 'search_analytics'`;
    const before = await described();
    await sql.unsafe('drop schema public cascade; create schema public');
    expect(await migrate(database.url)).toEqual({ applied: 0 });
    expect([...(await described())]).toEqual([...before]);
    expect(await grantees()).toEqual([]);
  });

  test('a view that its owner has moved to another schema stays there, alone', async () => {
    await migrate(database.url);
    await sql.unsafe('create schema reports; alter view public.search_analytics set schema reports');
    expect(await migrate(database.url)).toEqual({ applied: 0 });
    expect(await sql`select from pg_class where relname = 'search_analytics'`).toHaveLength(1);
  });
});

describe('migrate: false', () => {
  async function failureOf(more: object = {}): Promise<unknown> {
    await using emulator = await emulate();
    await using sync = createSync({
      ...options(database.url, emulator, settledDays(2)),
      migrate: false,
      ...more,
    });
    const failure = await sync.run().catch((error: unknown) => error);
    expect(emulator.requests).toHaveLength(0);
    return failure;
  }

  test('an empty database is called empty', async () => {
    expect(await failureOf()).toMatchObject({
      code: 'MIGRATION_FAILED',
      message: expect.stringContaining('is empty'),
      nextStep: expect.stringContaining('longtail/migrate'),
    });
    expect(await failureOf({ database: sql })).toMatchObject({
      message: expect.stringContaining('is empty'),
    });
  });

  test('tables of an older version are called older', async () => {
    await installFirstVersion(sql);
    expect(await failureOf()).toMatchObject({
      code: 'MIGRATION_FAILED',
      message: expect.stringContaining('older version'),
    });
  });

  test('tables of a newer version are called newer', async () => {
    await migrate(database.url);
    await sql`insert into longtail.migrations (hash, created_at) values ('x', 4000000000000)`;
    expect(await failureOf()).toMatchObject({
      code: 'MIGRATION_FAILED',
      message: expect.stringContaining('newer version'),
    });
  });

  test('a schema of somebody else’s is called that', async () => {
    await sql`create schema longtail`;
    await sql`create table longtail.customer (id int)`;
    expect(await failureOf()).toMatchObject({ message: expect.stringContaining("not Longtail's") });
  });

  test('with the tables there, and the right to nothing but them, it runs', async () => {
    const writer = await role('writer');
    await migrate(database.url);
    await sql.unsafe(`grant usage on schema longtail to ${writer}; grant all on all tables in schema longtail to ${writer};
      revoke all on longtail.migrations from ${writer}`);
    await using emulator = await emulate({ rowsPerDay: 10 });
    for (const more of [{ migrate: false }, {}]) {
      await using sync = createSync(
        options(urlOf(writer), emulator, settledDays(2), { datasets: ['page'], ...more }),
      );
      expect(await sync.run()).toMatchObject({ status: 'complete' });
    }
  });
});

describe('rights', () => {
  test('no right to create in public: the very grant that is lacking, and with it it works', async () => {
    const app = await role('app');
    await sql.unsafe(
      `revoke create on schema public from public; create schema longtail authorization ${app}`,
    );
    const failure = await migrate(urlOf(app)).catch((error: unknown) => error);
    expect(failure).toMatchObject({
      code: 'DATABASE_REFUSED',
      nextStep: `As its owner, run: GRANT USAGE, CREATE ON SCHEMA public TO "${app}";`,
    });
    expect(await sql`select from pg_class c where relnamespace = 'longtail'::regnamespace`).toHaveLength(0);
    await sql.unsafe(`grant usage, create on schema public to "${app}"`);
    expect((await migrate(urlOf(app))).applied).toBe(MIGRATIONS.length);
    // Once the view is there, the right is needed no more.
    await sql.unsafe(`revoke create on schema public from "${app}"`);
    await using emulator = await emulate({ rowsPerDay: 10 });
    await using sync = createSync(options(urlOf(app), emulator, settledDays(2), { datasets: ['page'] }));
    expect(await sync.run()).toMatchObject({ status: 'complete' });
  });

  test('a schema that was made for another, without the right to create in it', async () => {
    const app = await role('app');
    await sql.unsafe(`create schema longtail; grant create on schema public to ${app}`);
    await expect(migrate(urlOf(app))).rejects.toMatchObject({
      code: 'DATABASE_REFUSED',
      nextStep: `As its owner, run: GRANT USAGE, CREATE ON SCHEMA longtail TO "${app}";`,
    });
  });

  test('a database without a schema public', async () => {
    await sql`drop schema public`;
    await expect(migrate(database.url)).rejects.toMatchObject({
      code: 'DATABASE_REFUSED',
      message: expect.stringContaining('no schema public'),
      nextStep: expect.stringContaining('CREATE SCHEMA public;'),
    });
    expect(await sql`select from pg_namespace where nspname = 'longtail'`).toHaveLength(0);
  });

  test('tables of an older version that another owns: who he is, and how to become a member', async () => {
    const app = await role('app');
    await installFirstVersion(sql);
    await sql.unsafe(
      `grant usage on schema longtail to ${app}; grant all on all tables in schema longtail to ${app}`,
    );
    const [owner] = await sql<{ name: string }[]>`select current_user::text as name`;
    await expect(migrate(urlOf(app))).rejects.toMatchObject({
      code: 'DATABASE_REFUSED',
      message: expect.stringContaining(`belong to ${owner?.name}`),
      nextStep: expect.stringContaining(`GRANT "${owner?.name}" TO "${app}"`),
    });
  });

  test('tables of an older version that a group owns are brought up to date by a member', async () => {
    const group = await role('team');
    const app = await role('app', `in role ${group}`);
    await sql.unsafe(
      `grant create on schema public to ${group}; create schema longtail authorization ${group}`,
    );
    await as(group, installFirstVersion);
    expect((await migrate(urlOf(app))).applied).toBe(MIGRATIONS.length - 2);
  });

  test('names with capitals, quotes and blanks are quoted in what is to be granted', async () => {
    const name = `Odd "App" ${tag}`;
    const quoted = `"Odd ""App"" ${tag}"`;
    await sql.unsafe(`create role ${quoted} login password 'a'`);
    roles.push(quoted);
    await sql.unsafe('revoke create on schema public from public');
    await expect(migrate(urlOf(encodeURIComponent(name)))).rejects.toMatchObject({
      code: 'DATABASE_REFUSED',
      nextStep: expect.stringContaining(`TO ${quoted};`),
    });
  });
});

describe('odd settings and busy tables', () => {
  test.each([
    ['lock_timeout', `'1ms'`],
    ['idle_in_transaction_session_timeout', `'2s'`],
    ['search_path', 'nowhere'],
    ['standard_conforming_strings', 'off'],
    ['default_transaction_isolation', 'serializable'],
    ['datestyle', `'German, DMY'`],
    ['row_security', 'off'],
    ['check_function_bodies', 'off'],
    ['default_transaction_deferrable', 'on'],
    ['transaction_timeout', `'2s'`],
  ])('with %s = %s, the tables are made and brought up to date', async (name, value) => {
    const app = await role('app', 'superuser');
    await as(app, installFirstVersion);
    await sql.unsafe(`alter role ${app} set ${name} = ${value}`);
    expect((await migrate(urlOf(app))).applied).toBe(MIGRATIONS.length - 2);
    await sql`select from search_analytics`;
  });

  test('a role whose statements and transactions may last a second waits for another that migrates, all the same', async () => {
    const app = await role('app', 'superuser');
    await sql.unsafe(
      `alter role ${app} set statement_timeout = '1s'; alter role ${app} set transaction_timeout = '1s'`,
    );
    const other = await sql.reserve();
    try {
      await other`select pg_advisory_lock(hashtextextended('longtail:migrate', 0))`;
      const migrating = migrate(urlOf(app));
      await waiter(`locktype = 'advisory'`);
      await sleep(1_300);
      await other`select pg_advisory_unlock(hashtextextended('longtail:migrate', 0))`;
      expect((await migrating).applied).toBe(MIGRATIONS.length);
    } finally {
      other.release();
    }
  });

  test('eight at once, each in serializable transactions: one does it', async () => {
    const app = await role('app', 'superuser');
    await sql.unsafe(`alter role ${app} set default_transaction_isolation = serializable`);
    const outcomes = await Promise.all(Array.from({ length: 8 }, () => migrate(urlOf(app))));
    expect(outcomes.filter(({ applied }) => applied > 0)).toHaveLength(1);
  });

  test('a role that may only read is told which setting it is', async () => {
    const app = await role('app', 'superuser');
    await sql.unsafe(`alter role ${app} set default_transaction_read_only = on`);
    await expect(migrate(urlOf(app))).rejects.toMatchObject({
      code: 'DATABASE_REFUSED',
      message: expect.stringContaining('default_transaction_read_only'),
    });
  });

  test('a table that somebody reads for a while: it waits, and those behind it go on', async () => {
    await installFirstVersion(sql);
    const reader = await sql.reserve();
    try {
      await reader`begin`;
      await reader`select from longtail.fact`;
      const migrating = migrate(database.url);
      await waiter(`relation = 'longtail.fact'::regclass`);
      // Would wait for the reader's end, were the one before it not to give up meanwhile.
      await sql`select from longtail.fact`;
      await reader`commit`;
      expect((await migrating).applied).toBe(MIGRATIONS.length - 2);
    } finally {
      reader.release();
    }
  });

  test('an event trigger that forbids it: its own words, and nothing is left', async () => {
    await sql.unsafe(`
      create function public.no_ddl() returns event_trigger language plpgsql as $$
        begin raise exception 'no tables on Fridays'; end $$;
      create event trigger no_ddl on ddl_command_end when tag in ('CREATE VIEW') execute function public.no_ddl()`);
    await expect(migrate(database.url)).rejects.toMatchObject({
      code: 'MIGRATION_FAILED',
      message: expect.stringContaining('no tables on Fridays'),
      nextStep: expect.stringContaining('trigger'),
    });
    expect(await sql`select from pg_namespace where nspname = 'longtail'`).toHaveLength(0);
    await sql`drop event trigger no_ddl`;
    expect((await migrate(database.url)).applied).toBe(MIGRATIONS.length);
  });

  test('cut in the middle: nothing is left, and the next makes all', async () => {
    await sql.unsafe(`
      create function public.cut() returns event_trigger language plpgsql as $$
        begin perform pg_terminate_backend(pg_backend_pid()); end $$;
      create event trigger cut on ddl_command_end when tag in ('CREATE VIEW') execute function public.cut()`);
    await expect(migrate(database.url)).rejects.toMatchObject({ code: 'DATABASE_UNAVAILABLE' });
    expect(await sql`select from pg_namespace where nspname = 'longtail'`).toHaveLength(0);
    await sql`drop event trigger cut`;
    expect((await migrate(database.url)).applied).toBe(MIGRATIONS.length);
  });
});

describe('published tables', () => {
  test('every table says what names its rows', async () => {
    await migrate(database.url);
    const nameless = await sql`
      select relname from pg_class c where relnamespace = 'longtail'::regnamespace and relkind in ('r', 'p')
        and relreplident <> 'f' and not exists (select from pg_index where indrelid = c.oid and indisprimary)`;
    expect([...nameless]).toEqual([]);
  });

  test('FOR ALL TABLES: a refresh replaces and clears as it does elsewhere', async () => {
    await using server = await startTestServer({ settings: { wal_level: 'logical' } });
    const owner = postgres(server.url, { max: 2, onnotice: () => undefined });
    try {
      await owner`create publication everything for all tables`;
      const days = settledDays(4);
      await using emulator = await emulate({ rowsPerDay: 50 });
      for (const more of [{}, { refresh: true }, { refresh: true }]) {
        await using sync = createSync(options(server.url, emulator, days, { datasets: ['page'], ...more }));
        expect(await sync.run()).toMatchObject({ status: 'complete', slices: { failed: 0 } });
      }
      const web = { siteUrl: SITE, searchTypes: ['web'], datasets: ['page'] } as const;
      expect(await differences(owner, emulator, { ...web, days })).toEqual([]);
      const [left] = await owner`
        select count(*)::int as rows from longtail.fact f join longtail.slice s on s.id = f.slice_id
        where s.status <> 'complete'`;
      expect(left).toEqual({ rows: 0 });
    } finally {
      await owner.end();
    }
  });
});
