import type { InspectionEvent, Observer } from 'xstate';

/** What XState's `inspect` takes. */
export type Inspect = Observer<InspectionEvent> | ((event: InspectionEvent) => void);

/**
 * The host's inspector, made harmless: XState calls it in the middle of its own steps, and what it throws there would
 * stop the actor. Told of once, or every step would tell of it.
 */
export function harmlessInspector(inspect: Inspect): (event: InspectionEvent) => void {
  let isTold = false;
  const tell = (error: unknown): void => {
    if (isTold) return;
    isTold = true;
    process.emitWarning(
      `inspect threw: ${error instanceof Error ? error.message : String(error)}`,
      'LongtailListenerWarning',
    );
  };
  return (event) => {
    try {
      const returned: unknown = typeof inspect === 'function' ? inspect(event) : inspect.next?.(event);
      // One that is async rejects, and nobody else would be there to hear it.
      if (returned instanceof Promise) returned.catch(tell);
    } catch (error) {
      tell(error);
    }
  };
}
