/**
 * The last line of defence for secrets. Every text that leaves the command passes through here, including error messages of
 * libraries. Known secrets are replaced in every encoding, and so is text that looks like a secret.
 */
import { withoutSecrets } from '../../domain/secrets.ts';

const HIDDEN = '***';
/** Shorter secrets would also match ordinary words. In a URL or a header, the patterns find them anyway. */
const MIN_SECRET_LENGTH = 6;

const SECRET_PARAMETERS = ['password', 'sslpassword'];

export interface Redactor {
  /** Redacts this text from now on. */
  hide(secret: string | undefined): void;
  /** Hides a database URL's password, as written and decoded. */
  hidePasswordOf(url: string | undefined): void;
  redact(text: string): string;
}

export function createRedactor(): Redactor {
  const secrets = new Set<string>();
  const hide = (secret: string | undefined): void => {
    if (secret === undefined || secret.trim().length < MIN_SECRET_LENGTH) return;
    for (const form of formsOf(secret.trim())) secrets.add(form);
  };
  return {
    hide,
    hidePasswordOf(url) {
      if (url === undefined) return;
      // A pasted URL with an unescaped "@" or "/" in its password may be invalid.
      hide(/^[a-z][a-z0-9+.-]*:\/\/[^\s:/@]*:(.*)@/i.exec(url.trim())?.[1]);
      const parsed = URL.parse(url);
      if (parsed === null) return;
      for (const secret of [
        parsed.password,
        ...SECRET_PARAMETERS.map((name) => parsed.searchParams.get(name) ?? ''),
      ]) {
        hide(secret);
        hide(decoded(secret));
      }
    },
    redact(text) {
      let redacted = text;
      for (const secret of secrets) redacted = redacted.replaceAll(secret, HIDDEN);
      return withoutSecrets(redacted);
    },
  };
}

/** A secret unchanged, in a URL, in JSON, and in base64. The longest is first, so that a shorter form leaves no remainder. */
function formsOf(secret: string): readonly string[] {
  const bytes = Buffer.from(secret);
  const forms = [
    secret,
    encodeURIComponent(secret.toWellFormed()),
    JSON.stringify(secret).slice(1, -1),
    bytes.toString('base64'),
    bytes.toString('base64url'),
  ];
  return [...new Set(forms)].sort((a, b) => b.length - a.length);
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
