/** A machine's definition for the inspector: JSON, with the descriptions of states, events, guards and actors. */
import type { AnyStateMachine } from 'xstate';
import { DESCRIPTIONS } from '../../machines/descriptions.ts';

const known = new WeakMap<object, string>();

/** Made once for each machine. */
export function definitionOf(machine: AnyStateMachine): string {
  const { config } = machine;
  const found = known.get(config);
  if (found !== undefined) return found;
  const description = DESCRIPTIONS[machine.id];
  const text = JSON.stringify(describedNode(config, '', machine.id), (_key, value: unknown) =>
    typeof value === 'function' ? { type: value.name } : value,
  );
  known.set(config, text);
  return text;

  function describedNode(node: object, path: string, id: string): object {
    const own = path === '' ? description?.purpose : description?.states[path];
    const fields = Object.entries(node).map(([key, value]: [string, unknown]) => {
      if (key === 'states' && isRecord(value)) {
        const below = Object.entries(value).map(([name, child]) => [
          name,
          isRecord(child) ? describedNode(child, path === '' ? name : `${path}.${name}`, id) : child,
        ]);
        return [key, Object.fromEntries(below)];
      }
      if (key === 'on' && isRecord(value)) {
        return [
          key,
          Object.fromEntries(
            Object.entries(value).map(([type, to]) => [type, describedTransitions(to, type)]),
          ),
        ];
      }
      if (key === 'always') return [key, describedTransitions(value, undefined)];
      // A context that is data may be large, and one that is a function says nothing.
      return key === 'context' ? [key, {}] : [key, value];
    });
    return { ...Object.fromEntries(fields), ...(own === undefined ? {} : { description: own }) };
  }

  /** The event's description, and what the guard asks. */
  function describedTransitions(to: unknown, type: string | undefined): unknown {
    if (Array.isArray(to)) return to.map((one: unknown) => describedTransitions(one, type));
    const transition = isRecord(to) ? to : { target: to };
    const event = type === undefined ? undefined : description?.events[type];
    const guard = typeof transition.guard === 'string' ? description?.guards[transition.guard] : undefined;
    const words = [event, guard === undefined ? undefined : `Only if: ${guard}`].filter(
      (text) => text !== undefined,
    );
    return words.length === 0 ? transition : { ...transition, description: words.join(' ') };
  }
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
