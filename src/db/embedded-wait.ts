import type { Clock } from '../domain/clock.ts';

/** Resolves after `ms`. */
export function pause(clock: Clock, ms: number): Promise<void> {
  return new Promise((resolve) => {
    clock.setTimeout(resolve, ms);
  });
}

/** Resolves when `done` does, or after `ms`, whichever is first: true when it was `done`. */
export async function within(clock: Clock, ms: number, done: Promise<unknown>): Promise<boolean> {
  let timer: unknown;
  const late = new Promise<boolean>((resolve) => {
    timer = clock.setTimeout(() => resolve(false), ms);
  });
  try {
    return await Promise.race([done.then(() => true), late]);
  } finally {
    clock.clearTimeout(timer);
  }
}
