import { describe, expect, it, test } from 'vitest';
import {
  ALL_DATASETS,
  notServedOf,
  oldestDayOf,
  parseDataset,
  parseDatasets,
  withFirstSteps,
} from '../../src/domain/dataset.ts';
import { checkFilter, parseFilter, selectionKey } from '../../src/domain/filter.ts';
import { fixedBy, groupedBy, partOf } from '../../src/domain/part.ts';
import { SEARCH_TYPES } from '../../src/domain/slice.ts';

describe('a dataset’s name', () => {
  it.each([
    ['query+page', 'page+query'],
    ['hour+page', 'page+hour'],
    ['searchAppearance+query+page', 'page+query+searchAppearance'],
    [' hour + searchAppearance + page ', 'page+searchAppearance+hour'],
  ])('%s is %s', (written, dataset) => {
    expect(parseDataset(written)).toEqual({ dataset });
  });

  it.each([
    ['pages', 'page'],
    ['Page', 'page'],
    ['url', 'page'],
    ['qurey', 'query'],
    ['queries', 'query'],
    ['contry', 'country'],
    ['search_appearance', 'searchAppearance'],
    ['totals', 'date'],
    ['pages+keywords', 'page+query'],
  ])('%s: did you mean %s?', (written, meant) => {
    expect(parseDataset(written)).toEqual({
      problem: expect.stringMatching(`did you mean "${meant.replaceAll('+', '\\+')}"\\?`),
    });
  });

  it.each(['page+date', 'pages+page', 'clicks', 'page+x'])('%s: what there is', (written) => {
    expect(parseDataset(written)).toEqual({ problem: expect.stringContaining('joined by "+"') });
  });

  it('every name of "all" is its own', () => {
    expect(parseDatasets(['all', 'page', 'page+hour'])).toEqual({ datasets: ALL_DATASETS });
    for (const name of ALL_DATASETS) expect(parseDataset(name)).toEqual({ dataset: name });
  });
});

test('what is requested in two steps brings its first step along, once', () => {
  expect(withFirstSteps(['page+searchAppearance', 'query+searchAppearance', 'page'])).toEqual([
    'page+searchAppearance',
    'searchAppearance',
    'query+searchAppearance',
    'page',
  ]);
});

test('hours reach back ten days, today included; nothing else is limited', () => {
  expect(oldestDayOf('page+hour', '2026-06-10')).toBe('2026-06-01');
  expect(oldestDayOf('page', '2026-06-10')).toBe(null);
});

test('every type has some of "all"', () => {
  for (const type of SEARCH_TYPES)
    expect(notServedOf([type], ALL_DATASETS).length).toBeLessThan(ALL_DATASETS.length);
  expect(notServedOf(['web'], ALL_DATASETS)).toEqual([]);
});

test('a part names its values, whatever they contain', () => {
  const fixed = [
    { dimension: 'country', value: 'deu' },
    { dimension: 'page', value: 'https://x/?a=1,2&b=100%25' },
  ] as const;
  const part = partOf(fixed);
  expect(part).toBe('country=deu,page=https://x/?a%3D1%2C2&b%3D100%2525');
  expect(fixedBy({ part })).toEqual(fixed);
  expect(groupedBy({ dataset: 'page+query+country', part })).toEqual(['query']);
  expect(fixedBy({})).toEqual([]);
});

describe('a filter', () => {
  it.each([
    ['page includes /blog/', { dimension: 'page', operator: 'contains', expression: '/blog/' }],
    [
      '  QUERY  matches  ^how to .*$ ',
      { dimension: 'query', operator: 'includingRegex', expression: '^how to .*$' },
    ],
    ['device notequals MOBILE', { dimension: 'device', operator: 'notEquals', expression: 'MOBILE' }],
    [
      'searchappearance equals VIDEO',
      { dimension: 'searchAppearance', operator: 'equals', expression: 'VIDEO' },
    ],
    ['page excludes a', { dimension: 'page', operator: 'notContains', expression: 'a' }],
  ])('%s', (text, filter) => {
    expect(parseFilter(text)).toEqual({ filter });
  });

  it.each([
    ['', 'is not a filter'],
    ['page', 'is not a filter'],
    ['page contains', 'is not a filter'],
    ['date equals 2026-01-01', 'cannot be filtered'],
    ['page like x', 'is not an operator'],
    [`page contains ${'x'.repeat(4_097)}`, '4,096 characters'],
  ])('%#: %s is refused', (text, problem) => {
    expect(parseFilter(text)).toEqual({ problem: expect.stringContaining(problem) });
  });

  it('has one key in any order, and a short one however long it is', () => {
    const [a, b] = ['page contains a', 'query equals "b"'].map((text) => {
      const parsed = parseFilter(text);
      if ('problem' in parsed) throw new Error(parsed.problem);
      return parsed.filter;
    });
    if (a === undefined || b === undefined) throw new Error('no filters');
    const key = selectionKey({ filters: [a, b, a], aggregation: 'auto' });
    expect(key).toEqual({
      filterKey: 'page contains "a" and query equals "\\"b\\""',
      aggregationType: '',
    });
    expect(selectionKey({ filters: [b, a], aggregation: 'auto' })).toEqual(key);
    const long = checkFilter({ dimension: 'page', operator: 'matches', expression: 'é'.repeat(4_096) });
    if ('problem' in long) throw new Error(long.problem);
    expect(selectionKey({ filters: [long.filter], aggregation: 'byPage' })).toEqual({
      filterKey: expect.stringMatching(/^sha256:[0-9a-f]{64}$/),
      aggregationType: 'byPage',
    });
  });
});
