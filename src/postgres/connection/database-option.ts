import type { Sql } from 'postgres';
import { LongtailError } from '../../domain/errors.ts';

/** Whether it is a pool of postgres.js, as `postgres()` returns it. */
export function isPool(value: unknown): value is Sql {
  if (typeof value !== 'function' && typeof value !== 'object') return false;
  if (value === null) return false;
  const has = (name: string): boolean => typeof Reflect.get(value, name) === 'function';
  const options: unknown = Reflect.get(value, 'options');
  return typeof value === 'function' && has('begin') && has('end') && has('unsafe') && isOptions(options);
}

const isOptions = (options: unknown): boolean =>
  typeof options === 'object' &&
  options !== null &&
  Array.isArray(Reflect.get(options, 'host')) &&
  typeof Reflect.get(options, 'max') === 'number';

const INSTEAD =
  'Give postgres://user:password@host:5432/database, or what postgres() of postgres.js returned.';

const wrong = (what: string, nextStep = INSTEAD): LongtailError =>
  new LongtailError('BAD_OPTION', `database is ${what}, not a pool of postgres.js.`, nextStep);

/** Why a value is no database, in a line that names what it seems to be. */
export function whyNoDatabase(value: unknown): LongtailError {
  if ((typeof value !== 'object' && typeof value !== 'function') || value === null) {
    return new LongtailError('BAD_OPTION', 'database is neither a PostgreSQL URL nor a connection.', INSTEAD);
  }
  const has = (name: string): boolean => typeof Reflect.get(value, name) === 'function';
  if (has('savepoint')) {
    return wrong('a transaction', 'Hand in the pool itself, the `sql` that `sql.begin` was called on.');
  }
  if (typeof value === 'function' && has('release')) {
    return wrong(
      'a reserved connection',
      'Hand in the pool itself, the `sql` that `sql.reserve` was called on.',
    );
  }
  if (isPool(Reflect.get(value, '$client'))) {
    return wrong('an instance of Drizzle', 'Hand in its driver: database: db.$client.');
  }
  if (value instanceof URL) return wrong('a URL object', 'Give it as a string: database: url.href.');
  if (value instanceof Promise) return wrong('a promise', 'Await it first.');
  const kind = Object.entries(KINDS).find(([, names]) => names.every(has))?.[0];
  if (kind !== undefined) return wrong(kind);
  const isConfiguration = ['host', 'connectionString', 'database', 'url'].some((name) =>
    Reflect.has(value, name),
  );
  return isConfiguration
    ? wrong('an object with settings', 'Give the URL itself, or postgres(settings) of postgres.js.')
    : new LongtailError('BAD_OPTION', 'database is neither a PostgreSQL URL nor a connection.', INSTEAD);
}

/** Other libraries' objects, by methods that only they have. The first that fits counts. */
const KINDS: Readonly<Record<string, readonly string[]>> = {
  'a client of Prisma': ['$connect', '$queryRaw'],
  'an instance of Knex': ['raw', 'batchInsert', 'transaction'],
  'an instance of Kysely': ['selectFrom', 'insertInto'],
  'an instance of Sequelize': ['authenticate', 'define'],
  'a data source of TypeORM': ['createQueryRunner', 'getRepository'],
  'an instance of Drizzle': ['select', 'insert', 'execute'],
  'a pool or client of pg': ['query', 'connect'],
  'a client of Supabase': ['from', 'rpc'],
};
