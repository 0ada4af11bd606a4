/** Runs the emulator in its own process. Its first message is an {@link EmulatorTask}. Each further one requests its load. */
import { once } from 'node:events';
import { systemClock } from '../../src/domain/clock.ts';
import { Api } from '../../src/emulator/api.ts';
import type { EmulatorOptions } from '../../src/emulator/index.ts';
import { EmulatorServer } from '../../src/emulator/server.ts';

export interface EmulatorTask {
  readonly options: EmulatorOptions;
  /** Requests whose answers are prepared and compressed in advance. The options must make the emulator keep them. */
  readonly prepare: readonly { readonly siteUrl: string; readonly body: object }[];
}

export interface EmulatorReady {
  readonly url: string;
}

/** Since the last message, or the start. */
export interface EmulatorLoad {
  readonly cpuMs: number;
  /** Share of the time in which its JavaScript thread was busy, 0 to 1. */
  readonly busyShare: number;
}

process.on('disconnect', () => process.exit());
// Only emulator.ts starts this, with such a task.
const [task] = (await once(process, 'message')) as [EmulatorTask];
const emulator = new EmulatorServer(new Api(task.options), task.options, systemClock);
await emulator.listen();
for (const { siteUrl, body } of task.prepare) await emulator.prepare(siteUrl, body);

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
