// @module-tag long
// Holds invariants 3 of SPEC.md.
/** Whose quota it is, over hours, processes and databases: against the emulator and a real PostgreSQL. */

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { readAccess } from '../../src/cli/commands/options.ts';
import { exitCodeOfError } from '../../src/cli/process/exit-code.ts';
import { connect } from '../../src/postgres/connection/connect.ts';
import { recordLease } from '../../src/postgres/locks/token-leases.ts';
import { createAuth } from '../../src/search-console/auth/auth.ts';
import { createRateLimiter } from '../../src/sync/limiter.ts';
import { internalsOf } from '../../src/sync/limiter-internals.ts';
import { createSync } from '../../src/sync/sync.ts';
import type { QuotaEvent } from '../../src/sync/types.ts';
import { testDatabase } from '../support/postgres.ts';
import { credentialsFile, emulate, largestWindow, options, settledDays } from '../support/property.ts';
import { holdLeases, migratedDatabase } from '../support/synchronisation.ts';
import { until } from '../support/until.ts';

async function sessionOf(url: string) {
  const { sql, close } = await connect(url, { max: 1, applicationName: 'test' });
  return { sql, [Symbol.asyncDispose]: () => close({ timeoutMs: 1_000 }) };
}

const checkout = fileURLToPath(new URL('../..', import.meta.url));
const SITES = ['sc-domain:one.example', 'sc-domain:two.example'];

/** A limit that a test sees the end of, on top of Google's. */
const twentyInTwoSeconds = () =>
  createRateLimiter({
    requestsPerMinute: 40_000,
    extraBudgets: [{ scopeKind: 'user', limit: 20, windowMs: 2_000 }],
  });

describe('an account', () => {
  test('whose tokens change every hour has one budget', async () => {
    await using emulator = await emulate({
      sites: SITES,
      rowsPerDay: 5,
      tokens: { owners: { hour: 'me@example.com' } },
    });
    await using database = await testDatabase();
    const limiter = twentyInTwoSeconds();
    let hour = 0;
    const credentials = {
      getAccessToken: () => {
        hour += 1;
        return `hour-${hour}`;
      },
    };
    try {
      for (const siteUrl of SITES) {
        await using sync = createSync({
          ...options(database.url, emulator, settledDays(15), { datasets: ['page'], rateLimiter: limiter }),
          siteUrl,
          credentials,
          tokenUrl: `${emulator.url}token`,
        });
        expect(await sync.run()).toMatchObject({ status: 'complete' });
      }
      expect(largestWindow(emulator, 2_000)).toBeLessThanOrEqual(20);
      const scopes = await database.sql<{ scope: string }[]>`
        select distinct scope from longtail.quota_lease where scope like 'user:%'`;
      expect(scopes.map(({ scope }) => scope)).toEqual(['user:me@example.com']);
    } finally {
      limiter.close();
    }
  });

  test('goes by the name it is given, and is asked for of nobody then', async () => {
    const credentials = { accessToken: 'some-token', account: ' Me@Example.com' };
    const auth = await createAuth({ credentials, tokenInfoUrl: 'http://127.0.0.1:1/tokeninfo' });
    expect(auth.identity).toMatchObject({ userScope: 'user:me@example.com' });
    expect(auth.identity).not.toHaveProperty('accountProblem');
  });

  test('whose two sign-ins are two files has one budget where it is named', async () => {
    await using one = await credentialsFile();
    await using two = await credentialsFile();
    const scopeOf = async (credentials: Parameters<typeof createAuth>[0]) =>
      (await createAuth(credentials)).identity.userScope;
    const unnamed = await Promise.all([one, two].map(({ path }) => scopeOf({ credentials: { file: path } })));
    expect(new Set(unnamed).size).toBe(2);
    for (const { path } of [one, two]) {
      const account = 'Me@Example.com';
      expect(await scopeOf({ credentials: { file: path, account } })).toBe('user:me@example.com');
      const env = { GOOGLE_APPLICATION_CREDENTIALS: path };
      expect(await scopeOf({ credentials: { account }, env })).toBe('user:me@example.com');
    }
  });

  test('that --account names is that of a credentials file, too', async () => {
    await using file = await credentialsFile();
    const env = { GOOGLE_APPLICATION_CREDENTIALS: file.path, LONGTAIL_ACCOUNT: 'me@example.com' };
    expect(readAccess({}, env)).toEqual({ credentials: { file: file.path, account: 'me@example.com' } });
    expect(readAccess({ credentials: file.path, account: 'you' }, env)).toEqual({
      credentials: { file: file.path, account: 'you' },
    });
    expect(readAccess({ account: 'you' }, {})).toEqual({ credentials: { account: 'you' } });
  });

  test('alone stands for no token that was to be there', () => {
    const credentials = { accessToken: undefined, account: 'me' };
    // What a caller in JavaScript may pass in.
    const make = () => createSync({ siteUrl: 'sc-domain:example.com', credentials: credentials as never });
    expect(make).toThrow(/credentials are of no known form/);
  });

  test.each(['', ' ', 'a\nb', 'ya29.secret-secret', 7])('%j is no name of one', (account) => {
    const make = () =>
      createSync({
        siteUrl: 'sc-domain:example.com',
        // What a caller in JavaScript may pass in.
        credentials: { accessToken: 'x', account: account as string },
      });
    expect(make).toThrow(/not the name of an account/);
    expect(make).not.toThrow(/secret/);
  });

  test.each([
    ['by its address', { email: 'Me@X.example', sub: '12', azp: 'c' }, 'user:me@x.example'],
    ['by its number', { sub: '12', azp: 'c' }, 'user:id 12'],
    ['by the client, where it says no more', { azp: 'c', aud: 'd' }, 'user:client c'],
    ['not at all', {}, 'user:unknown'],
    ['with what no name has', { email: 'a b@x', sub: '', azp: 7 }, 'user:unknown'],
    ['as a list', [], 'user:unknown'],
  ])('that Google names %s', async (_, body, userScope) => {
    const server = createServer((_request, response) => response.end(JSON.stringify(body)));
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const { port } = server.address() as AddressInfo;
    try {
      const tokenInfoUrl = `http://127.0.0.1:${port}/tokeninfo`;
      const { identity } = await createAuth({ credentials: { accessToken: 'a-token' }, tokenInfoUrl });
      expect(identity.userScope).toBe(userScope);
      expect(identity.accountProblem === undefined).toBe(userScope !== 'user:unknown');
    } finally {
      server.close();
    }
  });

  test.each([
    [
      'is refused',
      (_: unknown, response: import('node:http').ServerResponse) => response.writeHead(400).end('{}'),
    ],
    ['is cut off', (_: unknown, response: import('node:http').ServerResponse) => response.destroy()],
    ['is a page', (_: unknown, response: import('node:http').ServerResponse) => response.end('<html>')],
    [
      'leads elsewhere',
      (_: unknown, response: import('node:http').ServerResponse) =>
        response.writeHead(302, { location: 'http://127.0.0.1:1/' }).end(),
    ],
    [
      'is endless',
      (_: unknown, response: import('node:http').ServerResponse) => response.end('x'.repeat(100_000)),
    ],
  ])('of whom nothing is known, since the answer %s, costs no run', async (_, answer) => {
    const server = createServer(answer);
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const { port } = server.address() as AddressInfo;
    try {
      const tokenInfoUrl = `http://127.0.0.1:${port}/tokeninfo`;
      const { identity } = await createAuth({ credentials: { accessToken: 'a-token' }, tokenInfoUrl });
      expect(identity).toMatchObject({ userScope: 'user:unknown', accountProblem: expect.any(String) });
      expect(JSON.stringify(identity)).not.toContain('a-token');
    } finally {
      server.closeAllConnections();
      server.close();
    }
  });

  test('of whom nothing is known is told of once, and the run goes on', async () => {
    await using emulator = await emulate({
      rowsPerDay: 5,
      faults: { rules: [{ match: { endpoint: 'token' }, action: { kind: 'reset' } }] },
    });
    await using database = await testDatabase();
    await using sync = createSync(
      options(database.url, emulator, settledDays(2), {
        datasets: ['page'],
        tokenUrl: `${emulator.url}token`,
      }),
    );
    const events: QuotaEvent[] = [];
    sync.on('quota', (event) => events.push(event));
    expect(await sync.run()).toMatchObject({ status: 'complete' });
    expect(events.filter(({ kind }) => kind === 'accountUnknown')).toHaveLength(1);
  });
});

describe('two databases under one limiter', () => {
  test('whose first runs are both number 1 do not take each other’s tokens', async () => {
    await using emulator = await emulate({ sites: SITES, rowsPerDay: 5 });
    await using one = await testDatabase();
    await using two = await testDatabase();
    const limiter = twentyInTwoSeconds();
    try {
      const runs = [one, two].map((database, index) =>
        createSync({
          ...options(database.url, emulator, settledDays(30), {
            datasets: ['page'],
            batchSize: 4,
            rateLimiter: limiter,
          }),
          siteUrl: SITES[index] ?? '',
        }).run(),
      );
      const outcomes = await Promise.all(runs);
      expect(outcomes.map(({ status }) => status)).toEqual(['complete', 'complete']);
      expect(largestWindow(emulator, 2_000)).toBeLessThanOrEqual(20);
      const names = await one.sql<{ id: string }[]>`select distinct lease_id as id from longtail.quota_lease`;
      const others = await two.sql<
        { id: string }[]
      >`select distinct lease_id as id from longtail.quota_lease`;
      const all = [...names, ...others].map(({ id }) => id);
      expect(new Set(all).size).toBe(all.length);
      await until(
        () => internalsOf(limiter).actor.getSnapshot().context.leases.size === 0,
        'all leases are settled',
      );
    } finally {
      limiter.close();
    }
  });

  test('what another process has taken since counts in the next run of a limiter that knows the account', async () => {
    await using emulator = await emulate({ sites: SITES, rowsPerDay: 5 });
    await using database = await testDatabase();
    const limiter = createRateLimiter({ requestsPerMinute: 40_000 });
    try {
      const settings = options(database.url, emulator, settledDays(2), {
        datasets: ['page'],
        rateLimiter: limiter,
      });
      await using first = createSync({ ...settings, siteUrl: SITES[0] ?? '' });
      await first.run();
      const spent = () =>
        internalsOf(limiter).actor.getSnapshot().context.budgets.get('user:unknown')?.[0]?.spent ?? 0;
      const own = spent();
      await holdLeases(database.sql, 'another', ['user:unknown']);
      await recordLease(
        database.sql,
        { runId: '99', propertyId: '1', epoch: '1', holder: 'another' },
        { leaseId: 'another-1:w0.1', scopes: ['user:unknown'], tokens: 17 },
      );
      await database.sql`delete from longtail.lease`;
      await using second = createSync({ ...settings, siteUrl: SITES[1] ?? '' });
      const { apiCalls } = await second.run();
      expect(spent()).toBe(own + 17 + apiCalls);
    } finally {
      limiter.close();
    }
  });
});

test.each(['off', 'local', 'remote_write'])(
  'a lease is on the disk before its requests leave, where the role says %s',
  async (setting) => {
    await using database = await migratedDatabase();
    const run = { runId: '1', propertyId: '1', epoch: '1', holder: 'one' };
    await holdLeases(database.sql, run.holder, ['site:x']);
    const [role] = await database.sql<{ name: string }[]>`select quote_ident(current_database()) as name`;
    await database.sql.unsafe(`alter database ${role?.name} set synchronous_commit = ${setting}`);
    // A new session, with what its database says.
    await using session = await sessionOf(database.url);
    const [before] = await session.sql<{ lsn: string }[]>`select pg_current_wal_insert_lsn()::text as lsn`;
    await recordLease(session.sql, run, { leaseId: 'a', scopes: ['site:x'], tokens: 1 });
    const [after] = await session.sql<{ flushed: boolean }[]>`
      select pg_current_wal_flush_lsn() > ${before?.lsn ?? ''}::text::pg_lsn as flushed`;
    expect(after?.flushed).toBe(true);
    const [now] = await session.sql<{ now: string }[]>`select current_setting('synchronous_commit') as now`;
    expect(now?.now).toBe(setting);
  },
);

test('a quota that is used up lets the calls under way finish: nothing that was paid for is thrown away', async () => {
  await using emulator = await emulate({
    rowsPerDay: 5,
    latencyMs: 400,
    // The third call is refused for the day at once, while two others still wait for their answers.
    faults: { rules: [{ nth: 4, action: { kind: 'error', error: 'daily' } }] },
  });
  await using database = await testDatabase();
  await using sync = createSync(
    options(database.url, emulator, settledDays(40), { datasets: ['page'], batchSize: 3, maxConcurrency: 3 }),
  );
  const outcome = await sync.run();
  expect(outcome).toMatchObject({ status: 'halted', haltReason: { kind: 'quota', quota: 'daily' } });
  const [open] = await database.sql<{ unsettled: number }[]>`
    select coalesce(sum(tokens - settled_tokens), 0)::int as unsettled from longtail.quota_lease`;
  expect(open?.unsettled).toBe(0);
  // Every page that was answered is in the table. The calendar is no page, and may be the one that was refused.
  const [pages] = await database.sql<{ count: number }[]>`select count(*)::int from longtail.slice_page`;
  const answered = emulator.requests.filter(
    ({ status, body }) =>
      status === 200 && !JSON.stringify(body).includes(JSON.stringify({ dimensions: ['date'] }).slice(1, -1)),
  );
  expect(answered.length).toBeGreaterThan(0);
  expect(pages?.count).toBe(answered.length);
});

describe('a script', () => {
  const script = (body: string): Promise<{ code: number | null; tookMs: number; said: string }> => {
    const startedAtMs = Date.now();
    const child = spawn(process.execPath, ['--input-type=module', '-e', body], { cwd: checkout });
    let said = '';
    child.stdout.on('data', (chunk) => {
      said += String(chunk);
    });
    child.stderr.on('data', (chunk) => {
      said += String(chunk);
    });
    const timer = setTimeout(() => child.kill('SIGKILL'), 30_000);
    return once(child, 'close').then(([code]) => {
      clearTimeout(timer);
      return { code, tookMs: Date.now() - startedAtMs, said };
    });
  };

  test('ends by itself after its run, with a limiter that nobody closed', async () => {
    await using emulator = await emulate({ rowsPerDay: 5 });
    await using database = await testDatabase();
    const settings = options(database.url, emulator, settledDays(3), { datasets: ['page'] });
    const { code, said } = await script(`
      import { createRateLimiter, createSync } from './src/index.ts';
      const rateLimiter = createRateLimiter();
      await using sync = createSync({ ...${JSON.stringify(settings)}, rateLimiter });
      console.log((await sync.run()).status);
    `);
    expect([code, said]).toEqual([0, expect.stringContaining('complete')]);
  });

  test('whose run waits for tokens, and for nothing else, does not end before it has them', async () => {
    const { code, said } = await script(`
      import { createActor, createMachine } from 'xstate';
      import { createRateLimiter } from './src/index.ts';
      import { internalsOf } from './src/sync/limiter-internals.ts';
      const extraBudgets = [{ scopeKind: 'mine', limit: 1, windowMs: 1000 }];
      const { actor } = internalsOf(createRateLimiter({ extraBudgets }));
      const client = createActor(createMachine({ on: { 'tokens.granted': {
        actions: ({ event }) => {
          console.log(event.requestId);
          actor.send({ type: 'lease.settled', leaseId: event.leaseId, tokens: 1, accepted: 1, graceMs: 0 });
        },
      } } })).start();
      for (const requestId of ['first', 'second']) {
        actor.send({ type: 'tokens.request', requestId, tokens: 1, scopes: ['mine:all'], replyTo: client });
      }
    `);
    expect([code, said.trim().split('\n').at(-1)]).toEqual([0, 'second']);
  });
});

test('closing the limiter during a run ends the run, and says so', async () => {
  await using emulator = await emulate({ rowsPerDay: 5 });
  await using database = await testDatabase();
  const limiter = createRateLimiter({
    requestsPerMinute: 40_000,
    extraBudgets: [{ scopeKind: 'user', limit: 3, windowMs: 60_000 }],
  });
  await using sync = createSync(
    options(database.url, emulator, settledDays(9), { datasets: ['page'], rateLimiter: limiter }),
  );
  const running = sync.run();
  await until(() => internalsOf(limiter).actor.getSnapshot().context.queue.length > 0, 'it waits for tokens');
  limiter.close();
  expect(await running).toMatchObject({ status: 'failed', failure: { code: 'CLOSED' } });
});

test.each(['PROPERTY_BUSY', 'USER_SCOPE_BUSY'] as const)('%s is 75: run again later', (code) => {
  expect(exitCodeOfError(code)).toBe(75);
});
