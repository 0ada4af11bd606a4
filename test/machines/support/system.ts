/**
 * Coordinator, batch workers and rate limiter, all real, on a clock that stands still. What they would do to the world
 * (calls, the plan, the database's probe, reapers) waits for the test to say how it went.
 */

import { type ActorRefFrom, createActor, fromCallback, fromPromise } from 'xstate';
import type { AfterPage } from '../../../src/domain/page-result.ts';
import { batchWorkerMachine, type FetchBatchInput } from '../../../src/machines/batch-worker/batch-worker.ts';
import type {
  CoordinatorEmitted,
  CoordinatorInput,
  ReapInput,
  ReapOutput,
} from '../../../src/machines/coordinator/context.ts';
import { coordinatorMachine } from '../../../src/machines/coordinator/coordinator.ts';
import type {
  CallEvent,
  CallOrder,
  CallOutcome,
  MorePlan,
  Page,
  PageResult,
  PlanOrder,
} from '../../../src/machines/messages.ts';
import type { BudgetRule } from '../../../src/machines/rate-limiter/quota-window.ts';
import { rateLimiterMachine } from '../../../src/machines/rate-limiter/rate-limiter.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { limiterInput } from './quota-world.ts';

export interface SystemOptions extends Partial<Omit<CoordinatorInput, 'limiter' | 'runId' | 'scopes'>> {
  /** Slices of one page each. Default 10. */
  readonly slices?: number;
  readonly rules?: readonly BudgetRule[];
  /** Pages the plan hands over at a time; by default as many as it is asked for. */
  readonly planChunk?: number;
}

export const startOf = (index: number): Page => ({
  sliceId: `s${index}`,
  startRow: 0,
  attempts: 0,
  callFailures: 0,
});

/** A call under way, as `fetchBatch` would make it. */
export class Call {
  readonly input: FetchBatchInput;
  readonly #sendBack: (event: CallEvent) => void;
  aborted = false;
  ended = false;

  constructor(input: FetchBatchInput, sendBack: (event: CallEvent) => void) {
    this.input = input;
    this.#sendBack = sendBack;
  }

  get ids(): readonly string[] {
    return this.input.pages.map(({ sliceId }) => sliceId);
  }

  say(event: CallEvent): void {
    this.#sendBack(event);
  }

  end(outcome: CallOutcome): void {
    this.ended = true;
    this.say({ type: 'call.ended', outcome, chance: 0.5 });
  }

  /** Answers every page: committed and sealed, unless `resultOf` says otherwise. */
  answer(resultOf: (page: Page) => PageResult = () => committed()): void {
    for (const page of this.input.pages) {
      const result = resultOf(page);
      this.say({ type: 'call.settled', tokens: 1, accepted: result.kind === 'refused' ? 0 : 1, graceMs: 0 });
      this.say({ type: 'call.page', sliceId: page.sliceId, startRow: page.startRow, result });
    }
    this.end({ kind: 'answered' });
  }

  /** Ends without an answer; the requests may still be on their way. */
  fail(outcome: CallOutcome = { kind: 'failed', reason: 'reset' }): void {
    this.say({ type: 'call.settled', tokens: this.input.pages.length, accepted: 0, graceMs: 70_000 });
    this.end(outcome);
  }
}

export const committed = (next: AfterPage = { kind: 'sealed' }, rows = 5): PageResult => ({
  kind: 'committed',
  rows,
  next,
});
export const failed = (final = false): PageResult => ({ kind: 'failed', reason: 'truncated', final });

/** A promise that the test settles. */
export interface Pending<Input, Output> {
  readonly input: Input;
  resolve(output: Output): Promise<void>;
  reject(): Promise<void>;
}

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function createPending<Input, Output>(list: Pending<Input, Output>[], input: Input): Promise<Output> {
  return new Promise<Output>((resolve, reject) => {
    list.push({
      input,
      resolve(output) {
        resolve(output);
        return nextTurn();
      },
      reject() {
        reject(new Error('no'));
        return nextTurn();
      },
    });
  });
}

export class MachineSystem {
  readonly clock = new ManualClock();
  readonly limiter: ActorRefFrom<typeof rateLimiterMachine>;
  readonly coordinator: ActorRefFrom<typeof coordinatorMachine>;
  /** Every call that was ever started. */
  readonly calls: Call[] = [];
  readonly probes: Pending<undefined, void>[] = [];
  readonly reapers: Pending<ReapInput, ReapOutput>[] = [];
  readonly emitted: CoordinatorEmitted[] = [];
  /** What the plan was asked for and has not answered. */
  readonly planOrders: number[] = [];
  /** The plan answers at once; switch off to answer by `supply`. */
  planAnswers = true;
  supplied = 0;
  /** So many of the next calls throw as they start. */
  throwingCalls = 0;
  readonly #slices: number;
  readonly #planChunk: number;
  #sendPlan: (pages: readonly Page[], more: MorePlan) => void = () => {};
  failPlan: () => void = () => {};

  constructor(options: SystemOptions = {}) {
    const { slices = 10, rules = [], planChunk = Number.POSITIVE_INFINITY, ...input } = options;
    this.#slices = slices;
    this.#planChunk = planChunk;
    const { clock } = this;
    this.limiter = createActor(rateLimiterMachine, { input: limiterInput(rules), clock });
    const backoff = { baseMs: 1_000, maxMs: 60_000 };
    this.coordinator = createActor(this.#machine(), {
      clock,
      input: {
        runId: 'run',
        limiter: this.limiter,
        scopes: ['site:a'],
        maxConcurrency: 2,
        batchSize: 4,
        maxAttempts: 3,
        maxConsecutiveCallFailures: 10,
        callFailuresOfOutage: 3,
        soundAnswers: 3,
        maxGoogleProbes: 21,
        googleBackoff: backoff,
        maxWorkerRestarts: 2,
        maxDatabaseProbes: 3,
        haltDeadlineMs: 5_000,
        finishDeadlineMs: 180_000,
        retryBackoff: backoff,
        callBackoff: backoff,
        probeBackoff: backoff,
        ...input,
      },
    });
    this.coordinator.on('*', (event) => this.emitted.push(event));
    // Without an observer an unexpected error would end the test's process instead of the test.
    this.coordinator.subscribe({ error: () => {} });
    this.limiter.subscribe({ error: () => {} });
  }

  #machine() {
    const fetchBatch = fromCallback<CallOrder, FetchBatchInput>(({ input, sendBack, receive }) => {
      if (this.throwingCalls > 0) {
        this.throwingCalls -= 1;
        throw new Error('a bug in fetchBatch');
      }
      const call = new Call(input, sendBack);
      this.calls.push(call);
      receive(() => {
        call.aborted = true;
      });
    });
    return coordinatorMachine.provide({
      actors: {
        batchWorker: batchWorkerMachine.provide({ actors: { fetchBatch } }),
        loadPlan: fromCallback<PlanOrder>(({ sendBack, receive }) => {
          this.#sendPlan = (pages, more) => sendBack({ type: 'plan.supplied', pages, more });
          this.failPlan = () => {
            const outcome = { kind: 'databaseAway', reason: 'gone' };
            sendBack({ type: 'plan.failed', outcome, chance: 0.5 });
          };
          receive(({ count }) => {
            this.planOrders.push(count);
            if (this.planAnswers) this.supply();
          });
        }),
        probeDatabase: fromPromise<void>(() => createPending(this.probes, undefined)),
        reapWorker: fromPromise<ReapOutput, ReapInput>(({ input }) => createPending(this.reapers, input)),
      },
    });
  }

  start(): this {
    this.limiter.start();
    this.coordinator.start();
    return this;
  }

  /** Answers the plan's oldest open order; `more` is for when pages are left. */
  supply(more: MorePlan = 'whenLow'): void {
    const count = Math.min(this.planOrders.shift() ?? 0, this.#planChunk, this.#slices - this.supplied);
    const pages = Array.from({ length: count }, (_, index) => startOf(this.supplied + index));
    this.supplied += count;
    this.#sendPlan(pages, this.supplied < this.#slices ? more : 'none');
  }

  get snapshot() {
    return this.coordinator.getSnapshot();
  }

  /** Calls under way. */
  get open(): readonly Call[] {
    return this.calls.filter(({ ended }) => !ended);
  }

  slot(workerId: string) {
    const slot = this.snapshot.context.workers.find((worker) => worker.workerId === workerId);
    if (slot === undefined) throw new Error(`no worker ${workerId}`);
    return slot;
  }

  workerState(workerId: string): unknown {
    const worker = Reflect.get(this.snapshot.children, workerId)?.getSnapshot();
    return worker !== undefined && 'value' in worker ? worker.value : undefined;
  }

  /** A bug in the worker, wherever it is: reading the event throws. Nobody listens to its call any more. */
  crash(workerId: string): void {
    for (const call of this.open) if (call.input.workerId === workerId) call.ended = true;
    const poison = { type: 'tokens.granted' };
    for (const key of ['requestId', 'leaseId', 'tokens']) {
      Object.defineProperty(poison, key, {
        get() {
          throw new Error('a bug');
        },
      });
    }
    Reflect.get(this.snapshot.children, workerId)?.send(poison);
  }

  /** Answers calls and lets time pass, until the run has ended. */
  finish(resultOf?: (page: Page) => PageResult): void {
    for (let turn = 0; this.snapshot.status === 'active'; turn += 1) {
      if (turn > 10_000) throw new Error(`no end in sight: ${JSON.stringify(this.snapshot.value)}`);
      const [call] = this.open;
      if (call !== undefined) call.answer(resultOf);
      else this.clock.runUntil(() => this.open.length > 0 || this.snapshot.status !== 'active', 10_000);
      if (call === undefined && this.open.length === 0 && this.clock.pending.length === 0) break;
    }
  }

  /** Pages committed, by what was told to those who listen. Sorted; one that came twice is there twice. */
  get committed(): readonly string[] {
    return this.emitted.flatMap((event) => (event.type === 'page.committed' ? [event.sliceId] : [])).sort();
  }

  /** Every page there is: what a complete run has committed. */
  get all(): readonly string[] {
    return Array.from({ length: this.#slices }, (_, index) => `s${index}`).sort();
  }

  /** Pages that the coordinator still has, wherever. */
  get left(): readonly string[] {
    const { queues, workers } = this.snapshot.context;
    const pages = [
      ...queues.begun,
      ...queues.ahead,
      ...queues.delayed.flatMap((group) => group.pages),
      ...workers.flatMap((slot) => [...slot.pages, ...slot.retry]),
    ];
    return pages.map(({ sliceId }) => sliceId).sort();
  }

  stop(): void {
    this.coordinator.stop();
    this.limiter.stop();
  }
}
