/** Counts the slices of one run. The outcome uses it when the database cannot be read at the end. */
import type { SliceFailure } from '../domain/slice.ts';
import type { Listeners } from './listeners.ts';
import type { RunFigures, SyncEvents } from './types.ts';

export interface OwnSlices {
  /** `planned` covers the whole range; the rest covers this run only. */
  figures(planned: number): Pick<RunFigures, 'slices' | 'rows' | 'failures'>;
  stop(): void;
}

export function countOwnSlices(listeners: Listeners<SyncEvents>): OwnSlices {
  const failures: SliceFailure[] = [];
  let complete = 0;
  let empty = 0;
  let rows = 0;
  const stop = listeners.on('slice', (event) => {
    const { searchType, dataset, date, part, reason = 'no reason was given' } = event;
    if (event.status === 'complete') {
      rows += event.rows;
      // A part of a day says nothing of the whole.
      if (part !== undefined) return;
      complete += 1;
      if (event.rows === 0) empty += 1;
    } else if (event.status === 'failed') {
      failures.push({ searchType, dataset, date, ...(part === undefined ? {} : { part }), reason });
    }
  });
  return {
    figures: (planned) => ({ slices: { planned, complete, failed: failures.length, empty }, rows, failures }),
    stop,
  };
}
