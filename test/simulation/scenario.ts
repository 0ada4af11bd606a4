/** All that a seed decides, as plain data: it can be printed, changed by the shrinker, and run again. */
import type { SearchType } from '../../src/domain/slice.ts';
import { Chance } from './chance.ts';
import { Truth } from './truth.ts';

/** Faults, and what the number beside each means: a probability each time it could happen, if nothing else is said. */
export const FAULTS = [
  // network, a call
  'connectRefused',
  'tlsFailure',
  'lostRequest',
  'lateRequest',
  'resetBeforeArrival',
  'resetAfterArrival',
  'lostAnswer',
  'resetInBody',
  'cutBody',
  'trickle',
  'stall',
  // Search Console, a call
  'wholeError',
  'notMultipart',
  'refusedWhole',
  'refusedParts',
  'loadRefusal',
  'dailyRefusal',
  'unauthorized',
  'unauthorizedPart',
  'shuffledParts',
  'strayParts',
  'quirks',
  // Search Console, a part
  'partError',
  'missingPart',
  'doubledPart',
  'wrongAnswer',
  // Search Console, periods: a share of the time
  'outage',
  'noBatches',
  // Search Console, a slice
  'invalidSlice',
  // Search Console, its data: a share of days, or on when above zero
  'reorderedTies',
  'changingDays',
  'lateDays',
  'lostDays',
  // sign-in, a token
  'noToken',
  // database, a statement
  'lostBeforeCommit',
  'lostAfterCommit',
  'lockWait',
  'slowDatabase',
  'statementTimeout',
  'rejectedSlice',
  // database, periods: a share of the time
  'databaseAway',
  'diskFull',
  'readOnly',
  // the process
  'workerCrash',
  'sloppyTimers',
] as const;
export type Fault = (typeof FAULTS)[number];

export type Action =
  | { readonly kind: 'crash'; readonly afterMs: number }
  | { readonly kind: 'halt'; readonly afterMs: number }
  | { readonly kind: 'pause'; readonly afterMs: number; readonly forMs: number }
  | { readonly kind: 'concurrency'; readonly afterMs: number; readonly to: number }
  | { readonly kind: 'lockLost'; readonly afterMs: number }
  /** The process stands still. `isTakenOver`: the next one begins meanwhile, and it wakes up to find itself replaced. */
  | {
      readonly kind: 'freeze';
      readonly afterMs: number;
      readonly forMs: number;
      readonly isTakenOver: boolean;
    }
  /** The server ends the session that shows its presence, and the next process begins while this one goes on. */
  | { readonly kind: 'sessionEnded'; readonly afterMs: number; readonly staysAway: boolean }
  | { readonly kind: 'wallJump'; readonly afterMs: number; readonly byMs: number };

/** One process, from its start to its end or its crash. */
export interface LifeScript {
  readonly refresh: boolean;
  readonly actions: readonly Action[];
  /** How long after its end the next one starts. */
  readonly restMs: number;
}

export interface Scenario {
  readonly seed: number;
  readonly startMs: number;
  /** The range's last day, so many days before the first one's today, and its length. */
  readonly endsDaysAgo: number;
  readonly days: number;
  readonly datasets: readonly string[];
  readonly searchTypes: readonly SearchType[];
  readonly options: {
    readonly maxConcurrency: number;
    readonly batchSize: number;
    readonly rowsPerPage: number;
    readonly requestsPerMinute: number;
    readonly maxAttempts: number;
    readonly haltDeadlineMs: number;
    readonly burst: { readonly limit: number; readonly windowMs: number } | null;
  };
  readonly google: {
    /** Rows of the largest slice. */
    readonly rows: number;
    /** Share of days without data. */
    readonly emptyShare: number;
    /** Clicks are below this: the smaller, the more ties. */
    readonly clicks: number;
    readonly lagMs: number;
    /** Requests a minute that it really takes; null: as many as the options say. */
    readonly realLimit: number | null;
    readonly thinkMs: number;
  };
  readonly latencyMs: number;
  readonly databaseMs: number;
  readonly faults: Readonly<Partial<Record<Fault, number>>>;
  readonly lives: readonly LifeScript[];
}

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DATASETS = ['page', 'query', 'page+query', 'date', 'country', 'device'];
const TYPES: readonly SearchType[] = ['web', 'image', 'discover', 'googleNews'];

/** How often a fault strikes when it is on. Those that end a run for good are rare, or nothing else would be seen. */
function drawRate(fault: Fault, chance: Chance): number {
  switch (fault) {
    case 'dailyRefusal':
    case 'loadRefusal':
      return chance.scale(0.002, 0.05);
    case 'diskFull':
      return chance.scale(0.005, 0.05);
    case 'databaseAway':
    case 'readOnly':
    case 'outage':
    case 'noBatches':
      return chance.scale(0.005, 0.2);
    case 'invalidSlice':
    case 'rejectedSlice':
      return chance.scale(0.02, 0.3);
    case 'lostDays':
      return chance.scale(0.1, 0.6);
    case 'reorderedTies':
    case 'changingDays':
    case 'lateDays':
      return 1;
    case 'lateRequest':
      return chance.between(0.05, 0.6);
    case 'workerCrash':
      return chance.scale(0.005, 0.05);
    case 'sloppyTimers':
    case 'quirks':
    case 'shuffledParts':
      return chance.between(0.2, 1);
    default:
      return chance.scale(0.01, 0.35);
  }
}

function drawActions(chance: Chance, most: number, chaos: number): Action[] {
  const actions: Action[] = [];
  const count = chance.is(chaos) ? chance.whole(1, most) : 0;
  for (let index = 0; index < count; index += 1) {
    const afterMs = Math.round(chance.scale(5, 20 * MINUTE_MS));
    switch (
      chance.pick([
        'crash',
        'crash',
        'halt',
        'pause',
        'concurrency',
        'lockLost',
        'freeze',
        'sessionEnded',
        'wallJump',
      ] as const)
    ) {
      case 'crash':
        actions.push({ kind: 'crash', afterMs });
        break;
      case 'halt':
        actions.push({ kind: 'halt', afterMs });
        break;
      case 'pause':
        actions.push({ kind: 'pause', afterMs, forMs: Math.round(chance.scale(10, 5 * MINUTE_MS)) });
        break;
      case 'concurrency':
        actions.push({ kind: 'concurrency', afterMs, to: chance.whole(1, 6) });
        break;
      case 'lockLost':
        actions.push({ kind: 'lockLost', afterMs });
        break;
      case 'sessionEnded':
        actions.push({ kind: 'sessionEnded', afterMs, staysAway: chance.is(0.5) });
        break;
      case 'freeze': {
        const forMs = Math.round(chance.scale(100, 10 * MINUTE_MS));
        actions.push({ kind: 'freeze', afterMs, forMs, isTakenOver: chance.is(0.3) });
        break;
      }
      case 'wallJump':
        actions.push({
          kind: 'wallJump',
          afterMs,
          byMs: Math.round(chance.scale(100, 72 * HOUR_MS)) * (chance.is(0.5) ? 1 : -1),
        });
    }
  }
  return actions.sort((one, other) => one.afterMs - other.afterMs);
}

/** In some seeds a day is published, or becomes final, just after the first process has begun. */
function drawLagMs(chance: Chance, startMs: number, faults: Scenario['faults']): number {
  const usual = Math.round(chance.between(20, 60) * HOUR_MS);
  const soonMs = Math.round(chance.scale(1_000, HOUR_MS));
  const daysBack = chance.whole(2, 5);
  const [isSoon, isFinal] = [chance.is(0.3), chance.is(0.6)];
  const date = new Date(startMs - daysBack * 24 * HOUR_MS).toISOString().slice(0, 10);
  const unlagged = new Truth({ seed: 0, faults, google: { lagMs: 0, rows: 0, clicks: 0, emptyShare: 0 } });
  const edge = isFinal ? unlagged.finalAt(date) : unlagged.publishedAt(date);
  return isSoon && startMs + soonMs > edge ? startMs + soonMs - edge : usual;
}

/** Swarm testing: each seed turns its own faults on, and each as often as it likes; some seeds have none at all. */
export function drawScenario(seed: number): Scenario {
  const chance = new Chance(seed, 'scenario');
  const chaos = chance.pick([0, 0.1, 0.25, 0.5]);
  const faults: Partial<Record<Fault, number>> = {};
  for (const fault of FAULTS) {
    if (fault === 'outage' || fault === 'noBatches') continue;
    const rate = drawRate(fault, chance);
    if (chance.is(chaos)) faults[fault] = Number(rate.toPrecision(3));
  }
  // Drawn apart: what a seed had before stays as it was.
  const weather = new Chance(seed, 'weather');
  for (const fault of ['outage', 'noBatches'] as const) {
    const rate = drawRate(fault, weather);
    if (weather.is(chaos)) faults[fault] = Number(rate.toPrecision(3));
  }
  const requestsPerMinute = chance.pick([1, 2, 5, 10, 20, 60, 200, 1_200]);
  const lives = Array.from({ length: chance.is(chaos) ? chance.whole(2, 5) : 1 }, (_, index) => ({
    refresh: index === 0 ? chance.is(0.1) : chance.is(0.3),
    actions: drawActions(chance, 3, chaos === 0 ? 0 : 0.6),
    restMs: Math.round(chance.pick([0, 1, 30, 2_000]) * chance.scale(10, 30 * MINUTE_MS) * chance.next()),
  }));
  const startMs = Date.UTC(2026, 2, 1) + chance.below(300 * 24 * 3_600) * 1_000;
  const endsDaysAgo = chance.pick([0, 0, 1, 2, 3, 4, 7, 30]);
  const days = chance.pick([1, 2, 3, 5, 8, 13]);
  const scenario: Scenario = {
    seed,
    startMs,
    endsDaysAgo,
    days,
    datasets: [
      ...chance.shuffled(DATASETS).slice(0, chance.pick([1, 1, 2, 3])),
      ...(new Chance(seed, 'two steps').is(0.2) ? ['page+searchAppearance'] : []),
    ],
    searchTypes: chance.shuffled(TYPES).slice(0, chance.pick([1, 1, 1, 2])),
    options: {
      maxConcurrency: chance.whole(1, 5),
      batchSize: chance.pick([1, 1, 2, 3, 5, 10, 50]),
      rowsPerPage: chance.pick([1, 2, 3, 5, 10, 100]),
      requestsPerMinute,
      maxAttempts: chance.whole(1, 5),
      haltDeadlineMs: chance.pick([100, 1_000, 5_000, 60_000]),
      burst: chance.is(0.15) ? { limit: chance.whole(1, 10), windowMs: chance.pick([1_000, 10_000]) } : null,
    },
    google: {
      rows: chance.pick([0, 1, 3, 6, 12, 20]),
      emptyShare: chance.pick([0, 0, 0.2, 0.5]),
      clicks: chance.pick([2, 5, 1_000]),
      lagMs: drawLagMs(chance, startMs, faults),
      realLimit: chance.is(chaos / 2)
        ? Math.max(1, Math.floor(requestsPerMinute / chance.whole(2, 20)))
        : null,
      thinkMs: Math.round(chance.scale(10, 8_000)),
    },
    latencyMs: Math.round(chance.scale(1, 2_000)),
    databaseMs: Math.round(chance.scale(1, 500)),
    faults,
    lives,
  };
  const large = new Chance(seed, 'large plan');
  return large.is(0.2) ? asLargePlan(scenario, large) : scenario;
}

/** Many rounds of old days: the calendars are not waited for, and slices are fetched speculatively. */
function asLargePlan(scenario: Scenario, chance: Chance): Scenario {
  const others = scenario.searchTypes.filter((type) => type !== 'web').slice(0, 1);
  return {
    ...scenario,
    endsDaysAgo: 30,
    days: chance.pick([8, 13]),
    searchTypes: chance.shuffled(chance.is(0.3) ? ['web', ...others] : ['web']),
    options: {
      ...scenario.options,
      maxConcurrency: chance.whole(2, 4),
      batchSize: chance.pick([1, 1, 2]),
    },
  };
}
