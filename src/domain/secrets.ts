/**
 * Recognises secrets in text written by others. Patterns match the usual names of secrets, however they are quoted, and
 * the formats of Google's secrets. Other secrets are recognised by how random their characters look.
 */

const HIDDEN = '***';

/**
 * Names of secrets in options, headers, JSON, YAML, URLs and variables: `client_secret`, `clientSecret`, `PGPASSWORD`.
 */
const NAMES =
  '(?:access|refresh|id|auth|bearer)[_-]?token|client[_-]?secret|private[_-]?key(?:[_-]?id)?|api[_-]?key|password|passwd|pwd|passphrase|assertion|secret[_-]?(?:access[_-]?)?key';
/** Quotes in nested text: `"`, `'`, `\"`, `\\\"`. */
const CLOSING = `\\\\*["']`;
const NAMED = `((?:${NAMES})(?:${CLOSING})?\\s*(?:=>|[:=])\\s*)`;

interface Pattern {
  readonly find: RegExp;
  readonly replacement: string;
}

const patterns: readonly Pattern[] = [
  // A private key, complete or cut off, with line breaks in any notation.
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
  // Headers: up to the closing quote or the end of the line.
  {
    find: /(\b(?:proxy-)?authorization(?:\\*["'])?\s*[:=]\s*)(\\*["'])(?:(?!\2)[^\n])*/gi,
    replacement: `$1$2${HIDDEN}`,
  },
  {
    find: /(\b(?:proxy-)?authorization\s*[:=]\s*)[^\s"'](?:=\\*"[^"]*"|[^\n"'])*/gi,
    replacement: `$1${HIDDEN}`,
  },
  { find: /\b(bearer|basic)(\s+|%20)[a-z0-9._~+/=-]{6,}/gi, replacement: `$1$2${HIDDEN}` },
  // URL parameters: quotes are part of the value.
  { find: new RegExp(`([?&][\\w.-]{0,40}(?:${NAMES})=)[^\\s&"<>]+`, 'gi'), replacement: `$1${HIDDEN}` },
  // Named and quoted: up to the matching quote. Quotes inside it are escaped one level deeper.
  { find: new RegExp(`${NAMED}"(?:[^"\\\\]|\\\\[\\s\\S])*"?`, 'gi'), replacement: `$1"${HIDDEN}"` },
  { find: new RegExp(`${NAMED}'(?:[^'\\\\]|\\\\[\\s\\S]|'')*'?`, 'gi'), replacement: `$1'${HIDDEN}'` },
  {
    find: new RegExp(`${NAMED}(\\\\+["'])(?:(?!(?<!\\\\)\\2)[\\s\\S])*(\\2)?`, 'gi'),
    replacement: `$1$2${HIDDEN}$2`,
  },
  // Named and unquoted. A command that reads the secret, such as `$(cat file)`, is not a secret.
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

/** Base64 in either alphabet. */
const RUNS = /[A-Za-z0-9+/_-]{20,}={0,2}/g;
const SHORTEST_MIXED_RUN = 28;

/** Replaces everything that looks like a secret with `mark`. */
export function withoutSecrets(text: string, mark = HIDDEN): string {
  let clean = text;
  for (const { find, replacement } of patterns) clean = clean.replace(find, replaceBy(replacement));
  clean = clean.replace(RUNS, (run) => (isEncodedSecret(run) || isMixed(run) ? HIDDEN : run));
  return mark === HIDDEN ? clean : clean.replaceAll(HIDDEN, mark);
}

/** `PGPASSWORD="$(cat file)"` names a file and stays. */
function replaceBy(replacement: string) {
  return (whole: string, ...groups: readonly unknown[]): string =>
    /[=:]\s*["']?\$\(/.test(whole)
      ? whole
      : replacement.replace(/\$(\d)/g, (_, index: string) => String(groups[Number(index) - 1] ?? ''));
}

/** Whether text entered in the wrong place may contain a secret or a part of one. Messages then do not repeat it. */
export function mayBeSecret(text: string): boolean {
  return KEY_MATERIAL.test(text) || withoutSecrets(text) !== text;
}

/** Content of a credentials file in any common form. Its beginning or any part is enough. */
const KEY_MATERIAL =
  /^[\s\ufeff"'`\\]*[{[]|^\s*data:|%7B|%22|-----|(?:private|client|refresh|access)[_-]?(?:key|secret|token)|service_account|authorized_user|gserviceaccount|["']\s*:|\\n/i;

/** Whether this is base64 of text with a secret's name in it or, if long, of any text. */
function isEncodedSecret(run: string): boolean {
  // A piece cut from the middle may start at any position in a group of four.
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

/** Little more than a third of random bytes are printable, so this is text. */
const isProse = (decoded: string): boolean => /^[\t\n\r -~]+$/.test(decoded);

/** Whether letters and digits are as mixed as in a token or key. Words never are. */
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
