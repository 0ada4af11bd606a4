/**
 * What `--inspect` costs a run: `npm run build && node scripts/inspector-cost.ts [rounds]`. The same data-bound run without an
 * inspector, with a reader, and with a reader that has stalled, in turn; emulator, PostgreSQL and command each in a process of
 * its own. Prints medians of CPU time, duration and memory, and JSON.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { WebSocket } from 'ws';
import { seconds, startEmulatorProcess, startServer, startSync } from './support/proof.ts';

const DAYS = 400;
const ROWS_PER_DAY = '2000';
const rounds = Number(process.argv[2] ?? 5);
const WAYS = ['without', 'reader', 'stalled'] as const;
type Way = (typeof WAYS)[number];

interface Sample {
  readonly durationMs: number;
  readonly peakRssBytes: number;
  readonly messages: number;
  readonly bytes: number;
}

await using server = await startServer();
await using emulator = await startEmulatorProcess('--rows-per-day', ROWS_PER_DAY, '--qpm', '100000');

const samples: Record<Way, Sample[]> = { without: [], reader: [], stalled: [] };
for (let round = 0; round <= rounds; round += 1) {
  // Each way comes first in some round.
  for (const way of [...WAYS.slice(round % WAYS.length), ...WAYS.slice(0, round % WAYS.length)]) {
    const sample = await measure(way);
    // The first round warms up files and servers.
    if (round > 0) samples[way].push(sample);
  }
}

const median = (values: readonly number[]): number =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
const result = WAYS.map((way) => ({
  way,
  durationMs: median(samples[way].map(({ durationMs }) => durationMs)),
  peakRssBytes: median(samples[way].map(({ peakRssBytes }) => peakRssBytes)),
  messages: median(samples[way].map(({ messages }) => messages)),
  bytes: median(samples[way].map(({ bytes }) => bytes)),
}));
for (const { way, durationMs, peakRssBytes, messages, bytes } of result) {
  console.log(
    `${way.padEnd(8)} ${seconds(durationMs)}, peak ${(peakRssBytes / 1e6).toFixed(0)} MB, ${messages} messages, ${(bytes / 1e3).toFixed(0)} kB`,
  );
}
console.log(JSON.stringify(result));

async function measure(way: Way): Promise<Sample> {
  const run = startSync(
    { databaseUrl: await server.database(), apiRoot: emulator.url, days: DAYS },
    ...['--datasets', 'page,page+query', '--max-concurrency', '8', '--qpm', '40000'],
    ...(way === 'without' ? [] : ['--inspect']),
  );
  let messages = 0;
  let bytes = 0;
  let socket: WebSocket | undefined;
  if (way !== 'without') {
    socket = new WebSocket(await addressIn(run.said));
    socket.on('error', () => undefined);
    socket.on('message', (data) => {
      messages += 1;
      bytes += String(data).length;
    });
    if (way === 'stalled') socket.on('open', () => socket?.pause());
  }
  const { code, outcome } = await run.ended;
  socket?.terminate();
  if (code !== 0 || outcome === undefined) throw new Error(`it ended with ${code}`);
  return { durationMs: outcome.durationMs, peakRssBytes: outcome.peakRssBytes, messages, bytes };
}

async function addressIn(said: () => string): Promise<string> {
  for (let waited = 0; waited < 30_000; waited += 20) {
    const [address] = /ws:\/\/\S+/.exec(said()) ?? [];
    if (address !== undefined) return address;
    await pause(20);
  }
  throw new Error('the run did not say where it can be watched');
}
