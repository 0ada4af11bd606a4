import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { pruneLeases } from '../../../src/postgres/locks/token-leases.ts';
import { createStore } from '../../../src/postgres/store.ts';
import type { Store } from '../../../src/store/store.ts';
import type { LeaseRecord } from '../../../src/store/types.ts';
import type { TestDatabase } from '../../support/postgres.ts';
import { migratedDatabase, unwrap } from '../../support/synchronisation.ts';

let database: TestDatabase;
let store: Store;

beforeAll(async () => {
  database = await migratedDatabase();
});
afterAll(() => database.close());
beforeEach(async () => {
  await database.sql`truncate longtail.quota_lease, longtail.lease`;
  await database.sql`
    insert into longtail.lease (resource, holder, party, renewed_at, expires_at)
    select resource, holder, 'party', now(), now() + interval '1 minute'
    from unnest(array['site:x', 'user:y']) as resource, unnest(array['h7', 'h8']) as holder`;
  store = createStore({ sql: database.sql }, { runId: '7', propertyId: '1', epoch: '1', holder: 'h7' });
});

const open = async (...scopes: string[]): Promise<readonly LeaseRecord[]> =>
  unwrap(await store.readOpenLeases(scopes, 60_000));

test('a lease counts in each of its scopes until it settles', async () => {
  unwrap(await store.recordLease({ leaseId: 'a', scopes: ['site:x', 'user:y'], tokens: 5 }));
  expect(await open('site:x')).toMatchObject([{ scope: 'site:x', tokens: 5, settledMsAgo: null }]);
  expect(await open('site:x', 'user:y')).toHaveLength(2);
  expect(await open('project:z')).toEqual([]);
});

test('a lease that settles in parts is two records; what was returned is none', async () => {
  unwrap(await store.recordLease({ leaseId: 'a', scopes: ['site:x'], tokens: 10 }));
  unwrap(await store.settleLease({ leaseId: 'a', settled: 4, graceMs: 0, returned: 3 }));
  const records = await open('site:x');
  expect(records.map(({ tokens }) => tokens)).toEqual([3, 4]);
  expect(records[1]?.settledMsAgo).toBeGreaterThanOrEqual(0);
  unwrap(await store.settleLease({ leaseId: 'a', settled: 0, graceMs: 0, returned: 3 }));
  expect((await open('site:x')).map(({ tokens }) => tokens)).toEqual([4]);
});

test('grace moves the settling into the future, and never back', async () => {
  unwrap(await store.recordLease({ leaseId: 'a', scopes: ['site:x'], tokens: 2 }));
  unwrap(await store.settleLease({ leaseId: 'a', settled: 1, graceMs: 40_000, returned: 0 }));
  unwrap(await store.settleLease({ leaseId: 'a', settled: 1, graceMs: 0, returned: 0 }));
  const [record] = await open('site:x');
  expect(record?.tokens).toBe(2);
  expect(record?.settledMsAgo).toBeLessThan(-30_000);
});

test('what settled before the window does not count, nor what was lost an hour ago', async () => {
  for (const leaseId of ['settled', 'lost']) {
    unwrap(await store.recordLease({ leaseId, scopes: ['site:x'], tokens: 2 }));
  }
  unwrap(await store.settleLease({ leaseId: 'settled', settled: 2, graceMs: 0, returned: 0 }));
  await database.sql`update longtail.quota_lease set settled_at = settled_at - interval '61 seconds',
    granted_at = granted_at - interval '61 minutes'`;
  expect(await open('site:x')).toEqual([]);
  expect(unwrap(await store.readOpenLeases(['site:x'], 86_400_000))).toHaveLength(1);
});

test('a lease of another run has another id, and counts all the same', async () => {
  const other = createStore({ sql: database.sql }, { runId: '8', propertyId: '1', epoch: '2', holder: 'h8' });
  for (const each of [store, other])
    unwrap(await each.recordLease({ leaseId: 'a', scopes: ['site:x'], tokens: 1 }));
  unwrap(await store.settleLease({ leaseId: 'a', settled: 1, graceMs: 0, returned: 0 }));
  const records = await open('site:x');
  expect(records).toHaveLength(2);
  expect(records.filter(({ settledMsAgo }) => settledMsAgo === null)).toHaveLength(1);
});

test('leases older than any budget are deleted', async () => {
  unwrap(await store.recordLease({ leaseId: 'a', scopes: ['site:x'], tokens: 1 }));
  await database.sql`update longtail.quota_lease set granted_at = granted_at - interval '26 hours'`;
  await pruneLeases(database.sql);
  expect(await database.sql`select from longtail.quota_lease`).toHaveLength(0);
});

test('a database that is gone is a value', async () => {
  expect(await store.probe()).toEqual({ kind: 'ok', value: null });
  await database.sql`alter table longtail.quota_lease rename to away`;
  try {
    expect(await store.recordLease({ leaseId: 'a', scopes: ['site:x'], tokens: 1 })).toMatchObject({
      kind: 'fatal',
      code: 'MIGRATION_FAILED',
    });
  } finally {
    await database.sql`alter table longtail.away rename to quota_lease`;
  }
});
