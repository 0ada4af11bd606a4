/**
 * A simulated network: the port to HTTP with latency, loss before and after arrival, resets at any byte, bodies cut
 * short, slow trickles and silences. Connect and first-byte timeouts are the transport's own, as in production.
 */
import {
  type HttpAnswer,
  type HttpRequest,
  type SendOptions,
  type Transport,
  TransportError,
  type TransportErrorKind,
  type TransportPhase,
} from '../../src/search-console/http/transport.ts';
import { Chance } from './chance.ts';
import type { Process } from './process.ts';
import type { Fault, Scenario } from './scenario.ts';
import type { HttpReply, SearchConsole } from './search-console.ts';
import { type Scheduled, stamp, type World } from './world.ts';

export const CONNECT_TIMEOUT_MS = 10_000;
export const FIRST_BYTE_TIMEOUT_MS = 120_000;

/** What the checks want to know of calls as they happen. */
export interface CallWatch {
  started(process: Process): void;
  ended(process: Process): void;
}

export class Network {
  readonly #world: World;
  readonly #scenario: Scenario;
  readonly #chance: Chance;
  readonly #server: SearchConsole;
  readonly #watch: CallWatch;
  isHealed = false;
  /** Calls that came to nothing, by fault. */
  failures = 0;

  constructor(world: World, scenario: Scenario, server: SearchConsole, watch: CallWatch) {
    this.#world = world;
    this.#scenario = scenario;
    this.#server = server;
    this.#watch = watch;
    this.#chance = new Chance(scenario.seed, 'network');
  }

  transportOf(process: Process): Transport {
    return { send: (request, options) => this.#send(process, request, options) };
  }

  #is(fault: Fault): boolean {
    const strikes = !this.isHealed && this.#chance.is(this.#scenario.faults[fault] ?? 0);
    if (strikes) this.failures += 1;
    return strikes;
  }

  /** Mostly near the scenario's latency, sometimes far above: answers overtake each other. */
  #latencyMs(): number {
    const { latencyMs } = this.#scenario;
    return latencyMs * (this.#chance.is(0.1) ? this.#chance.scale(1, 10) : this.#chance.between(0.5, 1.5));
  }

  #send(process: Process, request: HttpRequest, options: SendOptions): Promise<HttpAnswer> {
    const call = new Call(this.#world, process, options, this.#watch);
    call.startDeadline('connect', CONNECT_TIMEOUT_MS);
    if (options.signal.aborted) call.fail('aborted', 'the request was aborted');
    else if (this.#is('connectRefused')) call.after(this.#latencyMs(), () => call.fail('connect', 'refused'));
    else if (this.#is('tlsFailure'))
      call.after(this.#latencyMs(), () => call.fail('tls', 'a bad certificate'));
    else call.after(this.#latencyMs() * 2, () => this.#connected(call, process, request, options));
    return call.answer;
  }

  #connected(call: Call, process: Process, request: HttpRequest, options: SendOptions): void {
    call.phase = 'firstByte';
    call.startDeadline('firstByte', FIRST_BYTE_TIMEOUT_MS);
    options.onFirstByteOut?.();
    if (this.#is('lostRequest')) return;
    if (this.#is('resetBeforeArrival')) {
      call.after(this.#latencyMs(), () => call.fail('reset', 'the connection broke'));
      return;
    }
    // However late, its bytes are there before the timeout; what happens to us meanwhile does not call them back.
    const longest = FIRST_BYTE_TIMEOUT_MS - 1;
    const travelMs = this.#is('lateRequest') ? this.#chance.between(1_000, longest) : this.#latencyMs();
    this.#world.after(Math.min(longest, travelMs), () => {
      const reply = this.#server.arrive(request, process, this.#world.now);
      if (this.#is('lostAnswer')) return;
      if (this.#is('resetAfterArrival')) {
        call.after(this.#latencyMs(), () => call.fail('reset', 'the connection broke'));
        return;
      }
      call.after(reply.thinkMs + this.#latencyMs(), () => this.#answered(call, reply));
    });
  }

  #answered(call: Call, reply: HttpReply): void {
    const { status, headers, body } = reply;
    const at = this.#chance.below(body.length + 1);
    const plan: BodyPlan = {
      bytes: body,
      chunkBytes: this.#chunkBytes(body.length),
      gapMs: this.#scenario.latencyMs / 10,
      end: 'whole',
      silentFrom: null,
    };
    if (this.#is('resetInBody'))
      call.open(status, headers, { ...plan, bytes: body.subarray(0, at), end: 'reset' });
    else if (this.#is('cutBody')) call.open(status, headers, { ...plan, bytes: body.subarray(0, at) });
    else if (this.#is('stall')) call.open(status, headers, { ...plan, silentFrom: at });
    else if (this.#is('trickle')) {
      call.open(status, headers, {
        ...plan,
        chunkBytes: Math.ceil(body.length / 20),
        gapMs: this.#chance.between(1_000, 50_000),
      });
    } else call.open(status, headers, plan);
  }

  #chunkBytes(length: number): number {
    return Math.max(1, this.#chance.pick([length, length, Math.ceil(length / 3), 61]));
  }
}

interface BodyPlan {
  readonly bytes: Uint8Array;
  readonly chunkBytes: number;
  readonly gapMs: number;
  readonly end: 'whole' | 'reset';
  /** Byte after which nothing comes any more, though the connection stands. */
  readonly silentFrom: number | null;
}

/** One call as its sender has it. */
class Call {
  readonly answer: Promise<HttpAnswer>;
  phase: TransportPhase = 'connect';
  readonly #world: World;
  readonly #process: Process;
  readonly #signal: AbortSignal;
  readonly #watch: CallWatch;
  readonly #settle: PromiseWithResolvers<HttpAnswer>;
  readonly #onAbort = () => this.fail('aborted', 'the request was aborted');
  #deadline: Scheduled | undefined;
  #failure: TransportError | undefined;
  #isOver = false;
  /** Rejects the read under way. */
  #interrupt: ((error: TransportError) => void) | undefined;

  constructor(world: World, process: Process, { signal }: SendOptions, watch: CallWatch) {
    this.#world = world;
    this.#process = process;
    this.#signal = signal;
    this.#watch = watch;
    this.#settle = Promise.withResolvers<HttpAnswer>();
    this.answer = this.#settle.promise;
    watch.started(process);
    signal.addEventListener('abort', this.#onAbort, { once: true });
  }

  /** Something that reaches this call, unless it is over by then. */
  after(delayMs: number, run: () => void): void {
    this.#world.after(
      delayMs,
      () => {
        if (!this.#isOver) run();
      },
      this.#process,
    );
  }

  startDeadline(phase: 'connect' | 'firstByte', timeoutMs: number): void {
    this.#stopDeadline();
    this.#deadline = this.#world.after(
      timeoutMs,
      () => this.fail('timeout', phase === 'connect' ? 'no connection' : 'no answer'),
      this.#process,
    );
  }

  fail(kind: TransportErrorKind, message: string): void {
    if (this.#isOver) return;
    const { judge, now } = this.#world;
    if (judge.isTracing)
      judge.tell(`${stamp(now)}   a call of ${this.#process.name} fails: ${kind}, ${message}`);
    this.#failure = new TransportError(kind, this.phase, this.phase !== 'connect', message);
    this.#end();
    this.#settle.reject(this.#failure);
    this.#interrupt?.(this.#failure);
  }

  open(status: number, headers: Readonly<Record<string, string>>, plan: BodyPlan): void {
    this.#stopDeadline();
    this.phase = 'body';
    this.#settle.resolve({ status, headers, body: this.#body(plan) });
  }

  #stopDeadline(): void {
    if (this.#deadline !== undefined) this.#deadline.run = undefined;
  }

  #end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#stopDeadline();
    this.#signal.removeEventListener('abort', this.#onAbort);
    this.#watch.ended(this.#process);
  }

  async *#body(plan: BodyPlan): AsyncGenerator<Uint8Array, void, void> {
    try {
      for (let at = 0; at < plan.bytes.length || plan.silentFrom !== null; at += plan.chunkBytes) {
        const isSilent = plan.silentFrom !== null && at >= plan.silentFrom;
        await this.#wait(isSilent ? Number.POSITIVE_INFINITY : plan.gapMs);
        yield plan.bytes.slice(at, at + plan.chunkBytes);
      }
      await this.#wait(plan.gapMs);
      if (plan.end === 'reset') throw new TransportError('reset', 'body', true, 'the connection broke');
    } finally {
      this.#end();
    }
  }

  #wait(delayMs: number): Promise<void> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      this.#interrupt = reject;
      if (delayMs < Number.POSITIVE_INFINITY) this.after(delayMs, resolve);
    });
  }
}
