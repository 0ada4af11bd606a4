import type { Socket } from 'node:net';
import postgres, { type Sql, type TransactionSql } from 'postgres';
import { type InsideQuery, isQuery, unknownDriver } from '../../internals/driver-query.ts';
import { lost, openSocket, type Way } from '../../internals/socket.ts';

/** What a line is made with. */
export interface LineSettings {
  /** A pool that is never used: it has the driver's options, whole. */
  readonly template: Sql;
  readonly password: () => string | Promise<string>;
  /** Startup parameters, for the server. */
  readonly startup: Partial<postgres.ConnectionParameters>;
  readonly prepare: () => boolean;
}

/**
 * One connection to the server: a pool of the driver's with one place, used until its socket ends and then thrown away.
 * So none of the driver's ways with a broken connection is ever needed: it waits for one that will not come, it
 * forgets what was given to it between a socket's error and its close, it remembers a write that it had cancelled.
 */
export class Line {
  readonly sql: Sql;
  /** Resolves when nothing can be sent any more. */
  readonly ended: Promise<void>;
  readonly #ended = Promise.withResolvers<void>();
  readonly #abort = new AbortController();
  readonly #execute: InsideQuery['handler'];
  #socket: Socket | undefined;
  #isOver = false;

  /** Nothing is opened before the first query. */
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

  /** Whether it may be used. */
  get isUp(): boolean {
    return !this.#isOver && this.#socket !== undefined && !this.#socket.destroyed;
  }

  /** Grows with every byte that has come or gone. */
  get bytesMoved(): number {
    if (this.#socket === undefined) return 0;
    return this.#socket.bytesRead + this.#socket.bytesWritten - this.#socket.writableLength;
  }

  /** Sends a query that was made elsewhere. */
  execute(query: InsideQuery): void {
    this.#execute(query);
  }

  begin<T>(options: string, work: (tx: TransactionSql) => Promise<T>): Promise<unknown> {
    return this.sql.begin(options, work);
  }

  /** Ends it at once: what is under way fails. */
  destroy(reason: Error): void {
    this.#abort.abort();
    if (this.#socket === undefined) this.#over();
    this.#socket?.destroy(reason);
    this.#forget();
  }

  /** Says good-bye. To be called when nothing is under way. */
  async end(): Promise<void> {
    this.#forget();
    const socket = this.#socket;
    if (socket === undefined) return this.#over();
    const timer = setTimeout(() => socket.destroy(), GOODBYE_MS);
    await this.ended;
    clearTimeout(timer);
  }

  /** The driver lets go of it, without waiting. */
  #forget(): void {
    this.sql.end({ timeout: 0 }).catch(() => undefined);
  }

  readonly #over = (): void => {
    this.#isOver = true;
    this.#ended.resolve();
  };
}

/** How long the server may take to hang up in turn. */
const GOODBYE_MS = 1_000;

/**
 * A pool of the driver's with one place. Options that have a `shared` the driver takes for read: so the template's are
 * used as they are, and none of the environment's variables (`PGTARGETSESSIONATTRS`, `PGMAX`, …) is asked.
 */
function driver({ template, password, startup, prepare }: LineSettings, socket: () => Promise<Socket>): Sql {
  const options = {
    ...template.options,
    pass: password,
    connection: { ...startup },
    prepare: prepare(),
    socket,
    max: 1,
    // All that has to do with where and how long is done here. The driver's `path` is what its errors show.
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
