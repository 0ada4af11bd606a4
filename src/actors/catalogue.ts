/**
 * What the ids in the machines' messages stand for. It holds begun slices and the look-ahead, no more: an entry goes when
 * its slice ends.
 */
import type { Calendar, DayKnowledge } from '../db/types.ts';
import type { Day, SearchType, Slice } from '../domain/slice.ts';

export interface SliceEntry {
  readonly kind: 'slice';
  readonly slice: Slice;
  /** What is known of its day. */
  readonly day: DayKnowledge;
  /** Rows committed so far, by this run. */
  rows: number;
}

/** Which days of one search type are published: one request over the range, grouped by date. */
export interface CalendarEntry {
  readonly kind: 'calendar';
  readonly searchType: SearchType;
  readonly siteUrl: string;
  readonly from: Day;
  readonly to: Day;
  /** What came, once it has. */
  calendar?: Calendar;
  /** Why it cannot be had, once that is sure. */
  problem?: string;
}

export type CatalogueEntry = SliceEntry | CalendarEntry;

export interface Catalogue {
  add(id: string, entry: CatalogueEntry): void;
  get(id: string): CatalogueEntry | undefined;
  remove(id: string): void;
}

export const calendarId = (searchType: SearchType): string => `calendar:${searchType}`;

export function createCatalogue(): Catalogue {
  const entries = new Map<string, CatalogueEntry>();
  return {
    add: (id, entry) => void entries.set(id, entry),
    get: (id) => entries.get(id),
    remove: (id) => void entries.delete(id),
  };
}
