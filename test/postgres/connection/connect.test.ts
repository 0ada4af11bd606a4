import type postgres from 'postgres';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { LongtailError } from '../../../src/domain/errors.ts';
import { connect } from '../../../src/postgres/connection/connect.ts';
import { emptyDatabase, type TestDatabase } from '../../support/postgres.ts';
import { startTcpProxy } from '../../support/tcp-proxy.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await emptyDatabase();
});
afterAll(() => database.close());

const options = { max: 3, applicationName: 'test' };

/** Why it cannot be connected to, with everything that a user would see of it. */
async function refusal(target: string | postgres.Sql): Promise<LongtailError> {
  try {
    const connected = await connect(target, options);
    await connected.close();
  } catch (error) {
    if (error instanceof LongtailError) return error;
    throw error;
  }
  throw new Error('it connected');
}

test('opens a pool of its own, and closes it', async () => {
  const connected = await connect(database.url, options);
  expect(connected).toMatchObject({ pooled: false, maySpareConnection: true });
  expect(connected.sql.options).toMatchObject({ max: 3, prepare: true });
  const rows = await connected.sql`select current_setting('application_name') as name`;
  expect(rows[0]?.name).toBe('test');
  await connected.close();
  await expect(connected.sql`select 1`).rejects.toMatchObject({ code: 'CONNECTION_ENDED' });
});

test('makes connections of its own of a pool passed in, and leaves that as it is', async () => {
  const connected = await connect(database.sql, options);
  expect(await connected.sql`select current_setting('application_name') as name`).toEqual([{ name: 'test' }]);
  await connected.close();
  await expect(connected.sql`select 1`).rejects.toMatchObject({ code: 'CONNECTION_ENDED' });
  expect(await database.sql`select 1`).toHaveLength(1);
});

test('a database that is not UTF-8 is refused', async () => {
  const name = `${new URL(database.url).pathname.slice(1)}_ascii`;
  await database.sql.unsafe(`create database ${name} template template0 encoding 'SQL_ASCII' locale 'C'`);
  const url = new URL(database.url);
  url.pathname = `/${name}`;
  try {
    expect(await refusal(url.href)).toMatchObject({
      code: 'DATABASE_NOT_UTF8',
      message: expect.stringContaining('SQL_ASCII'),
      nextStep: expect.stringContaining('CREATE DATABASE'),
    });
  } finally {
    await database.sql.unsafe(`drop database ${name} with (force)`);
  }
});

test.each([
  ['nobody listens', (url: URL) => Object.assign(url, { port: '1' }), 'DATABASE_UNAVAILABLE'],
  [
    'no such host',
    (url: URL) => Object.assign(url, { hostname: 'no-such-host.invalid' }),
    'DATABASE_UNAVAILABLE',
  ],
  ['a wrong password', (url: URL) => Object.assign(url, { password: 's3cret-wrong' }), 'DATABASE_REFUSED'],
  ['no such user', (url: URL) => Object.assign(url, { username: 'nobody_here' }), 'DATABASE_REFUSED'],
  ['no such database', (url: URL) => Object.assign(url, { pathname: '/nowhere' }), 'DATABASE_REFUSED'],
])('%s: one line, a next step, no password', async (_, change, code) => {
  const url = new URL(database.url);
  change(url);
  const error = await refusal(url.href);
  expect(error.code).toBe(code);
  expect(error.message).not.toContain('\n');
  expect(error.nextStep).not.toBe('');
  expect(`${error.message} ${error.nextStep}`).not.toContain(url.password);
});

test.each(['not a url', 'mysql://user:s3cret@localhost/x', 'postgres://user:s3cret@[bad/x'])(
  'what is no URL of PostgreSQL is refused without being repeated: %s',
  async (target) => {
    const error = await refusal(target);
    expect(error.code).toBe('BAD_OPTION');
    expect(error.message).not.toContain('s3cret');
  },
);

test("other clients' parameters in the URL do no harm", async () => {
  const connected = await connect(`${database.url}?pgbouncer=true&connection_limit=5&schema=public`, options);
  expect(connected.sql.options.prepare).toBe(false);
  await connected.close();
});

test('a pooler is noticed by the process id that it makes up, and gets no prepared statements', async () => {
  await using proxy = await startTcpProxy(database.url, { onAnswer: forgeBackendPid });
  const connected = await connect(proxy.url, options);
  expect(connected.pooled).toBe(true);
  expect(connected.sql.options.prepare).toBe(false);
  await connected.close();
  const insisted = await connect(proxy.url, { ...options, prepare: true });
  expect(insisted.sql.options.prepare).toBe(true);
  await insisted.close();
});

/** PgBouncer's answer to a new client: a key for cancelling that is its own. */
function forgeBackendPid(bytes: Buffer): Buffer {
  // BackendKeyData: 'K', length 12, process id, secret.
  const at = bytes.indexOf(Buffer.from([0x4b, 0, 0, 0, 12]));
  if (at === -1) return bytes;
  const forged = Buffer.from(bytes);
  forged.writeUInt32BE(1_234_567_890, at + 5);
  return forged;
}
