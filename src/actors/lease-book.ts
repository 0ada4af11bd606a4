import { fromCallback } from 'xstate';
import type { Clock } from '../domain/clock.ts';
import type { LeaseKeeperEvent, RenewalOrder } from '../machines/lease-keeper/lease-keeper.ts';
import type { Answer } from '../store/types.ts';

export interface LeaseBookPorts {
  /** Renews every lease of the holder. False: another holder has at least one of them. */
  readonly renew: () => Promise<Answer<boolean>>;
  readonly clock: Clock;
  /** A renewal without an answer for this long has failed. Later answers are ignored. */
  readonly answerWithinMs: number;
  /** Called for each renewal before it is sent, and for each that was answered in time. */
  readonly onAsked: (serial: number) => void;
  readonly onKept: (serial: number) => void;
}

/** Sends lease renewals to the database. Each command gets exactly one answer. */
export function createLeaseBook(ports: LeaseBookPorts) {
  return fromCallback<RenewalOrder>(({ sendBack, receive }) => {
    let isListening = true;
    const timers = new Set<unknown>();
    receive(({ serial }) => {
      ports.onAsked(serial);
      let isAnswered = false;
      const answer = (event: LeaseKeeperEvent): void => {
        if (isAnswered) return;
        isAnswered = true;
        ports.clock.clearTimeout(timer);
        timers.delete(timer);
        if (isListening) sendBack(event);
      };
      const timer = ports.clock.setTimeout(
        () => answer({ type: 'lease.unanswered', serial, reason: 'the database does not answer' }),
        ports.answerWithinMs,
      );
      timers.add(timer);
      ports.renew().then(
        (renewed) => {
          if (renewed.kind !== 'ok') answer({ type: 'lease.unanswered', serial, reason: renewed.reason });
          else if (!renewed.value) answer({ type: 'lease.taken', reason: 'another run has taken over' });
          else {
            if (!isAnswered) ports.onKept(serial);
            answer({ type: 'lease.kept', serial });
          }
        },
        (error: unknown) => {
          const reason = error instanceof Error ? error.message : String(error);
          answer({ type: 'lease.unanswered', serial, reason });
        },
      );
    });
    return () => {
      isListening = false;
      // No one waits for an answer any more, and a timer would keep the process alive.
      for (const timer of timers) ports.clock.clearTimeout(timer);
    };
  });
}
