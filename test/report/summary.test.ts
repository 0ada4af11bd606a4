import { describe, expect, it } from 'vitest';
import { EXIT, exitCodeOfOutcome } from '../../src/cli/process/exit-code.ts';
import { describeDryRun, jsonOf, summarise } from '../../src/report/summary.ts';
import { COMPLETE, failed, halted, WITH_FAILURES } from '../cli/support/outcome.ts';

const same = (text: string): string => text;
const words = (outcome: Parameters<typeof summarise>[0]): string =>
  summarise(outcome, { good: same, bad: same, weak: same });

describe('the exit code', () => {
  it.each([
    ['complete', COMPLETE, 0],
    ['failed slices', WITH_FAILURES, 3],
    ['forbidden', failed('FORBIDDEN'), 1],
    ['a missing file', failed('NO_CREDENTIALS'), EXIT.usage],
    ['a signal', halted({ kind: 'asked', reason: 'SIGINT' }), 130],
    ['the minute’s quota', halted({ kind: 'quota', quota: 'qps' }), 75],
    ['the load quota', halted({ kind: 'quota', quota: 'load' }), 75],
    ['the day’s quota', halted({ kind: 'quota', quota: 'daily' }), 75],
    ['too many failed calls', halted({ kind: 'callFailures', reason: 'reset' }), 1],
    ['no database', halted({ kind: 'databaseAway', reason: 'refused' }), 1],
  ])('of %s', (_, outcome, code) => expect(exitCodeOfOutcome(outcome)).toBe(code));
});

describe('the JSON object', () => {
  const FIELDS =
    'status siteUrl from to slices rows apiCalls httpCalls retries quotaRefusals durationMs peakRssBytes haltReason failures notServed';

  it.each([[COMPLETE], [WITH_FAILURES], [failed('FORBIDDEN')], [halted({ kind: 'quota', quota: 'daily' })]])(
    'has the fields of the contract and no others',
    (outcome) => {
      const parsed = JSON.parse(jsonOf(outcome)) as Record<string, unknown>;
      expect(Object.keys(parsed)).toEqual(FIELDS.split(' '));
      expect(Object.keys(parsed.slices as object)).toEqual(['planned', 'complete', 'failed', 'empty']);
      expect(parsed.status).toBe(outcome.status);
      expect(jsonOf(outcome)).not.toContain('\n');
    },
  );

  it('names each failed slice', () => {
    const { failures } = JSON.parse(jsonOf(WITH_FAILURES)) as { failures: object[] };
    expect(failures).toHaveLength(5);
    expect(failures[0]).toEqual({
      dataset: 'page+query',
      date: '2026-05-04',
      reason: 'HTTP 500 backendError',
    });
    expect(failures[4]).toEqual({ dataset: 'page', date: '2026-05-09', reason: 'image: it shrank' });
  });
});

describe('the summary', () => {
  it('says all of it', () => {
    expect(words(COMPLETE)).toBe(
      [
        'Complete: sc-domain:example.com, 2026-05-01 to 2026-05-31',
        '',
        '  Days      31',
        '  Slices    62 of 62 complete, 4 of them empty',
        '  Rows      1,234,567',
        '  Requests  63 in 3 calls, 0 retries',
        '  Time      41.0 s',
        '  Memory    150 MB at the peak',
      ].join('\n'),
    );
  });

  it('groups failures by reason, the most common first, and names the first few', () => {
    expect(words(WITH_FAILURES)).toContain(
      [
        '5 slices failed:',
        '  4 × HTTP 500 backendError',
        '    2026-05-04 page+query, 2026-05-03 page+query, 2026-05-02 page+query, and 1 more',
        '  1 × it shrank',
        '    2026-05-09 page',
        '',
        'Run the same command again: it tries those slices alone.',
      ].join('\n'),
    );
  });

  it.each([
    ['daily', 'Run the same command again tomorrow'],
    ['load', 'Run the same command again in an hour'],
    ['qps', 'Run the same command again in a few minutes'],
  ] as const)('says when to come back after %s', (quota, next) => {
    expect(words(halted({ kind: 'quota', quota }))).toContain(next);
  });

  it('lets nothing from outside move the cursor', () => {
    const outcome = {
      ...WITH_FAILURES,
      failures: [{ ...WITH_FAILURES.failures[0], reason: 'bad\u001b[2J' }],
    };
    expect(words(outcome as typeof WITH_FAILURES)).not.toContain('\u001b');
  });
});

describe('a dry run', () => {
  const plan = {
    siteUrl: 'sc-domain:example.com',
    from: '2026-05-01',
    to: '2026-05-31',
    slicesPlanned: 62,
    slicesToFetch: 60,
    apiCalls: 61,
    httpCalls: 2,
    durationMs: 60_000,
  };

  it('says what it would take', () => {
    expect(describeDryRun(plan, 60)).toContain(
      [
        '  Days             31',
        '  Slices to fetch  60 of 62',
        '  Requests         61 at least, in 2 calls',
        '  Time             1 min at least, at 60 requests a minute',
      ].join('\n'),
    );
  });

  it('says so when all is there', () => {
    const nothing = { ...plan, slicesToFetch: 0, apiCalls: 0, httpCalls: 0, durationMs: 0 };
    expect(describeDryRun(nothing, 60)).toContain('All of it is there already.');
  });
});
