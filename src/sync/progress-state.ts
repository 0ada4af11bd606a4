/** Maps the coordinator's state to the public word for it. */
import type { SnapshotFrom } from 'xstate';
import type { coordinatorMachine } from '../machines/coordinator/coordinator.ts';
import type { ProgressState } from './types.ts';

export type CoordinatorState = SnapshotFrom<typeof coordinatorMachine>['value'];

export function progressState(state: CoordinatorState): ProgressState {
  if (typeof state === 'object') return runningState(state.running);
  switch (state) {
    case 'pausing':
    case 'paused':
    case 'halting':
      return state;
    case 'drainingForQuota':
      return 'halting';
    case 'complete':
    case 'completeWithFailures':
    case 'halted':
    case 'failed':
      return 'ended';
  }
}

function runningState(state: Extract<CoordinatorState, object>['running']): ProgressState {
  if ('waitingForDatabase' in state) return 'waitingForDatabase';
  if ('waitingForGoogle' in state) return 'waitingForGoogle';
  return state.working === 'planning' ? 'planning' : 'fetching';
}
