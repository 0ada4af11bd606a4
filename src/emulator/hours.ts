import type { Day } from '../domain/slice.ts';

const OFFSET = new Intl.DateTimeFormat('en-US', {
  timeZone: 'America/Los_Angeles',
  timeZoneName: 'longOffset',
});

/** The hours of a day in Pacific time, as Search Console writes them: `2026-05-01T13:00:00-07:00`. Always 24. */
export function hoursOf(day: Day): string[] {
  const noon = new Date(`${day}T20:00:00Z`);
  const offset = OFFSET.formatToParts(noon)
    .find((part) => part.type === 'timeZoneName')
    ?.value.slice('GMT'.length);
  return Array.from(
    { length: 24 },
    (_, hour) => `${day}T${String(hour).padStart(2, '0')}:00:00${offset ?? '-08:00'}`,
  );
}
