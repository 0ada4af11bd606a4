/** Refusals by the server: cooling, lowered limits, and when the limiter gives up. The limiter is real, the clock manual. */

import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { QuotaKind } from '../../src/domain/quota-kind.ts';
import { type LimiterRig, startLimiter } from './support/limiter-rig.ts';
import { MARGIN_MS } from './support/quota-world.ts';

const MINUTE_MS = 60_000;
const RULES = [
  { scopeKind: 'site', limit: 1_200, windowMs: MINUTE_MS },
  { scopeKind: 'user', limit: 1_200, windowMs: MINUTE_MS },
  { scopeKind: 'project', limit: 30_000_000, windowMs: 86_400_000 },
];
const SCOPES = ['site:a', 'user:u', 'project:p'];

let clock: LimiterRig['clock'];
let limiter: LimiterRig['limiter'];
let client: LimiterRig['client'];
let answers: LimiterRig['answers'];
let emitted: LimiterRig['emitted'];
let requests = 0;

beforeEach(() => {
  ({ clock, limiter, client, answers, emitted } = startLimiter(RULES));
});
afterEach(() => {
  limiter.stop();
  client.stop();
});

/** @returns the request's id, which is its lease's too. */
function ask(tokens: number, scopes: readonly string[] = SCOPES): string {
  requests += 1;
  const requestId = `r${requests}`;
  limiter.send({ type: 'tokens.request', requestId, tokens, scopes, replyTo: client.ref });
  return requestId;
}

const settle = (leaseId: string, tokens: number, accepted: number): void =>
  limiter.send({ type: 'lease.settled', leaseId, tokens, accepted, graceMs: 0 });
const refuse = (quota: QuotaKind, retryAfterMs: number | null = null): void =>
  limiter.send({ type: 'quota.refused', scopes: SCOPES, quota, retryAfterMs });
const granted = (): number =>
  answers.reduce((sum, answer) => sum + (answer.type === 'tokens.granted' ? answer.tokens : 0), 0);
const stateOf = (scope: string): string =>
  limiter.getSnapshot().context.conditions.get(scope)?.state ?? 'calm';
const limitOf = (scope: string): number | undefined =>
  limiter.getSnapshot().context.budgets.get(scope)?.[0]?.limit;

describe('cooling', () => {
  test.each([
    ['qps', null, MINUTE_MS],
    ['load', null, 15 * MINUTE_MS],
    ['qps', 5_000, 5_000],
    ['load', 5_000, 5_000],
  ] as const)(
    'a %s refusal with Retry-After %s holds grants back for %i ms',
    (quota, retryAfterMs, coolingMs) => {
      ask(1);
      refuse(quota, retryAfterMs);
      expect(stateOf('site:a')).toBe('cooling');
      ask(1);
      clock.advance(coolingMs - 1);
      expect(granted()).toBe(1);
      clock.advance(1);
      expect(granted()).toBe(2);
      expect(emitted).toContainEqual({ type: 'quota.cooling', quota, scope: 'site:a', coolingMs });
    },
  );

  test('refusals of calls that were under way neither prolong it nor lower the limit again', () => {
    ask(1);
    refuse('qps');
    const limit = limitOf('site:a');
    clock.advance(30_000);
    for (let refusal = 0; refusal < 20; refusal += 1) refuse('qps');
    expect(limitOf('site:a')).toBe(limit);
    expect(emitted.filter(({ type }) => type === 'quota.refused').length).toBe(21);
    clock.advance(30_000);
    expect(stateOf('site:a')).toBe('calm');
  });

  test('tokens settle, come back, expire and are cancelled while it cools', () => {
    const [settled, returned] = [ask(3), ask(2)];
    refuse('load');
    const waiting = ask(4);
    settle(settled, 3, 0);
    limiter.send({ type: 'lease.returned', leaseId: returned, tokens: 2 });
    limiter.send({ type: 'tokens.cancel', requestId: waiting });
    clock.advance(MINUTE_MS + MARGIN_MS);
    const { leases, queue, budgets } = limiter.getSnapshot().context;
    expect([leases.size, queue]).toEqual([0, []]);
    expect([...budgets].map(([scope]) => scope)).toEqual(['project:p']);
    clock.advance(15 * MINUTE_MS);
    expect(granted()).toBe(5);
  });
});

describe('lowered limits', () => {
  test('to what the server took in the last minute, where that is more than a quarter', () => {
    settle(ask(500), 500, 400);
    refuse('qps');
    expect([limitOf('site:a'), limitOf('user:u')]).toEqual([400, 400]);
    expect(emitted).toContainEqual({ type: 'quota.lowered', scope: 'site:a', limit: 400 });
    // A day's allowance says nothing about requests a minute.
    expect(limitOf('project:p')).toBe(30_000_000);
  });

  test('a limit of really 60 is found within four coolings, and holds for those who wait', () => {
    const taken: number[] = [];
    for (let round = 0; round < 6; round += 1) {
      const before = granted();
      const lease = ask(1_200);
      const tokens = granted() - before;
      taken.push(tokens);
      settle(lease, tokens, Math.min(60, tokens));
      if (tokens > 60) refuse('qps');
      clock.advance(MINUTE_MS + MARGIN_MS);
    }
    // Then one step up is tried, to see whether it is still so.
    expect(taken).toEqual([1_200, 300, 75, 60, 66, 60]);
  });

  test('never below one', () => {
    for (let refusal = 0; refusal < 8; refusal += 1) {
      ask(1);
      refuse('qps', 1);
      clock.advance(1);
    }
    expect(limitOf('site:a')).toBe(1);
  });

  test('load and daily refusals lower nothing', () => {
    ask(1);
    refuse('load');
    expect(limitOf('site:a')).toBe(1_200);
  });
});

test('a load refusal in a minute’s pause makes it a quarter of an hour, counted from then', () => {
  ask(2);
  refuse('qps');
  clock.advance(30_000);
  refuse('load');
  refuse('load');
  clock.advance(15 * MINUTE_MS - 1);
  expect(stateOf('site:a')).toBe('cooling');
  clock.advance(1);
  expect(stateOf('site:a')).toBe('calm');
  // The second refusal of the same wave said nothing new.
  expect(limiter.getSnapshot().context.conditions.get('site:a')?.coolings).toEqual({ qps: 1, load: 1 });
});

test('a Retry-After of a year is a day: a timer of more than 24 days would fire at once', () => {
  ask(2);
  refuse('qps', 365 * 24 * 60 * MINUTE_MS);
  clock.advance(24 * 60 * MINUTE_MS - 1);
  expect(stateOf('site:a')).toBe('cooling');
  clock.advance(1);
  expect(stateOf('site:a')).toBe('calm');
});

describe('giving up', () => {
  test('a daily refusal: who waits and who asks is denied, for the length of the refusal', () => {
    ask(1);
    limiter.send({ type: 'quota.refused', scopes: SCOPES, quota: 'load', retryAfterMs: null });
    const waiting = ask(1);
    refuse('daily');
    const late = ask(1);
    const denied = (requestId: string) => ({ type: 'tokens.denied', requestId, quota: 'daily' });
    expect(answers.slice(1)).toEqual([denied(waiting), denied(late)]);
    clock.advance(60 * MINUTE_MS);
    ask(7);
    expect(granted()).toBe(8);
  });

  test('load: 15 minutes, once more, then it denies', () => {
    for (let cooling = 0; cooling < 2; cooling += 1) {
      ask(1);
      refuse('load');
      expect(stateOf('site:a')).toBe('cooling');
      clock.advance(15 * MINUTE_MS);
    }
    ask(1);
    refuse('load');
    expect(stateOf('site:a')).toBe('refusing');
    const denied = ask(1);
    expect(answers.at(-1)).toEqual({ type: 'tokens.denied', requestId: denied, quota: 'load' });
  });

  test('a request that the server took in between starts the count anew', () => {
    for (let cooling = 0; cooling < 5; cooling += 1) {
      const lease = ask(2);
      settle(lease, 1, 1);
      settle(lease, 1, 0);
      refuse('load');
      expect(stateOf('site:a')).toBe('cooling');
      clock.advance(15 * MINUTE_MS);
    }
  });

  test('per-minute refusals without end deny too', () => {
    let refusals = 0;
    while (stateOf('site:a') !== 'refusing') {
      ask(1);
      refuse('qps');
      refusals += 1;
      clock.advance(MINUTE_MS);
    }
    expect(refusals).toBe(9);
  });
});

describe('what is told', () => {
  test('usage on every grant, and once when 80 % are crossed', () => {
    ask(959, ['site:a']);
    ask(1, ['site:a']);
    ask(1, ['site:a']);
    const used = emitted.flatMap((event) => (event.type === 'quota.used' ? [event.spent] : []));
    expect(used).toEqual([959, 960, 961]);
    expect(emitted.filter(({ type }) => type === 'quota.approaching')).toEqual([
      { type: 'quota.approaching', scope: 'site:a', spent: 960, limit: 1_200 },
    ]);
  });
});

describe('an earlier run', () => {
  test('its tokens count until a window after they settled, those nobody knows about from now on', () => {
    limiter.send({
      type: 'leases.recovered',
      leases: [
        { scope: 'site:a', tokens: 700, settledMsAgo: 50_000 },
        { scope: 'site:a', tokens: 500, settledMsAgo: 0 },
      ],
    });
    ask(1_200, ['site:a']);
    clock.advance(10_000 + MARGIN_MS - 1);
    expect(granted()).toBe(0);
    clock.advance(1);
    expect(granted()).toBe(700);
    // Settled as late as its grace allows: it counts from then.
    limiter.send({
      type: 'leases.recovered',
      leases: [{ scope: 'user:u', tokens: 1, settledMsAgo: -5_000 }],
    });
    clock.advance(64_000);
    expect(limiter.getSnapshot().context.budgets.get('user:u')?.[0]?.spent).toBe(1);
    clock.advance(1_000 + MARGIN_MS);
    expect(limiter.getSnapshot().context.budgets.get('user:u')).toBeUndefined();
  });
});
