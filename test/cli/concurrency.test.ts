import { describe, expect, it } from 'vitest';
import { concurrency } from '../../src/cli/commands/options.ts';
import { concurrencyEntry } from '../../src/report/events.ts';

describe('--max-concurrency', () => {
  const read = concurrency('--max-concurrency');

  it.each([
    ['auto', 'auto'],
    [' AUTO ', 'auto'],
    ['1', 1],
    ['64', 64],
  ])('takes %j', (text, value) => expect(read(text)).toBe(value));

  it.each(['automatic', 'auto:8', '65', '0', ''])('refuses %j', (text) => {
    expect(() => read(text)).toThrow(/whole number from 1 to 64/);
  });
});

describe('decisions in the log', () => {
  it('are told with their reason', () => {
    expect(
      concurrencyEntry({ from: 6, to: 3, reason: 'refused', detail: 'too many requests a minute' }),
    ).toEqual({
      level: 'info',
      name: 'run.concurrency',
      fields: {
        from: 6,
        to: 3,
        reason: 'refused',
        why: 'a refusal: back to what went well',
        detail: 'too many requests a minute',
      },
    });
  });

  it('to stay are for those who look closely', () => {
    expect(concurrencyEntry({ from: 6, to: 6, reason: 'quota' }).level).toBe('debug');
  });
});
