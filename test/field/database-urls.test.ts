/** Databases' addresses as people have them: what hosts hand out, what is copied along, what libpq takes. */
import { expect, test } from 'vitest';
import { LongtailError } from '../../src/domain/errors.ts';
import type { Endpoint } from '../../src/internals/socket.ts';
import { type DatabaseAddress, parseDatabaseUrl } from '../../src/postgres/driver/database-url.ts';
import { findPassword } from '../../src/postgres/driver/pass-file.ts';
import { waysTo } from '../../src/postgres/driver/ways.ts';
import { createSync } from '../../src/sync/sync.ts';

type Expected = Partial<Omit<DatabaseAddress, 'tls'>> & { readonly mode?: string };

const read = (url: string, environment: Record<string, string> = {}): DatabaseAddress =>
  parseDatabaseUrl(url, { environment, osUser: 'me' });

const tcp = (host: string, port = 5432): Endpoint => ({ kind: 'tcp', host, port });
const socket = (path: string, port = 5432): Endpoint => ({ kind: 'socket', path, port });

test.each<readonly [string, Expected]>([
  // Plain.
  ['postgres://u:p@h:5433/db', { user: 'u', password: 'p', endpoints: [tcp('h', 5433)], database: 'db' }],
  ['postgresql://u:p@h/db', { endpoints: [tcp('h')], database: 'db' }],
  ['postgres://u@h', { user: 'u', password: '', database: 'u' }],
  ['postgres://', { user: 'me', database: 'me', endpoints: [tcp('localhost')] }],
  ['postgres:///db', { user: 'me', database: 'db', endpoints: [tcp('localhost')] }],
  ['POSTGRES://u@H/db', { user: 'u', endpoints: [tcp('H')] }],
  // Passwords that were not encoded, or were.
  ['postgres://u:50%@h/db', { password: '50%' }],
  ['postgres://u:%zz%41@h/db', { password: '%zzA' }],
  ['postgres://u:100%25@h/db', { password: '100%' }],
  ['postgres://u:p%40ss@h/db', { password: 'p@ss' }],
  ['postgres://u:p@ss@h/db', { password: 'p@ss', endpoints: [tcp('h')] }],
  ['postgres://u:p/ss@h:5433/db', { password: 'p/ss', endpoints: [tcp('h', 5433)] }],
  ['postgres://u:12/34@h/db', { password: '12/34', endpoints: [tcp('h')] }],
  ['postgres://u:p?ss@h/db', { password: 'p?ss', endpoints: [tcp('h')] }],
  ['postgres://u:p#ss@h/db', { password: 'p#ss', endpoints: [tcp('h')] }],
  ['postgres://u:p:ss@h/db', { user: 'u', password: 'p:ss' }],
  ['postgres://u:%ff@h/db', { password: '%ff' }],
  ['postgres://us%40er:p@h/db', { user: 'us@er' }],
  // Hosts.
  ['postgres://u@[::1]:5433/db', { endpoints: [tcp('::1', 5433)] }],
  ['postgres://u@[2001:db8::1]/db', { endpoints: [tcp('2001:db8::1')] }],
  ['postgres://u@a,b:5433/db', { endpoints: [tcp('a'), tcp('b', 5433)] }],
  ['postgres://u@a:1,b:2,[::1]:3/db', { endpoints: [tcp('a', 1), tcp('b', 2), tcp('::1', 3)] }],
  ['postgres://u@/db?host=a,b&port=6432', { endpoints: [tcp('a', 6432), tcp('b', 6432)] }],
  [
    'postgres://u@h/db?hostaddr=10.0.0.1',
    { endpoints: [{ kind: 'tcp', host: 'h', address: '10.0.0.1', port: 5432 }] },
  ],
  // Folders of sockets.
  ['postgres://u:p@/db?host=/cloudsql/pr:eu:i', { endpoints: [socket('/cloudsql/pr:eu:i/.s.PGSQL.5432')] }],
  [
    'postgres://u@localhost/db?host=/var/run/postgresql/&port=5433',
    { endpoints: [socket('/var/run/postgresql/.s.PGSQL.5433', 5433)] },
  ],
  ['postgres://u@%2Fvar%2Frun/db', { endpoints: [socket('/var/run/.s.PGSQL.5432')], database: 'db' }],
  ['postgres://u@/db?host=%2Ftmp', { endpoints: [socket('/tmp/.s.PGSQL.5432')] }],
  // Names of databases.
  ['postgres://u@h/my%20db', { database: 'my db' }],
  ['postgres://u@h/a%2Fb', { database: 'a/b' }],
  ['postgres://u@h/db/', { database: 'db' }],
  ['postgres://h/?dbname=x&user=y&password=z', { database: 'x', user: 'y', password: 'z' }],
  // TLS.
  ['postgres://u@h/db', {}],
  ['postgres://u@h/db?sslmode=require', { mode: 'require' }],
  ['postgres://u@h/db?ssl=true', { mode: 'require' }],
  ['postgres://u@h/db?ssl=false', { mode: 'disable' }],
  ['postgres://u@h/db?ssl=no-verify', { mode: 'require' }],
  ['postgres://u@h/db?sslrootcert=system', { mode: 'verify-full' }],
  // Other clients' parameters.
  ['postgres://u@h/db?supa=base-pooler.x', { mayPrepare: true }],
  ['postgres://u@h/db?pgbouncer=true&connection_limit=1&pool_timeout=0&schema=public', { mayPrepare: false }],
  ['postgres://u@h/db?statement_cache_size=0', { mayPrepare: false }],
  [
    'postgres://u@h/db?gssencmode=disable&keepalives_idle=30&channel_binding=require&sslcompression=0&tcp_user_timeout=9',
    { options: undefined },
  ],
  ['postgres://u@h/db?options=endpoint%3Dep-x', { options: 'endpoint=ep-x' }],
  ['postgres://u@h/db?options=-c%20search_path%3Dx', { options: '-c search_path=x' }],
  ['postgres://u@h/db?application_name=mine', { applicationName: 'mine' }],
  ['postgres://u@h/db?connect_timeout=30', { connectTimeoutMs: 30_000 }],
  ['postgres://u@h/db?connect_timeout=1', { connectTimeoutMs: 2_000 }],
  ['postgres://u@h/db?connect_timeout=0', { connectTimeoutMs: undefined }],
  ['postgres://u@h/db?target_session_attrs=read-write', { sessionAttrs: 'read-write' }],
  ['postgres://u@h/db?target_session_attrs=any', { sessionAttrs: 'any' }],
  // Copied along.
  ['  postgres://u@h/db\n', { database: 'db' }],
  ['"postgres://u@h/db"', { database: 'db' }],
  ["'postgres://u@h/db'", { database: 'db' }],
  ['DATABASE_URL="postgres://u@h/db"', { database: 'db' }],
  ["psql 'postgresql://u@h/db?sslmode=require'", { database: 'db', mode: 'require' }],
])('%s', (url, expected) => {
  const { tls, ...address } = read(url);
  expect({ ...address, mode: tls.mode }).toMatchObject(expected);
});

test('what an address leaves out, the environment says, as for libpq; what it says counts', () => {
  const environment = {
    PGHOST: 'h1,h2',
    PGPORT: '6000',
    PGUSER: 'eu',
    PGPASSWORD: 'ep',
    PGDATABASE: 'ed',
    PGSSLMODE: 'verify-full',
    PGTARGETSESSIONATTRS: 'primary',
    PGCONNECT_TIMEOUT: '7',
    PGAPPNAME: 'app',
    PGOPTIONS: '-c a=b',
  };
  expect(read('postgres://', environment)).toMatchObject({
    endpoints: [tcp('h1', 6000), tcp('h2', 6000)],
    user: 'eu',
    password: 'ep',
    database: 'ed',
    sessionAttrs: 'primary',
    connectTimeoutMs: 7_000,
    applicationName: 'app',
    options: '-c a=b',
    tls: { mode: 'verify-full' },
  });
  expect(read('postgres://u:p@h:1/d?sslmode=disable&target_session_attrs=any', environment)).toMatchObject({
    endpoints: [tcp('h', 1)],
    user: 'u',
    password: 'p',
    database: 'd',
    sessionAttrs: 'any',
    tls: { mode: 'disable' },
  });
});

test.each([
  ['', 'is empty'],
  ['   ', 'is empty'],
  ['geheim1', 'does not begin with postgres://'],
  ['mysql://u:geheim1@h/db', 'does not begin with postgres://'],
  ['https://u:geheim1@h/db', 'does not begin with postgres://'],
  ['//u:geheim1@h/db', 'does not begin with postgres://'],
  ['prisma://accelerate.example/?api_key=geheim1', 'Prisma'],
  ['postgres://u:geheim1@h:99999/db', 'port'],
  ['postgres://u:geheim1@h:port/db', 'port'],
  ['postgres://u:geheim1@h:0/db', 'port'],
  ['postgres://u:geheim1@::1:5432/db', 'host'],
  ['postgres://u:geheim1@[bad/db', 'host'],
  ['postgres://u:geheim1@a b/db', 'host'],
  ['postgres://u:geheim1@a,b,c/db?port=1,2', 'number of ports'],
  ['postgres://u:geheim1@a,b/db?hostaddr=10.0.0.1', 'number of addresses'],
  ['postgres://u:geheim1@h/db?sslmode=on', 'sslmode'],
  ['postgres://u:geheim1@h/db?target_session_attrs=leader', 'target_session_attrs'],
  ['postgres://u:geheim1@h/db?connect_timeout=geheim1', 'connect_timeout'],
  ['postgres://u:geheim1@h/db?service=prod', 'service'],
  ['postgres://u:[YOUR-PASSWORD]@h/db', 'placeholder'],
  ["host=h password='geheim1'", 'name=value'],
  ['jdbc:postgresql://h:5433/db?user=u&password=geheim1', 'Java'],
  ['postgresql+psycopg2://u:geheim1@h/db', 'driver of another language'],
])('one line says what is wrong, and repeats nothing: %s', (url, about) => {
  let error: unknown;
  try {
    createSync({ siteUrl: 'sc-domain:example.com', database: url });
  } catch (caught) {
    error = caught;
  }
  if (!(error instanceof LongtailError)) throw new Error('it was taken');
  expect(error.code).toBe('BAD_OPTION');
  expect(error.message).toContain(about);
  expect(error.message).not.toContain('\n');
  expect(error.nextStep).not.toBe('');
  expect(`${error.message} ${error.nextStep} ${String(error.cause)}`).not.toContain('geheim1');
});

test.each<readonly [string, readonly string[]]>([
  ['postgres://u@localhost/db', ['plain', 'TLS unchecked']],
  ['postgres://u@127.0.0.1/db', ['plain', 'TLS unchecked']],
  ['postgres://u@h/db', ['TLS if offered', 'plain']],
  ['postgres://u@h/db?sslmode=disable', ['plain']],
  ['postgres://u@h/db?sslmode=allow', ['plain', 'TLS unchecked']],
  ['postgres://u@h/db?sslmode=prefer', ['TLS if offered', 'plain']],
  ['postgres://u@h/db?sslmode=require', ['TLS unchecked']],
  ['postgres://u@h/db?sslmode=require&sslrootcert=system', ['TLS unchecked']],
  ['postgres://u@h/db?sslmode=verify-ca', ['TLS checked, any name']],
  ['postgres://u@h/db?sslmode=verify-full', ['TLS checked']],
  ['postgres://u@/db?host=/tmp&sslmode=require', ['plain']],
  ['postgres://u@a,b/db?sslmode=require', ['TLS unchecked', 'TLS unchecked']],
])('encryption as libpq has it: %s', async (url, expected) => {
  const ways = await waysTo(read(url));
  expect(
    ways.map(({ way: { encryption } }) => {
      if (encryption === undefined) return 'plain';
      const { rejectUnauthorized, checkServerIdentity } = encryption.options;
      if (encryption.need === 'ifOffered') return 'TLS if offered';
      if (rejectUnauthorized === false) return 'TLS unchecked';
      return checkServerIdentity === undefined ? 'TLS checked' : 'TLS checked, any name';
    }),
  ).toEqual(expected);
});

test.each([
  ['sslrootcert=/nowhere/geheim1.pem&sslmode=verify-ca', 'sslrootcert'],
  ['sslcert=/nowhere/geheim1.pem&sslkey=/nowhere/geheim1.key', 'sslcert'],
  ['sslcert=geheim1', 'sslkey'],
])('a file that cannot be read is named by its parameter alone: %s', async (parameters, about) => {
  const ways = waysTo(read(`postgres://u@h/db?${parameters}`));
  await expect(ways).rejects.toMatchObject({ code: 'BAD_OPTION', message: expect.stringContaining(about) });
  await expect(ways).rejects.not.toMatchObject({ message: expect.stringContaining('geheim1') });
});

test('a password from the file that psql has', () => {
  const file = '# mine\nother:5432:*:*:no\nh:5432:db:u:a\\:b\\\\c\n*:*:*:*:last\n';
  expect(findPassword(file, read('postgres://u@h/db'))).toBe('a:b\\c');
  expect(findPassword(file, read('postgres://u@h/other'))).toBe('last');
  expect(findPassword('localhost:*:*:*:s', read('postgres://u@/db?host=/tmp'))).toBe('s');
  expect(findPassword('h:1:db:u:x', read('postgres://u@h/db'))).toBe('');
});
