import { LongtailError } from '../domain/errors.ts';

/** What to do when the embedded server cannot help: the way out that always works. */
export const USE_OWN_DATABASE = 'Or give a PostgreSQL of your own: --database-url or DATABASE_URL.';

/** The one error of the embedded server. `nextStep` is a whole sentence; the way out is added to it. */
export function embeddedError(message: string, nextStep: string, cause?: unknown): LongtailError {
  return new LongtailError('EMBEDDED_SERVER', message, `${nextStep} ${USE_OWN_DATABASE}`, { cause });
}

/** The `code` of a system error (`ENOENT`), or an empty text. */
export function systemCode(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
}
