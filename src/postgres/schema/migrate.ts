import type { Sql, TransactionSql } from 'postgres';
import { type Clock, systemClock } from '../../domain/clock.ts';
import { errorFacts } from '../../domain/error-facts.ts';
import { LongtailError } from '../../domain/errors.ts';
import { pause } from '../../domain/wait.ts';
import { connect, connectError, place } from '../connection/connect.ts';
import { transaction } from '../connection/transaction.ts';
import { isConnectionLoss } from '../driver/failure.ts';
import { identifier } from '../driver/identifier.ts';
import { MIGRATIONS, type Migration } from './migrations.ts';
import { readFacts, readState, refuse, type SchemaFacts, type SchemaState } from './schema-state.ts';

/** What a migration did. */
export interface MigrationOutcome {
  /** How many migrations were applied: 0 when the schema was up to date. */
  readonly applied: number;
}

/**
 * A table that is changed is closed to everybody for a moment, and whoever comes after one that waits for it waits, too:
 * so it is tried for a short time, and often.
 */
const LOCK_TIMEOUT_MS = 2_000;
const LOCK_ATTEMPTS = 12;
const LOCK_PAUSE_MS = 500;
const STATEMENT_TIMEOUT_MS = 600_000;

/**
 * Makes or updates the schema `longtail` and the view `public.search_analytics`, in one transaction: all or nothing.
 * Safe to call from several processes at once, through a transaction pooler, and in a database that has other
 * migrations of Drizzle's: ours are recorded in `longtail.migrations`. What it makes, its owner alone may read: what
 * default privileges give to others is taken back. `target` is a URL, or a `postgres` connection, which stays open.
 * Rejects with a LongtailError.
 *
 * Drizzle's own migrator is not used: it reads files beside the module, which a bundle has not, it changes how a
 * connection reads dates, for the host, too, and it takes no lock.
 */
export async function migrate(target: string | Sql): Promise<MigrationOutcome> {
  const database = await connect(target, { max: 1, applicationName: 'longtail migrate', prepare: false });
  try {
    return await migrateOn(database.sql, systemClock);
  } finally {
    // Whatever is still under way then, its answer was lost with its connection.
    await database.close({ timeoutMs: 1_000 });
  }
}

/** An index on a large table takes its time, and says nothing meanwhile. */
const MIGRATION_SILENCE_MS = 3_600_000;

async function migrateOn(sql: Sql, clock: Clock): Promise<MigrationOutcome> {
  const where = place(sql);
  try {
    const facts = await readFacts(sql);
    const state = await readState(sql, facts);
    refuse(state, where);
    // Most runs find nothing to do, and need no right to make anything.
    if (!hasWork(facts, state)) return { applied: 0 };
    checkRights(facts, state, where);
  } catch (error) {
    throw migrationError(sql, error);
  }
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await transaction(sql, (tx) => migrateIn(tx, where), { silenceMs: MIGRATION_SILENCE_MS });
    } catch (error) {
      if (!isLockTimeout(error) || attempt === LOCK_ATTEMPTS) throw migrationError(sql, error);
    }
    await pause(clock, LOCK_PAUSE_MS);
  }
}

async function migrateIn(tx: TransactionSql, where: string): Promise<MigrationOutcome> {
  await settle(tx);
  await tx.unsafe(`select pg_advisory_xact_lock(hashtextextended('longtail:migrate', 0))`).simple();
  // Again: another process may have done it meanwhile.
  const facts = await readFacts(tx);
  const state = await readState(tx, facts);
  refuse(state, where);
  const missing = missingIn(state);
  const before = await readOids(tx);
  if (facts.schema === null) await tx.unsafe('create schema longtail').simple();
  if (facts.journal === null)
    await tx
      .unsafe(
        'create table longtail.migrations (id serial primary key, hash text not null, created_at bigint)',
      )
      .simple();
  for (const { statements, hash, moment } of missing) {
    for (const statement of statements) await tx.unsafe(statement).simple();
    await tx
      .unsafe(`insert into longtail.migrations (hash, created_at) values ('${hash}', ${moment})`)
      .simple();
  }
  if (needsView(facts, state)) await makeView(tx, facts);
  await keepPrivate(tx, before);
  return { applied: missing.length };
}

/** What role and database may have set otherwise, for this transaction alone. Before anything is read. */
async function settle(tx: TransactionSql): Promise<void> {
  // A transaction's time runs on when it is changed; it begins anew only when it was taken off before.
  await tx.unsafe('set transaction isolation level read committed').simple();
  await tx
    .unsafe(`
      set local search_path = pg_catalog;
      set local standard_conforming_strings = on;
      set local lock_timeout = ${LOCK_TIMEOUT_MS};
      set local statement_timeout = ${STATEMENT_TIMEOUT_MS};
      set local idle_in_transaction_session_timeout = ${STATEMENT_TIMEOUT_MS};
      select set_config('transaction_timeout', '0', true), set_config('transaction_timeout', '${STATEMENT_TIMEOUT_MS}', true)
      from pg_settings where name = 'transaction_timeout'`)
    .simple();
}

function hasWork(facts: SchemaFacts, state: SchemaState): boolean {
  return missingIn(state).length > 0 || (needsView(facts, state) && mayMakeView(facts));
}

function missingIn(state: SchemaState): readonly Migration[] {
  if (state.kind === 'empty') return MIGRATIONS;
  return state.kind === 'installed' ? state.missing : [];
}

/** Somebody dropped it, with the schema `public` as a rule, which tools for tests and previews make anew. */
function needsView(facts: SchemaFacts, state: SchemaState): boolean {
  return state.kind === 'installed' && !facts.hasView && facts.named === null;
}

function mayMakeView({ tables, public: home }: SchemaFacts): boolean {
  return tables?.isMine === true && home?.mayCreate === true;
}

/** The view and what is said of it, as the migrations have it. */
async function makeView(tx: TransactionSql, { serverVersion }: SchemaFacts): Promise<void> {
  const ofView =
    /^(create (or replace )?view|drop view( if exists)?|comment on (view|column)) "?public"?\."?search_analytics\b/i;
  const statements = MIGRATIONS.flatMap((migration) => migration.statements);
  for (const statement of statements.filter((text) => ofView.test(text))) await tx.unsafe(statement).simple();
  if (serverVersion >= 150_000)
    await tx.unsafe('alter view public.search_analytics set (security_invoker = true)').simple();
}

/** Numbers of what is there: in the schema, the schema itself, and the view. */
async function readOids(tx: TransactionSql): Promise<ReadonlySet<string>> {
  const rows = await tx
    .unsafe<Record<string, string>[]>(`
      select c.oid::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where n.nspname = 'longtail' or (n.nspname, c.relname) = ('public', 'search_analytics')
      union all select oid::text from pg_namespace where nspname = 'longtail'`)
    .simple();
  return new Set(rows.flatMap((row) => Object.values(row)));
}

/** Takes back what others were given in the act of making: nobody can have asked for it yet. */
async function keepPrivate(tx: TransactionSql, before: ReadonlySet<string>): Promise<void> {
  const rows = await tx
    .unsafe<Record<string, string>[]>(`
      with ours as (
        select c.oid, c.relowner as owner, c.relacl as acl,
          case c.relkind when 'S' then 'sequence' else 'table' end || format(' %I.%I', n.nspname, c.relname) as name
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = 'longtail' or (n.nspname, c.relname) = ('public', 'search_analytics')
        union all
        select oid, nspowner, nspacl, 'schema longtail' from pg_namespace where nspname = 'longtail'
      )
      select distinct o.oid || ' revoke all on ' || o.name || ' from '
        || case held.grantee when 0 then 'public' else format('%I', pg_get_userbyid(held.grantee)) end
      from ours o cross join lateral aclexplode(o.acl) held where held.grantee <> o.owner`)
    .simple();
  for (const text of rows.flatMap((row) => Object.values(row))) {
    const gap = text.indexOf(' ');
    if (!before.has(text.slice(0, gap))) await tx.unsafe(text.slice(gap)).simple();
  }
}

/** Says what is lacking, and how to give it, before anything is tried. */
function checkRights(facts: SchemaFacts, state: SchemaState, where: string): void {
  const user = identifier(facts.user);
  if (facts.readOnly) {
    throw new LongtailError(
      'DATABASE_REFUSED',
      `The user ${facts.user} may only read in the ${where} (default_transaction_read_only is on): Longtail's tables cannot be made or changed.`,
      `Where the host has set it because the disk is full, make room. Otherwise: ALTER ROLE ${user} SET default_transaction_read_only = off;`,
    );
  }
  if (state.kind === 'installed') {
    if (facts.tables === null || facts.tables.isMine) return;
    const { owner } = facts.tables;
    throw new LongtailError(
      'DATABASE_REFUSED',
      `Longtail's tables in the ${where} are of an older version, and belong to ${owner}: ${facts.user} may not change them.`,
      `Run migrate() of 'longtail/migrate' once as ${owner}, or make ${facts.user} its member: GRANT ${identifier(owner)} TO ${user};`,
    );
  }
  const grants: string[] = [];
  if (facts.schema === null && !facts.mayCreateSchema)
    grants.push(`GRANT CREATE ON DATABASE ${identifier(facts.database)} TO ${user};`);
  if (facts.schema?.mayCreate === false) grants.push(`GRANT USAGE, CREATE ON SCHEMA longtail TO ${user};`);
  if (facts.public === null) grants.push('CREATE SCHEMA public;');
  if (facts.public?.mayCreate !== true) grants.push(`GRANT USAGE, CREATE ON SCHEMA public TO ${user};`);
  if (grants.length === 0) return;
  throw new LongtailError(
    'DATABASE_REFUSED',
    facts.public === null
      ? `The ${where} has no schema public, where Longtail makes the view search_analytics.`
      : `The user ${facts.user} may not make Longtail's tables and its view public.search_analytics in the ${where}.`,
    `As its owner: ${grants.join(' ')}`,
  );
}

function isLockTimeout(error: unknown): boolean {
  // Or a deadlock: with a program that locks our tables in an order of its own.
  return ['55P03', '40P01'].includes(errorFacts(error).code);
}

function migrationError(sql: Sql, error: unknown): LongtailError {
  if (error instanceof LongtailError) return error;
  const { code, message } = errorFacts(error);
  if (code === '42501') {
    const { user, database } = sql.options;
    return new LongtailError(
      'DATABASE_REFUSED',
      `The user ${user} may not make Longtail's tables in the ${place(sql)}: ${message}`,
      `As its owner: GRANT CREATE ON DATABASE ${identifier(database)} TO ${identifier(user)}; GRANT CREATE ON SCHEMA public TO ${identifier(user)};`,
      { cause: error },
    );
  }
  if (isConnectionLoss(error)) return connectError(sql, error);
  const nextStep = NEXT_STEPS.get(code) ?? 'Use a database of its own for Longtail, or report this.';
  return new LongtailError(
    'MIGRATION_FAILED',
    `The migrations did not run on the ${place(sql)}, which is unchanged: ${message}`,
    nextStep,
    { cause: error },
  );
}

const TAKEN = 'The database has something of that name already: rename it, or use a database of its own.';
const LOCKED =
  'Another session holds Longtail’s tables, or migrates them: end it (pg_stat_activity, pg_blocking_pids), then run again.';

/** By SQLSTATE. */
const NEXT_STEPS: ReadonlyMap<string, string> = new Map([
  ['42P07', TAKEN],
  ['42710', TAKEN],
  ['42P06', TAKEN],
  ['55P03', LOCKED],
  ['40P01', LOCKED],
  ['57014', 'Somebody, or a setting of the server, cancelled it: run it again.'],
  ['P0001', 'A trigger of the database refuses it in these words: have its owner allow it, then run again.'],
  ['25006', 'Give the database back its right to write (default_transaction_read_only), then run again.'],
  ['53100', "Make room on the server's disk, then run again."],
]);
