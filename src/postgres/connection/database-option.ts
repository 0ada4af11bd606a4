import type { Sql } from 'postgres';
import { LongtailError } from '../../domain/errors.ts';

/** Whether it is a postgres.js pool, as returned by `postgres()`. */
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
  'Pass postgres://user:password@host:5432/database, or the return value of postgres() from postgres.js.';

const wrong = (what: string, nextStep = INSTEAD): LongtailError =>
  new LongtailError('BAD_OPTION', `database is ${what}, not a postgres.js pool.`, nextStep);

/** The error for a value that is no database. It names what the value seems to be. */
export function whyNoDatabase(value: unknown): LongtailError {
  if ((typeof value !== 'object' && typeof value !== 'function') || value === null) {
    return new LongtailError(
      'BAD_OPTION',
      'database is neither a PostgreSQL URL nor a postgres.js pool.',
      INSTEAD,
    );
  }
  const has = (name: string): boolean => typeof Reflect.get(value, name) === 'function';
  if (has('savepoint')) {
    return wrong('a transaction', 'Pass the pool itself, the `sql` on which `sql.begin` was called.');
  }
  if (typeof value === 'function' && has('release')) {
    return wrong(
      'a reserved connection',
      'Pass the pool itself, the `sql` on which `sql.reserve` was called.',
    );
  }
  if (isPool(Reflect.get(value, '$client'))) {
    return wrong('a Drizzle instance', 'Pass its driver: database: db.$client.');
  }
  if (value instanceof URL) return wrong('a URL object', 'Pass a string: database: url.href.');
  if (value instanceof Promise) return wrong('a promise', 'Await it first.');
  const kind = Object.entries(KINDS).find(([, names]) => names.every(has))?.[0];
  if (kind !== undefined) return wrong(kind);
  const isConfiguration = ['host', 'connectionString', 'database', 'url'].some((name) =>
    Reflect.has(value, name),
  );
  return isConfiguration
    ? wrong('a settings object', 'Pass the URL itself, or postgres(settings) from postgres.js.')
    : new LongtailError(
        'BAD_OPTION',
        'database is neither a PostgreSQL URL nor a postgres.js pool.',
        INSTEAD,
      );
}

/** Methods that only one library's objects have. The first match counts. */
const KINDS: Readonly<Record<string, readonly string[]>> = {
  'a Prisma client': ['$connect', '$queryRaw'],
  'a Knex instance': ['raw', 'batchInsert', 'transaction'],
  'a Kysely instance': ['selectFrom', 'insertInto'],
  'a Sequelize instance': ['authenticate', 'define'],
  'a TypeORM data source': ['createQueryRunner', 'getRepository'],
  'a Drizzle instance': ['select', 'insert', 'execute'],
  'a pool or client of pg': ['query', 'connect'],
  'a Supabase client': ['from', 'rpc'],
};
