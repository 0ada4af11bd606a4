import { describe, expect, it } from 'vitest';
import type { AnyStateMachine } from 'xstate';
import { SUBJECTS } from '../../scripts/diagrams/machines.ts';
import { DESCRIPTIONS } from '../../src/machines/descriptions.ts';

interface Node {
  readonly states: Readonly<Record<string, Node>>;
  readonly ownEvents: readonly string[];
}

/** `running.working.planning`, for every state below. */
function pathsBelow(node: Node, prefix = ''): readonly string[] {
  return Object.entries(node.states).flatMap(([key, child]) => {
    const path = `${prefix}${key}`;
    return [path, ...pathsBelow(child, `${path}.`)];
  });
}

const all = (node: Node): readonly Node[] => [node, ...Object.values(node.states).flatMap(all)];

/** Events that come from outside: not those that XState makes of timers, actors and `always`. */
function eventsOf(machine: AnyStateMachine): readonly string[] {
  const found = new Set(all(machine.root).flatMap(({ ownEvents }) => ownEvents));
  return [...found].filter((type) => type !== '' && !type.startsWith('xstate.'));
}

const names = (implementations: unknown): readonly string[] =>
  typeof implementations === 'object' && implementations !== null ? Object.keys(implementations) : [];

describe.each(SUBJECTS.map(({ machine }) => [machine.id, machine] as const))('%s', (id, machine) => {
  const described = DESCRIPTIONS[id];

  it.each([
    ['states', () => pathsBelow(machine.root)],
    ['events', () => eventsOf(machine)],
    ['guards', () => names(machine.implementations.guards)],
    ['actors', () => names(machine.implementations.actors)],
  ] as const)('every one of its %s is described, and nothing else is', (kind, present) => {
    expect(Object.keys(described?.[kind] ?? {}).sort()).toEqual([...present()].sort());
  });

  it('by sentences', () => {
    const kinds = ['states', 'events', 'guards', 'actors'] as const;
    const texts = [described?.purpose, ...kinds.flatMap((kind) => Object.values(described?.[kind] ?? {}))];
    for (const text of texts) expect(text).toMatch(/^[A-Z].{5,120}\.$/);
  });
});

it('every machine that is drawn is described', () => {
  expect(Object.keys(DESCRIPTIONS).sort()).toEqual(SUBJECTS.map(({ machine }) => machine.id).sort());
});
