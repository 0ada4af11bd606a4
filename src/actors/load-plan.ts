/**
 * The plan's actor: reads what is missing, has the calendars fetched, seals what needs no call, and then supplies slices
 * as the coordinator's look-ahead runs low. The whole plan is a list of keys in here; slices are opened as they go out.
 *
 *   start ──────────────► calendars ──► planned ──► slices … ──► none
 *     └──► trust (large plans) ▲
 *
 * In a small plan the calendars go out alone, and the coordinator asks for more when it is quiet. In a large one it asks
 * at once, so that no worker idles for as long as a calendar takes, and is given slices on trust; when it asks again, the
 * answer waits for the calendars. Nothing that a calendar could need waits for that answer.
 */

import { fromCallback } from 'xstate';
import type { Clock } from '../domain/clock.ts';
import type { CoverageRange } from '../domain/coverage.ts';
import type { Day, SearchType, SliceKey } from '../domain/slice.ts';
import type { MorePlan, Page, PlanOrder, PlanReport } from '../machines/messages.ts';
import { type CalendarEntry, type Catalogue, calendarId } from '../planning/catalogue.ts';
import {
  isFinal,
  keyOf,
  mayBeEmpty,
  missingKeys,
  type Plan,
  type PublishedDays,
  planByCalendar,
  type TrustRules,
  trustedKeys,
} from '../planning/plan.ts';
import { addTrusted, settleTrustedSlices, type TrustedSlice } from '../planning/speculative-slices.ts';
import type { Store } from '../store/store.ts';
import type { Answer, DatabaseFailure, OpenedSlice } from '../store/types.ts';
import { outcomeOf } from './away.ts';

/** Open slices of an earlier run are continued when their newest page is at most this old. */
const CONTINUE_YOUNGER_THAN_MINUTES = 15;

export interface LoadPlanPorts {
  readonly store: Pick<Store, 'readCoverage' | 'sealEmptySlices' | 'openSlices' | 'settleTrusted'>;
  readonly clock: Clock;
  readonly catalogue: Catalogue;
  readonly siteUrl: string;
  readonly range: CoverageRange;
  readonly today: Day;
  /** The workers that the run starts with. */
  readonly pool: Omit<TrustRules, 'today'>;
  /** Told once, when the plan is known. Must not throw. */
  readonly onPlanned: (plan: PlanSummary) => void;
  readonly scope: AbortSignal;
  readonly background: (work: Promise<unknown>) => void;
}

export interface PlanSummary {
  /** Keys to be fetched. Some may be done already: those of a large plan are begun before it is known. */
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

/** Where the plan is. Each stage is entered once; a stage whose database call failed is tried again as a whole. */
type Stage =
  | { readonly kind: 'start' }
  /** The calendars are asked for. These keys go out meanwhile. */
  | { readonly kind: 'trust'; readonly missing: readonly SliceKey[]; readonly trusted: readonly SliceKey[] }
  | {
      readonly kind: 'calendars';
      readonly missing: readonly SliceKey[];
      readonly trusted: readonly TrustedSlice[];
    }
  | {
      readonly kind: 'planned';
      readonly plan: Plan;
      /** Trusted keys, done or under way. */
      readonly begun: readonly SliceKey[];
      readonly calendars: Calendars;
    }
  | { readonly kind: 'slices'; readonly left: readonly SliceKey[]; readonly calendars: Calendars };

/** Slices that are open, of the first so many keys that are left. */
interface OpenedKeys {
  readonly keys: number;
  readonly slices: readonly OpenedSlice[];
}

type Calendars = ReadonlyMap<SearchType, PublishedDays>;

class PlanLoader {
  readonly #ports: LoadPlanPorts;
  #stage: Stage = { kind: 'start' };
  /** One for each search type in which anything is missing. */
  #entries: readonly CalendarEntry[] = [];
  /** Keys that have a complete version, however old. */
  #held: ReadonlySet<string> = new Set();
  /** Wakes whoever waits for the calendars. */
  #wake: () => void = () => undefined;

  constructor(ports: LoadPlanPorts) {
    this.#ports = ports;
  }

  async next(count: number): Promise<Step> {
    switch (this.#stage.kind) {
      case 'start':
        return this.#askForCalendars();
      case 'trust':
        return this.#beginTrusted(this.#stage.missing, this.#stage.trusted);
      case 'calendars':
        return this.#readCalendars(this.#stage.missing, this.#stage.trusted, count);
      case 'planned':
        return this.#sealEmpty(this.#stage.plan, this.#stage.begun, this.#stage.calendars, count);
      case 'slices':
        return this.#openSlices(this.#stage.left, this.#stage.calendars, count);
    }
  }

  /** One request per search type in which anything is missing; none where nothing is. */
  async #askForCalendars(): Promise<Step> {
    const { store, range, catalogue, siteUrl, today, pool, onPlanned } = this.#ports;
    const held = await store.readCoverage(range);
    if (held.kind !== 'ok') return { kind: 'failed', failure: held };
    this.#held = new Set(held.value.filter(({ status }) => status === 'complete').map(keyOf));
    const missing = missingKeys(range, held.value);
    if (missing.length === 0) {
      onPlanned({ toFetch: [], notPublished: [] });
      return supply([], 'none');
    }
    this.#entries = range.searchTypes
      .filter((type) => missing.some(({ searchType }) => searchType === type))
      .map((searchType) => ({
        kind: 'calendar',
        searchType,
        siteUrl,
        from: range.from,
        // To today, whatever the range: only then is it known which days before the last published one are empty.
        to: today,
        onSettled: () => this.#wake(),
      }));
    for (const entry of this.#entries) catalogue.add(calendarId(entry.searchType), entry);
    const trusted = trustedKeys(missing, { ...pool, today });
    this.#stage =
      trusted.length === 0
        ? { kind: 'calendars', missing, trusted: [] }
        : { kind: 'trust', missing, trusted };
    return supply(
      this.#entries.map(({ searchType }) => firstPage(calendarId(searchType))),
      trusted.length === 0 ? 'whenQuiet' : 'whenLow',
    );
  }

  /** So that nobody waits while the calendars are on their way: what will almost surely have data begins without them. */
  async #beginTrusted(missing: readonly SliceKey[], trusted: readonly SliceKey[]): Promise<Step> {
    const { catalogue } = this.#ports;
    const opened = await this.#open(trusted);
    if (opened.kind !== 'ok') return { kind: 'failed', failure: opened };
    this.#stage = { kind: 'calendars', missing, trusted: addTrusted(opened.value, catalogue) };
    return supply(
      opened.value.map(({ slice, startRow }) => firstPage(slice.id, startRow)),
      'whenLow',
    );
  }

  async #readCalendars(
    missing: readonly SliceKey[],
    trusted: readonly TrustedSlice[],
    count: number,
  ): Promise<Step> {
    const { store, today, scope } = this.#ports;
    // Where nothing went out on trust, the coordinator asks when the calendars' requests have ended.
    if (trusted.length > 0) await this.#calendarsAreIn();
    if (scope.aborted) return supply([], 'none');
    const calendars = new Map<SearchType, PublishedDays>();
    for (const { searchType, calendar, leftOut, problem = 'Google gave no calendar' } of this.#entries) {
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
    const onTrust = trusted.map(({ key }) => key);
    const isTrusted = new Set(onTrust.map(keyOf));
    const untouched = missing.filter((key) => !isTrusted.has(keyOf(key)));
    // Needed whatever comes of what was begun on trust: workers wait for these slices, so they are opened meanwhile.
    const ahead =
      trusted.length === 0 ? [] : planByCalendar(untouched, calendars, this.#held).fetch.slice(0, count);
    const [settled, opened] = await Promise.all([
      settleTrustedSlices(trusted, calendars, today, store),
      ahead.length === 0 ? undefined : this.#open(ahead),
    ]);
    if (settled.kind !== 'ok') return { kind: 'failed', failure: settled };
    const begun = new Set(settled.value.map(keyOf));
    // In this order the slices that are open by now are the first.
    const plan = planByCalendar(
      [...untouched, ...onTrust.filter((key) => !begun.has(keyOf(key)))],
      calendars,
      this.#held,
    );
    this.#stage = { kind: 'planned', plan, begun: settled.value, calendars };
    if (opened !== undefined && opened.kind !== 'ok') return { kind: 'failed', failure: opened };
    const first = opened && { keys: ahead.length, slices: opened.value };
    return this.#sealEmpty(plan, settled.value, calendars, count, first);
  }

  /** All calendars have come, or one never will; or the run is over. */
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
    for (const final of [true, false]) {
      const keys = plan.empty.filter(
        ({ searchType, date }) => isFinal(date, calendars.get(searchType), today) === final,
      );
      if (keys.length === 0) continue;
      const sealed = await store.sealEmptySlices(keys, { final });
      if (sealed.kind !== 'ok') return { kind: 'failed', failure: sealed };
    }
    onPlanned({ toFetch: [...begun, ...plan.fetch], notPublished: plan.notPublished });
    return this.#openSlices(plan.fetch, calendars, count, first);
  }

  /** Supplies what comes next; the first of it may be open already. */
  async #openSlices(
    left: readonly SliceKey[],
    calendars: Calendars,
    count: number,
    first?: OpenedKeys,
  ): Promise<Step> {
    // Set before the call: a database that is away must not have the calendars read twice.
    this.#stage = { kind: 'slices', left, calendars };
    if (first !== undefined) return this.#supplySlices(left, calendars, first);
    const keys = left.slice(0, count);
    if (keys.length === 0) return supply([], 'none');
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
    const { catalogue, today } = this.#ports;
    for (const { slice } of slices) {
      const calendar = calendars.get(slice.searchType);
      catalogue.add(slice.id, {
        kind: 'slice',
        slice,
        day: {
          final: isFinal(slice.date, calendar, today),
          mayBeEmpty: mayBeEmpty(slice.date, calendar),
          clicks: calendar?.days.get(slice.date) ?? 0,
        },
        rows: 0,
      });
    }
    const rest = left.slice(keys);
    this.#stage = { kind: 'slices', left: rest, calendars };
    return supply(
      slices.map(({ slice, startRow }) => firstPage(slice.id, startRow)),
      rest.length === 0 ? 'none' : 'whenLow',
    );
  }
}
