/** The worlds of leases that are walked whole, and why each. */
import type { LeaseModelOptions, RareLeaseKind } from '../../src/model/index.ts';

export interface LeaseSize {
  readonly name: string;
  readonly leases: Partial<LeaseModelOptions>;
}

const once = (...kinds: readonly RareLeaseKind[]): Partial<Record<RareLeaseKind, number>> =>
  Object.fromEntries(kinds.map((kind) => [kind, 1]));

/** A lease of two ticks, renewed every tick. */
const SHORT = { leaseTicks: 2, keeper: { renewEveryMs: 1, retryMs: 1, giveUpMs: 3 }, answerWithin: 2 };
const EVERYTHING = once(
  'slow',
  'lost',
  'refused',
  'stopped',
  'killed',
  'vanished',
  'sessionEnded',
  'sessionStaysAway',
);

/** In seconds: part of the tests, and what every mutant is judged by. The quick ones first. */
export const SMALL_LEASE_SIZES: readonly LeaseSize[] = [
  { name: 'leases: nothing rare', leases: {} },
  {
    name: 'leases: a process is killed and started again, nobody waits',
    leases: { ...SHORT, wait: false, rare: once('killed'), maxRare: 1, runs: { a: 2, b: 1 } },
  },
  {
    name: 'leases: a presence is lost, or says too much',
    leases: { ...SHORT, rare: once('sessionEnded', 'sessionStaysAway', 'vanished'), maxRare: 1 },
  },
  {
    name: 'leases: a process stands still',
    leases: { ...SHORT, rare: once('stopped'), maxRare: 1 },
  },
  {
    name: 'leases: a message comes late, or never',
    leases: { ...SHORT, rare: once('slow', 'lost', 'refused'), maxRare: 1 },
  },
];

/** In minutes: `npm run check:model`. */
export const LARGE_LEASE_SIZES: readonly LeaseSize[] = [
  {
    name: 'leases: one of everything rare, two runs against one',
    leases: { rare: EVERYTHING, maxRare: 1, runs: { a: 2, b: 1 } },
  },
  {
    name: 'leases: two messages come late, or never',
    leases: { ...SHORT, rare: { slow: 2, lost: 1, refused: 1 }, maxRare: 2 },
  },
  {
    name: 'leases: a process stands still, its session is ended, another sends nothing',
    leases: {
      ...SHORT,
      requests: { a: 1, b: 0 },
      victims: ['a'],
      rare: once('stopped', 'sessionEnded'),
      maxRare: 2,
    },
  },
  {
    name: 'leases: without presence, a process stands still or is killed',
    leases: { presence: false, rare: once('stopped', 'killed'), maxRare: 1, runs: { a: 2, b: 1 } },
  },
];
