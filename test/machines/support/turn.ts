/** What a machine does in one turn, by XState's pure `transition`: messages, timers, children, emitted facts. */
import type { AnyActorRef, EventObject } from 'xstate';
import { isRef, nameOf, plain, type Sent } from './refs.ts';

export interface Timer {
  /** What cancels it; those without a name are never cancelled. */
  readonly id: string | undefined;
  readonly delayMs: number;
  readonly event: EventObject;
}

export interface Turn {
  readonly sent: readonly Sent[];
  readonly emitted: readonly EventObject[];
  readonly spawned: readonly { readonly id: string; readonly input: unknown }[];
  readonly stopped: readonly string[];
  /** Timers set, and names of timers cancelled, in order: one may be set and cancelled in one turn. */
  readonly timing: readonly (Timer | string)[];
}

/** An action as `transition` returns it. Its parameters depend on its type; XState does not export theirs. */
export interface InspectedAction {
  readonly type: string;
  readonly params?: unknown;
}

const field = (params: unknown, key: string): unknown =>
  typeof params === 'object' && params !== null ? Reflect.get(params, key) : undefined;

function refName(value: unknown): string {
  return isRef(value) ? nameOf(value satisfies AnyActorRef) : String(value);
}

function isEvent(value: unknown): value is EventObject {
  return typeof value === 'object' && value !== null && 'type' in value;
}

function eventOf(params: unknown): EventObject {
  const event = field(params, 'event');
  if (!isEvent(event)) throw new Error('an action without an event');
  return event;
}

/** @throws Error for an action that no machine of ours should have (a typo, or something that is not pure). */
export function readTurn(actions: readonly InspectedAction[]): Turn {
  const turn = {
    sent: [] as Sent[],
    emitted: [] as EventObject[],
    spawned: [] as { id: string; input: unknown }[],
    stopped: [] as string[],
    timing: [] as (Timer | string)[],
  };
  for (const { type, params } of actions) {
    switch (type) {
      case 'xstate.sendTo':
        turn.sent.push({ to: refName(field(params, 'to')), event: eventOf(params) });
        break;
      case 'xstate.raise': {
        // Without a delay it has happened already, within the turn.
        if (field(params, 'delay') === undefined) break;
        const id = field(params, 'id');
        turn.timing.push({
          id: typeof id === 'string' ? id : undefined,
          delayMs: Number(field(params, 'delay')),
          event: eventOf(params),
        });
        break;
      }
      case 'xstate.cancel':
        turn.timing.push(String(field(params, 'sendId')));
        break;
      case 'xstate.emit':
        turn.emitted.push(eventOf(params));
        break;
      case 'xstate.spawnChild':
        turn.spawned.push({ id: String(field(params, 'id')), input: field(params, 'input') });
        break;
      case 'xstate.stopChild':
        turn.stopped.push(refName(params));
        break;
      default:
        throw new Error(`unexpected action ${type} ${JSON.stringify(plain(params))}`);
    }
  }
  return turn;
}

/** Timers after a turn, oldest first. */
export function afterTurn(timers: readonly Timer[], { timing }: Pick<Turn, 'timing'>): readonly Timer[] {
  let left = [...timers];
  for (const change of timing) {
    if (typeof change === 'string') left = left.filter(({ id }) => id !== change);
    else left.push(change);
  }
  return left;
}
