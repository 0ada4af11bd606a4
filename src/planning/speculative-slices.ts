/**
 * Slices that are fetched before the calendar says anything of their days, so that no worker waits for it. What is known
 * of a day is an object that the catalogue's entry refers to, and that is read when the slice is sealed: it says nothing
 * at first, and all when the calendar is in.
 */

import type { Day, SearchType, SliceKey } from '../domain/slice.ts';
import type { Store } from '../store/store.ts';
import type { Answer, OpenedSlice } from '../store/types.ts';
import type { Catalogue, DayKnowledge } from './catalogue.ts';
import { isFinal, keyOf, mayBeEmpty, type PublishedDays } from './plan.ts';

export interface TrustedSlice {
  readonly key: SliceKey;
  readonly day: DayKnowledge;
  readonly tellWhetherPlannedAgain: (isPlannedAgain: boolean) => void;
}

export function addTrusted(opened: readonly OpenedSlice[], catalogue: Catalogue): readonly TrustedSlice[] {
  return opened.map(({ slice }) => {
    const day: DayKnowledge = { final: false, mayBeEmpty: false, clicks: 0 };
    const { promise, resolve } = Promise.withResolvers<boolean>();
    catalogue.add(slice.id, { kind: 'slice', slice, day, isPlannedAgain: promise, rows: 0 });
    const { searchType, dataset, date } = slice;
    return { key: { searchType, dataset, date }, day, tellWhetherPlannedAgain: resolve };
  });
}

/**
 * The calendars are in. The value is the trusted keys that are done, or will be, by what has been begun; the others came
 * back empty too early for that to mean anything, and are to be planned as if they had never been begun.
 *
 * The days are changed here first, then those slices that were sealed before are made final: a commit under way has read
 * its day before, and the database waits for it, or reads it after.
 */
export async function settleTrustedSlices(
  trusted: readonly TrustedSlice[],
  calendars: ReadonlyMap<SearchType, PublishedDays>,
  today: Day,
  store: Pick<Store, 'settleTrusted'>,
): Promise<Answer<readonly SliceKey[]>> {
  if (trusted.length === 0) return { kind: 'ok', value: [] };
  for (const { key, day } of trusted) {
    const calendar = calendars.get(key.searchType);
    day.final = isFinal(key.date, calendar, today);
    day.clicks = calendar?.days.get(key.date) ?? 0;
    day.mayBeEmpty = mayBeEmpty(key.date, calendar);
  }
  const settled = await store.settleTrusted(trusted.map(({ key, day }) => ({ ...key, final: day.final })));
  if (settled.kind !== 'ok') return settled;
  const again = new Set(settled.value.map(keyOf));
  for (const { key, tellWhetherPlannedAgain } of trusted) tellWhetherPlannedAgain(again.has(keyOf(key)));
  return { kind: 'ok', value: trusted.map(({ key }) => key).filter((key) => !again.has(keyOf(key))) };
}
