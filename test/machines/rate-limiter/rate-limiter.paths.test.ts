/** Every path of the rate limiter, walked by the real one, with two clients that share one budget and not the other. */

import { afterAll, expect, test } from 'vitest';
import type { QuotaKind } from '../../../src/domain/quota-kind.ts';
import type { GrantEvent, LimiterEvent } from '../../../src/machines/messages.ts';
import {
  type RateLimiterEvent,
  type RateLimiterInput,
  type RateLimiterSnapshot,
  rateLimiterMachine,
} from '../../../src/machines/rate-limiter/rate-limiter.ts';
import { type World, walkEveryEdge } from '../support/paths.ts';
import { createBystander, type Sent } from '../support/refs.ts';
import { createRig, Mailboxes } from '../support/rig.ts';
import type { Timer } from '../support/turn.ts';

const MINUTE_MS = 60_000;
const mailboxes = new Mailboxes();
const clients = [
  {
    requestId: 'a',
    scopes: ['site:a', 'user:u'],
    at: createBystander<GrantEvent>('client a', mailboxes.note),
  },
  {
    requestId: 'b',
    scopes: ['site:b', 'user:u'],
    at: createBystander<GrantEvent>('client b', mailboxes.note),
  },
];
afterAll(() => {
  for (const { at } of clients) at.stop();
});

const input: RateLimiterInput = {
  rules: [
    { scopeKind: 'site', limit: 2, windowMs: MINUTE_MS },
    { scopeKind: 'user', limit: 2, windowMs: MINUTE_MS },
  ],
  marginMs: 50,
  loadCoolingMs: 900_000,
  qpsCoolingMs: 30_000,
  maxLoadCoolings: 1,
  maxQpsCoolings: 1,
  refusingMs: 3_600_000,
};

/** What the clients and the server know of the limiter. */
interface Notes {
  readonly asked: readonly string[];
  readonly waiting: readonly string[];
  /** Tokens granted, neither settled nor returned. */
  readonly held: Readonly<Record<string, number>>;
  readonly refusals: number;
  readonly granted: number;
}
/** Two clients and two refusals at once are 60,000 edges; what they would add is in the shared limiter's model. */
interface Bounds {
  readonly clients: number;
  readonly refusals: number;
  readonly kinds: readonly QuotaKind[];
  readonly states: readonly string[];
}
type LimiterWorld = World<RateLimiterSnapshot, Notes>;

function noteEvent(notes: Notes, event: RateLimiterEvent): Notes {
  switch (event.type) {
    case 'tokens.request': {
      const { requestId } = event;
      return { ...notes, asked: [...notes.asked, requestId], waiting: [...notes.waiting, requestId] };
    }
    case 'tokens.cancel':
      return { ...notes, waiting: notes.waiting.filter((id) => id !== event.requestId) };
    case 'lease.settled':
    case 'lease.returned': {
      const left = (notes.held[event.leaseId] ?? 0) - event.tokens;
      return { ...notes, held: { ...notes.held, [event.leaseId]: left } };
    }
    case 'quota.refused':
      return { ...notes, refusals: notes.refusals + 1 };
    default:
      return notes;
  }
}

function noteSent(notes: Notes, { to, event }: Sent): Notes {
  const answer = event as GrantEvent;
  expect(to).toBe(`client ${answer.requestId}`);
  // Nobody is answered who does not wait: cancelled, or answered before.
  expect(notes.waiting).toContain(answer.requestId);
  const waiting = notes.waiting.filter((id) => id !== answer.requestId);
  if (answer.type === 'tokens.denied') return { ...notes, waiting };
  expect(answer.tokens).toBeGreaterThan(0);
  expect(answer.tokens).toBeLessThanOrEqual(2);
  const held = { ...notes.held, [answer.leaseId]: answer.tokens };
  return { ...notes, waiting, held, granted: notes.granted + answer.tokens };
}

function eventsIn({ notes }: LimiterWorld, bounds: Bounds): readonly LimiterEvent[] {
  const events: LimiterEvent[] = [];
  for (const { requestId, scopes, at } of clients.slice(0, bounds.clients)) {
    if (!notes.asked.includes(requestId)) {
      events.push({ type: 'tokens.request', requestId, tokens: 2, scopes, replyTo: at.ref });
    }
    if (notes.waiting.includes(requestId)) events.push({ type: 'tokens.cancel', requestId });
    const held = notes.held[requestId] ?? 0;
    if (held > 0) {
      events.push({ type: 'lease.settled', leaseId: requestId, tokens: 1, accepted: 1, graceMs: 0 });
      events.push({ type: 'lease.settled', leaseId: requestId, tokens: held, accepted: 0, graceMs: 70_000 });
      events.push({ type: 'lease.returned', leaseId: requestId, tokens: held });
    }
  }
  if (notes.granted > 0 && notes.refusals < bounds.refusals) {
    for (const quota of bounds.kinds) {
      events.push({ type: 'quota.refused', scopes: ['site:a', 'user:u'], quota, retryAfterMs: null });
    }
  }
  return events;
}

const expiring = (timers: readonly Timer[], scope: string): number =>
  timers.reduce((sum, { event }) => {
    const expiry = event as RateLimiterEvent;
    return expiry.type === 'lease.expired' && expiry.scopes.includes(scope) ? sum + expiry.tokens : sum;
  }, 0);

function checkWorld({ machine, timers, notes }: LimiterWorld): void {
  const { budgets, conditions, queue } = machine.context;
  const all = [...budgets.values()].flat();
  const stateOf = (scope: string) => conditions.get(scope)?.state ?? 'calm';
  for (const { scope, spent, limit, windowMs, buckets } of all) {
    const held = clients.reduce(
      (sum, { requestId, scopes }) => sum + (scopes.includes(scope) ? (notes.held[requestId] ?? 0) : 0),
      0,
    );
    // Conservation: what is spent is either out there, or settled and not expired yet.
    if (buckets === null) expect(spent).toBe(held + expiring(timers, scope));
    else expect(spent).toBeGreaterThanOrEqual(held + buckets.reduce((sum, count) => sum + count, 0));
    const rule = input.rules.find((rule) => scope.startsWith(rule.scopeKind) && rule.windowMs === windowMs);
    expect(spent).toBeLessThanOrEqual(rule?.limit ?? 0);
    expect(limit).toBeGreaterThanOrEqual(1);
  }
  // In order, and nobody forgotten.
  expect(queue.map(({ requestId }) => requestId)).toEqual(notes.waiting);
  // Nobody waits while his budgets have room, but for a cooling of a scope of his own; nobody waits to be refused.
  for (const { scopes } of queue) {
    expect(scopes.map(stateOf)).not.toContain('refusing');
    if (scopes.some((scope) => stateOf(scope) !== 'calm')) continue;
    expect(all.some(({ scope, spent, limit }) => scopes.includes(scope) && spent >= limit)).toBe(true);
  }
  // Whatever rests has something to end it.
  for (const [scope, { state }] of conditions) {
    if (state !== 'calm')
      expect(timers.map(({ event }) => event)).toContainEqual({ type: 'scope.rested', scope });
  }
  // No deadlock: who waits will be served by a timer, or by the end of a call.
  const callsUnderWay = Object.values(notes.held).some((held) => held > 0);
  if (queue.length > 0) expect(timers.length > 0 || callsUnderWay).toBe(true);
}

test.each<Bounds>([
  { clients: 2, refusals: 0, kinds: [], states: ['"exhausted"', '"open"'] },
  { clients: 1, refusals: 1, kinds: ['qps', 'load', 'daily'], states: ['"open"'] },
  { clients: 1, refusals: 2, kinds: ['load', 'daily'], states: ['"open"'] },
  { clients: 2, refusals: 1, kinds: ['load'], states: ['"exhausted"', '"open"'] },
])(
  'every edge of $clients clients and $refusals refusals of $kinds, walked by the real limiter',
  async (bounds) => {
    const walk = await walkEveryEdge({
      machine: rateLimiterMachine,
      input,
      notes: { asked: [], waiting: [], held: {}, refusals: 0, granted: 0 } as Notes,
      events: (world) => eventsIn(world, bounds),
      note: (notes, event, turn, before) => {
        // Nothing is granted to who has a scope that rests; the end of that is a timer of the machine's own.
        for (const { to, event: answer } of turn.sent) {
          const client = clients.find(({ requestId }) => to === `client ${requestId}`);
          if (before === undefined || client === undefined || answer.type !== 'tokens.granted') continue;
          const isResting = (scope: string) =>
            (before.context.conditions.get(scope)?.state ?? 'calm') !== 'calm';
          if (client.scopes.some(isResting)) expect(event?.type).toBe('scope.rested');
        }
        const noted = event === undefined ? notes : noteEvent(notes, event as RateLimiterEvent);
        return turn.sent.reduce(noteSent, noted);
      },
      check: checkWorld,
      createRig: () => createRig(rateLimiterMachine, input, mailboxes),
    });
    expect([...walk.values].sort()).toEqual(bounds.states);
  },
);
