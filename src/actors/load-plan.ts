/**
 * The plan actor: reads what is missing, has the calendars fetched, seals slices that need no call, and supplies slices as
 * the coordinator's look-ahead runs low. It holds the whole plan as a list of keys. Slices are opened when they are supplied.
 *
 *   start ──────────────► calendars ──► planned ──► slices … ──► none
 *     └──► speculative (large plans) ▲
 *
 * In a small plan the calendars go out alone, and the coordinator asks for more when they are done. In a large plan it asks
 * immediately and gets speculative slices, so that no worker idles while a calendar is under way. When it asks again, the
 * answer waits for the calendars. No calendar ever depends on that answer.
 *
 * Datasets of two steps come last: their parts are known when the first steps are complete, so the coordinator asks for them
 * when everything else is done.
 */

import { fromCallback } from 'xstate';
import type { Clock } from '../domain/clock.ts';
import type { Coverage, CoverageRange } from '../domain/coverage.ts';
import { isTwoStep } from '../domain/dataset.ts';
import type { Day, SearchType, SliceKey } from '../domain/slice.ts';
import type { MorePlan, Page, PlanOrder, PlanReport } from '../machines/messages.ts';
import { type CalendarEntry, type Catalogue, calendarId } from '../planning/catalogue.ts';
import {
  isFinal,
  keyOf,
  keysOf,
  mayBeEmpty,
  missingKeys,
  type Plan,
  type PublishedDays,
  planByCalendar,
  type SpeculationRules,
  speculativeKeys,
} from '../planning/plan.ts';
import {
  addSpeculative,
  type SpeculativeSlice,
  settleSpeculativeSlices,
} from '../planning/speculative-slices.ts';
import { partsOfAll, wholeKeys } from '../planning/two-step.ts';
import type { Store } from '../store/store.ts';
import type { Answer, DatabaseFailure, OpenedSlice } from '../store/types.ts';
import { outcomeOf } from './away.ts';

/** Open slices of an earlier run are continued if their newest page is at most this old. */
const CONTINUE_YOUNGER_THAN_MINUTES = 15;

export interface LoadPlanPorts {
  readonly store: Pick<
    Store,
    | 'readCoverage'
    | 'readAppearances'
    | 'readRefused'
    | 'sealEmptySlices'
    | 'openSlices'
    | 'settleSpeculative'
  >;
  readonly clock: Clock;
  readonly catalogue: Catalogue;
  readonly siteUrl: string;
  readonly range: CoverageRange;
  readonly today: Day;
  /** The run has filters: a day with clicks may have no rows. */
  readonly isSelective?: boolean;
  /** The workers that the run starts with. */
  readonly pool: Omit<SpeculationRules, 'today'>;
  /** Called once, when the plan is known. Must not throw. */
  readonly onPlanned: (plan: PlanSummary) => void;
  /** Called when a day turns out to have more slices to fetch than planned, or fewer. Must not throw. */
  readonly onReplanned?: (changes: ReadonlyMap<Day, number>) => void;
  readonly scope: AbortSignal;
  readonly background: (work: Promise<unknown>) => void;
}

export interface PlanSummary {
  /** Number of keys in the range, those that the table has included. */
  readonly planned: number;
  /** Keys to fetch. In a large plan some may already be done: speculative slices start before the plan is known. */
  readonly toFetch: readonly SliceKey[];
  /** Keys whose day Google has not published. */
  readonly notPublished: readonly SliceKey[];
}

interface Supply {
  readonly pages: readonly Page[];
  readonly more: MorePlan;
}

type Step =
  | { readonly kind: 'supply'; readonly supply: Supply }
  | { readonly kind: 'failed'; readonly failure: DatabaseFailure };

const firstPage = (sliceId: string, startRow = 0): Page => ({
  sliceId,
  startRow,
  attempts: 0,
  callFailures: 0,
});
const supply = (pages: readonly Page[], more: MorePlan): Step => ({
  kind: 'supply',
  supply: { pages, more },
});

export function createLoadPlan(ports: LoadPlanPorts) {
  return fromCallback<PlanOrder>(({ sendBack, receive }) => {
    const loader = new PlanLoader(ports);
    let listening = true;
    const report = (event: PlanReport): void => {
      if (listening && !ports.scope.aborted) sendBack(event);
    };
    receive(({ count }) => {
      const work = loader.next(count).then(
        (step) => {
          if (step.kind === 'supply') report({ type: 'plan.supplied', ...step.supply });
          else
            report({ type: 'plan.failed', outcome: outcomeOf(step.failure), chance: ports.clock.random() });
        },
        (error: unknown) => {
          const reason = error instanceof Error ? error.message : String(error);
          const outcome = { kind: 'fatal', fatal: { code: 'INTERNAL', reason } } as const;
          report({ type: 'plan.failed', outcome, chance: 0 });
        },
      );
      ports.background(work);
    });
    return () => {
      listening = false;
    };
  });
}

/** The plan's progress. Each stage is entered once. A stage whose database call failed is repeated as a whole. */
type Stage =
  | { readonly kind: 'start' }
  /** The calendars have been requested. These keys are fetched speculatively meanwhile. */
  | {
      readonly kind: 'speculative';
      readonly missing: readonly SliceKey[];
      readonly speculative: readonly SliceKey[];
    }
  | {
      readonly kind: 'calendars';
      readonly missing: readonly SliceKey[];
      readonly speculative: readonly SpeculativeSlice[];
    }
  | {
      readonly kind: 'planned';
      readonly plan: Plan;
      /** Speculative keys, done or under way. */
      readonly begun: readonly SliceKey[];
      readonly calendars: Calendars;
    }
  | { readonly kind: 'slices'; readonly left: readonly SliceKey[]; readonly calendars: Calendars }
  /** Everything but these keys of two steps has been supplied. */
  | { readonly kind: 'secondSteps'; readonly keys: readonly SliceKey[]; readonly calendars: Calendars };

/** Slices already open, for the first of the remaining keys. */
interface OpenedKeys {
  readonly keys: number;
  readonly slices: readonly OpenedSlice[];
}

type Calendars = ReadonlyMap<SearchType, PublishedDays>;

class PlanLoader {
  readonly #ports: LoadPlanPorts;
  #stage: Stage = { kind: 'start' };
  /** One entry for each search type with missing keys. */
  #entries: readonly CalendarEntry[] = [];
  /** Keys with a complete version, however old. */
  #held: ReadonlySet<string> = new Set();
  /** What the table had when the run began, parts included. */
  #coverage: readonly Coverage[] = [];
  /** Missing keys of two steps. Their parts follow when everything else is done. */
  #twoSteps: readonly SliceKey[] = [];
  #planned = 0;
  /** Wakes the code that waits for the calendars. */
  #wake: () => void = () => undefined;

  constructor(ports: LoadPlanPorts) {
    this.#ports = ports;
  }

  async next(count: number): Promise<Step> {
    switch (this.#stage.kind) {
      case 'start':
        return this.#askForCalendars();
      case 'speculative':
        return this.#beginSpeculative(this.#stage.missing, this.#stage.speculative);
      case 'calendars':
        return this.#readCalendars(this.#stage.missing, this.#stage.speculative, count);
      case 'planned':
        return this.#sealEmpty(this.#stage.plan, this.#stage.begun, this.#stage.calendars, count);
      case 'slices':
        return this.#openSlices(this.#stage.left, this.#stage.calendars, count);
      case 'secondSteps':
        return this.#beginSecondSteps(this.#stage.keys, this.#stage.calendars, count);
    }
  }

  /** Sends one request per search type with missing keys. */
  async #askForCalendars(): Promise<Step> {
    const { store, range, catalogue, siteUrl, today, pool, onPlanned } = this.#ports;
    const held = await store.readCoverage(range);
    if (held.kind !== 'ok') return { kind: 'failed', failure: held };
    const appearances = await this.#readAppearances();
    if (appearances.kind !== 'ok') return { kind: 'failed', failure: appearances };
    const refused = await store.readRefused();
    if (refused.kind !== 'ok') return { kind: 'failed', failure: refused };
    for (const combination of refused.value) catalogue.refuse(combination);
    this.#coverage = held.value;
    this.#held = new Set(held.value.filter(({ status }) => status === 'complete').map(keyOf));
    const whole = wholeKeys(range, held.value, appearances.value);
    const wanted = { ...range, refused: refused.value };
    const all = missingKeys(wanted, whole);
    this.#planned = keysOf(wanted).length;
    if (all.length === 0) {
      onPlanned({ planned: this.#planned, toFetch: [], notPublished: [] });
      return supply([], 'none');
    }
    const missing = all.filter(({ dataset }) => !isTwoStep(dataset));
    this.#twoSteps = all.filter(({ dataset }) => isTwoStep(dataset));
    this.#entries = range.searchTypes
      .filter((type) => all.some(({ searchType }) => searchType === type))
      .map((searchType) => ({
        kind: 'calendar',
        searchType,
        siteUrl,
        from: range.from,
        // Always up to today, whatever the range: otherwise empty days before the last published one could not be
        // recognised.
        to: today,
        onSettled: () => this.#wake(),
      }));
    for (const entry of this.#entries) catalogue.add(calendarId(entry.searchType), entry);
    const speculative = speculativeKeys(missing, { ...pool, today });
    this.#stage =
      speculative.length === 0
        ? { kind: 'calendars', missing, speculative: [] }
        : { kind: 'speculative', missing, speculative };
    return supply(
      this.#entries.map(({ searchType }) => firstPage(calendarId(searchType))),
      speculative.length === 0 ? 'whenQuiet' : 'whenLow',
    );
  }

  /** Fetches slices that almost surely have data while the calendars are under way, so that no worker idles. */
  async #beginSpeculative(missing: readonly SliceKey[], speculative: readonly SliceKey[]): Promise<Step> {
    const { catalogue } = this.#ports;
    const opened = await this.#open(speculative);
    if (opened.kind !== 'ok') return { kind: 'failed', failure: opened };
    this.#stage = { kind: 'calendars', missing, speculative: addSpeculative(opened.value, catalogue) };
    return supply(
      opened.value.map(({ slice, startRow }) => firstPage(slice.id, startRow)),
      'whenLow',
    );
  }

  async #readCalendars(
    missing: readonly SliceKey[],
    speculative: readonly SpeculativeSlice[],
    count: number,
  ): Promise<Step> {
    const { store, today, scope } = this.#ports;
    // Without speculative slices, the coordinator only asks again when the calendar requests have ended.
    if (speculative.length > 0) await this.#calendarsAreIn();
    if (scope.aborted) return supply([], 'none');
    const calendars = new Map<SearchType, PublishedDays>();
    for (const { searchType, calendar, leftOut, problem = 'Google returned no calendar' } of this.#entries) {
      if (calendar === undefined) {
        return {
          kind: 'failed',
          failure: {
            kind: 'fatal',
            code: 'UNEXPECTED_ANSWER',
            reason: `Google’s list of the days of "${searchType}" cannot be used: ${problem}`,
          },
        };
      }
      const { days, lastPublished, firstIncomplete } = calendar;
      calendars.set(searchType, {
        days: new Map(days.map(({ date, clicks }) => [date, clicks])),
        lastPublished,
        firstIncomplete,
        leftOut: new Set(leftOut),
      });
    }
    const chosen = speculative.map(({ key }) => key);
    const isSpeculative = new Set(chosen.map(keyOf));
    const untouched = missing.filter((key) => !isSpeculative.has(keyOf(key)));
    // These slices are needed whatever the speculative ones return. Workers wait for them, so they are opened
    // meanwhile.
    const ahead =
      speculative.length === 0 ? [] : planByCalendar(untouched, calendars, this.#held).fetch.slice(0, count);
    const [settled, opened] = await Promise.all([
      settleSpeculativeSlices(speculative, calendars, today, store, this.#ports.isSelective !== true),
      ahead.length === 0 ? undefined : this.#open(ahead),
    ]);
    if (settled.kind !== 'ok') return { kind: 'failed', failure: settled };
    const begun = new Set(settled.value.map(keyOf));
    // In this order the already open slices come first.
    const plan = planByCalendar(
      [...untouched, ...chosen.filter((key) => !begun.has(keyOf(key)))],
      calendars,
      this.#held,
    );
    this.#stage = { kind: 'planned', plan, begun: settled.value, calendars };
    if (opened !== undefined && opened.kind !== 'ok') return { kind: 'failed', failure: opened };
    const first = opened && { keys: ahead.length, slices: opened.value };
    return this.#sealEmpty(plan, settled.value, calendars, count, first);
  }

  /** Resolves when all calendars have arrived, one has failed for good, or the run is over. */
  #calendarsAreIn(): Promise<void> {
    const { scope } = this.#ports;
    return new Promise((resolve) => {
      this.#wake = () => {
        const isSettled =
          this.#entries.every(({ calendar }) => calendar !== undefined) ||
          this.#entries.some(({ calendar, problem }) => calendar === undefined && problem !== undefined);
        if (isSettled || scope.aborted) resolve();
      };
      scope.addEventListener('abort', () => resolve(), { once: true });
      this.#wake();
    });
  }

  async #sealEmpty(
    plan: Plan,
    begun: readonly SliceKey[],
    calendars: Calendars,
    count: number,
    first?: OpenedKeys,
  ): Promise<Step> {
    const { store, today, onPlanned } = this.#ports;
    const heldInParts = new Set(
      this.#coverage
        .filter(({ part = '', status }) => part !== '' && status === 'complete')
        .map(({ searchType, dataset, date }) => keyOf({ searchType, dataset, date })),
    );
    const twoSteps = planByCalendar(this.#twoSteps, calendars, heldInParts);
    const empty = [...plan.empty, ...this.#heldPartsOf(twoSteps.empty)];
    for (const final of [true, false]) {
      const keys = empty.filter(
        ({ searchType, date }) => isFinal(date, calendars.get(searchType), today) === final,
      );
      if (keys.length === 0) continue;
      const sealed = await store.sealEmptySlices(keys, { final });
      if (sealed.kind !== 'ok') return { kind: 'failed', failure: sealed };
    }
    this.#twoSteps = twoSteps.fetch;
    onPlanned({
      planned: this.#planned,
      toFetch: [...begun, ...plan.fetch, ...twoSteps.fetch],
      notPublished: [...plan.notPublished, ...twoSteps.notPublished],
    });
    return this.#openSlices(plan.fetch, calendars, count, first);
  }

  /** Complete parts of keys. A day that Google has no more data of keeps them, and is not fetched again. */
  #heldPartsOf(keys: readonly SliceKey[]): readonly SliceKey[] {
    const wanted = new Set(keys.map(keyOf));
    return this.#coverage
      .filter(({ part = '', status }) => part !== '' && status === 'complete')
      .filter(({ searchType, dataset, date }) => wanted.has(keyOf({ searchType, dataset, date })));
  }

  async #readAppearances() {
    const { store, range } = this.#ports;
    if (!range.datasets.some(isTwoStep)) return { kind: 'ok', value: [] } as const;
    return await store.readAppearances(range);
  }

  /** The first steps are done: the missing parts follow, like any other slices. */
  async #beginSecondSteps(keys: readonly SliceKey[], calendars: Calendars, count: number): Promise<Step> {
    const appearances = await this.#readAppearances();
    if (appearances.kind !== 'ok') return { kind: 'failed', failure: appearances };
    this.#twoSteps = [];
    const parts = missingParts(partsOfAll(keys, appearances.value), this.#coverage);
    this.#tellChanges(keys, parts);
    return this.#openSlices(parts, calendars, count);
  }

  #tellChanges(gone: readonly SliceKey[], come: readonly SliceKey[]): void {
    const changes = new Map<Day, number>();
    for (const { date } of gone) changes.set(date, (changes.get(date) ?? 0) - 1);
    for (const { date } of come) changes.set(date, (changes.get(date) ?? 0) + 1);
    if (changes.size > 0) this.#ports.onReplanned?.(changes);
  }

  /** Supplies the next slices. The first of them may already be open. */
  async #openSlices(
    left: readonly SliceKey[],
    calendars: Calendars,
    count: number,
    first?: OpenedKeys,
  ): Promise<Step> {
    // Set before the call, so that the calendars are not read twice if the database is away.
    this.#stage = { kind: 'slices', left, calendars };
    if (first !== undefined) return this.#supplySlices(left, calendars, first);
    const served = left.filter((key) => !this.#ports.catalogue.isRefused(key));
    if (served.length < left.length) {
      this.#tellChanges(
        left.filter((key) => this.#ports.catalogue.isRefused(key)),
        [],
      );
      return this.#openSlices(served, calendars, count);
    }
    const keys = left.slice(0, count);
    if (keys.length === 0) return supply([], this.#whatFollows([], calendars));
    const answer = await this.#open(keys);
    if (answer.kind !== 'ok') return { kind: 'failed', failure: answer };
    return this.#supplySlices(left, calendars, { keys: keys.length, slices: answer.value });
  }

  #open(keys: readonly SliceKey[]): Promise<Answer<readonly OpenedSlice[]>> {
    return this.#ports.store.openSlices(keys, {
      continueYoungerThanMinutes: CONTINUE_YOUNGER_THAN_MINUTES,
    });
  }

  #supplySlices(left: readonly SliceKey[], calendars: Calendars, { keys, slices }: OpenedKeys): Step {
    const { catalogue, today, isSelective = false } = this.#ports;
    for (const { slice } of slices) {
      const calendar = calendars.get(slice.searchType);
      // Of a day's clicks, its parts and a selection may have none.
      const knowsClicks = !isSelective && (slice.part ?? '') === '';
      catalogue.add(slice.id, {
        kind: 'slice',
        slice,
        day: {
          final: isFinal(slice.date, calendar, today),
          mayBeEmpty: mayBeEmpty(slice.date, calendar),
          clicks: knowsClicks ? (calendar?.days.get(slice.date) ?? 0) : 0,
        },
        rows: 0,
      });
    }
    return supply(
      slices.map(({ slice, startRow }) => firstPage(slice.id, startRow)),
      this.#whatFollows(left.slice(keys), calendars),
    );
  }

  /** Moves on to the rest of the slices, then to the second steps. */
  #whatFollows(left: readonly SliceKey[], calendars: Calendars): MorePlan {
    if (left.length === 0 && this.#twoSteps.length > 0) {
      this.#stage = { kind: 'secondSteps', keys: this.#twoSteps, calendars };
      return 'whenQuiet';
    }
    this.#stage = { kind: 'slices', left, calendars };
    return left.length === 0 ? 'none' : 'whenLow';
  }
}

/** The parts without a complete, final slice of the range's refresh. */
function missingParts(parts: readonly SliceKey[], held: readonly Coverage[]): readonly SliceKey[] {
  const done = new Set(
    held
      .filter(({ status, final, beforeCutOff }) => status === 'complete' && final && !beforeCutOff)
      .map(keyOf),
  );
  return parts.filter((part) => !done.has(keyOf(part)));
}
