/**
 * The coordinator: feeds a fixed pool of batch workers from a plan that it reads in parts, and decides how a run ends.
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
 *            pausing ───────► paused          (unsent pages come back, calls under way finish, stalled calls stay)
 *
 *   from every state above, tokens are denied (the quota will not recover soon) ──► drainingForQuota
 *   (calls that have tokens finish within a deadline; no new calls start)                      │ no worker is busy · timeout
 *                                                                                              ▼
 *   from every state above:  no work is left · halt · fail · an outage lasts too long       halting
 *                                                   │
 *                                                   ▼
 *                                                halting ──► complete · completeWithFailures · halted · failed
 *                                                (every worker reports worker.halted, or the deadline passes)
 *
 * Pages go out only in `working`. There, `always` transitions dispatch while a worker is free and a page is queued, request
 * more of the plan when the look-ahead runs low, and end the run when no work is left. Event handlers need not do so.
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
    // States may override this with handlers for special cases. All other ends of a batch come here.
    'batch.ended': [
      { guard: 'isDenied', target: '.drainingForQuota', actions: ['endByOutcome', 'closeAssignment'] },
      { guard: 'endsTheRun', target: '.halting', actions: ['endByOutcome', 'closeAssignment'] },
      { actions: 'closeAssignment' },
    ],
    // A worker crashed, a reaper failed, or (the last case) an actor that cannot be replaced failed.
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
        /** No pages go out. One worker gets a probe from time to time. */
        waitingForGoogle: {
          initial: 'sleeping',
          // Stalled pages are only retried there, and with every worker stalled none could probe Google.
          always: { guard: 'somebodyHasStalled', target: 'waitingForDatabase', actions: 'beginProbing' },
          on: {
            'batch.ended': [
              {
                guard: 'databaseIsAway',
                target: 'waitingForDatabase',
                actions: ['closeAssignment', 'beginProbing'],
              },
              { guard: 'googleIsBack', target: 'working', actions: ['closeAssignment', 'noteGoogleBack'] },
              // One good answer may be luck.
              { guard: 'googleProbeAnswered', target: '.choosing', actions: 'closeAssignment' },
              {
                guard: 'noGoogleProbeIsLeft',
                target: '#coordinator.halting',
                actions: ['endByOutcome', 'closeAssignment'],
              },
              // No target: once no worker has the probe, `googleProbeIsLost` leads from `probing` to `sleeping`.
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
      // Pages that wait for the database would wait forever: they are only retried in `running`.
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
