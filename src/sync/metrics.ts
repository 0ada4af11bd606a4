/**
 * The metrics `longtail.*` of runs. Their names are a public contract: dashboards and alerts depend on them.
 *
 * Where the unit is seconds or bytes it ends the name. The SDK's Prometheus exporter adds no unit and the collector adds
 * one that is missing, so a series has the same name whichever way it takes.
 */
import type { Attributes, BatchObservableCallback, Meter, Observable } from '@opentelemetry/api';
import { QUOTA_KINDS } from '../domain/quota-kind.ts';
import type { WorkerStatus } from '../machines/coordinator/dispatch.ts';
import { scopeKindOf } from '../machines/rate-limiter/quota-window.ts';
import { PROGRESS_STATES, type ProgressState, RETRY_KINDS } from './types.ts';

/** How a call ended, as the attribute `longtail.call.outcome`. */
const CALL_OUTCOMES = ['answered', 'aborted', 'failed', 'unauthorized', 'databaseAway', 'fatal'] as const;
/** How a run ended, as the attribute `longtail.run.outcome`. */
export const RUN_OUTCOMES = ['complete', 'completeWithFailures', 'halted', 'failed'] as const;
/** How a slice ended, as the attribute `longtail.slice.outcome`. */
const SLICE_OUTCOMES = ['complete', 'failed', 'notPublished', 'notServed'] as const;
const WORKER_STATES = [
  'idle',
  'busy',
  'stalled',
  'retrying',
  'backingOff',
  'reaping',
  'halted',
] as const satisfies readonly WorkerStatus[];

/** The run's state at one moment. Read only when metrics are collected. */
export interface GaugeReading {
  readonly state: ProgressState;
  /** Of the whole range; 0 until the plan is known. */
  readonly slicesPlanned: number;
  readonly slicesDone: number;
  /** Unassigned pages, including those of delayed groups. */
  readonly pagesWaiting: number;
  /** Pages whose call is in flight. */
  readonly pagesInFlight: number;
  /** Maximum concurrent calls, now. */
  readonly maxConcurrency: number;
  /** Workers by state, such as `{ idle: 1, busy: 2 }`. */
  readonly workers: Readonly<Record<string, number>>;
  readonly budgets: readonly {
    readonly scope: string;
    /** Tokens in the current window. */
    readonly spent: number;
    readonly limit: number;
    readonly windowMs: number;
  }[];
  /** Resident memory of the process. */
  readonly memoryBytes: number;
}

export type Instruments = ReturnType<typeof createInstruments>;

/** Counters and histograms. All have the attribute `longtail.property`. */
export function createInstruments(meter: Meter) {
  return {
    calls: meter.createCounter('longtail.calls', {
      unit: '{call}',
      description: 'HTTP calls that ended, by outcome.',
    }),
    callDuration: meter.createHistogram('longtail.call.duration.seconds', {
      unit: 's',
      description: 'From the start of a call to the commit of its last page.',
      advice: { explicitBucketBoundaries: [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300] },
    }),
    requests: meter.createCounter('longtail.requests', {
      unit: '{request}',
      description: 'Requests sent to Google: pages, calendars and probes. Each counts against the quota.',
    }),
    rows: meter.createCounter('longtail.rows', { unit: '{row}', description: 'Rows committed.' }),
    pageRows: meter.createHistogram('longtail.page.rows', {
      unit: '{row}',
      description: 'Rows of a committed page.',
      advice: { explicitBucketBoundaries: [0, 1, 10, 100, 1_000, 5_000, 10_000, 20_000, 24_999, 25_000] },
    }),
    slices: meter.createCounter('longtail.slices', {
      unit: '{slice}',
      description: 'Slices that ended in a run, by outcome.',
    }),
    retries: meter.createCounter('longtail.retries', {
      unit: '{retry}',
      description: 'Retried pages, calls, database probes, probes of Google and workers, by kind.',
    }),
    approaches: meter.createCounter('longtail.quota.approaches', {
      unit: '{event}',
      description: 'Times a budget reached 80 % of its limit.',
    }),
    refusals: meter.createCounter('longtail.quota.refusals', {
      unit: '{refusal}',
      description: 'Requests refused by Google because a quota was exceeded.',
    }),
    coolings: meter.createCounter('longtail.quota.coolings', {
      unit: '{event}',
      description: 'Times no request went out for a while because of a refusal.',
    }),
    runs: meter.createCounter('longtail.runs', {
      unit: '{run}',
      description: 'Runs that ended, by outcome.',
    }),
    runDuration: meter.createHistogram('longtail.run.duration.seconds', {
      unit: 's',
      description: 'From the start of a run to its end.',
      advice: { explicitBucketBoundaries: [1, 5, 15, 60, 300, 900, 3_600, 10_800, 36_000, 86_400] },
    }),
    lastSuccess: meter.createGauge('longtail.last_success.timestamp.seconds', {
      unit: 's',
      description: 'When a run of this process last ended as complete, in seconds since 1970.',
    }),
    haltDuration: meter.createHistogram('longtail.halt.duration.seconds', {
      unit: 's',
      description: 'From the halt request to the end of the run.',
      advice: { explicitBucketBoundaries: [0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 600] },
    }),
    lateHalts: meter.createCounter('longtail.halt.overruns', {
      unit: '{halt}',
      description: 'Halts that took longer than their deadline.',
    }),
  };
}

/** Makes the counters exist before the first event: `increase()` sees only what follows a first value. */
export function startAtZero(instruments: Instruments, property: Attributes): void {
  const { calls, requests, rows, slices, retries, approaches, refusals, coolings, runs } = instruments;
  for (const counter of [requests, rows, instruments.lateHalts]) counter.add(0, property);
  for (const outcome of CALL_OUTCOMES) calls.add(0, { ...property, 'longtail.call.outcome': outcome });
  for (const outcome of SLICE_OUTCOMES) slices.add(0, { ...property, 'longtail.slice.outcome': outcome });
  for (const outcome of RUN_OUTCOMES) runs.add(0, { ...property, 'longtail.run.outcome': outcome });
  for (const kind of RETRY_KINDS) retries.add(0, { ...property, 'longtail.retry.kind': kind });
  for (const scope of ['site', 'user', 'project'])
    approaches.add(0, { ...property, 'longtail.quota.scope': scope });
  for (const kind of QUOTA_KINDS) {
    refusals.add(0, { ...property, 'longtail.quota.kind': kind });
    coolings.add(0, { ...property, 'longtail.quota.kind': kind });
  }
}

/**
 * Registers the gauges, which call `read` at every collection. Returns a function that ends them: it keeps the last reading
 * for one more collection, so that a run shorter than the collection interval is still visible.
 */
export function observeGauges(meter: Meter, property: Attributes, read: () => GaugeReading): () => void {
  const gauge = (name: string, unit: string, description: string) =>
    meter.createObservableGauge(name, { unit, description });
  const state = gauge('longtail.run.state', '1', 'Whether the run is in this state: 1 or 0.');
  const planned = gauge('longtail.slices.planned', '{slice}', 'Slices of the range.');
  const done = gauge('longtail.slices.done', '{slice}', 'Slices of the range that need no call any more.');
  const waiting = gauge('longtail.pages.waiting', '{page}', 'Pages waiting to be fetched.');
  const inFlight = gauge('longtail.pages.in_flight', '{page}', 'Pages whose call is in flight.');
  const level = gauge('longtail.concurrency', '{call}', 'Maximum concurrent calls.');
  const workers = gauge('longtail.workers', '{worker}', 'Batch workers, by state.');
  const used = gauge('longtail.quota.used', '{request}', 'Requests that count against a budget now.');
  const limit = gauge('longtail.quota.limit', '{request}', 'Requests that a budget allows in its window.');
  const memory = gauge('longtail.memory.bytes', 'By', 'Resident memory of the process.');
  const gauges: Observable[] = [state, planned, done, waiting, inFlight, level, workers, used, limit, memory];
  let last: GaugeReading | undefined;
  const callback: BatchObservableCallback = (result) => {
    const reading = last ?? read();
    // Deferred: the SDK is iterating over its callbacks.
    if (last !== undefined) queueMicrotask(() => meter.removeBatchObservableCallback(callback, gauges));
    for (const name of PROGRESS_STATES) {
      result.observe(state, reading.state === name ? 1 : 0, { ...property, 'longtail.run.state': name });
    }
    result.observe(planned, reading.slicesPlanned, property);
    result.observe(done, reading.slicesDone, property);
    result.observe(waiting, reading.pagesWaiting, property);
    result.observe(inFlight, reading.pagesInFlight, property);
    result.observe(level, reading.maxConcurrency, property);
    for (const name of WORKER_STATES) {
      result.observe(workers, reading.workers[name] ?? 0, { ...property, 'longtail.worker.state': name });
    }
    // Of two budgets with one window the fullest is told: the last one counts.
    for (const budget of reading.budgets.toSorted((a, b) => a.spent / a.limit - b.spent / b.limit)) {
      const attributes = {
        ...property,
        // Only the kind: the scope's id may be an account name.
        'longtail.quota.scope': scopeKindOf(budget.scope),
        'longtail.quota.window': `${budget.windowMs / 1_000}s`,
      };
      result.observe(used, budget.spent, attributes);
      result.observe(limit, budget.limit, attributes);
    }
    result.observe(memory, reading.memoryBytes, property);
  };
  meter.addBatchObservableCallback(callback, gauges);
  return () => {
    try {
      last ??= read();
    } catch {
      // The run is over; a failing gauge must not cause an error.
      meter.removeBatchObservableCallback(callback, gauges);
    }
  };
}
