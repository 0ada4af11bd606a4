import { randomBytes, randomUUID } from 'node:crypto';
import postgres from 'postgres';
import { expect, test } from 'vitest';
import { systemClock } from '../../../src/domain/clock.ts';
import { connect } from '../../../src/postgres/connection/connect.ts';
import { transaction } from '../../../src/postgres/connection/transaction.ts';
import { enterPresence } from '../../../src/postgres/locks/presence.ts';
import { testDatabase } from '../../support/postgres.ts';

const TIMEOUTS = ['statement_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout'];

test.each(TIMEOUTS)('a presence outlives the %s of its role', async (setting) => {
  await using database = await testDatabase();
  const role = `role_${randomBytes(8).toString('hex')}`;
  await database.sql.unsafe(`create role ${role} login superuser password 'pw'`);
  await database.sql.unsafe(`alter role ${role} set ${setting} = '200ms'`);
  const { href } = Object.assign(new URL(database.url), { username: role, password: 'pw' });
  const opened = await connect(href, { max: 3, applicationName: 'longtail' });
  const others = postgres(href, { max: 1 });
  try {
    const presence = await enterPresence(opened.sql, systemClock, randomUUID);
    const name = presence.name();
    expect(name).not.toBeNull();
    // As idle as the presence, and for a shorter time: when the setting has ended this, it would have ended that.
    const doomed = transaction(others, async (tx) => {
      if (setting === 'statement_timeout') await tx`select pg_sleep(60)`;
      else await tx`select 1`;
      await new Promise(() => undefined);
    });
    await expect(doomed).rejects.toThrow();
    expect(presence.name()).toBe(name);
    const locks = await database.sql`
      select from pg_locks l join pg_database d on d.oid = l.database
      where d.datname = current_database() and l.locktype = 'advisory' and l.granted`;
    expect(locks).toHaveLength(1);
    await presence.leave();
  } finally {
    await others.end();
    await opened.close();
    await database.sql.unsafe(`drop role ${role}`);
  }
});
