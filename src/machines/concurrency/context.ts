/**
 * What the concurrency controller knows, what it is told, and pure questions about both. What it does with the answers is in
 * `concurrency-controller.ts`.
 */
import type { ControlEvent, Recipient } from '../messages.ts';
import { APPROACHING } from '../rate-limiter/rate-limiter.ts';
import {
  addCall,
  forgetOld,
  hasGrown,
  kneeOf,
  meanRate,
  NO_SAMPLE,
  type Rate,
  rateOf,
  type Sample,
} from './throughput.ts';

export interface ConcurrencyControllerInput {
  readonly coordinator: Recipient<ControlEvent>;
  /** The level that the coordinator begins with. */
  readonly start: number;
  readonly most: number;
  /** How long at least a level is watched before a further worker is tried, and after a fall. */
  readonly soakMs: number;
  /** Begin with a worker more for each call that ends well, instead of one a soak. */
  readonly slowStart: boolean;
  /** Pages of a full batch. */
  readonly batchSize: number;
}

export type ConcurrencyControllerEvent =
  /** A call has its tokens. `quotaShare`: how much of the fullest budget is used now, in [0, 1]. */
  | {
      readonly type: 'call.began';
      readonly callId: string;
      readonly pages: number;
      readonly quotaShare: number;
    }
  /** The server refused pages of it for want of quota. Told once a call. */
  | { readonly type: 'call.refused'; readonly callId: string; readonly detail: string }
  /** `pages` and `rows` were committed. */
  | {
      readonly type: 'call.ended';
      readonly callId: string;
      readonly pages: number;
      readonly rows: number;
      readonly durationMs: number;
      /** Pages wait, or the plan has more. */
      readonly moreToDo: boolean;
    }
  /** It failed as a whole, or most of its pages did. */
  | { readonly type: 'call.failed'; readonly callId: string; readonly detail: string }
  /** It was aborted, or its token had expired: that says nothing about concurrency. */
  | { readonly type: 'call.void'; readonly callId: string }
  /** The user sets the level from now on. */
  | { readonly type: 'release' };

/**
 * `slowStart`: a call ended well. `trial`: one more is tried. `grew`: the one more paid, and another is tried. `noGain`:
 * more calls at once brought no more throughput. `refused`, `failed`: to the last good level. `repeated`: trouble again,
 * to 1. `quota`, `most`: it stays, since 80 % of a quota is used, or as many as may be are at work.
 */
export type ConcurrencyReason =
  | 'slowStart'
  | 'trial'
  | 'grew'
  | 'noGain'
  | 'refused'
  | 'failed'
  | 'repeated'
  | 'quota'
  | 'most';

export interface ConcurrencyDecision {
  readonly type: 'concurrency.decided';
  readonly from: number;
  /** The same as `from` when the decision is to stay. */
  readonly to: number;
  readonly reason: ConcurrencyReason;
  /** What the server or the network said, when it was trouble. */
  readonly detail: string | null;
}

export interface Verdict {
  readonly to: number;
  readonly reason: ConcurrencyReason;
  readonly detail?: string;
}

interface CallUnderWay {
  readonly callId: string;
  /** Calls under way when it began, itself included. */
  readonly sharers: number;
  readonly phase: number;
  readonly isFull: boolean;
  readonly isRefused: boolean;
}

export interface ConcurrencyControllerContext {
  readonly input: ConcurrencyControllerInput;
  readonly level: number;
  /** The highest level below the present one, or the present one itself, that is known to do well. */
  readonly lastGood: number;
  readonly calls: readonly CallUnderWay[];
  /** A serial number: a level to be judged begins a phase. */
  readonly phase: number;
  /** The phase that the last fall began. */
  readonly fallPhase: number;
  /** Calls of this phase that ended well, full or not. */
  readonly endedWell: number;
  /** The most calls under way at once in this phase. */
  readonly peak: number;
  readonly sample: Sample;
  /** In slow start: the level this round began with. */
  readonly roundLevel: number;
  /** Of the first round, and of the last level that was judged. */
  readonly first: Rate | null;
  readonly baseline: Rate | null;
  readonly quotaShare: number;
  readonly moreToDo: boolean;
  /** Trials without gain, and falls, since the last gain: each doubles the rest before the next trial. */
  readonly setbacks: number;
}

/** A doubling has to bring a quarter more: three calls are a rough measure, and the next round corrects it. */
const GAIN_OF_A_ROUND = 1 / 4;
/** Concurrency must have risen by so much for its effect to be seen in slow start. */
const LEAST_RISE = 1.1;
/** A single worker more has to bring half of its share. */
const GAIN_OF_A_TRIAL = 1 / 2;
/** Calls of each worker that a trial takes at least. */
const CALLS_A_WORKER = 4;
/** After a setback: this many soaks, doubled with each further one. */
const SOAKS_OF_REST = 8;
const MOST_DOUBLINGS = 4;

type Context = ConcurrencyControllerContext;

/** The more there are, the less one more shows: what it takes to see it goes with their square. */
const callsNeeded = ({ level }: Context): number => level * Math.max(CALLS_A_WORKER, level);
export const isNearQuota = ({ quotaShare }: Context): boolean => quotaShare >= APPROACHING;
export const mayRaise = (context: Context): boolean =>
  context.level < context.input.most && !isNearQuota(context) && context.moreToDo;
const roundRate = ({ sample }: Context): Rate => meanRate(sample);

/** The call that an event is of, when its trouble is news. */
export function newsOf(context: Context, event: ConcurrencyControllerEvent): CallUnderWay | undefined {
  if (event.type !== 'call.refused' && event.type !== 'call.failed') return undefined;
  const call = context.calls.find(({ callId }) => callId === event.callId);
  return call !== undefined && !call.isRefused && call.phase >= context.fallPhase ? call : undefined;
}

/** What is known when a call has ended well. In slow start, calls of the round before count, too: the level changes with each. */
export function afterEnd(
  context: Context,
  event: Extract<ConcurrencyControllerEvent, { type: 'call.ended' }>,
  ofAnyPhase: boolean,
): Context {
  const call = context.calls.find(({ callId }) => callId === event.callId);
  if (call === undefined) return context;
  const calls = context.calls.filter((other) => other !== call);
  const left = { ...context, calls, moreToDo: event.moreToDo };
  if (call.isRefused || call.phase < context.fallPhase) return left;
  if (call.phase !== context.phase && !ofAnyPhase) return left;
  const sharers = (call.sharers + context.calls.length) / 2;
  return {
    ...left,
    endedWell: context.endedWell + 1,
    sample: call.isFull
      ? forgetOld(addCall(context.sample, { ...event, sharers }), callsNeeded(context))
      : context.sample,
  };
}

/** Every worker is at work, or at least half of them: in slow start, what has just been added need not have begun. */
const isUsed = ({ calls, level }: Context): boolean => calls.length * 2 > level;

/** It ended well, the workers are used, and what this round has seen so far is more than the last one. */
export function mayGrow(context: Context, event: ConcurrencyControllerEvent): boolean {
  if (event.type !== 'call.ended' || context.level >= 2 * context.roundLevel) return false;
  const after = afterEnd(context, event, true);
  if (after.endedWell === context.endedWell || !isUsed(context) || !mayRaise(after)) return false;
  return !isRoundFlat(after);
}

/**
 * As many calls as workers have ended, or, when throughput looks flat, twice as many: so few say little. Nothing is judged
 * any more when there is nothing left to judge it for.
 */
export const isRoundOver = (context: Context): boolean =>
  context.moreToDo &&
  context.sample.calls >= (isRoundFlat(context) ? 2 * context.roundLevel : context.roundLevel);

export function isRoundFlat(context: Context): boolean {
  const { baseline } = context;
  const rate = roundRate(context);
  if (baseline === null || rate.level < LEAST_RISE * baseline.level) return false;
  return !hasGrown(baseline, rate, GAIN_OF_A_ROUND);
}

/** A round of slow start did well: the next one begins, at the level it has led to. */
export function nextRound(context: Context) {
  const rate = roundRate(context);
  return {
    ...newPhase(context),
    first: context.first ?? rate,
    baseline: rate,
    lastGood: context.roundLevel,
    roundLevel: context.level,
  };
}

/** Enough is known of the level to judge it. */
export const isMeasured = (context: Context): boolean =>
  context.moreToDo && context.sample.calls >= callsNeeded(context);

export const hasGained = ({ baseline, level, sample }: Context): boolean =>
  baseline !== null && hasGrown(baseline, rateOf(level, sample), GAIN_OF_A_TRIAL);

export const restMs = ({ input, setbacks }: Context): number =>
  input.soakMs * (setbacks === 0 ? 1 : SOAKS_OF_REST * 2 ** Math.min(setbacks - 1, MOST_DOUBLINGS));

/** Where trouble leads: to the level that did well before this one, or, when it is this one that did, to half of it. */
export const fallFrom = ({ level, lastGood }: Context): number =>
  lastGood < level ? lastGood : Math.max(1, Math.floor(level / 2));

/** Where slow start ends: what it found out, seen as the level that was just enough for it. */
export function kneeIn(context: Context): number {
  const { first, baseline, level } = context;
  const rates = [roundRate(context), baseline].filter((rate) => rate !== null);
  const best = rates.reduce((a, b) => (b.workPerMs > a.workPerMs ? b : a));
  if (first === null) return level;
  return Math.min(level, Math.max(context.input.start, kneeOf(first, best)));
}

export const troubleOf = (event: ConcurrencyControllerEvent) => ({
  reason: event.type === 'call.refused' ? ('refused' as const) : ('failed' as const),
  detail: 'detail' in event ? event.detail : '',
});

export const newPhase = (context: Context) => ({
  phase: context.phase + 1,
  sample: NO_SAMPLE,
  endedWell: 0,
  peak: context.calls.length,
});
