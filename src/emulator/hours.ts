import { addDays } from '../domain/day.ts';
import type { Day } from '../domain/slice.ts';

const HOUR_MS = 3_600_000;
const PACIFIC = new Intl.DateTimeFormat('en-US', {
  timeZone: 'America/Los_Angeles',
  hourCycle: 'h23',
  hour: '2-digit',
  timeZoneName: 'longOffset',
});

/** The hour's beginning as Search Console writes it, such as `13:00:00-07:00`. */
function inPacificTime(instantMs: number): { readonly text: string; readonly offsetMs: number } {
  const parts = new Map(PACIFIC.formatToParts(instantMs).map(({ type, value }) => [type, value]));
  const offset = (parts.get('timeZoneName') ?? '').slice('GMT'.length);
  const offsetMs = Number(offset.slice(0, 3)) * HOUR_MS;
  return { text: `${parts.get('hour')}:00:00${offset}`, offsetMs };
}

/** The instant at which a day begins in Pacific time. Clocks change at two, so its offset is that of the evening before. */
function beginningOf(day: Day): number {
  const midnight = Date.parse(`${day}T00:00:00Z`);
  return midnight - inPacificTime(midnight).offsetMs;
}

/**
 * The hours of a day in Pacific time, as Search Console writes them: `2026-05-01T13:00:00-07:00`. Days on which the clocks
 * change have 23 or 25.
 */
export function hoursOf(day: Day): string[] {
  const [from, to] = [beginningOf(day), beginningOf(addDays(day, 1))];
  return Array.from(
    { length: (to - from) / HOUR_MS },
    (_, hour) => `${day}T${inPacificTime(from + hour * HOUR_MS).text}`,
  );
}
