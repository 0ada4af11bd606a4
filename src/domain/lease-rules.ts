/**
 * The rules of leases that are neither SQL nor states: when a lease may be taken over, how often to check, and how long
 * a database answer is valid.
 */

/**
 * State of a lease's holder. `alive`: its process shows a presence. `unknown`: it shows none, so only time can tell.
 * `gone`: it showed one and no longer does. Either the process ended, or only its session did; then it soon shows a new
 * one.
 */
export type HolderState = 'alive' | 'unknown' | 'gone';

/** An unexpired lease of another holder. `renewedAt`: a number, as text, that grows with every renewal. */
export interface OtherLease {
  readonly state: HolderState;
  readonly renewedAt: string;
}

/** Why a resource may not be taken: the state of its most lively holder, and the newest renewal. */
export interface BusyLease {
  readonly kind: 'busy';
  readonly holder: HolderState;
  readonly renewedAt: string;
}

const isNewer = (renewedAt: string, than: string): boolean => Number(renewedAt) > Number(than);

/**
 * Whether leases of other holders block a resource. Undefined if not. A holder that is gone, and has not renewed since
 * an earlier check found it gone, no longer blocks.
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

/** What a waiting run remembers between checks of a lease. */
export interface Looks {
  /** The newest renewal at the first check. */
  readonly first: string | undefined;
  /** The argument for the next check; see {@link judgeHolders}. */
  readonly goneSince: string | null;
}

export const NO_LOOK: Looks = { first: undefined, goneSince: null };

/**
 * After a check that found the lease busy. A holder without a presence is known to live only if it has renewed since
 * the first check.
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
 * How long the last answer is valid, by the holder's own clock. Timers may be late, for example after a process was
 * stopped; this check is not. It counts from just before the database was asked, because the database counts from a
 * later moment.
 */
export interface LeaseValidity {
  readonly untilMs: number;
  /** The renewal under way, and when it was sent. */
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

/** Answers to an earlier renewal, or to one that did not cover all leases, are ignored. */
export function renewalKept(validity: LeaseValidity, serial: number, leaseMs: number): LeaseValidity {
  const { asked, untilMs } = validity;
  if (asked?.serial !== serial) return validity;
  return { untilMs: Math.max(untilMs, asked.atMs + leaseMs), asked: undefined };
}

/**
 * Adds a lease acquired at that time. All leases are kept or none. The renewal under way does not cover the new one.
 */
export const leaseJoined = (
  { untilMs }: LeaseValidity,
  askedAtMs: number,
  leaseMs: number,
): LeaseValidity => ({
  untilMs: Math.min(untilMs, askedAtMs + leaseMs),
  asked: undefined,
});

export const isValid = ({ untilMs }: LeaseValidity, nowMs: number): boolean => nowMs < untilMs;
