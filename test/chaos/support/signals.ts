import type { SyncProcess } from '../../support/sync-process.ts';
import { until } from '../../support/until.ts';
import { type Ground, type Happened, tally } from './fault.ts';
import { type Stage, type StageOptions, setStage } from './stage.ts';

/** A state that a run can be found in, and how it is brought there. */
export interface Phase {
  readonly name: string;
  readonly stage: StageOptions;
  readonly args?: readonly string[];
  /** Resolves when the run is there. */
  reach(stage: Stage, run: SyncProcess): Promise<void>;
  /** Undoes what brought it there, after its end. */
  leave?(stage: Stage): Promise<void>;
  /** Codes that it may end with; null: by the signal itself. */
  readonly codes: readonly (number | null)[];
  /** Where it takes its whole deadline, and the time to let go of connections that hang. */
  readonly mostMs?: number;
  readonly isBlind?: boolean;
}

/** One second is promised; the machine may be busy with other tests. */
const MOST_MS = 5_000;

const answersNever = { rules: [{ action: { kind: 'delay', ms: 60_000 } }] } as const;

const said = (run: SyncProcess, words: string | RegExp) => (): boolean =>
  typeof words === 'string' ? run.written().includes(words) : words.test(run.written());

export const PHASES: readonly Phase[] = [
  {
    name: 'it starts up',
    stage: {},
    // Before its own code listens for signals Node ends by them.
    codes: [130, null],
    reach: (_stage, run) => until(() => run.child.pid !== undefined, 'its process'),
  },
  {
    name: 'it connects',
    stage: {},
    codes: [130, null],
    reach: (stage) => until(() => stage.toDatabase.connections() > 0, 'its first connection'),
  },
  {
    name: 'it plans',
    stage: { faults: { rules: [...answersNever.rules] } },
    codes: [130],
    reach: (stage) =>
      until(async () => (await stage.emulator.counters()).httpCalls > 0, 'the calendar’s call'),
    leave: (stage) => stage.emulator.start({ faults: { rules: [] } }),
  },
  {
    name: 'it fetches',
    stage: {
      faults: { rules: [{ match: { endpoint: 'batch' }, every: 3, action: { kind: 'delay', ms: 60_000 } }] },
    },
    codes: [130],
    reach: async (stage) => {
      await until(async () => (await stage.shown()) > 2, 'some slices');
      await until(async () => (await stage.emulator.counters()).httpCalls >= 8, 'its calls');
    },
    leave: (stage) => stage.emulator.start({ faults: { rules: [] } }),
  },
  {
    name: 'it waits for tokens',
    stage: {},
    args: ['--qpm', '5'],
    codes: [130],
    reach: (stage) =>
      until(async () => (await stage.emulator.counters()).apiCalls >= 5, 'all tokens are used'),
  },
  {
    name: 'it backs off',
    stage: { faults: { rules: [{ match: { endpoint: 'batch' }, action: { kind: 'status', status: 503 } }] } },
    codes: [130],
    reach: (_stage, run) => until(said(run, 'does not answer as it should'), 'an outage'),
    leave: (stage) => stage.emulator.start({ faults: { rules: [] } }),
  },
  {
    name: 'it waits for the database',
    stage: { latencyMs: 80 },
    isBlind: true,
    codes: [130],
    reach: async (stage, run) => {
      await until(async () => (await stage.shown()) > 2, 'some slices');
      await stage.server.stop('fast');
      await until(said(run, 'database is away'), 'it waits');
    },
    leave: (stage) => stage.server.start(),
  },
  {
    name: 'the database has stopped answering',
    stage: { latencyMs: 80 },
    codes: [130],
    reach: async (stage) => {
      await until(async () => (await stage.shown()) > 2, 'some slices');
      stage.toDatabase.turn({ kind: 'stalled' });
      await new Promise((resolve) => setTimeout(resolve, 500));
    },
    mostMs: 9_000,
    isBlind: true,
    leave: async (stage) => {
      stage.toDatabase.cut();
      stage.toDatabase.turn({ kind: 'fair' });
    },
  },
  {
    name: 'it finishes',
    stage: { latencyMs: 0 },
    // What is complete stays complete.
    codes: [0, 130, null],
    reach: (_stage, run) => until(said(run, /Ended/), 'its last state'),
  },
];

export async function signalIn(
  phase: Phase,
  signal: 'SIGINT' | 'SIGTERM',
  { server, chance }: Ground,
  times: number,
): Promise<Happened> {
  const words = new Map<string, number>();
  const problems: string[] = [];
  for (let round = 0; round < times; round += 1) {
    await using stage = await setStage(server, phase.stage);
    const run = stage.sync(phase.args === undefined ? {} : { args: phase.args });
    await phase.reach(stage, run);
    // Not always the very first moment of it.
    await new Promise((resolve) => setTimeout(resolve, chance() * 150));
    const calls = await stage.emulator.counters().then(({ httpCalls }) => httpCalls);
    const signalledAtMs = Date.now();
    run.child.kill(signal);
    const { code, endedAtMs } = await run.ended;
    const took = endedAtMs - signalledAtMs;
    if (!phase.codes.includes(code)) problems.push(`it ended with ${code}: ${run.written().slice(-300)}`);
    if (took > (phase.mostMs ?? MOST_MS)) problems.push(`it took ${took} ms to end`);
    const after = await stage.emulator.counters().then(({ httpCalls }) => httpCalls);
    // One may have been on its way when the signal was.
    if (after > calls + 3) problems.push(`${after - calls} calls were made after the signal`);
    await phase.leave?.(stage);
    problems.push(
      ...(await stage.judge(run, phase.isBlind === true ? 'blind' : undefined)),
      ...(await stage.finish()),
    );
    const what = `ended ${code === null ? 'by the signal' : `with ${code}`} within ${took < 1_000 ? '1 s' : `${(took / 1_000).toFixed(1)} s`}`;
    words.set(what, (words.get(what) ?? 0) + 1);
  }
  return { what: tally(words), problems };
}
