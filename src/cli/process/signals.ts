import type { Output } from '../terminal/output.ts';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;
/**
 * Signals within this time count as one. Ctrl-C reaches the whole process group, and npm and npx also forward it. It is
 * shorter than two deliberate key presses.
 */
const TOGETHER_MS = 150;
const HALTING =
  'Halting: calls under way are aborted, committed data stays. A second Ctrl-C forces the exit.';

/** A stop requested by a signal. */
export interface Interrupt {
  /** Aborted by the first signal; its reason is the signal's name. */
  readonly signal: AbortSignal;
  /** Resolves with the first signal, never before. */
  readonly asked: Promise<undefined>;
}

/** Handles signals from now on: the first aborts and prints a line, the second calls `force`. */
export function catchSignals(options: {
  readonly output: Pick<Output, 'note'>;
  readonly now: () => number;
  readonly force: () => void;
  /** Printed at the first signal. */
  readonly words?: string | undefined;
}): Interrupt {
  const controller = new AbortController();
  let firstAtMs: number | undefined;
  const asked = new Promise<undefined>((resolve) => {
    controller.signal.addEventListener('abort', () => resolve(undefined), { once: true });
  });
  for (const name of SIGNALS) {
    process.on(name, () => {
      if (firstAtMs === undefined) {
        firstAtMs = options.now();
        options.output.note(options.words ?? HALTING);
        controller.abort(name);
      } else if (options.now() - firstAtMs >= TOGETHER_MS) {
        options.force();
      }
    });
  }
  return { signal: controller.signal, asked };
}
