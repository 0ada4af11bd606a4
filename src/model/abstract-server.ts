/**
 * The server's quota, as the worst case that time allows. A request is counted when it arrives, which is somewhere between
 * its sending and `graceMs` after its token settled, and it counts for a window. So a token may be in the server's window
 * from the moment its call begins until a window and the grace after it settled: every such token at once is what a
 * network that is slow enough can bring about.
 *
 * The model has no clock. But a timer of the rate limiter that fires says that its delay has passed since it was set,
 * and with it everything that settled before it was set, and whose time is no longer than that delay, is over.
 */

/** Tokens that settled together. */
export interface SettledTokens {
  /** Whose they were. */
  readonly runId: string;
  readonly tokens: number;
  /** From their settling until the server surely counts them no more. */
  readonly lastingMs: number;
}

/** Oldest first. Tokens of calls under way are not in it: they are with the calls. */
export type ServerWindow = readonly SettledTokens[];

export function settleAtServer(window: ServerWindow, settled: SettledTokens): ServerWindow {
  return settled.tokens === 0 ? window : [...window, settled];
}

/** Which of them are over when a timer of `delayMs`, set when the first `known` of them had settled, fires. */
export function isOver(entry: SettledTokens, index: number, known: number, delayMs: number): boolean {
  return index < known && entry.lastingMs <= delayMs;
}

export function countTokens(window: ServerWindow): number {
  return window.reduce((sum, { tokens }) => sum + tokens, 0);
}

/** Some time passes for all of them: a process that crashed is started again. */
export function age(window: ServerWindow, elapsedMs: number): ServerWindow {
  return window
    .map((entry) => ({ ...entry, lastingMs: entry.lastingMs - elapsedMs }))
    .filter(({ lastingMs }) => lastingMs > 0);
}
