/** Patterns of Google's names for limits, narrowest scope first: the name of a limit per user may also mention the project. */
const WORDS: readonly (readonly [scopeKind: string, pattern: RegExp])[] = [
  ['user', /\bper[ -]?user\b|\buser[ -]rate[ -]limit|\buserRateLimitExceeded\b/i],
  ['site', /\bper[ -]?(?:site|property)\b/i],
  ['project', /\bper[ -]?project\b/i],
];

/** Whose quota is exceeded: `user`, `site` or `project`. Undefined if the refusal does not say. */
export function refusedScopeKind(message: string, reasons: readonly string[]): string | undefined {
  const said = [message, ...reasons].join(' ');
  return WORDS.find(([, pattern]) => pattern.test(said))?.[0];
}
