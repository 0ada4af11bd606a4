/** Processes that judge: each is bounded in time and memory, and what is left of it ends with us. */
import { type ChildProcess, fork, spawn } from 'node:child_process';
import { join } from 'node:path';
import type { JudgeOrder, JudgeReport } from './judge.ts';
import type { ModelName, WalkSizes } from './walks.ts';

/** More than all worlds of a model take to be walked, also on a machine that has other things to do. */
const MEASURE_LIMIT_MS = 1_200_000;
/** More than the walks take where nothing is wrong. */
const MEMORY_LIMIT = '--max-old-space-size=1500';

export type Judged = JudgeReport | { readonly type: 'gaveUp'; readonly why: string };

/** One process that answers one order after another. One that does not answer in time is ended, and begun anew. */
export class Judge {
  readonly #place: string;
  readonly #timeLimitMs: number;
  #child: ChildProcess | undefined;

  /** `place`: the checkout, or a copy of it. */
  constructor(place: string, timeLimitMs: number) {
    this.#place = place;
    this.#timeLimitMs = timeLimitMs;
  }

  ask(order: JudgeOrder): Promise<Judged> {
    const child = this.#child ?? this.#start();
    return new Promise((resolve) => {
      const settle = (judged: Judged): void => {
        clearTimeout(timer);
        child.off('message', take).off('exit', giveUp);
        resolve(judged);
      };
      const take = (report: JudgeReport): void => settle(report);
      const giveUp = (): void => {
        this.#child = undefined;
        settle({ type: 'gaveUp', why: 'it goes on until the memory is full, or ends at once' });
      };
      const timer = setTimeout(() => {
        this.stop();
        settle({ type: 'gaveUp', why: 'it takes too long' });
      }, this.#timeLimitMs);
      child.on('message', take).on('exit', giveUp);
      child.send(order);
    });
  }

  /** The next order is for a new process: sources that it has read are not read again. */
  stop(): void {
    this.#child?.kill('SIGKILL');
    this.#child = undefined;
  }

  #start(): ChildProcess {
    const child = fork(join(this.#place, 'test/mutation/judge.ts'), {
      cwd: this.#place,
      execArgv: [MEMORY_LIMIT],
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
    });
    this.#child = child;
    return child;
  }
}

/** How large the worlds are where nothing is wrong: measured once, when somebody has to know. */
export class WalkSizesOnDemand {
  readonly #place: string;
  readonly #measured = new Map<ModelName, Promise<WalkSizes>>();

  /** `place`: where the sources have no fault. */
  constructor(place: string) {
    this.#place = place;
  }

  of(model: ModelName): Promise<WalkSizes> {
    const measured = this.#measured.get(model) ?? this.#measure(model);
    this.#measured.set(model, measured);
    return measured;
  }

  async #measure(model: ModelName): Promise<WalkSizes> {
    const judge = new Judge(this.#place, MEASURE_LIMIT_MS);
    try {
      const report = await judge.ask({ type: 'measure', model });
      if (report.type !== 'measured') throw new Error('the worlds cannot be walked as they are');
      return report.sizes;
    } finally {
      judge.stop();
    }
  }
}

interface Ended {
  readonly code: number | null;
  readonly output: string;
  readonly timedOut: boolean;
}

/** Runs a program to its end, or to the end of its time. */
export function run(
  cwd: string,
  args: readonly string[],
  { timeLimitMs, env }: { readonly timeLimitMs: number; readonly env?: NodeJS.ProcessEnv },
): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...args], {
      cwd,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
    });
    let output = '';
    let timedOut = false;
    const timer = setTimeout(() => {
      timedOut = true;
      child.kill('SIGKILL');
    }, timeLimitMs);
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text;
      });
    }
    child.on('error', reject);
    child.on('close', (code) => {
      clearTimeout(timer);
      resolve({ code, output, timedOut });
    });
  });
}
