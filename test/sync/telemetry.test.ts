import { describe, expect, it } from 'vitest';
import { createTelemetry } from '../../src/sync/telemetry.ts';

/** What goes to a collector is in test/cli/telemetry.test.ts, from a real run. */
describe('without an SDK', () => {
  const RUN = {
    runId: '1',
    from: '2026-05-01',
    to: '2026-05-31',
    datasets: ['page'],
    searchTypes: ['web'],
    maxConcurrency: 3,
    batchSize: 50,
  };
  const CALL = {
    workerId: 'w',
    assignmentId: 'a',
    leaseId: 'l',
    scopes: [],
    pages: [],
    maxAttempts: 5,
    blame: 'call',
  } as const;

  it('everything may be told, in any order, and nothing is read', () => {
    const telemetry = createTelemetry('sc-domain:example.com');
    const unasked = telemetry.callStarted(CALL);
    unasked.sent(1);
    telemetry.runStarted(RUN, () => {
      throw new Error('nobody collects metrics');
    });
    const call = telemetry.callStarted(CALL);
    call.page('s', 0, { kind: 'committed', rows: 3, next: { kind: 'sealed' } }, 5);
    call.page('s', 0, { kind: 'refused', quota: 'qps', retryAfterMs: null }, 0);
    call.ended({ kind: 'fatal', fatal: { code: 'FORBIDDEN', reason: 'no' } });
    telemetry.retried({ kind: 'pages', pages: 2, delayMs: 5 });
    telemetry.quota({ kind: 'approaching', scope: 'site:x', used: 8, limit: 10 });
    telemetry.concurrency({ from: 3, to: 4, reason: 'slowStart' });
    telemetry.haltStarted('asked');
    telemetry.sliceEnded('complete');
    telemetry.runEnded({ status: 'halted', durationMs: 5, rows: 3, apiCalls: 1, httpCalls: 1 });
    unasked.ended({ kind: 'aborted' });
    telemetry.runThrew(new Error('late'), 5);
  });

  it('closing reads the gauges once, and survives that they cannot be read', () => {
    const telemetry = createTelemetry('sc-domain:example.com');
    let reads = 0;
    telemetry.runStarted(RUN, () => {
      reads += 1;
      throw new Error('the run is over');
    });
    telemetry.close();
    telemetry.close();
    expect(reads).toBe(1);
  });
});
