/**
 * Breadth-first search through every reachable world. Each invariant is checked in each state, and from each state some
 * end must be reachable by everyday events alone. The search stops at the first state that breaks an invariant, so the
 * path to it is a shortest one.
 */
import type { ActorLogic, EventObject, Snapshot } from 'xstate';
import { StateStore } from './state-store.ts';
import type { WorldEvent } from './world.ts';

/** An invariant: a check of a single state. */
export interface InvariantOf<W, O> {
  /** Its number in the specification. */
  readonly number: number;
  readonly name: string;
  /** Whether it applies to this state. If absent, it applies to every state. */
  readonly applies?: (world: W, options: O) => boolean;
  /** @returns what is wrong, or undefined. */
  readonly check: (world: W, options: O) => string | undefined;
}

/** A model that can be explored: its states, the possible events in each, and its invariants. */
export interface Explorable<W extends Snapshot<unknown>, E extends EventObject, O> {
  readonly options: O;
  /** For `@xstate/graph`: `new TestModel(model.logic, model)`, `getShortestPaths(model.logic, model)`. */
  readonly logic: ActorLogic<W, E, undefined>;
  /** The possible next events. Empty in an end state. */
  readonly events: (world: W) => E[];
  /** Equal for equal worlds, within one model. */
  readonly serializeState: (world: W) => string;
  readonly invariants: readonly InvariantOf<W, O>[];
  /** Whether the run may rely on this event to come to an end. */
  readonly isEveryday: (event: E) => boolean;
  readonly isEnd: (world: W) => boolean;
}

export interface ExploreOptions {
  /** The search stops unfinished above this number of states. */
  readonly maxStates?: number;
  /** Called from time to time. */
  readonly onProgress?: (progress: { readonly states: number; readonly depth: number }) => void;
}

export interface Exploration<E = WorldEvent> {
  readonly states: number;
  readonly edges: number;
  readonly ends: number;
  /** Number of events on the longest shortest path. */
  readonly depth: number;
  /** Whether every reachable state was visited. */
  readonly finished: boolean;
  readonly evaluations: readonly {
    readonly number: number;
    readonly name: string;
    /** Number of states to which it applies. */
    readonly states: number;
  }[];
  /** What is wrong, with a shortest path to it. */
  readonly violation: Violation<E> | undefined;
}

export interface Violation<E = WorldEvent> {
  readonly invariant: number;
  readonly name: string;
  readonly what: string;
  readonly path: readonly E[];
  /** The same path, as the index of the event taken in each state: short enough to pass on, see `pathOf`. */
  readonly choices: readonly number[];
}

const PROGRESS_EVERY = 100_000;

export function explore<W extends Snapshot<unknown>, E extends EventObject, O>(
  model: Explorable<W, E, O>,
  { maxStates = 50_000_000, onProgress }: ExploreOptions = {},
): Exploration<E> {
  const search = new Search(model);
  let level = search.start();
  let depth = 0;
  while (level.length > 0 && search.violation === undefined && search.size < maxStates) {
    const next: Frontier<W>[] = [];
    for (const entry of level) {
      search.expand(entry, next);
      if (search.violation !== undefined || search.size >= maxStates) break;
      if (search.size % PROGRESS_EVERY === 0) onProgress?.({ states: search.size, depth });
    }
    if (next.length > 0) depth += 1;
    level = next;
  }
  const finished = level.length === 0 && search.violation === undefined;
  if (finished) search.findDeadEnd();
  return { ...search.result(), depth, finished };
}

interface Frontier<W> {
  readonly state: number;
  readonly world: W;
}

class Search<W extends Snapshot<unknown>, E extends EventObject, O> {
  readonly #model: Explorable<W, E, O>;
  readonly #store = new StateStore();
  readonly #evaluated: number[];
  readonly #ends: number[] = [];
  /** Edges of everyday events. Only these count for reaching an end. */
  readonly #from = new NumberList();
  readonly #to = new NumberList();
  #edges = 0;
  violation: Violation<E> | undefined;

  constructor(model: Explorable<W, E, O>) {
    this.#model = model;
    this.#evaluated = model.invariants.map(() => 0);
  }

  get size(): number {
    return this.#store.size;
  }

  start(): Frontier<W>[] {
    const world = this.#model.logic.getInitialSnapshot(NO_SCOPE, undefined);
    const { state } = this.#store.add(this.#model.serializeState(world), -1, 0);
    this.#judge(state, world);
    return [{ state, world }];
  }

  expand({ state, world }: Frontier<W>, next: Frontier<W>[]): void {
    for (const [index, event] of this.#model.events(world).entries()) {
      const following = this.#model.logic.transition(world, event, NO_SCOPE);
      const added = this.#store.add(this.#model.serializeState(following), state, index);
      this.#edges += 1;
      if (this.#model.isEveryday(event)) {
        this.#from.push(state);
        this.#to.push(added.state);
      }
      if (!added.isNew) continue;
      this.#judge(added.state, following);
      if (this.violation !== undefined) return;
      next.push({ state: added.state, world: following });
    }
  }

  /** A state from which no everyday events lead to an end is a dead end, or leads into one. */
  findDeadEnd(): void {
    const reaches = reachBackwards(this.#store.size, this.#from, this.#to, this.#ends);
    const stuck = reaches.indexOf(0);
    if (stuck === -1) return;
    this.violation = this.#violationAt(
      stuck,
      6,
      'from every state an end is reachable',
      'no end is reachable from here',
    );
  }

  result(): Omit<Exploration<E>, 'depth' | 'finished'> {
    return {
      states: this.#store.size,
      edges: this.#edges,
      ends: this.#ends.length,
      evaluations: this.#model.invariants.map(({ number, name }, index) => ({
        number,
        name,
        states: this.#evaluated[index] ?? 0,
      })),
      violation: this.violation,
    };
  }

  #judge(state: number, world: W): void {
    if (this.#model.isEnd(world)) this.#ends.push(state);
    const { options, invariants } = this.#model;
    for (const [index, { number, name, applies, check }] of invariants.entries()) {
      if (applies?.(world, options) === false) continue;
      this.#evaluated[index] = (this.#evaluated[index] ?? 0) + 1;
      const what = check(world, options);
      if (what === undefined) continue;
      this.violation = this.#violationAt(state, number, name, what);
      return;
    }
  }

  #violationAt(state: number, invariant: number, name: string, what: string): Violation<E> {
    const choices = this.#store.pathTo(state);
    return { invariant, name, what, path: pathOf(this.#model, choices), choices };
  }
}

/** The events of a path given as event indexes. */
export function pathOf<W extends Snapshot<unknown>, E extends EventObject, O>(
  model: Explorable<W, E, O>,
  choices: readonly number[],
): readonly E[] {
  const path: E[] = [];
  let world = model.logic.getInitialSnapshot(NO_SCOPE, undefined);
  for (const choice of choices) {
    const event = model.events(world)[choice];
    if (event === undefined) throw new Error('a path cannot be replayed');
    path.push(event);
    world = model.logic.transition(world, event, NO_SCOPE);
  }
  return path;
}

/** 1 for every state from which one of `ends` is reachable. */
function reachBackwards(size: number, from: NumberList, to: NumberList, ends: readonly number[]): Uint8Array {
  const first = new Uint32Array(size + 1);
  for (let edge = 0; edge < to.length; edge += 1) {
    const at = to.at(edge) + 1;
    first[at] = (first[at] ?? 0) + 1;
  }
  for (let state = 0; state < size; state += 1)
    first[state + 1] = (first[state + 1] ?? 0) + (first[state] ?? 0);
  const place = first.slice(0, size);
  const sources = new Uint32Array(to.length);
  for (let edge = 0; edge < to.length; edge += 1) {
    const target = to.at(edge);
    const at = place[target] ?? 0;
    sources[at] = from.at(edge);
    place[target] = at + 1;
  }
  const reaches = new Uint8Array(size);
  const stack = [...ends];
  for (const end of ends) reaches[end] = 1;
  for (let state = stack.pop(); state !== undefined; state = stack.pop()) {
    for (let at = first[state] ?? 0; at < (first[state + 1] ?? 0); at += 1) {
      const source = sources[at] ?? 0;
      if (reaches[source] === 1) continue;
      reaches[source] = 1;
      stack.push(source);
    }
  }
  return reaches;
}

/** Numbers in chunks: growing to tens of millions needs no copy. */
class NumberList {
  static readonly #CHUNK = 1 << 20;
  readonly #chunks: Uint32Array[] = [];
  length = 0;

  push(value: number): void {
    const within = this.length % NumberList.#CHUNK;
    if (within === 0) this.#chunks.push(new Uint32Array(NumberList.#CHUNK));
    const chunk = this.#chunks.at(-1);
    if (chunk !== undefined) chunk[within] = value;
    this.length += 1;
  }

  at(index: number): number {
    return this.#chunks[Math.floor(index / NumberList.#CHUNK)]?.[index % NumberList.#CHUNK] ?? 0;
  }
}

/** The world's logic needs no actor around it. */
const NO_SCOPE = undefined as never;
