/** A property's name as Search Console writes it, out of what people type, copy and paste. */
import { domainToASCII, domainToUnicode } from 'node:url';

/** Direction marks, joiners, byte order marks and the like: they come with copying, and are part of no name. */
const INVISIBLE = /[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff]/g;
const PREFIX = /^(https?):\/\/([^/?#]*)(.*)$/is;
const DOMAIN = /^sc-domain:(.*)$/is;

/** Without what nobody sees, and without spaces around it. */
export function visiblePart(text: string): string {
  // \s has no-break spaces, too.
  return text.replace(INVISIBLE, '').replace(/^\s+|\s+$/g, '');
}

/**
 * The same property's name in one spelling, to compare two by: the host in ASCII and lower case, percent-encoding in one form.
 * Undefined where it is no name at all.
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
 * The name in the one spelling that it has here: nothing invisible, scheme and host in lower case, the host as it is read and not in
 * punycode, the path encoded. What is no name stays as it is, for whoever says what is wrong with it.
 */
export function normalName(name: string): string {
  const text = visiblePart(name);
  const domain = DOMAIN.exec(text)?.[1];
  if (domain !== undefined) return `sc-domain:${readableHost(domain)}`;
  const [, scheme = '', host = '', path = ''] = PREFIX.exec(text) ?? [];
  if (scheme === '' || host.includes('@')) return text;
  return `${scheme.toLowerCase()}://${readableHost(withoutUsualPort(scheme, host))}${encodedPath(path)}`;
}

/** Whether Search Console may list it in another spelling than ours. */
export function hasSpellings(name: string): boolean {
  return /[^ -~]|%/.test(name);
}

/** Search Console leaves out the port that the scheme stands for. */
const withoutUsualPort = (scheme: string, hostAndPort: string): string =>
  hostAndPort.replace(scheme.toLowerCase() === 'https' ? /:443$/ : /:80$/, '');

function readableHost(hostAndPort: string): string {
  // What cannot be a host is shown as it was given.
  if (/[\s/\\?#@%[\]]/.test(hostAndPort)) return hostAndPort;
  const [host = '', ...port] = hostAndPort.split(':');
  const readable = domainToUnicode(host.toLowerCase());
  // The root of all names is a dot that nobody writes, and Search Console does not.
  const name = (readable === '' ? host.toLowerCase() : readable).replace(/(?<=[^.])\.$/, '');
  return [name, ...port].join(':');
}

/** `ü` as `%C3%BC`; what is encoded already stays so, in capitals. */
const encodedPath = (path: string): string =>
  path
    .replace(/[^ -~]+/gu, (text) => encodeURIComponent(text.toWellFormed()))
    .replace(/%[\da-f]{2}/gi, (code) => code.toUpperCase());
