// Holds invariants 12 of SPEC.md.
/** One limiter for many properties: what one of them meets with is its own affair. The limiter is real, the clock manual. */

import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { transition } from 'xstate';
import { systemClock } from '../../src/domain/clock.ts';
import type { QuotaKind } from '../../src/domain/quota-kind.ts';
import { Lookup } from '../../src/machines/rate-limiter/lookup.ts';
import type { Budget } from '../../src/machines/rate-limiter/quota-window.ts';
import { rateLimiterMachine } from '../../src/machines/rate-limiter/rate-limiter.ts';
import { refusalOf } from '../../src/search-console/answer/outcome.ts';
import { LeasesOfOthers } from '../../src/sync/leases-of-others.ts';
import { createRateLimiter } from '../../src/sync/limiter.ts';
import { internalsOf } from '../../src/sync/limiter-internals.ts';
import { createSync } from '../../src/sync/sync.ts';
import { type LimiterRig, startLimiter } from '../machines/support/limiter-rig.ts';
import { MARGIN_MS } from '../machines/support/quota-world.ts';

const MINUTE_MS = 60_000;
const RULES = [
  { scopeKind: 'site', limit: 100, windowMs: MINUTE_MS },
  { scopeKind: 'user', limit: 1_000, windowMs: MINUTE_MS },
  { scopeKind: 'project', limit: 30_000_000, windowMs: 86_400_000 },
];
const scopesOf = (site: string) => [`site:${site}`, 'user:u', 'project:p'];

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

function ask(site: string, tokens = 1): string {
  requests += 1;
  const requestId = `${site}${requests}`;
  limiter.send({ type: 'tokens.request', requestId, tokens, scopes: scopesOf(site), replyTo: client.ref });
  return requestId;
}
const settle = (leaseId: string, tokens: number, accepted = tokens): void =>
  limiter.send({ type: 'lease.settled', leaseId, tokens, accepted, graceMs: 0 });
const refuse = (site: string, quota: QuotaKind, scopeKind?: string): void =>
  limiter.send({
    type: 'quota.refused',
    scopes: scopesOf(site),
    quota,
    retryAfterMs: null,
    ...(scopeKind !== undefined && { scopeKind }),
  });
const answerTo = (requestId: string) => answers.find((answer) => answer.requestId === requestId)?.type;
const limitOf = (scope: string) => limiter.getSnapshot().context.budgets.get(scope)?.[0]?.limit;

describe('a refusal of one property', () => {
  test.each(['load', 'qps', 'daily'] as const)('for %s leaves the others their tokens', (quota) => {
    ask('a');
    refuse('a', quota);
    const [own, other] = [ask('a'), ask('b')];
    expect(answerTo(own)).toBe(quota === 'daily' ? 'tokens.denied' : undefined);
    expect(answerTo(other)).toBe('tokens.granted');
  });

  test('one that comes while another property rests makes each rest for its own time', () => {
    ask('a');
    ask('b');
    refuse('a', 'load');
    clock.advance(10 * MINUTE_MS);
    refuse('b', 'load');
    const [a, b] = [ask('a'), ask('b')];
    clock.advance(5 * MINUTE_MS);
    expect([answerTo(a), answerTo(b)]).toEqual(['tokens.granted', undefined]);
    clock.advance(10 * MINUTE_MS);
    expect(answerTo(b)).toBe('tokens.granted');
  });

  test('three in a row of one do not use up the patience with another', () => {
    for (let round = 0; round < 2; round += 1) {
      ask('a');
      refuse('a', 'load');
      clock.advance(15 * MINUTE_MS);
    }
    ask('b');
    refuse('b', 'load');
    const waiting = ask('b');
    expect(answerTo(waiting)).toBeUndefined();
    clock.advance(15 * MINUTE_MS);
    expect(answerTo(waiting)).toBe('tokens.granted');
  });

  test('whose allowance for the day is used up says nothing about those who wait for another', () => {
    const lease = ask('b', 100);
    const waiting = ask('b');
    refuse('a', 'daily');
    settle(lease, 100);
    clock.advance(MINUTE_MS + MARGIN_MS);
    expect(answerTo(waiting)).toBe('tokens.granted');
  });
});

describe('a refusal that names whose allowance it is', () => {
  test.each(['user', 'project'] as const)('the %s’s is that of all its properties', (scopeKind) => {
    ask('a');
    refuse('a', 'daily', scopeKind);
    expect(answerTo(ask('b'))).toBe('tokens.denied');
  });

  test('lowers no limit but that one’s', () => {
    ask('a', 50);
    refuse('a', 'qps', 'user');
    expect([limitOf('site:a'), limitOf('user:u')]).toEqual([100, 250]);
  });

  test.each([
    ['Quota exceeded for quota metric "Queries" and limit "Queries per minute per user"', 'user'],
    ['User-rate limit exceeded. Please retry later.', 'user'],
    ['Quota exceeded: queries per minute per site', 'site'],
    ['Quota exceeded: queries per day per project', 'project'],
    ['Search Analytics QPS quota exceeded.', undefined],
  ])('“%s”', (message, scopeKind) => {
    const body = Buffer.from(JSON.stringify({ error: { message, errors: [{ reason: 'quotaExceeded' }] } }));
    const refusal = refusalOf({ status: 403, body, retryAfter: undefined, nowMs: 0 });
    expect(refusal.kind === 'quota' && refusal.scopeKind).toBe(scopeKind);
  });
});

describe('a limit that was lowered', () => {
  test('comes up again step by step while nothing is refused, and not beyond what it was', () => {
    settle(ask('a', 100), 100, 60);
    refuse('a', 'qps', 'site');
    // Somebody counts there all the while.
    const held = ask('a');
    const limits: (number | undefined)[] = [limitOf('site:a')];
    for (let minute = 0; minute < 12; minute += 1) {
      clock.advance(MINUTE_MS);
      limits.push(limitOf('site:a'));
    }
    expect(answerTo(held)).toBe('tokens.granted');
    expect(limits).toEqual([60, 60, 66, 72, 79, 86, 94, 100, 100, 100, 100, 100, 100]);
    const raised = emitted.flatMap((event) => (event.type === 'quota.raised' ? [event.limit] : []));
    expect(raised).toEqual([66, 72, 79, 86, 94, 100]);
  });

  test('is tried the more seldom, the more often a step was one too many', () => {
    const minutesBetween: number[] = [];
    ask('keeps the budget', 1);
    for (let round = 0; round < 4; round += 1) {
      const lease = ask('a', 100);
      settle(lease, 100, 60);
      refuse('a', 'qps', 'site');
      const before = emitted.length;
      let minutes = 0;
      while (minutes < 100 && !emitted.slice(before).some(({ type }) => type === 'quota.raised')) {
        clock.advance(MINUTE_MS);
        minutes += 1;
      }
      minutesBetween.push(minutes);
    }
    expect(minutesBetween).toEqual([2, 3, 5, 9]);
  });

  test('of what is shared is lowered once for the refusals of one moment, not once a property', () => {
    for (const site of ['a', 'b', 'c']) ask(site, 10);
    for (const site of ['a', 'b', 'c']) refuse(site, 'qps');
    expect(limitOf('user:u')).toBe(250);
    expect(['a', 'b', 'c'].map((site) => limitOf(`site:${site}`))).toEqual([25, 25, 25]);
  });
});

describe('a limiter that has seen ten thousand properties', () => {
  test('looks at none of the others for a call of fifty pages', () => {
    for (let site = 0; site < 10_000; site += 1) {
      limiter.send({
        type: 'leases.recovered',
        leases: [{ scope: `site:s${site}`, tokens: 1, settledMsAgo: 0 }],
      });
    }
    const snapshot = limiter.getSnapshot();
    let looks = 0;
    const watched = (budgets: readonly Budget[]): readonly Budget[] =>
      new Proxy(budgets, {
        get: (target, name, receiver) => {
          looks += 1;
          return Reflect.get(target, name, receiver);
        },
      });
    const budgets = Lookup.of([...snapshot.context.budgets].map(([scope, all]) => [scope, watched(all)]));
    let at = { ...snapshot, context: { ...snapshot.context, budgets } };
    const scopes = scopesOf('fresh');
    const events = [
      { type: 'tokens.request', requestId: 'r', tokens: 50, scopes, replyTo: client.ref },
      ...Array.from(
        { length: 50 },
        () => ({ type: 'lease.settled', leaseId: 'r', tokens: 1, accepted: 1, graceMs: 0 }) as const,
      ),
    ] as const;
    for (const event of events) [at] = transition(rateLimiterMachine, at, event);
    expect(at.context.budgets.get('site:fresh')?.[0]?.spent).toBe(50);
    expect(looks).toBe(0);
  });

  test('forgets those that nothing counts for any more', () => {
    for (let site = 0; site < 500; site += 1) settle(ask(`s${site}`), 1);
    expect(limiter.getSnapshot().context.budgets.size).toBe(502);
    clock.advance(MINUTE_MS + MARGIN_MS);
    expect([...limiter.getSnapshot().context.budgets].map(([scope]) => scope)).toEqual(['project:p']);
  });
});

describe('a row of refusals', () => {
  const conditions = () => limiter.getSnapshot().context.conditions.size;
  const MORE_THAN_AN_HOUR = 61 * MINUTE_MS;

  test('is over when nothing was refused for long enough, and the property is forgotten', () => {
    for (let hour = 0; hour < 4; hour += 1) {
      ask('a');
      refuse('a', 'load');
      clock.advance(15 * MINUTE_MS);
      expect(conditions()).toBe(1);
      clock.advance(MORE_THAN_AN_HOUR);
      expect(conditions()).toBe(0);
    }
    expect(emitted.filter(({ type }) => type === 'quota.cooling')).toHaveLength(4);
    expect(answers.map(({ type }) => type)).not.toContain('tokens.denied');
  });

  test('that begins anew while the last one is not over yet has its own time', () => {
    ask('a');
    refuse('a', 'load');
    clock.advance((15 + 59) * MINUTE_MS);
    refuse('a', 'load');
    clock.advance((15 + 59) * MINUTE_MS);
    expect(conditions()).toBe(1);
    clock.advance(2 * MINUTE_MS);
    expect(conditions()).toBe(0);
  });

  test('that the server ended sets no limit to the next one', () => {
    ask('a');
    refuse('a', 'load');
    clock.advance(15 * MINUTE_MS);
    settle(ask('a'), 1);
    clock.advance(59 * MINUTE_MS);
    refuse('a', 'load');
    clock.advance(14 * MINUTE_MS);
    const waiting = ask('a');
    expect(answerTo(waiting)).toBeUndefined();
    clock.advance(MINUTE_MS);
    expect(answerTo(waiting)).toBe('tokens.granted');
  });
});

describe('a limiter that is closed', () => {
  const options = { siteUrl: 'sc-domain:example.com', credentials: { accessToken: 'x' } } as const;

  test('is refused when a synchronisation is made, and closing it twice harms nothing', () => {
    const closed = createRateLimiter();
    closed.close();
    closed.close();
    expect(() => createSync({ ...options, rateLimiter: closed })).toThrow(/rate limiter is closed/);
  });

  test('is refused when the run begins', async () => {
    const closing = createRateLimiter();
    const sync = createSync({ ...options, database: 'postgres://localhost:1/x', rateLimiter: closing });
    closing.close();
    await expect(sync.run()).rejects.toMatchObject({ code: 'CLOSED' });
  });

  test('what only looks like one is none', () => {
    const real = createRateLimiter();
    expect(() => createSync({ ...options, rateLimiter: { ...real } })).toThrow(/not a rate limiter/);
    real.close();
  });
});

describe('leases of others', () => {
  const record = (
    leaseId: string,
    tokens: number,
    settledMsAgo: number | null,
    settledAt: string | null = null,
  ) => ({
    leaseId,
    scope: 'user:u',
    tokens,
    settledMsAgo,
    settledAt,
  });

  test('count once, however often they are read; those granted here never', () => {
    const others = new LeasesOfOthers('me', systemClock);
    const read = [
      record('1/me-1:w0.1', 5, null),
      record('1/you-1:w0.1', 7, null),
      record('2/you-2:w0.1', 3, 50, 'a'),
    ];
    expect(others.toCount(read, 1_000)).toEqual([
      { scope: 'user:u', tokens: 7, settledMsAgo: -1_000 },
      { scope: 'user:u', tokens: 3, settledMsAgo: 50 },
    ]);
    expect(others.toCount(read, 1_000)).toEqual([]);
    expect(others.toCount([...read, record('3/you-3:w0.1', 2, null)], 1_000)).toHaveLength(1);
  });

  test('one that lived on and settled later than it was thought it could counts from then', () => {
    let nowMs = 0;
    const others = new LeasesOfOthers('me', { now: () => nowMs });
    expect(others.toCount([record('1/you-1:w0.1', 4, null)], 1_000)).toHaveLength(1);
    nowMs = 30_000;
    const later = [record('1/you-1:w0.1', 4, 2_000, 'b')];
    expect(others.toCount(later, 1_000)).toEqual([{ scope: 'user:u', tokens: 4, settledMsAgo: 2_000 }]);
    expect(others.toCount(later, 1_000)).toEqual([]);
  });
});

test('two runs of one limiter have two names, whatever their databases call them', () => {
  const [one, two] = [createRateLimiter(), createRateLimiter()];
  const names = [one, one, two].map((limiter) => internalsOf(limiter).nameRun());
  expect(new Set(names).size).toBe(3);
  one.close();
  two.close();
});
