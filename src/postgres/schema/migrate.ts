import type { Sql, TransactionSql } from 'postgres';
import { type Clock, systemClock } from '../../domain/clock.ts';
import { errorFacts } from '../../domain/error-facts.ts';
import { LongtailError } from '../../domain/errors.ts';
import { pause } from '../../domain/wait.ts';
import { connect, connectError, place } from '../connection/connect.ts';
import { transaction } from '../connection/transaction.ts';
import { isConnectionLoss } from '../driver/failure.ts';
import { identifier } from '../driver/identifier.ts';
import { needsTending, tendViews, VIEW_NAMES, type ViewNotice } from './made-views.ts';
import { MIGRATIONS, type Migration } from './migrations.ts';
import { readFacts, readState, refuse, type SchemaFacts, type SchemaState } from './schema-state.ts';

/** What a migration did. */
export interface MigrationOutcome {
  /** Number of migrations applied: 0 when the schema was up to date. */
  readonly applied: number;
  /** Views that are not as Longtail makes them. Left out where there are none. */
  readonly notices?: readonly ViewNotice[];
}

/**
 * Changing a table locks it, and other sessions queue behind a migration that waits for the lock. So each attempt waits
 * only briefly, and there are several.
 */
const LOCK_TIMEOUT_MS = 2_000;
const LOCK_ATTEMPTS = 12;
const LOCK_PAUSE_MS = 500;
const STATEMENT_TIMEOUT_MS = 600_000;

/**
 * Creates or updates the schema `longtail` and the views in `public`, in one transaction: all or nothing. A view that was
 * dropped is made again; one that somebody has changed, or whose name somebody else has, is left alone and named.
 * Safe to call from several processes at the same time, through a transaction pooler, and in a database with other Drizzle
 * migrations: Longtail's are recorded in `longtail.migrations`. Only the owner may read what it creates: privileges that
 * the database's defaults grant to others are revoked. `target` is a URL, or a postgres.js pool, which stays open.
 * Rejects with a LongtailError.
 *
 * Drizzle's own migrator is not used: it reads files next to the module, which a bundle does not have, it changes how the
 * host's connection reads dates, and it takes no lock.
 */
export async function migrate(target: string | Sql): Promise<MigrationOutcome> {
  const database = await connect(target, { max: 1, applicationName: 'longtail migrate', prepare: false });
  try {
    return await migrateOn(database.sql, systemClock);
  } finally {
    // Anything still running has lost its response together with its connection.
    await database.close({ timeoutMs: 1_000 });
  }
}

/** Creating an index on a large table takes long, and the server sends nothing meanwhile. */
const MIGRATION_SILENCE_MS = 3_600_000;

async function migrateOn(sql: Sql, clock: Clock): Promise<MigrationOutcome> {
  const where = place(sql);
  try {
    const facts = await readFacts(sql);
    const state = await readState(sql, facts);
    refuse(state, where);
    // Most calls find nothing to do and need no right to create anything.
    if (missingIn(state).length === 0 && !(await needsTending(sql, facts))) return { applied: 0 };
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
  // Read again: another process may have migrated meanwhile.
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
  // Read again: there may have been no tables before.
  const now = missing.length > 0 ? await readFacts(tx) : facts;
  const notices = await tendViews(tx, now, missing.length > 0, where);
  await keepPrivate(tx, before);
  return { applied: missing.length, ...(notices.length > 0 ? { notices } : {}) };
}

/** Overrides settings of the role and the database for this transaction. Must run before any read. */
async function settle(tx: TransactionSql): Promise<void> {
  // Changing transaction_timeout does not restart it. Switching it off and on again does.
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

function missingIn(state: SchemaState): readonly Migration[] {
  if (state.kind === 'empty') return MIGRATIONS;
  return state.kind === 'installed' ? state.missing : [];
}

const NAMES = VIEW_NAMES.map((name) => `'${name}'`).join(', ');

/** Object ids of everything in the schema, of the schema itself, and of the views. */
async function readOids(tx: TransactionSql): Promise<ReadonlySet<string>> {
  const rows = await tx
    .unsafe<Record<string, string>[]>(`
      select c.oid::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where n.nspname = 'longtail' or (n.nspname = 'public' and c.relname in (${NAMES}))
      union all select oid::text from pg_namespace where nspname = 'longtail'`)
    .simple();
  return new Set(rows.flatMap((row) => Object.values(row)));
}

/** Revokes privileges that default privileges granted on new objects. Nobody can rely on them yet. */
async function keepPrivate(tx: TransactionSql, before: ReadonlySet<string>): Promise<void> {
  const rows = await tx
    .unsafe<Record<string, string>[]>(`
      with ours as (
        select c.oid, c.relowner as owner, c.relacl as acl,
          case c.relkind when 'S' then 'sequence' else 'table' end || format(' %I.%I', n.nspname, c.relname) as name
        from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = 'longtail' or (n.nspname = 'public' and c.relname in (${NAMES}))
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

/** Throws before anything is attempted, with the missing right and how to grant it. */
function checkRights(facts: SchemaFacts, state: SchemaState, where: string): void {
  const user = identifier(facts.user);
  if (facts.readOnly) {
    throw new LongtailError(
      'DATABASE_REFUSED',
      `The user ${facts.user} may only read in the ${where} (default_transaction_read_only is on): Longtail's tables cannot be created or changed.`,
      `If the provider set this because the disk is full, free space. Otherwise: ALTER ROLE ${user} SET default_transaction_read_only = off;`,
    );
  }
  if (state.kind === 'installed') {
    if (facts.tables === null || facts.tables.isMine) return;
    const { owner } = facts.tables;
    throw new LongtailError(
      'DATABASE_REFUSED',
      `Longtail's tables in the ${where} are from an older version and belong to ${owner}: ${facts.user} may not change them.`,
      `Run migrate() of 'longtail/migrate' once as ${owner}, or make ${facts.user} a member of it: GRANT ${identifier(owner)} TO ${user};`,
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
      ? `The ${where} has no schema public, where Longtail creates the view search_analytics.`
      : `The user ${facts.user} may not create Longtail's tables and the view public.search_analytics in the ${where}.`,
    `As its owner, run: ${grants.join(' ')}`,
  );
}

function isLockTimeout(error: unknown): boolean {
  // Or a deadlock with a program that locks these tables in another order.
  return ['55P03', '40P01'].includes(errorFacts(error).code);
}

function migrationError(sql: Sql, error: unknown): LongtailError {
  if (error instanceof LongtailError) return error;
  const { code, message } = errorFacts(error);
  if (code === '42501') {
    const { user, database } = sql.options;
    return new LongtailError(
      'DATABASE_REFUSED',
      `The user ${user} may not create Longtail's tables in the ${place(sql)}: ${message}`,
      `As its owner, run: GRANT CREATE ON DATABASE ${identifier(database)} TO ${identifier(user)}; GRANT CREATE ON SCHEMA public TO ${identifier(user)};`,
      { cause: error },
    );
  }
  if (isConnectionLoss(error)) return connectError(sql, error);
  const nextStep = NEXT_STEPS.get(code) ?? 'Use a separate database for Longtail, or report this.';
  return new LongtailError(
    'MIGRATION_FAILED',
    `The migrations failed on the ${place(sql)}, which is unchanged: ${message}`,
    nextStep,
    { cause: error },
  );
}

const TAKEN = 'The database already has an object of that name: rename it, or use a separate database.';
const LOCKED =
  'Another session has locked Longtail’s tables or is migrating them: end it (pg_stat_activity, pg_blocking_pids), then run again.';

/** By SQLSTATE. */
const NEXT_STEPS: ReadonlyMap<string, string> = new Map([
  ['42P07', TAKEN],
  ['42710', TAKEN],
  ['42P06', TAKEN],
  ['55P03', LOCKED],
  ['40P01', LOCKED],
  ['57014', 'A person or a server setting cancelled it: run it again.'],
  [
    'P0001',
    'A trigger of the database rejected it with this message: have its owner allow it, then run again.',
  ],
  ['25006', 'Make the database writable again (default_transaction_read_only), then run again.'],
  ['53100', "Free space on the server's disk, then run again."],
]);
