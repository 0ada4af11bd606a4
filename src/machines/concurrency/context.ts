/**
 * The concurrency controller's context and events, and pure functions over them. Its actions are in
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
  /** The coordinator's initial level. */
  readonly start: number;
  readonly most: number;
  /** Minimum time to measure a level before trying an extra worker, and after a decrease. */
  readonly soakMs: number;
  /** Start by adding a worker for each call that ends well, instead of one per soak. */
  readonly slowStart: boolean;
  /** Pages in a full batch. */
  readonly batchSize: number;
}

export type ConcurrencyControllerEvent =
  /** A call has its tokens. `quotaShare`: share of the fullest budget in use now, in [0, 1]. */
  | {
      readonly type: 'call.began';
      readonly callId: string;
      readonly pages: number;
      readonly quotaShare: number;
    }
  /** The server refused pages of the call for quota. Sent once per call. */
  | { readonly type: 'call.refused'; readonly callId: string; readonly detail: string }
  /** `pages` and `rows` were committed. */
  | {
      readonly type: 'call.ended';
      readonly callId: string;
      readonly pages: number;
      readonly rows: number;
      readonly durationMs: number;
      /** Pages are queued, or the plan has more. */
      readonly moreToDo: boolean;
    }
  /** The call failed as a whole, or most of its pages did. */
  | { readonly type: 'call.failed'; readonly callId: string; readonly detail: string }
  /** The call was aborted, or its access token had expired. This says nothing about concurrency. */
  | { readonly type: 'call.void'; readonly callId: string }
  /** The user sets the level from now on. */
  | { readonly type: 'release' };

/**
 * - `slowStart`: a call ended well.
 * - `trial`: one more worker is tried.
 * - `grew`: the extra worker paid off, and another is tried.
 * - `noGain`: more concurrent calls brought no more throughput.
 * - `refused`, `failed`: back to the last good level.
 * - `repeated`: trouble again, down to 1.
 * - `quota`, `most`: no change, because 80 % of a quota is in use or the maximum is reached.
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
  /** Equal to `from` if the level stays. */
  readonly to: number;
  readonly reason: ConcurrencyReason;
  /** The server's or network's error, if that was the reason. */
  readonly detail: string | null;
}

export interface Verdict {
  readonly to: number;
  readonly reason: ConcurrencyReason;
  readonly detail?: string;
}

interface CallUnderWay {
  readonly callId: string;
  /** Calls under way when this one began, including itself. */
  readonly sharers: number;
  readonly phase: number;
  readonly isFull: boolean;
  readonly isRefused: boolean;
}

export interface ConcurrencyControllerContext {
  readonly input: ConcurrencyControllerInput;
  readonly level: number;
  /** The highest level, up to the present one, that is known to do well. */
  readonly lastGood: number;
  readonly calls: readonly CallUnderWay[];
  /** Serial number. Each level to be judged starts a phase. */
  readonly phase: number;
  /** The phase that the last decrease started. */
  readonly fallPhase: number;
  /** Calls of this phase that ended well, whether full or not. */
  readonly endedWell: number;
  /** Maximum concurrent calls in this phase. */
  readonly peak: number;
  readonly sample: Sample;
  /** In slow start: the level at the start of this round. */
  readonly roundLevel: number;
  /** Samples of the first round and of the last judged level. */
  readonly first: Rate | null;
  readonly baseline: Rate | null;
  readonly quotaShare: number;
  readonly moreToDo: boolean;
  /** Trials without gain plus decreases, since the last gain. Each doubles the wait before the next trial. */
  readonly setbacks: number;
}

/** A doubling must bring at least a quarter more. Three calls are a rough measure; the next round corrects it. */
const GAIN_OF_A_ROUND = 1 / 4;
/** By how much concurrency must have risen for the effect to be measurable in slow start. */
const MIN_RISE = 1.1;
/** A single extra worker must bring half of its proportional share. */
const GAIN_OF_A_TRIAL = 1 / 2;
/** Minimum calls per worker in a trial. */
const CALLS_A_WORKER = 4;
/** Number of soaks to wait after a setback. Doubles with each further one. */
const SOAKS_OF_REST = 8;
const MAX_DOUBLINGS = 4;

type Context = ConcurrencyControllerContext;

/**
 * The more workers there are, the less one more shows: the calls needed to see it grow with the square of their number.
 */
const callsNeeded = ({ level }: Context): number => level * Math.max(CALLS_A_WORKER, level);
export const isNearQuota = ({ quotaShare }: Context): boolean => quotaShare >= APPROACHING;
export const mayRaise = (context: Context): boolean =>
  context.level < context.input.most && !isNearQuota(context) && context.moreToDo;
const roundRate = ({ sample }: Context): Rate => meanRate(sample);

/** The call of this event, if it reports new trouble. */
export function newsOf(context: Context, event: ConcurrencyControllerEvent): CallUnderWay | undefined {
  if (event.type !== 'call.refused' && event.type !== 'call.failed') return undefined;
  const call = context.calls.find(({ callId }) => callId === event.callId);
  return call !== undefined && !call.isRefused && call.phase >= context.fallPhase ? call : undefined;
}

/**
 * Adds a call that ended well. In slow start, calls of earlier rounds count too, because the level changes with every
 * call.
 */
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

/** Every worker is busy, or in slow start at least half of them: recent additions need not have started. */
const isUsed = ({ calls, level }: Context): boolean => calls.length * 2 > level;

/** The call ended well, the workers are in use, and this round has measured more than the last one. */
export function mayGrow(context: Context, event: ConcurrencyControllerEvent): boolean {
  if (event.type !== 'call.ended' || context.level >= 2 * context.roundLevel) return false;
  const after = afterEnd(context, event, true);
  if (after.endedWell === context.endedWell || !isUsed(context) || !mayRaise(after)) return false;
  return !isRoundFlat(after);
}

/**
 * As many calls as workers have ended; twice as many if throughput looks flat, because so few prove little. Without
 * work left nothing is judged.
 */
export const isRoundOver = (context: Context): boolean =>
  context.moreToDo &&
  context.sample.calls >= (isRoundFlat(context) ? 2 * context.roundLevel : context.roundLevel);

export function isRoundFlat(context: Context): boolean {
  const { baseline } = context;
  const rate = roundRate(context);
  if (baseline === null || rate.level < MIN_RISE * baseline.level) return false;
  return !hasGrown(baseline, rate, GAIN_OF_A_ROUND);
}

/** A slow-start round went well. The next one starts at the level reached. */
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

/** The level has been measured enough to judge it. */
export const isMeasured = (context: Context): boolean =>
  context.moreToDo && context.sample.calls >= callsNeeded(context);

export const hasGained = ({ baseline, level, sample }: Context): boolean =>
  baseline !== null && hasGrown(baseline, rateOf(level, sample), GAIN_OF_A_TRIAL);

export const restMs = ({ input, setbacks }: Context): number =>
  input.soakMs * (setbacks === 0 ? 1 : SOAKS_OF_REST * 2 ** Math.min(setbacks - 1, MAX_DOUBLINGS));

/** The level after trouble: the last good level below this one, or half of this one if it was the good one. */
export const fallFrom = ({ level, lastGood }: Context): number =>
  lastGood < level ? lastGood : Math.max(1, Math.floor(level / 2));

/** The level at the end of slow start: the one that was just enough for the measured throughput. */
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
