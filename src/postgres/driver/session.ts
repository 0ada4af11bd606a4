/**
 * The settings that our sessions rely on, whatever the server, the database or the role has set: how values are written
 * as text, how names are resolved, and that no foreign timeout ends our work. Whether a session may write is not
 * overridden: hosted services take that right away when their disk is full.
 */
const RELIED_ON: readonly (readonly [name: string, value: string])[] = [
  ['client_encoding', 'UTF8'],
  ['DateStyle', 'ISO, MDY'],
  ['IntervalStyle', 'postgres'],
  ['TimeZone', 'UTC'],
  ['extra_float_digits', '1'],
  ['bytea_output', 'hex'],
  ['standard_conforming_strings', 'on'],
  ['transform_null_equals', 'off'],
  ['quote_all_identifiers', 'off'],
  ['search_path', 'public'],
  ['row_security', 'on'],
  ['client_min_messages', 'warning'],
  ['statement_timeout', '0'],
  ['lock_timeout', '0'],
  ['idle_in_transaction_session_timeout', '0'],
  ['transaction_timeout', '0'],
];

/** For a session that is ours alone: settings that matter while no transaction is open, or after the process has gone. */
const OF_A_SESSION: readonly (readonly [name: string, value: string])[] = [
  ['default_transaction_isolation', 'read committed'],
  ['default_transaction_deferrable', 'off'],
  ['idle_session_timeout', '0'],
  // The server notices within a minute that a client has vanished, and releases its locks.
  ['tcp_keepalives_idle', '30'],
  ['tcp_keepalives_interval', '10'],
  ['tcp_keepalives_count', '3'],
  ['tcp_user_timeout', '60000'],
];

/** Whether Longtail sets this setting itself in every session. */
export function isReliedOn(name: string): boolean {
  return [...RELIED_ON, ...OF_A_SESSION].some(([known]) => known.toLowerCase() === name.toLowerCase());
}

/** Starts every transaction: the isolation level cannot be changed later. The other modes are left as they are. */
export const BEGIN_OPTIONS = 'isolation level read committed';

/** Sent once on a session of our own. */
export const SETTINGS_OF_SESSION = settings([...RELIED_ON, ...OF_A_SESSION], false);

/** Sent in each transaction through a pooler: the session is lent, and serves other clients next. */
export const SETTINGS_OF_TRANSACTION = settings(RELIED_ON, true);

/** One statement. Names that this server does not know (`transaction_timeout` came with 17) are left out. */
function settings(values: readonly (readonly [string, string])[], isLocal: boolean): string {
  const rows = values.map(([name, value]) => `('${name}', '${value}')`).join(', ');
  return `select pg_catalog.set_config(s.name, s.value, ${isLocal})
    from (values ${rows}) as s(name, value)
    where pg_catalog.current_setting(s.name, true) is not null`;
}
