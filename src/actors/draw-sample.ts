import { fromCallback } from 'xstate';
import type { Clock } from '../domain/clock.ts';
import type { DrawnKey } from '../domain/row-check.ts';
import type { DrawEvent } from '../machines/verification/context.ts';
import type { Checks } from '../planning/checks.ts';
import type { Answer } from '../store/types.ts';
import { outcomeOf } from './away.ts';

export interface DrawSamplePorts {
  readonly checks: Checks;
  readonly clock: Clock;
  /** Draws the keys. Stops early when `signal` is aborted; the result is then ignored. */
  readonly draw: (signal: AbortSignal) => Promise<Answer<readonly DrawnKey[]>>;
  /** Aborted when the whole verification is over. */
  readonly scope: AbortSignal;
  readonly background: (work: Promise<unknown>) => void;
}

/** Fills the checks, and tells the machine their IDs. */
export function createDrawSample({ checks, clock, draw, scope, background }: DrawSamplePorts) {
  return fromCallback(({ sendBack }) => {
    const controller = new AbortController();
    const { signal } = controller;
    const tell = (event: DrawEvent): void => {
      if (!signal.aborted) sendBack(event);
    };
    const work = draw(AbortSignal.any([signal, scope])).then(
      (drawn) => {
        if (signal.aborted) return;
        if (drawn.kind === 'ok') tell({ type: 'sample.drawn', checkIds: checks.fill(drawn.value) });
        else tell({ type: 'sample.failed', outcome: outcomeOf(drawn), chance: clock.random() });
      },
      (error: unknown) => {
        const reason = error instanceof Error ? error.message : String(error);
        const outcome = { kind: 'fatal', fatal: { code: 'INTERNAL', reason } } as const;
        tell({ type: 'sample.failed', outcome, chance: clock.random() });
      },
    );
    background(work);
    return () => controller.abort();
  });
}
