/** What a user can do about a run that failed: the next step for each code. */
import { ERROR_CODES, type ErrorCode } from '../domain/errors.ts';
import type { Fatal } from '../machines/messages.ts';

export interface AdviceContext {
  readonly siteUrl: string;
  /** The service account's address, when there is one: it has to be added to the property by hand. */
  readonly serviceAccountEmail: string | undefined;
}

export interface Advice {
  readonly code: ErrorCode;
  readonly message: string;
  readonly nextStep: string;
}

export function explainFatal({ code, reason, nextStep }: Fatal, context: AdviceContext): Advice {
  const known = ERROR_CODES.find((candidate) => candidate === code) ?? 'INTERNAL';
  return { code: known, message: reason, nextStep: nextStep ?? nextStepFor(known, context) };
}

function nextStepFor(code: ErrorCode, { siteUrl, serviceAccountEmail }: AdviceContext): string {
  switch (code) {
    case 'FORBIDDEN':
      return serviceAccountEmail === undefined
        ? `Check that this account may read "${siteUrl}" in Search Console (\`longtail sites\` lists what it may), and that it is that form of the property: a domain property and a URL prefix are two.`
        : `Add ${serviceAccountEmail} as a user of "${siteUrl}" in Search Console: Settings → Users and permissions → Add user.`;
    case 'MISSING_SCOPE':
      return 'Make the token with the scope https://www.googleapis.com/auth/webmasters.readonly.';
    case 'UNAUTHORIZED':
      return 'Sign in again, or give a fresh access token or credentials file.';
    case 'INVALID_GRANT':
      return 'The sign-in has expired or was revoked: sign in again and replace the credentials file.';
    case 'API_NOT_ENABLED':
      return 'Enable the “Google Search Console API” for the project in the Google Cloud console, then run again.';
    case 'PROJECT_REFUSED':
      return 'Look at the Google Cloud project of these credentials: its state, its billing, its policies, and who may use it.';
    case 'DATABASE_READ_ONLY':
      return 'Make the database writable again, then run again: it goes on where it stopped.';
    case 'DATABASE_TIMEOUT':
      return 'Raise or lift the timeout that ends the work, then run again: it goes on where it stopped.';
    case 'DATABASE_UNAVAILABLE':
      return 'Look into the database server’s log, then run again: it goes on where it stopped.';
    case 'FENCED_OFF':
    case 'LOCK_LOST':
      return 'Another synchronisation may have taken this property over. Run again when none is under way.';
    case 'UNEXPECTED_ANSWER':
      return 'Run again later; if it stays so, run with --log-level debug and report what it says.';
    default:
      return 'This should not happen. Run again with --log-level debug and report what it says.';
  }
}
