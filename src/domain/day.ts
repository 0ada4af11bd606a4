import type { Day } from './slice.ts';

/** Google keeps 16 months; older days are never requested. */
export const MONTHS_KEPT = 16;
/** Google may still change the data of this many days, counted back from today in Pacific time. */
export const FINAL_LAG_DAYS = 3;

const MS_PER_DAY = 86_400_000;

/** Whether the text is a real calendar day: `2026-02-30` is not. */
export function isDay(text: string): text is Day {
  if (!/^\d{4}-\d{2}-\d{2}$/.test(text)) return false;
  const ms = Date.parse(`${text}T00:00:00Z`);
  return !Number.isNaN(ms) && new Date(ms).toISOString().slice(0, 10) === text;
}

/** The day `count` days later, or earlier if negative. */
export function addDays(day: Day, count: number): Day {
  return new Date(Date.parse(`${day}T00:00:00Z`) + count * MS_PER_DAY).toISOString().slice(0, 10);
}

/** Whole days from `from` to `to`; 0 for the same day. */
export function daysBetween(from: Day, to: Day): number {
  return Math.round((Date.parse(`${to}T00:00:00Z`) - Date.parse(`${from}T00:00:00Z`)) / MS_PER_DAY);
}

/** Every day from `from` to `to`, both included, newest first. */
export function daysNewestFirst(from: Day, to: Day): Day[] {
  const days: Day[] = [];
  for (let day = to; day >= from; day = addDays(day, -1)) days.push(day);
  return days;
}

/** Created once: creating one takes longer than using it a hundred times. */
const PACIFIC = new Intl.DateTimeFormat('en-CA', {
  timeZone: 'America/Los_Angeles',
  year: 'numeric',
  month: '2-digit',
  day: '2-digit',
});

/** The calendar day in California at an instant. Search Console's days are Pacific days. */
export function pacificDay(epochMs: number): Day {
  return PACIFIC.format(new Date(epochMs));
}

/**
 * The oldest day that Google still has on `today`: the same day of the month 16 months earlier, or that month's last
 * day.
 */
export function oldestDayKept(today: Day): Day {
  const [year = 0, month = 1, dayOfMonth = 1] = today.split('-').map(Number);
  const months = year * 12 + (month - 1) - MONTHS_KEPT;
  const targetYear = Math.floor(months / 12);
  const targetMonth = months % 12;
  const lastOfMonth = new Date(Date.UTC(targetYear, targetMonth + 1, 0)).getUTCDate();
  return new Date(Date.UTC(targetYear, targetMonth, Math.min(dayOfMonth, lastOfMonth)))
    .toISOString()
    .slice(0, 10);
}

/** The later and the earlier of two days. Days sort as text. */
export const laterDay = (a: Day, b: Day): Day => (a > b ? a : b);
export const earlierDay = (a: Day, b: Day): Day => (a < b ? a : b);
