import type { EmulatorCounters, EmulatorOptions, RequestRecord } from '../../src/emulator/index.ts';
import { startChild } from './child.ts';
import type { EmulatorLoad, EmulatorReady, EmulatorTask } from './emulator-process.ts';

export interface BenchEmulator extends AsyncDisposable {
  readonly url: string;
  /** Its load since the last call. */
  load(): Promise<EmulatorLoad>;
  counters(): Promise<EmulatorCounters>;
  /** The calls that it received, oldest first. */
  requests(): Promise<readonly RequestRecord[]>;
}

/** Above this load, the emulator may limit the result. The report then says so. */
export const BUSY_EMULATOR = 0.9;
const NO_QUOTA = 1_000_000;
const KEPT_REQUESTS = 100_000;

export async function startBenchEmulator(
  options: EmulatorOptions,
  prepare: EmulatorTask['prepare'] = [],
): Promise<BenchEmulator> {
  const quotas = { perSiteQpm: NO_QUOTA, perUserQpm: NO_QUOTA, perProjectQpm: NO_QUOTA, ...options.quotas };
  const task: EmulatorTask = { options: { keepRequests: KEPT_REQUESTS, ...options, quotas }, prepare };
  const child = await startChild(new URL('./emulator-process.ts', import.meta.url), task);
  try {
    const { url } = (await child.next()) as EmulatorReady;
    const read = async (path: string): Promise<unknown> =>
      (await fetch(`${url}__emulator/${path}`, { headers: { connection: 'close' } })).json();
    return {
      url,
      load: async () => (await child.ask({})) as EmulatorLoad,
      counters: async () => (await read('stats')) as EmulatorCounters,
      requests: async () => (await read(`requests?last=${KEPT_REQUESTS}`)) as RequestRecord[],
      [Symbol.asyncDispose]: () => child[Symbol.asyncDispose](),
    };
  } catch (error) {
    await child[Symbol.asyncDispose]();
    throw error;
  }
}
