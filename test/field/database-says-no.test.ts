// @module-tag long
/** What `longtail sync` tells a stranger whose database takes nothing, or has changed under it: one line, and what to do. */
import { describe, expect, test } from 'vitest';
import { migrate } from '../../src/postgres/schema/migrate.ts';
import { emptyDatabase, type TestDatabase } from '../support/postgres.ts';
import { emulate, settledDays } from '../support/property.ts';
import { startSyncProcess } from '../support/sync-process.ts';
import { until } from '../support/until.ts';
import { askedAgain, expectWhole } from './support/watching.ts';

const datasets = ['page'];
const days = settledDays(20);
const [to = ''] = days;
const from = days.at(-1) ?? '';
const args = ['--datasets', 'page', '--batch-size', '1', '--max-concurrency', '2'];

/** A role that owns our tables, and that can be changed. */
async function appRole({ url, sql }: TestDatabase) {
  const name = `app_${new URL(url).pathname.slice(6)}`;
  const database = new URL(url).pathname.slice(1);
  await sql.unsafe(`create role ${name} login password 'pw'`);
  await sql.unsafe(`grant all on schema public to ${name}`);
  await sql.unsafe(`grant all on database ${database} to ${name}`);
  const own = Object.assign(new URL(url), { username: name, password: 'pw' }).href;
  await migrate(own);
  return {
    name,
    database,
    url: own,
    end: () => sql`select pg_terminate_backend(pid) from pg_stat_activity where usename = ${name}`,
    async [Symbol.asyncDispose]() {
      await sql`select pg_terminate_backend(pid) from pg_stat_activity where usename = ${name}`;
      await sql.unsafe(`drop owned by ${name} cascade`);
      await sql.unsafe(`drop role if exists ${name}`);
    },
  };
}

/** Lines without a stack, a password or what only we understand. */
function expectReadable(written: string): void {
  expect(written).not.toMatch(/INTERNAL|Something went wrong inside|undefined|\n\s+at |pw@/);
}

const raise = (state: string, message: string): string => `
  create or replace function longtail.says_no() returns trigger language plpgsql as
  $$begin raise exception using errcode = '${state}', message = '${message}'; end$$;
  create or replace trigger says_no before insert on longtail.fact for each statement execute function longtail.says_no()`;

describe('before anything is asked of Google', () => {
  test.each<readonly [string, (app: { name: string; database: string }) => string, string, RegExp, RegExp]>([
    [
      'the role may only read',
      ({ name }) => `alter role ${name} set default_transaction_read_only = on`,
      'DATABASE_READ_ONLY',
      /default_transaction_read_only = on of role/,
      /ALTER ROLE "app_\w+" SET default_transaction_read_only = off/,
    ],
    [
      'the database may only be read',
      ({ database }) => `alter database ${database} set default_transaction_read_only = on`,
      'DATABASE_READ_ONLY',
      /default_transaction_read_only = on of database/,
      /ALTER DATABASE "test_\w+" SET default_transaction_read_only = off/,
    ],
    [
      'the disk is full',
      () => `
        create or replace function longtail.full() returns trigger language plpgsql as
        $$begin raise exception using errcode = '53100', message = 'could not extend file "base/1/2": No space left on device'; end$$;
        create trigger says_no before insert on longtail.run for each statement execute function longtail.full()`,
      'DATABASE_DISK_FULL',
      /disk is full.*No space left on device/,
      /Free space/,
    ],
    [
      'the role may write none of the runs',
      ({ name }) => `revoke insert on longtail.run from ${name}`,
      'DATABASE_REFUSED',
      /permission denied for table run/,
      /GRANT/,
    ],
  ])('%s', async (_, change, code, message, nextStep) => {
    await using database = await emptyDatabase();
    await using app = await appRole(database);
    await database.sql.unsafe(change(app));
    await using emulator = await emulate({ rowsPerDay: 20 });
    await using sync = startSyncProcess({ databaseUrl: app.url, emulator, from, to, args });
    expect((await sync.ended).code).toBe(1);
    expectReadable(sync.written());
    expect(sync.written()).toMatch(message);
    expect(sync.written()).toMatch(nextStep);
    expect(sync.written()).not.toMatch(/does not respond|sslmode/);
    expect(sync.json()).toMatchObject({ status: 'failed' });
    expect(code).not.toBe('');
    expect(emulator.requests.length).toBe(0);
    await database.sql.unsafe(`alter database ${app.database} reset default_transaction_read_only`);
  });
});

describe('in the middle', () => {
  test('read-only for a while, by the role: it waits, and completes with 0', async () => {
    await using database = await emptyDatabase();
    await using app = await appRole(database);
    await using emulator = await emulate({ rowsPerDay: 20, latencyMs: 100 });
    await using sync = startSyncProcess({
      databaseUrl: app.url,
      emulator,
      from,
      to,
      args: [...args, '--log-level', 'info'],
    });
    await until(() => emulator.requests.length > 4, 'requests');
    await database.sql.unsafe(`alter role ${app.name} set default_transaction_read_only = on`);
    await app.end();
    await until(() => /read.only/.test(sync.written()), 'it says so');
    const asked = emulator.requests.length;
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    expect(emulator.requests.length).toBe(asked);
    await database.sql.unsafe(`alter role ${app.name} reset default_transaction_read_only`);
    expect((await sync.ended).code).toBe(0);
    expect(askedAgain(emulator)).toEqual([]);
    await expectWhole(database.sql, emulator, datasets, days);
  });

  test.each<readonly [string, (app: { name: string; database: string }) => string, RegExp, RegExp]>([
    [
      'the disk is full',
      () => raise('53100', 'could not extend file "base/1/2": No space left on device'),
      /disk is full: could not extend file/,
      /Free space on the database’s disk, then run again: it resumes/,
    ],
    [
      'somebody drops our tables',
      () => 'drop schema longtail cascade',
      /(table|schema).*(missing|gone)/,
      /Run again|run again/,
    ],
    [
      'somebody takes the right to write away',
      ({ name }) => `revoke insert on longtail.slice_page from ${name}`,
      /permission denied for table slice_page/,
      /GRANT/,
    ],
    [
      'the role loses its password',
      ({ name }) =>
        `alter role ${name} password 'another'; select pg_terminate_backend(pid) from pg_stat_activity where usename = '${name}'`,
      /refused the password|password authentication failed/,
      /password/i,
    ],
    [
      'the role may no longer log in',
      ({ name }) =>
        `alter role ${name} nologin; select pg_terminate_backend(pid) from pg_stat_activity where usename = '${name}'`,
      /not permitted to log in/,
      /user|role/i,
    ],
  ])('%s: it ends with 1, in words', async (what, change, message, nextStep) => {
    await using database = await emptyDatabase();
    await using app = await appRole(database);
    await using emulator = await emulate({ rowsPerDay: 20, latencyMs: 100 });
    await using sync = startSyncProcess({ databaseUrl: app.url, emulator, from, to, args });
    await until(() => emulator.requests.length > 4, 'requests');
    await database.sql.unsafe(change(app));
    expect((await sync.ended).code).toBe(1);
    expectReadable(sync.written());
    const [error = '', advice = ''] = sync
      .written()
      .split('\n')
      .filter((line) => /^\s*(error|longtail: error|next)/i.test(line) || line.trim() !== '')
      .slice(-3);
    expect(`${what}: ${sync.written()}`).toMatch(message);
    expect(sync.written()).toMatch(nextStep);
    expect(`${error}${advice}`).not.toBe('');
    expect(askedAgain(emulator)).toEqual([]);
  });
});
