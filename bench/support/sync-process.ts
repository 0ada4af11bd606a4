/**
 * Runs one synchronisation with the built library in its own process, and reports what it took. Its first message is a
 * {@link SyncTask}. It runs as plain JavaScript, so it imports only Node's own modules.
 */
import { once } from 'node:events';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type * as Library from '../../src/index.ts';

export interface SyncTask {
  /** URL of the library's entry. */
  readonly library: string;
  readonly options: Omit<Library.SyncOptions, 'maxConcurrency'> & {
    readonly maxConcurrency?: number | 'auto';
  };
}

export type SyncReport =
  | {
      readonly kind: 'ended';
      readonly outcome: Library.Outcome;
      readonly wallMs: number;
      /** CPU time of all its threads, user and system. */
      readonly cpuMs: number;
      readonly peakRssBytes: number;
      /** Without the interval of the timer that measures it. */
      readonly loopDelayMs: { readonly p50: number; readonly p99: number; readonly max: number };
      /** When changes of `maxConcurrency` were noticed, from the start of the run. */
      readonly concurrency: readonly { readonly atMs: number; readonly workers: number }[];
    }
  | { readonly kind: 'failed'; readonly code: string; readonly message: string };

const RESOLUTION_MS = 2;

async function measure(task: SyncTask): Promise<SyncReport> {
  // The URL from the caller is the entry of the built library.
  const { createSync } = (await import(task.library)) as typeof Library;
  try {
    // The type above may be older than `auto`.
    await using sync = createSync(task.options as Library.SyncOptions);
    const concurrency: { atMs: number; workers: number }[] = [];
    const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
    const beyond = (ns: number): number => Math.max(0, ns / 1e6 - RESOLUTION_MS);
    const startedMs = performance.now();
    sync.on('progress', ({ maxConcurrency: workers }) => {
      if (concurrency.at(-1)?.workers !== workers)
        concurrency.push({ atMs: performance.now() - startedMs, workers });
    });
    const cpu = process.cpuUsage();
    delay.enable();
    const outcome = await sync.run();
    const wallMs = performance.now() - startedMs;
    delay.disable();
    const { user, system } = process.cpuUsage(cpu);
    return {
      kind: 'ended',
      outcome,
      wallMs,
      cpuMs: (user + system) / 1_000,
      peakRssBytes: outcome.peakRssBytes,
      loopDelayMs: {
        p50: beyond(delay.percentile(50)),
        p99: beyond(delay.percentile(99)),
        max: beyond(delay.max),
      },
      concurrency,
    };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    return { kind: 'failed', code, message };
  }
}

process.on('disconnect', () => process.exit());
// Only sync.ts starts this, with such a task.
const [task] = (await once(process, 'message')) as [SyncTask];
const report = await measure(task);
process.send?.(report, () => process.disconnect?.());
