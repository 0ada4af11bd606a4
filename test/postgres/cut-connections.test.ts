import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { connect } from '../../src/postgres/connection/connect.ts';
import { startBreakableProxy } from '../chaos/support/breakable-proxy.ts';
import { testDatabase } from '../support/postgres.ts';

/** Far less than the ten seconds after which the driver gives a silent connection up. */
const SOON_MS = 5_000;

test('connections cut at any instant: every query ends, and the next one is answered soon', async () => {
  await using database = await testDatabase();
  await using proxy = await startBreakableProxy(database.url);
  const { sql, close } = await connect(proxy.url, { max: 2, applicationName: 'test' });
  try {
    for (let round = 0; round < 60; round += 1) {
      const work = [0, 1, 2, 3].map(async (worker) => {
        for (let count = 0; count < 6; count += 1)
          await sql`select ${worker}::int, ${'x'.repeat(50 * worker)}::text`;
      });
      const ended = Promise.allSettled(work).then(() => 'ended');
      // Before, while and after they are sent.
      await sleep((round * 7) % 11);
      proxy.cut();
      expect(await Promise.race([ended, sleep(SOON_MS, `round ${round}: a query never ended`)])).toBe(
        'ended',
      );
      const next = sql`select 1`.then(
        () => 'told',
        () => 'told',
      );
      expect(await Promise.race([next, sleep(SOON_MS, `round ${round}: the next one waits`)])).toBe('told');
    }
  } finally {
    await close({ timeoutMs: 1_000 });
  }
});
