/**
 * What secrets look like: for everything that writes text which others made. The patterns know the names that secrets go
 * by, in every way of quoting, and the shapes of Google's own; what no pattern knows is told by how mixed its letters are.
 */

const HIDDEN = '***';

/** The names of secrets in options, headers, JSON, YAML, URLs and variables: `client_secret`, `clientSecret`, `PGPASSWORD`. */
const NAMES =
  '(?:access|refresh|id|auth|bearer)[_-]?token|client[_-]?secret|private[_-]?key(?:[_-]?id)?|api[_-]?key|password|passwd|pwd|passphrase|assertion|secret[_-]?(?:access[_-]?)?key';
/** Quotes that a text within a text within a text has: `"`, `'`, `\"`, `\\\"`. */
const CLOSING = `\\\\*["']`;
const NAMED = `((?:${NAMES})(?:${CLOSING})?\\s*(?:=>|[:=])\\s*)`;

interface Pattern {
  readonly find: RegExp;
  readonly replacement: string;
}

const patterns: readonly Pattern[] = [
  // A key, whole or cut off, its line breaks written in whatever way.
  {
    find: /-----BEGIN(?:[A-Z0-9 +]|%20)*PRIVATE(?: |%20|\+)KEY-----(?:[\s\S]*?-----END(?:[A-Z0-9 +]|%20)*PRIVATE(?: |%20|\+)KEY-----|[^"']*)/g,
    replacement: HIDDEN,
  },
  // People paste passwords with an unescaped "/" or "@" into database URLs.
  {
    find: /(\bpostgres(?:ql)?:\/\/[^\s:/@"'<>]*):(?!password@host)[^\s"<>]*@/gi,
    replacement: `$1:${HIDDEN}@`,
  },
  {
    find: /(\b[a-z][a-z0-9+.-]*:\/\/[^\s:/@"'<>]*):(?!password@|\*\*\*@)[^\s/"<>]*@/gi,
    replacement: `$1:${HIDDEN}@`,
  },
  { find: /(%3A%2F%2F[^\s%"'&]*)%3A(?:(?!%40)[^\s"'&])*%40/gi, replacement: `$1%3A${HIDDEN}%40` },
  // Headers: all up to the end of the quotes, or of the line.
  {
    find: /(\b(?:proxy-)?authorization(?:\\*["'])?\s*[:=]\s*)(\\*["'])(?:(?!\2)[^\n])*/gi,
    replacement: `$1$2${HIDDEN}`,
  },
  {
    find: /(\b(?:proxy-)?authorization\s*[:=]\s*)[^\s"'](?:=\\*"[^"]*"|[^\n"'])*/gi,
    replacement: `$1${HIDDEN}`,
  },
  { find: /\b(bearer|basic)(\s+|%20)[a-z0-9._~+/=-]{6,}/gi, replacement: `$1$2${HIDDEN}` },
  // A parameter of a URL: quotes are a part of it.
  { find: new RegExp(`([?&][\\w.-]{0,40}(?:${NAMES})=)[^\\s&"<>]+`, 'gi'), replacement: `$1${HIDDEN}` },
  // By name, quoted: up to the same quotes, with those inside them escaped once more.
  { find: new RegExp(`${NAMED}"(?:[^"\\\\]|\\\\[\\s\\S])*"?`, 'gi'), replacement: `$1"${HIDDEN}"` },
  { find: new RegExp(`${NAMED}'(?:[^'\\\\]|\\\\[\\s\\S]|'')*'?`, 'gi'), replacement: `$1'${HIDDEN}'` },
  {
    find: new RegExp(`${NAMED}(\\\\+["'])(?:(?!(?<!\\\\)\\2)[\\s\\S])*(\\2)?`, 'gi'),
    replacement: `$1$2${HIDDEN}$2`,
  },
  // By name, unquoted; a command that reads it from elsewhere, `$(cat file)`, is none.
  {
    find: new RegExp(`${NAMED}(?!["'\\\\]|"?\\$\\(|\\*\\*\\*)[^\\s"'&,;}\\])<>]+`, 'gi'),
    replacement: `$1${HIDDEN}`,
  },
  {
    find: new RegExp(
      `((?:${NAMES})(?:%22|%27)?(?:%3A|%3D)(?:%20|\\+)*(?:%22|%27)?)(?:(?!%22|%27|%2C|%26)[^\\s&"'])+`,
      'gi',
    ),
    replacement: `$1${HIDDEN}`,
  },
  // Google's access and refresh tokens, client secrets, API keys, and JSON web tokens.
  { find: /\bya29\.[\w-]+(?:\.[\w-]+)*/g, replacement: HIDDEN },
  { find: /(?<![\w/:.-])1\/\/[\w-]{10,}/g, replacement: HIDDEN },
  { find: /\bGOCSPX-[\w-]+/g, replacement: HIDDEN },
  { find: /\bAIza[\w-]{20,}/g, replacement: HIDDEN },
  { find: /\beyJ[\w-]{5,}\.[\w-]{5,}(?:\.[\w-]*)?/g, replacement: HIDDEN },
];

/** What base64 is written in, in either alphabet. */
const RUNS = /[A-Za-z0-9+/_-]{20,}={0,2}/g;
const SHORTEST_MIXED_RUN = 28;

/** The text with `mark` in place of what looks like a secret in it. */
export function withoutSecrets(text: string, mark = HIDDEN): string {
  let clean = text;
  for (const { find, replacement } of patterns) clean = clean.replace(find, replaceBy(replacement));
  clean = clean.replace(RUNS, (run) => (isEncodedSecret(run) || isMixed(run) ? HIDDEN : run));
  return mark === HIDDEN ? clean : clean.replaceAll(HIDDEN, mark);
}

/** `PGPASSWORD="$(cat file)"` names a file, and stays. */
function replaceBy(replacement: string) {
  return (whole: string, ...groups: readonly unknown[]): string =>
    /[=:]\s*["']?\$\(/.test(whole)
      ? whole
      : replacement.replace(/\$(\d)/g, (_, index: string) => String(groups[Number(index) - 1] ?? ''));
}

/**
 * Whether a text that somebody gave in a wrong place may be a secret, or a part of one: then no message repeats it.
 */
export function mayBeSecret(text: string): boolean {
  return KEY_MATERIAL.test(text) || withoutSecrets(text) !== text;
}

/** Of a credentials file, in every form in which people hand it over; its beginning or a part is enough. */
const KEY_MATERIAL =
  /^[\s\ufeff"'`\\]*[{[]|^\s*data:|%7B|%22|-----|(?:private|client|refresh|access)[_-]?(?:key|secret|token)|service_account|authorized_user|gserviceaccount|["']\s*:|\\n/i;

/** Whether it is base64 of what has a secret's name in it, or of text at all where it is long. */
function isEncodedSecret(run: string): boolean {
  // A piece cut out of the middle may begin anywhere within a group of four.
  for (let skipped = 0; skipped < 4; skipped++) {
    const decoded = Buffer.from(run.slice(skipped), 'base64').toString('latin1');
    if (ENCODED_NAMES.test(decoded)) return true;
    if (run.length >= SHORTEST_MIXED_RUN && isProse(decoded)) return true;
  }
  return false;
}

const ENCODED_NAMES = new RegExp(
  `${NAMES}|PRIVATE KEY|service_account|authorized_user|://[^\\s:/@]*:[^\\s/]*@`,
  'i',
);

/** Of bytes at random hardly more than a third are printable: this is text. */
const isProse = (decoded: string): boolean => /^[\t\n\r -~]+$/.test(decoded);

/** Whether its letters and digits are as mixed as those of a token or of a key are, and those of words never. */
function isMixed(run: string): boolean {
  if (run.length < SHORTEST_MIXED_RUN) return false;
  let changes = 0;
  let pairs = 0;
  const counts = { upper: 0, lower: 0, digit: 0 };
  let before: keyof typeof counts | undefined;
  for (const character of run) {
    const kind = kindOf(character);
    if (kind !== undefined) counts[kind]++;
    if (kind !== undefined && before !== undefined) {
      pairs++;
      if (kind !== before) changes++;
    }
    before = kind;
  }
  return counts.upper >= 4 && counts.lower >= 4 && counts.digit >= 2 && changes >= 0.4 * pairs;
}

function kindOf(character: string): 'upper' | 'lower' | 'digit' | undefined {
  if (character >= '0' && character <= '9') return 'digit';
  if (character >= 'a' && character <= 'z') return 'lower';
  return character >= 'A' && character <= 'Z' ? 'upper' : undefined;
}
