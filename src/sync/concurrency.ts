/**
 * Connects the concurrency controller of `maxConcurrency: 'auto'`: reports the start and end of each call to it, and passes
 * its commands to the coordinator and its decisions to listeners.
 */

import { createActor, type InspectionEvent, type Observer } from 'xstate';
import type { CallObservation, CallObserver } from '../actors/fetch-batch.ts';
import type { Clock } from '../domain/clock.ts';
import type { QuotaKind } from '../domain/quota-kind.ts';
import { concurrencyControllerMachine } from '../machines/concurrency/concurrency-controller.ts';
import type { ConcurrencyControllerEvent, ConcurrencyDecision } from '../machines/concurrency/context.ts';
import type { CallOutcome, ControlEvent, Recipient } from '../machines/messages.ts';
import type { AutoConcurrency } from './config.ts';
import { actorClock } from './limiter.ts';

export interface ConcurrencyPorts {
  readonly auto: AutoConcurrency;
  readonly batchSize: number;
  readonly coordinator: Recipient<ControlEvent>;
  readonly clock: Clock;
  /** Used share of the fullest budget, in [0, 1]. */
  readonly quotaShare: () => number;
  /** Whether pages are queued or the plan has more. */
  readonly moreToDo: () => boolean;
  readonly onDecision: (decision: ConcurrencyDecision) => void;
  readonly inspect: Observer<InspectionEvent> | ((event: InspectionEvent) => void) | undefined;
}

export interface ConcurrencyControl {
  readonly observer: CallObserver;
  /** Hands the level over to the user for good. */
  release(): void;
  /** Returns whether the controller still sets the level. */
  isActive(): boolean;
  stop(): void;
}

export function startConcurrencyControl(ports: ConcurrencyPorts): ConcurrencyControl {
  const { auto, batchSize, coordinator, clock, inspect } = ports;
  const actor = createActor(concurrencyControllerMachine, {
    input: { ...auto, coordinator, batchSize },
    clock: actorClock(clock),
    ...(inspect === undefined ? {} : { inspect }),
  });
  actor.on('concurrency.decided', ports.onDecision);
  actor.start();
  /** Calls may end shortly after the run: XState would warn about events to a stopped actor. */
  const tell = (event: ConcurrencyControllerEvent): void => {
    if (actor.getSnapshot().status === 'active') actor.send(event);
  };
  let lastCall = 0;
  return {
    observer: {
      callStarted({ pages }) {
        lastCall += 1;
        const callId = `call ${lastCall}`;
        tell({ type: 'call.began', callId, pages: pages.length, quotaShare: ports.quotaShare() });
        return observeCall(callId, ports, tell);
      },
    },
    release: () => tell({ type: 'release' }),
    isActive: () => {
      const snapshot = actor.getSnapshot();
      return snapshot.status === 'active' && !snapshot.matches('released');
    },
    stop: () => {
      actor.stop();
    },
  };
}

const REFUSALS: Readonly<Record<QuotaKind, string>> = {
  qps: 'too many requests per minute',
  load: 'too much work in ten minutes',
  daily: 'the day’s quota',
};

function observeCall(
  callId: string,
  { clock, moreToDo }: ConcurrencyPorts,
  tell: (event: ConcurrencyControllerEvent) => void,
): CallObservation {
  const startedMs = clock.now();
  let pages = 0;
  let rows = 0;
  let failed = 0;
  let reason = '';
  let isRefused = false;
  let stall: string | undefined;
  return {
    sent: () => undefined,
    page(_sliceId, _startRow, result) {
      switch (result.kind) {
        case 'committed':
          pages += 1;
          rows += result.rows;
          return;
        case 'failed':
          failed += 1;
          reason = result.reason;
          return;
        case 'refused':
          if (isRefused) return;
          isRefused = true;
          tell({ type: 'call.refused', callId, detail: REFUSALS[result.quota] });
      }
    },
    stalled(why) {
      stall ??= why;
    },
    ended(outcome) {
      const detail = troubleIn(outcome) ?? stall ?? (failed > pages ? reason : undefined);
      if (detail !== undefined) tell({ type: 'call.failed', callId, detail });
      else if (outcome.kind !== 'answered') tell({ type: 'call.void', callId });
      else {
        const durationMs = clock.now() - startedMs;
        tell({ type: 'call.ended', callId, pages, rows, durationMs, moreToDo: moreToDo() });
      }
    },
  };
}

/** Why a whole call failed, if fewer concurrent calls might help. */
function troubleIn(outcome: CallOutcome): string | undefined {
  return outcome.kind === 'failed' || outcome.kind === 'databaseAway' ? outcome.reason : undefined;
}

/** Combines two observers. */
export function bothObservers(first: CallObserver, second: () => CallObserver | undefined): CallObserver {
  return {
    callStarted(input) {
      const one = first.callStarted(input);
      const other = second()?.callStarted(input);
      if (other === undefined) return one;
      return {
        sent(pages) {
          one.sent(pages);
          other.sent(pages);
        },
        page(sliceId, startRow, result, commitMs) {
          one.page(sliceId, startRow, result, commitMs);
          other.page(sliceId, startRow, result, commitMs);
        },
        stalled(why) {
          one.stalled(why);
          other.stalled(why);
        },
        ended(outcome) {
          one.ended(outcome);
          other.ended(outcome);
        },
      };
    },
  };
}
