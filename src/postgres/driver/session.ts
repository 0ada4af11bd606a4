/**
 * What our sessions rely on, whatever the server, the database or the role has set: how values are written as text, what
 * names mean, and that nobody's timeouts end our work. Whether a session may write is not overridden: a hosted
 * service takes that away when its disk is full.
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

/** For a session that is ours alone: what it is by itself when no transaction is open, and when we are gone. */
const OF_A_SESSION: readonly (readonly [name: string, value: string])[] = [
  ['default_transaction_isolation', 'read committed'],
  ['default_transaction_deferrable', 'off'],
  ['idle_session_timeout', '0'],
  // A client that vanished without a word is noticed within a minute, and its locks are given up.
  ['tcp_keepalives_idle', '30'],
  ['tcp_keepalives_interval', '10'],
  ['tcp_keepalives_count', '3'],
  ['tcp_user_timeout', '60000'],
];

/** Whether a session's own value of a setting would be ours anyway. */
export function isReliedOn(name: string): boolean {
  return [...RELIED_ON, ...OF_A_SESSION].some(([known]) => known.toLowerCase() === name.toLowerCase());
}

/** Each transaction begins with it: the others are not ours to set, and cannot be set later. */
export const BEGIN_OPTIONS = 'isolation level read committed';

/** For a session of our own, once. */
export const SETTINGS_OF_SESSION = settings([...RELIED_ON, ...OF_A_SESSION], false);

/** For one transaction: through a pooler the session is lent, and somebody else's next. */
export const SETTINGS_OF_TRANSACTION = settings(RELIED_ON, true);

/** One statement. Names that this server does not know (`transaction_timeout` came with 17) are left out. */
function settings(values: readonly (readonly [string, string])[], isLocal: boolean): string {
  const rows = values.map(([name, value]) => `('${name}', '${value}')`).join(', ');
  return `select pg_catalog.set_config(s.name, s.value, ${isLocal})
    from (values ${rows}) as s(name, value)
    where pg_catalog.current_setting(s.name, true) is not null`;
}
