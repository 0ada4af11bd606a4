/** Every state of the verification × every event. */
import { initialTransition, transition } from 'xstate';
import type {
  CheckResult,
  VerificationEvent,
  VerificationInput,
} from '../../../src/machines/verification/context.ts';
import {
  type VerificationSnapshot,
  verificationMachine,
} from '../../../src/machines/verification/verification.ts';
import type { StateOf, Whole } from './table.ts';

export type End = 'complete' | 'halted' | 'failed';
export type State = Exclude<StateOf<typeof verificationMachine>, End>;

/** Situations that have no row in the table: what is done in them is written down beside it. */
type Further =
  | 'drawing, the database was away often'
  | 'drawing, the database was away a few times'
  | 'awaitingTokens, one is left that failed among others'
  | 'asking.answering, it was different before'
  | 'asking.answering, it failed as often as it may'
  | 'asking.answering, calls failed as often as they may'
  | 'asking.answering, the database was away often'
  | 'asking.answering, everything is answered'
  | 'asking.answering, one is left that was refused'
  | 'waitingForDatabase, before anything is drawn'
  | 'halting, as asked'
  | 'halting, after an error';

export const inputFor = (limiter: VerificationInput['limiter']): VerificationInput => ({
  runId: 'run',
  limiter,
  scopes: ['site:a'],
  batchSize: 2,
  maxAttempts: 2,
  looks: 2,
  maxCallFailures: 3,
  maxDatabaseFailures: 4,
  maxShortDatabaseFailures: 2,
  haltDeadlineMs: 3_000,
  callBackoff: { baseMs: 100, maxMs: 1_000 },
  databaseBackoff: { baseMs: 50, maxMs: 500 },
});

const granted = (requestId: string, tokens: number): VerificationEvent => ({
  type: 'tokens.granted',
  requestId,
  leaseId: requestId,
  tokens,
});
const check = (checkId: string, result: CheckResult): VerificationEvent => ({
  type: 'call.check',
  checkId,
  result,
});
const ended = (kind: 'answered' | 'unauthorized' | 'aborted'): VerificationEvent => ({
  type: 'call.ended',
  outcome: { kind },
  chance: 0.5,
});
const timer = (delay: string, state: string) =>
  // The machine's own timer; XState keeps its type out of the events it takes from others.
  ({ type: `xstate.after.${delay}.verification.${state}` }) as unknown as VerificationEvent;

/** In every state request 1 was made last, or none yet. */
export const CASES = {
  halt: { type: 'halt', reason: { kind: 'asked', reason: 'enough' } },
  fail: { type: 'fail', fatal: { code: 'LOCK_LOST', reason: 'taken' } },
  'sample.drawn': { type: 'sample.drawn', checkIds: ['a', 'b', 'c'] },
  'sample.drawn: nothing': { type: 'sample.drawn', checkIds: [] },
  'sample.failed: database away': {
    type: 'sample.failed',
    outcome: { kind: 'databaseAway', reason: 'gone' },
    chance: 0.5,
  },
  'sample.failed: for want of time': {
    type: 'sample.failed',
    outcome: {
      kind: 'databaseAway',
      reason: 'slow',
      patience: 'short',
      ending: { code: 'DATABASE_TIMEOUT', reason: 'slow' },
    },
    chance: 0.5,
  },
  'sample.failed: fatal': {
    type: 'sample.failed',
    outcome: { kind: 'fatal', fatal: { code: 'DATABASE_REFUSED', reason: 'no' } },
    chance: 0.5,
  },
  'tokens.granted': granted('run:v.1', 2),
  'tokens.granted: fewer': granted('run:v.1', 1),
  'tokens.granted: for another request': granted('run:v.0', 2),
  'tokens.denied': { type: 'tokens.denied', requestId: 'run:v.1', quota: 'daily' },
  'tokens.denied: for another request': { type: 'tokens.denied', requestId: 'run:v.0', quota: 'daily' },
  'call.settled': { type: 'call.settled', tokens: 1, accepted: 1, graceMs: 0 },
  'call.unsent': { type: 'call.unsent', tokens: 2 },
  'call.check: equal': check('a', { kind: 'equal' }),
  'call.check: different': check('a', { kind: 'different' }),
  'call.check: failed': check('a', { kind: 'failed', reason: 'cut', final: false }),
  'call.check: failed for good': check('a', { kind: 'failed', reason: 'invalid', final: true }),
  'call.check: refused': check('a', { kind: 'refused', quota: 'qps', retryAfterMs: null }),
  'call.check: of another call': check('z', { kind: 'equal' }),
  'call.ended: answered': ended('answered'),
  'call.ended: unauthorized': ended('unauthorized'),
  'call.ended: aborted': ended('aborted'),
  'call.ended: failed': { type: 'call.ended', outcome: { kind: 'failed', reason: 'reset' }, chance: 0.5 },
  'call.ended: database away': {
    type: 'call.ended',
    outcome: { kind: 'databaseAway', reason: 'gone' },
    chance: 0.5,
  },
  'call.ended: fatal': {
    type: 'call.ended',
    outcome: { kind: 'fatal', fatal: { code: 'FORBIDDEN', reason: 'no' } },
    chance: 0.5,
  },
  'after backoff': timer('backoff', 'backingOff'),
  'after backoff: of the database': timer('backoff', 'waitingForDatabase'),
  'after deadline': timer('deadline', 'asking.aborting'),
  'after quiet': timer('quiet', 'halting'),
} as const satisfies Record<string, VerificationEvent>;
export type Case = keyof typeof CASES;

/** Does not compile when an event type has no case. @public */
export const WHOLE: Whole<VerificationEvent, typeof CASES> = true;

const send = (
  snapshot: VerificationSnapshot,
  ...events: readonly VerificationEvent[]
): VerificationSnapshot =>
  events.reduce((before, event) => transition(verificationMachine, before, event)[0], snapshot);

/** The state as it is, with something else in mind. */
const knowing = (
  snapshot: VerificationSnapshot,
  context: Partial<VerificationSnapshot['context']>,
): VerificationSnapshot =>
  verificationMachine.resolveState({ value: snapshot.value, context: { ...snapshot.context, ...context } });

export function fixture(input: VerificationInput): Record<State | Further, VerificationSnapshot> {
  const [drawing] = initialTransition(verificationMachine, input);
  const awaitingTokens = send(drawing, CASES['sample.drawn']);
  const answering = send(awaitingTokens, CASES['tokens.granted']);
  const one = { id: 'a', attempts: 0, differed: 0 };
  return {
    drawing,
    awaitingTokens,
    'asking.answering': answering,
    'asking.aborting': send(answering, CASES.halt),
    backingOff: send(answering, CASES['call.ended: failed']),
    waitingForDatabase: send(answering, CASES['call.ended: database away']),
    halting: knowing(send(answering, CASES['call.ended: fatal']), { ending: { status: 'complete' } }),
    'drawing, the database was away often': knowing(drawing, { databaseFailures: 3 }),
    'drawing, the database was away a few times': knowing(drawing, { databaseFailures: 1 }),
    'awaitingTokens, one is left that failed among others': knowing(awaitingTokens, {
      open: [{ ...one, attempts: 1 }],
    }),
    'asking.answering, it was different before': withAsked(answering, { ...one, differed: 1 }),
    'asking.answering, it failed as often as it may': withAsked(answering, { ...one, attempts: 1 }),
    'asking.answering, calls failed as often as they may': withAsked(answering, one, { callFailures: 2 }),
    'asking.answering, the database was away often': withAsked(answering, one, { databaseFailures: 3 }),
    'asking.answering, everything is answered': withAsked(answering, undefined, { open: [] }),
    'asking.answering, one is left that was refused': withAsked(answering, one, { open: [] }),
    'waitingForDatabase, before anything is drawn': send(drawing, CASES['sample.failed: database away']),
    'halting, as asked': send(drawing, CASES.halt),
    'halting, after an error': send(drawing, CASES.fail),
  };
}

/** Snapshots that were not reached by events have no children: what is sent to the call is seen in those that were. */
function withAsked(
  answering: VerificationSnapshot,
  asked: VerificationSnapshot['context']['open'][number] | undefined,
  more: Partial<VerificationSnapshot['context']> = {},
): VerificationSnapshot {
  return {
    ...answering,
    context: { ...answering.context, asked: asked === undefined ? [] : [asked], ...more },
  };
}
