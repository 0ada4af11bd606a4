/** The next step for each code of a failed run. */
import { ERROR_CODES, type ErrorCode } from '../domain/errors.ts';
import type { Fatal } from '../machines/messages.ts';

export interface AdviceContext {
  readonly siteUrl: string;
  /** The address of the service account, if any: it must be added to the property by hand. */
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
        ? `Check that this account may read "${siteUrl}" in Search Console (\`longtail sites\` lists its properties). A domain property and a URL-prefix property are different properties.`
        : `Add ${serviceAccountEmail} as a user of "${siteUrl}" in Search Console: Settings → Users and permissions → Add user.`;
    case 'MISSING_SCOPE':
      return 'Create the token with the scope https://www.googleapis.com/auth/webmasters.readonly.';
    case 'UNAUTHORIZED':
      return 'Sign in again, or give a fresh access token or credentials file.';
    case 'INVALID_GRANT':
      return 'The sign-in has expired or was revoked: sign in again and replace the credentials file.';
    case 'API_NOT_ENABLED':
      return 'Enable the “Google Search Console API” for the project in the Google Cloud console, then run again.';
    case 'PROJECT_REFUSED':
      return 'Check the Google Cloud project of these credentials: its state, billing, policies and permissions.';
    case 'DATABASE_READ_ONLY':
      return 'Make the database writable again, then run again: it resumes where it stopped.';
    case 'DATABASE_TIMEOUT':
      return 'Raise or lift the timeout that ends the work, then run again: it resumes where it stopped.';
    case 'DATABASE_UNAVAILABLE':
      return 'Check the database server’s log, then run again: it resumes where it stopped.';
    case 'FENCED_OFF':
    case 'LOCK_LOST':
      return 'Another run may have taken this property over. Run again when no other run is active.';
    case 'UNEXPECTED_ANSWER':
      return 'Run again later. If the problem persists, run with --log-level debug and report the output.';
    default:
      return 'This is a bug. Run again with --log-level debug and report the output.';
  }
}
