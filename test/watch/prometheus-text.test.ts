import { expect, test } from 'vitest';
import { prometheusText } from '../../src/watch/prometheus-text.ts';

test('labels are escaped, families without samples left out', () => {
  expect(
    prometheusText([
      { name: 'a', type: 'gauge', help: 'one\nline', samples: [{ value: 0 }] },
      { name: 'b', type: 'counter', help: 'none', samples: [] },
      {
        name: 'c_total',
        type: 'counter',
        help: 'c',
        samples: [{ labels: { site: 'a"b\\c\nd', other: '' }, value: 1.5 }],
      },
    ]),
  ).toBe(
    [
      '# HELP a one\\nline',
      '# TYPE a gauge',
      'a 0',
      '# HELP c_total c',
      '# TYPE c_total counter',
      'c_total{site="a\\"b\\\\c\\nd",other=""} 1.5',
      '',
    ].join('\n'),
  );
});
