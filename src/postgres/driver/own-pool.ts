import type { Sql, TransactionSql } from 'postgres';
import { errorFacts } from '../../domain/error-facts.ts';
import { type InsideQuery, isQuery, unknownDriver } from '../../internals/driver-query.ts';
import { lost } from '../../internals/socket.ts';
import { isConnectionLoss, isReadOnly } from './failure.ts';
import type { Line } from './line.ts';
import type { Pool, Use } from './pool.ts';
import { BEGIN_OPTIONS, SETTINGS_OF_TRANSACTION } from './session.ts';

/** One of Longtail's own pools, behind the driver's interface. */
export interface OwnPool {
  /** Queries, transactions and `reserve`. The rest of the driver's interface does nothing. */
  readonly sql: Sql;
  /** Like the driver's `begin`. See `transaction` for the form that is safe to use. */
  begin<T>(work: (tx: TransactionSql) => Promise<T>, use?: Use): Promise<unknown>;
}

const own = new WeakMap<object, OwnPool>();

/** The pool behind `sql`, if it is one of Longtail's own. */
export function ownPoolOf(sql: object): OwnPool | undefined {
  return own.get(sql);
}

/**
 * The driver's interface over our lines. `sql` creates queries as the template does; each query is sent on a line from the
 * pool when it is executed. `isLent` says whether the sessions belong to a pooler. If so, every transaction sets the
 * settings that it relies on, and a single query runs in a transaction.
 */
export function ownPool(template: Sql, pool: Pool<Line>, isLent: () => boolean): OwnPool {
  const route = (made: unknown): unknown => {
    if (isQuery(made)) made.handler = dispatch;
    return made;
  };
  const dispatch = (query: unknown): void => {
    if (!isQuery(query)) throw unknownDriver();
    pool.take().then(
      (line) => (isLent() ? executeLent(pool, line, query) : execute(pool, line, query)),
      (error: unknown) => query.reject(error),
    );
  };
  const begin: OwnPool['begin'] = async (work, use) => {
    const line = await pool.take(use);
    let unprepared: unknown;
    try {
      return await line.begin(BEGIN_OPTIONS, (tx) => {
        if (isLent()) {
          tx.unsafe(SETTINGS_OF_TRANSACTION)
            .execute()
            .catch((error: unknown) => {
              unprepared = error;
            });
        }
        return work(tx);
      });
    } catch (error) {
      retireIfUseless(line, error);
      // After a failed preparation, the next statement's error only says that the transaction is broken.
      throw errorFacts(error).code === IN_BROKEN_TRANSACTION ? (unprepared ?? error) : error;
    } finally {
      pool.give(line);
    }
  };
  const reserve = async (): Promise<unknown> => {
    const line = await pool.take({ silenceMs: NEVER_SILENT_MS });
    const reserved = await line.sql.reserve();
    const release = reserved.release.bind(reserved);
    const giveBack = (): void => {
      release();
      pool.give(line);
    };
    return Object.assign(reserved, { release: giveBack });
  };
  const members: Readonly<Record<string, unknown>> = {
    unsafe: (...args: unknown[]) => route(Reflect.apply(template.unsafe, template, args)),
    begin: (...args: unknown[]) => {
      const work = args.at(-1);
      if (typeof work !== 'function') throw new TypeError('begin takes a function');
      return begin((tx) => Promise.resolve(Reflect.apply(work, undefined, [tx])));
    },
    reserve,
    end: ({ timeout = 5 }: { readonly timeout?: number } = {}) => pool.close(timeout * 1_000),
  };
  const sql = new Proxy(template, {
    apply: (target, self, args) => route(Reflect.apply(target, self, args)),
    get: (target, name) =>
      typeof name === 'string' && Object.hasOwn(members, name) ? members[name] : Reflect.get(target, name),
  });
  const made: OwnPool = { sql, begin };
  own.set(sql, made);
  return made;
}

/** The user of a reserved connection watches for silence. */
const NEVER_SILENT_MS = Number.MAX_SAFE_INTEGER;

const IN_BROKEN_TRANSACTION = '25P02';

/**
 * A session is useless once it has ended, and when it may not write: that was decided when it started, or by the server
 * that it leads to. The next session may lead elsewhere.
 */
function retireIfUseless(line: Line, error: unknown): void {
  if (isConnectionLoss(error)) line.destroy(lost('ECONNABORTED', 'the session has ended'));
  else if (isReadOnly(error)) line.destroy(lost('ECONNABORTED', 'the session may not write'));
}

function execute(pool: Pool<Line>, line: Line, query: InsideQuery): void {
  const { resolve, reject } = query;
  // The driver is still in the middle of its own work when it calls this.
  const giveBack = (error?: unknown): void =>
    queueMicrotask(() => {
      if (error !== undefined) retireIfUseless(line, error);
      pool.give(line);
    });
  const onAnswer = (value: unknown): unknown => {
    giveBack();
    return resolve(value);
  };
  const onFailure = (error: unknown): unknown => {
    giveBack(error);
    return reject(error);
  };
  // Named functions: copy-in.ts explains why they are not written inline.
  query.resolve = onAnswer;
  query.reject = onFailure;
  line.execute(query);
}

/** On a lent session: begin, the settings, the query, commit. The query's result is delivered once the commit has succeeded. */
function executeLent(pool: Pool<Line>, line: Line, query: InsideQuery): void {
  const { resolve, reject } = query;
  let cause: unknown;
  const finish = (statement: 'commit' | 'rollback', tell: () => unknown): void => {
    line.sql
      .unsafe(statement)
      .then(tell, (error: unknown) => {
        line.destroy(lost('ECONNABORTED', 'the session has ended'));
        reject(cause ?? error);
      })
      .finally(() => pool.give(line));
  };
  const onAnswer = (value: unknown): void => finish('commit', () => resolve(value));
  const onFailure = (error: unknown): void => {
    cause ??= error;
    finish('rollback', () => reject(cause));
  };
  line.sql
    .unsafe(`begin ${BEGIN_OPTIONS}; ${SETTINGS_OF_TRANSACTION}`)
    .execute()
    .catch((error: unknown) => {
      cause ??= error;
    });
  query.resolve = onAnswer;
  query.reject = onFailure;
  // The driver sends queries one microtask after `execute`, and this one has to follow them.
  queueMicrotask(() => line.execute(query));
}
