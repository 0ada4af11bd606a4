// @module-tag long
/** Servers as they are reached: with TLS and without, one of several, through a socket's folder, over a line that falls silent. */

import { mkdtemp, rm, symlink } from 'node:fs/promises';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import postgres from 'postgres';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connect } from '../../src/postgres/connection/connect.ts';
import { noteOurServer } from '../../src/postgres/connection/surroundings.ts';
import { transaction } from '../../src/postgres/connection/transaction.ts';
import { POOL_TIMES } from '../../src/postgres/driver/pool.ts';
import { createSync } from '../../src/sync/sync.ts';
import { emptyDatabase, startTestServer, type TestDatabase } from '../support/postgres.ts';
import { emulate, options, settledDays } from '../support/property.ts';
import { startTcpProxy } from '../support/tcp-proxy.ts';
import { hasOpenssl, startTlsServer } from '../support/tls-server.ts';
import { until } from '../support/until.ts';

const name = { max: 3, applicationName: 'test' };

let database: TestDatabase;

beforeAll(async () => {
  database = await emptyDatabase();
});
afterAll(() => database.close());

async function answers(url: string | postgres.Sql): Promise<boolean> {
  const connected = await connect(url, name);
  try {
    return (await connected.sql`select 1 as one`)[0]?.one === 1;
  } finally {
    await connected.close();
  }
}

const withParameters = (url: string, parameters: Record<string, string>): string => {
  const changed = new URL(url);
  for (const [key, value] of Object.entries(parameters)) changed.searchParams.set(key, value);
  return changed.href;
};

describe.skipIf(!hasOpenssl())('a server that takes encrypted connections only', () => {
  test('is reached without a word in the URL, and with sslmode=require', async () => {
    await using server = await startTlsServer(database.url);
    expect(await answers(server.url)).toBe(true);
    expect(await answers(withParameters(server.url, { sslmode: 'require' }))).toBe(true);
    expect(await answers(withParameters(server.url, { sslmode: 'prefer' }))).toBe(true);
    expect(await answers(withParameters(server.url, { sslmode: 'allow' }))).toBe(true);
    expect(server.encrypted).toBeGreaterThanOrEqual(4);
  });

  test('is reached by a pool passed in that has ssl', async () => {
    await using server = await startTlsServer(database.url);
    for (const ssl of ['require', 'prefer', { rejectUnauthorized: false }] as const) {
      const pool = postgres(server.url, { max: 3, ssl });
      expect(await answers(pool)).toBe(true);
      await pool.end();
    }
  });

  test('says so where the URL forbids encryption', async () => {
    await using server = await startTlsServer(database.url);
    await expect(connect(withParameters(server.url, { sslmode: 'disable' }), name)).rejects.toMatchObject({
      code: 'DATABASE_REFUSED',
      message: expect.stringContaining('no encryption'),
      nextStep: expect.stringContaining('sslmode=require'),
    });
  });

  test('is checked by the certificate that is named, and by its name', async () => {
    await using server = await startTlsServer(database.url);
    const root = { sslrootcert: server.rootFile };
    expect(await answers(withParameters(server.url, { sslmode: 'verify-full', ...root }))).toBe(true);
    expect(await answers(withParameters(server.url, { sslmode: 'verify-ca', ...root }))).toBe(true);
    expect(await answers(withParameters(server.url, { sslmode: 'require', ...root }))).toBe(true);
    await using stranger = await startTlsServer(database.url, { name: 'other.example' });
    const itsRoot = { sslrootcert: stranger.rootFile };
    expect(await answers(withParameters(stranger.url, { sslmode: 'verify-ca', ...itsRoot }))).toBe(true);
    for (const refused of [
      // No root that anybody knows.
      withParameters(server.url, { sslmode: 'verify-full' }),
      withParameters(server.url, { sslrootcert: 'system' }),
      // Somebody else's root, and somebody else's name.
      withParameters(server.url, { sslmode: 'require', ...itsRoot }),
      withParameters(stranger.url, { sslmode: 'verify-full', ...itsRoot }),
    ]) {
      await expect(connect(refused, name)).rejects.toMatchObject({
        code: 'DATABASE_REFUSED',
        nextStep: expect.stringContaining('sslrootcert'),
      });
    }
  });

  test('a server without TLS is reached where that is allowed, and refused where not', async () => {
    await using server = await startTlsServer(database.url, { offersTls: false, takesPlain: true });
    expect(await answers(withParameters(server.url, { sslmode: 'prefer' }))).toBe(true);
    await expect(connect(withParameters(server.url, { sslmode: 'require' }), name)).rejects.toMatchObject({
      code: 'DATABASE_REFUSED',
      message: expect.stringContaining('does not offer TLS'),
    });
  });
});

test('of several hosts the first that answers, and that can be written to, is used', async () => {
  const { hostname, port, username, password, pathname } = new URL(database.url);
  const login = `postgres://${username}:${password}@`;
  expect(await answers(`${login}127.0.0.1:1,${hostname}:${port}${pathname}`)).toBe(true);
  expect(
    await answers(`${login}no.invalid:1,${hostname}:${port}${pathname}?target_session_attrs=read-write`),
  ).toBe(true);
  await expect(
    connect(`${login}127.0.0.1:1,${hostname}:${port}${pathname}?target_session_attrs=standby`, name),
  ).rejects.toMatchObject({ code: 'DATABASE_REFUSED', message: expect.stringContaining('a standby') });
  await expect(connect(`${login}127.0.0.1:1,127.0.0.1:2${pathname}`, name)).rejects.toMatchObject({
    code: 'DATABASE_UNAVAILABLE',
  });
});

test('variables of the environment are read as libpq reads them, one that the driver does not know too', async () => {
  const { hostname, port, username, password, pathname } = new URL(database.url);
  const environment = {
    PGHOST: hostname,
    PGPORT: port,
    PGUSER: username,
    PGPASSWORD: password,
    PGDATABASE: pathname.slice(1),
    PGTARGETSESSIONATTRS: 'any',
    PGSSLMODE: 'disable',
  };
  const saved = process.env.PGTARGETSESSIONATTRS;
  process.env.PGTARGETSESSIONATTRS = 'any';
  try {
    const connected = await connect('postgres://', { ...name, environment });
    expect(await connected.sql`select 1 as one`).toEqual([{ one: 1 }]);
    await connected.close();
  } finally {
    if (saved === undefined) delete process.env.PGTARGETSESSIONATTRS;
    else process.env.PGTARGETSESSIONATTRS = saved;
  }
});

test('the embedded server is reached whatever the environment says about other databases', async () => {
  await using server = await startTestServer();
  const environment = {
    PGHOST: 'elsewhere',
    PGSSLMODE: 'verify-full',
    PGTARGETSESSIONATTRS: 'standby',
    PGOPTIONS: '-c nonsense=1 -c statement_timeout=1',
    PGCONNECT_TIMEOUT: 'soon',
  };
  await expect(connect(server.url, { ...name, environment })).rejects.toMatchObject({ code: 'BAD_OPTION' });
  noteOurServer(server.url);
  const connected = await connect(server.url, { ...name, environment });
  expect(await connected.sql`select 1 as one`).toEqual([{ one: 1 }]);
  await connected.close();
});

test('a database with a name of its own, and parameters of other clients, which the server never sees', async () => {
  const odd = `odd name/${new URL(database.url).pathname.slice(6)}`;
  await database.sql.unsafe(`create database "${odd}" template template0 encoding 'UTF8'`);
  try {
    const url = new URL(database.url);
    url.pathname = `/${encodeURIComponent(odd)}`;
    const parameters = {
      supa: 'x',
      gssencmode: 'prefer',
      keepalives_idle: '30',
      channel_binding: 'prefer',
      work_mem: 'nonsense',
    };
    const connected = await connect(withParameters(url.href, parameters), name);
    expect(await connected.sql`select current_database() as name`).toEqual([{ name: odd }]);
    await connected.close();
  } finally {
    await database.sql.unsafe(`drop database "${odd}" with (force)`);
  }
});

test('a folder with a socket in it', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'longtail-test-socket-'));
  const { hostname, port, username, password, pathname } = new URL(database.url);
  const path = join(folder, 'pr:eu:i');
  const server = net.createServer((client) => {
    const upstream = net.connect(Number(port), hostname);
    for (const socket of [client, upstream]) socket.on('error', () => socket.destroy());
    client.pipe(upstream).pipe(client);
  });
  try {
    await new Promise<void>((resolve) => server.listen(join(folder, '.s.PGSQL.5432'), resolve));
    await symlink(folder, path);
    expect(await answers(`postgres://${username}:${password}@${pathname}?host=${path}`)).toBe(true);
    expect(
      await answers(`postgres://${username}:${password}@localhost${pathname}?host=${folder}&sslmode=require`),
    ).toBe(true);
  } finally {
    await new Promise((resolve) => server.close(resolve));
    await rm(folder, { recursive: true });
  }
});

describe('a line that falls silent', () => {
  const times = { ...POOL_TIMES, silenceMs: 1_000, waitMs: 5_000 };

  test('ends what is asked on it; the next is asked on another', async () => {
    let isSilent = false;
    await using proxy = await startTcpProxy(database.url, {
      onAnswer: (bytes) => (isSilent ? null : bytes),
    });
    const url = withParameters(proxy.url, { connect_timeout: '2' });
    const connected = await connect(url, { ...name, times });
    const { sql } = connected;
    await sql`select 1`;
    isSilent = true;
    const asked = [
      sql`select 1`.then(
        () => 'answered',
        (error: unknown) => error,
      ),
      transaction(sql, (tx) => tx`select 1`).catch((error: unknown) => error),
    ];
    for (const error of await Promise.all(asked)) expect(error).toMatchObject({ code: expect.any(String) });
    isSilent = false;
    expect(await sql`select 1 as one`).toEqual([{ one: 1 }]);
    await connected.close();
  });

  test('ends a transaction under way, and the process lives', async () => {
    let isSilent = false;
    await using proxy = await startTcpProxy(database.url, {
      onAnswer: (bytes) => (isSilent ? null : bytes),
    });
    const connected = await connect(proxy.url, { ...name, times });
    const working = transaction(connected.sql, async (tx) => {
      await tx`select 1`;
      isSilent = true;
      await tx`select 2`;
    });
    await expect(working).rejects.toMatchObject({ code: expect.any(String) });
    isSilent = false;
    expect(await transaction(connected.sql, (tx) => tx`select 1 as one`)).toEqual([{ one: 1 }]);
    await connected.close();
  });

  test('work that says how long it may be silent is left alone', async () => {
    const connected = await connect(database.url, { ...name, times });
    const slow = transaction(connected.sql, (tx) => tx`select 1 as one from pg_sleep(2.5)`, {
      silenceMs: 60_000,
    });
    expect(await slow).toEqual([{ one: 1 }]);
    await connected.close();
  });

  test('closing waits for nothing that does not answer', async () => {
    let isSilent = false;
    await using proxy = await startTcpProxy(database.url, {
      onAnswer: (bytes) => (isSilent ? null : bytes),
    });
    const connected = await connect(proxy.url, name);
    isSilent = true;
    const asked = connected.sql`select 1`.then(
      () => 'answered',
      () => 'failed',
    );
    const before = performance.now();
    await connected.close({ timeoutMs: 200 });
    expect(await asked).toBe('failed');
    expect(performance.now() - before).toBeLessThan(10_000);
  });

  test('and goes on after a while harms no run', async () => {
    await using own = await emptyDatabase();
    await using emulator = await emulate({ rowsPerDay: 50, latencyMs: 5 });
    let held: (() => void)[] | undefined;
    await using proxy = await startTcpProxy(own.url, {
      onAnswer: (bytes, connection) => {
        if (held === undefined) return bytes;
        held.push(() => connection.answer(bytes));
        return null;
      },
    });
    await using sync = createSync(options(proxy.url, emulator, settledDays(20), { batchSize: 2 }));
    const running = sync.run();
    await until(() => emulator.requests.length > 4, 'the run works');
    held = [];
    await new Promise((resolve) => setTimeout(resolve, 3_000));
    const answersHeld = held;
    held = undefined;
    for (const answer of answersHeld) answer();
    expect(await running).toMatchObject({ status: 'complete', slices: { complete: 40, failed: 0 } });
    expect(emulator.requests.length).toBe(41);
  });
});
