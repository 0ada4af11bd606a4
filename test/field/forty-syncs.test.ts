// @module-tag long
/** Forty properties of one account in one backend: one pool of three, one limiter, a database that ends sessions, and a host that dies. */
import { expect, test } from 'vitest';
import { emptyDatabase } from '../support/postgres.ts';
import { runForty, WINDOW } from './support/forty.ts';

/**
 * Generous, since it is CPU time on whatever machine this runs: it tells a turn that grows with the number of properties from
 * one that does not. The figure itself is `scripts/forty-syncs.ts`'s.
 */
const LONGEST_TURN_MS = 250;

test('forty syncs share a pool of three while their connections are cut every second and their host is killed', {
  timeout: 600_000,
}, async () => {
  await using database = await emptyDatabase();
  const figures = await runForty(database.url, database.sql, { kills: 3 });
  expect(figures.endings.filter((ending) => ending !== 'complete')).toEqual([]);
  expect(figures.endings).toHaveLength(40);
  expect(figures.problems).toEqual([]);
  expect(figures.refusals).toBe(0);
  // The budget is what everything waited for, and no killed process's requests were forgotten.
  expect(figures.widestWindow).toBeLessThanOrEqual(WINDOW.limit);
  expect(figures.requests).toBeGreaterThan(2 * WINDOW.limit);
  expect(figures.cut).toBeGreaterThan(0);
  expect(figures.mostConnections).toBeLessThanOrEqual(3);
  expect(figures.waitsMs.length).toBeGreaterThan(100);
  expect(figures.longestTurnMs).toBeLessThan(LONGEST_TURN_MS);
});
