import { describe, expect, test } from 'vitest';
import { displayWidth } from '../../src/report/render.ts';
import {
  jsonOfVerification,
  reportOfVerification,
  summariseVerification,
  verificationLine,
} from '../../src/report/verification.ts';
import type { Difference, VerificationOutcome } from '../../src/sync/verification/types.ts';

const PLAIN = { good: (text: string) => text, bad: (text: string) => text, weak: (text: string) => text };

const CHANGED: Difference = {
  searchType: 'web',
  dataset: 'page+query',
  date: '2026-03-01',
  key: { page: 'https://www.example.com/a_b', query: 'shoes | <b>red</b>' },
  kind: 'changed',
  table: { clicks: 12, impressions: 3_400, position: 3.1 },
  google: { clicks: 13, impressions: 3_400, position: 3.25 },
  fetchedAt: '2026-03-06T04:05:06Z',
  version: 2,
  askedAt: '2026-04-01T10:00:00.000Z',
};
const GONE: Difference = { ...CHANGED, kind: 'missingAtGoogle', searchType: 'image', google: null };
const NEW: Difference = {
  ...CHANGED,
  kind: 'missingInTable',
  table: null,
  google: { clicks: 1, impressions: 1, position: null },
};

const FIGURES = {
  siteUrl: 'sc-domain:example.com',
  from: '2026-01-01',
  to: '2026-03-31',
  dataset: null,
  searchType: null,
  seed: 7,
  sample: 100,
  population: { slices: 180, rows: 1_234_567 },
  daysTooOld: 0,
  drawn: { rows: 90, absent: 10 },
  equal: 100,
  different: 0,
  unanswered: 0,
  skipped: 0,
  notAsked: 0,
  apiCalls: 100,
  httpCalls: 2,
  quotaRefusals: 0,
  durationMs: 4_200,
  differences: [],
  unansweredKeys: [],
  skippedKeys: [],
} as const;
const EQUAL: VerificationOutcome = { status: 'equal', haltReason: null, ...FIGURES };
const DIFFERENT: VerificationOutcome = {
  ...FIGURES,
  status: 'different',
  haltReason: null,
  equal: 95,
  different: 3,
  unanswered: 1,
  skipped: 1,
  daysTooOld: 12,
  differences: [CHANGED, GONE, NEW],
  unansweredKeys: [
    { searchType: 'web', dataset: 'page', date: '2026-03-02', key: { page: 'x' }, reason: 'HTTP 400' },
  ],
  skippedKeys: [{ searchType: 'web', dataset: 'page', date: '2026-03-02', why: 'tooLong' }],
};

describe('for people', () => {
  test('equal', () => {
    expect(summariseVerification(EQUAL, PLAIN, 80)).toBe(
      [
        'Equal: sc-domain:example.com, 2026-01-01 to 2026-03-31',
        '',
        '  Drawn from  1,234,567 rows of 180 final slices',
        '  Drawn       90 rows, 10 keys that the table does not have',
        '  Seed        7',
        '  Result      100 equal, 0 different',
        '  Requests    100 in 2 calls',
        '  Time        4.2 s',
      ].join('\n'),
    );
  });

  test('what differs, by how much, with both dates, in 80 columns', () => {
    const text = summariseVerification(DIFFERENT, PLAIN, 80);
    for (const line of text.split('\n')) expect(displayWidth(line)).toBeLessThanOrEqual(80);
    expect(text).toContain('  2026-03-01 page+query\n    https://www.example.com/a_b · shoes | <b>red</b>\n');
    expect(text).toContain('clicks 12 → 13 (+1), position 3.1 → 3.25 (+0.15)');
    expect(text).toContain('version 2 fetched 2026-03-06 04:05 UTC, Google asked 2026-04-01 10:00 UTC');
    expect(text).toContain('2026-03-01 page+query (image)');
    expect(text).toContain('only in the table: 12 clicks, 3,400 impressions, position 3.1');
    expect(text).toContain('only at Google: 1 click, 1 impression');
    expect(text).toContain('1 × HTTP 400');
    expect(text).toContain('1 key longer than a filter takes');
    expect(text).toContain('12 days that Google no longer has');
  });

  test('many differences are cut short, and say so', () => {
    const text = summariseVerification(
      { ...DIFFERENT, differences: Array.from({ length: 13 }, () => GONE) },
      PLAIN,
      80,
    );
    expect(text).toContain('and 3 more');
  });

  test('a line of progress', () => {
    const progress = { done: 10, drawn: 100, different: 1, apiCalls: 12, httpCalls: 1, elapsedMs: 5 };
    expect(verificationLine({ ...progress, state: 'asking' })).toBe(
      'Asking Google: 10 of 100 keys, 1 different',
    );
    expect(verificationLine({ ...progress, state: 'drawing', drawn: 0 })).toBe('Drawing the sample …');
  });
});

test('the report has every difference, and nothing of a key is markup', () => {
  const text = reportOfVerification(DIFFERENT, '2026-04-01');
  expect(text).toContain('# Verification\n\n**Different: sc-domain:example.com, 2026-01-01 to 2026-03-31**');
  expect(text).toContain('Made on 2026-04-01.');
  expect(text).toContain('| Seed | 7 |');
  const rows = text.split('\n').filter((line) => line.startsWith('| 2026-03-01'));
  expect(rows).toHaveLength(3);
  expect(rows[0]).toBe(
    '| 2026-03-01 page+query | https://www.example.com/a\\_b · shoes \\| \\<b\\>red\\</b\\> | clicks 12 → 13 (+1), position 3.1 → 3.25 (+0.15) | version 2, 2026-03-06 04:05 UTC | 2026-04-01 10:00 UTC |',
  );
  expect(text).toContain('## Without an answer');
  expect(reportOfVerification(EQUAL, '2026-04-01')).not.toContain('What differs');
});

test('JSON has exactly the fields of the contract', () => {
  const parsed: unknown = JSON.parse(jsonOfVerification(DIFFERENT));
  expect(parsed).toEqual(DIFFERENT);
  const failure = { code: 'FORBIDDEN', message: 'no', nextStep: 'ask' } as const;
  const failed: VerificationOutcome = { ...FIGURES, status: 'failed', haltReason: null, failure };
  expect(JSON.parse(jsonOfVerification(failed))).toMatchObject({ status: 'failed', failure });
});
