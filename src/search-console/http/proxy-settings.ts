import { BlockList, isIP } from 'node:net';
import { domainToASCII } from 'node:url';
import { LongtailError } from '../../domain/errors.ts';
import { isLoopback } from '../../domain/loopback.ts';

export type Environment = Readonly<Record<string, string | undefined>>;

/** An HTTP proxy that the environment names. */
export interface HttpProxy {
  /** The variable that names it. */
  readonly source: string;
  /** Whether the proxy itself is spoken to over TLS. */
  readonly isTls: boolean;
  readonly hostname: string;
  readonly port: number;
  /** The value of `Proxy-Authorization`. A secret. */
  readonly authorization: string | undefined;
}

/** What a message calls it: without the user's name and the password. */
export function nameOf({ hostname, port, source }: HttpProxy): string {
  return `the proxy ${hostname}:${port} (${source})`;
}

/** The code of the error of a proxy that wants another sign-in, or one at all: no retry mends it. */
export const PROXY_SIGN_IN = 'PROXY_SIGN_IN';

/** What to do about {@link PROXY_SIGN_IN}. */
export const PROXY_SIGN_IN_STEP =
  'Give the proxy’s user and password in that variable: http://user:password@host:port (with %40 for an @ in the password, %2F for a /).';

/** Tokens travel over https alone, but for this machine itself: a proxy for plain http is never needed. */
const VARIABLES = ['https_proxy', 'HTTPS_PROXY', 'all_proxy', 'ALL_PROXY'];

/**
 * The proxy for a URL, as curl finds it: `HTTPS_PROXY`, else `ALL_PROXY`, in lower case before upper case, but for what
 * `NO_PROXY` excepts, and for this machine itself.
 * @throws LongtailError `BAD_OPTION` when the variable that counts names none that can be used.
 */
export function proxyFor(url: URL, env: Environment): HttpProxy | undefined {
  if (url.protocol !== 'https:' || isLoopback(url.hostname)) return undefined;
  const source = VARIABLES.find((name) => (env[name] ?? '').trim() !== '');
  if (source === undefined || isExcepted(url, env.no_proxy || env.NO_PROXY || '')) return undefined;
  return readProxy((env[source] ?? '').trim(), source);
}

/** What is wrong never repeats the text: it may hold a password. */
function readProxy(text: string, source: string): HttpProxy {
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(text)?.[1]?.toLowerCase();
  if (scheme?.startsWith('socks') === true) {
    throw wrong(`${source} names a SOCKS proxy, and Longtail speaks to HTTP proxies alone`, source);
  }
  const url = URL.parse(scheme === undefined ? `http://${text}` : text);
  if (url === null || url.hostname === '' || !/^https?:$/.test(url.protocol)) {
    throw wrong(`${source} is not the URL of an HTTP proxy`, source);
  }
  // An unescaped "/", "?" or "#" in a password ends the host early.
  if (url.pathname !== '/' || url.search !== '' || url.hash !== '') {
    throw wrong(`${source} goes on after the proxy's host and port`, source);
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

/** People write a bare "%" into passwords. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/**
 * Whether `NO_PROXY` excepts the URL: `*`, names with all below them (with or without a dot or `*.` before), addresses,
 * networks such as `10.0.0.0/8`; any of them with a port.
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
  // Unicode in the list, and an ASCII form in the URL.
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
