import { expect, it } from 'vitest';
import { createActor, setup } from 'xstate';
import { createLoadPlan, type LoadPlanPorts, type PlanSummary } from '../../src/actors/load-plan.ts';
import { systemClock } from '../../src/domain/clock.ts';
import type { Appearances, CoverageRange } from '../../src/domain/coverage.ts';
import { parseDataset } from '../../src/domain/dataset.ts';
import type { SliceKey } from '../../src/domain/slice.ts';
import type { PlanOrder, PlanReport } from '../../src/machines/messages.ts';
import { calendarId, createCatalogue } from '../../src/planning/catalogue.ts';
import { keyOf, keysOf } from '../../src/planning/plan.ts';
import type { Answer } from '../../src/store/types.ts';

const page = parseDataset('page');
if ('problem' in page) throw new Error(page.problem);
const RANGE: CoverageRange = {
  from: '2026-01-01',
  to: '2026-01-20',
  searchTypes: ['web'],
  datasets: [page.dataset],
};
/** Four rounds: one worker fetches the calendar, one has a batch of five speculative slices. */
const pool = { maxConcurrency: 2, batchSize: 5 };
const away = { kind: 'databaseAway', reason: 'gone' } as const;

type Ask = 'openSlices' | 'settleSpeculative' | 'sealEmptySlices';

/** The plan's actor on a store that fails once where it is told to, and settles no sooner than it has opened so often. */
function loader(
  failing: { readonly ask: Ask; readonly time: number } | undefined,
  {
    settleAfterOpening = 0,
    range = RANGE,
    appearances = [],
  }: {
    readonly settleAfterOpening?: number;
    readonly range?: CoverageRange;
    readonly appearances?: readonly Appearances[];
  } = {},
) {
  const asks: Ask[] = [];
  const timesAsked = (ask: Ask): number => asks.filter((one) => one === ask).length;
  const reply = async <T>(ask: Ask, value: () => T): Promise<Answer<T>> => {
    asks.push(ask);
    const time = timesAsked(ask);
    do await new Promise((resolve) => setImmediate(resolve));
    while (ask === 'settleSpeculative' && timesAsked('openSlices') < settleAfterOpening);
    return failing?.ask === ask && failing.time === time ? away : { kind: 'ok', value: value() };
  };
  const asSlice = (key: SliceKey) => ({
    slice: { ...key, id: `id of ${keyOf(key)}`, siteUrl: 'sc-domain:x.y' },
    startRow: 0,
  });
  const catalogue = createCatalogue();
  const planned: PlanSummary[] = [];
  const replanned: ReadonlyMap<string, number>[] = [];
  const ports: LoadPlanPorts = {
    store: {
      readCoverage: async () => ({ kind: 'ok', value: [] }),
      readAppearances: async () => ({ kind: 'ok', value: appearances }),
      readRefused: async () => ({ kind: 'ok', value: [] }),
      openSlices: (keys) => reply('openSlices', () => keys.map(asSlice)),
      // The newest of the speculative came back empty before that meant anything.
      settleSpeculative: (keys) => reply('settleSpeculative', () => keys.slice(0, 1)),
      sealEmptySlices: (keys) => reply('sealEmptySlices', () => keys.length),
    },
    clock: systemClock,
    catalogue,
    siteUrl: 'sc-domain:x.y',
    range,
    today: '2026-06-01',
    pool,
    onPlanned: (plan) => planned.push(plan),
    onReplanned: (changes) => replanned.push(changes),
    scope: new AbortController().signal,
    background: (work) => void work.catch(() => undefined),
  };
  const heard: PlanReport[] = [];
  let wake: () => void = () => undefined;
  const parent = setup({
    types: { events: {} as PlanReport | PlanOrder },
    actors: { loadPlan: createLoadPlan(ports) },
  }).createMachine({
    invoke: { src: 'loadPlan', id: 'plan' },
    on: {
      'plan.requested': { actions: ({ event, self }) => self.getSnapshot().children.plan?.send(event) },
      '*': {
        actions: ({ event }) => {
          if (event.type !== 'plan.requested') heard.push(event);
          wake();
        },
      },
    },
  });
  const actor = createActor(parent).start();
  const ask = async (count: number): Promise<PlanReport> => {
    const told = new Promise<void>((resolve) => {
      wake = resolve;
    });
    actor.send({ type: 'plan.requested', count });
    await told;
    const last = heard.at(-1);
    if (last === undefined) throw new Error('nothing was told');
    return last;
  };
  /** The calendar comes in, without the day in the middle. */
  const tellCalendar = (): void => {
    const entry = catalogue.get(calendarId('web'));
    if (entry?.kind !== 'calendar') throw new Error('no calendar was asked for');
    const days = keysOf(range)
      .filter(({ date }) => date !== '2026-01-10')
      .map(({ date }) => ({ date, clicks: 1, impressions: 1 }));
    entry.calendar = {
      from: range.from,
      to: range.to,
      lastPublished: '2026-01-20',
      firstIncomplete: null,
      days,
    };
    entry.onSettled();
  };
  return { ask, asks, catalogue, planned, replanned, tellCalendar, stop: () => actor.stop() };
}

const idsOf = (report: PlanReport): string[] =>
  report.type === 'plan.supplied' ? report.pages.map(({ sliceId }) => sliceId) : [];

const range = RANGE;

it.each([
  undefined,
  { ask: 'settleSpeculative', time: 1 },
  // The first time it opens the speculative slices, the second time what is opened while that is settled.
  { ask: 'openSlices', time: 1 },
  { ask: 'openSlices', time: 2 },
  { ask: 'openSlices', time: 3 },
  { ask: 'sealEmptySlices', time: 1 },
] as const)('every key is supplied once, whatever fails on the way: %j', async (failing) => {
  const plan = loader(failing);
  const supplied: string[] = [];
  let failures = 0;
  const next = async (): Promise<PlanReport> => {
    const report = await plan.ask(6);
    if (report.type === 'plan.failed') failures += 1;
    else supplied.push(...idsOf(report));
    return report.type === 'plan.failed' ? next() : report;
  };
  try {
    expect(idsOf(await next())).toEqual([calendarId('web')]);
    expect(idsOf(await next())).toHaveLength(5);
    plan.tellCalendar();
    let last = await next();
    while (last.type === 'plan.supplied' && last.more !== 'none') last = await next();
  } finally {
    plan.stop();
  }
  expect(failures).toBe(failing === undefined ? 0 : 1);
  const slices = supplied.filter((id) => id !== calendarId('web'));
  // The newest twice: speculatively, and again since that meant nothing. The day without data is not asked for.
  const wanted = keysOf(range)
    .filter(({ date }) => date !== '2026-01-10')
    .map((key) => `id of ${keyOf(key)}`);
  expect(slices.toSorted()).toEqual([...wanted, wanted[0]].toSorted());
  expect(plan.planned).toHaveLength(1);
  expect(plan.planned[0]?.toFetch).toHaveLength(19);
  // Speculative slices are settled once, unless just that failed.
  expect(plan.asks.filter((ask) => ask === 'settleSpeculative')).toHaveLength(
    failing?.ask === 'settleSpeculative' ? 2 : 1,
  );
});

it('parts follow when their first steps are done, and a combination that is refused meanwhile does not', async () => {
  const days = ['2026-01-20', '2026-01-19'];
  const plan = loader(undefined, {
    range: {
      ...range,
      from: '2026-01-19',
      datasets: ['searchAppearance', 'page+searchAppearance', 'query+searchAppearance'],
    },
    appearances: days.map((date) => ({ searchType: 'web', date, values: ['A', 'B'] })),
  });
  try {
    expect(await plan.ask(6)).toMatchObject({ more: 'whenQuiet' });
    plan.tellCalendar();
    const first = await plan.ask(6);
    expect(first).toMatchObject({ more: 'whenQuiet' });
    expect(idsOf(first)).toEqual(days.map((date) => `id of web searchAppearance ${date}`));
    expect(plan.planned).toEqual([expect.objectContaining({ planned: 6, notPublished: [] })]);
    expect(plan.planned[0]?.toFetch).toHaveLength(6);
    plan.catalogue.refuse({ searchType: 'web', dataset: 'query+searchAppearance' });
    const parts = await plan.ask(3);
    expect(parts).toMatchObject({ more: 'whenLow' });
    const rest = await plan.ask(3);
    expect(rest).toMatchObject({ more: 'none' });
    expect([...idsOf(parts), ...idsOf(rest)]).toEqual(
      days.flatMap((date) =>
        ['A', 'B'].map((value) => `id of web page+searchAppearance ${date} searchAppearance=${value}`),
      ),
    );
    // Two keys become four parts each; then the refused ones go.
    const sums = plan.replanned.map((changes) =>
      [...changes.values()].reduce((sum, change) => sum + change, 0),
    );
    expect(sums).toEqual([8 - 4, -4]);
  } finally {
    plan.stop();
  }
});

it('the slices that workers wait for are opened while speculative ones are settled', async () => {
  const plan = loader(undefined, { settleAfterOpening: 2 });
  try {
    await plan.ask(6);
    await plan.ask(6);
    plan.tellCalendar();
    expect(idsOf(await plan.ask(6))).toHaveLength(6);
  } finally {
    plan.stop();
  }
});
