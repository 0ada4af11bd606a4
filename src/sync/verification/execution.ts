/** One run of the verification's machine: provides the actors, turns what it emits into events and figures. */
import { createActor, type SnapshotFrom } from 'xstate';
import { createAskGoogle } from '../../actors/ask-google.ts';
import { createCallRegistry } from '../../actors/call-registry.ts';
import { createDrawSample } from '../../actors/draw-sample.ts';
import type { Clock } from '../../domain/clock.ts';
import { within } from '../../domain/wait.ts';
import { wordsOf } from '../../domain/words.ts';
import type { Fatal, HaltReason } from '../../machines/messages.ts';
import type {
  VerificationEmitted,
  VerificationEnding,
  VerificationEvent,
} from '../../machines/verification/context.ts';
import { verificationMachine } from '../../machines/verification/verification.ts';
import { Checks } from '../../planning/checks.ts';
import { actorClock } from '../limiter.ts';
import { createListeners, type Listeners } from '../listeners.ts';
import { noteLimiter, noteQuota } from '../observe.ts';
import { createProgress } from '../progress.ts';
import type { Resources } from '../resources.ts';
import type { SyncEvents, SyncOptions } from '../types.ts';
import type { VerificationConfig } from './config.ts';
import { type Drawn, drawKeys } from './draw.ts';
import { differenceIn } from './figures.ts';
import type { VerificationEvents, VerificationProgress, VerificationState } from './types.ts';

const CALL_BACKOFF = { baseMs: 1_000, maxMs: 60_000 };
const DATABASE_BACKOFF = { baseMs: 500, maxMs: 10_000 };
/** Some four minutes of waiting at most. */
const MAX_CALL_FAILURES = 10;
const MAX_DATABASE_FAILURES = 30;
const MAX_SHORT_DATABASE_FAILURES = 5;
const LOOKS = 2;

export interface VerificationExecution {
  /** How it ended. Rejects only for a bug. */
  readonly ended: Promise<VerificationEnding>;
  readonly checks: Checks;
  readonly drawn: () => Drawn | undefined;
  readonly counters: {
    readonly apiCalls: number;
    readonly httpCalls: number;
    readonly quotaRefusals: number;
  };
  halt(reason: HaltReason): void;
  fail(fatal: Fatal): void;
  /** Aborts what is left, and waits for it within the rest of the deadline. Resolves to whether all of it ended. */
  quiesce(): Promise<boolean>;
}

export function startVerification(
  config: VerificationConfig,
  haltDeadlineMs: number,
  resources: Resources,
  clock: Clock,
  listeners: Listeners<VerificationEvents>,
  inspect: SyncOptions['inspect'],
): VerificationExecution {
  const { base } = config;
  const { limiter, scopes, telemetry } = resources;
  const checks = new Checks();
  const calls = createCallRegistry();
  const scope = new AbortController();
  const leftBehind = new Set<Promise<unknown>>();
  const startedAt = clock.now();
  const figures = createProgress(clock);
  const counts = { done: 0, different: 0 };
  let drawn: Drawn | undefined;
  let haltingSince: number | undefined;
  const background = (work: Promise<unknown>): void => {
    leftBehind.add(work);
    void work.finally(() => leftBehind.delete(work)).catch(() => undefined);
  };
  const machine = verificationMachine.provide({
    actors: {
      drawSample: createDrawSample({
        checks,
        clock,
        scope: scope.signal,
        background,
        draw: async (signal) => {
          const answer = await drawKeys(resources.database.sql, scopeOf(config), config, signal);
          if (answer.kind !== 'ok') return answer;
          drawn = answer.value;
          return { kind: 'ok', value: drawn.keys };
        },
      }),
      askGoogle: createAskGoogle({
        siteUrl: base.siteUrl,
        client: resources.client,
        auth: resources.auth,
        store: resources.store,
        clock,
        checks,
        listedName: resources.listedName,
        calls,
        leases: resources.leases,
        graceMs: resources.graceMs,
        scope: scope.signal,
        onSent: (requests) => {
          figures.counters.httpCalls += 1;
          figures.counters.apiCalls += requests;
        },
        background,
      }),
    },
  });
  const actor = createActor(machine, {
    input: {
      runId: resources.runName,
      limiter: limiter.actor,
      scopes,
      batchSize: base.batchSize,
      maxAttempts: base.maxAttempts,
      looks: LOOKS,
      maxCallFailures: MAX_CALL_FAILURES,
      maxDatabaseFailures: MAX_DATABASE_FAILURES,
      maxShortDatabaseFailures: MAX_SHORT_DATABASE_FAILURES,
      haltDeadlineMs,
      callBackoff: CALL_BACKOFF,
      databaseBackoff: DATABASE_BACKOFF,
    },
    clock: actorClock(clock),
    ...(inspect === undefined ? {} : { inspect }),
  });
  const tell = (event: VerificationEvent): void => {
    if (actor.getSnapshot().status === 'active') actor.send(event);
  };
  const fail = (fatal: Fatal): void => tell({ type: 'fail', fatal });
  const quotaEvents = createListeners<SyncEvents>();
  quotaEvents.on('quota', (event) => listeners.emit('quota', event));
  const watchers = { figures, listeners: quotaEvents, telemetry };
  const progress = (): VerificationProgress => ({
    state: stateOf(actor.getSnapshot()),
    ...counts,
    drawn: checks.all().length,
    apiCalls: figures.counters.apiCalls,
    httpCalls: figures.counters.httpCalls,
    elapsedMs: Math.max(0, clock.now() - startedAt),
  });
  const note = (event: VerificationEmitted): void => {
    switch (event.type) {
      case 'check.done': {
        const entry = checks.get(event.checkId);
        entry.state = 'done';
        counts.done += 1;
        if (event.result !== 'different') return;
        counts.different += 1;
        const difference = differenceIn(entry);
        if (difference !== undefined) listeners.emit('difference', difference);
        return;
      }
      case 'call.failed':
        listeners.emit('retry', { kind: 'call', reason: event.reason, inARow: event.consecutive });
        return;
      case 'database.away':
        listeners.emit('retry', { kind: 'database', reason: event.reason });
    }
  };
  const subscriptions = [
    // Without its limiter, it would wait for tokens forever.
    limiter.actor.subscribe({
      error: (error) => fail({ code: 'INTERNAL', reason: `the rate limiter crashed: ${wordsOf(error)}` }),
      complete: () => fail(CLOSED_LIMITER),
    }),
    limiter.actor.on('*', (event) => noteLimiter(event, scopes, watchers)),
    actor.on('*', note),
  ];
  const ended = new Promise<VerificationEnding>((resolve, reject) => {
    actor.subscribe({
      next: (snapshot) => {
        if (snapshot.matches('halting')) haltingSince ??= clock.now();
        listeners.emit('progress', progress());
      },
      error: reject,
      complete: () => {
        const { output } = actor.getSnapshot();
        if (output === undefined) reject(new Error('the verification ended without an output'));
        else resolve(output);
      },
    });
  }).finally(() => {
    for (const subscription of subscriptions) subscription.unsubscribe();
  });
  actor.start();
  const { accountProblem } = resources.auth.identity;
  if (accountProblem !== undefined) noteQuota({ kind: 'accountUnknown', reason: accountProblem }, watchers);
  return {
    ended,
    checks,
    drawn: () => drawn,
    counters: figures.counters,
    halt: (reason) => tell({ type: 'halt', reason }),
    fail,
    async quiesce() {
      scope.abort();
      // The system clock may have been set back: never wait longer than the whole deadline.
      const waitedMs = Math.max(0, clock.now() - (haltingSince ?? clock.now()));
      const quiet = Promise.all([calls.endAll(), Promise.allSettled([...leftBehind])]);
      return await within(clock, Math.max(0, haltDeadlineMs - waitedMs), quiet);
    },
  };
}

const CLOSED_LIMITER: Fatal = {
  code: 'CLOSED',
  reason: 'The rate limiter was closed during the verification.',
  nextStep: 'Close it after the last run has ended.',
};

/** What may be drawn from. */
export function scopeOf({ base: { siteUrl, from, to }, dataset, searchType }: VerificationConfig) {
  return { siteUrl, from, to, dataset, searchType };
}

const STATES = {
  drawing: 'drawing',
  awaitingTokens: 'waitingForTokens',
  asking: 'asking',
  backingOff: 'waiting',
  waitingForDatabase: 'waiting',
  halting: 'halting',
  complete: 'ended',
  halted: 'ended',
  failed: 'ended',
} as const satisfies Record<string, VerificationState>;

function stateOf({ value }: SnapshotFrom<typeof verificationMachine>): VerificationState {
  return STATES[typeof value === 'string' ? value : 'asking'];
}
