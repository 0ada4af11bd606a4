// Holds invariants 3 of SPEC.md.
// @module-tag sized
/** Properties of the window: real limiter, simulated server, random network. A failure prints the seed that replays it. */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import type { Budget, BudgetRule } from '../../../src/machines/rate-limiter/quota-window.ts';
import { sized } from '../../support/size.ts';
import { type ClientPlan, MARGIN_MS, QuotaWorld } from '../support/quota-world.ts';

const MINUTE_MS = 60_000;
const SITES = ['site:a', 'site:b'];

const anyRule = (scopeKind: string): fc.Arbitrary<BudgetRule> =>
  fc.record({
    scopeKind: fc.constant(scopeKind),
    limit: fc.integer({ min: 1, max: 40 }),
    windowMs: fc.constantFrom(1_000, 10_000, MINUTE_MS),
  });

const anyClient: fc.Arbitrary<ClientPlan> = fc.record({
  scopes: fc.constantFrom(...SITES).map((site) => [site, 'user:u', 'mine']),
  batches: fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 6 }),
  maxLatencyMs: fc.constantFrom(0, 500, 5_000, 90_000),
  maxThinkMs: fc.constantFrom(0, 3_000),
  abortRate: fc.constantFrom(0, 0.2),
  unsentRate: fc.constantFrom(0, 0.2),
  cancelRate: fc.constantFrom(0, 0.3),
});

const anyWorld = fc.record({
  rules: fc.tuple(anyRule('site'), anyRule('user'), anyRule('user'), anyRule('mine')),
  clients: fc.array(anyClient, { minLength: 1, maxLength: 4 }),
  recovered: fc.array(
    fc.record({
      site: fc.constantFrom(...SITES),
      tokens: fc.integer({ min: 1, max: 10 }),
      settledMsAgo: fc.integer({ min: 0, max: 70_000 }),
    }),
    { maxLength: 2 },
  ),
  seed: fc.nat(),
});

/** Rules with the limit that the test holds the server to: earlier runs may have filled a window before this one began. */
function* budgetsOf(rules: readonly BudgetRule[]): Generator<{ scope: string; rule: BudgetRule }> {
  for (const rule of rules) {
    const scopes = { site: SITES, user: ['user:u'], mine: ['mine'] }[rule.scopeKind] ?? [];
    for (const scope of scopes) yield { scope, rule };
  }
}

/** Tokens that settled less than a window (and `slackMs`) ago, by the test's own books. */
function settledLately(
  world: QuotaWorld,
  { scope, windowMs }: Budget,
  slackMs: number,
  earliestMs: number,
): number {
  const nowMs = world.clock.now();
  return world.spent.filter(
    ({ scopes, countedFromMs }) =>
      scopes.includes(scope) &&
      Number.isFinite(countedFromMs) &&
      nowMs < Math.max(earliestMs, countedFromMs) + windowMs + slackMs,
  ).length;
}

/** Conservation: what is spent is with a call, or settled and not expired, and nothing else. */
function checkConservation(world: QuotaWorld): void {
  const { budgets, leases } = world.limiter.getSnapshot().context;
  for (const budget of [...budgets.values()].flat()) {
    const ofScope = [...leases.values()].filter(({ scopes }) => scopes.includes(budget.scope));
    const unsettled = ofScope.reduce((sum, lease) => sum + lease.unsettled, 0);
    const least = unsettled + settledLately(world, budget, 0, Number.NEGATIVE_INFINITY);
    // A token of an earlier run may count as settled when it was found, and one in buckets to the end of its minute.
    const slackMs = budget.buckets === null ? MARGIN_MS + 1 : 3 * MINUTE_MS;
    const most = unsettled + settledLately(world, budget, slackMs, 0);
    expect(budget.spent).toBeGreaterThanOrEqual(least);
    expect(budget.spent).toBeLessThanOrEqual(most);
  }
}

test('no window at the server holds more than its limit, tokens are conserved, and all come back', () => {
  fc.assert(
    fc.property(anyWorld, ({ rules, clients, recovered, seed }) => {
      const world = new QuotaWorld(rules, seed, checkConservation);
      try {
        const before = new Map<string, number>();
        for (const { site, tokens, settledMsAgo } of recovered) {
          world.recover([site, 'user:u', 'mine'], tokens, settledMsAgo);
        }
        for (const { scope, rule } of budgetsOf(rules)) {
          before.set(`${scope} ${rule.windowMs}`, world.fullestWindow(scope, rule.windowMs));
        }
        for (const client of clients) world.addClient(client);
        world.clock.runUntil(() => false);
        for (const { scope, rule } of budgetsOf(rules)) {
          const found = before.get(`${scope} ${rule.windowMs}`) ?? 0;
          expect(world.fullestWindow(scope, rule.windowMs)).toBeLessThanOrEqual(Math.max(rule.limit, found));
        }
        // Every timer has fired: nothing counts any more, nobody waits, every page had its token.
        const { budgets, leases, queue } = world.limiter.getSnapshot().context;
        expect([budgets.size, leases.size, queue]).toEqual([0, 0, []]);
      } finally {
        world.close();
      }
    }),
    { numRuns: sized(8, 40) },
  );
});

const anyDay = fc.record({
  // Windows of hours are kept in the same buckets as a day's, and are over sooner.
  windowMs: fc.constantFrom(3_600_001, 2 * 3_600_000),
  limit: fc.integer({ min: 5, max: 30 }),
  client: anyClient,
  batches: fc.array(fc.integer({ min: 1, max: 15 }), { minLength: 1, maxLength: 4 }),
  maxThinkMs: fc.constantFrom(0, 20 * MINUTE_MS),
  seed: fc.nat(),
});

test('a window in buckets is never overrun either, aborted calls included', () => {
  fc.assert(
    fc.property(anyDay, ({ windowMs, limit, client, batches, maxThinkMs, seed }) => {
      const world = new QuotaWorld([{ scopeKind: 'project', limit, windowMs }], seed, checkConservation);
      try {
        const plan = { ...client, scopes: ['project:p'], batches };
        world.addClient({ ...plan, maxThinkMs });
        world.addClient({ ...plan, maxThinkMs: 0 });
        world.clock.runUntil(() => false);
        expect(world.fullestWindow('project:p', windowMs)).toBeLessThanOrEqual(limit);
        expect(world.budget('project:p', windowMs)).toBeUndefined();
      } finally {
        world.close();
      }
    }),
    { numRuns: sized(8, 40) },
  );
});

test("a day's allowance is not overrun in any 24 hours, and is used again the day after", () => {
  const dayMs = 86_400_000;
  const world = new QuotaWorld([{ scopeKind: 'project', limit: 30, windowMs: dayMs }], 1);
  try {
    const rates = { abortRate: 0.3, unsentRate: 0, cancelRate: 0 };
    const slow = { maxLatencyMs: 90_000, maxThinkMs: 3_600_000, ...rates };
    world.addClient({ scopes: ['project:p'], batches: Array.from({ length: 20 }, () => 2), ...slow });
    world.addClient({ scopes: ['project:p'], batches: [20], ...slow });
    world.clock.advance(2.1 * dayMs);
    expect(world.fullestWindow('project:p', dayMs)).toBe(30);
    expect(world.arrivals.length).toBe(60);
  } finally {
    world.close();
  }
});
