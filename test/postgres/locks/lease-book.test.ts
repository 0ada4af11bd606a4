// Holds invariants 11 of SPEC.md.
import { afterEach, beforeEach, expect, test } from 'vitest';
import { systemClock } from '../../../src/domain/clock.ts';
import { createLeaseTable, type LeaseTable } from '../../../src/postgres/locks/lease-book.ts';
import { enterPresence, type Presence } from '../../../src/postgres/locks/presence.ts';
import { createStore } from '../../../src/postgres/store.ts';
import type { TestDatabase } from '../../support/postgres.ts';
import { migratedDatabase } from '../../support/synchronisation.ts';

const A = 'sc-domain:a.com';
const NOBODY = { presence: null, goneSince: null };
const holder = (id: string, party = id) => ({ id, party });

let database: TestDatabase;
let table: LeaseTable;
const presences: Presence[] = [];
let names = 0;

beforeEach(async () => {
  database = await migratedDatabase();
  table = createLeaseTable(database.sql, systemClock);
});
afterEach(async () => {
  for (const presence of presences.splice(0)) await presence.leave();
  await database.close();
});

async function enter(): Promise<Presence> {
  const presence = await enterPresence(database.sql, systemClock, () => {
    names += 1;
    return `longtail:presence:${names}`;
  });
  presences.push(presence);
  return presence;
}

/** So much time passes for every lease. */
const pass = (seconds: number) =>
  database.sql`
    update longtail.lease set renewed_at = renewed_at - make_interval(secs => ${seconds}),
      expires_at = expires_at - make_interval(secs => ${seconds})`;

/** The sessions that show a presence. */
const endPresences = () =>
  database.sql`
    select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory'
      and database = (select oid from pg_database where datname = current_database())`;

test('a second one finds it busy and touches nothing; other properties are free', async () => {
  expect(await table.takeProperty(A, holder('one'), NOBODY)).toMatchObject({ value: { epoch: '1' } });
  expect(await table.takeProperty(A, holder('two'), NOBODY)).toMatchObject({ holder: 'unknown' });
  const epochs = await database.sql`select site_url, epoch::int as epoch from longtail.property`;
  expect([...epochs]).toEqual([{ site_url: A, epoch: 1 }]);
  expect(await table.takeProperty('sc-domain:b.com', holder('two'), NOBODY)).toMatchObject({ kind: 'taken' });
  await table.release('one');
  expect(await table.takeProperty(A, holder('three'), NOBODY)).toMatchObject({ value: { epoch: '2' } });
});

test('of many at once one takes it', async () => {
  const takings = await Promise.all(
    Array.from({ length: 8 }, (_, index) => table.takeProperty(A, holder(`h${index}`), NOBODY)),
  );
  expect(takings.filter(({ kind }) => kind === 'taken')).toHaveLength(1);
});

test('a lease that is renewed lasts; one that is not is another’s after a minute', async () => {
  await table.takeProperty(A, holder('one'), NOBODY);
  await pass(50);
  expect(await table.renew('one', [`site:${A}`], null)).toEqual({ kind: 'ok', value: true });
  await pass(50);
  expect(await table.takeProperty(A, holder('two'), NOBODY)).toMatchObject({ kind: 'busy' });
  await pass(11);
  expect(await table.takeProperty(A, holder('two'), NOBODY)).toMatchObject({ value: { epoch: '2' } });
  expect(await table.renew('one', [`site:${A}`], null)).toEqual({ kind: 'ok', value: false });
});

test('an expired lease that nobody took is renewed all the same', async () => {
  await table.takeProperty(A, holder('one'), NOBODY);
  await pass(3_600);
  expect(await table.renew('one', [`site:${A}`], null)).toEqual({ kind: 'ok', value: true });
  expect(await table.takeProperty(A, holder('two'), NOBODY)).toMatchObject({ kind: 'busy' });
});

test('a holder whose process is there is alive; one that is gone is dead when it does not come back', async () => {
  const presence = await enter();
  const name = presence.name();
  await table.takeProperty(A, holder('one'), { presence: name, goneSince: null });
  expect(await table.takeProperty(A, holder('two'), NOBODY)).toMatchObject({ holder: 'alive' });
  await presence.leave();
  const looked = await table.takeProperty(A, holder('two'), NOBODY);
  if (looked.kind === 'taken') throw new Error('it was taken at the first look');
  expect(looked.holder).toBe('gone');
  const { renewedAt } = looked;
  // It renews its lease in between: it lives.
  await table.renew('one', [`site:${A}`], name);
  expect(await table.takeProperty(A, holder('two'), { presence: null, goneSince: renewedAt })).toMatchObject({
    kind: 'busy',
  });
  const again = await table.takeProperty(A, holder('two'), NOBODY);
  if (again.kind === 'taken') throw new Error('it was taken too early');
  expect(
    await table.takeProperty(A, holder('two'), { presence: null, goneSince: again.renewedAt }),
  ).toMatchObject({ value: { epoch: '2' } });
});

test('a presence holds neither a snapshot nor a transaction id, and one is enough for a process', async () => {
  const one = await enter();
  const two = await enter();
  expect(two.name()).toBe(one.name());
  const sessions = await database.sql`
    select a.backend_xmin, a.backend_xid, a.state from pg_locks l join pg_stat_activity a using (pid)
    where l.locktype = 'advisory' and a.datname = current_database()`;
  expect([...sessions]).toEqual([{ backend_xmin: null, backend_xid: null, state: 'idle in transaction' }]);
  await one.leave();
  expect(two.name()).not.toBeNull();
});

test('a presence whose session is ended is shown again, under another name', async () => {
  const presence = await enter();
  const before = presence.name();
  const changed = Promise.withResolvers<void>();
  presence.onChange(() => {
    if (presence.name() !== null) changed.resolve();
  });
  await endPresences();
  await changed.promise;
  expect(presence.name()).not.toBe(before);
});

test('no setting of the server ends a presence', async () => {
  const name = new URL(database.url).pathname.slice(1);
  await database.sql.unsafe(`alter database ${name} set idle_in_transaction_session_timeout = '100ms'`);
  const presence = await enter();
  const before = presence.name();
  // The same setting ends somebody who does not look out.
  const careless = database.sql.begin(async (tx) => {
    await tx`set local idle_in_transaction_session_timeout = '200ms'`.simple();
    await new Promise(() => {});
  });
  await expect(careless).rejects.toThrow();
  expect(presence.name()).toBe(before);
});

test('an account is shared by one party, and by nobody else', async () => {
  expect(await table.takeScope('user:me', holder('one', 'p'), NOBODY)).toMatchObject({ kind: 'taken' });
  expect(await table.takeScope('user:me', holder('two', 'p'), NOBODY)).toMatchObject({ kind: 'taken' });
  expect(await table.takeScope('user:me', holder('three', 'q'), NOBODY)).toMatchObject({ kind: 'busy' });
  await table.release('one');
  expect(await table.takeScope('user:me', holder('three', 'q'), NOBODY)).toMatchObject({ kind: 'busy' });
  await table.release('two');
  expect(await table.takeScope('user:me', holder('three', 'q'), NOBODY)).toMatchObject({ kind: 'taken' });
});

test('tokens are recorded for whoever holds what they are taken from, and for nobody else', async () => {
  await table.takeProperty(A, holder('one'), NOBODY);
  await table.takeScope('user:me', holder('one', 'p'), NOBODY);
  const run = { runId: '1', propertyId: '1', epoch: '1', holder: 'one' };
  const store = createStore({ sql: database.sql }, run);
  const grant = { leaseId: 'a', scopes: [`site:${A}`, 'user:me', 'project:x'], tokens: 3 };
  expect(await store.recordLease(grant)).toMatchObject({ kind: 'ok' });
  await pass(61);
  // Expired, and nobody's yet: it may go on.
  expect(await store.recordLease({ ...grant, leaseId: 'b' })).toMatchObject({ kind: 'ok' });
  expect(await table.takeScope('user:me', holder('two', 'q'), NOBODY)).toMatchObject({ kind: 'taken' });
  expect(await store.recordLease({ ...grant, leaseId: 'c' })).toMatchObject({
    kind: 'fatal',
    code: 'LOCK_LOST',
  });
  const [counted] =
    await database.sql`select count(distinct lease_id)::int as leases from longtail.quota_lease`;
  expect(counted?.leases).toBe(2);
});

test('whoever takes over waits for tokens that are being recorded, and finds them', async () => {
  await table.takeScope('user:me', holder('one', 'p'), NOBODY);
  await pass(61);
  const recording = Promise.withResolvers<void>();
  const mayEnd = Promise.withResolvers<void>();
  const recorded = database.sql.begin(async (tx) => {
    await tx`select from longtail.lease where holder = 'one' for key share`;
    recording.resolve();
    await mayEnd.promise;
  });
  await recording.promise;
  let isTaken = false;
  const taking = table.takeScope('user:me', holder('two', 'q'), NOBODY).then((taken) => {
    isTaken = true;
    return taken;
  });
  await database.sql`select pg_sleep(0.05)`;
  expect(isTaken).toBe(false);
  mayEnd.resolve();
  await recorded;
  expect(await taking).toMatchObject({ kind: 'taken' });
});

test("taking over marks the earlier run as crashed, and nobody else's", async () => {
  const one = await table.takeProperty(A, holder('one'), NOBODY);
  if (one.kind !== 'taken') throw new Error('it is busy');
  await database.sql`
    insert into longtail.run (property_id, epoch, status, from_date, to_date, parameters, force)
    select ${one.value.propertyId}::bigint, 1, status, '2026-01-01', '2026-01-02', '{}', false
    from unnest(array['running', 'halted']) as status`;
  await table.release('one');
  await table.takeProperty('sc-domain:b.com', holder('two'), NOBODY);
  await table.takeProperty(A, holder('three'), NOBODY);
  const rows = await database.sql`select status from longtail.run order by id`;
  expect(rows.map(({ status }) => status)).toEqual(['crashed', 'halted']);
});
