import { describe, expect, it } from 'vitest';
import {
  counted,
  cut,
  displayWidth,
  duration,
  plain,
  roughDuration,
  table,
} from '../../src/report/render.ts';

describe('duration', () => {
  it.each([
    [0, '0 ms'],
    [999, '999 ms'],
    [1_000, '1.0 s'],
    [59_949, '59.9 s'],
    [59_951, '1 min'],
    [245_000, '4 min 5 s'],
    [3_599_600, '1 h'],
    [7_500_000, '2 h 5 min'],
    [86_400_000, '1 day'],
    [273_600_000, '3 days 4 h'],
  ])('%d ms is %s', (ms, words) => expect(duration(ms)).toBe(words));

  it('an estimate has no tenths', () => {
    expect(roughDuration(12_345)).toBe('12 s');
    expect(roughDuration(3)).toBe('1 s');
    expect(roughDuration(61_000)).toBe('1 min 1 s');
  });
});

describe('counted', () => {
  it('knows one from many', () => {
    expect([counted(0, 'row'), counted(1, 'row'), counted(1_234_567, 'row')]).toEqual([
      '0 rows',
      '1 row',
      '1,234,567 rows',
    ]);
    expect(counted(2, 'retry', 'retries')).toBe('2 retries');
  });
});

describe('columns', () => {
  it('count what a terminal shows', () => {
    expect(displayWidth('abc')).toBe(3);
    expect(displayWidth('靴')).toBe(2);
    expect(displayWidth('👟')).toBe(2);
    expect(displayWidth('e\u0301')).toBe(1);
    expect(displayWidth('обувь')).toBe(5);
    expect(displayWidth('\u001b[31mred\u001b[39m')).toBe(3);
  });

  it('are never more than asked for', () => {
    expect(cut('short', 10)).toBe('short');
    expect(cut('a long query here', 8)).toBe('a long…');
    expect(displayWidth(cut('ランニングシューズ', 8))).toBeLessThanOrEqual(8);
  });

  it('line up, also with wide characters', () => {
    const text = table(
      [{ title: 'Query' }, { title: 'Clicks', align: 'right' }],
      [
        ['靴', '1,000'],
        ['shoes', '5'],
      ],
    );
    expect(text.split('\n')).toEqual(['  Query  Clicks', '  靴      1,000', '  shoes       5']);
    expect(new Set(text.split('\n').map(displayWidth)).size).toBe(1);
  });
});

describe('plain', () => {
  it('lets no text move the cursor, recolour the screen, or break a line', () => {
    expect(plain('a\u001b[2Jb\r\nc\u0007\u009bd\u202ee')).toBe('a [2Jb  c  d e');
  });
});
