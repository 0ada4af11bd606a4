import { addDays, daysBetween, FINAL_LAG_DAYS, oldestDayKept } from '../domain/day.ts';
import type { Day, SearchType } from '../domain/slice.ts';
import { BYTES_PER_ROW, buildDay, type DayRows } from './day-rows.ts';
import { type Column, Grouping } from './grouping.ts';
import { byClicks, type Groups } from './groups.ts';
import { ByteBoundedCache } from './lru.ts';
import { buildPool, type Pool, type PropertyShape } from './pool.ts';
import type { QueryRequest } from './query-request.ts';

/** How a property's data is generated, and how much of it Google shows. */
export interface DatasetSettings extends PropertyShape {
  /** Rows of `page+query` on a day, at most twice `rowsPerDay`. Undefined: the usual number. */
  readonly rowsOn: ((date: Day, searchType: SearchType) => number | undefined) | undefined;
  /** The property's first day with data. Undefined: older than what Google keeps. */
  readonly firstDay: Day | undefined;
  /** Maximum rows per day that Google returns: those with the most clicks. */
  readonly rowCap: number;
  /** How many days have data by hour, today included. */
  readonly hourlyDays: number;
  /** Share of the final rows that are available at age 0, 1, 2 … days. */
  readonly freshShare: readonly number[];
}

/** The complete answer to a request, regardless of `startRow` and `rowLimit`. `order`: row numbers, most clicks first. */
export interface Table {
  readonly columns: readonly Column[];
  readonly groups: Groups;
  readonly order: Uint32Array;
}

/** Caches of generated days and tables, limited in bytes and shared by all properties. */
export interface DatasetCaches {
  readonly days: ByteBoundedCache<DayRows>;
  readonly tables: ByteBoundedCache<Table>;
}

export function datasetCaches(): DatasetCaches {
  return { days: new ByteBoundedCache(64 << 20), tables: new ByteBoundedCache(64 << 20) };
}

const DAYS_PER_TURN = 4;
const BYTES_PER_GROUP = 36;

/** One property's data. The same settings always give the same answers, in whatever order they are requested. */
export class Dataset {
  readonly #settings: DatasetSettings;
  readonly #caches: DatasetCaches;
  readonly #pools = new Map<SearchType, Pool>();

  constructor(settings: DatasetSettings, caches: DatasetCaches) {
    this.#settings = settings;
    this.#caches = caches;
  }

  /** The first day of the range whose data may still change, as of `today`. Undefined: all of it is final. */
  firstIncompleteDay(request: QueryRequest, today: Day): Day | undefined {
    const first = addDays(today, 1 - FINAL_LAG_DAYS);
    if (request.endDate < first || request.startDate > today) return undefined;
    return latest(first, request.startDate);
  }

  /** All rows that Google would return. `tieSalt` decides the order of rows with equal clicks. */
  async table(request: QueryRequest, today: Day, tieSalt: number): Promise<Table> {
    const { searchType, startDate, endDate, dimensions, aggregation, dataState } = request;
    const filters = request.filters.map(({ dimension, operator, expression }) => [
      dimension,
      operator,
      expression,
    ]);
    const key = JSON.stringify([
      this.#settings.siteUrl,
      searchType,
      startDate,
      endDate,
      dimensions,
      aggregation,
      dataState,
      filters,
      today,
      tieSalt,
    ]);
    const cached = this.#caches.tables.get(key);
    if (cached !== undefined) return cached;
    const table = await this.#build(request, today, tieSalt);
    this.#caches.tables.set(key, table, table.groups.count * BYTES_PER_GROUP + key.length);
    return table;
  }

  async #build(request: QueryRequest, today: Day, tieSalt: number): Promise<Table> {
    const days = this.#daysOf(request, today);
    const pool = this.#pool(request.searchType);
    const grouping = new Grouping(request, pool, days);
    for (const [index, day] of days.entries()) {
      // Yields, so that a calendar of 16 months does not block all other calls.
      if (index % DAYS_PER_TURN === DAYS_PER_TURN - 1) await new Promise((resolve) => setImmediate(resolve));
      grouping.addDay(index, this.#rows(request, pool, day, today), this.#settings.rowCap);
    }
    return { columns: grouping.columns, groups: grouping.sums, order: byClicks(grouping.sums, tieSalt) };
  }

  #daysOf(request: QueryRequest, today: Day): Day[] {
    const { firstDay, hourlyDays } = this.#settings;
    const oldest = request.dataState === 'hourlyAll' ? addDays(today, 1 - hourlyDays) : oldestDayKept(today);
    const last = request.dataState === 'final' ? addDays(today, -FINAL_LAG_DAYS) : today;
    const from = latest(oldest, request.startDate, firstDay ?? request.startDate);
    const days: Day[] = [];
    for (let day = from; day <= last && day <= request.endDate; day = addDays(day, 1)) days.push(day);
    return days;
  }

  #rows(request: QueryRequest, pool: Pool, day: Day, today: Day): DayRows {
    const age = daysBetween(day, today);
    const share = age >= FINAL_LAG_DAYS ? 1 : (this.#settings.freshShare[age] ?? 1);
    const rows = this.#settings.rowsOn?.(day, request.searchType) ?? pool.rowsPerDay;
    const key = `${this.#settings.siteUrl} ${request.searchType} ${day} ${share} ${rows}`;
    const cached = this.#caches.days.get(key);
    if (cached !== undefined) return cached;
    const built = buildDay(pool, day, rows, share);
    this.#caches.days.set(key, built, built.page.length * BYTES_PER_ROW);
    return built;
  }

  #pool(searchType: SearchType): Pool {
    const known = this.#pools.get(searchType);
    if (known !== undefined) return known;
    const pool = buildPool(this.#settings, searchType);
    this.#pools.set(searchType, pool);
    return pool;
  }
}

function latest(first: Day, ...others: readonly Day[]): Day {
  let last = first;
  for (const day of others) if (day > last) last = day;
  return last;
}
