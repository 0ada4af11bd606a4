import type { PathChoice } from '../domain/path-choice.ts';
import type { FallbackEvent } from './types.ts';

/** The fast paths that a run cannot use. Each is reported once. */
export class Fallbacks {
  readonly #told: FallbackEvent[] = [];
  #tell: ((event: FallbackEvent) => void) | undefined;

  note(what: FallbackEvent['what'], path: PathChoice): void {
    if (path.kind === 'fast' || this.#told.some((event) => event.what === what)) return;
    const event: FallbackEvent = { what, reason: path.reason };
    this.#told.push(event);
    this.#tell?.(event);
  }

  /** Reports the fallbacks that are already known, then each new one. */
  listen(tell: (event: FallbackEvent) => void): void {
    this.#tell = tell;
    for (const event of this.#told) tell(event);
  }
}
