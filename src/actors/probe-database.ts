import { fromPromise } from 'xstate';
import { StillAway } from '../machines/coordinator/context.ts';
import type { Store } from '../store/store.ts';
import { awayOf } from './away.ts';

/** Resolves if the database would accept a page. If it rejects, the coordinator waits and asks again. */
export function createProbeDatabase(store: Pick<Store, 'probe'>) {
  return fromPromise<void>(async () => {
    const answer = await store.probe();
    if (answer.kind === 'databaseAway') throw new StillAway(awayOf(answer));
    if (answer.kind !== 'ok') throw new Error(answer.reason);
  });
}
