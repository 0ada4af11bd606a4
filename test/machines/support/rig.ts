/** A started machine whose neighbours only listen: what it does in each turn can be read, what happens next is said. */

import {
  type AnyStateMachine,
  createActor,
  type EventFromLogic,
  type EventObject,
  type InputFrom,
} from 'xstate';
import { ManualClock } from '../../support/manual-clock.ts';
import { childrenOf, type Rig, stateText, type View } from './paths.ts';
import type { Sent } from './refs.ts';

/** What the neighbours were sent, and which children were started, since the last look. Shared by all rigs of a test; they run one after the other. */
export class Mailboxes {
  readonly #sent: Sent[] = [];
  readonly #started: { id: string; input: unknown }[] = [];

  readonly note = (message: Sent): void => {
    this.#sent.push(message);
  };

  readonly noteStart = (id: string, input: unknown): void => {
    this.#started.push({ id, input });
  };

  take(): Pick<View, 'sent' | 'started'> {
    return { sent: this.#sent.splice(0), started: this.#started.splice(0) };
  }
}

/**
 * `deliver` has an event come from where it really comes from, a child: it returns what does that, or undefined for an
 * event from elsewhere. What it returns may be awaited: promises settle in a later turn of the loop.
 */
export function createRig<M extends AnyStateMachine>(
  machine: M,
  input: InputFrom<M>,
  mailboxes: Mailboxes,
  deliver: (event: EventFromLogic<M>) => (() => void | Promise<void>) | undefined = () => undefined,
): Rig<EventFromLogic<M>> {
  const clock = new ManualClock();
  const actor = createActor<AnyStateMachine>(machine, { input, clock });
  const emitted: EventObject[] = [];
  const failures: unknown[] = [];
  mailboxes.take();
  actor.on('*', (event) => emitted.push(event));
  actor.subscribe({ error: (error) => failures.push(error) });
  actor.start();
  return {
    send(event) {
      const act = deliver(event);
      if (act !== undefined) return act();
      return actor.send(event);
    },
    fire: (index) => clock.fire(index),
    view(): View {
      if (failures.length > 0) throw failures[0];
      const snapshot = actor.getSnapshot();
      return {
        state: stateText(snapshot),
        children: childrenOf(snapshot),
        timers: clock.pending.map(({ delayMs }) => delayMs),
        ...mailboxes.take(),
        emitted: emitted.splice(0),
      };
    },
    forget() {
      mailboxes.take();
      emitted.length = 0;
    },
    stop: () => actor.stop(),
  };
}
