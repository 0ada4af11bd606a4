/**
 * Virtual time. Events are taken one by one from a queue; between two of them Node takes one turn of its loop, which
 * runs every promise that has become ready, and complains about every rejection that nobody handles, as it would in
 * production. No real time passes but that of the work itself.
 */
import type { Clock } from '../../src/domain/clock.ts';
import type { Chance } from './chance.ts';
import type { Judge } from './judge.ts';

/** Whom an event is for. Nothing reaches one that is dead. */
export interface Owner {
  readonly isAlive: boolean;
  readonly frozenUntil: number;
}

export interface Scheduled {
  at: number;
  readonly order: number;
  readonly owner: Owner | undefined;
  run: (() => void) | undefined;
}

/** Why `until` came back. `idle`: nothing will ever happen again. */
export type Reached = 'done' | 'idle' | 'tooLong' | 'failed';

export class World {
  readonly judge: Judge;
  /** Milliseconds since 1970. */
  now: number;
  steps = 0;
  readonly #heap: Scheduled[] = [];
  #order = 0;

  constructor(startMs: number, judge: Judge) {
    this.now = startMs;
    this.judge = judge;
  }

  after(delayMs: number, run: () => void, owner?: Owner): Scheduled {
    this.#order += 1;
    const event = { at: this.now + Math.max(0, delayMs), order: this.#order, owner, run };
    push(this.#heap, event);
    return event;
  }

  /** Resolves so much later, for as long as its owner lives. */
  sleep(delayMs: number, owner?: Owner): Promise<void> {
    return new Promise((resolve) => void this.after(delayMs, resolve, owner));
  }

  /** Runs events until `isDone`, at most `limitMs` of simulated time and `limitSteps` events. */
  async until(isDone: () => boolean, limitMs: number, limitSteps: number): Promise<Reached> {
    const endsAt = this.now + limitMs;
    const lastStep = this.steps + limitSteps;
    await turn();
    for (;;) {
      if (this.judge.hasFailed) return 'failed';
      if (isDone()) return 'done';
      const event = pop(this.#heap);
      if (event === undefined) return 'idle';
      const { run } = event;
      if (run === undefined || event.owner?.isAlive === false) continue;
      if (event.owner !== undefined && event.owner.frozenUntil > Math.max(this.now, event.at)) {
        event.at = event.owner.frozenUntil;
        push(this.#heap, event);
        continue;
      }
      if (event.at > endsAt || this.steps >= lastStep) {
        push(this.#heap, event);
        if (event.at > endsAt) this.now = Math.max(this.now, endsAt);
        return 'tooLong';
      }
      this.now = Math.max(this.now, event.at);
      this.steps += 1;
      try {
        run();
      } catch (error) {
        this.judge.fail('nothing throws', describe(error));
      }
      await turn();
    }
  }

  /** Lets so much time pass. */
  async advance(ms: number): Promise<void> {
    const endsAt = this.now + ms;
    const reached = await this.until(() => false, ms, Number.POSITIVE_INFINITY);
    if (reached === 'idle') this.now = endsAt;
  }
}

/** One turn of Node's loop: when it is over, no promise that is ready is left waiting. */
function turn(): Promise<void> {
  return new Promise((resolve) => void setImmediate(resolve));
}

export const describe = (error: unknown): string =>
  error instanceof Error ? (error.stack ?? error.message) : String(error);

/** The simulated time of day, for a trace. */
export const stamp = (atMs: number): string => new Date(atMs).toISOString();

/** The longest delay that Node's timers take; a longer one fires at once. */
const LONGEST_DELAY_MS = 2_147_483_647;

/**
 * The clock of one process: timers go by the world's time, early or late as real ones are, and end with the process.
 * The time of day may be wrong, and jumps.
 */
export class ProcessClock implements Clock {
  readonly #world: World;
  readonly #owner: Owner;
  readonly #chance: Chance;
  readonly #sloppiness: number;
  wrongByMs = 0;

  constructor(world: World, owner: Owner, chance: Chance, sloppiness: number) {
    this.#world = world;
    this.#owner = owner;
    this.#chance = chance;
    this.#sloppiness = sloppiness;
  }

  now(): number {
    return Math.floor(this.#world.now + this.wrongByMs);
  }

  random(): number {
    return this.#chance.next();
  }

  setTimeout(callback: () => void, delayMs: number): Scheduled {
    // As Node does it: at least one millisecond, and one for what is no delay at all.
    let fires = delayMs >= 1 && delayMs <= LONGEST_DELAY_MS ? Math.trunc(delayMs) : 1;
    if (this.#chance.is(this.#sloppiness)) {
      fires += this.#chance.is(0.5) ? -this.#chance.between(0, 0.7) : this.#chance.scale(0.1, 2_000);
    }
    return this.#world.after(fires, callback, this.#owner);
  }

  clearTimeout(handle: unknown): void {
    // What `setTimeout` gave out, or undefined.
    const scheduled = handle as Scheduled | undefined;
    if (scheduled !== undefined) scheduled.run = undefined;
  }
}

const isBefore = (one: Scheduled, other: Scheduled): boolean =>
  one.at < other.at || (one.at === other.at && one.order < other.order);

function push(heap: Scheduled[], event: Scheduled): void {
  let at = heap.length;
  heap.push(event);
  while (at > 0) {
    const above = (at - 1) >> 1;
    const parent = heap[above];
    if (parent === undefined || !isBefore(event, parent)) break;
    heap[at] = parent;
    at = above;
  }
  heap[at] = event;
}

function pop(heap: Scheduled[]): Scheduled | undefined {
  const first = heap[0];
  const last = heap.pop();
  if (first === undefined || last === undefined || heap.length === 0) return first;
  let at = 0;
  for (;;) {
    let below = 2 * at + 1;
    let child = heap[below];
    if (child === undefined) break;
    const right = heap[below + 1];
    if (right !== undefined && isBefore(right, child)) {
      below += 1;
      child = right;
    }
    if (!isBefore(child, last)) break;
    heap[at] = child;
    at = below;
  }
  heap[at] = last;
  return first;
}
