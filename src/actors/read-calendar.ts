import { isDay } from '../domain/day.ts';
import type { Day } from '../domain/slice.ts';
import type { CalendarEntry } from '../planning/catalogue.ts';
import { plainRows } from '../rows/row-block.ts';
import type { QueryAnswer } from '../search-console/answer/decode-rows.ts';
import type { Calendar } from '../store/types.ts';

/**
 * Reads the calendar from its rows, each with one key: the day. Days left out are taken as empty, so an impossible day,
 * or one outside the requested range, makes the whole calendar unusable: `problem` says which.
 */
export function readCalendar(
  { from, to }: Pick<CalendarEntry, 'from' | 'to'>,
  { rows, firstIncompleteDate }: QueryAnswer,
): { readonly calendar: Calendar } | { readonly problem: string } {
  const seen = new Set<Day>();
  let lastPublished: Day | null = null;
  const days = plainRows(rows).map(({ keys, clicks, impressions }) => ({
    date: keys[0] ?? '',
    clicks,
    impressions,
  }));
  for (const [index, { date }] of days.entries()) {
    if (!isDay(date)) return { problem: `Row ${index} has a key that is not a day.` };
    if (date < from || date > to)
      return { problem: `Row ${index} is for ${date}, outside the requested range ${from} to ${to}.` };
    if (seen.has(date)) return { problem: `The answer has ${date} twice.` };
    seen.add(date);
    if (lastPublished === null || date > lastPublished) lastPublished = date;
  }
  return { calendar: { from, to, lastPublished, firstIncomplete: firstIncompleteDate, days } };
}
