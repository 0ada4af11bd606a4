// @module-tag long
/** Search Console is in trouble for a while, and says so in one way or another: nothing fails, and nobody halts. */
import { expect, test } from 'vitest';
import type { FaultRule } from '../../src/emulator/faults.ts';
import { createSync } from '../../src/sync/sync.ts';
import { differences } from '../support/compare.ts';
import { testDatabase } from '../support/postgres.ts';
import { emulate, options, SITE, settledDays } from '../support/property.ts';

const days = settledDays(40);
const range = { siteUrl: SITE, searchTypes: ['web'], datasets: ['page', 'country'], days } as const;

type Action = FaultRule['action'];
const always = (action: Action, match: FaultRule['match'] = {}): readonly FaultRule[] => [
  { match: { untilMs: 2_500, ...match }, action },
];
const often = (action: Action, probability: number): readonly FaultRule[] => [
  { match: { untilMs: 2_500 }, probability, action },
];

const OUTAGES: Readonly<Record<string, readonly FaultRule[]>> = {
  'as 500 in each part': always({ kind: 'error', error: 'backendError' }),
  'as 503 in each part': always({ kind: 'error', error: 'unavailable' }),
  'as 500 in nine parts of ten': often({ kind: 'error', error: 'backendError' }, 0.9),
  'as 500 in half of the parts': often({ kind: 'error', error: 'backendError' }, 0.5),
  'as 500 in a fifth of the parts': often({ kind: 'error', error: 'backendError' }, 0.2),
  'by parts that are no JSON': always({ kind: 'garblePart' }),
  'by parts that are left out': often({ kind: 'dropPart' }, 0.7),
  'as 503 from outside': always({ kind: 'status', status: 503, error: 'unavailable' }),
  'by a page of HTML with 502': always({ kind: 'status', status: 502, body: '<html>Bad gateway</html>' }),
  'by connections that are reset': always({ kind: 'reset' }),
  'by empty answers': always({ kind: 'emptyBody' }),
  'by garbage with 200': always({ kind: 'garbage' }),
  'now inside, now outside': [
    { match: { untilMs: 2_500 }, every: 2, action: { kind: 'status', status: 500, error: 'backendError' } },
    { match: { untilMs: 2_500 }, action: { kind: 'error', error: 'backendError' } },
  ],
};

const SHAPES = [
  { batchSize: 50, maxConcurrency: 3 },
  { batchSize: 1, maxConcurrency: 8 },
] as const;

const EACH_PART = 'as 500 in each part';
for (const [index, [how, rules]] of Object.entries(OUTAGES).entries()) {
  // Each way of telling it meets one of the shapes; the one that is told in every part meets both.
  const shapes = rules === OUTAGES[EACH_PART] ? SHAPES : SHAPES.slice(index % 2, (index % 2) + 1);
  test.concurrent.each(shapes)(`an outage told ${how} fails nothing: %o`, async (shape) => {
    await using emulator = await emulate({ rowsPerDay: 20, faults: { rules: [...rules] } });
    await using database = await testDatabase();
    const settings = options(database.url, emulator, days, { datasets: range.datasets, ...shape });
    await using sync = createSync(settings);
    expect(await sync.run()).toMatchObject({
      status: 'complete',
      slices: { planned: 80, complete: 80, failed: 0 },
    });
    expect(await differences(database.sql, emulator, range)).toEqual([]);
  });
}

test.concurrent('an outage that begins in the middle fails nothing', async () => {
  await using emulator = await emulate({ rowsPerDay: 20, latencyMs: 20 });
  await using database = await testDatabase();
  const shape = { datasets: range.datasets, batchSize: 5, maxConcurrency: 2 };
  await using sync = createSync(options(database.url, emulator, days, shape));
  sync.on('progress', ({ slicesDone }) => {
    if (slicesDone < 10 || isOver) return;
    isOver = true;
    emulator.setFaults({ rules: [...always({ kind: 'error', error: 'backendError' })] });
  });
  let isOver = false;
  expect(await sync.run()).toMatchObject({ status: 'complete', slices: { complete: 80, failed: 0 } });
  expect(isOver).toBe(true);
});

/** What Google cannot serve, whatever its neighbours are. */
const poisonous = (dates: readonly string[]): readonly FaultRule[] =>
  dates.map((date) => ({
    match: { date, dimensions: 'page' },
    action: { kind: 'error', error: 'backendError' } as const,
  }));

test.concurrent.each([
  { poisoned: 1, batchSize: 50, maxConcurrency: 3 },
  { poisoned: 3, batchSize: 5, maxConcurrency: 1 },
  { poisoned: 1, batchSize: 1, maxConcurrency: 1 },
  { poisoned: 3, batchSize: 1, maxConcurrency: 3 },
])('pages that Google cannot serve are the only ones that fail: %o', async ({ poisoned, ...shape }) => {
  const few = days.slice(0, 6);
  await using emulator = await emulate({
    rowsPerDay: 20,
    faults: { rules: [...poisonous(few.slice(0, poisoned))] },
  });
  await using database = await testDatabase();
  const settings = options(database.url, emulator, few, {
    datasets: range.datasets,
    maxAttempts: 2,
    ...shape,
  });
  await using sync = createSync(settings);
  const outcome = await sync.run();
  expect(outcome).toMatchObject({
    status: 'completeWithFailures',
    slices: { planned: 12, complete: 12 - poisoned, failed: poisoned },
  });
  expect(outcome.failures.map(({ date }) => date).sort()).toEqual(few.slice(0, poisoned).sort());
});
