/**
 * How one run's message may affect another run on the same limiter: it may use up shared tokens or free them. Any other
 * change is recorded during the turn.
 */
import type { AnyEventObject } from 'xstate';
import type { RateLimiterSnapshot } from '../machines/index.ts';
import { scopeKindOf } from '../machines/rate-limiter/quota-window.ts';
import type { Property } from './options.ts';
import type { Broken, Draft } from './world.ts';

/** The number of the invariant for runs that share a limiter. */
export const SHARING = 12;

/** The turn being recorded. */
interface Turn {
  readonly world: Draft;
  readonly property: Property;
  breaks(invariant: Broken['invariant'], what: string): void;
}

type LimiterContext = RateLimiterSnapshot['context'];

/** The property's own scope, for its budget and its rest. */
export const siteOf = ({ scopes }: Property): string =>
  scopes.find((scope) => scopeKindOf(scope) === 'site') ?? '';

/** Whether a request or lease belongs to this run. */
export const isOf = (id: unknown, { runId }: Property): boolean => String(id).startsWith(`${runId}:`);

/** Whether an event of the limiter concerns this property, alone or through a shared scope. */
export function speaksOf(event: AnyEventObject, property: Property): boolean {
  if (isOf(event.requestId ?? event.leaseId, property)) return true;
  const site = siteOf(property);
  return scopesIn(event).includes(site);
}

function scopesIn(event: AnyEventObject): readonly string[] {
  if (typeof event.scope === 'string') return [event.scope];
  if (Array.isArray(event.scopes)) return event.scopes;
  // Only the recovery event names scopes lease by lease.
  return Array.isArray(event.leases) ? event.leases.map(({ scope }: { scope: string }) => scope) : [];
}

/** The limiter answers a request. The receiver must have made it, and gets no tokens while one of its scopes rests. */
export function noteAnswer(receiver: Turn, event: AnyEventObject): void {
  const { property, world } = receiver;
  if (!isOf(event.requestId, property)) {
    receiver.breaks(SHARING, `${event.type} for ${event.requestId} goes to a worker of ${property.runId}`);
  }
  const { conditions } = world.limiter.context;
  const resting = property.scopes.find((scope) => (conditions.get(scope)?.state ?? 'calm') !== 'calm');
  if (event.type === 'tokens.granted' && resting !== undefined) {
    receiver.breaks(SHARING, `${event.requestId} is granted tokens while ${resting} rests`);
  }
}

/** The limiter has handled an event. Runs it does not concern keep what they have. */
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
    if (what !== undefined)
      turn.breaks(SHARING, `${what}, although ${event.type} does not concern ${property.runId}`);
  }
  if (event.type !== 'quota.refused') return;
  for (const shared of scopesIn(event)) {
    if (scopeKindOf(shared) === (event.scopeKind ?? 'site')) continue;
    // Too many requests per minute, without naming the scope: the shared limit may be meant.
    const mayBeLowered = event.quota === 'qps' && event.scopeKind === null;
    const what = otherTerms(before, mayBeLowered ? withLimitsOf(before, after) : after, shared);
    if (what !== undefined) turn.breaks(SHARING, `${what}, for a refusal that does not concern it`);
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

/** A waiting request must still wait, or have been granted or denied. */
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

/** A scope rests as before, and its limits are unchanged. */
function otherTerms(before: LimiterContext, after: LimiterContext, scope: string): string | undefined {
  if (conditionIn(after, scope) !== conditionIn(before, scope)) return `${scope} starts or stops resting`;
  const were = before.budgets.get(scope);
  const are = after.budgets.get(scope);
  // Scopes without counted tokens come and go.
  if (were === undefined || are === undefined) return undefined;
  const changed = are.some(({ limit }, index) => limit !== were[index]?.limit);
  return changed ? `the limit of ${scope} has changed` : undefined;
}

const conditionIn = ({ conditions }: LimiterContext, scope: string): string | undefined =>
  JSON.stringify(conditions.get(scope));
