import type { HaltReason } from '../../../src/machines/messages.ts';
import type { Outcome, Progress, RunFigures } from '../../../src/sync/types.ts';

export const FIGURES: RunFigures = {
  siteUrl: 'sc-domain:example.com',
  from: '2026-05-01',
  to: '2026-05-31',
  slices: { planned: 62, complete: 62, failed: 0, empty: 4 },
  rows: 1_234_567,
  apiCalls: 63,
  httpCalls: 3,
  retries: 0,
  quotaRefusals: 0,
  durationMs: 41_000,
  peakRssBytes: 150_000_000,
  failures: [],
  notServed: [],
};

export const COMPLETE: Outcome = { ...FIGURES, status: 'complete', haltReason: null };

export function halted(haltReason: HaltReason): Outcome {
  return { ...FIGURES, status: 'halted', haltReason, slices: { ...FIGURES.slices, complete: 40 } };
}

export function failed(code: Extract<Outcome, { status: 'failed' }>['failure']['code']): Outcome {
  return {
    ...FIGURES,
    status: 'failed',
    haltReason: null,
    failure: { code, message: 'It is forbidden.', nextStep: 'Ask for it.' },
  };
}

export const WITH_FAILURES: Outcome = {
  ...FIGURES,
  status: 'completeWithFailures',
  haltReason: null,
  slices: { planned: 62, complete: 57, failed: 5, empty: 4 },
  failures: [
    ...['2026-05-04', '2026-05-03', '2026-05-02', '2026-05-01'].map((date) => ({
      searchType: 'web' as const,
      dataset: 'page+query',
      date,
      reason: 'HTTP 500 backendError',
    })),
    { searchType: 'image', dataset: 'page', date: '2026-05-09', reason: 'it shrank' },
  ],
};

export const PROGRESS: Progress = {
  state: 'fetching',
  slicesDone: 31,
  slicesPlanned: 62,
  daysDone: 15,
  daysPlanned: 31,
  rows: 600_000,
  rowsPerSecond: 30_000,
  apiCalls: 32,
  httpCalls: 2,
  retries: 1,
  quotaRefusals: 0,
  quotaUsed: 32,
  quotaLimit: 1_200,
  pagesInFlight: 20,
  pagesWaiting: 11,
  maxConcurrency: 3,
  isAuto: false,
  elapsedMs: 20_000,
  remainingMs: 21_000,
};
