/** Turns the events of machines and calls into figures, public events and telemetry. Decides nothing. */

import type { CallObserver } from '../actors/fetch-batch.ts';
import type { AfterPage } from '../domain/page-result.ts';
import type { SliceKey } from '../domain/slice.ts';
import type { ConcurrencyDecision } from '../machines/concurrency/context.ts';
import type { CoordinatorEmitted } from '../machines/coordinator/context.ts';
import type { RateLimiterEmitted } from '../machines/rate-limiter/rate-limiter.ts';
import type { Catalogue, SliceEntry } from '../planning/catalogue.ts';
import type { Listeners } from './listeners.ts';
import type { ProgressTracker } from './progress.ts';
import type { NameSlice } from './slice-names.ts';
import type { Telemetry } from './telemetry.ts';
import type {
  ConcurrencyEvent,
  FallbackEvent,
  QuotaEvent,
  RetryEvent,
  SliceEvent,
  SyncEvents,
} from './types.ts';

/** Counts and traces calls and their pages. */
export function observeCalls(
  figures: ProgressTracker,
  telemetry: Telemetry,
  nameOf: NameSlice,
): CallObserver {
  return {
    callStarted(input) {
      const span = telemetry.callStarted(input, nameOf);
      let inFlight = 0;
      return {
        sent(pages) {
          figures.counters.httpCalls += 1;
          figures.counters.apiCalls += pages;
          inFlight = pages;
          figures.counters.pagesInFlight += pages;
          span.sent(pages);
        },
        page: span.page,
        stalled: span.stalled,
        ended(outcome) {
          figures.counters.pagesInFlight -= inFlight;
          span.ended(outcome);
        },
      };
    },
  };
}

/** The receivers of what the machines do. */
export interface Watchers {
  readonly figures: ProgressTracker;
  readonly listeners: Listeners<SyncEvents>;
  readonly telemetry: Telemetry;
}

/** Handles the coordinator's events. Removes finished slices from the catalogue. */
export function noteCoordinator(event: CoordinatorEmitted, catalogue: Catalogue, watchers: Watchers): void {
  const { figures, listeners, telemetry } = watchers;
  const retry = (told: RetryEvent): void => {
    telemetry.retried(told);
    listeners.emit('retry', told);
  };
  switch (event.type) {
    case 'page.committed':
      figures.counters.rows += event.rows;
      noteSliceEnd(event.sliceId, event.next, catalogue, watchers);
      return;
    case 'page.failed':
      if (event.final)
        noteSliceEnd(event.sliceId, { kind: 'failed', reason: event.reason }, catalogue, watchers);
      return;
    case 'retry.scheduled':
      figures.counters.retries += event.pages;
      retry({ kind: 'pages', pages: event.pages, delayMs: event.delayMs });
      return;
    case 'call.failed':
      figures.counters.retries += 1;
      retry({ kind: 'call', reason: event.reason, inARow: event.consecutive });
      return;
    case 'worker.restarted':
      retry({ kind: 'worker', workerId: event.workerId });
      return;
    case 'database.away':
      retry({ kind: 'database', reason: event.reason });
      return;
    case 'google.away':
      retry({ kind: 'google', reason: event.reason });
      return;
    case 'google.back':
    case 'database.back':
    case 'concurrency.changed':
      return;
  }
}

function noteSliceEnd(sliceId: string, next: AfterPage, catalogue: Catalogue, watchers: Watchers): void {
  if (next.kind === 'page') return;
  const entry = catalogue.get(sliceId);
  if (entry?.kind !== 'slice') return;
  catalogue.remove(sliceId);
  // The slice continues under another id.
  if (next.kind === 'again') return;
  if (next.kind !== 'notPublished' || entry.isPlannedAgain === undefined) {
    tellSliceEnd(entry, next, watchers);
    return;
  }
  // A speculative slice: the calendar decides whether it is planned again. If the run ends first, it stays open.
  void entry.isPlannedAgain.then((isPlannedAgain) => {
    if (!isPlannedAgain) tellSliceEnd(entry, next, watchers);
  });
}

function tellSliceEnd(
  { slice: { searchType, dataset, date, part = '' }, rows: given, notServed }: SliceEntry,
  next: AfterPage,
  watchers: Watchers,
): void {
  watchers.figures.sliceDone(date);
  const slice = { searchType, dataset, date, rows: given, ...(part === '' ? {} : { part }) };
  const tell = (event: SliceEvent): void => {
    watchers.telemetry.sliceEnded(event.status);
    watchers.listeners.emit('slice', event);
  };
  if (notServed !== undefined) tell({ ...slice, status: 'notServed', reason: notServed });
  else if (next.kind === 'failed') tell({ ...slice, status: 'failed', reason: next.reason });
  else if (next.kind !== 'sealed') tell({ ...slice, status: 'notPublished' });
  else {
    const { capped, duplicatesDropped = 0 } = next;
    const rows = given - duplicatesDropped;
    tell({ ...slice, status: 'complete', rows, ...(capped === undefined ? {} : { capped }) });
  }
}

/** Rows came after a page that was taken for its slice's last one. */
export function noteShortPage(
  { searchType, dataset, date }: SliceKey,
  { figures, listeners, telemetry }: Watchers,
): void {
  figures.counters.shortPages += 1;
  const told: RetryEvent = { kind: 'shortPage', searchType, dataset, date };
  telemetry.retried(told);
  listeners.emit('retry', told);
}

/** Reports a decision of the concurrency controller. */
export function noteDecision(
  { from, to, reason, detail }: ConcurrencyDecision,
  watchers: Pick<Watchers, 'listeners' | 'telemetry'>,
): void {
  noteConcurrency({ from, to, reason, ...(detail === null ? {} : { detail }) }, watchers);
}

export function noteConcurrency(
  told: ConcurrencyEvent,
  { listeners, telemetry }: Pick<Watchers, 'listeners' | 'telemetry'>,
): void {
  telemetry.concurrency(told);
  listeners.emit('concurrency', told);
}

export function noteQuota(
  told: QuotaEvent,
  { listeners, telemetry }: Pick<Watchers, 'listeners' | 'telemetry'>,
): void {
  telemetry.quota(told);
  listeners.emit('quota', told);
}

export function noteFallback(
  told: FallbackEvent,
  { listeners, telemetry }: Pick<Watchers, 'listeners' | 'telemetry'>,
): void {
  telemetry.fallback(told);
  listeners.emit('fallback', told);
}

/** Handles the limiter's events for this run's scopes. */
export function noteLimiter(event: RateLimiterEmitted, scopes: readonly string[], watchers: Watchers): void {
  const { figures } = watchers;
  const tell = (quota: QuotaEvent): void => noteQuota(quota, watchers);
  // A shared limiter also emits events for other runs' scopes.
  const concerns = (...named: readonly string[]): boolean => named.some((scope) => scopes.includes(scope));
  switch (event.type) {
    case 'quota.used':
      // Progress reads it from the limiter.
      return;
    case 'quota.approaching':
      if (concerns(event.scope)) {
        tell({ kind: 'approaching', scope: event.scope, used: event.spent, limit: event.limit });
      }
      return;
    case 'quota.refused':
      if (!concerns(...event.scopes)) return;
      figures.counters.quotaRefusals += 1;
      tell({ kind: 'refused', quota: event.quota });
      return;
    case 'quota.lowered':
      if (concerns(event.scope)) tell({ kind: 'lowered', scope: event.scope, limit: event.limit });
      return;
    case 'quota.raised':
      if (concerns(event.scope)) tell({ kind: 'raised', scope: event.scope, limit: event.limit });
      return;
    case 'quota.cooling':
      if (!concerns(event.scope)) return;
      tell({ kind: 'cooling', quota: event.quota, coolingMs: event.coolingMs });
      return;
  }
}
