/**
 * The last line of defence for secrets: every text that leaves the command passes through here, error messages of
 * libraries included. What is known to be secret is replaced wherever it stands; what looks like one, too.
 */

const HIDDEN = '***';
/** Shorter ones would blot out ordinary words; as part of a URL or a header the patterns find them all the same. */
const SHORTEST_KNOWN_SECRET = 6;

const PATTERNS: readonly (readonly [RegExp, string])[] = [
  [/(\b[a-z][a-z0-9+.-]*:\/\/[^\s:/@"'<>]*):(?!password@)[^\s/"<>]*@/gi, `$1:${HIDDEN}@`],
  // People paste passwords with an unescaped "/" or "@" into database URLs.
  [/(\bpostgres(?:ql)?:\/\/[^\s:/@"'<>]*):(?!password@host)[^\s"<>]*@/gi, `$1:${HIDDEN}@`],
  [
    /\b(password|passwd|pwd|access_token|refresh_token|id_token|client_secret|api_key|assertion)=[^\s&"']+/gi,
    `$1=${HIDDEN}`,
  ],
  [
    /("(?:private_key|private_key_id|client_secret|access_token|refresh_token|id_token|password|assertion)"\s*:\s*")(?:[^"\\]|\\.)*"/gi,
    `$1${HIDDEN}"`,
  ],
  [/\b(bearer|basic)\s+[a-z0-9._~+/=-]{6,}/gi, `$1 ${HIDDEN}`],
  [/-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g, HIDDEN],
  // Google's access and refresh tokens, API keys, and JSON web tokens.
  [/\bya29\.[\w-]+(\.[\w-]+)*/g, HIDDEN],
  [/\b1\/\/0[\w-]{10,}/g, HIDDEN],
  [/\bAIza[\w-]{20,}/g, HIDDEN],
  [/\beyJ[\w-]{5,}\.[\w-]{5,}\.[\w-]*/g, HIDDEN],
];

export interface Redactor {
  /** From now on this text never appears. */
  hide(secret: string | undefined): void;
  /** Hides a database URL's password, as written and decoded. */
  hidePasswordOf(url: string | undefined): void;
  redact(text: string): string;
}

export function createRedactor(): Redactor {
  const secrets = new Set<string>();
  const hide = (secret: string | undefined): void => {
    if (secret !== undefined && secret.trim().length >= SHORTEST_KNOWN_SECRET) secrets.add(secret.trim());
  };
  return {
    hide,
    hidePasswordOf(url) {
      if (url === undefined || !URL.canParse(url)) return;
      const { password, searchParams } = new URL(url);
      for (const secret of [password, searchParams.get('password') ?? '']) {
        hide(secret);
        hide(decoded(secret));
      }
    },
    redact(text) {
      let redacted = text;
      for (const secret of secrets) redacted = redacted.replaceAll(secret, HIDDEN);
      for (const [pattern, replacement] of PATTERNS) redacted = redacted.replace(pattern, replacement);
      return redacted;
    },
  };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
