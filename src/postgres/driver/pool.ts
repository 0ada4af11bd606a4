import { systemClock } from '../../domain/clock.ts';
import { within } from '../../domain/wait.ts';
import { lost } from '../../internals/socket.ts';
import { isNoRoom } from './no-room.ts';

/** What the pool has to know of a connection. */
export interface Pooled {
  readonly isUp: boolean;
  readonly bytesMoved: number;
  /** Resolves when nothing can be sent any more. */
  readonly ended: Promise<void>;
  destroy(reason: Error): void;
  end(): Promise<void>;
}

export interface PoolTimes {
  /** How long somebody waits for a connection. */
  readonly waitMs: number;
  /** How long a connection in use may be without a byte in either direction. */
  readonly silenceMs: number;
  /** How long an unused connection is kept. */
  readonly idleMs: number;
  /** How long a server without room for even one connection is asked again. */
  readonly roomMs: number;
}

export const POOL_TIMES: PoolTimes = { waitMs: 60_000, silenceMs: 75_000, idleMs: 60_000, roomMs: 10_000 };

interface Waiter<L> {
  readonly resolve: (line: L) => void;
  readonly reject: (error: unknown) => void;
  readonly timer: NodeJS.Timeout;
}

/** What whoever takes a connection says about his use of it. */
export interface Use {
  /** How long the server may have nothing to say. */
  readonly silenceMs?: number;
  /** Asked for when somebody waits and nothing else is left: the user can do without it, and gives it back soon. */
  readonly whenWanted?: () => void;
  /** Comes before all who wait: it is short, and others go by it. */
  readonly isUrgent?: boolean;
}

/** A connection that is in use, and for how many ticks nothing has moved on it. */
interface InUse {
  readonly most: number;
  readonly whenWanted: (() => void) | undefined;
  moved: number;
  stillTicks: number;
}

/** Looks at what is silent or unused as often as this in the time that is allowed: a process that was stopped for long finds what has come meanwhile first. */
const TICKS = 5;
const FIRST_RAISE_MS = 1_000;
const LAST_RAISE_MS = 60_000;
const ROOM_RETRY_MS = 250;

/**
 * Connections, at most `max`, opened as they are needed. Whoever asks waits for one that is free or new, whichever comes
 * first.
 *
 * A database may give fewer than are wanted. As long as one of ours works, a connection that is refused, or does not come,
 * narrows the pool to those there are, and nobody's work fails; later one more is tried, after 1 s, 2 s, … a minute. Only
 * when there is none at all does what went wrong reach those who wait.
 *
 * A line without a word, on which the system sees nothing wrong, is ended: nothing that is asked waits for ever. The time
 * is counted in ticks, and every byte in either direction begins it anew, also one that COPY sends.
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
    // Others may have begun to wait before this was known to be one that can be asked for.
    this.#askBack();
    return line;
  }

  give(line: L): void {
    this.#inUse.delete(line);
    if (this.#closing === undefined) this.#hand(line);
    else if (line.isUp) void line.end();
    this.#tellEmptied();
  }

  /** Ends what is unused at once, what is in use when it is free, at the latest after `timeoutMs`. */
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
    // The one that was used last: what is not needed grows old.
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

  /** Where all that there is is held by those who can do without: whoever waits would wait for ever. */
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
    // Another that is being opened may come about all the same.
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
      // One more at a time, as long as they are wanted.
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
        line.destroy(lost('ETIMEDOUT', 'the server has not said a word in time'));
    }
  }
}
