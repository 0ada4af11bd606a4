/** Every state of the rate limiter × every event. */

import { initialTransition, transition } from 'xstate';
import type { QuotaKind } from '../../../src/domain/quota-kind.ts';
import type { GrantEvent, Recipient } from '../../../src/machines/messages.ts';
import {
  type RateLimiterEvent,
  type RateLimiterInput,
  type RateLimiterSnapshot,
  rateLimiterMachine,
} from '../../../src/machines/rate-limiter/rate-limiter.ts';
import type { StateOf, Whole } from './table.ts';

type State = StateOf<typeof rateLimiterMachine>;
/** A state, and what its one scope is in. */
export type Situation =
  | State
  | 'exhausted, the scope cools'
  | 'open, the scope refuses'
  | 'open, the scope has rested';

const SCOPES = ['site:a'];
export const input: RateLimiterInput = {
  rules: [
    { scopeKind: 'site', limit: 2, windowMs: 60_000 },
    { scopeKind: 'site', limit: 1_000, windowMs: 86_400_000 },
  ],
  marginMs: 50,
  loadCoolingMs: 900_000,
  qpsCoolingMs: 60_000,
  maxLoadCoolings: 0,
  maxQpsCoolings: 1,
  refusingMs: 3_600_000,
};

const request = (requestId: string, replyTo: Recipient<GrantEvent>): RateLimiterEvent => ({
  type: 'tokens.request',
  requestId,
  tokens: 1,
  scopes: SCOPES,
  replyTo,
});
const refused = (quota: QuotaKind): RateLimiterEvent => ({
  type: 'quota.refused',
  scopes: SCOPES,
  quota,
  retryAfterMs: null,
});
const settled = (leaseId: string): RateLimiterEvent => ({
  type: 'lease.settled',
  leaseId,
  tokens: 1,
  accepted: 1,
  graceMs: 0,
});
/** Lease `r1` is out in every state, with one token; `r3` waits wherever anybody can wait. */
export const casesFor = (client: Recipient<GrantEvent>) =>
  ({
    'tokens.request': request('r9', client),
    'tokens.cancel': { type: 'tokens.cancel', requestId: 'r3' },
    'tokens.cancel: of nobody': { type: 'tokens.cancel', requestId: 'r9' },
    'lease.settled': settled('r1'),
    'lease.settled: unknown': settled('r9'),
    'lease.returned': { type: 'lease.returned', leaseId: 'r1', tokens: 1 },
    'lease.returned: unknown': { type: 'lease.returned', leaseId: 'r9', tokens: 1 },
    'lease.expired': { type: 'lease.expired', scopes: SCOPES, windowMs: 60_000, tokens: 1, accepted: 0 },
    'leases.recovered': {
      type: 'leases.recovered',
      leases: [{ scope: 'site:a', tokens: 1, settledMsAgo: 0 }],
    },
    'quota.refused: qps': refused('qps'),
    'quota.refused: load, once too often': refused('load'),
    'quota.refused: daily': refused('daily'),
    'grace.over': { type: 'grace.over', scopes: SCOPES, tokens: 1 },
    'bucket.rolled': { type: 'bucket.rolled' },
    'scope.rested': { type: 'scope.rested', scope: 'site:a' },
    'scope.rested: of nobody': { type: 'scope.rested', scope: 'site:b' },
    'limit.rises': { type: 'limit.rises', scope: 'site:a', windowMs: 60_000 },
  }) as const satisfies Record<string, RateLimiterEvent>;
export type Case = keyof ReturnType<typeof casesFor>;

/** Does not compile when an event type has no case. @public */
export const WHOLE: Whole<RateLimiterEvent, ReturnType<typeof casesFor>> = true;

/** Situations that have no row in the table: what is done in them is written down beside it. */
type Further =
  | 'open, tokens age in buckets'
  | 'open, all tokens have aged'
  | 'open, others have taken tokens';

export function fixture(client: Recipient<GrantEvent>): Record<Situation | Further, RateLimiterSnapshot> {
  const send = (snapshot: RateLimiterSnapshot, ...events: readonly RateLimiterEvent[]): RateLimiterSnapshot =>
    events.reduce((before, event) => transition(rateLimiterMachine, before, event)[0], snapshot);
  const [fresh] = initialTransition(rateLimiterMachine, input);
  const open = send(fresh, request('r1', client));
  const exhausted = send(open, request('r2', client), request('r3', client));
  return {
    open,
    exhausted,
    'exhausted, the scope cools': send(open, refused('qps'), request('r3', client)),
    'open, the scope refuses': send(open, refused('daily')),
    'open, tokens age in buckets': send(open, request('r0', client), settled('r0')),
    'open, all tokens have aged': { ...open, context: { ...open.context, isTicking: true } },
    'open, others have taken tokens': send(open, {
      type: 'leases.recovered',
      leases: [{ scope: 'site:a', tokens: 1, settledMsAgo: 0 }],
    }),
    'open, the scope has rested': send(open, refused('qps'), { type: 'scope.rested', scope: 'site:a' }),
  };
}
