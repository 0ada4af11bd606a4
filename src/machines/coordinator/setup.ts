/** The coordinator's guards and actions. `coordinator.ts` says when they apply. */
import { enqueueActions, fromCallback, fromPromise, setup } from 'xstate';
import { backoffMs } from '../backoff.ts';
import { batchWorkerMachine } from '../batch-worker/batch-worker.ts';
import type { Page, PlanOrder } from '../messages.ts';
import {
  abandonedTokens,
  afterCommit,
  assignmentIdOf,
  blameFor,
  type CoordinatorContext,
  type CoordinatorEmitted,
  type CoordinatorEvent,
  type CoordinatorInput,
  canDispatch,
  crashedSlot,
  dispatchRules,
  type Ending,
  endedSlot,
  endOfPatience,
  hasPlan,
  holds,
  isQuiet,
  maxProbes,
  nobodyMoves,
  onlyRetriesAreLeft,
  PROBE,
  probePages,
  type ReapInput,
  type ReapOutput,
  reapedSlot,
  reaperId,
  reapOutput,
  StillAway,
  slotOf,
  somebodyIs,
  wantsPlan,
  without,
  withSlot,
  workerInput,
  worse,
} from './context.ts';
import {
  assignPages,
  availableSlots,
  countWaiting,
  createSlot,
  hasAssignment,
  putBack,
  type WorkerSlot,
} from './dispatch.ts';

/** The worker's call no longer waits for the database. */
const heardOf = (slot: WorkerSlot): WorkerSlot =>
  slot.status === 'retrying' ? { ...slot, status: 'busy' } : slot;

/** Whether this event ends the probe of Google. */
const isProbe = (context: CoordinatorContext, event: CoordinatorEvent): boolean =>
  event.type === 'batch.ended' && event.assignmentId === context.prober;

export const coordinatorSetup = setup({
  types: {
    context: {} as CoordinatorContext,
    events: {} as CoordinatorEvent,
    input: {} as CoordinatorInput,
    output: {} as Ending,
    emitted: {} as CoordinatorEmitted,
  },
  actors: {
    batchWorker: batchWorkerMachine,
    loadPlan: fromCallback<PlanOrder>(() => {
      throw new Error('loadPlan is provided by the composition root');
    }),
    /** Resolves if the database would accept a page. Rejects with {@link StillAway} if not. */
    probeDatabase: fromPromise<void>(() =>
      Promise.reject(new Error('probeDatabase is provided by the composition root')),
    ),
    /** Ends the crashed worker's call, waits until it has ended, then reads the ledger. */
    reapWorker: fromPromise<ReapOutput, ReapInput>(() =>
      Promise.reject(new Error('reapWorker is provided by the composition root')),
    ),
  },
  delays: {
    haltDeadline: ({ context }) => context.input.haltDeadlineMs,
    finishDeadline: ({ context }) => context.input.finishDeadlineMs,
    probe: ({ context }) => context.probeDelayMs,
    googleProbe: ({ context }) => context.googleDelayMs,
  },
  guards: {
    canDispatch: ({ context }) => canDispatch(context),
    wantsPlan: ({ context }) => wantsPlan(context),
    isFinished: ({ context }) => context.plan === 'none' && isQuiet(context),
    onlyRetriesAreLeft: ({ context }) => onlyRetriesAreLeft(context),
    somethingIsLeft: ({ context }) => !onlyRetriesAreLeft(context),
    hasPlan: ({ context }) => hasPlan(context),
    hasWork: ({ context }) => countWaiting(context.queues) > 0 || context.plan !== 'none',
    hasNoWork: ({ context }) => countWaiting(context.queues) === 0 && context.plan === 'none',
    nobodyMoves: ({ context }) => nobodyMoves(context.workers),
    somebodyHasStalled: ({ context }) => somebodyIs(context.workers, 'stalled'),
    nobodyRetries: ({ context }) => !somebodyIs(context.workers, 'retrying'),
    allHalted: ({ context }) => context.workers.every(({ status }) => status === 'halted'),
    /** No more tokens will be granted. The run ends when the calls that already have tokens are done. */
    isDenied: ({ context, event }) =>
      event.type === 'batch.ended' &&
      event.outcome.kind === 'denied' &&
      endedSlot(context, event) !== undefined,
    isFatal: ({ context, event }) =>
      event.type === 'batch.ended' &&
      event.outcome.kind === 'fatal' &&
      endedSlot(context, event) !== undefined,
    /** This batch ends the run: the error is fatal, or tokens were refused too many times in a row. */
    endsTheRun: ({ context, event }) => {
      if (event.type !== 'batch.ended' || endedSlot(context, event) === undefined) return false;
      switch (event.outcome.kind) {
        case 'fatal':
          return true;
        case 'unauthorized':
          return context.tokenRefusals + 1 >= context.input.maxConsecutiveCallFailures;
        default:
          return false;
      }
    },
    databaseIsAway: ({ context, event }) =>
      event.type === 'batch.ended' &&
      event.outcome.kind === 'databaseAway' &&
      endedSlot(context, event) !== undefined,
    /** Too many consecutive calls, including this one, brought nothing. */
    googleIsAway: ({ context, event }) => {
      if (event.type !== 'batch.ended' || endedSlot(context, event) === undefined) return false;
      const { kind } = event.outcome;
      const failures = context.callFailures + (kind === 'failed' ? 1 : 0);
      return (kind === 'failed' || kind === 'answered') && failures >= context.input.callFailuresOfOutage;
    },
    /** A page arrived, or enough probes were answered. */
    googleIsBack: ({ context, event }) =>
      event.type === 'batch.ended' &&
      event.outcome.kind === 'answered' &&
      (context.callFailures === 0 || context.sound >= context.input.soundAnswers) &&
      endedSlot(context, event) !== undefined,
    googleProbeAnswered: ({ context, event }) =>
      isProbe(context, event) && event.type === 'batch.ended' && event.outcome.kind === 'answered',
    canProbeGoogle: ({ context }) => availableSlots(context.workers, context.maxConcurrency).length > 0,
    /** The worker with the probe has crashed or will never report its end. */
    googleProbeIsLost: ({ context }) =>
      !context.workers.some(
        (slot) => slot.status === 'busy' && assignmentIdOf(context, slot) === context.prober,
      ),
    googleProbeEnded: ({ context, event }) => isProbe(context, event),
    noGoogleProbeIsLeft: ({ context, event }) =>
      isProbe(context, event) &&
      event.type === 'batch.ended' &&
      event.outcome.kind === 'failed' &&
      context.googleProbes + 1 >= context.input.maxGoogleProbes,
    planFailedFatally: ({ event }) => event.type === 'plan.failed' && event.outcome.kind === 'fatal',
    noProbeIsLeft: ({ context }) => context.probes + 1 >= maxProbes(context),
    /** The database keeps answering but accepts nothing. */
    hasAnsweredInVain: ({ context }) => context.probes >= maxProbes(context),
    workerCrashed: ({ context, event }) => crashedSlot(context, event) !== undefined,
    mayRespawn: ({ context, event }) =>
      reapedSlot(context, event) !== undefined && context.restarts < context.input.maxWorkerRestarts,
    endsComplete: ({ context }) => context.ending.status === 'complete',
    endsWithFailures: ({ context }) => context.ending.status === 'completeWithFailures',
    endsHalted: ({ context }) => context.ending.status === 'halted',
  },
  actions: {
    spawnPool: enqueueActions(({ context, enqueue, self }) => {
      for (const slot of context.workers) {
        enqueue.spawnChild('batchWorker', { id: slot.workerId, input: workerInput(context, slot, self) });
      }
    }),
    dispatch: enqueueActions(({ context, enqueue }) => {
      const available = availableSlots(context.workers, context.maxConcurrency);
      const { assignments, queues } = assignPages(context.queues, available, dispatchRules(context));
      let workers = context.workers;
      for (const { slot, pages } of assignments) {
        const blame = blameFor(context, pages);
        const busy: WorkerSlot = {
          ...slot,
          status: 'busy',
          serial: slot.serial + 1,
          pages,
          blame,
          retry: [],
        };
        workers = withSlot(workers, busy);
        enqueue.sendTo(slot.workerId, {
          type: 'batch.assign',
          assignmentId: assignmentIdOf(context, busy),
          pages,
          maxAttempts: context.input.maxAttempts,
          blame,
        });
      }
      enqueue.assign({ queues, workers });
    }),
    requestPlan: enqueueActions(({ context, enqueue }) => {
      enqueue.sendTo('plan', {
        type: 'plan.requested',
        count: 2 * context.input.batchSize * context.maxConcurrency,
      });
      enqueue.assign({ plan: 'asked' });
    }),
    takePlan: enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== 'plan.supplied') return;
      enqueue.assign({
        probes: 0,
        queues: { ...context.queues, ahead: [...context.queues.ahead, ...event.pages] },
        plan: event.more,
      });
    }),
    /** The plan could not be read. Request it again when the database is back. */
    askPlanAgain: enqueueActions(({ enqueue }) => {
      enqueue.assign({ plan: 'whenLow' });
    }),
    noteCommitted: enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== 'page.committed') return;
      const sound = Math.min(context.input.soundAnswers, context.sound + 1);
      if (event.sliceId === PROBE) {
        enqueue.assign({ sound });
        return;
      }
      const slot = slotOf(context, event);
      if (slot === undefined || !holds(slot, event)) return;
      enqueue.assign({
        probes: 0,
        workers: withSlot(context.workers, { ...heardOf(slot), pages: without(slot.pages, event) }),
        queues: afterCommit(context.queues, event.sliceId, event.next),
        callFailures: 0,
        tokenRefusals: 0,
        sound,
        ending: event.next.kind === 'failed' ? worse(context.ending) : context.ending,
      });
      const { sliceId, startRow, rows, next } = event;
      enqueue.emit({ type: 'page.committed', sliceId, startRow, rows, next });
    }),
    noteFailed: enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== 'page.failed') return;
      const slot = slotOf(context, event);
      const page = slot?.pages.find(
        ({ sliceId, startRow }) => sliceId === event.sliceId && startRow === event.startRow,
      );
      if (slot === undefined || page === undefined) return;
      const attempt = page.attempts + 1;
      // The page failed alone while Google was well. Count it anyway: if nothing else arrives, Google may be down.
      const callFailures = context.callFailures + (slot.blame === 'page' ? 1 : 0);
      const retry = event.final
        ? slot.retry
        : [...slot.retry, { ...page, attempts: attempt, callFailures: 0 }];
      enqueue.assign({
        workers: withSlot(context.workers, {
          // A failure that is not final was not written to the database.
          ...(event.final ? heardOf(slot) : slot),
          pages: without(slot.pages, event),
          retry,
        }),
        callFailures,
        ending: event.final ? worse(context.ending) : context.ending,
      });
      const { sliceId, startRow, reason, final } = event;
      enqueue.emit({ type: 'page.failed', sliceId, startRow, attempt, reason, final });
    }),
    takeBack: enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== 'pages.returned') return;
      const slot = slotOf(context, event);
      if (slot === undefined) return;
      const returned = event.pages.filter((page) => holds(slot, page));
      const pages = returned.reduce<readonly Page[]>(without, slot.pages);
      enqueue.assign({
        workers: withSlot(context.workers, { ...slot, pages }),
        queues: putBack(context.queues, returned),
      });
    }),
    /** The assignment is over. Failed pages wait as one group; pages without a report go back to the queue. */
    closeAssignment: enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== 'batch.ended') return;
      const slot = endedSlot(context, event);
      if (slot === undefined) return;
      const groupId = assignmentIdOf(context, slot);
      const { outcome } = event;
      // Any page committed during the call has already reset this counter.
      const callFailures = context.callFailures + (outcome.kind === 'failed' ? 1 : 0);
      const queues = putBack(context.queues, slot.pages);
      enqueue.assign({
        callFailures,
        tokenRefusals: context.tokenRefusals + (outcome.kind === 'unauthorized' ? 1 : 0),
        sound: outcome.kind === 'failed' ? 0 : context.sound,
        prober: context.prober === groupId ? null : context.prober,
        workers: withSlot(context.workers, {
          ...slot,
          status: outcome.kind === 'failed' ? 'backingOff' : 'idle',
          pages: [],
          retry: [],
        }),
        queues:
          slot.retry.length === 0
            ? queues
            : { ...queues, delayed: [...queues.delayed, { groupId, pages: slot.retry }] },
      });
      if (slot.retry.length > 0) {
        const attempts = Math.max(...slot.retry.map((page) => page.attempts));
        const delayMs = backoffMs(context.input.retryBackoff, attempts, event.chance);
        enqueue.raise({ type: 'retry.due', groupId }, { id: groupId, delay: delayMs });
        enqueue.emit({ type: 'retry.scheduled', pages: slot.retry.length, delayMs });
      }
      if (outcome.kind === 'failed') {
        enqueue.emit({
          type: 'call.failed',
          workerId: slot.workerId,
          reason: outcome.reason,
          consecutive: callFailures,
        });
      }
    }),
    releaseRetries: enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== 'retry.due') return;
      const { queues } = context;
      const due = queues.delayed
        .filter(({ groupId }) => groupId === event.groupId)
        .flatMap(({ pages }) => pages);
      enqueue.assign({
        queues: {
          ...queues,
          begun: [...queues.begun, ...due],
          delayed: queues.delayed.filter(({ groupId }) => groupId !== event.groupId),
        },
      });
    }),
    noteReady: enqueueActions(({ context, event, enqueue }) => {
      const slot = slotOf(context, event);
      if (slot === undefined || slot.status !== 'backingOff') return;
      enqueue.assign({ workers: withSlot(context.workers, { ...slot, status: 'idle' }) });
    }),
    noteHalted: enqueueActions(({ context, event, enqueue }) => {
      const slot = slotOf(context, event);
      if (slot === undefined || slot.status === 'reaping') return;
      enqueue.assign({
        workers: withSlot(context.workers, { ...slot, status: 'halted', pages: [], retry: [] }),
        queues: putBack(context.queues, [...slot.pages, ...slot.retry]),
      });
    }),
    changeConcurrency: enqueueActions(({ context, event, enqueue, self }) => {
      if (event.type !== 'concurrency.change') return;
      const { maxConcurrency } = event;
      const added: WorkerSlot[] = [];
      for (let index = context.workers.length; index < maxConcurrency; index += 1) {
        const slot = createSlot(`w${index}`);
        added.push(slot);
        enqueue.spawnChild('batchWorker', { id: slot.workerId, input: workerInput(context, slot, self) });
      }
      enqueue.assign({ maxConcurrency, workers: [...context.workers, ...added] });
      enqueue.emit({ type: 'concurrency.changed', maxConcurrency });
    }),
    pauseWorkers: enqueueActions(({ context, enqueue }) => {
      for (const { workerId, status } of context.workers) {
        if (status === 'busy' || status === 'retrying') enqueue.sendTo(workerId, { type: 'worker.pause' });
      }
    }),
    haltWorkers: enqueueActions(({ context, enqueue }) => {
      for (const { workerId, status } of context.workers) {
        if (status !== 'reaping' && status !== 'halted') enqueue.sendTo(workerId, { type: 'worker.halt' });
      }
      for (const { groupId } of context.queues.delayed) enqueue.cancel(groupId);
      // Drops pages that wait for the database. Their workers stay busy until that is done.
      enqueue.assign({
        workers: context.workers.map((slot) =>
          slot.status === 'stalled' || slot.status === 'retrying'
            ? { ...slot, status: 'busy' as const }
            : slot,
        ),
      });
    }),
    reap: enqueueActions(({ context, event, enqueue }) => {
      const slot = crashedSlot(context, event);
      if (slot === undefined) return;
      const assignmentId = assignmentIdOf(context, slot);
      enqueue.assign({ workers: withSlot(context.workers, { ...slot, status: 'reaping' }) });
      // Otherwise the tokens it still waits for would be granted to a dead worker, and count until it is reaped.
      enqueue.sendTo(context.input.limiter, { type: 'tokens.cancel', requestId: assignmentId });
      enqueue.spawnChild('reapWorker', {
        id: reaperId(slot.workerId),
        input: { workerId: slot.workerId, assignmentId, pages: slot.pages },
      });
    }),
    /** The crashed worker's call has ended. Pages in the ledger count as committed; the rest go back to the queue. */
    takeOver: enqueueActions(({ context, event, enqueue }) => {
      const slot = reapedSlot(context, event);
      if (slot === undefined) return;
      const committed = reapOutput(event)?.committed ?? [];
      let pages = slot.pages;
      let queues = context.queues;
      let ending = context.ending;
      for (const { sliceId, startRow, rows, next } of committed) {
        pages = without(pages, { sliceId, startRow });
        queues = afterCommit(queues, sliceId, next);
        if (next.kind === 'failed') ending = worse(ending);
        enqueue.emit({ type: 'page.committed', sliceId, startRow, rows, next });
      }
      enqueue.assign({
        ending,
        queues: putBack(queues, [...pages, ...slot.retry]),
        workers: withSlot(context.workers, { ...slot, pages: [], retry: [] }),
      });
      for (const order of abandonedTokens(context, slot)) enqueue.sendTo(context.input.limiter, order);
      enqueue.stopChild(reaperId(slot.workerId));
      enqueue.stopChild(slot.workerId);
    }),
    /** The deadline has passed. Workers that have not ended are stopped, so their tokens are settled here. */
    abandonTokens: enqueueActions(({ context, enqueue }) => {
      for (const slot of context.workers) {
        if (slot.status === 'halted') continue;
        for (const order of abandonedTokens(context, slot)) enqueue.sendTo(context.input.limiter, order);
      }
    }),
    respawn: enqueueActions(({ context, event, enqueue, self }) => {
      const dead = reapedSlot(context, event);
      if (dead === undefined) return;
      // A new serial, so that late messages from the dead worker are not mistaken for the new worker's.
      const slot: WorkerSlot = { ...dead, status: 'idle', serial: dead.serial + 1 };
      enqueue.spawnChild('batchWorker', { id: slot.workerId, input: workerInput(context, slot, self) });
      enqueue.assign({ restarts: context.restarts + 1, workers: withSlot(context.workers, slot) });
      enqueue.emit({ type: 'worker.restarted', workerId: slot.workerId });
    }),
    retire: enqueueActions(({ context, event, enqueue }) => {
      const slot = reapedSlot(context, event);
      if (slot === undefined) return;
      enqueue.assign({ workers: withSlot(context.workers, { ...slot, status: 'halted' }) });
    }),
    noteStalled: enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== 'batch.stalled') return;
      const slot = slotOf(context, event);
      if (slot === undefined || !hasAssignment(slot)) return;
      enqueue.assign({
        away: event.away,
        workers: withSlot(context.workers, { ...slot, status: 'stalled' }),
      });
    }),
    /** The stalled pages themselves are the best probe of the database. */
    retryStalled: enqueueActions(({ context, enqueue }) => {
      for (const { workerId, status } of context.workers) {
        if (status === 'stalled') enqueue.sendTo(workerId, { type: 'worker.retry' });
      }
      enqueue.assign({
        workers: context.workers.map((slot) =>
          slot.status === 'stalled' ? { ...slot, status: 'retrying' as const } : slot,
        ),
      });
    }),
    beginProbing: enqueueActions(({ context, event, enqueue }) => {
      const chance = 'chance' in event ? event.chance : 1;
      const away = 'outcome' in event && event.outcome.kind === 'databaseAway' ? event.outcome : context.away;
      const probeDelayMs = backoffMs(context.input.probeBackoff, context.probes + 1, chance);
      enqueue.assign({ away, probeDelayMs });
      enqueue.emit({ type: 'database.away', reason: away.reason });
    }),
    countProbe: enqueueActions(({ context, event, enqueue }) => {
      const probes = context.probes + 1;
      const away = 'error' in event && event.error instanceof StillAway ? event.error.away : context.away;
      enqueue.assign({ away, probes, probeDelayMs: backoffMs(context.input.probeBackoff, probes + 1, 1) });
      // Emitted every time, because the reason may have changed.
      enqueue.emit({ type: 'database.away', reason: away.reason });
    }),
    beginGoogleProbing: enqueueActions(({ context, event, enqueue }) => {
      enqueue.assign({
        sound: 0,
        googleProbes: 0,
        googleDelayMs: backoffMs(context.input.googleBackoff, 1, 1),
      });
      const reason =
        event.type === 'batch.ended' && event.outcome.kind === 'failed'
          ? event.outcome.reason
          : 'pages keep failing';
      enqueue.emit({ type: 'google.away', reason });
    }),
    /**
     * Goes to one worker, which takes tokens for it like any other call. The slot holds no page, so none can be lost.
     */
    probeGoogle: enqueueActions(({ context, enqueue }) => {
      const [slot] = availableSlots(context.workers, context.maxConcurrency);
      if (slot === undefined) return;
      const busy: WorkerSlot = {
        ...slot,
        status: 'busy',
        serial: slot.serial + 1,
        pages: [],
        blame: 'call',
        retry: [],
      };
      const assignmentId = assignmentIdOf(context, busy);
      enqueue.sendTo(slot.workerId, {
        type: 'batch.assign',
        assignmentId,
        pages: probePages(context.input),
        maxAttempts: context.input.maxAttempts,
        blame: 'call',
      });
      enqueue.assign({ prober: assignmentId, workers: withSlot(context.workers, busy) });
    }),
    countGoogleProbe: enqueueActions(({ context, event, enqueue }) => {
      const failed = event.type === 'batch.ended' && event.outcome.kind === 'failed';
      const googleProbes = context.googleProbes + (failed ? 1 : 0);
      enqueue.assign({
        googleProbes,
        googleDelayMs: backoffMs(context.input.googleBackoff, googleProbes + 1, 1),
      });
    }),
    noteGoogleBack: enqueueActions(({ enqueue }) => {
      enqueue.assign({ callFailures: 0 });
      enqueue.emit({ type: 'google.back' });
    }),
    endHalted: enqueueActions(({ event, enqueue }) => {
      if (event.type === 'halt') enqueue.assign({ ending: { status: 'halted', reason: event.reason } });
    }),
    endFailed: enqueueActions(({ event, enqueue }) => {
      if (event.type === 'fail') enqueue.assign({ ending: { status: 'failed', fatal: event.fatal } });
    }),
    endByOutcome: enqueueActions(({ event, enqueue }) => {
      if (event.type !== 'batch.ended' && event.type !== 'plan.failed') return;
      const { outcome } = event;
      if (outcome.kind === 'fatal') enqueue.assign({ ending: { status: 'failed', fatal: outcome.fatal } });
      if (outcome.kind === 'denied') {
        enqueue.assign({ ending: { status: 'halted', reason: { kind: 'quota', quota: outcome.quota } } });
      }
      if (outcome.kind === 'failed' || outcome.kind === 'unauthorized') {
        const reason = outcome.kind === 'failed' ? outcome.reason : 'Google refuses the access token';
        enqueue.assign({ ending: { status: 'halted', reason: { kind: 'callFailures', reason } } });
      }
    }),
    endWithoutDatabase: enqueueActions(({ context, event, enqueue }) => {
      const away = 'error' in event && event.error instanceof StillAway ? event.error.away : context.away;
      enqueue.assign({ ending: endOfPatience(away) });
    }),
    noteDatabaseBack: enqueueActions(({ context, enqueue }) => {
      // A database that answers but accepts nothing is treated like one that does not answer.
      enqueue.assign({ probes: context.probes + 1 });
      enqueue.emit({ type: 'database.back' });
    }),
    /** No retries while halting: failed pages go back to the queue for the next run. */
    closeForGood: enqueueActions(({ context, event, enqueue }) => {
      const slot = endedSlot(context, event);
      if (slot === undefined) return;
      enqueue.assign({
        workers: withSlot(context.workers, { ...slot, status: 'idle', pages: [], retry: [] }),
        queues: putBack(context.queues, [...slot.pages, ...slot.retry]),
      });
    }),
    endCrashed: enqueueActions(({ event, enqueue }) => {
      const reason =
        'error' in event && event.error instanceof Error
          ? `the actor "${event.actorId}" crashed: ${event.error.message}`
          : 'batch workers crashed too often';
      enqueue.assign({ ending: { status: 'failed', fatal: { code: 'INTERNAL', reason } } });
    }),
  },
});
