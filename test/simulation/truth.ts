/**
 * What Google has: rows of any slice at any time, made from the seed alone, and the calendar that follows from them.
 * Days are published in order, change until they are final, and may lose rows afterwards.
 */

import { mustHaveRows } from '../../src/domain/dataset.ts';
import { addDays, pacificDay } from '../../src/domain/day.ts';
import { groupedBy } from '../../src/domain/part.ts';
import type { Day, SearchType } from '../../src/domain/slice.ts';
import { share } from './chance.ts';
import type { Scenario } from './scenario.ts';

export interface TrueRow {
  readonly keys: readonly string[];
  readonly clicks: number;
  readonly impressions: number;
  readonly position: number | null;
}

export interface TrueKey {
  readonly searchType: SearchType;
  readonly dataset: string;
  readonly date: Day;
  readonly part?: string;
}

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** How long after it is published a day still changes, at most. */
const CHANGES_FOR_MS = 30 * HOUR_MS;
const VERSIONS = 6;

/** What of a scenario decides Google's data. */
export type TruthFacts = Pick<Scenario, 'seed' | 'faults'> & {
  readonly google: Pick<Scenario['google'], 'rows' | 'clicks' | 'emptyShare' | 'lagMs'>;
};

export class Truth {
  readonly #scenario: TruthFacts;
  readonly #made = new Map<string, readonly TrueRow[]>();

  constructor(scenario: TruthFacts) {
    this.#scenario = scenario;
  }

  /** Google shows nothing of the day before. */
  publishedAt(date: Day): number {
    const { google, faults } = this.#scenario;
    const late = (faults.lateDays ?? 0) > 0 ? 3 * DAY_MS : 0;
    return endOf(date) + google.lagMs + late;
  }

  /** Google changes the day no more. */
  finalAt(date: Day): number {
    return this.publishedAt(date) + ((this.#scenario.faults.changingDays ?? 0) > 0 ? CHANGES_FOR_MS : 0);
  }

  /** Whether the property had any visits of this type on the day. */
  hasData(searchType: SearchType, date: Day): boolean {
    const { seed, google } = this.#scenario;
    return share(seed, 'empty', searchType, date) >= google.emptyShare;
  }

  /** The day's state, as a number; days that lose rows have one more. */
  versionAt(key: TrueKey, atMs: number): number {
    const published = this.publishedAt(key.date);
    if (this.isLost(key) && atMs >= this.finalAt(key.date) + 12 * HOUR_MS) return VERSIONS;
    const changesFor = this.finalAt(key.date) - published;
    if (changesFor === 0 || atMs >= published + changesFor) return VERSIONS - 1;
    return Math.floor(((atMs - published) / changesFor) * (VERSIONS - 1));
  }

  /** Whether Google loses rows of this slice some day, which it should not. */
  isLost(key: TrueKey): boolean {
    const { seed, faults } = this.#scenario;
    return share(seed, 'lost', key.searchType, nameOf(key), key.date) < (faults.lostDays ?? 0);
  }

  /** The rows, in the order of an answer; ties in the order in which they were made. */
  rows(key: TrueKey, atMs: number): readonly TrueRow[] {
    if (atMs < this.publishedAt(key.date) || !this.hasData(key.searchType, key.date)) return [];
    return this.rowsOf(key, this.versionAt(key, atMs));
  }

  rowsOf(key: TrueKey, version: number): readonly TrueRow[] {
    const name = `${key.searchType} ${nameOf(key)} ${key.date} ${version}`;
    const known = this.#made.get(name);
    if (known !== undefined) return known;
    const made = this.#make(key, version);
    this.#made.set(name, made);
    return made;
  }

  #make(key: TrueKey, version: number): readonly TrueRow[] {
    const { seed, google } = this.#scenario;
    const { searchType, dataset, date } = key;
    const dimensions = groupedBy({ dataset, part: key.part ?? '' });
    const name = nameOf(key);
    const wanted = Math.floor(share(seed, 'rows', searchType, name, date) * (google.rows + 1));
    const whole = dimensions.length === 0 ? 1 : wanted;
    const kept = version >= VERSIONS ? share(seed, 'kept', searchType, name, date) : (version + 1) / VERSIONS;
    // A day with clicks has them somewhere: only queries and search appearances are hidden.
    const least = version < VERSIONS && mustHaveRows(dataset, google.rows) ? 1 : 0;
    const count =
      dimensions.length === 0 && version < VERSIONS ? 1 : Math.max(least, Math.floor(whole * kept));
    const rows = Array.from({ length: count }, (_, index) => {
      const draw = share(seed, searchType, name, date, index, version);
      const clicks = Math.floor(draw * google.clicks);
      return {
        keys: dimensions.map((dimension) => `${dimension}-${index}-${date}`),
        clicks,
        impressions: clicks * 10 + (index % 7),
        position: searchType === 'discover' || searchType === 'googleNews' ? null : 1 + (index % 9) / 3,
      };
    });
    return rows.sort((one, other) => other.clicks - one.clicks);
  }

  /** The days that Google names: published ones with data. */
  calendar(searchType: SearchType, from: Day, to: Day, atMs: number): { date: Day; clicks: number }[] {
    const days: { date: Day; clicks: number }[] = [];
    for (let date = from; date <= to; date = addDays(date, 1)) {
      if (atMs < this.publishedAt(date)) break;
      if (this.hasData(searchType, date))
        days.push({ date, clicks: this.#scenario.google.rows === 0 ? 0 : date.charCodeAt(9) });
    }
    return days;
  }

  lastPublished(searchType: SearchType, from: Day, atMs: number): Day | null {
    return this.calendar(searchType, from, pacificDay(atMs), atMs).at(-1)?.date ?? null;
  }

  /** The first of the days that still change; null when none does. */
  firstIncomplete(from: Day, to: Day, atMs: number): Day | null {
    for (let date = from; date <= to && atMs >= this.publishedAt(date); date = addDays(date, 1)) {
      if (atMs < this.finalAt(date)) return date;
    }
    return null;
  }
}

/** What a dataset's rows are drawn by; a part's apart. */
const nameOf = ({ dataset, part = '' }: TrueKey): string => (part === '' ? dataset : `${dataset} ${part}`);

/** Midnight in California, near enough. */
function endOf(date: Day): number {
  return Date.parse(`${date}T00:00:00Z`) + DAY_MS + 8 * HOUR_MS;
}
