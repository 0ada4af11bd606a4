import { fileURLToPath } from 'node:url';
import { readMigrationFiles } from 'drizzle-orm/migrator';
import type { Sql } from 'postgres';
import { LongtailError } from '../errors.ts';
import { connect, connectError, place } from './connect.ts';
import { errorFacts, isConnectionLoss } from './failure.ts';
import { transaction } from './transaction.ts';

/** What a migration did. */
export interface MigrationOutcome {
  /** How many migrations were applied: 0 when the schema was up to date. */
  readonly applied: number;
}

type Migration = ReturnType<typeof readMigrationFiles>[number];

/**
 * Makes or updates the schema `longtail` and the view `public.search_analytics`, in one transaction: all or nothing.
 * Safe to call from several processes at once, through a transaction pooler, and in a database that has other
 * migrations of Drizzle's: ours are recorded in `longtail.migrations`. `target` is a URL, or a `postgres` connection,
 * which stays open. Rejects with a LongtailError.
 *
 * Drizzle's own migrator is not used on a live connection: it changes how that connection reads dates, for the host,
 * too, and it takes no lock.
 */
export async function migrate(target: string | Sql): Promise<MigrationOutcome> {
  const database = await connect(target, { max: 1, applicationName: 'longtail migrate', prepare: false });
  try {
    return await migrateOn(database.sql);
  } finally {
    await database.close();
  }
}

async function migrateOn(sql: Sql): Promise<MigrationOutcome> {
  const migrations = readMigrationFiles({ migrationsFolder: migrationsFolder() });
  try {
    // Most runs find nothing to do, and need no right to make anything.
    if (pending(migrations, await readApplied(sql)).length === 0) return { applied: 0 };
    return await transaction(
      sql,
      async (tx) => {
        await tx`select pg_advisory_xact_lock(hashtextextended('longtail:migrate', 0))`.simple();
        const missing = pending(migrations, await readApplied(tx));
        await tx`
        do $$ begin
          if not exists (select from pg_namespace where nspname = 'longtail') then create schema longtail; end if;
          if not exists (select from pg_tables where schemaname = 'longtail' and tablename = 'migrations') then
            create table longtail.migrations (id serial primary key, hash text not null, created_at bigint);
          end if;
        end $$`.simple();
        for (const migration of missing) {
          for (const statement of migration.sql) await tx.unsafe(statement);
          await tx`
          insert into longtail.migrations (hash, created_at)
          values (${migration.hash}::text, ${String(migration.folderMillis)}::text::bigint)`;
        }
        return { applied: missing.length };
      },
      { silenceMs: MIGRATION_SILENCE_MS },
    );
  } catch (error) {
    throw migrationError(sql, error);
  }
}

/** An index on a large table takes its time without a word, and another process may be at it before us. */
const MIGRATION_SILENCE_MS = 3_600_000;

/** `drizzle/` of this package, whether this runs from `src/db` or `dist/db`. */
function migrationsFolder(): string {
  return fileURLToPath(new URL('../../drizzle', import.meta.url));
}

/** The moments of the migrations that were applied, which name them; empty in a new database. */
async function readApplied(sql: Pick<Sql, 'unsafe'>): Promise<ReadonlySet<number>> {
  // Not to_regclass: within a transaction it may answer from what was true before a lock was waited for.
  const found = await sql.unsafe(
    `select from pg_tables where schemaname = 'longtail' and tablename = 'migrations'`,
  );
  if (found.length === 0) return new Set();
  const rows = await sql.unsafe(`select created_at::text as "moment" from longtail.migrations`);
  return new Set(rows.map((row) => Number(row.moment)));
}

function pending(migrations: readonly Migration[], applied: ReadonlySet<number>): Migration[] {
  const known = new Set(migrations.map((migration) => migration.folderMillis));
  if ([...applied].some((moment) => !known.has(moment))) {
    throw new LongtailError(
      'MIGRATION_FAILED',
      'The schema longtail was made by a newer version of Longtail.',
      'Update the package longtail.',
    );
  }
  return migrations.filter((migration) => !applied.has(migration.folderMillis));
}

function migrationError(sql: Sql, error: unknown): LongtailError {
  if (error instanceof LongtailError) return error;
  const { code, message } = errorFacts(error);
  if (code === '42501') {
    const { user, database } = sql.options;
    return new LongtailError(
      'DATABASE_REFUSED',
      `The user ${user} may not make Longtail's tables in the ${place(sql)}: ${message}`,
      `As its owner: GRANT CREATE ON DATABASE "${database}" TO "${user}"; GRANT CREATE ON SCHEMA public TO "${user}";`,
      { cause: error },
    );
  }
  if (isConnectionLoss(error)) return connectError(sql, error);
  return new LongtailError(
    'MIGRATION_FAILED',
    `The migrations did not run on the ${place(sql)}, which is unchanged: ${message}`,
    code === '42P07'
      ? 'The database has a table or view of that name already: rename it, or use a database of its own.'
      : 'Use a database of its own for Longtail, or report this.',
    { cause: error },
  );
}
