/**
 * What the ids in the machines' messages stand for. It holds begun slices and the look-ahead, no more: an entry goes when
 * its slice ends.
 */

import type { Day, SearchType, Slice } from '../domain/slice.ts';
import type { Calendar } from '../store/types.ts';

/** What the calendar says of a day, as far as it is known. */
export interface DayKnowledge {
  final: boolean;
  mayBeEmpty: boolean;
  /** 0 while nothing is known. */
  clicks: number;
}

export interface SliceEntry {
  readonly kind: 'slice';
  readonly slice: Slice;
  /** What is known of its day. Of a slice begun on trust nothing is at first; it changes when the calendar is in. */
  readonly day: DayKnowledge;
  /**
   * Of a slice begun on trust: whether it ended as not published for want of knowledge, so that its key is planned again
   * and this end is none. Known once the calendar is in.
   */
  readonly isPlannedAgain?: Promise<boolean>;
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
  /** How often one has come that leaves out days which had clicks before. */
  contradictions?: number;
  /** Those days, where it has come too often: named by `calendar` all the same. */
  leftOut?: readonly Day[];
  /** Why it cannot be had, once that is sure. */
  problem?: string;
  /** Told when either of them is there. */
  readonly onSettled: () => void;
}

/** What shows whether Google is well: the totals of one day, asked for and thrown away. */
export interface ProbeEntry {
  readonly kind: 'probe';
  readonly searchType: SearchType;
  readonly siteUrl: string;
  readonly date: Day;
}

export type CatalogueEntry = SliceEntry | CalendarEntry | ProbeEntry;

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
