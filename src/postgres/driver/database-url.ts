/**
 * Parses a database URL as libpq does, with the environment variables (`PGHOST`, …) for what it leaves out. Pure: the
 * files that it names are read when the connection is made.
 *
 * More lenient than libpq where the URLs that providers hand out need it: a literal percent sign, `@` and `/` in a
 * password, other clients' parameters. No error repeats any part of the input, which may be secret.
 */
import { isIPv6 } from 'node:net';
import { LongtailError } from '../../domain/errors.ts';
import type { Endpoint } from '../../internals/socket.ts';

export const TLS_MODES = ['disable', 'allow', 'prefer', 'require', 'verify-ca', 'verify-full'] as const;
export type TlsMode = (typeof TLS_MODES)[number];

export const SESSION_ATTRS = [
  'any',
  'read-write',
  'read-only',
  'primary',
  'standby',
  'prefer-standby',
] as const;
export type SessionAttrs = (typeof SESSION_ATTRS)[number];

/** The requested TLS settings. The files are not read yet. */
export interface TlsWish {
  /** Undefined: not specified. */
  readonly mode: TlsMode | undefined;
  readonly negotiation: 'postgres' | 'direct';
  /** A file, or `system` for the certificates that Node and the operating system trust. */
  readonly rootCert: string | undefined;
  readonly cert: string | undefined;
  readonly key: string | undefined;
  readonly keyPassword: string | undefined;
  readonly revoked: string | undefined;
  readonly minVersion: string | undefined;
}

/** A complete database address. */
export interface DatabaseAddress {
  /** Tried one after another. Never empty. */
  readonly endpoints: readonly Endpoint[];
  readonly user: string;
  /** Empty: not given. */
  readonly password: string;
  readonly passwordFile: string | undefined;
  readonly database: string;
  readonly tls: TlsWish;
  readonly sessionAttrs: SessionAttrs;
  readonly connectTimeoutMs: number | undefined;
  readonly applicationName: string | undefined;
  /** Server settings, as `-c name=value`. */
  readonly options: string | undefined;
  /** False when the URL says that prepared statements do not work there. */
  readonly mayPrepare: boolean;
}

/** Completes an address that leaves parts out. */
export interface Surroundings {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly osUser: string;
}

const EXAMPLE = 'Write it as postgres://user:password@host:5432/database.';

const wrong = (problem: string, nextStep = EXAMPLE): LongtailError =>
  new LongtailError('BAD_OPTION', `The database URL is invalid: ${problem}.`, nextStep);

/** libpq's environment variables, by the keyword that each one sets. */
const VARIABLES: Readonly<Record<string, string>> = {
  host: 'PGHOST',
  hostaddr: 'PGHOSTADDR',
  port: 'PGPORT',
  dbname: 'PGDATABASE',
  user: 'PGUSER',
  password: 'PGPASSWORD',
  passfile: 'PGPASSFILE',
  service: 'PGSERVICE',
  options: 'PGOPTIONS',
  application_name: 'PGAPPNAME',
  sslmode: 'PGSSLMODE',
  sslnegotiation: 'PGSSLNEGOTIATION',
  sslrootcert: 'PGSSLROOTCERT',
  sslcert: 'PGSSLCERT',
  sslkey: 'PGSSLKEY',
  sslcrl: 'PGSSLCRL',
  ssl_min_protocol_version: 'PGSSLMINPROTOCOLVERSION',
  connect_timeout: 'PGCONNECT_TIMEOUT',
  target_session_attrs: 'PGTARGETSESSIONATTRS',
};

/** For input that is not a PostgreSQL URL. */
const noUrl = (what: string, nextStep = EXAMPLE): LongtailError =>
  new LongtailError('BAD_OPTION', `The database URL is not a PostgreSQL URL: ${what}.`, nextStep);

type Values = ReadonlyMap<string, string>;

/** @throws LongtailError BAD_OPTION, which names the problem without repeating the input. */
export function parseDatabaseUrl(target: string, { environment, osUser }: Surroundings): DatabaseAddress {
  const given = readTarget(target);
  const value = (name: string): string | undefined => {
    const variable = VARIABLES[name];
    return given.get(name) ?? (variable === undefined ? undefined : environment[variable] || undefined);
  };
  if (value('service') !== undefined) {
    throw wrong('it names a service, and service files are not supported', EXAMPLE);
  }
  const user = value('user') ?? osUser;
  if (user === '') throw wrong('it names no user', EXAMPLE);
  const password = value('password') ?? '';
  if (/^\[?(?:YOUR[-_ ]PASSWORD|PASSWORD)\]$/i.test(password)) {
    throw wrong('the password is still the provider’s placeholder', 'Replace it with the real password.');
  }
  return {
    endpoints: readEndpoints(value('host'), value('hostaddr'), value('port')),
    user,
    password,
    passwordFile: value('passfile'),
    database: value('dbname') ?? user,
    tls: readTls(value),
    sessionAttrs: readSessionAttrs(value('target_session_attrs')),
    connectTimeoutMs: readTimeout(value('connect_timeout')),
    applicationName: value('application_name') ?? given.get('fallback_application_name'),
    // JavaScript encodes a space as a plus sign.
    options: value('options')?.replace(/\+(?=-)|(?<=^-c|[\s+]-c)\+/g, ' '),
    mayPrepare: !saysNotToPrepare(given),
  };
}

/** The given values, by libpq's keywords. */
function readTarget(target: string): Values {
  const text = bare(target);
  if (text === '') throw wrong('it is empty');
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(text)?.[1]?.toLowerCase();
  if (scheme !== undefined) {
    if (/^prisma(?:\+postgres)?$/.test(scheme)) {
      throw noUrl(
        'it points to Prisma’s own service, which is not PostgreSQL',
        'Use the URL of the direct connection, which begins with postgres://.',
      );
    }
    if (/^postgres(?:ql)?\+/.test(scheme)) {
      throw noUrl('it names a driver of another language', 'Remove everything from the + up to the colon.');
    }
    if (scheme !== 'postgres' && scheme !== 'postgresql') throw noUrl(NO_URL);
    return readUrl(text.slice(scheme.length + '://'.length));
  }
  if (/^jdbc:/i.test(text)) {
    throw noUrl(
      'it is a JDBC URL, which only Java reads',
      'Remove jdbc:, and put user and password before the host: postgres://user:password@host:5432/database.',
    );
  }
  if (/^[a-z_]+\s*=/i.test(text)) {
    throw noUrl('it is a list of name=value pairs, not a URL', EXAMPLE);
  }
  throw noUrl(NO_URL);
}

const NO_URL = 'it does not begin with postgres:// or postgresql://';

/** Removes what people often copy along: quotes, white space, a preceding command or variable name. */
function bare(target: string): string {
  let text = target.trim();
  text = text.replace(/^(?:export\s+)?[A-Z][A-Z0-9_]*URL\s*=\s*/, '').replace(/^psql\s+/, '');
  const quoted = /^(["'`])(.*)\1$/s.exec(text);
  if (quoted?.[2] !== undefined) text = quoted[2].trim();
  return text;
}

/** Parses everything after `postgres://`. */
function readUrl(text: string): Values {
  const { login, rest } = splitLogin(text);
  const values = new Map<string, string>();
  if (login !== undefined) {
    const colon = login.indexOf(':');
    const user = decoded(colon === -1 ? login : login.slice(0, colon));
    if (user !== '') values.set('user', user);
    if (colon !== -1 && colon + 1 < login.length) values.set('password', decoded(login.slice(colon + 1)));
  }
  const [, hosts = '', path, query = ''] = /^([^/?]*)(?:\/([^?]*))?(?:\?(.*))?$/s.exec(rest) ?? [];
  const places = hosts === '' ? [] : splitHosts(hosts);
  if (places.some(({ host }) => host !== '')) values.set('host', places.map(({ host }) => host).join(','));
  if (places.some(({ port }) => port !== '')) values.set('port', places.map(({ port }) => port).join(','));
  if (path !== undefined && path !== '') values.set('dbname', decoded(path.replace(/\/$/, '')));
  for (const pair of query.split('&')) {
    const equals = pair.indexOf('=');
    if (equals < 1) continue;
    const name = decoded(pair.slice(0, equals)).toLowerCase();
    const value = decoded(pair.slice(equals + 1));
    if (value !== '') values.set(ALIASES.get(name) ?? name, value);
  }
  return withSslFlag(values);
}

/** Other clients' names for libpq's parameters. */
const ALIASES: ReadonlyMap<string, string> = new Map([
  ['database', 'dbname'],
  ['username', 'user'],
  ['applicationname', 'application_name'],
  ['targetservertype', 'target_session_attrs'],
]);

/** `ssl=true` is how Java's driver writes `sslmode=require`. */
function withSslFlag(values: Map<string, string>): Values {
  const flag = values.get('ssl')?.toLowerCase();
  if (flag !== undefined && !values.has('sslmode')) {
    if (flag === 'true' || flag === '1') values.set('sslmode', 'require');
    else if (flag === 'false' || flag === '0') values.set('sslmode', 'disable');
    else if (TLS_MODES.some((mode) => mode === flag)) values.set('sslmode', flag);
    else if (flag === 'no-verify') values.set('sslmode', 'require');
  }
  return values;
}

/**
 * Splits user and password from the rest. They end at the last `@` before the path. If the only `@` comes later, the
 * password contains a slash or a question mark that should have been encoded.
 */
function splitLogin(text: string): { readonly login: string | undefined; readonly rest: string } {
  const authority = /^[^/?]*/.exec(text)?.[0] ?? '';
  let at = authority.lastIndexOf('@');
  if (at === -1 && authority.includes(':') && !/^[^[]*\]?:\d*$/.test(authority)) at = text.lastIndexOf('@');
  if (at === -1 && /^[^:]+:[^:]*$/.test(authority)) {
    // A password such as 12/34: the start looks like host and port, and an @ follows in the path.
    const path = /^[^?]*/.exec(text)?.[0] ?? '';
    at = path.lastIndexOf('@');
  }
  return at === -1
    ? { login: undefined, rest: text }
    : { login: text.slice(0, at), rest: text.slice(at + 1) };
}

function splitHosts(hosts: string): { readonly host: string; readonly port: string }[] {
  return hosts.split(',').map((place) => {
    const match = /^(\[[^\]]*\]|[^:]*)(?::([^:]*))?$/.exec(place);
    if (match === null) {
      throw wrong(
        'its host has more than one colon',
        'Put an IPv6 address into brackets: postgres://user@[::1]:5432/database.',
      );
    }
    return { host: decoded(match[1] ?? ''), port: match[2] ?? '' };
  });
}

/** `%41` is an A. A percent sign that starts no escape is literal. */
function decoded(text: string): string {
  return text.replace(/(?:%[0-9a-f]{2})+/gi, (run) => {
    try {
      return decodeURIComponent(run);
    } catch {
      return run;
    }
  });
}

const DEFAULT_PORT = 5432;

function readEndpoints(hosts = '', addresses = '', ports = ''): readonly Endpoint[] {
  const names = hosts.split(',').map((host) => host.trim());
  const numeric = addresses === '' ? [] : addresses.split(',').map((address) => address.trim());
  const numbers = ports === '' ? [] : ports.split(',').map(readPort);
  const count = hosts === '' && numeric.length > 0 ? numeric.length : names.length;
  if (numbers.length > 1 && numbers.length !== count) {
    throw wrong('the number of ports differs from the number of hosts');
  }
  if (numeric.length > 0 && numeric.length !== count) {
    throw wrong('the number of addresses (hostaddr) differs from the number of hosts');
  }
  return Array.from({ length: count }, (_, place): Endpoint => {
    const port = numbers[numbers.length === 1 ? 0 : place] ?? DEFAULT_PORT;
    const address = numeric[place];
    const host = (names[place] ?? '').replace(/^\[(.*)\]$/, '$1') || address || 'localhost';
    // A name that begins with @ is one of Linux's abstract sockets.
    if (host.startsWith('/')) return { kind: 'socket', path: socketPath(host, port), port };
    if (host.startsWith('@')) return { kind: 'socket', path: `\0${host.slice(1)}/.s.PGSQL.${port}`, port };
    if (/[\s/\\<>^|[\]]/.test(host) || (host.includes(':') && !isIPv6(host)))
      throw wrong('its host is neither a valid name nor an address');
    return { kind: 'tcp', host, port, ...(address === undefined || address === '' ? {} : { address }) };
  });
}

/** A folder, as libpq expects, or the socket in it. */
function socketPath(folder: string, port: number): string {
  return /\/\.s\.PGSQL\.\d+$/.test(folder) ? folder : `${folder.replace(/\/+$/, '')}/.s.PGSQL.${port}`;
}

function readPort(text: string): number {
  const trimmed = text.trim();
  if (trimmed === '') return DEFAULT_PORT;
  const port = Number(trimmed);
  if (/^\d{1,5}$/.test(trimmed) && port >= 1 && port <= 65_535) return port;
  throw wrong(
    'its port is not a number from 1 to 65535',
    'Percent-encode special characters in the password: @ is %40, / is %2F, : is %3A.',
  );
}

function readTls(value: (name: string) => string | undefined): TlsWish {
  const mode = oneOf(TLS_MODES, 'sslmode', value('sslmode')?.replace(/^verify_/, 'verify-'));
  const rootCert = value('sslrootcert');
  return {
    mode: mode ?? (rootCert === 'system' ? 'verify-full' : undefined),
    negotiation:
      oneOf(['postgres', 'direct'] as const, 'sslnegotiation', value('sslnegotiation')) ?? 'postgres',
    rootCert,
    cert: value('sslcert'),
    key: value('sslkey'),
    keyPassword: value('sslpassword'),
    revoked: value('sslcrl'),
    minVersion: value('ssl_min_protocol_version'),
  };
}

/** Java's names for them. */
const ATTRS_ALIASES: Readonly<Record<string, SessionAttrs>> = {
  master: 'primary',
  secondary: 'standby',
  preferSecondary: 'prefer-standby',
};

function readSessionAttrs(attrs: string | undefined): SessionAttrs {
  const known = attrs === undefined ? undefined : (ATTRS_ALIASES[attrs] ?? attrs);
  return oneOf(SESSION_ATTRS, 'target_session_attrs', known) ?? 'any';
}

function oneOf<T extends string>(
  known: readonly T[],
  name: string,
  value: string | undefined,
): T | undefined {
  if (value === undefined) return undefined;
  const found = known.find((one) => one === value.toLowerCase());
  if (found !== undefined) return found;
  throw wrong(
    `its ${name} is not a value that PostgreSQL knows`,
    `Use one of ${known.join(', ')}, or leave it out.`,
  );
}

/** Whole seconds. Like libpq: at least 2, and 0 or less means no limit. */
function readTimeout(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const seconds = Number(text);
  if (!Number.isInteger(seconds)) {
    throw wrong(
      'its connect_timeout is not a whole number of seconds',
      'Write connect_timeout=10, or leave it out.',
    );
  }
  return seconds <= 0 ? undefined : Math.max(2, seconds) * 1_000;
}

/** Other clients' ways to say that there is a transaction pooler. */
function saysNotToPrepare(given: Values): boolean {
  return (
    given.get('pgbouncer') === 'true' ||
    given.get('preparethreshold') === '0' ||
    given.get('statement_cache_size') === '0' ||
    given.get('prepared_statements') === 'false'
  );
}
