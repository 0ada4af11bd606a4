/** Measures the time from a halt to the end of the last socket, in randomly chosen phases. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { Socket } from 'node:net';
import { createSync } from '../../src/index.ts';
import { createChance } from './chance.ts';
import type { Job } from './jobs.ts';

export interface Halt {
  /** When the halt was requested, from the start of the run. */
  readonly afterMs: number;
  /** From then until the last socket of this process was closed. */
  readonly tookMs: number;
}

/** A socket that is open for longer counts as leaked. */
const PATIENCE_MS = 10_000;

/** Starts and halts runs, `halts` times. Nothing else in this process may open sockets meanwhile. */
export async function measureHalts(target: {
  readonly job: Job;
  readonly database: string;
  readonly apiRoot: string;
  readonly halts: number;
  readonly seed: number;
  /** The halts are spread over this time. */
  readonly spreadMs: number;
}): Promise<Halt[]> {
  const { job, database, apiRoot, halts, seed, spreadMs } = target;
  const chance = createChance(seed);
  const halted: Halt[] = [];
  using sockets = watchSockets();
  for (let index = 0; index < halts; index += 1) {
    const sync = createSync({
      ...job,
      database,
      apiRoot,
      credentials: { accessToken: 'a-token' },
      requestsPerMinute: 40_000,
      batchSize: 10,
      refresh: true,
    });
    const startedMs = performance.now();
    const outcome = sync.run();
    await new Promise((resolve) => setTimeout(resolve, chance() * spreadMs));
    const askedMs = performance.now();
    await sync.halt('bench');
    const { status } = await outcome;
    // A run that had already ended was not halted.
    if (status === 'halted') {
      const isQuiet = await sockets.quiet();
      const tookMs = (isQuiet ? sockets.lastClosedMs() : performance.now()) - askedMs;
      halted.push({ afterMs: askedMs - startedMs, tookMs });
    }
    await sync.close();
  }
  return halted;
}

/** Records when sockets that are opened from now on are closed. */
function watchSockets() {
  const open = new Set<Socket>();
  let lastClosedMs = 0;
  let wake: () => void = () => undefined;
  // Node reports every socket that connects, whoever opened it.
  const note = (message: unknown): void => {
    const { socket } = message as { readonly socket: Socket };
    open.add(socket);
    socket.once('close', () => {
      open.delete(socket);
      lastClosedMs = performance.now();
      if (open.size === 0) wake();
    });
  };
  subscribe('net.client.socket', note);
  return {
    lastClosedMs: () => lastClosedMs,
    /** Resolves when all are closed, or to false if some are still open after a while. */
    quiet: () =>
      new Promise<boolean>((resolve) => {
        const timer = setTimeout(() => {
          for (const { remotePort, connecting } of open) console.error('still open:', remotePort, connecting);
          // Counted only once, not again in the next run.
          open.clear();
          resolve(false);
        }, PATIENCE_MS);
        wake = () => {
          clearTimeout(timer);
          resolve(true);
        };
        if (open.size === 0) wake();
      }),
    [Symbol.dispose]() {
      unsubscribe('net.client.socket', note);
    },
  };
}
