/**
 * The coordinator: feeds a fixed pool of batch workers from a plan it never holds whole, and decides how a run ends.
 *
 *   running ─────────────────────────────────────────────────────────────┐
 *   │ working ────────────────────────────────────────┐  databaseAway,    │
 *   │ │ planning ─► dispatching ⇄ waitingForRetry      │  a call stalls    │
 *   │ │                  ⇅             ⇅               │ ───────────────►  waitingForDatabase
 *   │ │               draining                         │ ◄───────────────  { sleeping ⇄ probing, sleeping ⇄ retrying }
 *   │ └──────┬───────────────▲─────────────────────────┘                  │
 *   │        │ Google fails    │ a probe, or any other call, is answered   │
 *   │        ▼ call after call │                                           │
 *   │   waitingForGoogle { sleeping ─► choosing ─► probing ─► sleeping }   │
 *   └───────────┬───────────────▲─────────────────────────────────────────┘
 *         pause │        resume │
 *               ▼               │
 *            pausing ───────► paused          (pages not sent come back, calls under way finish, but for stalled ones)
 *
 *   from every state above, tokens are denied (a quota that will not come back soon) ──► drainingForQuota
 *   (calls under way are paid for: they finish, within a deadline; nothing new goes out)       │ nobody is busy · too late
 *                                                                                              ▼
 *   from every state above:  nothing is left to do · halt · fail · nobody comes back        halting
 *                                                   │
 *                                                   ▼
 *                                                halting ──► complete · completeWithFailures · halted · failed
 *                                                (every worker reports worker.halted, or the deadline passes)
 *
 * In `working`, and there only, pages go out: `always` dispatches while a worker is free and a page waits, asks the plan
 * for more when the look-ahead runs low, and ends the run when nothing is left. So no handler has to remember to.
 */
import { and, not, type SnapshotFrom } from 'xstate';
import { initialContext } from './context.ts';
import { coordinatorSetup } from './setup.ts';

export const coordinatorMachine = coordinatorSetup.createMachine({
  id: 'coordinator',
  context: ({ input }) => initialContext(input),
  entry: 'spawnPool',
  invoke: { id: 'plan', src: 'loadPlan' },
  initial: 'running',
  output: ({ context }) => context.ending,
  on: {
    'page.committed': { actions: 'noteCommitted' },
    'page.failed': { actions: 'noteFailed' },
    'batch.stalled': { actions: 'noteStalled' },
    'pages.returned': { actions: 'takeBack' },
    'worker.ready': { actions: 'noteReady' },
    'worker.halted': { actions: 'noteHalted' },
    'retry.due': { actions: 'releaseRetries' },
    'plan.supplied': { actions: 'takePlan' },
    'plan.failed': [
      { guard: 'planFailedFatally', target: '.halting', actions: 'endByOutcome' },
      { actions: 'askPlanAgain' },
    ],
    'concurrency.change': { actions: 'changeConcurrency' },
    halt: { target: '.halting', actions: 'endHalted' },
    fail: { target: '.halting', actions: 'endFailed' },
    // States of their own add what more it may mean there; an end that is none of theirs comes here.
    'batch.ended': [
      { guard: 'isDenied', target: '.drainingForQuota', actions: ['endByOutcome', 'closeAssignment'] },
      { guard: 'endsTheRun', target: '.halting', actions: ['endByOutcome', 'closeAssignment'] },
      { actions: 'closeAssignment' },
    ],
    // A worker crashed, or a reaper failed, or (the last case) an actor that nothing can replace.
    'xstate.error.actor.*': [
      { guard: 'workerCrashed', actions: 'reap' },
      { guard: 'mayRespawn', actions: ['takeOver', 'respawn'] },
      { target: '.halting', actions: ['takeOver', 'retire', 'endCrashed'] },
    ],
    'xstate.done.actor.*': [
      { guard: 'mayRespawn', actions: ['takeOver', 'respawn'] },
      { target: '.halting', actions: ['takeOver', 'retire', 'endCrashed'] },
    ],
  },
  states: {
    running: {
      initial: 'working',
      on: { pause: 'pausing' },
      states: {
        working: {
          initial: 'planning',
          always: [
            { guard: 'somebodyHasStalled', target: 'waitingForDatabase', actions: 'beginProbing' },
            { guard: 'canDispatch', actions: 'dispatch' },
            { guard: 'wantsPlan', actions: 'requestPlan' },
            { guard: 'isFinished', target: '#coordinator.halting' },
          ],
          on: {
            // Of every other end it is the same as everywhere.
            'batch.ended': [
              {
                guard: 'databaseIsAway',
                target: 'waitingForDatabase',
                actions: ['closeAssignment', 'beginProbing'],
              },
              {
                guard: 'googleIsAway',
                target: 'waitingForGoogle',
                actions: ['closeAssignment', 'beginGoogleProbing'],
              },
            ],
            'plan.failed': [
              { guard: 'planFailedFatally', target: '#coordinator.halting', actions: 'endByOutcome' },
              { target: 'waitingForDatabase', actions: ['askPlanAgain', 'beginProbing'] },
            ],
          },
          states: {
            planning: {
              always: { guard: 'hasPlan', target: 'dispatching' },
            },
            dispatching: {
              always: [
                { guard: 'onlyRetriesAreLeft', target: 'waitingForRetry' },
                { guard: 'hasNoWork', target: 'draining' },
              ],
            },
            waitingForRetry: {
              always: { guard: 'somethingIsLeft', target: 'dispatching' },
            },
            draining: {
              always: [
                { guard: 'onlyRetriesAreLeft', target: 'waitingForRetry' },
                { guard: 'hasWork', target: 'dispatching' },
              ],
            },
          },
        },
        /** Nobody is given pages; one worker is given a probe now and then. */
        waitingForGoogle: {
          initial: 'sleeping',
          // What waits for the database is tried there alone; and with every worker stalled nobody could ask Google.
          always: { guard: 'somebodyHasStalled', target: 'waitingForDatabase', actions: 'beginProbing' },
          on: {
            'batch.ended': [
              {
                guard: 'databaseIsAway',
                target: 'waitingForDatabase',
                actions: ['closeAssignment', 'beginProbing'],
              },
              { guard: 'googleIsBack', target: 'working', actions: ['closeAssignment', 'noteGoogleBack'] },
              // One good answer may be chance.
              { guard: 'googleProbeAnswered', target: '.choosing', actions: 'closeAssignment' },
              {
                guard: 'noGoogleProbeIsLeft',
                target: '#coordinator.halting',
                actions: ['endByOutcome', 'closeAssignment'],
              },
              // `probing` is left for want of a probe.
              {
                guard: and(['googleProbeEnded', not('isDenied'), not('endsTheRun')]),
                actions: ['countGoogleProbe', 'closeAssignment'],
              },
            ],
          },
          states: {
            sleeping: { after: { googleProbe: 'choosing' } },
            choosing: { always: { guard: 'canProbeGoogle', target: 'probing', actions: 'probeGoogle' } },
            probing: { always: { guard: 'googleProbeIsLost', target: 'sleeping' } },
          },
        },
        waitingForDatabase: {
          initial: 'sleeping',
          states: {
            sleeping: {
              after: { probe: [{ guard: 'somebodyHasStalled', target: 'retrying' }, { target: 'probing' }] },
            },
            retrying: {
              entry: 'retryStalled',
              always: [
                {
                  guard: and(['nobodyRetries', 'somebodyHasStalled', 'noProbeIsLeft']),
                  target: '#coordinator.halting',
                  actions: 'endWithoutDatabase',
                },
                {
                  guard: and(['nobodyRetries', 'somebodyHasStalled']),
                  target: 'sleeping',
                  actions: 'countProbe',
                },
                {
                  guard: 'nobodyRetries',
                  target: '#coordinator.running.working',
                  actions: 'noteDatabaseBack',
                },
              ],
            },
            probing: {
              invoke: {
                id: 'probe',
                src: 'probeDatabase',
                onDone: [
                  {
                    guard: 'hasAnsweredInVain',
                    target: '#coordinator.halting',
                    actions: 'endWithoutDatabase',
                  },
                  { target: '#coordinator.running.working', actions: 'noteDatabaseBack' },
                ],
                onError: [
                  { guard: 'noProbeIsLeft', target: '#coordinator.halting', actions: 'endWithoutDatabase' },
                  { target: 'sleeping', actions: 'countProbe' },
                ],
              },
            },
          },
        },
      },
    },
    pausing: {
      entry: 'pauseWorkers',
      always: { guard: 'nobodyMoves', target: 'paused' },
      on: { resume: 'running' },
    },
    paused: {
      on: { resume: 'running' },
    },
    drainingForQuota: {
      entry: 'pauseWorkers',
      // What waits for the database would wait for ever: it is tried again in `running` alone.
      always: { guard: 'nobodyMoves', target: 'halting' },
      after: { finishDeadline: 'halting' },
      on: {
        'batch.ended': [
          { guard: 'isFatal', target: 'halting', actions: ['endByOutcome', 'closeAssignment'] },
          { actions: 'closeAssignment' },
        ],
      },
    },
    halting: {
      entry: 'haltWorkers',
      // Of those who have not halted when the deadline comes. Before it, all have.
      exit: 'abandonTokens',
      always: [
        { guard: and(['allHalted', 'endsComplete']), target: 'complete' },
        { guard: and(['allHalted', 'endsWithFailures']), target: 'completeWithFailures' },
        { guard: and(['allHalted', 'endsHalted']), target: 'halted' },
        { guard: 'allHalted', target: 'failed' },
      ],
      after: {
        haltDeadline: [
          { guard: 'endsComplete', target: 'complete' },
          { guard: 'endsWithFailures', target: 'completeWithFailures' },
          { guard: 'endsHalted', target: 'halted' },
          { target: 'failed' },
        ],
      },
      on: {
        halt: {},
        fail: { actions: 'endFailed' },
        'concurrency.change': {},
        'plan.failed': {},
        'batch.stalled': {},
        'batch.ended': { actions: 'closeForGood' },
        'xstate.error.actor.*': [
          { guard: 'workerCrashed', actions: 'reap' },
          { actions: ['takeOver', 'retire'] },
        ],
        'xstate.done.actor.*': { actions: ['takeOver', 'retire'] },
      },
    },
    complete: { type: 'final' },
    completeWithFailures: { type: 'final' },
    halted: { type: 'final' },
    failed: { type: 'final' },
  },
});

export type CoordinatorSnapshot = SnapshotFrom<typeof coordinatorMachine>;
