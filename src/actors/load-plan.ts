/**
 * The plan's actor: reads what is missing, has the calendars fetched, seals what needs no call, and then supplies slices
 * as the coordinator's look-ahead runs low. The whole plan is a list of keys in here; slices are opened as they go out.
 *
 *   start ──► calendars ──► slices … ──► none
 */
import { fromCallback } from 'xstate';
import type { Store } from '../db/store.ts';
import type { DatabaseFailure } from '../db/types.ts';
import type { Clock } from '../domain/clock.ts';
import type { Day, SearchType } from '../domain/slice.ts';
import type { MorePlan, Page, PlanOrder, PlanReport } from '../machines/messages.ts';
import {
  type Calendar,
  isFinal,
  mayBeEmpty,
  missingKeys,
  type PlanKey,
  type PlanRange,
  planByCalendar,
} from '../machines/plan.ts';
import { type Catalogue, calendarId } from './catalogue.ts';

/** Open slices of an earlier run are continued when their newest page is at most this old. */
const CONTINUE_YOUNGER_THAN_MINUTES = 15;

export interface LoadPlanPorts {
  readonly store: Pick<Store, 'readCoverage' | 'sealEmptySlices' | 'openSlices'>;
  readonly clock: Clock;
  readonly catalogue: Catalogue;
  readonly siteUrl: string;
  readonly range: PlanRange;
  readonly today: Day;
  /** Told once, when the plan is known. Must not throw. */
  readonly onPlanned: (plan: PlanSummary) => void;
  readonly scope: AbortSignal;
  readonly background: (work: Promise<unknown>) => void;
}

export interface PlanSummary {
  /** Keys to be fetched. */
  readonly toFetch: readonly PlanKey[];
  /** Keys whose day Google has not published. */
  readonly notPublished: readonly PlanKey[];
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
            report({ type: 'plan.failed', outcome: planFailure(step.failure), chance: ports.clock.random() });
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
  | {
      readonly kind: 'calendars';
      readonly missing: readonly PlanKey[];
      readonly searchTypes: readonly SearchType[];
    }
  | {
      readonly kind: 'slices';
      readonly left: readonly PlanKey[];
      readonly calendars: ReadonlyMap<SearchType, Calendar>;
    };

class PlanLoader {
  readonly #ports: LoadPlanPorts;
  #stage: Stage = { kind: 'start' };

  constructor(ports: LoadPlanPorts) {
    this.#ports = ports;
  }

  async next(count: number): Promise<Step> {
    switch (this.#stage.kind) {
      case 'start':
        return this.#askForCalendars();
      case 'calendars':
        return this.#readCalendars(this.#stage.missing, this.#stage.searchTypes, count);
      case 'slices':
        return this.#openSlices(this.#stage.left, this.#stage.calendars, count);
    }
  }

  /** One request per search type in which anything is missing; none where nothing is. */
  async #askForCalendars(): Promise<Step> {
    const { store, range, catalogue, siteUrl, today, onPlanned } = this.#ports;
    const held = await store.readCoverage(range);
    if (held.kind !== 'ok') return { kind: 'failed', failure: held };
    const missing = missingKeys(range, held.value);
    if (missing.length === 0) {
      onPlanned({ toFetch: [], notPublished: [] });
      return supply([], 'none');
    }
    const searchTypes = range.searchTypes.filter((type) =>
      missing.some(({ searchType }) => searchType === type),
    );
    for (const searchType of searchTypes) {
      // To today, whatever the range: only then is it known which days before the last published one are empty.
      catalogue.add(calendarId(searchType), {
        kind: 'calendar',
        searchType,
        siteUrl,
        from: range.from,
        to: today,
      });
    }
    this.#stage = { kind: 'calendars', missing, searchTypes };
    return supply(
      searchTypes.map((searchType) => firstPage(calendarId(searchType))),
      'whenQuiet',
    );
  }

  async #readCalendars(
    missing: readonly PlanKey[],
    searchTypes: readonly SearchType[],
    count: number,
  ): Promise<Step> {
    const { store, catalogue, today, onPlanned } = this.#ports;
    const calendars = new Map<SearchType, Calendar>();
    for (const searchType of searchTypes) {
      const entry = catalogue.get(calendarId(searchType));
      if (entry?.kind !== 'calendar' || entry.calendar === undefined) {
        const reason = (entry?.kind === 'calendar' && entry.problem) || 'Google gave no calendar';
        return {
          kind: 'failed',
          failure: {
            kind: 'fatal',
            code: 'UNEXPECTED_ANSWER',
            reason: `Google’s list of the days of "${searchType}" cannot be used: ${reason}`,
          },
        };
      }
      const { days, lastPublished, firstIncomplete } = entry.calendar;
      calendars.set(searchType, {
        days: new Set(days.map(({ date }) => date)),
        lastPublished,
        firstIncomplete,
      });
    }
    const plan = planByCalendar(missing, calendars);
    for (const final of [true, false]) {
      const keys = plan.empty.filter(
        ({ searchType, date }) => isFinal(date, calendars.get(searchType), today) === final,
      );
      if (keys.length === 0) continue;
      const sealed = await store.sealEmptySlices(keys, { final });
      if (sealed.kind !== 'ok') return { kind: 'failed', failure: sealed };
    }
    onPlanned({ toFetch: plan.fetch, notPublished: plan.notPublished });
    return this.#openSlices(plan.fetch, calendars, count);
  }

  async #openSlices(
    left: readonly PlanKey[],
    calendars: ReadonlyMap<SearchType, Calendar>,
    count: number,
  ): Promise<Step> {
    const { store, catalogue, today } = this.#ports;
    // Set before the call: a database that is away must not have the calendars read twice.
    this.#stage = { kind: 'slices', left, calendars };
    const keys = left.slice(0, count);
    if (keys.length === 0) return supply([], 'none');
    const opened = await store.openSlices(keys, {
      continueYoungerThanMinutes: CONTINUE_YOUNGER_THAN_MINUTES,
    });
    if (opened.kind !== 'ok') return { kind: 'failed', failure: opened };
    for (const { slice } of opened.value) {
      const calendar = calendars.get(slice.searchType);
      catalogue.add(slice.id, {
        kind: 'slice',
        slice,
        day: {
          final: isFinal(slice.date, calendar, today),
          mayBeEmpty: mayBeEmpty(slice.date, calendar),
        },
        rows: 0,
      });
    }
    const rest = left.slice(count);
    this.#stage = { kind: 'slices', left: rest, calendars };
    return supply(
      opened.value.map(({ slice, startRow }) => firstPage(slice.id, startRow)),
      rest.length === 0 ? 'none' : 'whenLow',
    );
  }
}

function planFailure(failure: DatabaseFailure) {
  return failure.kind === 'databaseAway'
    ? ({ kind: 'databaseAway', reason: failure.reason } as const)
    : ({ kind: 'fatal', fatal: { code: failure.code, reason: failure.reason } } as const);
}
