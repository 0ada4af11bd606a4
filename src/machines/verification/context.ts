/** The verification's input, context and events, and pure functions over them. */
import type { BackoffRule } from '../backoff.ts';
import type { Ending } from '../coordinator/context.ts';
import type {
  Away,
  Blame,
  CallEvent,
  CallOutcome,
  ControlEvent,
  GrantEvent,
  LimiterEvent,
  PlanFailure,
  Recipient,
} from '../messages.ts';

/** One key that Google is asked for. The machine does not look inside; the actors know the key and the table's row. */
export interface Check {
  readonly id: string;
  /** Failed attempts for which this check was to blame. */
  readonly attempts: number;
  /** Answers that differed from the table. */
  readonly differed: number;
}

export interface VerificationInput {
  /** Unique among the runs that share a rate limiter. Request and lease IDs start with it. */
  readonly runId: string;
  readonly limiter: Recipient<LimiterEvent>;
  readonly scopes: readonly string[];
  /** Maximum checks per call. */
  readonly batchSize: number;
  /** Maximum attempts per check. After the last one it remains unanswered. */
  readonly maxAttempts: number;
  /** A difference is reported when this many answers have shown it: a single one may be a fault of the moment. */
  readonly looks: number;
  /** Consecutive calls that fail before the verification halts. */
  readonly maxCallFailures: number;
  /** Consecutive refusals of the database before the verification ends, and when waiting rarely helps. */
  readonly maxDatabaseFailures: number;
  readonly maxShortDatabaseFailures: number;
  readonly haltDeadlineMs: number;
  readonly callBackoff: BackoffRule;
  readonly databaseBackoff: BackoffRule;
}

export type VerificationEnding = Extract<Ending, { status: 'complete' | 'halted' | 'failed' }>;

export interface VerificationContext {
  readonly input: VerificationInput;
  /** Calls requested so far: the request's ID. */
  readonly serial: number;
  readonly sample: 'none' | 'drawn';
  /** Checks to be asked, in order. */
  readonly open: readonly Check[];
  /** Checks of the call under way without a result so far. */
  readonly asked: readonly Check[];
  /** Consecutive calls that failed. */
  readonly callFailures: number;
  readonly databaseFailures: number;
  readonly delayMs: number;
  /** How it will end if nothing else happens. */
  readonly ending: VerificationEnding;
}

/** The result of one check in one call. */
export type CheckResult =
  /** Google's row equals the table's. */
  | { readonly kind: 'equal' }
  | { readonly kind: 'different' }
  /** No usable answer, and the check itself is to blame. `final`: asking again will not help. */
  | { readonly kind: 'failed'; readonly reason: string; readonly final: boolean }
  /** The server refused it for quota. Does not count as an attempt. */
  | (Omit<Extract<LimiterEvent, { type: 'quota.refused' }>, 'type' | 'scopes'> & {
      readonly kind: 'refused';
    });

/** Input of `askGoogle`. */
export interface AskGoogleInput {
  readonly leaseId: string;
  readonly scopes: readonly string[];
  readonly checks: readonly Check[];
  /** What to blame when the call fails. `page`: its only check, which has failed among others before. */
  readonly blame: Blame;
}

/** `askGoogle` to the machine: tokens and checks in any order, then exactly one `call.ended`. */
export type AskEvent =
  | Extract<CallEvent, { type: 'call.settled' | 'call.unsent' | 'call.ended' }>
  | { readonly type: 'call.check'; readonly checkId: string; readonly result: CheckResult };

export type AskOrder = { readonly type: 'call.abort' };

/** `drawSample` to the machine, exactly one. */
export type DrawEvent =
  | { readonly type: 'sample.drawn'; readonly checkIds: readonly string[] }
  | { readonly type: 'sample.failed'; readonly outcome: PlanFailure; readonly chance: number };

export type VerificationEvent =
  | Extract<ControlEvent, { type: 'halt' | 'fail' }>
  | GrantEvent
  | AskEvent
  | DrawEvent;

/** Events for observers. */
export type VerificationEmitted =
  /** A check has its final result. */
  | {
      readonly type: 'check.done';
      readonly checkId: string;
      readonly result: 'equal' | 'different' | 'unanswered';
    }
  | {
      readonly type: 'call.failed';
      readonly reason: string;
      readonly consecutive: number;
      readonly delayMs: number;
    }
  | { readonly type: 'database.away'; readonly reason: string; readonly delayMs: number };

export function initialContext(input: VerificationInput): VerificationContext {
  return {
    input,
    serial: 0,
    sample: 'none',
    open: [],
    asked: [],
    callFailures: 0,
    databaseFailures: 0,
    delayMs: 0,
    ending: { status: 'complete' },
  };
}

export const requestIdOf = ({ input, serial }: VerificationContext): string => `${input.runId}:v.${serial}`;

/** What the next call asks for, at most. */
export const nextChecks = ({ input, open }: VerificationContext): readonly Check[] =>
  open.slice(0, input.batchSize);

/** A check that fails alone is blamed only if it has failed among others that Google answered. */
export const blameFor = ([first, ...others]: readonly Check[]): Blame =>
  first !== undefined && first.attempts > 0 && others.length === 0 ? 'page' : 'call';

/** Why the database accepts nothing, if that is what the event says. */
export function awayIn(event: VerificationEvent): Away | undefined {
  if (event.type !== 'call.ended' && event.type !== 'sample.failed') return undefined;
  return event.outcome.kind === 'databaseAway' ? event.outcome : undefined;
}

/** Why a call brought nothing, unless it was answered or the database is the reason. */
export function failureIn(outcome: CallOutcome): string | undefined {
  switch (outcome.kind) {
    case 'failed':
      return outcome.reason;
    case 'unauthorized':
      return 'the access token was refused';
    case 'aborted':
      return 'the call was ended';
    default:
      return undefined;
  }
}

export function isTooLongAway({ input, databaseFailures }: VerificationContext, { patience }: Away): boolean {
  const most = patience === 'short' ? input.maxShortDatabaseFailures : input.maxDatabaseFailures;
  return databaseFailures + 1 >= most;
}

/** How a verification ends when the database stays away. */
export function endingOfAway({ reason, ending }: Away): VerificationEnding {
  return ending === undefined
    ? { status: 'halted', reason: { kind: 'databaseAway', reason } }
    : { status: 'failed', fatal: ending };
}
