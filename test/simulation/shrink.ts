/** Makes a failing scenario as small as it gets while it still fails the same check. */
import type { Planted } from './planted.ts';
import type { Scenario } from './scenario.ts';
import { tellStory } from './story.ts';

export interface Shrunk {
  readonly scenario: Scenario;
  readonly tries: number;
}

export async function shrink(
  scenario: Scenario,
  check: string,
  options: { readonly planted?: Planted; readonly mostTries?: number } = {},
): Promise<Shrunk> {
  const mostTries = options.mostTries ?? 400;
  let smallest = scenario;
  let tries = 0;
  const stillFails = async (candidate: Scenario): Promise<boolean> => {
    tries += 1;
    const { violations } = await tellStory(
      candidate,
      options.planted === undefined ? {} : { planted: options.planted },
    );
    return violations[0]?.check === check;
  };
  for (let isSmaller = true; isSmaller && tries < mostTries; ) {
    isSmaller = false;
    for (const candidate of smallerOnes(smallest)) {
      if (tries >= mostTries) break;
      if (!(await stillFails(candidate))) continue;
      smallest = candidate;
      isSmaller = true;
      break;
    }
  }
  return { scenario: smallest, tries };
}

/** Large cuts first. */
function* smallerOnes(from: Scenario): Generator<Scenario> {
  const { lives, faults, options, google } = from;
  for (const index of lives.keys()) {
    if (lives.length > 1) yield { ...from, lives: lives.toSpliced(index, 1) };
  }
  for (const fault of Object.keys(faults)) {
    yield { ...from, faults: Object.fromEntries(Object.entries(faults).filter(([name]) => name !== fault)) };
  }
  for (const [index, life] of lives.entries()) {
    for (const place of life.actions.keys()) {
      yield { ...from, lives: lives.with(index, { ...life, actions: life.actions.toSpliced(place, 1) }) };
    }
    if (life.refresh) yield { ...from, lives: lives.with(index, { ...life, refresh: false }) };
    if (life.restMs > 0) yield { ...from, lives: lives.with(index, { ...life, restMs: 0 }) };
  }
  if (from.searchTypes.length > 1) yield { ...from, searchTypes: from.searchTypes.slice(0, 1) };
  for (const index of from.datasets.keys()) {
    if (from.datasets.length > 1) yield { ...from, datasets: from.datasets.toSpliced(index, 1) };
  }
  if (from.days > 1) yield { ...from, days: Math.floor(from.days / 2) };
  if (google.rows > 1) yield { ...from, google: { ...google, rows: Math.floor(google.rows / 2) } };
  if (google.emptyShare > 0) yield { ...from, google: { ...google, emptyShare: 0 } };
  if (google.realLimit !== null) yield { ...from, google: { ...google, realLimit: null } };
  if (options.burst !== null) yield { ...from, options: { ...options, burst: null } };
  if (options.endOfSlice !== 'short' && from.faults.shortPage === undefined)
    yield { ...from, options: { ...options, endOfSlice: 'short' } };
  if (options.maxConcurrency > 1)
    yield { ...from, options: { ...options, maxConcurrency: options.maxConcurrency - 1 } };
  if (options.batchSize > 1)
    yield { ...from, options: { ...options, batchSize: Math.floor(options.batchSize / 2) } };
  if (options.maxAttempts > 1)
    yield { ...from, options: { ...options, maxAttempts: options.maxAttempts - 1 } };
}
