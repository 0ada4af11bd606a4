import { mayBeSecret } from './secrets.ts';

const MAX_CHARACTERS = 80;
/** Maximum path length on most systems. */
const MAX_PATH_LENGTH = 4_096;
const MAX_SHOWN_PATH_LENGTH = 400;
const NOT_SHOWN = '(not shown: it may be a secret)';

/**
 * Formats user input for a message. Text is quoted, on one line, and shortened if long; other values show only their
 * type. Removes terminal control characters and anything that may be a secret, because people paste secrets into the
 * wrong place.
 */
export function quoted(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return mayBeSecret(value) ? NOT_SHOWN : `"${shortened(value)}"`;
    case 'number':
    case 'boolean':
    case 'bigint':
    case 'undefined':
      return shortened(String(value));
    case 'object':
      if (value === null) return 'null';
      return Array.isArray(value) ? 'a list' : 'an object';
    default:
      return `a ${typeof value}`;
  }
}

/** Formats a path the same way, but without quotes and long enough to find the file. */
export function shownPath(path: string): string {
  if (mayBeSecret(path) || path.length > MAX_PATH_LENGTH) return NOT_SHOWN;
  if (path.trim() === '') return quoted(path);
  return oneLineOf(path.length > MAX_SHOWN_PATH_LENGTH ? `${path.slice(0, MAX_SHOWN_PATH_LENGTH)}…` : path);
}

function shortened(text: string): string {
  const short = text.length > MAX_CHARACTERS ? `${text.slice(0, MAX_CHARACTERS)}…` : text;
  return oneLineOf(short);
}

function oneLineOf(text: string): string {
  return text.toWellFormed().replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, ' ');
}
