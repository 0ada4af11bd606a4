/**
 * Finds out why the database rejects writes: a setting, a lock, or a read-only server. Asks the server itself after it
 * has reported a failure.
 */
import type { Sql, TransactionSql } from 'postgres';
import { errorFacts } from '../../domain/error-facts.ts';
import type { DatabaseAway, DatabaseFailure } from '../../store/types.ts';
import { identifier } from '../driver/identifier.ts';
import { one, Refusal } from './answer.ts';
import { transaction } from './transaction.ts';

const TIMEOUTS: readonly string[] = [
  'statement_timeout',
  'transaction_timeout',
  'idle_in_transaction_session_timeout',
  'idle_session_timeout',
];

/** A setting that may be the cause, and where it is set. */
interface Setting {
  readonly name: string;
  readonly value: string;
  readonly place: 'role' | 'roleInDatabase' | 'database' | null;
  readonly role: string;
  readonly database: string;
}

/** Adds the server's explanation to a failure. Returns it unchanged if there is none. */
export async function explain<F extends DatabaseFailure>(sql: Sql, failure: F): Promise<F | DatabaseAway> {
  if (failure.kind !== 'databaseAway' || failure.cause === undefined) return failure;
  const away: DatabaseAway = failure;
  try {
    switch (failure.cause) {
      case 'timeout':
        return await explainTimeout(sql, away);
      case 'readOnly':
        return await explainReadOnly(sql, away);
      case 'locked':
        return await explainLock(sql, away);
    }
  } catch (error) {
    // This only adds detail to a known failure: an error here changes nothing.
    if (errorFacts(error).code === '') throw error;
    return failure;
  }
}

async function explainTimeout(sql: Sql, away: DatabaseAway): Promise<DatabaseAway> {
  const settings = await readSettings(sql, TIMEOUTS);
  // No timeout is set, so a person cancelled it. The server's message may be in any language.
  if (settings.length === 0) return { kind: 'databaseAway', reason: away.reason };
  const named = settings.filter(({ name }) => away.reason.includes(name.replace(/_/g, ' ').slice(0, 9)));
  const [first] = named.length > 0 ? named : settings;
  if (first === undefined) return away;
  return {
    ...away,
    reason: `${first.name} = ${first.value}${ofWhat(first)} ends the work: ${away.reason}`,
    nextStep: `${lift(first, '0')}, then run again: it resumes where it stopped.`,
  };
}

async function explainReadOnly(sql: Sql, away: DatabaseAway): Promise<DatabaseAway> {
  const [state] = await sql<{ isReplica: boolean }[]>`select pg_is_in_recovery() as "isReplica"`;
  if (state?.isReplica === true) {
    return {
      ...away,
      reason: `the server is a read-only replica: ${away.reason}`,
      nextStep:
        'Use the URL of the primary (or several hosts with target_session_attrs=read-write), then run again: it resumes where it stopped.',
    };
  }
  const [setting] = await readSettings(sql, ['default_transaction_read_only']);
  if (setting === undefined) return away;
  return {
    ...away,
    reason: `default_transaction_read_only = ${setting.value}${ofWhat(setting)}: ${away.reason}`,
    nextStep: `Check whether the disk is full or the plan’s limit is reached; then ${lift(setting, 'off')} and run again: it resumes where it stopped.`,
  };
}

/** Finds who holds the lock. Quotes only a statement's first two words: the rest may be private. */
async function explainLock(sql: Sql, away: DatabaseAway): Promise<DatabaseAway> {
  const holders = await sql<{ pid: number; command: string | null }[]>`
    select distinct l.pid as "pid", upper(substring(a.query from '^\\s*([[:alpha:]]+(?:\\s+[[:alpha:]]+)?)')) as "command"
    from pg_locks l
    join pg_class c on c.oid = l.relation join pg_namespace n on n.oid = c.relnamespace
    left join pg_stat_activity a on a.pid = l.pid
    where n.nspname = 'longtail' and l.granted and l.locktype = 'relation'
      and l.mode in ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
    order by 1 limit 3`;
  if (holders.length === 0) return away;
  const who = holders
    .map(({ pid, command }) => (command === null ? `process ${pid}` : `${command} (process ${pid})`))
    .join(', ');
  return {
    ...away,
    reason: `a table of Longtail is locked by ${who}: ${away.reason}`,
    nextStep: 'Run again when that has ended: it resumes where it stopped.',
  };
}

/** The settings with which the role's sessions start, unless they are off. Lifts the statement timeout so that the query can run. */
async function readSettings(sql: Sql, names: readonly string[]): Promise<readonly Setting[]> {
  return await transaction(sql, async (tx) => {
    await tx.unsafe('set local statement_timeout = 0');
    const rows = await tx<(Setting & { readonly unit: string | null })[]>`
      select s.name as "name", s.reset_val as "value", s.unit as "unit", session_user::text as "role",
        current_database()::text as "database", (
          select case when d.setrole = 0 then 'database' when d.setdatabase = 0 then 'role' else 'roleInDatabase' end
          from pg_db_role_setting d cross join lateral unnest(d.setconfig) as c(entry)
          where d.setrole in (0, (select oid from pg_roles where rolname = session_user))
            and d.setdatabase in (0, (select oid from pg_database where datname = current_database()))
            and c.entry like s.name || '=%'
          order by d.setrole <> 0 and d.setdatabase <> 0 desc, d.setrole <> 0 desc limit 1
        ) as "place"
      from pg_settings s
      where s.name in (select jsonb_array_elements_text(${JSON.stringify(names)}::text::jsonb))
        and s.reset_val not in ('0', 'off')
      order by s.name desc`;
    return rows.map(({ unit, value, ...setting }) => ({ ...setting, value: `${value}${unit ?? ''}` }));
  });
}

function ofWhat({ place, role, database }: Setting): string {
  switch (place) {
    case 'role':
      return ` of role ${identifier(role)}`;
    case 'roleInDatabase':
      return ` of role ${identifier(role)} in database ${identifier(database)}`;
    case 'database':
      return ` of database ${identifier(database)}`;
    case null:
      return ' of the server or the connection';
  }
}

function lift({ place, role, database, name }: Setting, off: string): string {
  switch (place) {
    case 'role':
      return `ALTER ROLE ${identifier(role)} SET ${name} = ${off}`;
    case 'roleInDatabase':
      return `ALTER ROLE ${identifier(role)} IN DATABASE ${identifier(database)} SET ${name} = ${off}`;
    case 'database':
      return `ALTER DATABASE ${identifier(database)} SET ${name} = ${off}`;
    case null:
      return `Set ${name} = ${off} in the server’s configuration or the connection’s options`;
  }
}

/**
 * A session that began while its database was read-only stays read-only, even after the database changes. A session to a
 * replica stays there, though a new one might reach the primary.
 */
const OLD_SESSION_MS = 5_000;

/**
 * Runs `work` in a transaction that can write, or fails. Ends an old session that cannot write and tries the next one,
 * which starts with the current settings.
 */
export async function writableTransaction<T>(sql: Sql, work: (tx: TransactionSql) => Promise<T>): Promise<T> {
  for (let left = sql.options.max; ; left -= 1) {
    let isEnded = false;
    try {
      return await transaction(sql, async (tx) => {
        const state = await readState(tx);
        if (!state.readOnly) return await work(tx);
        if (state.ageMs > OLD_SESSION_MS && left > 0) {
          isEnded = true;
          // The resulting error is that the session has ended.
          await tx`select pg_terminate_backend(pg_backend_pid())`;
        }
        throw new Refusal(READ_ONLY);
      });
    } catch (error) {
      if (!isEnded) throw error;
    }
  }
}

const READ_ONLY: DatabaseFailure = {
  kind: 'databaseAway',
  cause: 'readOnly',
  reason: 'its transactions are read-only',
};

async function readState(tx: TransactionSql) {
  return one(
    await tx<{ readOnly: boolean; ageMs: number }[]>`
      select current_setting('transaction_read_only')::bool as "readOnly",
        coalesce((select (extract(epoch from clock_timestamp() - backend_start) * 1000)::float8
          from pg_stat_activity where pid = pg_backend_pid()), 0) as "ageMs"`,
  );
}

/** How long the probe waits for a lock: long enough to see that there is one. */
const PROBE_LOCK_MS = 2_000;

/** Checks whether a page could be written now: takes the locks of a write, but writes nothing. */
export async function probeWritable(sql: Sql): Promise<null> {
  await writableTransaction(sql, async (tx) => {
    await tx.unsafe(`set local lock_timeout = ${PROBE_LOCK_MS}`);
    await tx.unsafe(
      'lock table longtail.run, longtail.slice, longtail.slice_page, longtail.fact, longtail.quota_lease in row exclusive mode',
    );
  });
  return null;
}
