/**
 * The server's quota, as the worst case in time. A request is counted when it arrives, between its sending and
 * `graceMs` after its token settled, and counts for one window. So a token may be in the server's window from the start
 * of its call until one window plus the grace after it settled. A slow enough network can cause all these tokens to
 * count at the same time.
 *
 * The model has no clock. But when a timer of the rate limiter fires, its delay has passed since it was set. Everything
 * that settled before it was set, and whose time is no longer than that delay, has then expired.
 */

/** Tokens that settled together. */
export interface SettledTokens {
  /** The run they belonged to. */
  readonly runId: string;
  readonly tokens: number;
  /** Time from settling until the server certainly no longer counts them. */
  readonly lastingMs: number;
}

/** Oldest first. Tokens of calls under way are not included: the calls hold them. */
export type ServerWindow = readonly SettledTokens[];

export function settleAtServer(window: ServerWindow, settled: SettledTokens): ServerWindow {
  return settled.tokens === 0 ? window : [...window, settled];
}

/**
 * Whether an entry has expired when a timer of `delayMs` fires that was set after the first `known` entries had
 * settled.
 */
export function isOver(entry: SettledTokens, index: number, known: number, delayMs: number): boolean {
  return index < known && entry.lastingMs <= delayMs;
}

export function countTokens(window: ServerWindow): number {
  return window.reduce((sum, { tokens }) => sum + tokens, 0);
}

/** Time passes for all of them while a crashed process is restarted. */
export function age(window: ServerWindow, elapsedMs: number): ServerWindow {
  return window
    .map((entry) => ({ ...entry, lastingMs: entry.lastingMs - elapsedMs }))
    .filter(({ lastingMs }) => lastingMs > 0);
}
