import { isDay } from '../domain/day.ts';
import type { Day } from '../domain/slice.ts';
import type { CalendarEntry } from '../planning/catalogue.ts';
import { plainRows } from '../rows/row-block.ts';
import type { QueryAnswer } from '../search-console/answer/decode-rows.ts';
import type { Calendar } from '../store/types.ts';

/**
 * The calendar out of its rows: one key each, the day. Days that it leaves out are taken for empty, so a day that cannot
 * be, or was not asked for, spoils the whole: `problem` says which.
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
      return { problem: `Row ${index} is of ${date}, and ${from} to ${to} was asked for.` };
    if (seen.has(date)) return { problem: `The answer has ${date} twice.` };
    seen.add(date);
    if (lastPublished === null || date > lastPublished) lastPublished = date;
  }
  return { calendar: { from, to, lastPublished, firstIncomplete: firstIncompleteDate, days } };
}
