/**
 * Sends 120 requests under a quota of 60 per minute, in real time: `npm run build && node scripts/quota-proof.ts`. Prints a
 * line for each way to run it, and at the end everything as JSON: refusals, the maximum number of requests in any 60 seconds
 * at the emulator, and the time next to the shortest possible one. Takes about four minutes.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { end, seconds, startEmulatorProcess, startServer, startSync } from './support/proof.ts';

const QUOTA = 60;
/** With the calendar, 120 requests. */
const DAYS = 119;
const MINUTE_MS = 60_000;

type Break = 'none' | 'kill while it waits' | 'kill in a call' | 'SIGINT while it waits' | 'SIGINT in a call';

interface Case {
  readonly name: string;
  readonly batchSize: number;
  readonly latencyMs: number;
  readonly interruption: Break;
}

const CASES: readonly Case[] = [
  { name: 'batches of 50', batchSize: 50, latencyMs: 200, interruption: 'none' },
  { name: 'batches of 100', batchSize: 100, latencyMs: 200, interruption: 'none' },
  {
    name: 'batches of 50, killed while it waits',
    batchSize: 50,
    latencyMs: 200,
    interruption: 'kill while it waits',
  },
  {
    name: 'batches of 50, killed in a call',
    batchSize: 50,
    latencyMs: 3_000,
    interruption: 'kill in a call',
  },
  {
    name: 'batches of 50, SIGINT while it waits',
    batchSize: 50,
    latencyMs: 200,
    interruption: 'SIGINT while it waits',
  },
  {
    name: 'batches of 50, SIGINT in a call',
    batchSize: 50,
    latencyMs: 3_000,
    interruption: 'SIGINT in a call',
  },
];

await using server = await startServer();
// Waits for all of them, also if one fails: each must end its own processes.
const proved = await Promise.allSettled(CASES.map(prove));
const figures = proved.map((result) => {
  if (result.status === 'rejected') throw result.reason;
  return result.value;
});
console.log(JSON.stringify({ quota: QUOTA, cases: figures }));
process.exitCode = figures.every(({ refusals, widestMinute }) => refusals === 0 && widestMinute <= QUOTA)
  ? 0
  : 1;

async function prove({ name, batchSize, latencyMs, interruption }: Case) {
  const flags = ['--qpm', String(QUOTA), '--rows-per-day', '200', '--latency-ms', String(latencyMs)];
  await using emulator = await startEmulatorProcess(...flags);
  const databaseUrl = await server.database();
  const start = () =>
    startSync(
      { databaseUrl, apiRoot: emulator.url, days: DAYS },
      ...['--datasets', 'page', '--batch-size', String(batchSize), '--qpm', String(QUOTA)],
    );
  const arrived = async (count: number): Promise<void> => {
    while ((await emulator.counters()).apiCalls < count) await sleep(20);
  };
  let run = start();
  if (interruption !== 'none') {
    // The calendar, then as many as the quota still allows.
    await arrived(interruption.endsWith('waits') ? QUOTA : 2);
    await sleep(interruption.endsWith('waits') ? 10_000 : 1_000);
    await end(run.child, interruption.startsWith('kill') ? 'SIGKILL' : 'SIGINT');
    run = start();
  }
  const { code, outcome } = await run.ended;
  if (code !== 0 || outcome?.status !== 'complete') throw new Error(`${name}: ${JSON.stringify(outcome)}`);
  const { refusals, maxInAnyWindow: widestMinute, apiCalls } = await emulator.counters();
  const times = (await emulator.requests()).map(({ arrivedAtMs }) => arrivedAtMs);
  const tookMs = Math.max(...times) - Math.min(...times);
  // The requests of the first minute are sent immediately. Those lost by an interruption must be sent again.
  const shortestMs = Math.floor((apiCalls - 1) / QUOTA) * MINUTE_MS;
  const overhead = tookMs / shortestMs - 1;
  console.log(
    `${name}: ${apiCalls} requests, ${refusals} refusals, at most ${widestMinute} in any minute, ` +
      `${seconds(tookMs)} from first to last (shortest ${seconds(shortestMs)}, +${(overhead * 100).toFixed(1)} %)`,
  );
  return { name, batchSize, apiCalls, refusals, widestMinute, tookMs, shortestMs, overhead };
}
