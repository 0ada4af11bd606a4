/** An error in words; what is thrown may be anything, and its own words may throw, too. */
export function wordsOf(error: unknown): string {
  try {
    return String(error instanceof Error ? error.message : error);
  } catch {
    return 'something that cannot be put into words';
  }
}
