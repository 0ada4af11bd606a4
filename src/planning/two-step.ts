/**
 * Datasets that are requested in two steps: the first says which search appearances a day has, the second requests a part for
 * each. Here parts become keys, and parts of a key become one answer about it.
 */

import type { Appearances, Coverage, CoverageRange } from '../domain/coverage.ts';
import { factsOf, isTwoStep } from '../domain/dataset.ts';
import { partOf } from '../domain/part.ts';
import type { Day, SearchType, SliceKey } from '../domain/slice.ts';
import { keyOf } from './plan.ts';

const dayOf = ({ searchType, date }: { readonly searchType: SearchType; readonly date: Day }): string =>
  `${searchType} ${date}`;

function lookUp(appearances: readonly Appearances[]) {
  const values = new Map(appearances.map((day) => [dayOf(day), day.values]));
  return ({ searchType, dataset, date }: SliceKey): readonly SliceKey[] | undefined =>
    values.get(dayOf({ searchType, date }))?.map((value) => ({
      searchType,
      dataset,
      date,
      part: partOf([{ dimension: 'searchAppearance', value }]),
    }));
}

/**
 * The keys, those of two steps as their parts: none for a day whose first step is not complete, or found no search
 * appearances.
 */
export function partsOfAll(
  keys: readonly SliceKey[],
  appearances: readonly Appearances[],
): readonly SliceKey[] {
  const partsOfKey = lookUp(appearances);
  return keys.flatMap((key) => (isTwoStep(key.dataset) ? (partsOfKey(key) ?? []) : [key]));
}

/**
 * What the table has for whole keys. A key of two steps is missing while its first step is, otherwise as far as the worst of
 * its parts: failed, open, missing, complete. Without search appearances it is complete and empty.
 */
export function wholeKeys(
  { datasets }: Pick<CoverageRange, 'datasets'>,
  held: readonly Coverage[],
  appearances: readonly Appearances[],
): readonly Coverage[] {
  const twoSteps = datasets.filter(isTwoStep);
  const whole = held.filter(({ dataset, part = '' }) => part === '' && !isTwoStep(dataset));
  if (twoSteps.length === 0) return whole;
  const byKey = new Map(held.map((one) => [keyOf(one), one]));
  const partsOfKey = lookUp(appearances);
  const judged = appearances.flatMap(({ searchType, date }) =>
    twoSteps.flatMap((dataset): readonly Coverage[] => {
      const first = byKey.get(keyOf({ searchType, dataset: factsOf(dataset).firstStep ?? dataset, date }));
      const key = { searchType, dataset, date };
      const parts = (partsOfKey(key) ?? []).map((part) => byKey.get(keyOf(part)));
      const found = parts.filter((part) => part !== undefined);
      const status =
        (['failed', 'open'] as const).find((worst) => found.some((part) => part.status === worst)) ??
        (found.length < parts.length ? undefined : 'complete');
      if (first === undefined || status === undefined) return [];
      const all = [first, ...found];
      return [
        {
          ...key,
          status,
          final: status === 'complete' && all.every(({ final }) => final),
          beforeCutOff: status === 'complete' && all.some(({ beforeCutOff }) => beforeCutOff),
        },
      ];
    }),
  );
  return [...whole, ...judged];
}
