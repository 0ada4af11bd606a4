/** The model reads XState's internals: another XState is refused before it explores anything. */
import { expect, test } from 'vitest';
import { type AnyStateMachine, createMachine } from 'xstate';
import { requireKnownXState } from '../../src/internals/xstate.ts';

const REFUSAL =
  'longtail/model relies on internals of XState 5.33, and the installed version differs: install xstate 5.33.';

test('the installed XState is the one that the model knows', () => {
  expect(() => requireKnownXState()).not.toThrow();
});

/** A machine whose logic has been changed, as another version of XState would. */
function changed(change: Partial<Record<'getInitialSnapshot' | 'transition', unknown>>): AnyStateMachine {
  const machine = createMachine({
    initial: 'first',
    states: { first: { on: { go: 'second' } }, second: {} },
  });
  return Object.assign(machine, change);
}

test.each([
  ['a snapshot without children', { getInitialSnapshot: () => ({ status: 'active', value: 'first' }) }],
  ['steps that return something else than a snapshot', { transition: () => [{}, []] }],
  [
    'steps that throw',
    {
      transition: () => {
        throw new TypeError('system._bookId is not a function');
      },
    },
  ],
  ['the same states without their effects', {}],
])('refuses %s', (_, change) => {
  expect(() => requireKnownXState(changed(change))).toThrow(REFUSAL);
});
