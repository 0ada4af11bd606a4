import { fromPromise } from 'xstate';
import type { ReapInput, ReapOutput } from '../machines/coordinator/context.ts';
import type { CallRegistry } from './call-registry.ts';

/**
 * Cleans up after a crashed worker: aborts its call and waits for its end, including commits. Pages that were committed
 * without a report need no list: they go back to the queue, and the ledger answers `alreadyCommitted` to the second
 * commit.
 */
export function createReapWorker(calls: CallRegistry) {
  return fromPromise<ReapOutput, ReapInput>(async ({ input }) => {
    await calls.end(input.workerId);
    return { workerId: input.workerId, committed: [] };
  });
}
