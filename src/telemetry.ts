/**
 * What a synchronisation tells OpenTelemetry: a span a run, a batch and a page commit, and the metrics `longtail.*`.
 *
 * The library speaks the API alone. Where the host (or the command line) has set up no SDK, every call here ends in the
 * API's own no-ops, and the gauges are never read. Nothing here throws, and nothing here is read by the run: it only tells.
 * Spans get their parents by hand, so no context manager is needed; the run's parent is whatever span is active when it starts.
 */
import {
  type Attributes,
  type BatchObservableCallback,
  context,
  type Meter,
  metrics,
  type Observable,
  type Span,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';
import type { CommitResult } from './db/types.ts';
import { type Clock, systemClock } from './domain/clock.ts';
import type { CallOutcome, QuotaKind } from './machines/messages.ts';
import { scopeKindOf } from './machines/quota-window.ts';

/** The name that spans and metrics come under. */
const SCOPE = 'longtail';
/** Of a budget's window: as long as this or longer, and it is called `daily`. */
const DAY_MS = 86_400_000;

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
  readonly status: 'complete' | 'completeWithFailures' | 'halted' | 'failed';
  /** One line: why it was halted, or failed. */
  readonly reason?: string;
  readonly rows: number;
  readonly apiCalls: number;
  readonly httpCalls: number;
}

/** The run's state at one moment. Read when metrics are collected, and at no other time. */
export interface GaugeReading {
  /** Pages that wait to be assigned, those of delayed groups included. */
  readonly pagesWaiting: number;
  /** Pages whose call is under way. */
  readonly pagesInFlight: number;
  /** Workers by state, such as `{ idle: 1, busy: 2 }`. */
  readonly workers: Readonly<Record<string, number>>;
  readonly budgets: readonly {
    readonly scope: string;
    /** Tokens that count now. */
    readonly spent: number;
    readonly limit: number;
    readonly windowMs: number;
  }[];
}

/** Something that is tried again, or that tokens are waited for because of. */
export type Retry =
  | { readonly kind: 'pages'; readonly pages: number; readonly delayMs: number }
  | { readonly kind: 'call'; readonly reason: string; readonly inARow: number }
  | { readonly kind: 'database'; readonly reason: string }
  | { readonly kind: 'worker'; readonly workerId: string };

/** A page of the batch that brought no rows. */
export type PageTrouble =
  | { readonly kind: 'failed'; readonly reason: string; readonly final: boolean }
  | { readonly kind: 'refused'; readonly quota: QuotaKind };

export interface PageName {
  readonly sliceId: string;
  readonly startRow: number;
}

/** One call and what came of it. */
export interface BatchTelemetry {
  /** Runs a page's transaction in a span of its own, and returns what it returned. */
  commit(
    page: PageName & { readonly rows: number },
    work: () => Promise<CommitResult>,
  ): Promise<CommitResult>;
  pageTrouble(page: PageName, trouble: PageTrouble): void;
  /** Exactly once, when the call has ended. */
  ended(outcome: CallOutcome): void;
}

/** The reporter of one property. Every method may be called at any time; before a run has started they count without a span. */
export interface Telemetry {
  /** `read` is called at every collection of metrics from now until {@link Telemetry.close}. */
  runStarted(run: RunStart, read: () => GaugeReading): void;
  batchStarted(batch: {
    readonly workerId: string;
    readonly assignmentId: string;
    readonly pages: number;
  }): BatchTelemetry;
  retried(retry: Retry): void;
  quotaApproaching(scope: string, used: number, limit: number): void;
  quotaRefused(quota: QuotaKind): void;
  quotaLowered(scope: string, limit: number): void;
  quotaCooling(quota: QuotaKind, coolingMs: number): void;
  /** A halt was asked for; its duration ends with the run. The first call counts. */
  haltStarted(reason: string): void;
  runEnded(end: RunEnd): void;
  /** The run broke off by an exception. Instead of `runEnded`. */
  runThrew(error: unknown): void;
  /** Takes the gauges back. After the last metrics were collected, so at the very end. */
  close(): void;
}

/** @param siteUrl the property, on every span and metric as `longtail.property`. */
export function createTelemetry(siteUrl: string, clock: Clock = systemClock): Telemetry {
  const tracer = trace.getTracer(SCOPE);
  const property: Attributes = { 'longtail.property': siteUrl };
  const meter = metrics.getMeter(SCOPE);
  const instruments = createInstruments(meter);
  let run: Span | undefined;
  let haltStartedMs: number | undefined;
  let removeGauges: (() => void) | undefined;

  const note = (event: string, attributes: Attributes): void => {
    if (run?.isRecording() === true) run.addEvent(event, attributes);
  };
  const endRun = (): void => {
    run?.end();
    run = undefined;
    if (haltStartedMs === undefined) return;
    instruments.haltDuration.record((clock.now() - haltStartedMs) / 1000, property);
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
      removeGauges?.();
      removeGauges = observe(meter, property, read);
    },
    batchStarted: (batch) => startBatch(batch),
    retried(retry) {
      const { kind, ...rest } = retry;
      const count = retry.kind === 'pages' ? retry.pages : 1;
      instruments.retries.add(count, { ...property, 'longtail.retry.kind': kind });
      note('longtail.retry', { 'longtail.retry.kind': kind, ...named('longtail.retry', rest) });
    },
    quotaApproaching(scope, used, limit) {
      const where = { 'longtail.quota.scope': scopeKindOf(scope) };
      instruments.approaching.add(1, { ...property, ...where });
      note('longtail.quota.approaching', {
        ...where,
        'longtail.quota.used': used,
        'longtail.quota.limit': limit,
      });
    },
    quotaRefused(quota) {
      instruments.refused.add(1, { ...property, 'longtail.quota.kind': quota });
      note('longtail.quota.refused', { 'longtail.quota.kind': quota });
    },
    quotaLowered: (scope, limit) =>
      note('longtail.quota.lowered', {
        'longtail.quota.scope': scopeKindOf(scope),
        'longtail.quota.limit': limit,
      }),
    quotaCooling: (quota, coolingMs) =>
      note('longtail.quota.cooling', {
        'longtail.quota.kind': quota,
        'longtail.quota.cooling_ms': coolingMs,
      }),
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
      endRun();
    },
    runThrew(error) {
      if (run !== undefined) noteException(run, error);
      endRun();
    },
    close() {
      removeGauges?.();
      removeGauges = undefined;
    },
  };

  function startBatch(batch: { workerId: string; assignmentId: string; pages: number }): BatchTelemetry {
    const startedMs = clock.now();
    const span = tracer.startSpan(
      'longtail.batch',
      {
        attributes: {
          ...property,
          'longtail.worker.id': batch.workerId,
          'longtail.assignment.id': batch.assignmentId,
          'longtail.pages': batch.pages,
        },
      },
      run === undefined ? context.active() : trace.setSpan(context.active(), run),
    );
    return {
      async commit(page, work) {
        const within = trace.setSpan(context.active(), span);
        const commit = tracer.startSpan(
          'longtail.page.commit',
          { attributes: { ...property, ...pageAttributes(page), 'longtail.page.rows': page.rows } },
          within,
        );
        try {
          const result = await context.with(trace.setSpan(within, commit), work);
          commit.setAttribute('longtail.page.result', result.kind);
          if ('reason' in result) commit.setStatus(failure(result.reason));
          else instruments.pageRows.record(result.rows, property);
          return result;
        } catch (error) {
          noteException(commit, error);
          throw error;
        } finally {
          commit.end();
        }
      },
      pageTrouble(page, trouble) {
        if (!span.isRecording()) return;
        const { kind, ...rest } = trouble;
        span.addEvent(`longtail.page.${kind}`, { ...pageAttributes(page), ...named('longtail.page', rest) });
      },
      ended(outcome) {
        const reason = reasonOf(outcome);
        span.setAttribute('longtail.batch.outcome', outcome.kind);
        if (reason !== undefined) span.setStatus(failure(reason));
        span.end();
        instruments.batchDuration.record((clock.now() - startedMs) / 1000, {
          ...property,
          'longtail.batch.outcome': outcome.kind,
        });
      },
    };
  }
}

function createInstruments(meter: Meter) {
  return {
    batchDuration: meter.createHistogram('longtail.batch.duration', {
      unit: 's',
      description: 'From the start of a call to the commit of its last page.',
    }),
    pageRows: meter.createHistogram('longtail.page.rows', {
      unit: '{row}',
      description: 'Rows of a committed page.',
      advice: { explicitBucketBoundaries: [0, 1, 10, 100, 1_000, 5_000, 10_000, 20_000, 24_999, 25_000] },
    }),
    retries: meter.createCounter('longtail.retries', {
      unit: '{retry}',
      description: 'Pages, calls, database probes and workers tried again.',
    }),
    approaching: meter.createCounter('longtail.quota.approaching', {
      unit: '{event}',
      description: 'Times that a budget came to 80 % of its limit.',
    }),
    refused: meter.createCounter('longtail.quota.refused', {
      unit: '{refusal}',
      description: 'Refusals by Google for want of quota.',
    }),
    haltDuration: meter.createHistogram('longtail.halt.duration', {
      unit: 's',
      description: 'From the halt asked for to the end of the run.',
    }),
  };
}

/** The gauges, fed by `read` at every collection. Returns what takes them back. */
function observe(meter: Meter, property: Attributes, read: () => GaugeReading): () => void {
  const queue = meter.createObservableGauge('longtail.queue.size', {
    unit: '{page}',
    description: 'Pages that wait to be fetched.',
  });
  const inFlight = meter.createObservableGauge('longtail.pages.in_flight', {
    unit: '{page}',
    description: 'Pages whose call is under way.',
  });
  const workers = meter.createObservableGauge('longtail.workers', {
    unit: '{worker}',
    description: 'Batch workers, by state.',
  });
  const used = meter.createObservableGauge('longtail.quota.used', {
    unit: '{request}',
    description: 'Requests that count against a limit now.',
  });
  const gauges: Observable[] = [queue, inFlight, workers, used];
  const callback: BatchObservableCallback = (result) => {
    const { pagesWaiting, pagesInFlight, workers: byState, budgets } = read();
    result.observe(queue, pagesWaiting, property);
    result.observe(inFlight, pagesInFlight, property);
    for (const [state, count] of Object.entries(byState)) {
      result.observe(workers, count, { ...property, 'longtail.worker.state': state });
    }
    for (const budget of budgets) {
      result.observe(used, budget.spent, {
        ...property,
        'longtail.quota.scope': scopeKindOf(budget.scope),
        'longtail.quota.kind': budget.windowMs >= DAY_MS ? 'daily' : 'qps',
        'longtail.quota.limit': budget.limit,
      });
    }
  };
  meter.addBatchObservableCallback(callback, gauges);
  return () => meter.removeBatchObservableCallback(callback, gauges);
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

const failure = (message: string) => ({ code: SpanStatusCode.ERROR, message });

/** The event that OpenTelemetry has for an exception, without the stack: paths of the host's machine are its own. */
function noteException(span: Span, error: unknown): void {
  const { name, message } = error instanceof Error ? error : { name: 'Error', message: String(error) };
  span.addEvent('exception', { 'exception.type': name, 'exception.message': message });
  span.setStatus(failure(message));
}

const pageAttributes = (page: PageName): Attributes => ({
  'longtail.slice.id': page.sliceId,
  'longtail.page.start_row': page.startRow,
});

/** `{ delayMs: 5 }` → `{ 'longtail.retry.delay_ms': 5 }`: OpenTelemetry writes names in snake case. */
function named(prefix: string, values: Readonly<Record<string, string | number | boolean>>): Attributes {
  return Object.fromEntries(
    Object.entries(values).map(([key, value]) => [
      `${prefix}.${key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}`,
      value,
    ]),
  );
}
