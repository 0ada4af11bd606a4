import { BlockList, isIP } from 'node:net';
import { domainToASCII } from 'node:url';
import { LongtailError } from '../../domain/errors.ts';
import { isLoopback } from '../../domain/loopback.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

/** An HTTP proxy from an environment variable. */
export interface HttpProxy {
  /** The name of the variable. */
  readonly source: string;
  /** Whether the connection to the proxy itself uses TLS. */
  readonly isTls: boolean;
  readonly hostname: string;
  readonly port: number;
  /** The value of `Proxy-Authorization`. A secret. */
  readonly authorization: string | undefined;
}

/** The proxy's name in messages, without user and password. */
export function nameOf({ hostname, port, source }: HttpProxy): string {
  return `the proxy ${hostname}:${port} (${source})`;
}

/** Error code for a proxy that requires a sign-in, or rejects the one it was given. A retry cannot help. */
export const PROXY_SIGN_IN = 'PROXY_SIGN_IN';

/** What to do about {@link PROXY_SIGN_IN}. */
export const PROXY_SIGN_IN_STEP =
  'Put the proxy’s user and password into that variable: http://user:password@host:port (with %40 for an @ in the password, %2F for a /).';

/** Plain http is used only for this machine, so it never needs a proxy. */
const VARIABLES = ['https_proxy', 'HTTPS_PROXY', 'all_proxy', 'ALL_PROXY'];

/**
 * The proxy for a URL, chosen as curl does: `HTTPS_PROXY`, otherwise `ALL_PROXY`; lower case takes precedence. Undefined
 * for this machine and for hosts that `NO_PROXY` lists.
 * @throws LongtailError `BAD_OPTION` if the chosen variable is not the URL of an HTTP proxy.
 */
export function proxyFor(url: URL, env: Environment): HttpProxy | undefined {
  if (url.protocol !== 'https:' || isLoopback(url.hostname)) return undefined;
  const source = VARIABLES.find((name) => (env[name] ?? '').trim() !== '');
  if (source === undefined || isExcepted(url, env.no_proxy || env.NO_PROXY || '')) return undefined;
  return readProxy((env[source] ?? '').trim(), source);
}

/** Errors never repeat the text, because it may contain a password. */
function readProxy(text: string, source: string): HttpProxy {
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(text)?.[1]?.toLowerCase();
  if (scheme?.startsWith('socks') === true) {
    throw wrong(`${source} names a SOCKS proxy, but Longtail supports only HTTP proxies`, source);
  }
  const url = URL.parse(scheme === undefined ? `http://${text}` : text);
  if (url === null || url.hostname === '' || !/^https?:$/.test(url.protocol)) {
    throw wrong(`${source} is not the URL of an HTTP proxy`, source);
  }
  // An unescaped "/", "?" or "#" in a password ends the host early.
  if (url.pathname !== '/' || url.search !== '' || url.hash !== '') {
    throw wrong(`${source} has more text after the proxy's host and port`, source);
  }
  const isTls = url.protocol === 'https:';
  const user = decoded(url.username);
  const password = decoded(url.password);
  return {
    source,
    isTls,
    hostname: url.hostname,
    port: url.port === '' ? (isTls ? 443 : 80) : Number(url.port),
    authorization:
      user === '' && password === ''
        ? undefined
        : `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`,
  };
}

function wrong(message: string, source: string): LongtailError {
  return new LongtailError(
    'BAD_OPTION',
    `${message}.`,
    `Set ${source} to http://user:password@host:port (with %40 for an @ in the password, %2F for a /), or unset it.`,
  );
}

/** Decodes percent-encoding. Keeps text with a bare "%", which people use in passwords. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/**
 * Whether `NO_PROXY` lists the URL. Its entries are `*`, addresses, networks such as `10.0.0.0/8`, and names, which include
 * all names below them (a leading `.` or `*.` makes no difference). Each may have a port.
 */
function isExcepted(url: URL, list: string): boolean {
  const host = unbracketed(url.hostname).replace(/\.$/, '');
  const port = url.port === '' ? '443' : url.port;
  return list
    .toLowerCase()
    .split(/[\s,]+/)
    .some((entry) => entry === '*' || (entry !== '' && matches(entry, host, port)));
}

function matches(entry: string, host: string, port: string): boolean {
  const [, name = entry, onPort] = isIP(entry) === 0 ? (/^(.+?):(\d+)$/.exec(entry) ?? []) : [];
  if (onPort !== undefined && onPort !== port) return false;
  const pattern = unbracketed(name.replace(/^[a-z]+:\/\//, '').replace(/\/$/, ''));
  if (isIP(host) !== 0) return isInNetwork(pattern, host);
  const suffix = pattern.replace(/^\*?\.|\.$/g, '');
  // The list may contain Unicode names; the URL has their ASCII form.
  const ascii = domainToASCII(suffix) || suffix;
  return host === ascii || host.endsWith(`.${ascii}`);
}

function isInNetwork(pattern: string, address: string): boolean {
  const [network = '', prefix] = pattern.split('/');
  const family = isIP(network) === 4 ? 'ipv4' : 'ipv6';
  const longest = family === 'ipv4' ? 32 : 128;
  const bits = prefix === undefined ? longest : /^\d{1,3}$/.test(prefix) ? Number(prefix) : -1;
  if (isIP(network) === 0 || bits < 0 || bits > longest) return false;
  const networks = new BlockList();
  networks.addSubnet(network, bits, family);
  return networks.check(address, isIP(address) === 4 ? 'ipv4' : 'ipv6');
}

const unbracketed = (host: string): string => host.replace(/^\[|\]$/g, '');
