import type { Sql } from 'postgres';
import { errorFacts } from '../../domain/error-facts.ts';
import { LongtailError } from '../../domain/errors.ts';
import { place } from '../connection/connect.ts';
import { isConnectionLoss } from '../driver/failure.ts';
import { MIGRATIONS, type Migration } from './migrations.ts';

/** What the catalogues say about the names that Longtail uses, and about the current user's rights. */
export interface SchemaFacts {
  readonly user: string;
  readonly database: string;
  readonly serverVersion: number;
  /** Whether transactions are read-only by default. */
  readonly readOnly: boolean;
  /** The schema `longtail`. Null: it does not exist. */
  readonly schema: { readonly owner: string; readonly mayCreate: boolean } | null;
  readonly mayCreateSchema: boolean;
  /** Tables, views and other relations in the schema `longtail`, sorted. */
  readonly relations: readonly string[];
  /** The owner of the fact table, and whether the current user has the owner's rights. */
  readonly tables: { readonly owner: string; readonly isMine: boolean } | null;
  /** `longtail.migrations`. Null: there is no such table. */
  readonly journal: { readonly hasOurColumns: boolean; readonly mayRead: boolean } | null;
  readonly public: { readonly mayCreate: boolean } | null;
  /** What `public.search_analytics` is: `view` or another kind of object. Null: it does not exist. */
  readonly named: string | null;
}

/** What a database contains of Longtail. */
export type SchemaState =
  | { readonly kind: 'empty' }
  /** Longtail's: `missing` is empty when it is up to date. */
  | { readonly kind: 'installed'; readonly missing: readonly Migration[] }
  /** Longtail's, but these tables are gone. */
  | { readonly kind: 'incomplete'; readonly gone: readonly string[] }
  | { readonly kind: 'newer' }
  /** A schema or view of that name that is not Longtail's. `what` describes it. */
  | { readonly kind: 'foreign'; readonly what: string };

const FACTS = `
  with longtail as (select * from pg_catalog.pg_namespace where nspname = 'longtail'),
  relation as (
    select c.* from pg_catalog.pg_class c join longtail n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
  ),
  contract as (
    select c.* from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname = 'public' and c.relname = 'search_analytics'
  )
  select pg_catalog.json_build_object(
    'user', current_user,
    'database', pg_catalog.current_database(),
    'serverVersion', pg_catalog.current_setting('server_version_num')::int,
    'readOnly', pg_catalog.current_setting('transaction_read_only') = 'on',
    'schema', (
      select pg_catalog.json_build_object('owner', pg_catalog.pg_get_userbyid(nspowner),
        'mayCreate', pg_catalog.has_schema_privilege(oid, 'create')) from longtail),
    'mayCreateSchema', pg_catalog.has_database_privilege(pg_catalog.current_database(), 'create'),
    'relations', (select coalesce(pg_catalog.json_agg(relname order by relname), '[]') from relation),
    'tables', (
      select pg_catalog.json_build_object('owner', pg_catalog.pg_get_userbyid(relowner),
        'isMine', pg_catalog.pg_has_role(relowner, 'usage')) from relation where relname = 'fact'),
    'journal', (
      select pg_catalog.json_build_object(
        'hasOurColumns', relkind = 'r' and 2 = (
          select count(*) from pg_catalog.pg_attribute a where a.attrelid = relation.oid and not a.attisdropped
            and (a.attname, a.atttypid) in (('hash', 'text'::regtype), ('created_at', 'bigint'::regtype))),
        'mayRead', pg_catalog.has_schema_privilege(relnamespace, 'usage')
          and pg_catalog.has_table_privilege(oid, 'select'))
      from relation where relname = 'migrations' and relkind <> 'S'),
    'public', (
      select pg_catalog.json_build_object('mayCreate', pg_catalog.has_schema_privilege(oid, 'create'))
      from pg_catalog.pg_namespace where nspname = 'public'),
    'named', (select case relkind when 'v' then 'view' when 'm' then 'materialized view' when 'i' then 'index'
      when 'S' then 'sequence' when 'c' then 'type' else 'table' end from contract)
  )::text as facts`;

/** Reads the facts. Needs no rights beyond the catalogues. */
export async function readFacts(sql: Pick<Sql, 'unsafe'>): Promise<SchemaFacts> {
  const [row] = await sql.unsafe<Record<string, string>[]>(FACTS).simple();
  // By position: the host's pool may rename columns.
  const [text = '{}'] = Object.values(row ?? {});
  const facts: SchemaFacts = JSON.parse(text);
  return facts;
}

/** Interprets the facts. Reads the migrations table if it is Longtail's and readable. */
export async function readState(sql: Pick<Sql, 'unsafe'>, facts: SchemaFacts): Promise<SchemaState> {
  const { journal, relations } = facts;
  const others = relations.filter((name) => name !== 'migrations' && name !== 'migrations_id_seq');
  if (journal === null || !journal.hasOurColumns) {
    if (relations.length > 0)
      return { kind: 'foreign', what: `the schema longtail, which contains ${listed(relations)}` };
    return facts.named === null ? { kind: 'empty' } : namedBySomebody(facts);
  }
  // A user who may only write rows may lack access to the migrations table. The existing tables show what was applied.
  if (!journal.mayRead)
    return { kind: 'installed', missing: MIGRATIONS.filter((one) => isNotIn(one, relations)) };
  const applied = await readApplied(sql);
  const known = MIGRATIONS.filter(({ moment }) => applied.has(moment));
  if (known.length === 0) {
    if (others.length > 0 || applied.size > 0)
      return { kind: 'foreign', what: `the schema longtail, which contains ${listed(relations)}` };
    return facts.named === null ? { kind: 'empty' } : namedBySomebody(facts);
  }
  if (applied.size > known.length) return { kind: 'newer' };
  const gone = tablesOf(known).filter((name) => !relations.includes(name));
  if (gone.length > 0) return { kind: 'incomplete', gone };
  return { kind: 'installed', missing: MIGRATIONS.filter(({ moment }) => !applied.has(moment)) };
}

/** The timestamps of the applied migrations, which identify them. */
async function readApplied(sql: Pick<Sql, 'unsafe'>): Promise<ReadonlySet<number>> {
  const rows = await sql
    .unsafe<Record<string, string>[]>(`select created_at::text as moment from longtail.migrations`)
    .simple();
  return new Set(rows.flatMap((row) => Object.values(row).map(Number)));
}

function namedBySomebody({ named }: SchemaFacts): SchemaState {
  return { kind: 'foreign', what: `the ${named} public.search_analytics` };
}

function isNotIn(migration: Migration, relations: readonly string[]): boolean {
  return tablesOf([migration]).some((name) => !relations.includes(name));
}

/** The tables that exist after these migrations. */
function tablesOf(migrations: readonly Migration[]): readonly string[] {
  const tables = new Set<string>();
  for (const statement of migrations.flatMap(({ statements }) => statements)) {
    const [, verb = '', name = ''] =
      /^(create|drop) table (?:if (?:not )?exists )?"?longtail"?\."?(\w+)"?/im.exec(statement) ?? [];
    if (verb.toLowerCase() === 'create') tables.add(name);
    if (verb.toLowerCase() === 'drop') tables.delete(name);
  }
  return [...tables];
}

/**
 * Rejects tables that this version cannot work with, for `migrate: false`: missing, foreign, older or newer ones. Throws a
 * LongtailError.
 */
export async function requireSchema(sql: Sql): Promise<void> {
  const where = place(sql);
  let facts: SchemaFacts;
  let state: SchemaState;
  try {
    facts = await readFacts(sql);
    state = await readState(sql, facts);
  } catch (error) {
    throw readingError(error, where);
  }
  if (state.kind === 'empty') {
    throw new LongtailError(
      'MIGRATION_FAILED',
      `The ${where} is empty: it has no tables of Longtail yet, and \`migrate\` is false.`,
      "Create them once with migrate() of 'longtail/migrate', or remove `migrate: false`.",
    );
  }
  if (state.kind === 'installed' && state.missing.length > 0) {
    throw new LongtailError(
      'MIGRATION_FAILED',
      `The tables in the ${where} are from an older version of Longtail (before ${state.missing[0]?.tag}), and \`migrate\` is false.`,
      "Update them with migrate() of 'longtail/migrate', or remove `migrate: false`.",
    );
  }
  refuse(state, where);
}

/** Throws a LongtailError if the tables are not Longtail's or cannot be used. */
export function refuse(state: SchemaState, where: string): void {
  if (state.kind === 'newer') {
    throw new LongtailError(
      'MIGRATION_FAILED',
      `The schema longtail in the ${where} was created by a newer version of Longtail.`,
      'Update the package longtail.',
    );
  }
  if (state.kind === 'foreign') {
    throw new LongtailError(
      'MIGRATION_FAILED',
      `The ${where} has an object of that name that is not Longtail's: ${state.what}. Nothing was changed.`,
      'The name is needed: rename it, or use a separate database for Longtail.',
    );
  }
  if (state.kind === 'incomplete') {
    const one = state.gone.length === 1;
    throw new LongtailError(
      'MIGRATION_FAILED',
      `The schema longtail in the ${where} is incomplete: its table${one ? '' : 's'} ${listed(state.gone)} ${one ? 'is' : 'are'} missing. Nothing was changed.`,
      'Restore the schema from a backup. Or rename it (ALTER SCHEMA longtail RENAME TO longtail_old) and run again.',
    );
  }
}

function readingError(error: unknown, where: string): LongtailError {
  const { message } = errorFacts(error);
  return new LongtailError(
    isConnectionLoss(error) ? 'DATABASE_UNAVAILABLE' : 'MIGRATION_FAILED',
    `The tables of Longtail in the ${where} cannot be inspected: ${message}`,
    'Check that the server is running, and look at its log.',
    { cause: error },
  );
}

const MOST_NAMED = 5;

function listed(names: readonly string[]): string {
  const more = names.length - MOST_NAMED;
  return names.slice(0, MOST_NAMED).join(', ') + (more > 0 ? ` and ${more} more` : '');
}
