import { fromPromise } from 'xstate';
import type { Store } from '../db/store.ts';

/** Resolves when the database answers. A rejection is the coordinator's cue to wait and ask again. */
export function createProbeDatabase(store: Pick<Store, 'probe'>) {
  return fromPromise<void>(async () => {
    const answer = await store.probe();
    if (answer.kind !== 'ok') throw new Error(answer.reason);
  });
}
