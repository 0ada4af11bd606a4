/** What a verification found, from its checks. Pure. */
import type { FilterDimension } from '../../domain/filter.ts';
import { type DrawnKey, filtersOf } from '../../domain/row-check.ts';
import type { CheckEntry } from '../../planning/checks.ts';
import type { Drawn } from './draw.ts';
import type { Difference, SkippedKey, UnansweredKey, VerificationFigures, VerifiedKey } from './types.ts';

function keyOf({ slice: { searchType, dataset, date }, keys }: DrawnKey): VerifiedKey {
  const key: Partial<Record<FilterDimension, string>> = {};
  for (const [index, dimension] of filtersOf(dataset).entries()) key[dimension] = keys[index] ?? '';
  return { searchType, dataset, date, key };
}

/** Undefined: it is equal, has no answer, or is to be asked once more. */
export function differenceIn(entry: CheckEntry): Difference | undefined {
  const { slice, table, outcome, state } = entry;
  if (state === 'open' || outcome?.kind !== 'answered' || outcome.comparison === 'equal') return undefined;
  const { fetchedAt, version } = slice;
  const { comparison: kind, google, askedAt } = outcome;
  return { ...keyOf(entry), kind, table, google, fetchedAt, version, askedAt };
}

type Found = Pick<
  VerificationFigures,
  | 'population'
  | 'drawn'
  | 'equal'
  | 'different'
  | 'unanswered'
  | 'skipped'
  | 'notAsked'
  | 'differences'
  | 'unansweredKeys'
  | 'skippedKeys'
>;

/** Differences by day, newest first, as people look for them. */
export function figuresOf(entries: readonly CheckEntry[], drawn: Drawn | undefined): Found {
  const differences: Difference[] = [];
  const unansweredKeys: UnansweredKey[] = [];
  let equal = 0;
  let notAsked = 0;
  for (const entry of entries) {
    const difference = differenceIn(entry);
    if (difference !== undefined) differences.push(difference);
    else if (entry.state === 'open' || entry.outcome === undefined) notAsked += 1;
    else if (entry.outcome.kind === 'answered') equal += 1;
    else unansweredKeys.push({ ...keyOf(entry), reason: entry.outcome.reason });
  }
  const skippedKeys = (drawn?.skipped ?? []).map(({ key, why }): SkippedKey => {
    const { searchType, dataset, date } = key.slice;
    return { searchType, dataset, date, why };
  });
  const all = [...entries, ...(drawn?.skipped ?? []).map(({ key }) => key)];
  const absent = all.filter(({ table }) => table === null).length;
  return {
    population: drawn?.population ?? { slices: 0, rows: 0 },
    drawn: { rows: all.length - absent, absent },
    equal,
    different: differences.length,
    unanswered: unansweredKeys.length,
    skipped: skippedKeys.length,
    notAsked,
    differences: differences.sort((a, b) => (a.date < b.date ? 1 : a.date > b.date ? -1 : 0)),
    unansweredKeys,
    skippedKeys,
  };
}
