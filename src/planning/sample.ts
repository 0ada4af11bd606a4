/**
 * Which rows a verification draws: uniformly over the rows of all slices, and the same ones for the same seed and table.
 * Rows are not numbered, so a slice is drawn as often as its share of the rows says, and gives that many of its rows, those
 * whose key hashes lowest (`postgres/queries/sample.ts`).
 */
import type { DrawnSlice } from '../domain/row-check.ts';

/** A slice whose rows may be drawn. */
export interface SampleSlice extends DrawnSlice {
  readonly rows: number;
  /** See `SliceKey.part`: only another day of the same part has keys that may be missing from this one. */
  readonly part: string;
  /** It has as many rows as Google gives: more keys may exist. */
  readonly capped: boolean;
  readonly replacedCharacters: number;
}

/** Rows to draw from one slice. */
export interface RowDraw {
  readonly slice: SampleSlice;
  readonly count: number;
}

/** A key to find in `donor` that `slice` does not have. */
export interface AbsentDraw {
  readonly slice: SampleSlice;
  readonly donor: SampleSlice;
}

/** Uniform in [0, 1), the same sequence for the same seed. */
export type Chance = () => number;

/** Mulberry32: 32 bits of state, enough for a sample. */
export function seededChance(seed: number): Chance {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** How many of `sample` keys are ones that the table does not have: a tenth, and at least one of two. */
export const absentShare = (sample: number): number =>
  sample < 2 ? 0 : Math.max(1, Math.floor(sample / 10));

/** Chooses `count` different rows, each with the same chance, and returns how many each slice gives. */
export function drawRows(slices: readonly SampleSlice[], count: number, chance: Chance): RowDraw[] {
  const ends: number[] = [];
  let total = 0;
  for (const { rows } of slices) {
    total += rows;
    ends.push(total);
  }
  const counts = new Map<number, number>();
  for (const row of distinct(Math.min(count, total), total, chance)) {
    const index = indexOfRow(ends, row);
    counts.set(index, (counts.get(index) ?? 0) + 1);
  }
  return slices.flatMap((slice, index) => {
    const drawn = counts.get(index) ?? 0;
    return drawn === 0 ? [] : [{ slice, count: drawn }];
  });
}

/**
 * Chooses slices, each with the same chance, empty ones too, and for each another day of the same kind to take a key from. Of
 * a slice that is capped, nothing is asked: a key that it lacks may exist all the same.
 */
export function drawAbsent(slices: readonly SampleSlice[], count: number, chance: Chance): AbsentDraw[] {
  const byKind = Map.groupBy(slices, kindOf);
  const targets = slices.filter(({ dataset, capped }) => dataset !== 'date' && !capped);
  if (targets.length === 0) return [];
  const draws: AbsentDraw[] = [];
  for (let drawn = 0; drawn < count; drawn += 1) {
    const slice = pick(targets, chance);
    const kind = byKind.get(kindOf(slice)) ?? [];
    const donors = kind.filter(({ date, rows }) => date !== slice.date && rows > 0);
    const donor = donors.length === 0 ? undefined : pick(donors, chance);
    if (donor !== undefined) draws.push({ slice, donor });
  }
  return draws;
}

const kindOf = ({ searchType, dataset, part }: SampleSlice): string => `${searchType} ${dataset} ${part}`;

function pick<T>(items: readonly T[], chance: Chance): T {
  const item = items[Math.floor(chance() * items.length)];
  if (item === undefined) throw new Error('there is nothing to pick from');
  return item;
}

/** `count` different whole numbers below `total`, by Floyd's algorithm. */
function distinct(count: number, total: number, chance: Chance): ReadonlySet<number> {
  const chosen = new Set<number>();
  for (let last = total - count; last < total; last += 1) {
    const candidate = Math.floor(chance() * (last + 1));
    chosen.add(chosen.has(candidate) ? last : candidate);
  }
  return chosen;
}

/** The slice that holds a row: the first one that ends after it. */
function indexOfRow(ends: readonly number[], row: number): number {
  let low = 0;
  let high = ends.length - 1;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((ends[middle] ?? 0) > row) high = middle;
    else low = middle + 1;
  }
  return low;
}
