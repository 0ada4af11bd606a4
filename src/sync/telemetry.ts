/**
 * OpenTelemetry: one span per run, batch and page commit, and the metrics `longtail.*`.
 *
 * Uses only the API. Without an SDK, every call is a no-op and the gauges are never read. Nothing here throws or influences
 * the run. Spans get explicit parents, so no context manager is needed; the parent of a run is the active span at its start.
 */
import { type Attributes, context, metrics, type Span, SpanStatusCode, trace } from '@opentelemetry/api';
import { type Clock, systemClock } from '../domain/clock.ts';
import type { SliceKey } from '../domain/slice.ts';
import { VERSION } from '../domain/version.ts';
import type { FetchBatchInput } from '../machines/batch-worker/batch-worker.ts';
import type { CallOutcome, PageResult } from '../machines/messages.ts';
import { scopeKindOf } from '../machines/rate-limiter/quota-window.ts';
import {
  createInstruments,
  type GaugeReading,
  observeGauges,
  type RUN_OUTCOMES,
  startAtZero,
} from './metrics.ts';
import type { ConcurrencyEvent, FallbackEvent, QuotaEvent, RetryEvent, SliceEvent } from './types.ts';

/** The instrumentation scope of spans and metrics. */
const SCOPE = 'longtail';

export interface RunStart {
  readonly runId: string;
  readonly from: string;
  readonly to: string;
  readonly datasets: readonly string[];
  readonly searchTypes: readonly string[];
  readonly maxConcurrency: number;
  readonly batchSize: number;
}

export interface RunEnd {
  readonly status: (typeof RUN_OUTCOMES)[number];
  readonly durationMs: number;
  /** Why it was halted or failed, in one line. */
  readonly reason?: string;
  readonly rows: number;
  readonly apiCalls: number;
  readonly httpCalls: number;
}

/** Receives the progress of one call from `fetchBatch`. */
export interface CallTelemetry {
  /** The request was sent. */
  sent(pages: number): void;
  /** The result of one page. `commitMs`: duration of its transaction, 0 without one. */
  page(sliceId: string, startRow: number, result: PageResult, commitMs: number): void;
  /** Pages that have been read wait for the database. */
  stalled(reason: string): void;
  /** Exactly once, when the call has ended. */
  ended(outcome: CallOutcome): void;
}

/** Telemetry of one property. Every method may be called at any time; before a run starts, only metrics are recorded. */
export interface Telemetry {
  /** `read` is called at every collection of metrics from now until {@link Telemetry.close}. */
  runStarted(run: RunStart, read: () => GaugeReading): void;
  /** A call begins, with its tokens granted. `nameOf` says what a page's slice is; undefined for calendars and probes. */
  callStarted(call: FetchBatchInput, nameOf?: (sliceId: string) => SliceKey | undefined): CallTelemetry;
  /** A slice will not be asked for any more in this run. */
  sliceEnded(outcome: SliceEvent['status']): void;
  retried(retry: RetryEvent): void;
  quota(event: QuotaEvent): void;
  /** A change of the concurrency level, or a decision to keep it. */
  concurrency(event: ConcurrencyEvent): void;
  /** An optimisation cannot be used. */
  fallback(event: FallbackEvent): void;
  /** A halt was requested. Only the first call counts; the duration ends with the run. */
  haltStarted(reason: string): void;
  runEnded(end: RunEnd): void;
  /** The run ended with an exception, after this time in milliseconds. Called instead of `runEnded`. */
  runThrew(error: unknown, durationMs: number): void;
  /** Ends the gauges. Reads them a last time, for the next collection. */
  close(): void;
}

/**
 * @param siteUrl the property, on every span and metric as `longtail.property`.
 * @param haltDeadlineMs how long a halt may take, in milliseconds.
 */
export function createTelemetry(
  siteUrl: string,
  clock: Clock = systemClock,
  haltDeadlineMs = Number.POSITIVE_INFINITY,
): Telemetry {
  const tracer = trace.getTracer(SCOPE, VERSION);
  const property: Attributes = { 'longtail.property': siteUrl };
  const meter = metrics.getMeter(SCOPE, VERSION);
  const instruments = createInstruments(meter);
  let run: Span | undefined;
  let haltStartedMs: number | undefined;
  let removeGauges: (() => void) | undefined;

  const note = (event: string, attributes: Attributes): void => {
    if (run?.isRecording() === true) run.addEvent(event, attributes);
  };
  const endRun = (outcome: RunEnd['status'], durationMs: number): void => {
    run?.end();
    run = undefined;
    const ended = { ...property, 'longtail.run.outcome': outcome };
    instruments.runs.add(1, ended);
    instruments.runDuration.record(durationMs / 1_000, ended);
    if (outcome === 'complete') instruments.lastSuccess.record(clock.now() / 1_000, property);
    if (haltStartedMs === undefined) return;
    const haltMs = clock.now() - haltStartedMs;
    instruments.haltDuration.record(haltMs / 1_000, property);
    if (haltMs > haltDeadlineMs) instruments.lateHalts.add(1, property);
    haltStartedMs = undefined;
  };

  return {
    runStarted(start, read) {
      run = tracer.startSpan('longtail.run', {
        attributes: {
          ...property,
          'longtail.run.id': start.runId,
          'longtail.from': start.from,
          'longtail.to': start.to,
          'longtail.datasets': [...start.datasets],
          'longtail.search_types': [...start.searchTypes],
          'longtail.max_concurrency': start.maxConcurrency,
          'longtail.batch_size': start.batchSize,
        },
      });
      startAtZero(instruments, property);
      removeGauges?.();
      removeGauges = observeGauges(meter, property, read);
    },
    callStarted: startCall,
    sliceEnded(outcome) {
      instruments.slices.add(1, { ...property, 'longtail.slice.outcome': outcome });
    },
    retried(retry) {
      const { kind, ...rest } = retry;
      const count = retry.kind === 'pages' ? retry.pages : 1;
      instruments.retries.add(count, { ...property, 'longtail.retry.kind': kind });
      note('longtail.retry', { 'longtail.retry.kind': kind, ...named('longtail.retry', rest) });
    },
    quota(event) {
      const { kind, ...rest } = event;
      const { scope, quota, ...measures } = { scope: undefined, quota: undefined, ...rest };
      const what = quota === undefined ? {} : { 'longtail.quota.kind': quota };
      // Only the kind: the scope's id may be an account name.
      const where = scope === undefined ? {} : { 'longtail.quota.scope': scopeKindOf(scope) };
      if (kind === 'approaching') instruments.approaches.add(1, { ...property, ...where });
      if (kind === 'refused') instruments.refusals.add(1, { ...property, ...what });
      if (kind === 'cooling') instruments.coolings.add(1, { ...property, ...what });
      note(`longtail.quota.${kind}`, { ...named('longtail.quota', measures), ...what, ...where });
    },
    concurrency({ from, to, reason, detail }) {
      note(
        'longtail.concurrency',
        named('longtail.concurrency', { from, to, reason, detail: detail ?? null }),
      );
    },
    fallback({ what, reason }) {
      note('longtail.fallback', named('longtail.fallback', { what, reason }));
    },
    haltStarted(reason) {
      if (haltStartedMs !== undefined) return;
      haltStartedMs = clock.now();
      note('longtail.halt', { 'longtail.halt.reason': reason });
    },
    runEnded(end) {
      run?.setAttributes({
        'longtail.status': end.status,
        'longtail.rows': end.rows,
        'longtail.api_calls': end.apiCalls,
        'longtail.http_calls': end.httpCalls,
        ...(end.reason === undefined ? {} : { 'longtail.reason': end.reason }),
      });
      if (end.status === 'failed') run?.setStatus(failure(end.reason ?? 'failed'));
      endRun(end.status, end.durationMs);
    },
    runThrew(error, durationMs) {
      if (run !== undefined) noteException(run, error);
      endRun('failed', durationMs);
    },
    close() {
      removeGauges?.();
      removeGauges = undefined;
    },
  };

  function startCall(
    call: FetchBatchInput,
    nameOf: (sliceId: string) => SliceKey | undefined = () => undefined,
  ): CallTelemetry {
    const startedMs = clock.now();
    const parent = run === undefined ? context.active() : trace.setSpan(context.active(), run);
    const span = tracer.startSpan(
      'longtail.batch',
      {
        attributes: {
          ...property,
          'longtail.worker.id': call.workerId,
          'longtail.assignment.id': call.assignmentId,
          'longtail.pages': call.pages.length,
        },
      },
      parent,
    );
    // Read now: a slice that has ended is known to nobody any more.
    const names = new Map<string, Attributes>();
    if (span.isRecording()) {
      for (const { sliceId } of call.pages) names.set(sliceId, sliceAttributes(nameOf(sliceId)));
      span.setAttributes(rangeOf(call.pages.map(({ sliceId }) => nameOf(sliceId))));
    }
    return {
      sent(pages) {
        instruments.requests.add(pages, property);
        span.addEvent('longtail.sent');
      },
      page(sliceId, startRow, result, commitMs) {
        const page = {
          'longtail.slice.id': sliceId,
          'longtail.page.start_row': startRow,
          ...names.get(sliceId),
        };
        if (result.kind === 'committed') {
          instruments.pageRows.record(result.rows, property);
          instruments.rows.add(result.rows, property);
        }
        if (!span.isRecording()) return;
        if (result.kind !== 'committed') {
          const { kind, ...rest } = result;
          span.addEvent(`longtail.page.${kind}`, { ...page, ...named('longtail.page', rest) });
          return;
        }
        // Reported after the transaction, so the span begins in the past.
        const nowMs = clock.now();
        tracer
          .startSpan(
            'longtail.page.commit',
            {
              startTime: nowMs - commitMs,
              attributes: {
                ...property,
                ...page,
                'longtail.page.rows': result.rows,
                'longtail.page.next': result.next.kind,
              },
            },
            trace.setSpan(parent, span),
          )
          .end(nowMs);
      },
      stalled: (reason) => {
        span.addEvent('longtail.stalled', { reason });
      },
      ended(outcome) {
        const reason = reasonOf(outcome);
        const attributes = { ...property, 'longtail.call.outcome': outcome.kind };
        span.setAttributes(attributes);
        if (reason !== undefined) span.setStatus(failure(reason));
        span.end();
        instruments.calls.add(1, attributes);
        instruments.callDuration.record((clock.now() - startedMs) / 1_000, attributes);
      },
    };
  }
}

function reasonOf(outcome: CallOutcome): string | undefined {
  switch (outcome.kind) {
    case 'answered':
    case 'aborted':
      return undefined;
    case 'unauthorized':
      return 'the access token was refused';
    case 'failed':
    case 'databaseAway':
      return outcome.reason;
    case 'fatal':
      return outcome.fatal.reason;
  }
}

/** What a slice is, in words instead of its id. */
function sliceAttributes(slice: SliceKey | undefined): Attributes {
  if (slice === undefined) return {};
  return {
    'longtail.slice.search_type': slice.searchType,
    'longtail.slice.dataset': slice.dataset,
    'longtail.slice.date': slice.date,
    ...(slice.part === undefined || slice.part === '' ? {} : { 'longtail.slice.part': slice.part }),
  };
}

/** The datasets of a call's slices, and their first and last day. */
function rangeOf(slices: readonly (SliceKey | undefined)[]): Attributes {
  const known = slices.filter((slice) => slice !== undefined);
  const dates = known.map(({ date }) => date).sort();
  const [first] = dates;
  const last = dates.at(-1);
  if (first === undefined || last === undefined) return {};
  return {
    'longtail.datasets': [...new Set(known.map(({ dataset }) => dataset))].sort(),
    'longtail.from': first,
    'longtail.to': last,
  };
}

const failure = (message: string) => ({ code: SpanStatusCode.ERROR, message });

/** Adds OpenTelemetry's exception event, without the stack: it would reveal paths of the host's machine. */
function noteException(span: Span, error: unknown): void {
  const { name, message } = error instanceof Error ? error : { name: 'Error', message: String(error) };
  span.addEvent('exception', { 'exception.type': name, 'exception.message': message });
  span.setStatus(failure(message));
}

/** `{ delayMs: 5 }` → `{ 'longtail.retry.delay_ms': 5 }`: OpenTelemetry uses snake case. */
function named(
  prefix: string,
  values: Readonly<Record<string, string | number | boolean | null>>,
): Attributes {
  return Object.fromEntries(
    Object.entries(values)
      .filter(([, value]) => value !== null)
      .map(([key, value]) => [
        `${prefix}.${key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}`,
        value ?? undefined,
      ]),
  );
}
