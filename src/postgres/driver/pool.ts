import { systemClock } from '../../domain/clock.ts';
import { within } from '../../domain/wait.ts';
import { lost } from '../../internals/socket.ts';
import { isNoRoom } from './no-room.ts';

/** What the pool needs to know about a connection. */
export interface Pooled {
  readonly isUp: boolean;
  readonly bytesMoved: number;
  /** Resolves when nothing more can be sent. */
  readonly ended: Promise<void>;
  destroy(reason: Error): void;
  end(): Promise<void>;
}

export interface PoolTimes {
  /** Maximum wait for a connection. */
  readonly waitMs: number;
  /** Maximum time without a byte in either direction on a connection in use. */
  readonly silenceMs: number;
  /** How long an unused connection is kept open. */
  readonly idleMs: number;
  /** How long to keep trying a server that has no room for even one connection. */
  readonly roomMs: number;
}

export const POOL_TIMES: PoolTimes = { waitMs: 60_000, silenceMs: 75_000, idleMs: 60_000, roomMs: 10_000 };

interface Waiter<L> {
  readonly resolve: (line: L) => void;
  readonly reject: (error: unknown) => void;
  readonly timer: NodeJS.Timeout;
}

/** How the caller will use a connection. */
export interface Use {
  /** Maximum time during which the server may send nothing. */
  readonly silenceMs?: number;
  /** Called when others wait and no other connection is left: the user can do without it, and returns it soon. */
  readonly whenWanted?: () => void;
  /** Served before other waiting callers: the work is short, and other processes depend on it. */
  readonly isUrgent?: boolean;
}

/** A connection in use, and the number of ticks since a byte last moved on it. */
interface InUse {
  readonly most: number;
  readonly whenWanted: (() => void) | undefined;
  moved: number;
  stillTicks: number;
}

/** Ticks per allowed time. Counting ticks instead of time lets a process that was suspended first read what arrived meanwhile. */
const TICKS = 5;
const FIRST_RAISE_MS = 1_000;
const LAST_RAISE_MS = 60_000;
const ROOM_RETRY_MS = 250;

/**
 * At most `max` connections, opened on demand. A caller gets a free or a new connection, whichever comes first.
 *
 * A database may allow fewer connections than wanted. As long as one works, a refused or missing connection shrinks the
 * pool to those that exist, and no work fails. The pool tries to grow by one again after 1 s, 2 s, … up to a minute. Only
 * when no connection is left do waiting callers get the error.
 *
 * A silent connection is ended even if the system reports no error: no query waits forever. The time is counted in
 * ticks, and every byte in either direction restarts it, including bytes that COPY sends.
 */
export class Pool<L extends Pooled> {
  readonly #open: (signal: AbortSignal) => Promise<L>;
  readonly #times: PoolTimes;
  readonly #lines = new Set<L>();
  readonly #idle = new Map<L, number>();
  readonly #inUse = new Map<L, InUse>();
  readonly #waiting: Waiter<L>[] = [];
  readonly #opening = new Set<AbortController>();
  #max: number;
  #width: number;
  #raiseMs = FIRST_RAISE_MS;
  #raiseTimer: NodeJS.Timeout | undefined;
  #noRoomSince: number | undefined;
  #ticker: NodeJS.Timeout | undefined;
  #closing: Promise<void> | undefined;
  #emptied: (() => void) | undefined;

  constructor(max: number, open: (signal: AbortSignal) => Promise<L>, times: PoolTimes = POOL_TIMES) {
    this.#max = max;
    this.#width = max;
    this.#open = open;
    this.#times = times;
  }

  get isClosed(): boolean {
    return this.#closing !== undefined;
  }

  resize(max: number): void {
    this.#max = Math.max(1, max);
    this.#width = this.#max;
    this.#grow();
  }

  async take({ silenceMs = this.#times.silenceMs, whenWanted, isUrgent = false }: Use = {}): Promise<L> {
    if (this.#closing !== undefined) throw lost('CONNECTION_ENDED', 'the connections have been closed');
    const line = this.#idleLine() ?? (await this.#wait(isUrgent));
    const most = Math.max(TICKS, Math.ceil((silenceMs / this.#times.silenceMs) * TICKS));
    this.#inUse.set(line, { most, whenWanted, moved: line.bytesMoved, stillTicks: 0 });
    // Others may have been waiting before this connection was known to be returnable.
    this.#askBack();
    return line;
  }

  give(line: L): void {
    this.#inUse.delete(line);
    if (this.#closing === undefined) this.#hand(line);
    else if (line.isUp) void line.end();
    this.#tellEmptied();
  }

  /** Ends unused connections immediately, and the others when they are returned, at the latest after `timeoutMs`. */
  close(timeoutMs: number): Promise<void> {
    this.#closing ??= this.#close(timeoutMs);
    return this.#closing;
  }

  async #close(timeoutMs: number): Promise<void> {
    clearTimeout(this.#raiseTimer);
    clearInterval(this.#ticker);
    const reason = lost('CONNECTION_ENDED', 'the connections have been closed');
    for (const opening of this.#opening) opening.abort();
    for (const waiter of this.#waiting.splice(0)) this.#refuse(waiter, reason);
    for (const line of this.#idle.keys()) void line.end();
    if (this.#inUse.size > 0) {
      const emptied = new Promise<void>((resolve) => {
        this.#emptied = resolve;
      });
      await within(systemClock, timeoutMs, emptied);
    }
    for (const line of this.#inUse.keys()) line.destroy(reason);
    await Promise.all([...this.#lines].map(({ ended }) => ended));
  }

  #tellEmptied(): void {
    if (this.#inUse.size === 0) this.#emptied?.();
  }

  #idleLine(): L | undefined {
    // The one used last, so that surplus connections become idle for long.
    for (const line of [...this.#idle.keys()].reverse()) {
      this.#idle.delete(line);
      if (line.isUp) return line;
    }
    return undefined;
  }

  #wait(isUrgent: boolean): Promise<L> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.splice(this.#waiting.indexOf(waiter), 1);
        reject(lost('CONNECT_TIMEOUT', 'no connection was free in time'));
      }, this.#times.waitMs);
      const waiter: Waiter<L> = { resolve, reject, timer };
      if (isUrgent) this.#waiting.unshift(waiter);
      else this.#waiting.push(waiter);
      this.#grow();
      this.#askBack();
    });
  }

  /** When every connection is held by users that can do without, waiting callers would wait forever. */
  #askBack(): void {
    if (this.#waiting.length === 0 || this.#opening.size > 0 || this.#idle.size > 0) return;
    const uses = [...this.#inUse.values()];
    if (uses.length < this.#lines.size || uses.some(({ whenWanted }) => whenWanted === undefined)) return;
    for (const { whenWanted } of uses) whenWanted?.();
  }

  #refuse({ reject, timer }: Waiter<L>, error: unknown): void {
    clearTimeout(timer);
    reject(error);
  }

  #hand(line: L): void {
    if (!line.isUp) return;
    const waiter = this.#waiting.shift();
    if (waiter === undefined) {
      this.#idle.set(line, 0);
      return;
    }
    clearTimeout(waiter.timer);
    waiter.resolve(line);
  }

  #grow(): void {
    if (this.#closing !== undefined) return;
    const most = Math.min(this.#width, this.#max);
    while (this.#waiting.length > this.#opening.size && this.#lines.size + this.#opening.size < most) {
      void this.#openOne();
    }
  }

  async #openOne(): Promise<void> {
    const opening = new AbortController();
    this.#opening.add(opening);
    try {
      const line = await this.#open(opening.signal);
      this.#opening.delete(opening);
      if (this.#closing !== undefined) {
        void line.end();
        return;
      }
      this.#noRoomSince = undefined;
      this.#raiseMs = FIRST_RAISE_MS;
      this.#admit(line);
      this.#hand(line);
    } catch (error) {
      this.#opening.delete(opening);
      if (this.#closing === undefined) this.#failed(error);
    }
  }

  #admit(line: L): void {
    this.#lines.add(line);
    void line.ended.then(() => {
      this.#lines.delete(line);
      this.#idle.delete(line);
      if (this.#lines.size === 0) {
        clearInterval(this.#ticker);
        this.#ticker = undefined;
      }
      this.#grow();
    });
    this.#ticker ??= setInterval(() => this.#tick(), this.#times.silenceMs / TICKS).unref();
  }

  #failed(error: unknown): void {
    if (this.#lines.size > 0) {
      this.#width = Math.max(1, this.#lines.size + this.#opening.size);
      this.#raiseLater(this.#raiseMs);
      this.#raiseMs = Math.min(LAST_RAISE_MS, this.#raiseMs * 2);
      this.#askBack();
      return;
    }
    if (isNoRoom(error)) {
      this.#noRoomSince ??= performance.now();
      if (performance.now() - this.#noRoomSince < this.#times.roomMs) {
        this.#width = 1;
        this.#raiseLater(ROOM_RETRY_MS);
        return;
      }
    }
    this.#noRoomSince = undefined;
    // Another connection that is being opened may still succeed.
    if (this.#opening.size > 0) return;
    for (const waiter of this.#waiting.splice(0)) this.#refuse(waiter, error);
    this.#width = this.#max;
  }

  #raiseLater(delayMs: number): void {
    clearTimeout(this.#raiseTimer);
    this.#raiseTimer = setTimeout(() => {
      this.#raiseTimer = undefined;
      this.#width = Math.min(this.#max, Math.max(this.#width, this.#lines.size + 1));
      this.#grow();
      // One more at a time, as long as more are wanted.
      if (this.#width < this.#max && this.#raiseTimer === undefined) this.#raiseLater(this.#raiseMs);
    }, delayMs).unref();
  }

  #tick(): void {
    const idleTicks = Math.ceil((this.#times.idleMs / this.#times.silenceMs) * TICKS);
    for (const [line, ticks] of this.#idle) {
      this.#idle.set(line, ticks + 1);
      if (ticks < idleTicks) continue;
      this.#idle.delete(line);
      void line.end();
    }
    for (const [line, use] of this.#inUse) {
      const moved = line.bytesMoved;
      use.stillTicks = moved === use.moved ? use.stillTicks + 1 : 0;
      use.moved = moved;
      if (use.stillTicks > use.most)
        line.destroy(lost('ETIMEDOUT', 'the server has been silent for too long'));
    }
  }
}
