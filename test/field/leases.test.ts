// @module-tag long
// Holds invariants 11 of SPEC.md.
/** Several runs, processes and machines that want the same property, or the same account. */
import postgres from 'postgres';
import { expect, test } from 'vitest';
import { migrate } from '../../src/postgres/schema/migrate.ts';
import { createSync } from '../../src/sync/sync.ts';
import { differences } from '../support/compare.ts';
import { ledgerProblems } from '../support/ledger-check.ts';
import { testDatabase } from '../support/postgres.ts';
import { emulate, options, SITE, settledDays } from '../support/property.ts';
import { startSyncProcess } from '../support/sync-process.ts';
import { until } from '../support/until.ts';

const datasets = ['page', 'page+query'];
const days = settledDays(12);
const [to = ''] = days;
const from = days.at(-1) ?? '';
const web = { siteUrl: SITE, searchTypes: ['web'], datasets, days } as const;

/** So much time passes for every lease, as it does while a process stands still. */
const pass = (sql: postgres.Sql, seconds: number) =>
  sql`update longtail.lease set expires_at = expires_at - make_interval(secs => ${seconds}),
    renewed_at = renewed_at - make_interval(secs => ${seconds})`;

test('killed with kill −9 and started again at once: it goes on without a wait', async () => {
  await using emulator = await emulate({ rowsPerDay: 40, latencyMs: 200 });
  await using database = await testDatabase();
  const args = ['--datasets', datasets.join(','), '--batch-size', '2'];
  const settings = { databaseUrl: database.url, emulator, from, to, args };
  await using killed = startSyncProcess(settings);
  await until(() => emulator.counters.httpCalls > 2, 'calls');
  await killed.kill();
  await using next = startSyncProcess(settings);
  const { code, endedAtMs } = await next.ended;
  expect(next.written()).not.toContain('under way');
  expect(code).toBe(0);
  // Its leases would last for another minute.
  expect(endedAtMs - next.startedAtMs).toBeLessThan(30_000);
  expect(await differences(database.sql, emulator, web)).toEqual([]);
});

test('a process that was stopped and wakes up finds its property taken, and takes no token more', async () => {
  await using emulator = await emulate({ rowsPerDay: 40, latencyMs: 100 });
  await using database = await testDatabase();
  const args = ['--datasets', datasets.join(','), '--batch-size', '1', '--max-concurrency', '2'];
  await using stopped = startSyncProcess({
    databaseUrl: database.url,
    emulator,
    from,
    to,
    args,
    env: { LONGTAIL_ACCESS_TOKEN: 'stopped' },
  });
  await until(() => emulator.counters.httpCalls > 4, 'calls');
  stopped.child.kill('SIGSTOP');
  // What it had sent arrives.
  await new Promise((resolve) => setTimeout(resolve, 500));
  await pass(database.sql, 600);
  await using other = createSync(
    options(database.url, emulator, days, { datasets, credentials: { accessToken: 'other' } }),
  );
  expect(await other.run()).toMatchObject({ status: 'complete' });
  const before = emulator.requests.length;
  const recorded = () => database.sql`select lease_id from longtail.quota_lease order by lease_id`;
  const leasesBefore = [...(await recorded())];
  stopped.child.kill('SIGCONT');
  const { code } = await stopped.ended;
  expect(code).toBe(1);
  expect(stopped.written()).toMatch(/another synchronisation|no longer write|taken over/);
  // By its own clocks no time has passed: what had been recorded, a moment before it was stopped, may still leave.
  expect([...(await recorded())]).toEqual(leasesBefore);
  expect(emulator.requests.length).toBeLessThanOrEqual(before + 2);
  expect(await differences(database.sql, emulator, web)).toEqual([]);
  expect(await ledgerProblems(database.sql)).toEqual([]);
});

test('a process that was stopped for ten minutes, and that nobody missed, goes on', async () => {
  await using emulator = await emulate({ rowsPerDay: 40, latencyMs: 100 });
  await using database = await testDatabase();
  const args = ['--datasets', datasets.join(','), '--batch-size', '1'];
  await using stopped = startSyncProcess({ databaseUrl: database.url, emulator, from, to, args });
  await until(() => emulator.counters.httpCalls > 4, 'calls');
  stopped.child.kill('SIGSTOP');
  await pass(database.sql, 600);
  stopped.child.kill('SIGCONT');
  expect((await stopped.ended).code).toBe(0);
  expect(await differences(database.sql, emulator, web)).toEqual([]);
});

test('a host that vanished without a word: busy at first, free when its lease has expired', async () => {
  await using emulator = await emulate({ rowsPerDay: 10 });
  await using database = await testDatabase();
  await migrate(database.url);
  // The server keeps the session of a host that lost its power for two hours.
  const ghost = postgres(database.url, { max: 1, onnotice: () => undefined });
  try {
    await ghost.reserve().then((session) => session`select pg_advisory_lock(hashtextextended('ghost', 0))`);
    await database.sql`
      insert into longtail.lease (resource, holder, party, presence, renewed_at, expires_at)
      values (${`site:${SITE}`}, 'ghost', 'ghost', 'ghost', now(), now() + interval '1 minute')`;
    const settings = options(database.url, emulator, days, { datasets });
    await using early = createSync(settings);
    await expect(early.run()).rejects.toMatchObject({ code: 'PROPERTY_BUSY' });
    await pass(database.sql, 60);
    await using late = createSync(settings);
    expect(await late.run()).toMatchObject({ status: 'complete' });
  } finally {
    await ghost.end({ timeout: 0 });
  }
});

test('the session that shows its presence is ended: the account stays its own, and nobody else sends', async () => {
  const sites = ['sc-domain:one.example', 'sc-domain:two.example'] as const;
  await using emulator = await emulate({ sites, rowsPerDay: 40, latencyMs: 50 });
  await using database = await testDatabase();
  const settings = options(database.url, emulator, days, { datasets, batchSize: 1 });
  await using first = createSync({ ...settings, siteUrl: sites[0] });
  let slices = 0;
  first.on('slice', () => (slices += 1));
  const running = first.run();
  await until(() => slices >= 3, 'three slices');
  const ended = await database.sql`
    select pg_terminate_backend(l.pid) from pg_locks l join pg_stat_activity a using (pid)
    where l.locktype = 'advisory' and a.datname = current_database() and a.state = 'idle in transaction'`;
  expect(ended.length).toBeGreaterThan(0);
  await using second = createSync({ ...settings, siteUrl: sites[1] });
  await expect(second.run()).rejects.toMatchObject({ code: 'USER_SCOPE_BUSY' });
  expect(await running).toMatchObject({ status: 'complete' });
});

test('an account taken over by another process: not one more request by the first', async () => {
  const sites = ['sc-domain:one.example', 'sc-domain:two.example'] as const;
  await using emulator = await emulate({ sites, rowsPerDay: 40, latencyMs: 30 });
  await using database = await testDatabase();
  const settings = options(database.url, emulator, settledDays(60), { datasets, batchSize: 1 });
  await using first = createSync({ ...settings, siteUrl: sites[0] });
  let slices = 0;
  first.on('slice', () => (slices += 1));
  const running = first.run();
  await until(() => slices >= 3, 'three slices');
  // As if its lease had expired without its knowledge, and another had taken it.
  await database.sql`
    with gone as (delete from longtail.lease where resource like 'user:%' returning resource)
    insert into longtail.lease (resource, holder, party, renewed_at, expires_at)
    select distinct resource, 'another', 'another', now(), now() + interval '1 minute' from gone`;
  // Those whose tokens were recorded before are on their way.
  await new Promise((resolve) => setTimeout(resolve, 300));
  const before = emulator.requests.length;
  const outcome = await running;
  expect(outcome).toMatchObject({ status: 'failed', failure: { code: 'LOCK_LOST' } });
  expect(emulator.requests.length).toBe(before);
});

test('a run that waits for its property starts when the other has ended, and a halt ends the wait', async () => {
  await using emulator = await emulate({ rowsPerDay: 40, latencyMs: 20 });
  await using database = await testDatabase();
  const settings = options(database.url, emulator, days, { datasets });
  await using first = createSync(settings);
  const running = first.run();
  first.pause();
  await until(async () => {
    const found = await database.sql`select to_regclass('longtail.lease') is not null as made`;
    return found[0]?.made === true && (await database.sql`select from longtail.lease`).length === 2;
  }, 'its leases');
  await using waiting = createSync({ ...settings, wait: true });
  const waited = waiting.run();
  await using impatient = createSync({ ...settings, wait: true, haltDeadlineMs: 500 });
  const halted = impatient.run();
  await new Promise((resolve) => setTimeout(resolve, 300));
  await impatient.halt();
  expect(await halted).toMatchObject({ status: 'halted' });
  first.resume();
  expect(await running).toMatchObject({ status: 'complete' });
  expect(await waited).toMatchObject({ status: 'complete', apiCalls: 0 });
});

test('leases are gone when a run has ended, however it ended', async () => {
  await using emulator = await emulate({ rowsPerDay: 40 });
  await using database = await testDatabase();
  await using complete = createSync(options(database.url, emulator, days, { datasets }));
  await complete.run();
  const failing = options(database.url, emulator, days, {
    datasets: ['country'],
    apiRoot: 'http://127.0.0.1:1/',
  });
  await using halted = createSync(failing);
  const running = halted.run();
  await halted.halt();
  await running;
  expect(await database.sql`select from longtail.lease`).toHaveLength(0);
});
