/**
 * Maps the IDs in the machines' messages to what they stand for. It holds only begun slices and the look-ahead: an
 * entry is removed when its slice ends.
 */

import type { Day, SearchType, Slice, SliceKey } from '../domain/slice.ts';
import type { Calendar } from '../store/types.ts';

/** What is known of a day from the calendar. */
export interface DayKnowledge {
  final: boolean;
  mayBeEmpty: boolean;
  /** 0 while unknown. */
  clicks: number;
}

export interface SliceEntry {
  readonly kind: 'slice';
  readonly slice: Slice;
  /** What is known of its day. For a speculative slice it is filled in when the calendar arrives. */
  readonly day: DayKnowledge;
  /**
   * For a speculative slice: whether it ended as not published only because the calendar was missing. Then its key is
   * planned again and this end is ignored. Resolves when the calendar is known.
   */
  readonly isPlannedAgain?: Promise<boolean>;
  /** Rows committed so far by this run. */
  rows: number;
  /** Why Google does not serve its dataset for its search type, once it has said so. */
  notServed?: string;
}

/** The published days of one search type: one request over the range, grouped by date. */
export interface CalendarEntry {
  readonly kind: 'calendar';
  readonly searchType: SearchType;
  readonly siteUrl: string;
  readonly from: Day;
  readonly to: Day;
  /** The result, once it has arrived. */
  calendar?: Calendar;
  /** How many answers left out days that had clicks before. */
  contradictions?: number;
  /** Those days, after too many such answers. `calendar` still lists them. */
  leftOut?: readonly Day[];
  /** Why the calendar cannot be fetched, once that is certain. */
  problem?: string;
  /** Called when the calendar or the problem is set. */
  readonly onSettled: () => void;
}

/** A probe of Google: requests the totals of one day and discards them. */
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
  /** Google refused this search type and dataset: no more slices of them are begun. */
  refuse(key: Combination): void;
  isRefused(key: Combination): boolean;
}

type Combination = Pick<SliceKey, 'searchType' | 'dataset'>;

export const calendarId = (searchType: SearchType): string => `calendar:${searchType}`;

export function createCatalogue(): Catalogue {
  const entries = new Map<string, CatalogueEntry>();
  const refused = new Set<string>();
  const nameOf = ({ searchType, dataset }: Combination): string => `${searchType} ${dataset}`;
  return {
    add: (id, entry) => void entries.set(id, entry),
    get: (id) => entries.get(id),
    remove: (id) => void entries.delete(id),
    refuse: (key) => void refused.add(nameOf(key)),
    isRefused: (key) => refused.has(nameOf(key)),
  };
}
