/** Every path of the verification, walked by the real one: its actors are faked, the limiter listens. */

import { afterAll, expect, test } from 'vitest';
import { createActor, type EventObject, fromCallback } from 'xstate';
import type { LimiterEvent } from '../../../src/machines/messages.ts';
import type {
  AskEvent,
  AskGoogleInput,
  AskOrder,
  CheckResult,
  DrawEvent,
  VerificationEvent,
  VerificationInput,
} from '../../../src/machines/verification/context.ts';
import { verificationMachine } from '../../../src/machines/verification/verification.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { walkEveryEdge } from '../support/paths.ts';
import { createBystander, type Sent } from '../support/refs.ts';
import { createRig, Mailboxes } from '../support/rig.ts';

const mailboxes = new Mailboxes();
const limiter = createBystander<LimiterEvent>('limiter', mailboxes.note);
afterAll(() => limiter.stop());

const input: VerificationInput = {
  runId: 'run',
  limiter: limiter.ref,
  scopes: ['site:a'],
  batchSize: 2,
  maxAttempts: 2,
  looks: 2,
  maxCallFailures: 2,
  maxDatabaseFailures: 2,
  maxShortDatabaseFailures: 1,
  haltDeadlineMs: 3_000,
  callBackoff: { baseMs: 100, maxMs: 1_000 },
  databaseBackoff: { baseMs: 50, maxMs: 500 },
};

/** Two keys show what one call does with several, one key what several calls do with it. */
const CHECKS = ['a', 'b'];
const CHANCE = 0.5;

/** What limiter and call know of the verification. */
interface Notes {
  /** Told to end, or in a way that leads to no other end. */
  readonly ordered: boolean;
  /** The request that the limiter has not answered; cancelled ones too, which it may have answered before it knew. */
  readonly open: readonly { readonly requestId: string; readonly tokens: number }[];
  /** Tokens granted and neither settled nor returned. */
  readonly tokens: number;
  /** Of the call under way. */
  readonly unsettled: number;
  readonly calls: number;
  readonly drawn: boolean;
  /** Checks with a final result, in the order in which they were told. */
  readonly done: readonly string[];
}

const isEvent = (event: EventObject | undefined): event is VerificationEvent => event !== undefined;

function noteEvent(notes: Notes, event: EventObject | undefined): Notes {
  if (!isEvent(event)) return notes;
  switch (event.type) {
    case 'halt':
    case 'fail':
      return { ...notes, ordered: true };
    case 'sample.drawn':
      return { ...notes, drawn: true };
    case 'tokens.granted':
    case 'tokens.denied': {
      const open = notes.open.filter(({ requestId }) => requestId !== event.requestId);
      return { ...notes, open, tokens: notes.tokens + (event.type === 'tokens.granted' ? event.tokens : 0) };
    }
    case 'call.settled':
    case 'call.unsent':
      return { ...notes, unsettled: notes.unsettled - event.tokens };
    default:
      return notes;
  }
}

function noteSent(notes: Notes, { to, event }: Sent): Notes {
  if (to !== 'limiter') return notes;
  const message = event as LimiterEvent;
  switch (message.type) {
    case 'tokens.request':
      // Invariant 5: nothing is asked for once it was told to end. And a request for nothing is never answered.
      expect(notes.ordered).toBe(false);
      expect(message.tokens).toBeGreaterThan(0);
      return { ...notes, open: [...notes.open, { requestId: message.requestId, tokens: message.tokens }] };
    case 'lease.settled':
    case 'lease.returned':
      return { ...notes, tokens: notes.tokens - message.tokens };
    default:
      return notes;
  }
}

const RESULTS: readonly CheckResult[] = [
  { kind: 'equal' },
  { kind: 'different' },
  { kind: 'failed', reason: 'cut', final: false },
  { kind: 'refused', quota: 'qps', retryAfterMs: null },
];

/** What the call under way can say: tokens first, then checks, then its end. */
function callEvents(asked: readonly { readonly id: string }[], unsettled: number): readonly AskEvent[] {
  if (unsettled > 0) {
    return [
      { type: 'call.settled', tokens: unsettled, accepted: unsettled, graceMs: 0 },
      { type: 'call.unsent', tokens: unsettled },
    ];
  }
  const [next] = asked;
  const results = next === undefined ? [] : RESULTS;
  const outcomes = [
    { kind: 'answered' },
    { kind: 'failed', reason: 'reset' },
    { kind: 'databaseAway', reason: 'gone' },
    { kind: 'fatal', fatal: { code: 'FORBIDDEN', reason: 'no' } },
  ] as const;
  return [
    ...results.map((result) => ({ type: 'call.check', checkId: next?.id ?? '', result }) as const),
    ...outcomes.map((outcome) => ({ type: 'call.ended', outcome, chance: CHANCE }) as const),
  ];
}

const DRAWS: readonly DrawEvent[] = [
  { type: 'sample.drawn', checkIds: [] },
  { type: 'sample.failed', outcome: { kind: 'databaseAway', reason: 'gone' }, chance: CHANCE },
  {
    type: 'sample.failed',
    outcome: { kind: 'fatal', fatal: { code: 'INTERNAL', reason: 'no' } },
    chance: CHANCE,
  },
];

let tellOfCall: ((event: AskEvent) => void) | undefined;
let tellOfDraw: ((event: DrawEvent) => void) | undefined;
const machine = verificationMachine.provide({
  actors: {
    drawSample: fromCallback(({ sendBack, input: given }) => {
      mailboxes.noteStart('draw', given);
      tellOfDraw = sendBack;
    }),
    askGoogle: fromCallback<AskOrder, AskGoogleInput>(({ sendBack, receive, input: given }) => {
      mailboxes.noteStart('call', given);
      receive((event) => mailboxes.note({ to: 'call', event }));
      tellOfCall = sendBack;
    }),
  },
});

const NOTES: Notes = {
  ordered: false,
  open: [],
  tokens: 0,
  unsettled: 0,
  calls: 0,
  drawn: false,
  done: [],
};

test('every edge, walked by the real verification: one key, three calls', { timeout: 60_000 }, () =>
  walk(CHECKS.slice(0, 1), 2),
);

test('the same with two keys and two calls', { tags: ['long'], timeout: 120_000 }, () => walk(CHECKS, 1));

async function walk(checks: readonly string[], mostCalls: number): Promise<void> {
  const walked = await walkEveryEdge({
    machine,
    input,
    notes: NOTES,
    events: ({ machine: { value, context }, notes }): readonly VerificationEvent[] => {
      const events: VerificationEvent[] = [];
      if (value === 'drawing') events.push({ type: 'sample.drawn', checkIds: checks }, ...DRAWS);
      for (const { requestId, tokens } of notes.open) {
        for (let count = 1; count <= tokens; count += 1) {
          events.push({ type: 'tokens.granted', requestId, leaseId: requestId, tokens: count });
        }
        events.push({ type: 'tokens.denied', requestId, quota: 'daily' });
      }
      if (typeof value === 'object') events.push(...callEvents(context.asked, notes.unsettled));
      if (!notes.ordered) {
        events.push({ type: 'halt', reason: { kind: 'asked', reason: 'enough' } });
        events.push({ type: 'fail', fatal: { code: 'LOCK_LOST', reason: 'taken' } });
      }
      return events;
    },
    isFarEnough: ({ notes, machine: { value } }) => notes.calls > mostCalls && value === 'awaitingTokens',
    note: (notes, event, turn, before, after) => {
      let next = turn.sent.reduce(noteSent, noteEvent(notes, event));
      const call = turn.spawned.find(({ id }) => id === 'call');
      if (call !== undefined) {
        const { checks, leaseId } = call.input as AskGoogleInput;
        next = { ...next, unsettled: checks.length, calls: next.calls + 1 };
        expect(next.ordered).toBe(false);
        // No check is sent without a token, and its token's lease is the request that it was granted for.
        expect(next.tokens).toBe(checks.length);
        expect(leaseId).toBe(`run:v.${after.context.serial}`);
      }
      if (event?.type === 'call.settled' || event?.type === 'call.unsent') {
        expect(turn.sent).toMatchObject([
          { to: 'limiter', event: { leaseId: `run:v.${after.context.serial}` } },
        ]);
      }
      if (typeof before?.value === 'object' && typeof after.value === 'string') {
        // A call is left on its own end only, or when the deadline has passed.
        expect(event?.type === 'call.ended' || event?.type.includes('deadline')).toBe(true);
      }
      const told = turn.emitted.flatMap((fact) =>
        fact.type === 'check.done' && 'checkId' in fact ? [String(fact.checkId)] : [],
      );
      return { ...next, done: [...next.done, ...told] };
    },
    check: ({ machine: { value, context, status }, timers, notes }) => {
      // Every check is in exactly one place.
      const places = [...context.open, ...context.asked].map(({ id }) => id);
      const isDrawn = notes.drawn && context.sample === 'drawn' && places.length + notes.done.length > 0;
      if (isDrawn) expect([...places, ...notes.done].sort()).toEqual(checks);
      // A token is with the call that it was granted for, or settled, or returned. One whose call did not end in time stays.
      if (status === 'active' && value !== 'halting') {
        expect(notes.tokens).toBe(typeof value === 'object' ? notes.unsettled : 0);
      }
      if (typeof value === 'string') expect(context.asked).toEqual([]);
      if (value === 'complete') expect(context.open).toEqual([]);
      // Something always gets it out of where it is.
      const isWaiting = ['backingOff', 'waitingForDatabase', 'halting'].some((name) => value === name);
      expect(timers.length > 0).toBe(isWaiting || JSON.stringify(value) === '{"asking":"aborting"}');
    },
    createRig: () =>
      createRig(machine, input, mailboxes, (event) => {
        if (event.type.startsWith('call.')) {
          const tell = tellOfCall;
          return tell === undefined ? undefined : () => tell(event as AskEvent);
        }
        if (!event.type.startsWith('sample.')) return undefined;
        const tell = tellOfDraw;
        return tell === undefined ? undefined : () => tell(event as DrawEvent);
      }),
  });
  expect([...walked.values].sort()).toEqual([
    '"awaitingTokens"',
    '"backingOff"',
    '"complete"',
    '"drawing"',
    '"failed"',
    '"halted"',
    '"halting"',
    '"waitingForDatabase"',
    '{"asking":"aborting"}',
    '{"asking":"answering"}',
  ]);
  console.info(`${walked.edges} edges, ${walked.states} states`);
  expect(walked.edges).toBeGreaterThan(300);
}

/** A verification whose answers are said by hand. */
function verify(more: Partial<VerificationInput> = {}) {
  const clock = new ManualClock();
  const done: string[] = [];
  const asked: string[][] = [];
  const blames: string[] = [];
  const toLimiter: string[] = [];
  const bystander = createBystander<LimiterEvent>('limiter', ({ event }) => {
    toLimiter.push(event.type);
  });
  const actor = createActor(
    verificationMachine.provide({
      actors: {
        drawSample: fromCallback(() => undefined),
        askGoogle: fromCallback<AskOrder, AskGoogleInput>(({ input: given }) => {
          asked.push(given.checks.map(({ id }) => id));
          blames.push(given.blame);
        }),
      },
    }),
    { input: { ...input, limiter: bystander.ref, ...more }, clock },
  );
  actor.on('check.done', ({ checkId, result }) => done.push(`${checkId} ${result}`));
  actor.start();
  const grant = (tokens: number) => {
    const requestId = `run:v.${actor.getSnapshot().context.serial}`;
    actor.send({ type: 'tokens.granted', requestId, leaseId: requestId, tokens });
  };
  const say = (checkId: string, result: CheckResult) => actor.send({ type: 'call.check', checkId, result });
  const end = (kind: 'answered' | 'failed' = 'answered') =>
    actor.send({
      type: 'call.ended',
      outcome: kind === 'answered' ? { kind } : { kind, reason: 'reset' },
      chance: 0.999,
    });
  return { actor, clock, done, asked, blames, toLimiter, grant, say, end, stop: () => bystander.stop() };
}

test('a difference is told when a second answer shows it, and not when that one is equal', () => {
  const { actor, clock, done, asked, grant, say, end, stop } = verify();
  actor.send({ type: 'sample.drawn', checkIds: CHECKS });
  grant(2);
  say('a', { kind: 'different' });
  say('b', { kind: 'different' });
  expect(done).toEqual([]);
  end();
  grant(2);
  say('a', { kind: 'different' });
  say('b', { kind: 'equal' });
  end();
  clock.advance(0);
  expect([done, asked]).toEqual([
    ['a different', 'b equal'],
    [CHECKS, CHECKS],
  ]);
  expect(actor.getSnapshot().output).toEqual({ status: 'complete' });
  stop();
});

test('fewer tokens than keys: the rest is asked later, in order', () => {
  const { actor, asked, grant, say, end, stop } = verify();
  actor.send({ type: 'sample.drawn', checkIds: ['a', 'b', 'c'] });
  grant(1);
  say('a', { kind: 'equal' });
  end();
  grant(2);
  expect(asked).toEqual([['a'], ['b', 'c']]);
  actor.stop();
  stop();
});

test('a key that fails among others is asked again alone, and then is itself to blame', () => {
  const { actor, asked, blames, done, grant, say, end, stop } = verify();
  actor.send({ type: 'sample.drawn', checkIds: CHECKS });
  grant(2);
  say('a', { kind: 'failed', reason: 'cut', final: false });
  say('b', { kind: 'equal' });
  end();
  grant(1);
  say('a', { kind: 'failed', reason: 'cut', final: false });
  expect([asked, blames]).toEqual([
    [CHECKS, ['a']],
    ['call', 'page'],
  ]);
  expect(done).toEqual(['b equal', 'a unanswered']);
  actor.stop();
  stop();
});

test('calls that fail one after another end it, and one that brings something begins the count anew', () => {
  const { actor, clock, grant, say, end, stop } = verify();
  actor.send({ type: 'sample.drawn', checkIds: CHECKS });
  grant(2);
  end('failed');
  clock.advance(100);
  grant(2);
  say('a', { kind: 'equal' });
  end('failed');
  expect(actor.getSnapshot().value).toBe('backingOff');
  clock.advance(200);
  grant(1);
  end('failed');
  clock.advance(0);
  expect(actor.getSnapshot().output).toEqual({
    status: 'halted',
    reason: { kind: 'callFailures', reason: 'reset' },
  });
  stop();
});

test('a grant that comes after its request was cancelled is returned', () => {
  const { actor, clock, grant, toLimiter, stop } = verify();
  actor.send({ type: 'sample.drawn', checkIds: CHECKS });
  actor.send({ type: 'halt', reason: { kind: 'asked', reason: 'enough' } });
  grant(2);
  clock.advance(0);
  expect(toLimiter).toEqual(['tokens.request', 'tokens.cancel', 'lease.returned']);
  expect(actor.getSnapshot().value).toBe('halted');
  stop();
});
