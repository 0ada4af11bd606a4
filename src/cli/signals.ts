import type { Output } from './output.ts';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

const HALTING = 'Halting: calls under way are ended, what is written stays. Once more to force it.';

/** A wish to stop, from outside. */
export interface Interrupt {
  /** Aborted by the first signal; its reason is the signal's name. */
  readonly signal: AbortSignal;
  /** Resolves with the first signal, never before. */
  readonly asked: Promise<undefined>;
}

/**
 * Turns the first signal into an abort and a sentence, the second into `force`. A closed terminal sends SIGHUP, a Ctrl-C
 * SIGINT to the whole process group, and some runners both a SIGINT and a SIGTERM: the second kind within
 * `togetherMs` of the first is the same wish.
 */
export function catchSignals(options: {
  readonly output: Output;
  readonly now: () => number;
  readonly force: () => void;
  /** Said at the first signal. */
  readonly words?: string | undefined;
}): Interrupt {
  const togetherMs = 100;
  const controller = new AbortController();
  let first: { readonly name: string; readonly atMs: number } | undefined;
  const asked = new Promise<undefined>((resolve) => {
    controller.signal.addEventListener('abort', () => resolve(undefined), { once: true });
  });
  for (const name of SIGNALS) {
    process.on(name, () => {
      if (first === undefined) {
        first = { name, atMs: options.now() };
        options.output.note(options.words ?? HALTING);
        controller.abort(name);
        return;
      }
      if (first.name !== name && options.now() - first.atMs < togetherMs) return;
      options.force();
    });
  }
  return { signal: controller.signal, asked };
}
