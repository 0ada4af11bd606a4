/** What is fetched. The same for the synchronisation and for everything that it is compared with. */
import { dimensionsOf, parseDataset } from '../../src/domain/dataset.ts';
import { addDays, FINAL_LAG_DAYS, pacificDay } from '../../src/domain/day.ts';
import type { Day, SearchType } from '../../src/domain/slice.ts';
import type { EmulatorOptions } from '../../src/emulator/index.ts';

export const SITE = 'sc-domain:example.com';

export interface Job {
  readonly siteUrl: string;
  readonly from: Day;
  readonly to: Day;
  readonly datasets: readonly string[];
  readonly searchTypes: readonly SearchType[];
}

/** One API request, the same for all clients. */
export interface JobSlice {
  readonly searchType: SearchType;
  readonly dataset: string;
  readonly date: Day;
}

/** The newest days that are final, also if midnight passes meanwhile. */
export function range(days: number): { readonly from: Day; readonly to: Day } {
  const to = addDays(pacificDay(Date.now()), -FINAL_LAG_DAYS - 1);
  return { from: addDays(to, 1 - days), to };
}

export function slicesOf({ from, to, datasets, searchTypes }: Job): JobSlice[] {
  const slices: JobSlice[] = [];
  for (let date = to; date >= from; date = addDays(date, -1)) {
    for (const searchType of searchTypes)
      for (const dataset of datasets) slices.push({ searchType, dataset, date });
  }
  return slices;
}

/** The body of a slice's request. */
export function bodyOf({ searchType, dataset, date }: JobSlice, startRow = 0): object {
  const parsed = parseDataset(dataset);
  if ('problem' in parsed) throw new Error(parsed.problem);
  const dimensions = dimensionsOf(parsed.dataset);
  const days = { startDate: date, endDate: date };
  return { ...days, dimensions, type: searchType, dataState: 'all', rowLimit: 25_000, startRow };
}

/** 150 days × 8 combinations, a page of 500 rows each. */
export function latencyJob(scale: number): { readonly job: Job; readonly emulator: EmulatorOptions } {
  return {
    job: {
      siteUrl: SITE,
      ...range(Math.max(2, Math.round(150 * scale))),
      datasets: ['page', 'query', 'page+query', 'page+country'],
      searchTypes: ['web', 'image'],
    },
    emulator: { sites: [SITE], rowsPerDay: 2_400, pages: 1_200, rowCap: 500 },
  };
}

/** Days of 50,000 rows by page and query. */
export function dataJob(
  days: number,
  scale: number,
): { readonly job: Job; readonly emulator: EmulatorOptions } {
  const rowsPerDay = Math.round(Math.max(1_000, Math.min(50_000, 50_000 * scale * 20)));
  return {
    job: {
      siteUrl: SITE,
      ...range(Math.max(1, Math.round(days * scale))),
      datasets: ['page+query'],
      searchTypes: ['web'],
    },
    // The compressed answers of 480 days take about 800 MB.
    emulator: { sites: [SITE], rowsPerDay, latencyMs: 200, answerCacheBytes: 8 * 2 ** 30 },
  };
}
