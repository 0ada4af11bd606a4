import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { SyncProcess } from '../../support/sync-process.ts';
import { until } from '../../support/until.ts';
import type { BreakableProxy } from './breakable-proxy.ts';
import { fillDisk } from './disk.ts';
import { type Fault, type Ground, type Happened, howItEnded, tally } from './fault.ts';
import { PHASES, signalIn } from './signals.ts';
import { type Stage, type StageOptions, setStage } from './stage.ts';

/** The same fault several times, each on a stage of its own. */
async function repeatedly(
  { server }: Ground,
  times: number,
  options: StageOptions,
  strike: (stage: Stage) => Promise<{ readonly run: SyncProcess; readonly what: string }>,
): Promise<Happened> {
  const words = new Map<string, number>();
  const problems: string[] = [];
  for (let round = 0; round < times; round += 1) {
    await using stage = await setStage(server, options);
    const { run, what } = await strike(stage);
    const { code } = await run.ended;
    problems.push(...(await stage.judge(run)), ...(await stage.finish()));
    const told = `${what}; ${howItEnded(code)}`;
    words.set(told, (words.get(told) ?? 0) + 1);
  }
  return { what: tally(words), problems };
}

/** Somewhere in the middle: some slices are there, most are not. */
async function inTheMiddle(stage: Stage): Promise<void> {
  await until(async () => (await stage.shown()) >= 3, 'three slices are there');
}

/** At random moments of its whole life, its start and its end among them. */
const kills: Fault = {
  name: 'kill −9 at a random moment',
  times: { few: 10, many: 50 },
  async strike({ server, chance }, times) {
    await using stage = await setStage(server, { rowsPerDay: times > 20 ? 3_000 : 300, qpm: 1_200 });
    const plain = stage.sync();
    const { endedAtMs, code } = await plain.ended;
    if (code !== 0) throw new Error(`a plain run ended with ${code}: ${plain.written()}`);
    const plainMs = endedAtMs - plain.startedAtMs;
    const problems = [...(await stage.judge(plain))];
    const left: number[] = [];
    let killed = 0;
    let completed = 0;
    while (killed < times) {
      // The leases stay: the emulator remembers its quota, too.
      if ((await stage.shown()) === 20)
        await stage.sql`truncate longtail.fact, longtail.slice_page, longtail.slice, longtail.calendar, longtail.day_total`;
      const run = stage.sync();
      const isOver = await Promise.race([run.ended.then(() => true), sleep(chance() * plainMs * 1.1, false)]);
      if (!isOver) {
        await run.kill();
        killed += 1;
        left.push(await stage.shown());
      } else if ((await run.ended).code === 0) completed += 1;
      else problems.push(`a run between ended by itself: ${run.written().slice(-300)}`);
      problems.push(...(await stage.judge(run)));
    }
    problems.push(...(await stage.finish()));
    const some = left.filter((count) => count > 0 && count < 20).length;
    return {
      what: `${killed} killed, ${some} of them with a part of the slices written; ${completed} were quicker and completed`,
      problems,
    };
  },
};

function serverStopped(how: 'fast' | 'immediate' | 'kill', awayMs: number, few: number): Fault {
  const words = how === 'kill' ? 'kill −9 of all its processes' : `stop, ${how}`;
  return {
    name: `PostgreSQL: ${words}, started again after ${awayMs / 1_000} s`,
    times: { few, many: 3 },
    strike: (ground, times) =>
      repeatedly(ground, times, { latencyMs: 80 }, async (stage) => {
        const run = stage.sync();
        await inTheMiddle(stage);
        await stage.server.stop(how);
        await sleep(awayMs);
        await stage.server.start();
        await run.ended;
        const waited = /database is away/.test(run.written());
        return { run, what: waited ? 'it waited for the database' : 'it did not notice' };
      }),
  };
}

type Breaking = (proxy: BreakableProxy) => Promise<string>;

const BREAKINGS: readonly (readonly [string, Breaking])[] = [
  [
    'all connections cut',
    async (proxy) => {
      proxy.cut();
      return 'cut once';
    },
  ],
  [
    'cut again and again for 2 s, new ones refused',
    async (proxy) => {
      proxy.turn({ kind: 'cut' });
      for (let count = 0; count < 10; count += 1) {
        proxy.cut();
        await sleep(200);
      }
      proxy.turn({ kind: 'fair' });
      return 'refused for 2 s';
    },
  ],
  [
    'stalled for 3 s',
    async (proxy) => {
      proxy.turn({ kind: 'stalled' });
      await sleep(3_000);
      proxy.turn({ kind: 'fair' });
      return 'nothing passed for 3 s';
    },
  ],
  [
    'stalled for 2 s, then cut',
    async (proxy) => {
      proxy.turn({ kind: 'stalled' });
      await sleep(2_000);
      proxy.cut();
      proxy.turn({ kind: 'fair' });
      return 'what was under way was lost';
    },
  ],
  [
    'trickling',
    async (proxy) => {
      proxy.turn({ kind: 'trickling', chunkBytes: 200, everyMs: 2 });
      return 'some hundred bytes at a time, to the end';
    },
  ],
];

function proxied(where: 'PostgreSQL' | 'the API', inTests: readonly string[]): readonly Fault[] {
  return BREAKINGS.map(([name, breaking]) => ({
    name: `between it and ${where}: ${name}`,
    times: { few: inTests.includes(name) ? 1 : 0, many: 3 },
    strike: (ground, times) =>
      repeatedly(ground, times, { latencyMs: 60 }, async (stage) => {
        const run = stage.sync();
        await inTheMiddle(stage);
        const what = await breaking(where === 'PostgreSQL' ? stage.toDatabase : stage.toEmulator);
        await run.ended;
        return { run, what };
      }),
  }));
}

const emulatorRestarted: Fault = {
  name: 'the API gone (kill −9), back after 1 s',
  times: { few: 1, many: 5 },
  strike: (ground, times) =>
    repeatedly(ground, times, { latencyMs: 60 }, async (stage) => {
      const run = stage.sync();
      await inTheMiddle(stage);
      await stage.emulator.kill();
      await sleep(1_000);
      await stage.emulator.start();
      await run.ended;
      const noticed = !/"retries":0\b/.test(run.written());
      return { run, what: noticed ? 'calls failed and were made again' : 'it did not notice' };
    }),
};

const HOUR_MS = 3_600_000;
const MOVED_CLOCK = fileURLToPath(new URL('./moved-clock.mjs', import.meta.url));

function clockMoved(words: string, byMs: number, few: number): Fault {
  return {
    name: `the clock of the process moved ${words} in the middle`,
    times: { few, many: 3 },
    strike: (ground, times) =>
      repeatedly(ground, times, { latencyMs: 100 }, async (stage) => {
        const env = {
          NODE_OPTIONS: `--import=${MOVED_CLOCK}`,
          CLOCK_MOVES_AFTER_MS: '900',
          CLOCK_MOVES_BY_MS: String(byMs),
        };
        const run = stage.sync({ env });
        const { endedAtMs } = await run.ended;
        const isQuick = endedAtMs - run.startedAtMs < 30_000;
        return { run, what: isQuick ? 'it went on' : 'it stood for more than 30 s' };
      }),
  };
}

const twoAtOnce: Fault = {
  name: 'two processes on one property at once',
  times: { few: 2, many: 10 },
  async strike({ server, chance }, times) {
    const words = new Map<string, number>();
    const problems: string[] = [];
    for (let round = 0; round < times; round += 1) {
      await using stage = await setStage(server, { latencyMs: 60 });
      const first = stage.sync();
      await sleep(chance() * (round % 2 === 0 ? 50 : 900));
      const second = stage.sync();
      const ended = [await first.ended, await second.ended];
      const codes = ended.map(({ code }) => code).toSorted();
      // The second may come when the first has ended.
      const isWell = codes[0] === 0 && (codes[1] === 0 || codes[1] === 75);
      if (!isWell) problems.push(`they ended with ${codes.join(' and ')}`);
      const told =
        codes[1] === 0
          ? 'both completed, one after the other'
          : 'one went on, the other was told so and ended with 75';
      words.set(told, (words.get(told) ?? 0) + 1);
      for (const run of [first, second]) {
        const { code } = await run.ended;
        if (code === 75 && !/Another synchronisation of .* is under way/.test(run.written()))
          problems.push(`the refused one says: ${run.written().slice(-200)}`);
      }
      problems.push(...(await stage.judge((await first.ended).code === 0 ? first : second)));
      problems.push(...(await stage.finish()));
    }
    return { what: tally(words), problems };
  },
};

const diskFull: Fault = {
  name: 'the disk of PostgreSQL full, then free again',
  times: { few: 1, many: 2 },
  async strike(_ground, times) {
    const words = new Map<string, number>();
    const problems: string[] = [];
    for (let round = 0; round < times; round += 1) {
      await using disk = await fillDisk();
      if ('skipped' in disk) return { what: '', problems: [], skipped: disk.skipped };
      await using stage = await setStage(disk.server, { rowsPerDay: 20_000, latencyMs: 20 });
      const plain = stage.sync({ args: ['--from', stage.to] });
      await plain.ended;
      await disk.fill();
      const run = stage.sync();
      const { code } = await run.ended;
      if (code === 0) problems.push('the run completed on a full disk: the fault did not happen');
      const said = /longtail: (.*)/.exec(run.written())?.[1] ?? 'nothing was said';
      const told = `${howItEnded(code)}: “${said}”`;
      words.set(told, (words.get(told) ?? 0) + 1);
      await disk.free();
      problems.push(...(await stage.judge(run)), ...(await stage.finish()));
    }
    return { what: tally(words), problems };
  },
};

/** Everything, in the order of the table. */
export const FAULTS: readonly Fault[] = [
  kills,
  serverStopped('fast', 1_000, 0),
  serverStopped('immediate', 1_000, 1),
  serverStopped('kill', 1_000, 1),
  ...proxied('PostgreSQL', [
    'cut again and again for 2 s, new ones refused',
    'stalled for 2 s, then cut',
    'trickling',
  ]),
  ...proxied('the API', ['all connections cut', 'stalled for 3 s']),
  emulatorRestarted,
  clockMoved('an hour ahead', HOUR_MS, 0),
  clockMoved('an hour back', -HOUR_MS, 1),
  clockMoved('two days ahead', 48 * HOUR_MS, 0),
  twoAtOnce,
  diskFull,
  ...PHASES.flatMap((phase, index) =>
    (['SIGINT', 'SIGTERM'] as const).map(
      (signal, which): Fault => ({
        name: `${signal} while ${phase.name}`,
        // Among the tests each phase has one of the two.
        times: { few: index % 2 === which ? 1 : 0, many: 2 },
        strike: (ground, times) => signalIn(phase, signal, ground, times),
      }),
    ),
  ),
];
