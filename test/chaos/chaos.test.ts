// @module-tag long
import { afterAll, beforeAll, expect, test } from 'vitest';
import { chances } from '../support/chance.ts';
import { startTestServer, type TestServer } from '../support/postgres.ts';
import { FAULTS } from './support/faults.ts';

/** The same faults as in the table of `npm run chaos`, fewer times each. */
const SEED = Number(process.env.CHAOS_SEED ?? 11);

let server: TestServer;
beforeAll(async () => {
  server = await startTestServer();
});
afterAll(() => server.close());

for (const [index, { name, times, strike }] of FAULTS.entries()) {
  if (times.few === 0) continue;
  test(`${name}, ${times.few} ×: nothing is lost`, async (context) => {
    const { what, problems, skipped } = await strike({ server, chance: chances(SEED + index) }, times.few);
    if (skipped !== undefined) return context.skip(skipped);
    console.info(`${name}: ${what}`);
    expect(problems, `seed ${SEED}`).toEqual([]);
  }, 600_000);
}
