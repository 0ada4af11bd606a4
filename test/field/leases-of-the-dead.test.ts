// Holds invariants 11 of SPEC.md.
/** Who is taken for dead, and who is not, among processes that have several runs, and sessions that end at a bad moment. */

import { expect, test } from 'vitest';
import { systemClock } from '../../src/domain/clock.ts';
import { createSync } from '../../src/index.ts';
import { createLeaseTable, type LeaseTable } from '../../src/postgres/locks/lease-book.ts';
import { enterPresence } from '../../src/postgres/locks/presence.ts';
import { takeLeasesIn } from '../../src/sync/leases.ts';
import { emptyDatabase } from '../support/postgres.ts';
import { emulate, options, SITE, settledDays } from '../support/property.ts';
import { migratedDatabase } from '../support/synchronisation.ts';
import { until } from '../support/until.ts';

const datasets = ['page'];
const days = settledDays(6);

test('a process that was killed with several runs of one account: the next one starts without a wait', async () => {
  await using emulator = await emulate({ rowsPerDay: 10, latencyMs: 50 });
  await using database = await emptyDatabase();
  const settings = options(database.url, emulator, days, { datasets, batchSize: 1 });
  const resources = new Set<string>();
  {
    await using first = createSync(settings);
    const running = first.run();
    await until(async () => {
      const made = await database.sql`select to_regclass('longtail.lease') is not null as made`;
      if (made[0]?.made !== true) return false;
      for (const { resource } of await database.sql`select resource from longtail.lease`) {
        resources.add(String(resource));
      }
      return resources.size === 2;
    }, 'its leases');
    await running;
  }
  // Three runs of a process that is gone, renewed one after the other; two of other properties.
  for (const [index, resource] of [...resources, ...resources].entries()) {
    await database.sql`
      insert into longtail.lease (resource, holder, party, presence, renewed_at, expires_at)
      values (${resource}, ${`dead ${index}`}, 'dead', 'longtail:presence:dead',
        now() - make_interval(secs => ${index}), now() + interval '1 minute')`;
  }
  await using next = createSync(settings);
  expect(await next.run()).toMatchObject({ status: 'complete' });
});

test('a session that ends while a property is being taken: the lease names the presence that is shown', async () => {
  await using database = await migratedDatabase();
  const { sql } = database;
  let names = 0;
  const presence = await enterPresence(sql, systemClock, () => {
    names += 1;
    return `longtail:presence:taking:${names}`;
  });
  const before = presence.name();
  const real = createLeaseTable(sql, systemClock);
  const table: LeaseTable = {
    ...real,
    async takeProperty(siteUrl, holder, asked) {
      const taking = await real.takeProperty(siteUrl, holder, asked);
      await sql`
        select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory'
          and database = (select oid from pg_database where datname = current_database())`;
      await until(() => presence.name() !== null && presence.name() !== before, 'another presence');
      return taking;
    },
  };
  const leases = await takeLeasesIn(table, presence, {
    siteUrl: SITE,
    // The renewal that comes every ten seconds would mend it, too late: here it never comes.
    clock: {
      ...systemClock,
      setTimeout: (callback, delayMs) => (delayMs === 10_000 ? 0 : systemClock.setTimeout(callback, delayMs)),
    },
    newId: () => 'holder',
    wait: false,
    signal: new AbortController().signal,
  });
  try {
    await until(async () => {
      const [row] = await sql`select presence from longtail.lease`;
      return row?.presence === presence.name();
    }, 'the present name');
    // So nobody takes it for a dead process's.
    const other = { id: 'other', party: 'other' };
    const looked = await real.takeProperty(SITE, other, { presence: null, goneSince: null });
    expect(looked).toMatchObject({ kind: 'busy', holder: 'alive' });
    expect(leases.mayCall()).toBe(true);
  } finally {
    await leases.release();
  }
});
