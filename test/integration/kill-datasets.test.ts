// Holds invariants 7 of SPEC.md.
// @module-tag long
import { expect, test } from 'vitest';
import { withFirstSteps } from '../../src/domain/dataset.ts';
import { chances } from '../support/chance.ts';
import { differences } from '../support/compare.ts';
import { ledgerProblems } from '../support/ledger-check.ts';
import { testDatabase } from '../support/postgres.ts';
import { daysAgo, emulate, SITE } from '../support/property.ts';
import { startSyncProcess } from '../support/sync-process.ts';
import { until } from '../support/until.ts';

const SEED = Number(process.env.KILL_SEED ?? 7);
const days = Array.from({ length: 5 }, (_, index) => daysAgo(4 + index));

test.each([
  ['hours', ['hour', 'page+hour', 'query+hour', 'page+query+hour']],
  ['search appearances', ['page+searchAppearance', 'query+searchAppearance', 'page+query+searchAppearance']],
])(
  'kill -9 at any moment while %s are fetched: the table is what one run would have made',
  async (_, named) => {
    await using database = await testDatabase();
    await using emulator = await emulate({ rowsPerDay: 150, latencyMs: 40 });
    const chance = chances(SEED);
    const start = () =>
      startSyncProcess({
        databaseUrl: database.url,
        emulator,
        from: days.at(-1) ?? '',
        to: days[0] ?? '',
        args: ['--batch-size', '2', '--datasets', named.join(',')],
      });
    let killed = 0;
    for (let round = 0; round < 6; round += 1) {
      const calls = emulator.counters.httpCalls + 1 + Math.floor(chance() * 6);
      await using run = start();
      let isOver = false;
      void run.ended.then(() => {
        isOver = true;
      });
      await until(() => isOver || emulator.counters.httpCalls >= calls, 'its calls');
      if (!isOver) killed += 1;
      await run.kill();
    }
    expect(killed).toBeGreaterThan(2);
    await using last = start();
    expect(await last.ended.then(({ code }) => code), last.written()).toBe(0);
    const range = { siteUrl: SITE, searchTypes: ['web'], datasets: withFirstSteps(named), days } as const;
    expect(await differences(database.sql, emulator, range)).toEqual([]);
    expect(await ledgerProblems(database.sql)).toEqual([]);
    await using again = start();
    await again.ended;
    expect(again.json()).toMatchObject({ status: 'complete', apiCalls: 0 });
  },
  120_000,
);
