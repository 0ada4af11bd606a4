/** An error as text. Anything can be thrown, and converting it to text may throw too. */
export function wordsOf(error: unknown): string {
  try {
    return String(error instanceof Error ? error.message : error);
  } catch {
    return 'an error that cannot be shown as text';
  }
}
