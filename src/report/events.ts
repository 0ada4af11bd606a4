import type { QuotaKind } from '../domain/quota-kind.ts';
import type { HaltReason } from '../machines/messages.ts';
import { scopeKindOf } from '../machines/rate-limiter/quota-window.ts';
import type {
  ConcurrencyEvent,
  FallbackEvent,
  NoticeEvent,
  Progress,
  ProgressState,
  QuotaEvent,
  RetryEvent,
  SliceEvent,
} from '../sync/types.ts';
import { framesOf } from './frames.ts';
import type { LogEntry } from './log.ts';
import { counted, roughDuration } from './render.ts';

/** The run's events as log entries. A `text` is shown even without a log. */

export function sliceEntry({
  searchType,
  dataset,
  date,
  part,
  status,
  rows,
  reason,
  capped,
}: SliceEvent): LogEntry {
  const fields = { type: searchType, dataset, date, part, rows, capped, reason };
  if (status !== 'failed') return { level: 'info', name: `slice.${status}`, fields };
  return {
    level: 'warn',
    name: 'slice.failed',
    fields,
    text: `${date} ${dataset}${part === undefined ? '' : ` ${part}`} (${searchType}) failed: ${reason ?? 'no reason was given'}`,
  };
}

export function quotaEntry(event: QuotaEvent): LogEntry {
  const { kind, ...fields } = event;
  const name = `quota.${kind}`;
  switch (event.kind) {
    case 'approaching':
      return { level: 'debug', name, fields };
    case 'refused':
      return { level: 'warn', name, fields };
    case 'lowered': {
      const entry: LogEntry = { level: 'warn', name, fields };
      // One refusal also lowers the budgets of user and project; one message is enough.
      if (scopeKindOf(event.scope) !== 'site') return entry;
      const limit = counted(event.limit, 'request');
      return {
        ...entry,
        text: `Google’s real limit is lower than the one given: continuing with ${limit} per minute.`,
      };
    }
    case 'raised':
      return { level: 'info', name, fields };
    case 'accountUnknown':
      return {
        level: 'warn',
        name,
        fields,
        text: `Whose access token it is cannot be found out (${event.reason}): name it with --account, or all such tokens share one quota.`,
      };
    case 'cooling':
      return {
        level: 'warn',
        name,
        fields,
        text: `Google refused requests (${quotaWords(event.quota)}): waiting ${roughDuration(event.coolingMs)}.`,
      };
  }
}

export function retryEntry(event: RetryEvent): LogEntry {
  const { kind, ...fields } = event;
  const name = `retry.${kind}`;
  switch (event.kind) {
    case 'pages':
      return { level: 'debug', name, fields };
    case 'call':
      // Single failures are normal. Several in a row are reported as "google".
      return { level: 'warn', name, fields };
    case 'google':
      return {
        level: 'warn',
        name,
        fields,
        text: `Search Console does not answer as it should (${event.reason}): waiting for it.`,
      };
    case 'database':
      return { level: 'warn', name, fields, text: `The database is away (${event.reason}): waiting for it.` };
    case 'shortPage':
      return {
        level: 'warn',
        name,
        fields,
        text: `${event.date} ${event.dataset} (${event.searchType}): rows came after a page with fewer rows than requested. Slices are asked until a page without rows from now on, and those that ended with a short one again.`,
      };
    case 'worker':
      return { level: 'warn', name, fields, text: `Worker ${event.workerId} crashed and was replaced.` };
  }
}

/** The concurrency level and the reason. Trouble itself is reported as a quota or retry event. */
export function concurrencyEntry({ from, to, reason, detail }: ConcurrencyEvent): LogEntry {
  return {
    level: to === from ? 'debug' : 'info',
    name: 'run.concurrency',
    fields: { from, to, reason, why: concurrencyWords(reason), detail },
  };
}

function concurrencyWords(reason: ConcurrencyEvent['reason']): string {
  switch (reason) {
    case 'slowStart':
      return 'a call ended well';
    case 'trial':
      return 'one more is tried';
    case 'grew':
      return 'one more paid, the next is tried';
    case 'noGain':
      return 'more brought no more throughput';
    case 'refused':
      return 'a refusal: back to what went well';
    case 'failed':
      return 'a failed call: back to what went well';
    case 'repeated':
      return 'trouble again';
    case 'quota':
      return '80 % of the quota is used';
    case 'most':
      return 'as many as may be are at work';
    case 'asked':
      return 'as asked';
  }
}

export function noticeEntry({ kind, view, message, nextStep }: NoticeEvent): LogEntry {
  return {
    level: 'warn',
    name: `notice.${kind}`,
    fields: { view, message, nextStep },
    text: `${message} ${nextStep}`,
  };
}

/** At `info`: the run is slower, not wrong. */
export function fallbackEntry({ what, reason }: FallbackEvent): LogEntry {
  return { level: 'info', name: 'run.fallback', fields: { what, reason } };
}

export function stateEntry(state: ProgressState): LogEntry {
  return { level: 'info', name: 'run.state', fields: { state } };
}

/** The run ended with an error. The error is shown anyway; this entry helps to find its cause. */
export function brokenEntry(error: unknown): LogEntry {
  const { name, message, cause } = error instanceof Error ? error : new Error(String(error));
  return {
    level: 'debug',
    name: 'run.broken',
    fields: {
      error: name,
      message,
      cause: cause instanceof Error ? cause.message : undefined,
      at: framesOf(error),
    },
  };
}

export function progressEntry(progress: Progress): LogEntry {
  const { slicesDone, slicesPlanned, rows, apiCalls, httpCalls, retries, quotaUsed, quotaLimit } = progress;
  const { pagesInFlight, pagesWaiting, maxConcurrency } = progress;
  return {
    level: 'trace',
    name: 'run.progress',
    fields: {
      slicesDone,
      slicesPlanned,
      rows,
      apiCalls,
      httpCalls,
      retries,
      quotaUsed,
      quotaLimit,
      pagesInFlight,
      pagesWaiting,
      maxConcurrency,
    },
  };
}

/** The reason of a halt, as the end of a sentence. */
export function haltWords(reason: HaltReason): string {
  switch (reason.kind) {
    case 'asked':
      return `as asked (${reason.reason})`;
    case 'quota':
      return quotaWords(reason.quota);
    case 'callFailures':
      return `too many calls in a row failed: ${reason.reason}`;
    case 'databaseAway':
      return `the database stayed away: ${reason.reason}`;
  }
}

function quotaWords(quota: QuotaKind): string {
  switch (quota) {
    case 'qps':
      return 'too many requests per minute';
    case 'load':
      return 'the ten-minute load quota is used up';
    case 'daily':
      return 'the daily quota is used up';
  }
}
