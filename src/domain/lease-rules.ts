/**
 * The rules of leases that are neither SQL nor states: who may have what somebody else holds, how often one looks, and how
 * long an answer of the database's is good for.
 */

/**
 * `alive`: the holder's process shows its presence. `unknown`: it shows none, so only time tells. `gone`: it has shown one
 * and does no more, since it has ended, or since its session has: then it shows another at once.
 */
export type HolderState = 'alive' | 'unknown' | 'gone';

/** Of another's lease that has not expired. `renewedAt`: a number that grows with every renewal, as a text. */
export interface OtherLease {
  readonly state: HolderState;
  readonly renewedAt: string;
}

/** What is said of a resource that may not be taken: the liveliest of its holders, and the newest renewal. */
export interface BusyLease {
  readonly kind: 'busy';
  readonly holder: HolderState;
  readonly renewedAt: string;
}

const isNewer = (renewedAt: string, than: string): boolean => Number(renewedAt) > Number(than);

/**
 * Whether leases that others hold keep a resource from being taken; undefined: they do not. A holder that is gone, and has
 * not renewed since a look that has found it so, is gone for good.
 */
export function judgeHolders(others: readonly OtherLease[], goneSince: string | null): BusyLease | undefined {
  const living = others.filter(
    ({ state, renewedAt }) => state !== 'gone' || goneSince === null || isNewer(renewedAt, goneSince),
  );
  const [first] = living;
  if (first === undefined) return undefined;
  const newest = living.reduce(
    (one, { renewedAt }) => (isNewer(renewedAt, one) ? renewedAt : one),
    first.renewedAt,
  );
  const states = living.map(({ state }) => state);
  const holder = (['alive', 'unknown'] as const).find((state) => states.includes(state)) ?? 'gone';
  return { kind: 'busy', holder, renewedAt: newest };
}

/** What somebody who looks at a lease again and again remembers. */
export interface Looks {
  /** The newest renewal at the first look. */
  readonly first: string | undefined;
  /** What to ask the next time with, see {@link judgeHolders}. */
  readonly goneSince: string | null;
}

export const NO_LOOK: Looks = { first: undefined, goneSince: null };

/**
 * After a look that has found a lease busy. Of a holder that shows no presence only time tells whether it lives: it does when
 * it has renewed its lease since the first look.
 */
export function lookAgain(
  looks: Looks,
  { holder, renewedAt }: BusyLease,
): { readonly looks: Looks; readonly isAlive: boolean } {
  const first = looks.first ?? renewedAt;
  return {
    looks: { first, goneSince: holder === 'gone' ? renewedAt : null },
    isAlive: holder === 'alive' || isNewer(renewedAt, first),
  };
}

/**
 * How long the last answer holds, by the holder's own clock: timers may be late, and are when a process was stopped; this is
 * not. It counts from the moment before the database was asked, since the database counts from a later one.
 */
export interface LeaseValidity {
  readonly untilMs: number;
  /** The renewal under way, and when it was asked for. */
  readonly asked: { readonly serial: number; readonly atMs: number } | undefined;
}

export const validSince = (askedAtMs: number, leaseMs: number): LeaseValidity => ({
  untilMs: askedAtMs + leaseMs,
  asked: undefined,
});

export const renewalAsked = (validity: LeaseValidity, serial: number, nowMs: number): LeaseValidity => ({
  ...validity,
  asked: { serial, atMs: nowMs },
});

/** What is said of an earlier renewal, or of one that did not ask for all, says nothing. */
export function renewalKept(validity: LeaseValidity, serial: number, leaseMs: number): LeaseValidity {
  const { asked, untilMs } = validity;
  if (asked?.serial !== serial) return validity;
  return { untilMs: Math.max(untilMs, asked.atMs + leaseMs), asked: undefined };
}

/** One more lease, which was asked for then: all are kept, or none. The renewal under way has not asked for it. */
export const leaseJoined = (
  { untilMs }: LeaseValidity,
  askedAtMs: number,
  leaseMs: number,
): LeaseValidity => ({
  untilMs: Math.min(untilMs, askedAtMs + leaseMs),
  asked: undefined,
});

export const isValid = ({ untilMs }: LeaseValidity, nowMs: number): boolean => nowMs < untilMs;
