/** The metrics `longtail.*`. Their names are a public contract: dashboards depend on them. */
import type { Attributes, BatchObservableCallback, Meter, Observable } from '@opentelemetry/api';
import { scopeKindOf } from '../machines/rate-limiter/quota-window.ts';

/** A budget over a window as long as this, or longer, is called `daily`. */
const DAY_MS = 86_400_000;

/** The run's state at one moment. Read only when metrics are collected. */
export interface GaugeReading {
  /** Unassigned pages, including those of delayed groups. */
  readonly pagesWaiting: number;
  /** Pages whose call is in flight. */
  readonly pagesInFlight: number;
  /** Workers by state, such as `{ idle: 1, busy: 2 }`. */
  readonly workers: Readonly<Record<string, number>>;
  readonly budgets: readonly {
    readonly scope: string;
    /** Tokens in the current window. */
    readonly spent: number;
    readonly limit: number;
    readonly windowMs: number;
  }[];
}

/** Counters and histograms. All have the attribute `longtail.property`. */
export function createInstruments(meter: Meter) {
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
      description: 'Retried pages, calls, database probes and workers.',
    }),
    approaching: meter.createCounter('longtail.quota.approaching', {
      unit: '{event}',
      description: 'Times a budget reached 80 % of its limit.',
    }),
    refused: meter.createCounter('longtail.quota.refused', {
      unit: '{refusal}',
      description: 'Requests refused by Google because a quota was exceeded.',
    }),
    haltDuration: meter.createHistogram('longtail.halt.duration', {
      unit: 's',
      description: 'From the halt request to the end of the run.',
    }),
  };
}

/**
 * Registers the gauges, which call `read` at every collection. Returns a function that ends them: it keeps the last reading
 * for one more collection, so that a run shorter than the collection interval is still visible.
 */
export function observeGauges(meter: Meter, property: Attributes, read: () => GaugeReading): () => void {
  const queue = meter.createObservableGauge('longtail.queue.size', {
    unit: '{page}',
    description: 'Pages waiting to be fetched.',
  });
  const inFlight = meter.createObservableGauge('longtail.pages.in_flight', {
    unit: '{page}',
    description: 'Pages whose call is in flight.',
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
  let last: GaugeReading | undefined;
  const callback: BatchObservableCallback = (result) => {
    const { pagesWaiting, pagesInFlight, workers: byState, budgets } = last ?? read();
    // Deferred: the SDK is iterating over its callbacks.
    if (last !== undefined) queueMicrotask(() => meter.removeBatchObservableCallback(callback, gauges));
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
  return () => {
    try {
      last ??= read();
    } catch {
      // The run is over; a failing gauge must not cause an error.
      meter.removeBatchObservableCallback(callback, gauges);
    }
  };
}
