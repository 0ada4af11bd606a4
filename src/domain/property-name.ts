/** Converts what people type, copy and paste into a property name as Search Console writes it. */
import { domainToASCII, domainToUnicode } from 'node:url';

/** Direction marks, joiners, byte order marks and the like. They come from copying and are never part of a name. */
const INVISIBLE = /[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff]/g;
const PREFIX = /^(https?):\/\/([^/?#]*)(.*)$/is;
const DOMAIN = /^sc-domain:(.*)$/is;

/** Removes invisible characters and surrounding spaces. */
export function visiblePart(text: string): string {
  // \s includes no-break spaces.
  return text.replace(INVISIBLE, '').replace(/^\s+|\s+$/g, '');
}

/**
 * A canonical key to compare two names: host in ASCII and lower case, percent-encoding in one form. Undefined if it is
 * not a name.
 */
export function propertyKey(name: string): string | undefined {
  const text = visiblePart(name);
  const domain = DOMAIN.exec(text)?.[1];
  if (domain !== undefined) {
    const ascii = domainToASCII(domain.replace(/\.$/, ''));
    return ascii === '' ? undefined : `sc-domain:${ascii}`;
  }
  return PREFIX.test(text) ? URL.parse(text)?.href : undefined;
}

/**
 * The normalised name: no invisible characters, scheme and host in lower case, host in Unicode instead of punycode,
 * path encoded. Invalid names are returned unchanged, so that the caller can report them.
 */
export function normalName(name: string): string {
  const text = visiblePart(name);
  const domain = DOMAIN.exec(text)?.[1];
  if (domain !== undefined) return `sc-domain:${readableHost(domain)}`;
  const [, scheme = '', host = '', path = ''] = PREFIX.exec(text) ?? [];
  if (scheme === '' || host.includes('@')) return text;
  return `${scheme.toLowerCase()}://${readableHost(withoutUsualPort(scheme, host))}${encodedPath(path)}`;
}

/** Whether Search Console may list the name in a different spelling. */
export function hasSpellings(name: string): boolean {
  return /[^ -~]|%/.test(name);
}

/** Search Console omits the scheme's default port. */
const withoutUsualPort = (scheme: string, hostAndPort: string): string =>
  hostAndPort.replace(scheme.toLowerCase() === 'https' ? /:443$/ : /:80$/, '');

function readableHost(hostAndPort: string): string {
  // Anything that cannot be a host is returned as given.
  if (/[\s/\\?#@%[\]]/.test(hostAndPort)) return hostAndPort;
  const [host = '', ...port] = hostAndPort.split(':');
  const readable = domainToUnicode(host.toLowerCase());
  // Removes the trailing dot of a fully qualified name. Search Console does not use it.
  const name = (readable === '' ? host.toLowerCase() : readable).replace(/(?<=[^.])\.$/, '');
  return [name, ...port].join(':');
}

/** `ü` becomes `%C3%BC`. Existing encoding stays, in upper case. */
const encodedPath = (path: string): string =>
  path
    .replace(/[^ -~]+/gu, (text) => encodeURIComponent(text.toWellFormed()))
    .replace(/%[\da-f]{2}/gi, (code) => code.toUpperCase());
