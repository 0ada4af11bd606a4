import type { Socket } from 'node:net';
import postgres, { type Sql, type TransactionSql } from 'postgres';
import { type InsideQuery, isQuery, unknownDriver } from '../../internals/driver-query.ts';
import { lost, openSocket, type Way } from '../../internals/socket.ts';

/** The settings of a line. */
export interface LineSettings {
  /** A pool that is never used. It provides the driver's options with defaults filled in. */
  readonly template: Sql;
  readonly password: () => string | Promise<string>;
  /** Startup parameters for the server. */
  readonly startup: Partial<postgres.ConnectionParameters>;
  readonly prepare: () => boolean;
}

/**
 * One connection to the server: a driver pool of size one, used until its socket ends and then discarded. This avoids
 * the driver's handling of broken connections: it waits for a reconnection that will not come, forgets queries that it
 * received between a socket's error and its close, and remembers a write that it had cancelled.
 */
export class Line {
  readonly sql: Sql;
  /** Resolves when nothing more can be sent. */
  readonly ended: Promise<void>;
  readonly #ended = Promise.withResolvers<void>();
  readonly #abort = new AbortController();
  readonly #execute: InsideQuery['handler'];
  #socket: Socket | undefined;
  #isOver = false;

  /** Opens nothing before the first query. */
  constructor(settings: LineSettings, way: Way) {
    this.ended = this.#ended.promise;
    const socket = async (): Promise<Socket> => {
      if (this.#isOver || this.#socket !== undefined)
        throw lost('CONNECTION_CLOSED', 'the connection is closed');
      const made = await openSocket(way, this.#abort.signal);
      this.#socket = made;
      made.once('close', this.#over);
      return made;
    };
    this.sql = driver(settings, socket);
    const query: unknown = this.sql.unsafe('');
    if (!isQuery(query)) throw unknownDriver();
    this.#execute = query.handler;
  }

  /** Whether it can be used. */
  get isUp(): boolean {
    return !this.#isOver && this.#socket !== undefined && !this.#socket.destroyed;
  }

  /** Grows with every byte sent or received. */
  get bytesMoved(): number {
    if (this.#socket === undefined) return 0;
    return this.#socket.bytesRead + this.#socket.bytesWritten - this.#socket.writableLength;
  }

  /** Sends a query that was created elsewhere. */
  execute(query: InsideQuery): void {
    this.#execute(query);
  }

  begin<T>(options: string, work: (tx: TransactionSql) => Promise<T>): Promise<unknown> {
    return this.sql.begin(options, work);
  }

  /** Ends the connection immediately: queries under way fail. */
  destroy(reason: Error): void {
    this.#abort.abort();
    if (this.#socket === undefined) this.#over();
    this.#socket?.destroy(reason);
    this.#forget();
  }

  /** Closes the connection in an orderly way. Call it only when no query is under way. */
  async end(): Promise<void> {
    this.#forget();
    const socket = this.#socket;
    if (socket === undefined) return this.#over();
    const timer = setTimeout(() => socket.destroy(), GOODBYE_MS);
    await this.ended;
    clearTimeout(timer);
  }

  /** Makes the driver release the connection without waiting. */
  #forget(): void {
    this.sql.end({ timeout: 0 }).catch(() => undefined);
  }

  readonly #over = (): void => {
    this.#isOver = true;
    this.#ended.resolve();
  };
}

/** How long the server may take to close its side. */
const GOODBYE_MS = 1_000;

/**
 * A driver pool of size one. The driver takes options with a `shared` property as already parsed: so it uses the
 * template's options unchanged and reads no environment variables (`PGTARGETSESSIONATTRS`, `PGMAX`, …).
 */
function driver({ template, password, startup, prepare }: LineSettings, socket: () => Promise<Socket>): Sql {
  const options = {
    ...template.options,
    pass: password,
    connection: { ...startup },
    prepare: prepare(),
    socket,
    max: 1,
    // Addresses and timeouts are handled here. The driver shows `path` in its errors.
    host: '',
    port: 0,
    ssl: false,
    target_session_attrs: undefined,
    connect_timeout: 0,
    idle_timeout: 0,
    max_lifetime: null,
    keep_alive: null,
    parameters: {},
    shared: { retries: 0, typeArrayMap: {} },
  };
  return postgres(options);
}
