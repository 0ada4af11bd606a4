/**
 * Runs forty synchronisations in a host with a pool of three connections, one limiter and one account: `node
 * scripts/forty-syncs.ts [--kills 5]`. Connections are cut every second, and the host is killed and restarted. Meanwhile the
 * host sends `select 1` through its own pool. Prints how long that took. Exits with 1 if it ever took more than 100 ms, a
 * request was refused, or the tables differ from the server's data. Takes about a minute on an otherwise idle machine.
 */
import { parseArgs } from 'node:util';
import postgres from 'postgres';
import { runForty, WINDOW } from '../test/field/support/forty.ts';
import { startTestServer } from '../test/support/postgres.ts';

const MOST_MS = 100;

const { values } = parseArgs({ options: { kills: { type: 'string', default: '5' } } });
const kills = Number(values.kills);
if (!Number.isSafeInteger(kills) || kills < 0) {
  console.error('--kills is a whole number from 0 on.');
  process.exit(2);
}

await using server = await startTestServer();
const sql = postgres(server.url, { max: 4, onnotice: () => undefined });
try {
  const figures = await runForty(server.url, sql, { kills });
  const { waitsMs, longestTurnMs, mostConnections, refusals, widestWindow, problems, endings } = figures;
  const at = (share: number): number => waitsMs[Math.floor(share * (waitsMs.length - 1))] ?? 0;
  const slowest = at(1);
  const ms = (value: number): string => `${value.toFixed(1)} ms`;
  console.log(
    [
      `${waitsMs.length} queries of the host: median ${ms(at(0.5))}, p99 ${ms(at(0.99))}, most ${ms(slowest)}`,
      `longest turn of its event loop: ${ms(longestTurnMs)} of CPU`,
      `${kills} kills, ${figures.cut} connections cut, at most ${mostConnections} at one time`,
      `${figures.requests} requests, ${refusals} refused, at most ${widestWindow} of ${WINDOW.limit} in any ${WINDOW.windowMs / 1_000} s`,
      `${endings.filter((ending) => ending === 'complete').length} of ${endings.length} complete, ${problems.length} differences`,
      `${(figures.tookMs / 1_000).toFixed(1)} s`,
      ...problems.slice(0, 20),
    ].join('\n'),
  );
  const isProved =
    slowest <= MOST_MS &&
    mostConnections <= 3 &&
    refusals === 0 &&
    widestWindow <= WINDOW.limit &&
    problems.length === 0 &&
    endings.every((ending) => ending === 'complete');
  process.exitCode = isProved ? 0 : 1;
} finally {
  await sql.end({ timeout: 1 });
}
