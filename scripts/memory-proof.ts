/**
 * Memory and speed of `longtail sync` on big days: `npm run build && node scripts/memory-proof.ts [days] [concurrency]`.
 * By default it copies 60 days of 50,000 page+query rows. The emulator, PostgreSQL and the command each have their own
 * process. Prints a line and JSON.
 */
import { availableParallelism, cpus } from 'node:os';
import { seconds, startEmulatorProcess, startServer, startSync } from './support/proof.ts';

const days = Number(process.argv[2] ?? 60);
const concurrency = Number(process.argv[3] ?? 3);

await using server = await startServer();
await using emulator = await startEmulatorProcess('--rows-per-day', '50000', '--qpm', '100000');
const run = startSync(
  { databaseUrl: await server.database(), apiRoot: emulator.url, days },
  ...['--datasets', 'page+query', '--max-concurrency', String(concurrency), '--qpm', '40000'],
);
const { code, outcome } = await run.ended;
if (code !== 0 || outcome === undefined) throw new Error(`it ended with ${code}: ${JSON.stringify(outcome)}`);
const { rows, durationMs, peakRssBytes } = outcome;
const rowsPerSecond = Math.round(rows / (durationMs / 1_000));
const machine = `${cpus()[0]?.model ?? 'unknown'}, ${availableParallelism()} cores, Node ${process.versions.node}`;
console.log(
  `${days} days, ${rows.toLocaleString('en')} rows at concurrency ${concurrency}: peak ${(peakRssBytes / 1e6).toFixed(0)} MB, ` +
    `${seconds(durationMs)}, ${rowsPerSecond.toLocaleString('en')} rows/s (${machine})`,
);
console.log(JSON.stringify({ days, concurrency, rows, durationMs, rowsPerSecond, peakRssBytes, machine }));
