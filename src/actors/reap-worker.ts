import { fromPromise } from 'xstate';
import type { ReapInput, ReapOutput } from '../machines/coordinator/context.ts';
import type { CallRegistry } from './call-registry.ts';

/**
 * Ends what a crashed worker left behind: aborts its call and waits for the end, commit and all. Pages that were
 * committed unseen need no list: they go back in line, and the ledger answers `alreadyCommitted` to the second commit.
 */
export function createReapWorker(calls: CallRegistry) {
  return fromPromise<ReapOutput, ReapInput>(async ({ input }) => {
    await calls.end(input.workerId);
    return { workerId: input.workerId, committed: [] };
  });
}
