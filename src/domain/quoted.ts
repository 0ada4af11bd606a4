const MOST_CHARACTERS = 80;

/**
 * What somebody gave, as a message repeats it: text in quotes, on one line, cut where it is long; of all else its kind.
 * Nothing in it that a terminal would obey.
 */
export function quoted(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return `"${shortened(value)}"`;
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

function shortened(text: string): string {
  const short = text.length > MOST_CHARACTERS ? `${text.slice(0, MOST_CHARACTERS)}…` : text;
  return short.toWellFormed().replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, ' ');
}
