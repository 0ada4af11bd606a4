/** Protects the machines from errors in the host's inspector. */
import type { InspectionEvent, Observer } from 'xstate';
import { wordsOf } from '../domain/words.ts';

export type Inspect = Observer<InspectionEvent> | ((event: InspectionEvent) => void);

/** Inspectors whose first error has been reported. */
const reported = new WeakSet<object>();
const guarded = new WeakSet<object>();

/**
 * Wraps an inspector. XState calls it in the middle of a step, where an error would stop the actor. The first error becomes
 * a process warning.
 */
export function guardInspect(inspect: Inspect | undefined): Inspect | undefined {
  if (inspect === undefined || guarded.has(inspect)) return inspect;
  const warn = (error: unknown): void => {
    if (reported.has(inspect)) return;
    reported.add(inspect);
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

/** Handles the rejection of an async callback, which would end the host's process. */
export function watch(given: unknown, onError: (error: unknown) => void): void {
  if (typeof given !== 'object' || given === null || !('then' in given)) return;
  Promise.resolve(given).catch(onError);
}
