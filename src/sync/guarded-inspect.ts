/** What a host gives us to watch the machines with: whatever it does, it harms none of them. */
import type { InspectionEvent, Observer } from 'xstate';
import { wordsOf } from '../domain/words.ts';

export type Inspect = Observer<InspectionEvent> | ((event: InspectionEvent) => void);

/** Those that have been told of, so that each is told of once. */
const told = new WeakSet<object>();
const guarded = new WeakSet<object>();

/**
 * The same inspector, safe: XState calls it in the middle of a step, and what it throws there would stop an actor. The
 * first fault is told as a warning of the process's.
 */
export function guardInspect(inspect: Inspect | undefined): Inspect | undefined {
  if (inspect === undefined || guarded.has(inspect)) return inspect;
  const warn = (error: unknown): void => {
    if (told.has(inspect)) return;
    told.add(inspect);
    process.emitWarning(`inspect failed: ${wordsOf(error)}`, 'LongtailInspectWarning');
  };
  const safe = (event: InspectionEvent): void => {
    try {
      const given: unknown = typeof inspect === 'function' ? inspect(event) : inspect.next?.(event);
      watch(given, warn);
    } catch (error) {
      warn(error);
    }
  };
  guarded.add(safe);
  return safe;
}

/** An async function that is used where a plain one is asked for: its rejection would end the host's process. */
export function watch(given: unknown, onError: (error: unknown) => void): void {
  if (typeof given !== 'object' || given === null || !('then' in given)) return;
  Promise.resolve(given).catch(onError);
}
