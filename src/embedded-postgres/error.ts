import { LongtailError } from '../domain/errors.ts';

/** What always works if the embedded server does not. */
export const USE_OWN_DATABASE = 'Or use your own PostgreSQL: --database-url or DATABASE_URL.';

/** An error of the embedded server. `nextStep` is a full sentence, to which {@link USE_OWN_DATABASE} is added. */
export function embeddedError(message: string, nextStep: string, cause?: unknown): LongtailError {
  return new LongtailError('EMBEDDED_SERVER', message, `${nextStep} ${USE_OWN_DATABASE}`, { cause });
}

/** The `code` of a system error (`ENOENT`), or an empty string. */
export function systemCode(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
}
