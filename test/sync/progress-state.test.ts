import { expect, test } from 'vitest';
import type { StateValue } from 'xstate';
import { coordinatorMachine } from '../../src/machines/coordinator/coordinator.ts';
import { type CoordinatorState, progressState } from '../../src/sync/progress-state.ts';
import type { ProgressState } from '../../src/sync/types.ts';

const STATES: readonly (readonly [CoordinatorState, ProgressState])[] = [
  [{ running: { working: 'planning' } }, 'planning'],
  [{ running: { working: 'dispatching' } }, 'fetching'],
  [{ running: { working: 'waitingForRetry' } }, 'fetching'],
  [{ running: { working: 'draining' } }, 'fetching'],
  [{ running: { waitingForGoogle: 'sleeping' } }, 'waitingForGoogle'],
  [{ running: { waitingForGoogle: 'choosing' } }, 'waitingForGoogle'],
  [{ running: { waitingForGoogle: 'probing' } }, 'waitingForGoogle'],
  [{ running: { waitingForDatabase: 'sleeping' } }, 'waitingForDatabase'],
  [{ running: { waitingForDatabase: 'retrying' } }, 'waitingForDatabase'],
  [{ running: { waitingForDatabase: 'probing' } }, 'waitingForDatabase'],
  ['pausing', 'pausing'],
  ['paused', 'paused'],
  ['drainingForQuota', 'halting'],
  ['halting', 'halting'],
  ['complete', 'ended'],
  ['completeWithFailures', 'ended'],
  ['halted', 'ended'],
  ['failed', 'ended'],
];

interface Node {
  readonly key: string;
  readonly states: Readonly<Record<string, Node>>;
}

/** The values of all atomic states below a node. */
function valuesBelow({ states }: Node): StateValue[] {
  return Object.values(states).flatMap((child): StateValue[] =>
    Object.keys(child.states).length === 0
      ? [child.key]
      : valuesBelow(child).map((value) => ({ [child.key]: value })),
  );
}

test.each(STATES)('%j is shown as %s', (state, word) => {
  expect(progressState(state)).toBe(word);
});

test('the table above has every state of the coordinator', () => {
  const known = STATES.map(([state]) => JSON.stringify(state)).sort();
  const all = valuesBelow(coordinatorMachine.root).map((value) => JSON.stringify(value));
  expect(known).toEqual(all.sort());
});
