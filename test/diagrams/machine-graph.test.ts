/** A machine read as a graph: nothing that it may do is left out. */
import { describe, expect, test } from 'vitest';
import { type AnyStateNode, and, fromPromise, not, or, setup } from 'xstate';
import { type GraphEdge, graphOf } from '../../scripts/diagrams/machine-graph.ts';
import { SUBJECTS } from '../../scripts/diagrams/machines.ts';
import { arrowText } from '../../scripts/diagrams/wording.ts';

const nodesOf = (node: AnyStateNode): AnyStateNode[] => [
  node,
  ...Object.values(node.states).flatMap((child) => nodesOf(child)),
];

describe.each(SUBJECTS.map(({ name, machine }) => [name, machine] as const))('%s', (_, machine) => {
  const graph = graphOf(machine);
  const stateNodes = nodesOf(machine.root);

  test('has every state, below its parent', () => {
    expect(graph.nodes.map(({ id }) => id)).toEqual(stateNodes.map(({ id }) => id));
    expect(graph.nodes.map(({ parent }) => parent)).toEqual(
      stateNodes.map(({ parent }) => parent?.id ?? null),
    );
  });

  test('has every transition of every state, with its guard, targets and number of actions', () => {
    const expected = stateNodes.flatMap((node) =>
      [...(node.always ?? []), ...[...node.transitions.values()].flat()].map(
        ({ target, guard, actions }) => ({
          source: node.id,
          targets: (target ?? []).map(({ id }: AnyStateNode) => id),
          isGuarded: guard !== undefined,
          actions: actions.length,
        }),
      ),
    );
    const drawn = graph.edges.map(({ source, targets, guard, actions }) => ({
      source,
      targets,
      isGuarded: guard !== null,
      actions: actions.length,
    }));
    expect(drawn).toEqual(expected);
    expect(drawn.length).toBeGreaterThan(0);
  });

  test('has a name for all', () => {
    expect(JSON.stringify(graph)).not.toMatch(/unnamed|xstate\.|undefined/);
  });

  test('is data alone', () => {
    expect(JSON.parse(JSON.stringify(graph))).toEqual(graph);
  });
});

describe('every kind of transition', () => {
  const machine = setup({
    types: { events: {} as { type: 'go' | 'stay' | 'ignore' | 'again' | `xstate.error.actor.${string}` } },
    actors: { work: fromPromise(async () => 1), helper: fromPromise(async () => 2) },
    guards: { isA: () => true, isB: () => true },
    delays: { pause: 10 },
    actions: { act: () => {}, say: (_, _words: string) => {} },
  }).createMachine({
    id: 'm',
    initial: 'one',
    states: {
      one: {
        entry: 'act',
        exit: { type: 'say', params: 'bye' },
        always: [
          { guard: and(['isA', not('isB')]), target: 'two' },
          { guard: or(['isA', 'isB']), actions: 'act' },
        ],
        after: { pause: 'two', 250: { actions: 'act' } },
        on: {
          go: [
            { guard: 'isA', target: 'two' },
            { target: 'both', actions: 'act' },
          ],
          stay: { actions: ['act', { type: 'say', params: 'hi' }] },
          ignore: {},
          again: { target: 'one', reenter: true },
          '*': 'two',
        },
      },
      two: {
        invoke: { id: 'job', src: 'work', onDone: 'both', onError: [{ guard: 'isB', target: 'one' }, 'end'] },
        on: { 'xstate.error.actor.*': 'end' },
      },
      both: {
        type: 'parallel',
        onDone: 'end',
        states: {
          left: { initial: 'l', states: { l: { type: 'final' } } },
          right: { initial: 'r', states: { r: { type: 'final' } } },
        },
      },
      end: { type: 'final' },
    },
  });
  const graph = graphOf(machine);
  const of = (source: string): GraphEdge[] => graph.edges.filter((edge) => edge.source === source);

  test('without an event, by time, by wildcard, internal, ignored, re-entering, and guarded alternatives in their order', () => {
    expect(of('m.one').map((edge) => [arrowText(edge), edge.targets, edge.actions])).toEqual([
      ['[isA and not isB]', ['m.two'], []],
      ['[isA or isB]', [], ['act']],
      ['go [isA]', ['m.two'], []],
      ['go [else]', ['m.both'], ['act']],
      ['stay', [], ['act', 'say(hi)']],
      ['ignore', [], []],
      ['again', ['m.one'], []],
      ['*', ['m.two'], []],
      // Whole numbers come first among the keys of an object.
      ['after 250', [], ['act']],
      ['after pause', ['m.two'], []],
    ]);
    expect(of('m.one').filter(({ reenters }) => reenters)).toHaveLength(1);
    expect(of('m.one').map(({ alternative, alternatives }) => `${alternative}/${alternatives}`)).toEqual([
      ...['1/2', '2/2', '1/2', '2/2', '1/1', '1/1', '1/1', '1/1', '1/1', '1/1'],
    ]);
  });

  test('of invoked actors, and of any', () => {
    expect(of('m.two').map(arrowText)).toEqual([
      'any actor failed',
      'job done',
      'job failed [isB]',
      'job failed [else]',
    ]);
    expect(graph.nodes.find(({ id }) => id === 'm.two')?.invokes).toEqual([{ id: 'job', source: 'work' }]);
    expect(graph.spawned).toEqual(['helper']);
  });

  test('of states whose inside is over', () => {
    expect(of('m.both')).toMatchObject([{ trigger: { kind: 'stateDone' }, targets: ['m.end'] }]);
  });

  test('entry and exit are the author’s, not XState’s own timers', () => {
    expect(graph.nodes.find(({ id }) => id === 'm.one')).toMatchObject({
      entry: ['act'],
      exit: ['say(bye)'],
    });
  });

  test('what is entered first', () => {
    expect(graph.nodes.map(({ id, type, initial }) => [id, type, initial])).toEqual([
      ['m', 'compound', ['m.one']],
      ['m.one', 'atomic', []],
      ['m.two', 'atomic', []],
      ['m.both', 'parallel', []],
      ['m.both.left', 'compound', ['m.both.left.l']],
      ['m.both.left.l', 'final', []],
      ['m.both.right', 'compound', ['m.both.right.r']],
      ['m.both.right.r', 'final', []],
      ['m.end', 'final', []],
    ]);
  });
});
