// Holds invariants 11 of SPEC.md.
/** The model's table of leases does what PostgreSQL's does, whatever is asked of both. */
import fc from 'fast-check';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { systemClock } from '../../src/domain/clock.ts';
import { type BusyLease, lookAgain, NO_LOOK } from '../../src/domain/lease-rules.ts';
import {
  type LeaseRow,
  mayRecord,
  releaseLease,
  renewLease,
  takeLease,
} from '../../src/model/lease-table.ts';
import { createLeaseTable } from '../../src/postgres/locks/lease-book.ts';
import { createStore } from '../../src/postgres/store.ts';
import type { TestDatabase } from '../support/postgres.ts';
import { migratedDatabase } from '../support/synchronisation.ts';

let database: TestDatabase;
beforeAll(async () => {
  database = await migratedDatabase();
});
afterAll(() => database.close());

const HOLDERS = ['one', 'two'] as const;
const SHOWN = 'longtail:presence:shown';
const GONE = 'longtail:presence:gone';
const LEASE_S = 60;

const command = fc.oneof(
  fc.record({
    kind: fc.constantFrom('take' as const, 'renew' as const),
    holder: fc.constantFrom(...HOLDERS),
    presence: fc.constantFrom(null, SHOWN, GONE),
  }),
  fc.record({
    kind: fc.constantFrom('record' as const, 'release' as const),
    holder: fc.constantFrom(...HOLDERS),
  }),
  fc.record({ kind: fc.constant('pass' as const), seconds: fc.constantFrom(30, 61) }),
);

test('taking, renewing, recording and giving up, in any order', { timeout: 600_000 }, async () => {
  const { sql } = database;
  const table = createLeaseTable(sql, systemClock);
  const held = Promise.withResolvers<void>();
  const mayEnd = Promise.withResolvers<void>();
  const shown = sql.begin(async (tx) => {
    await tx`select pg_advisory_xact_lock(hashtextextended(${SHOWN}, 0))`;
    held.resolve();
    await mayEnd.promise;
  });
  await held.promise;
  let serial = 0;
  try {
    await fc.assert(
      fc.asyncProperty(fc.array(command, { minLength: 3, maxLength: 14 }), async (commands) => {
        serial += 1;
        const scope = `user:${serial}`;
        const nameOf = (holder: string) => `${holder} ${serial}`;
        let rows: readonly LeaseRow[] = [];
        let renewals = 0;
        const renewed = () => {
          renewals += 1;
          return { renewedAt: renewals, expiresIn: LEASE_S };
        };
        // Each holder looks as a run does: what it saw last goes into what it asks next, in both worlds.
        const looks = new Map(HOLDERS.map((holder) => [holder, { real: NO_LOOK, model: NO_LOOK }]));
        for (const step of commands) {
          if (step.kind === 'pass') {
            const { seconds } = step;
            await sql`
              update longtail.lease set expires_at = expires_at - make_interval(secs => ${seconds})
              where resource = ${scope}`;
            rows = rows.map((row) => ({ ...row, expiresIn: Math.max(0, row.expiresIn - seconds) }));
            continue;
          }
          const holder = nameOf(step.holder);
          if (step.kind === 'take') {
            const seen = looks.get(step.holder) ?? { real: NO_LOOK, model: NO_LOOK };
            const { presence } = step;
            const real = await table.takeScope(
              scope,
              { id: holder, party: holder },
              { presence, goneSince: seen.real.goneSince },
            );
            const asker = { holder, presence, goneSince: seen.model.goneSince };
            const model = takeLease(rows, asker, renewed(), (name) => name === SHOWN);
            rows = model.rows;
            expect(real.kind).toBe(model.busy?.kind ?? 'taken');
            if (real.kind === 'taken' || model.busy === undefined) {
              looks.set(step.holder, { real: NO_LOOK, model: NO_LOOK });
              continue;
            }
            const [after, expected] = [lookAgain(seen.real, real), lookAgain(seen.model, model.busy)];
            expect([real.holder, after.isAlive]).toEqual([model.busy.holder, expected.isAlive]);
            looks.set(step.holder, { real: after.looks, model: expected.looks });
          } else if (step.kind === 'renew') {
            const kept = renewLease(rows, holder, step.presence, renewed());
            const value = await table.renew(holder, [scope], step.presence);
            expect(value).toEqual({ kind: 'ok', value: kept !== undefined });
            rows = kept ?? rows;
          } else if (step.kind === 'record') {
            const run = { runId: '1', propertyId: '1', epoch: '1', holder };
            const grant = { leaseId: `${holder} ${renewals}`, scopes: [scope], tokens: 1 };
            const answer = await createStore({ sql }, run).recordLease(grant);
            expect(answer.kind).toBe(mayRecord(rows, holder) ? 'ok' : 'fatal');
          } else {
            await table.release(holder);
            rows = releaseLease(rows, holder);
          }
        }
        const stored = await sql<{ holder: string }[]>`
          select holder from longtail.lease where resource = ${scope} order by holder`;
        expect(stored.map((row) => row.holder)).toEqual(rows.map((row) => row.holder).toSorted());
      }),
      { numRuns: 40 },
    );
  } finally {
    mayEnd.resolve();
    await shown;
  }
});

test('a dead process that had several runs of one account is replaced at the second look', async () => {
  const table = createLeaseTable(database.sql, systemClock);
  for (const id of ['first', 'second', 'third']) {
    await table.takeScope('user:dead', { id, party: 'dead' }, { presence: GONE, goneSince: null });
  }
  const next = { id: 'next', party: 'next' };
  const looked = await table.takeScope('user:dead', next, { presence: null, goneSince: null });
  expect(looked).toMatchObject({ kind: 'busy', holder: 'gone' });
  const { looks, isAlive } = lookAgain(NO_LOOK, looked as BusyLease);
  expect(isAlive).toBe(false);
  const second = await table.takeScope('user:dead', next, { presence: null, goneSince: looks.goneSince });
  expect(second).toMatchObject({ kind: 'taken' });
});
