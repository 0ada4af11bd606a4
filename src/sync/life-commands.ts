/** Commands to a life, from whoever started it. */
import { wordsOf } from '../domain/words.ts';
import type { HaltReason } from '../machines/messages.ts';
import type { LifeResult, RunLifeEvent } from '../machines/run-life/context.ts';
import type { Life } from './life.ts';

/** Commands after the actor has stopped are ignored: XState would warn on the host's console. */
export function tell({ actor }: Pick<Life, 'actor'>, event: RunLifeEvent): void {
  if (actor.getSnapshot().status === 'active') actor.send(event);
}

/** Starts a life; aborting the signal halts it. */
export async function following(
  signal: AbortSignal | undefined,
  life: Pick<Life, 'actor' | 'ended'>,
): Promise<LifeResult> {
  const wish = (): HaltReason => ({ kind: 'asked', reason: abortReason(signal) });
  const onAbort = (): void => tell(life, { type: 'halt', reason: wish() });
  tell(life, { type: 'start', halt: signal?.aborted === true ? wish() : undefined });
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    return await life.ended;
  } finally {
    signal?.removeEventListener('abort', onAbort);
  }
}

function abortReason(signal: AbortSignal | undefined): string {
  const reason: unknown = signal?.reason;
  // The default reason of `abort()` says nothing.
  const isBare = reason instanceof Error && reason.name === 'AbortError';
  return reason === undefined || isBare ? 'the signal was aborted' : inOneLine(reason);
}

const MAX_REASON_LENGTH = 300;

/** Makes a host's reason fit for the database: short, one line, valid text. */
export function inOneLine(reason: unknown): string {
  const words = wordsOf(reason)
    .toWellFormed()
    .replace(/[\s\p{Cc}]+/gu, ' ')
    .trim();
  return words.slice(0, MAX_REASON_LENGTH).toWellFormed() || 'asked';
}
