import { Buffer } from 'node:buffer';
import type { Socket } from 'node:net';
import { Writable } from 'node:stream';
import type { TransactionSql } from 'postgres';
import { errorFacts } from '../domain/error-facts.ts';
import type { PathChoice } from '../domain/path-choice.ts';
import { type InsideQuery, isQuery } from './driver-query.ts';
import { forcedPublic } from './forced-public.ts';
import { socketWrittenTo } from './socket.ts';

/** What the source of the rows threw, kept apart from what the database did: both may say ECONNRESET. */
export class SourceError extends Error {
  override readonly name = 'SourceError';
  constructor(cause: unknown) {
    super(`the source of the rows failed: ${errorFacts(cause).message}`, { cause });
  }
}

/**
 * The rows were refused and the driver did not pass the reason on. This happens only where {@link startCopy} cannot see
 * what the driver tells a COPY's query.
 */
export class UntoldRefusal extends Error {
  override readonly name = 'UntoldRefusal';
  constructor(cause: unknown) {
    super('the reason is in the log of the database server', { cause });
  }
}

/** Rows as COPY takes them, in pieces of no more than `maxBytes`. */
export type CopySource = (maxBytes: number) => Iterable<Buffer> | AsyncIterable<Buffer>;

/** A `COPY … FROM STDIN` that has been sent, and waits for its rows. */
export interface CopyIn {
  /**
   * Sends the rows, then waits for `barrier`, a query of the same transaction. Rejects with PostgreSQL's own error, or
   * with a {@link SourceError} or an {@link UntoldRefusal}; then the transaction can only be rolled back.
   */
  send<T>(rows: CopySource, barrier: () => Promise<T>): Promise<T>;
  /** Ends it without rows. The transaction can only be rolled back. */
  cancel(): Promise<void>;
}

/** An empty message of COPY data: its kind and its length, which counts itself. */
const EMPTY_MESSAGE_BYTES = 5;
const COPY_DATA = 0x64;
/** Larger messages make the driver fail now and then: it has not sent the data when the next query comes. */
const DRIVER_MESSAGE_BYTES = 64 * 1024;
/** Each message costs the same, however long it is. */
const MESSAGE_BYTES = 256 * 1024;
/** What a socket may hold before the source is asked for more. */
const MAX_HELD_BYTES = 512 * 1024;

/**
 * Sends the COPY at once, behind the queries that were sent before it, and all that must be known of how postgres 3.4
 * does it:
 *
 * - Its stream never says `finish` in a transaction. The next query's answer is what shows that the rows are in.
 * - A query that is sent while the stream still holds data fails with COPY_IN_PROGRESS. So each chunk is awaited until
 *   the socket has taken it: then `end()` leaves nothing behind.
 * - A stream that is not destroyed when its source throws leaves the backend in COPY, with its locks.
 * - An error after `end()` has no promise left to reject: the next query says only 25P02. The error is caught where the
 *   driver hands it to the COPY's own query.
 * - It copies every chunk into a new buffer. On a socket of our own the rows are written without it, from where they lie.
 *
 * The last two need the driver's internals. Each COPY probes for them: the shape of the query, and an empty message that
 * shows the socket. Without them the driver's stream is used alone.
 *
 * @param onPath told, when the rows begin, how they are written
 */
export function startCopy(
  tx: TransactionSql,
  statement: string,
  onPath: (path: PathChoice) => void = () => {},
): CopyIn {
  const query: PendingQuery = tx.unsafe(statement);
  const inside = choosePath(query);
  const heard = createHeard();
  if (inside.kind === 'fast') listenIn(inside.query, heard);
  const opened = query.writable();
  if (inside.kind === 'public') listenToStream(opened, heard);
  // A failure before this is seen by whoever awaits the queries before the COPY; `send` sees it, too.
  opened.catch(() => {});

  return {
    async send(rows, barrier) {
      const stream = await opened;
      const { path, write, maxBytes } = await writerOf(stream, heard, inside);
      onPath(path);
      let iterator: Iterator<Buffer, unknown> | AsyncIterator<Buffer, unknown> | undefined;
      for (;;) {
        let next: IteratorResult<Buffer, unknown>;
        try {
          iterator ??= iteratorOf(rows(maxBytes));
          const step = iterator.next();
          next = 'then' in step ? await step : step;
        } catch (error) {
          stream.destroy(new Error('the source failed'));
          throw new SourceError(error);
        }
        if (next.done === true) break;
        const ready = heard.orBroken(write(next.value));
        if (ready !== undefined) await ready;
      }
      stream.end();
      try {
        return await barrier();
      } catch (error) {
        if (errorFacts(error).code !== '25P02') throw error;
        if (inside.kind === 'public') throw new UntoldRefusal(error);
        throw heard.refusal() ?? error;
      }
    },
    async cancel() {
      const stream = await opened;
      stream.destroy(new Error('not needed'));
    },
  };
}

function iteratorOf(
  chunks: ReturnType<CopySource>,
): Iterator<Buffer, unknown> | AsyncIterator<Buffer, unknown> {
  return Symbol.asyncIterator in chunks ? chunks[Symbol.asyncIterator]() : chunks[Symbol.iterator]();
}

interface ChunkWriter {
  readonly path: PathChoice;
  /** The largest chunk it takes. */
  readonly maxBytes: number;
  /** What to wait for until there is room for the next chunk; undefined when there is room. */
  readonly write: (chunk: Buffer) => Promise<void> | undefined;
}

/**
 * How to write COPY data. An empty message shows which socket is behind the stream: on one of ours, without TLS, it adds
 * its own five bytes and nothing else.
 */
async function writerOf(stream: Writable, heard: Heard, inside: Inside): Promise<ChunkWriter> {
  const throughDriver = (path: PathChoice): ChunkWriter => ({
    path,
    maxBytes: DRIVER_MESSAGE_BYTES,
    write: (chunk) => writeTo(stream, chunk),
  });
  if (inside.kind === 'public') return throughDriver(inside);
  let isThrough = Promise.resolve();
  const socket = socketWrittenTo(EMPTY_MESSAGE_BYTES, () => {
    isThrough = writeTo(stream, Buffer.alloc(0));
  });
  await heard.orBroken(isThrough);
  return 'missing' in socket
    ? throughDriver({ kind: 'public', reason: socket.missing })
    : { path: { kind: 'fast' }, maxBytes: MESSAGE_BYTES, write: (chunk) => writeRaw(socket, chunk) };
}

function writeTo(stream: Writable, chunk: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.write(chunk, (error) => {
      // A broken stream tells its reason through `error`, which the caller hears.
      if (error === null || error === undefined) resolve();
      else if (!stream.destroyed) reject(error);
    });
  });
}

/** One message of COPY data past the driver: it has nothing of its own to say until the stream ends. */
function writeRaw(socket: Socket, chunk: Buffer): Promise<void> | undefined {
  const head = Buffer.allocUnsafe(EMPTY_MESSAGE_BYTES);
  head[0] = COPY_DATA;
  head.writeUInt32BE(chunk.length + 4, 1);
  socket.cork();
  socket.write(head);
  if (socket.writableLength + chunk.length < MAX_HELD_BYTES && !socket.destroyed) {
    socket.write(chunk);
    socket.uncork();
    return undefined;
  }
  return new Promise((resolve) => {
    // A socket that breaks is told of by the driver, which the caller hears.
    socket.write(chunk, (error) => {
      if (error === null || error === undefined) resolve();
    });
    socket.uncork();
  });
}

/** What a COPY needs of the driver's query in public. */
interface PendingQuery {
  writable(): Promise<Writable>;
}

/** The query with its internals, where it has them. */
type Inside =
  | { readonly kind: 'fast'; readonly query: InsideQuery }
  | Extract<PathChoice, { kind: 'public' }>;

function choosePath(query: PendingQuery): Inside {
  const forced = forcedPublic();
  if (forced?.kind === 'public') return forced;
  return isQuery(query)
    ? { kind: 'fast', query }
    : { kind: 'public', reason: 'the queries of the installed postgres have another shape' };
}

interface Heard {
  /**
   * Waits for what it is given. Rejects when the stream breaks meanwhile, or has broken, with the reason. No race against a
   * promise: one that lives as long as the COPY would keep every wait in memory until its end.
   */
  readonly orBroken: (ready: Promise<void> | undefined) => Promise<void> | undefined;
  /** What the server said against the rows, if it did. */
  readonly refusal: () => unknown;
  readonly onBroken: (reason: unknown) => void;
  readonly onRefused: (error: unknown) => void;
}

function createHeard(): Heard {
  let refusal: unknown;
  let breakage: { readonly reason: unknown } | undefined;
  let tell: ((reason: unknown) => void) | undefined;
  return {
    onBroken(reason) {
      breakage ??= { reason };
      tell?.(reason);
    },
    onRefused(error) {
      refusal ??= error;
    },
    refusal: () => refusal,
    orBroken(ready) {
      if (breakage !== undefined) return Promise.reject(breakage.reason);
      if (ready === undefined) return undefined;
      return new Promise((resolve, reject) => {
        tell = reject;
        ready.then(resolve, reject);
      });
    },
  };
}

/**
 * Hears what the driver tells a COPY's query. Its promise settles when the COPY begins, so that a later refusal is
 * told to nobody; and the stream may break in the very packet that opens it, before any promise has been followed: an
 * `error` without a listener kills the process.
 */
function listenIn(query: InsideQuery, heard: Heard): void {
  const { resolve, reject } = query;
  const onOpened = (value: unknown): unknown => {
    if (value instanceof Writable) value.on('error', heard.onBroken);
    return resolve(value);
  };
  const onRefused = (error: unknown): unknown => {
    heard.onRefused(error);
    return reject(error);
  };
  // Assigned by name: V8 takes a function that is written right where it is assigned to a property for one that stays,
  // puts it among the old objects, and keeps all that it refers to until those are collected.
  query.resolve = onOpened;
  query.reject = onRefused;
}

/** The public way: hears a stream from the moment its promise is followed. A refusal after its end stays untold. */
function listenToStream(opened: Promise<Writable>, heard: Heard): void {
  opened.then(
    (stream) => void stream.on('error', heard.onBroken),
    // `send` and `cancel` reject with it.
    () => {},
  );
}
