import { describe, expect, it } from 'vitest';
import type { Coverage } from '../../src/domain/coverage.ts';
import { partsOfAll, wholeKeys } from '../../src/planning/two-step.ts';

const date = '2026-03-01';
const datasets = ['page', 'searchAppearance', 'page+searchAppearance'];
const appearances = (...values: string[]) => [{ searchType: 'web', date, values }] as const;

function held(dataset: string, more: Partial<Coverage> = {}): Coverage {
  return {
    searchType: 'web',
    dataset,
    date,
    status: 'complete',
    final: true,
    beforeCutOff: false,
    ...more,
  };
}
const first = (more: Partial<Coverage> = {}): Coverage => held('searchAppearance', more);
const part = (value: string, more: Partial<Coverage> = {}): Coverage =>
  held('page+searchAppearance', { part: `searchAppearance=${value}`, ...more });
const judged = (all: readonly Coverage[], values: ReturnType<typeof appearances> | []) =>
  wholeKeys({ datasets }, all, values).filter(({ dataset }) => dataset === 'page+searchAppearance');

describe('a key of two steps is', () => {
  it.each([
    ['missing without its first step', [], [], undefined],
    ['missing while a part is', [first(), part('A')], appearances('A', 'B'), undefined],
    ['complete when all parts are', [first(), part('A'), part('B')], appearances('A', 'B'), 'complete'],
    ['complete when there are none', [first()], appearances(), 'complete'],
    ['open while a part is', [first(), part('A', { status: 'open' })], appearances('A', 'B'), 'open'],
    [
      'failed when a part is',
      [first(), part('A', { status: 'failed' }), part('B', { status: 'open' })],
      appearances('A', 'B', 'C'),
      'failed',
    ],
    [
      'blind to parts of values that are gone',
      [first(), part('A', { status: 'failed' })],
      appearances(),
      'complete',
    ],
  ] as const)('%s', (_, all, values, status) => {
    expect(judged(all, [...values])[0]?.status).toBe(status);
  });

  it('final when its first step and all parts are, and before the cut-off when one is', () => {
    const both = (one: Coverage, other: Coverage) => judged([one, other], appearances('A'))[0];
    expect(both(first(), part('A'))).toMatchObject({ final: true, beforeCutOff: false });
    expect(both(first({ final: false }), part('A'))).toMatchObject({ final: false });
    expect(both(first(), part('A', { final: false }))).toMatchObject({ final: false });
    expect(both(first({ beforeCutOff: true }), part('A'))).toMatchObject({ beforeCutOff: true });
    expect(both(first(), part('A', { beforeCutOff: true }))).toMatchObject({ beforeCutOff: true });
  });
});

it('other keys stay as they are', () => {
  const page = held('page');
  expect(wholeKeys({ datasets: ['page'] }, [page], [])).toEqual([page]);
  expect(partsOfAll([page], [])).toEqual([page]);
});

it('a key becomes a part for each value', () => {
  const key = { searchType: 'web', dataset: 'page+searchAppearance', date } as const;
  expect(partsOfAll([key], appearances('A', 'B=,'))).toEqual([
    { ...key, part: 'searchAppearance=A' },
    { ...key, part: 'searchAppearance=B%3D%2C' },
  ]);
  expect(partsOfAll([key], [])).toEqual([]);
});
