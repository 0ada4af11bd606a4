/**
 * Slices that are fetched before the calendar is known, so that no worker waits for it. What is known of a day is a
 * shared object in the catalogue entry, read when the slice is sealed. It is empty at first and filled in when the
 * calendar arrives.
 */

import type { Day, SearchType, SliceKey } from '../domain/slice.ts';
import type { Store } from '../store/store.ts';
import type { Answer, OpenedSlice } from '../store/types.ts';
import type { Catalogue, DayKnowledge } from './catalogue.ts';
import { isFinal, keyOf, mayBeEmpty, type PublishedDays } from './plan.ts';

export interface SpeculativeSlice {
  readonly key: SliceKey;
  readonly day: DayKnowledge;
  readonly tellWhetherPlannedAgain: (isPlannedAgain: boolean) => void;
}

export function addSpeculative(
  opened: readonly OpenedSlice[],
  catalogue: Catalogue,
): readonly SpeculativeSlice[] {
  return opened.map(({ slice }) => {
    const day: DayKnowledge = { final: false, mayBeEmpty: false, clicks: 0 };
    const { promise, resolve } = Promise.withResolvers<boolean>();
    catalogue.add(slice.id, { kind: 'slice', slice, day, isPlannedAgain: promise, rows: 0 });
    const { searchType, dataset, date } = slice;
    return { key: { searchType, dataset, date }, day, tellWhetherPlannedAgain: resolve };
  });
}

/**
 * Settles speculative slices when the calendars have arrived. Returns the speculative keys that are done or under way.
 * Slices that came back empty too early to be conclusive are left out: they are planned again as if never fetched.
 *
 * The days are updated first, then slices sealed before that are made final. A commit under way has either read its day
 * before, and the database waits for it, or it reads the updated day. `knowsClicks`: whether the calendar's clicks must show in
 * these slices.
 */
export async function settleSpeculativeSlices(
  speculative: readonly SpeculativeSlice[],
  calendars: ReadonlyMap<SearchType, PublishedDays>,
  today: Day,
  store: Pick<Store, 'settleSpeculative'>,
  knowsClicks: boolean,
): Promise<Answer<readonly SliceKey[]>> {
  if (speculative.length === 0) return { kind: 'ok', value: [] };
  for (const { key, day } of speculative) {
    const calendar = calendars.get(key.searchType);
    day.final = isFinal(key.date, calendar, today);
    day.clicks = knowsClicks ? (calendar?.days.get(key.date) ?? 0) : 0;
    day.mayBeEmpty = mayBeEmpty(key.date, calendar);
  }
  const settled = await store.settleSpeculative(
    speculative.map(({ key, day }) => ({ ...key, final: day.final })),
  );
  if (settled.kind !== 'ok') return settled;
  const again = new Set(settled.value.map(keyOf));
  for (const { key, tellWhetherPlannedAgain } of speculative) tellWhetherPlannedAgain(again.has(keyOf(key)));
  return { kind: 'ok', value: speculative.map(({ key }) => key).filter((key) => !again.has(keyOf(key))) };
}
