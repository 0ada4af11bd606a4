/** The emulator in a process of its own. Its first message is an {@link EmulatorTask}; each that follows asks for its load. */
import { once } from 'node:events';
import { type EmulatorOptions, startEmulator } from '../../src/emulator/index.ts';

export interface EmulatorTask {
  readonly options: EmulatorOptions;
  /** Requests whose rows are made before anybody asks. */
  readonly prepare: readonly { readonly siteUrl: string; readonly body: object }[];
}

export interface EmulatorReady {
  readonly url: string;
}

/** Since the last message, or the start. */
export interface EmulatorLoad {
  readonly cpuMs: number;
  /** Share of the time in which its one thread of JavaScript was busy, 0 to 1. */
  readonly busyShare: number;
}

process.on('disconnect', () => process.exit());
// Only emulator.ts starts this, with such a task.
const [task] = (await once(process, 'message')) as [EmulatorTask];
const emulator = await startEmulator(task.options);
for (const { siteUrl, body } of task.prepare) await emulator.served(siteUrl, body);

let cpu = process.cpuUsage();
let loop = performance.eventLoopUtilization();
const restart = (): void => {
  cpu = process.cpuUsage();
  loop = performance.eventLoopUtilization();
};
process.on('message', () => {
  const { user, system } = process.cpuUsage(cpu);
  const load: EmulatorLoad = {
    cpuMs: (user + system) / 1_000,
    busyShare: performance.eventLoopUtilization(loop).utilization,
  };
  restart();
  process.send?.(load);
});
restart();
const ready: EmulatorReady = { url: emulator.url };
process.send?.(ready);
