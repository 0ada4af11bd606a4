/**
 * A server that does `knee` calls at full speed, and no more work than that however many there are; workers that keep as
 * many calls under way as they may; and the real controller, on a clock that stands still until the next thing happens.
 */

import { createActor } from 'xstate';
import { concurrencyControllerMachine } from '../../../src/machines/concurrency/concurrency-controller.ts';
import type { ConcurrencyDecision } from '../../../src/machines/concurrency/context.ts';
import type { ControlEvent } from '../../../src/machines/messages.ts';
import { chances } from '../../support/chance.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { createBystander } from './refs.ts';

export interface ConcurrencyPlan {
  readonly seed: number;
  readonly knee: number;
  /** A call's duration when it is not crowded, and by what share it varies either way. */
  readonly latencyMs: number;
  readonly jitter: number;
  /** Calls that there are to do. */
  readonly calls: number;
  readonly start: number;
  readonly most: number;
  readonly soakMs: number;
  readonly slowStart: boolean;
  /** Refuses a call that is not alone among so many. Default: none. */
  readonly refuseAbove?: () => number;
  readonly quotaShare?: () => number;
}

interface Call {
  readonly callId: string;
  readonly beganMs: number;
  readonly isRefused: boolean;
  /** What is left of its duration, were it not crowded. */
  leftMs: number;
}

const BATCH = 50;
const ROWS = 25_000;

export class ConcurrencyWorld {
  readonly clock = new ManualClock();
  readonly decisions: ConcurrencyDecision[] = [];
  /** What the coordinator was told to allow, at any time. */
  readonly levels: number[];
  /** Level × time, and time, since the last look. */
  #levelMs = 0;
  #lookedMs = 0;
  refusals = 0;
  level: number;
  readonly #plan: ConcurrencyPlan;
  readonly #chance: () => number;
  readonly #coordinator = createBystander<ControlEvent>('coordinator', ({ event }) => {
    if (event.type !== 'concurrency.change') throw new Error(`the coordinator is told ${event.type}`);
    this.level = event.maxConcurrency;
    this.levels.push(event.maxConcurrency);
  });
  readonly controller;
  #calls: Call[] = [];
  #begun = 0;

  constructor(plan: ConcurrencyPlan) {
    const { start, most, soakMs, slowStart, seed } = plan;
    this.#plan = plan;
    this.#chance = chances(seed);
    this.level = start;
    this.levels = [start];
    this.controller = createActor(concurrencyControllerMachine, {
      input: { coordinator: this.#coordinator.ref, start, most, soakMs, slowStart, batchSize: BATCH },
      clock: this.clock,
    });
    this.controller.on('concurrency.decided', (decision) => this.decisions.push(decision));
    this.controller.start();
  }

  get isDone(): boolean {
    return this.#calls.length === 0 && this.#begun >= this.#plan.calls;
  }

  /** Goes on for so many calls, or to the end. */
  run(calls = Number.POSITIVE_INFINITY): this {
    for (let ended = 0; ended < calls; ended += 1) {
      while (this.#calls.length < this.level && this.#begun < this.#plan.calls) this.#begin();
      if (this.#calls.length === 0) break;
      this.#endNext();
    }
    return this;
  }

  /** The mean level over the time since the last look. */
  meanLevel(): number {
    const mean = this.#levelMs / (this.clock.now() - this.#lookedMs);
    this.#levelMs = 0;
    this.#lookedMs = this.clock.now();
    return mean;
  }

  #begin(): void {
    const { latencyMs, jitter, refuseAbove, quotaShare } = this.#plan;
    this.#begun += 1;
    const callId = `call ${this.#begun}`;
    const isRefused = this.#calls.length + 1 > (refuseAbove?.() ?? Number.POSITIVE_INFINITY);
    const leftMs = isRefused ? latencyMs / 10 : latencyMs * (1 + jitter * (2 * this.#chance() - 1));
    this.#calls.push({ callId, beganMs: this.clock.now(), isRefused, leftMs });
    this.controller.send({ type: 'call.began', callId, pages: BATCH, quotaShare: quotaShare?.() ?? 0 });
  }

  #endNext(): void {
    const speed = Math.min(1, this.#plan.knee / this.#calls.length);
    const next = this.#calls.reduce((a, b) => (b.leftMs < a.leftMs ? b : a));
    const passed = next.leftMs;
    for (const call of this.#calls) call.leftMs -= passed;
    this.#levelMs += (this.level * passed) / speed;
    this.clock.advance(passed / speed);
    this.#calls = this.#calls.filter((call) => call !== next);
    const { callId, beganMs, isRefused } = next;
    if (isRefused) {
      this.refusals += 1;
      this.controller.send({ type: 'call.refused', callId, detail: 'qps' });
    }
    const done = isRefused ? { pages: 0, rows: 0 } : { pages: BATCH, rows: ROWS };
    const durationMs = this.clock.now() - beganMs;
    const moreToDo = this.#begun < this.#plan.calls;
    this.controller.send({ type: 'call.ended', callId, ...done, durationMs, moreToDo });
  }

  close(): void {
    this.controller.stop();
    this.#coordinator.stop();
  }
}
