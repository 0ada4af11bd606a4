/** Who gets tokens, and how much of the quota is used: real limiter, simulated network. */
import fc from 'fast-check';
import { afterEach, expect, test } from 'vitest';
import type { GrantEvent } from '../../src/machines/messages.ts';
import { type ClientPlan, QuotaWorld } from './support/quota-world.ts';
import { createBystander } from './support/refs.ts';

const MINUTE_MS = 60_000;
const STEADY = { maxThinkMs: 0, abortRate: 0, unsentRate: 0, cancelRate: 0 };

const cleanUps: (() => void)[] = [];
afterEach(() => {
  for (const cleanUp of cleanUps.splice(0)) cleanUp();
});

function createWorld(...args: ConstructorParameters<typeof QuotaWorld>): QuotaWorld {
  const world = new QuotaWorld(...args);
  cleanUps.push(() => world.close());
  return world;
}

test('a saturated quota is used to at least 95 % of what the window allows', () => {
  fc.assert(
    fc.property(
      fc.record({
        limit: fc.constantFrom(7, 60, 300),
        batchSize: fc.integer({ min: 1, max: 120 }),
        maxLatencyMs: fc.constantFrom(200, 2_000, 20_000),
        seed: fc.nat(),
      }),
      ({ limit, batchSize, maxLatencyMs, seed }) => {
        const world = new QuotaWorld([{ scopeKind: 'site', limit, windowMs: MINUTE_MS }], seed);
        try {
          const batches = Array.from({ length: Math.ceil((8 * limit) / batchSize) + 1 }, () => batchSize);
          // So many callers that somebody always waits: one call after the other cannot use up a large quota.
          const callers = Math.ceil((2 * limit) / batchSize) + 2;
          for (let caller = 0; caller < callers; caller += 1) {
            world.addClient({ scopes: ['site:a'], batches, maxLatencyMs, ...STEADY });
          }
          const untilMs = 5 * MINUTE_MS;
          world.clock.advance(untilMs);
          // What a token takes up: from its grant to a window after it settled. The whole is limit × time.
          const used = world.spent.reduce((sum, { grantedMs, countedFromMs }) => {
            return sum + Math.min(untilMs, countedFromMs + MINUTE_MS) - grantedMs;
          }, 0);
          expect(used / (limit * untilMs)).toBeGreaterThanOrEqual(0.95);
          expect(used / (limit * untilMs)).toBeLessThanOrEqual(1);
        } finally {
          world.close();
        }
      },
    ),
    { numRuns: 25 },
  );
});

test.each([50, 100])(
  '60 a minute, 120 pages, batches of %i: done when the second minute begins',
  (batchSize) => {
    const world = createWorld([{ scopeKind: 'site', limit: 60, windowMs: MINUTE_MS }], 3);
    const plan = { scopes: ['site:a'], maxLatencyMs: 2_000, ...STEADY };
    world.addClient({ ...plan, batches: batchSize === 50 ? [50, 10] : [60] });
    world.addClient({ ...plan, batches: batchSize === 50 ? [50, 10] : [60] });
    world.clock.runUntil(() => world.arrivals.length === 120);
    // Two minutes for those who grant all or nothing.
    expect(world.clock.now()).toBeLessThan(64_000);
  },
);

test('a limit smaller than the batch does not deadlock', () => {
  const world = createWorld([{ scopeKind: 'site', limit: 3, windowMs: 1_000 }], 5);
  world.addClient({ scopes: ['site:a'], batches: [50], maxLatencyMs: 100, ...STEADY });
  world.clock.runUntil(() => world.arrivals.length === 50);
  expect(world.clock.now()).toBeLessThan(20_000);
});

const anyPlan: fc.Arbitrary<ClientPlan> = fc.record({
  scopes: fc.constantFrom(...['site:a', 'site:b']).map((site) => [site, 'user:u']),
  batches: fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 8 }),
  maxLatencyMs: fc.constantFrom(0, 3_000),
  maxThinkMs: fc.constantFrom(0, 2_000),
  abortRate: fc.constant(0),
  unsentRate: fc.constantFrom(0, 0.3),
  cancelRate: fc.constantFrom(0, 0.3),
});

test('among those who ask for the same scopes, first come is first served', () => {
  fc.assert(
    fc.property(fc.array(anyPlan, { minLength: 2, maxLength: 6 }), fc.nat(), (plans, seed) => {
      const rules = [
        { scopeKind: 'site', limit: 8, windowMs: 5_000 },
        { scopeKind: 'user', limit: 12, windowMs: 5_000 },
      ];
      const world = new QuotaWorld(rules, seed);
      try {
        for (const plan of plans) world.addClient(plan);
        world.clock.runUntil(() => false);
        for (const site of ['site:a', 'site:b']) {
          const of = (requests: readonly string[]) => requests.filter((id) => id.startsWith(site));
          expect(of(world.answered)).toEqual(of(world.asked));
        }
      } finally {
        world.close();
      }
    }),
    { numRuns: 60 },
  );
});

test('who waits for an exhausted site holds up nobody of another', () => {
  const rules = [
    { scopeKind: 'site', limit: 5, windowMs: MINUTE_MS },
    { scopeKind: 'user', limit: 12, windowMs: MINUTE_MS },
  ];
  const world = createWorld(rules, 7);
  const granted: string[] = [];
  const client = createBystander<GrantEvent>('client', ({ event }) => {
    granted.push(`${event.requestId} ${event.type === 'tokens.granted' ? event.tokens : 'denied'}`);
  });
  cleanUps.push(client.stop);
  const ask = (requestId: string, site: string, tokens: number) =>
    world.tell({ type: 'tokens.request', requestId, tokens, scopes: [site, 'user:u'], replyTo: client.ref });
  ask('a1', 'site:a', 5);
  ask('a2', 'site:a', 2);
  ask('b1', 'site:b', 4);
  ask('a3', 'site:a', 1);
  ask('b2', 'site:b', 1);
  expect(granted).toEqual(['a1 5', 'b1 4', 'b2 1']);
  // The line of the first site is still in order, and partial.
  world.tell({ type: 'lease.returned', leaseId: 'a1', tokens: 1 });
  expect(granted.slice(3)).toEqual(['a2 1']);
  world.tell({ type: 'lease.returned', leaseId: 'a1', tokens: 1 });
  expect(granted.slice(4)).toEqual(['a3 1']);
});
