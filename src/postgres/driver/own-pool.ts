import type { Sql, TransactionSql } from 'postgres';
import { errorFacts } from '../../domain/error-facts.ts';
import { type InsideQuery, isQuery, unknownDriver } from '../../internals/driver-query.ts';
import { lost } from '../../internals/socket.ts';
import { isConnectionLoss, isReadOnly } from './failure.ts';
import type { Line } from './line.ts';
import type { Pool, Use } from './pool.ts';
import { BEGIN_OPTIONS, SETTINGS_OF_TRANSACTION } from './session.ts';

/** A pool of our own, behind the driver's face. */
export interface OwnPool {
  /** Queries, transactions and `reserve`. Nothing else of the driver's face leads anywhere. */
  readonly sql: Sql;
  /** Like the driver's own; see `transaction` for the form that is safe to use. */
  begin<T>(work: (tx: TransactionSql) => Promise<T>, use?: Use): Promise<unknown>;
}

const own = new WeakMap<object, OwnPool>();

/** The pool behind `sql`, where it is one of ours. */
export function ownPoolOf(sql: object): OwnPool | undefined {
  return own.get(sql);
}

/**
 * The driver's face over our lines: `sql` makes queries as the template does, and each goes to a line of its own when it
 * is executed. `isLent` says whether the sessions are a pooler's: then what they rely on is set in every transaction, and
 * what would go alone goes in one.
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
      // Of a transaction that could not be prepared the next statement says only that it is broken.
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

/** Whoever reserves a connection says when it has been too quiet. */
const NEVER_SILENT_MS = Number.MAX_SAFE_INTEGER;

const IN_BROKEN_TRANSACTION = '25P02';

/**
 * A session is of no use any more when it is over, and when it may not write: that is decided when it begins, or by the server
 * that it leads to, and the next one may lead elsewhere.
 */
function retireIfUseless(line: Line, error: unknown): void {
  if (isConnectionLoss(error)) line.destroy(lost('ECONNABORTED', 'the session is over'));
  else if (isReadOnly(error)) line.destroy(lost('ECONNABORTED', 'the session may not write'));
}

function execute(pool: Pool<Line>, line: Line, query: InsideQuery): void {
  const { resolve, reject } = query;
  // The driver is in the middle of its own work while it tells.
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
  // By name: see copy-in.ts on functions that are written where they are assigned.
  query.resolve = onAnswer;
  query.reject = onFailure;
  line.execute(query);
}

/** On a session that is lent: begin, what is relied on, the query, its end. What the query came to is told when that is sure. */
function executeLent(pool: Pool<Line>, line: Line, query: InsideQuery): void {
  const { resolve, reject } = query;
  let cause: unknown;
  const finish = (statement: 'commit' | 'rollback', tell: () => unknown): void => {
    line.sql
      .unsafe(statement)
      .then(tell, (error: unknown) => {
        line.destroy(lost('ECONNABORTED', 'the session is over'));
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
  // What the driver executes goes out a microtask later, and this has to come after.
  queueMicrotask(() => line.execute(query));
}
