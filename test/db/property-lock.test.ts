import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { lockProperty, lockUserScope, type PropertyLock } from '../../src/db/property-lock.ts';
import type { Clock } from '../../src/domain/clock.ts';
import { systemClock } from '../../src/domain/clock.ts';
import type { TestDatabase } from '../support/postgres.ts';
import { migratedDatabase } from '../support/synchronisation.ts';

let database: TestDatabase;
const held: PropertyLock[] = [];
const children: ChildProcess[] = [];

beforeEach(async () => {
  database = await migratedDatabase();
});
afterEach(async () => {
  for (const child of children.splice(0)) child.kill('SIGKILL');
  for (const lock of held.splice(0)) await lock.release();
  await database.close();
});

async function take(siteUrl: string, clock: Clock = systemClock): Promise<PropertyLock | 'busy'> {
  const locking = await lockProperty(database.sql, siteUrl, clock);
  if (locking.kind === 'busy') return 'busy';
  held.push(locking.lock);
  return locking.lock;
}

async function taken(siteUrl: string, clock: Clock = systemClock): Promise<PropertyLock> {
  const lock = await take(siteUrl, clock);
  if (lock === 'busy') throw new Error('it is busy');
  return lock;
}

const epochs = async (): Promise<unknown[]> => [
  ...(await database.sql`select site_url, epoch::int as epoch from longtail.property order by site_url`),
];

test('a second one is busy and touches nothing; other properties are free', async () => {
  const lock = await taken('sc-domain:a.com');
  expect(await take('sc-domain:a.com')).toBe('busy');
  expect(await epochs()).toEqual([{ site_url: 'sc-domain:a.com', epoch: 1 }]);
  await taken('sc-domain:b.com');
  await lock.release();
  expect(await taken('sc-domain:a.com')).toMatchObject({ propertyId: lock.propertyId, epoch: '2' });
});

test('between processes, and a killed holder leaves it free', async () => {
  const child = fork(
    new URL('../support/lock-holder.ts', import.meta.url),
    [database.url, 'sc-domain:a.com'],
    {
      execArgv: [],
    },
  );
  children.push(child);
  expect((await once(child, 'message'))[0]).toBe('ok');
  expect(await take('sc-domain:a.com')).toBe('busy');
  child.kill('SIGKILL');
  await once(child, 'exit');
  for (;;) {
    const lock = await take('sc-domain:a.com');
    if (lock === 'busy') continue;
    expect(lock.epoch).toBe('2');
    return;
  }
});

test('the epoch is seen at once, while the lock is held without a snapshot or a transaction id', async () => {
  await taken('sc-domain:a.com');
  expect(await epochs()).toEqual([{ site_url: 'sc-domain:a.com', epoch: 1 }]);
  const holders = await database.sql`
    select a.backend_xmin, a.backend_xid, a.state from pg_locks l join pg_stat_activity a using (pid)
    where l.locktype = 'advisory' and a.datname = current_database()`;
  expect([...holders]).toEqual([{ backend_xmin: null, backend_xid: null, state: 'idle in transaction' }]);
});

test('no setting of the server ends it', async () => {
  const name = new URL(database.url).pathname.slice(1);
  await database.sql.unsafe(`alter database ${name} set idle_in_transaction_session_timeout = '100ms'`);
  await database.sql.unsafe(`alter database ${name} set statement_timeout = '5s'`);
  const lock = await taken('sc-domain:a.com');
  let isLost = false;
  void lock.lost.then(() => {
    isLost = true;
  });
  // The same setting ends somebody who does not look out.
  const careless = database.sql.begin(async (tx) => {
    await tx`set local idle_in_transaction_session_timeout = '200ms'`.simple();
    await new Promise(() => {});
  });
  await expect(careless).rejects.toThrow();
  expect(isLost).toBe(false);
  expect(await take('sc-domain:a.com')).toBe('busy');
});

test('a holder whose backend dies is told, and can still let go', async () => {
  const lock = await taken('sc-domain:a.com');
  await database.sql`
    select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory'
      and database = (select oid from pg_database where datname = current_database())`;
  expect(await lock.lost).toMatch(/terminat|CONNECTION_CLOSED/);
  await lock.release();
  expect(await lock.alsoTake('anything')).toBe(false);
  expect(await taken('sc-domain:a.com')).toMatchObject({ epoch: '2' });
});

test('the heartbeat notices a connection that no longer answers', async () => {
  const clock = manualClock();
  const lock = await taken('sc-domain:a.com', clock);
  // A beat is due; its answer comes, and the next one is set.
  clock.run();
  while (clock.delays().includes(30_000)) await new Promise((resolve) => setImmediate(resolve));
  expect(clock.delays()).toEqual([15_000]);
  // The next one's answer is too late.
  clock.run();
  clock.run();
  expect(await lock.lost).toMatch(/does not answer/);
  await lock.release();
  expect(clock.delays()).toEqual([]);
});

test('one process at a time uses an account', async () => {
  const lock = await taken('sc-domain:a.com');
  const other = await taken('sc-domain:b.com');
  await lockUserScope(lock, 'user:me');
  await expect(lockUserScope(other, 'user:me')).rejects.toMatchObject({ code: 'USER_SCOPE_BUSY' });
  await lockUserScope(other, 'user:you');
  await lock.release();
  await lockUserScope(other, 'user:me');
});

test("taking over marks the earlier run as crashed, and nobody else's", async () => {
  const lock = await taken('sc-domain:a.com');
  await database.sql`
    insert into longtail.run (property_id, epoch, status, from_date, to_date, parameters, force)
    select ${lock.propertyId}::bigint, 1, status, '2026-01-01', '2026-01-02', '{}', false
    from unnest(array['running', 'halted']) as status`;
  await lock.release();
  await taken('sc-domain:b.com');
  await taken('sc-domain:a.com');
  const rows = await database.sql`select status from longtail.run order by id`;
  expect(rows.map(({ status }) => status)).toEqual(['crashed', 'halted']);
});

/** A clock whose timers go off when told, one at a time, in the order in which they were set. */
function manualClock(): Clock & { run(): void; delays(): number[] } {
  const timers = new Map<number, { callback: () => void; delayMs: number }>();
  let last = 0;
  return {
    now: () => 0,
    random: () => 0,
    setTimeout(callback, delayMs) {
      last += 1;
      timers.set(last, { callback, delayMs });
      return last;
    },
    clearTimeout(handle) {
      timers.delete(Number(handle));
    },
    run() {
      const first = timers.entries().next().value;
      if (first === undefined) throw new Error('no timer is set');
      timers.delete(first[0]);
      first[1].callback();
    },
    delays: () => [...timers.values()].map(({ delayMs }) => delayMs),
  };
}
