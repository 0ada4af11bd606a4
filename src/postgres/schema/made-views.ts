/**
 * Looks after the views: makes those that are missing, replaces those of an earlier version, and names those that somebody
 * has changed or whose name somebody else has.
 */
import { createHash } from 'node:crypto';
import type { Sql, TransactionSql } from 'postgres';
import { errorFacts } from '../../domain/error-facts.ts';
import { identifier } from '../driver/identifier.ts';
import { MIGRATIONS } from './migrations.ts';
import type { SchemaFacts } from './schema-state.ts';
import { VIEWS, type ViewDefinition } from './views.ts';

/** A view that is not as Longtail makes it. Nothing was changed, and runs work without it. */
export interface ViewNotice {
  /** Its name, with the schema. */
  readonly view: string;
  /** One sentence. */
  readonly message: string;
  readonly nextStep: string;
}

/** An object with the name of a view of ours: in `public`, or a view of Longtail's tables in another schema. */
interface Found {
  readonly name: string;
  readonly isPublic: boolean;
  /** `view`, `table` … */
  readonly kind: string;
  readonly readsOurs: boolean;
  /** Digest of its definition as the server writes it. */
  readonly definition: string;
}

/** What is on record of a view that Longtail has made. */
interface Kept {
  readonly name: string;
  /** Digest of the SQL that made it. */
  readonly source: string;
  readonly definition: string;
  /** Major version of the server that wrote the definition: each writes it in its own way. */
  readonly server: number;
}

/** What is to be done about a view. */
type Care =
  | { readonly kind: 'none' }
  /** A view of the contract: the migrations' own statements make it. */
  | { readonly kind: 'remake'; readonly name: string }
  | { readonly kind: 'make'; readonly view: ViewDefinition }
  | { readonly kind: 'replace'; readonly view: ViewDefinition }
  /** It is as it should be, and not on record. */
  | { readonly kind: 'record'; readonly name: string }
  | { readonly kind: 'changed'; readonly name: string }
  | { readonly kind: 'taken'; readonly name: string; readonly by: string };

/** The views that the migrations make: the contract. */
export const CONTRACT: readonly string[] = [
  ...new Set(
    MIGRATIONS.flatMap(({ statements }) => statements).flatMap((statement) => {
      const [, name] = /^create (?:or replace )?view "?public"?\."?(\w+)"?/im.exec(statement) ?? [];
      return name === undefined ? [] : [name];
    }),
  ),
];

/** Every view of Longtail's, in `public`. */
export const VIEW_NAMES: readonly string[] = [...CONTRACT, ...VIEWS.map(({ name }) => name)];

const FOUND = `
  select coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
    'name', c.relname, 'isPublic', n.nspname = 'public', 'readsOurs', ours.is,
    'kind', case c.relkind when 'v' then 'view' when 'm' then 'materialized view' when 'i' then 'index'
      when 'S' then 'sequence' when 'c' then 'type' else 'table' end,
    'definition', case c.relkind when 'v' then pg_catalog.md5(pg_catalog.pg_get_viewdef(c.oid)) else '' end)), '[]')::text as found
  from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  cross join lateral (
    select exists (
      select from pg_catalog.pg_rewrite w
      join pg_catalog.pg_depend d on d.classid = 'pg_catalog.pg_rewrite'::regclass and d.objid = w.oid
      join pg_catalog.pg_class t on t.oid = d.refobjid and d.refclassid = 'pg_catalog.pg_class'::regclass
      join pg_catalog.pg_namespace o on o.oid = t.relnamespace
      where w.ev_class = c.oid and o.nspname = 'longtail') as is
  ) ours
  where c.relname in (${VIEW_NAMES.map((name) => `'${name}'`).join(', ')}) and (n.nspname = 'public' or ours.is)`;

const KEPT = `
  select coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
    'name', name, 'source', source, 'definition', definition, 'server', server)), '[]')::text as kept
  from longtail.made_view`;

/**
 * To write out a view's definition, PostgreSQL locks the tables that it reads. A run that begins must not wait for another
 * session's lock on them. Then the views are looked at another time.
 */
const LOCKED = `
  select pg_catalog.json_build_array(exists (
    select from pg_catalog.pg_locks l
    join pg_catalog.pg_class c on c.oid = l.relation join pg_catalog.pg_namespace n on n.oid = c.relnamespace
    where n.nspname = 'longtail' and l.mode = 'AccessExclusiveLock'
      and l.database = (select oid from pg_catalog.pg_database where datname = pg_catalog.current_database())))::text as locked`;
/** In case the lock comes in between. */
const FOUND_QUICKLY = `
  with patience as materialized (select pg_catalog.set_config('lock_timeout', '1', true) as set)
  select all_views.found from patience cross join lateral (${FOUND} and patience.set is not null) all_views`;

/** Reads what is to be done. Reads the record, so the caller has the rights of the tables' owner. */
async function readCare(
  sql: Pick<Sql, 'unsafe'>,
  { serverVersion }: SchemaFacts,
  query: string,
): Promise<readonly Care[]> {
  const found = await readJson<Found>(sql, query);
  const kept = await readJson<Kept>(sql, KEPT);
  const server = majorOf(serverVersion);
  const definitions = new Map(VIEWS.map((view) => [view.name, view]));
  return VIEW_NAMES.map((name): Care => {
    const view = definitions.get(name);
    const ofName = found.filter((one) => one.name === name);
    const here = ofName.find(({ isPublic }) => isPublic);
    if (here === undefined) {
      // Whoever moved a view to another schema has it where he wants it.
      if (ofName.length > 0) return { kind: 'none' };
      return view === undefined ? { kind: 'remake', name } : { kind: 'make', view };
    }
    if (here.kind !== 'view' || !here.readsOurs) return { kind: 'taken', name, by: here.kind };
    const record = kept.find((one) => one.name === name);
    // The contract of an earlier version was never recorded. Of another view, nobody but Longtail would have a record.
    if (record === undefined)
      return view === undefined ? { kind: 'record', name } : { kind: 'taken', name, by: 'view' };
    if (record.server === server && record.definition !== here.definition) return { kind: 'changed', name };
    if (view !== undefined && record.source !== sourceOf(view)) return { kind: 'replace', view };
    return record.server === server ? { kind: 'none' } : { kind: 'record', name };
  });
}

const LOCK_NOT_AVAILABLE = '55P03';

/** Whether {@link tendViews} has anything to do or to say. Without the owner's rights, it has not. */
export async function needsTending(sql: Pick<Sql, 'unsafe'>, facts: SchemaFacts): Promise<boolean> {
  if (facts.tables?.isMine !== true) return false;
  if (await readJson<true>(sql, LOCKED).then(([isLocked]) => isLocked === true)) return false;
  try {
    const care = await readCare(sql, facts, FOUND_QUICKLY);
    return care.some(({ kind }) => kind !== 'none');
  } catch (error) {
    if (errorFacts(error).code === LOCK_NOT_AVAILABLE) return false;
    throw error;
  }
}

/**
 * Does what is to be done, in the transaction of the migrations. With `isMigrated`, that has changed the views of the
 * contract itself: they are recorded as they are.
 */
export async function tendViews(
  tx: TransactionSql,
  facts: SchemaFacts,
  isMigrated: boolean,
  where: string,
): Promise<readonly ViewNotice[]> {
  const notices: ViewNotice[] = [];
  const lacking: string[] = [];
  for (const care of await readCare(tx, facts, FOUND)) {
    switch (care.kind) {
      case 'remake':
        if (facts.public?.mayCreate !== true) lacking.push(care.name);
        else {
          await remake(tx, care.name, facts);
          await record(tx, care.name, '', facts);
        }
        break;
      case 'make':
      case 'replace':
        if (facts.public?.mayCreate !== true) lacking.push(care.view.name);
        else {
          await make(tx, care.view, care.kind, facts);
          await record(tx, care.view.name, sourceOf(care.view), facts);
        }
        break;
      case 'record':
        await record(tx, care.name, '', facts);
        break;
      case 'changed':
        if (isMigrated && CONTRACT.includes(care.name)) await record(tx, care.name, '', facts);
        else notices.push(changedNotice(care.name, where));
        break;
      case 'taken':
        notices.push({
          view: `public.${care.name}`,
          message: `The ${care.by} public.${care.name} in the ${where} is not Longtail's, so the view of that name is not made.`,
          nextStep: 'To have the view, rename it and run again. Nothing else needs that name.',
        });
        break;
      case 'none':
    }
  }
  if (lacking.length > 0) {
    notices.push({
      view: `public.${lacking[0]}`,
      message: `The user ${facts.user} may not create the views ${lacking.join(', ')} in the ${where}.`,
      nextStep: `As its owner, run: GRANT USAGE, CREATE ON SCHEMA public TO ${identifier(facts.user)};`,
    });
  }
  return notices;
}

function changedNotice(name: string, where: string): ViewNotice {
  return {
    view: `public.${name}`,
    message: `The view public.${name} in the ${where} is not as Longtail made it: somebody has changed it. It is left as it is.`,
    nextStep: `To have it made again: DROP VIEW public.${identifier(name)}; then run again.`,
  };
}

/** Creates a view and its comments, as the migrations define them. The view may have gone with the schema `public`. */
async function remake(tx: TransactionSql, name: string, { serverVersion }: SchemaFacts): Promise<void> {
  const ofView = new RegExp(
    `^(create (or replace )?view|drop view( if exists)?|comment on (view|column)) "?public"?\\."?${name}\\b|^-- View ${name}\\b`,
    'i',
  );
  const statements = MIGRATIONS.flatMap((migration) => migration.statements);
  for (const statement of statements.filter((text) => ofView.test(text))) await tx.unsafe(statement).simple();
  if (serverVersion >= 150_000)
    await tx.unsafe(`alter view public.${name} set (security_invoker = true)`).simple();
}

async function make(
  tx: TransactionSql,
  { name, body, comment, columns = {} }: ViewDefinition,
  how: 'make' | 'replace',
  facts: SchemaFacts,
): Promise<void> {
  const options = facts.serverVersion >= 150_000 ? ' with (security_invoker = true)' : '';
  const rest = `view public.${name}${options} as ${body}`;
  if (how === 'make') await tx.unsafe(`create ${rest}`).simple();
  // Replaced, it keeps its grants. Where its columns have changed, that cannot be; where views of others read it, it stays.
  else
    await tx
      .unsafe(`
        do $longtail$ begin
          execute $view$create or replace ${rest}$view$;
        exception when invalid_table_definition then
          begin
            execute 'drop view public.${name}';
            execute $view$create ${rest}$view$;
          exception when dependent_objects_still_exist then
          end;
        end $longtail$`)
      .simple();
  await tx.unsafe(`comment on view public.${name} is ${literal(comment)}`).simple();
  for (const [column, text] of Object.entries(columns)) {
    await tx.unsafe(`comment on column public.${name}.${column} is ${literal(text)}`).simple();
  }
}

async function record(
  tx: TransactionSql,
  name: string,
  source: string,
  { serverVersion }: SchemaFacts,
): Promise<void> {
  await tx
    .unsafe(`
      insert into longtail.made_view (name, source, definition, server)
      values ('${name}', '${source}', pg_catalog.md5(pg_catalog.pg_get_viewdef('public.${name}'::regclass)), ${majorOf(serverVersion)})
      on conflict (name) do update set
        source = case excluded.source when '' then made_view.source else excluded.source end,
        definition = excluded.definition, server = excluded.server`)
    .simple();
}

const majorOf = (serverVersion: number): number => Math.floor(serverVersion / 10_000);

function sourceOf(view: ViewDefinition): string {
  return createHash('sha256').update(JSON.stringify(view)).digest('hex');
}

function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`;
}

async function readJson<T>(sql: Pick<Sql, 'unsafe'>, query: string): Promise<readonly T[]> {
  const [row] = await sql.unsafe<Record<string, string>[]>(query).simple();
  // By position: the host's pool may rename columns.
  const [text = '[]'] = Object.values(row ?? {});
  const list: readonly T[] = JSON.parse(text);
  return list;
}
