import { Buffer } from 'node:buffer';
import type { Socket } from 'node:net';
import { Writable } from 'node:stream';
import type { TransactionSql } from 'postgres';
import { errorFacts } from '../domain/error-facts.ts';
import type { PathChoice } from '../domain/path-choice.ts';
import { type InsideQuery, isQuery } from './driver-query.ts';
import { forcedPublic } from './forced-public.ts';
import { socketWrittenTo } from './socket.ts';

/** An error thrown by the source of the rows, kept apart from database errors: both may be ECONNRESET. */
export class SourceError extends Error {
  override readonly name = 'SourceError';
  constructor(cause: unknown) {
    super(`the source of the rows failed: ${errorFacts(cause).message}`, { cause });
  }
}

/**
 * The rows were refused, and the driver did not report the reason. This happens only on the public path, where
 * {@link startCopy} cannot see what the driver reports to a COPY's query.
 */
export class UntoldRefusal extends Error {
  override readonly name = 'UntoldRefusal';
  constructor(cause: unknown) {
    super('the reason is in the log of the database server', { cause });
  }
}

/** Rows in COPY format, in pieces of at most `maxBytes`. */
export type CopySource = (maxBytes: number) => Iterable<Buffer> | AsyncIterable<Buffer>;

/** A `COPY … FROM STDIN` that has been sent and waits for its rows. */
export interface CopyIn {
  /**
   * Sends the rows, then waits for `barrier`, a query of the same transaction. Rejects with PostgreSQL's error, a
   * {@link SourceError} or an {@link UntoldRefusal}. After that the transaction can only be rolled back.
   */
  send<T>(rows: CopySource, barrier: () => Promise<T>): Promise<T>;
  /** Ends it without rows. The transaction can only be rolled back. */
  cancel(): Promise<void>;
}

/** Size of an empty COPY data message: its type and its length, which counts itself. */
const EMPTY_MESSAGE_BYTES = 5;
const COPY_DATA = 0x64;
/** With larger messages the driver sometimes fails: the data has not been sent when the next query comes. */
const DRIVER_MESSAGE_BYTES = 64 * 1024;
/** The cost per message is the same at any length. */
const MESSAGE_BYTES = 256 * 1024;
/** Maximum bytes a socket may buffer before the source is asked for more. */
const MAX_HELD_BYTES = 512 * 1024;

/**
 * Sends the COPY immediately, after the queries already sent. What matters about postgres 3.4:
 *
 * - Its stream never emits `finish` in a transaction. Only the next query's answer shows that the rows have arrived.
 * - A query sent while the stream still buffers data fails with COPY_IN_PROGRESS. So each chunk is awaited until the
 *   socket has taken it: then `end()` leaves nothing behind.
 * - A stream that is not destroyed when its source throws leaves the backend in COPY, with its locks.
 * - An error after `end()` has no promise left to reject, and the next query only reports 25P02. The error is caught
 *   where the driver passes it to the COPY's own query.
 * - It copies every chunk into a new buffer. On our own sockets the rows are written directly, without that copy.
 *
 * The last two need the driver's internals. Each COPY probes for them: the shape of the query, and an empty message that
 * shows the socket. Without that shape, only the public interface is used. Without that socket, the rows go through the
 * driver's stream.
 *
 * @param onPath called when the rows begin, with the path that they take
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
  // A failure before the COPY starts is reported by the queries before it, and also by `send`.
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
  /** Maximum size of a chunk. */
  readonly maxBytes: number;
  /** Writes a chunk. Returns what to wait for until there is room for the next one; undefined if there is room. */
  readonly write: (chunk: Buffer) => Promise<void> | undefined;
}

/**
 * Chooses how to write COPY data. An empty message shows which socket is behind the stream: on one of ours, without
 * TLS, it adds exactly five bytes.
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
      // A broken stream reports its reason through `error`, which the caller receives.
      if (error === null || error === undefined) resolve();
      else if (!stream.destroyed) reject(error);
    });
  });
}

/** Writes one COPY data message directly to the socket. The driver itself writes nothing until the stream ends. */
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
    // If the socket breaks, the driver reports it to the caller.
    socket.write(chunk, (error) => {
      if (error === null || error === undefined) resolve();
    });
    socket.uncork();
  });
}

/** The public part of the driver's query that a COPY needs. */
interface PendingQuery {
  writable(): Promise<Writable>;
}

/** The query with its internals, or why they cannot be used. */
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
   * Waits for the given promise. Rejects with the reason if the stream breaks meanwhile or has already broken. It does
   * not race against a long-lived promise: one that lives as long as the COPY would keep every wait in memory until the
   * end.
   */
  readonly orBroken: (ready: Promise<void> | undefined) => Promise<void> | undefined;
  /** The server's error about the rows, if any. */
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
 * Intercepts what the driver reports to a COPY's query. The query's promise settles when the COPY begins, so later
 * errors would get lost. The stream may also break in the very packet that opens it, before any promise is followed,
 * and an `error` without a listener kills the process.
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
  // Assigned by name: V8 treats a function literal assigned directly to a property as permanent, allocates it among the
  // old objects, and so keeps everything it refers to until those are collected.
  query.resolve = onOpened;
  query.reject = onRefused;
}

/**
 * The public alternative to {@link listenIn}: receives the stream's errors from the moment its promise settles. A
 * refusal after the stream's end is not reported.
 */
function listenToStream(opened: Promise<Writable>, heard: Heard): void {
  opened.then(
    (stream) => void stream.on('error', heard.onBroken),
    // `send` and `cancel` reject with the same error.
    () => {},
  );
}
