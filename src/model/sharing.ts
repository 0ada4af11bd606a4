/**
 * What one run's message may do to another that shares its limiter: use up what both may use, or leave it free. Whatever
 * else it changes is written down while the turn goes on.
 */
import type { AnyEventObject } from 'xstate';
import type { RateLimiterSnapshot } from '../machines/index.ts';
import { scopeKindOf } from '../machines/rate-limiter/quota-window.ts';
import type { Property } from './options.ts';
import type { Broken, Draft } from './world.ts';

/** The number of what holds among runs that share a limiter. */
export const SHARING = 12;

/** The turn that is written about. */
interface Turn {
  readonly world: Draft;
  readonly property: Property;
  breaks(invariant: Broken['invariant'], what: string): void;
}

type LimiterContext = RateLimiterSnapshot['context'];

/** The property's own budget, and its own rest. */
export const siteOf = ({ scopes }: Property): string =>
  scopes.find((scope) => scopeKindOf(scope) === 'site') ?? '';

/** Whether a request or a lease is this run's. */
export const isOf = (id: unknown, { runId }: Property): boolean => String(id).startsWith(`${runId}:`);

/** Whether an event of the limiter is about this property, alone or with what it shares. */
export function speaksOf(event: AnyEventObject, property: Property): boolean {
  if (isOf(event.requestId ?? event.leaseId, property)) return true;
  const site = siteOf(property);
  return scopesIn(event).includes(site);
}

function scopesIn(event: AnyEventObject): readonly string[] {
  if (typeof event.scope === 'string') return [event.scope];
  if (Array.isArray(event.scopes)) return event.scopes;
  // Only what is recovered names its scopes lease by lease.
  return Array.isArray(event.leases) ? event.leases.map(({ scope }: { scope: string }) => scope) : [];
}

/** The limiter answers a request: whoever it goes to has made it, and is given nothing while a scope of his rests. */
export function noteAnswer(receiver: Turn, event: AnyEventObject): void {
  const { property, world } = receiver;
  if (!isOf(event.requestId, property)) {
    receiver.breaks(SHARING, `${event.type} for ${event.requestId} goes to a worker of ${property.runId}`);
  }
  const { conditions } = world.limiter.context;
  const resting = property.scopes.find((scope) => (conditions.get(scope)?.state ?? 'calm') !== 'calm');
  if (event.type === 'tokens.granted' && resting !== undefined) {
    receiver.breaks(SHARING, `${event.requestId} is granted tokens, and ${resting} rests`);
  }
}

/** The limiter has handled an event: those whom it does not speak of keep what they have. */
export function noteLimiterStep(
  turn: Turn,
  turns: readonly Turn[],
  event: AnyEventObject,
  { context: before }: RateLimiterSnapshot,
): void {
  const { context: after } = turn.world.limiter;
  for (const { property } of turns) {
    if (speaksOf(event, property)) continue;
    const what =
      lostLease(before, after, property) ??
      lostRequest(before, after, property) ??
      otherTerms(before, after, siteOf(property));
    if (what !== undefined) turn.breaks(SHARING, `${what}, and ${event.type} was not of ${property.runId}`);
  }
  if (event.type !== 'quota.refused') return;
  for (const shared of scopesIn(event)) {
    if (scopeKindOf(shared) === (event.scopeKind ?? 'site')) continue;
    // Too many requests a minute, and nobody says whose: that may be the minute of all.
    const mayBeLowered = event.quota === 'qps' && event.scopeKind === null;
    const what = otherTerms(before, mayBeLowered ? withLimitsOf(before, after) : after, shared);
    if (what !== undefined) turn.breaks(SHARING, `${what}, for a refusal that was not about it`);
  }
}

const withLimitsOf = ({ budgets }: LimiterContext, after: LimiterContext): LimiterContext => ({
  ...after,
  budgets,
});

function lostLease(before: LimiterContext, after: LimiterContext, property: Property): string | undefined {
  for (const { leaseId, unsettled } of before.leases.values()) {
    if (isOf(leaseId, property) && after.leases.get(leaseId)?.unsettled !== unsettled) {
      return `the lease ${leaseId} has changed`;
    }
  }
  return undefined;
}

/** Who waited goes on waiting, or has been given something, or is refused. */
function lostRequest(before: LimiterContext, after: LimiterContext, property: Property): string | undefined {
  const lost = before.queue.find(
    (waiting) =>
      isOf(waiting.requestId, property) &&
      !after.queue.some(
        ({ requestId, tokens }) => requestId === waiting.requestId && tokens === waiting.tokens,
      ) &&
      after.leases.get(waiting.requestId) === undefined &&
      !waiting.scopes.some((scope) => after.conditions.get(scope)?.state === 'refusing'),
  );
  return lost && `the request ${lost.requestId} is gone`;
}

/** A scope rests as before, and its limits are what they were. */
function otherTerms(before: LimiterContext, after: LimiterContext, scope: string): string | undefined {
  if (conditionIn(after, scope) !== conditionIn(before, scope)) return `${scope} rests, or rests no more`;
  const were = before.budgets.get(scope);
  const are = after.budgets.get(scope);
  // One that nothing counts in comes and goes.
  if (were === undefined || are === undefined) return undefined;
  const changed = are.some(({ limit }, index) => limit !== were[index]?.limit);
  return changed ? `the limit of ${scope} has changed` : undefined;
}

const conditionIn = ({ conditions }: LimiterContext, scope: string): string | undefined =>
  JSON.stringify(conditions.get(scope));
