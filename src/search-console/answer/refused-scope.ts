/** Google's names for limits, the narrowest first: "Queries per minute per user" is a project's quota, too. */
const WORDS: readonly (readonly [scopeKind: string, pattern: RegExp])[] = [
  ['user', /\bper[ -]?user\b|\buser[ -]rate[ -]limit|\buserRateLimitExceeded\b/i],
  ['site', /\bper[ -]?(?:site|property)\b/i],
  ['project', /\bper[ -]?project\b/i],
];

/** Whose allowance a refusal says is used up: `user`, `site` or `project`; undefined where it does not say. */
export function refusedScopeKind(message: string, reasons: readonly string[]): string | undefined {
  const said = [message, ...reasons].join(' ');
  return WORDS.find(([, pattern]) => pattern.test(said))?.[0];
}
