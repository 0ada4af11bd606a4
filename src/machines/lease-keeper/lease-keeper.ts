/**
 * Keeps one run's leases: renews them in time, stops the run's calls when it is no longer sure of them, and says when they
 * are lost.
 *
 *   kept ─────────────────────────────┐  lease.expired          doubtful ─────────────────┐
 *   │ resting ──renewal──► renewing   │ ──────────────────────► │ asking ⇄ resting        │
 *   │    ▲   lease.kept,      │       │ ◄────────────────────── │                         │
 *   │    └─ lease.unanswered ─┘       │   lease.kept, in time   │                         │
 *   └──────────────┬──────────────────┘                         └──────────┬──────────────┘
 *                  │ lease.taken                                           │ lease.taken · too long
 *                  └───────────────────────────► lost ◄────────────────────┘
 *
 *   release leads to `released` from `kept` and `doubtful`. lease.changed renews at once, also in `doubtful`: what the
 *   renewal under way has told the database is no longer so, and it is followed by another.
 *
 * The database counts a lease from the moment it renews it; this machine counts from the moment before it asks. So a lease
 * expires here first, however long the answer took: who lost a lease has stopped before another may start. In `doubtful`
 * nobody else has it yet, as far as is known: where the next renewal says so, the run goes on.
 *
 * Two timers of expiry run while a renewal is under way: that of the last answer, and that of the renewal itself, set before
 * it is sent. The answer decides which of them is stopped.
 */
import { assign, enqueueActions, fromCallback, type SnapshotFrom, setup } from 'xstate';

/** Keeper to its book, which asks the database. At most one renewal is under way. */
export type RenewalOrder = { readonly type: 'lease.renew'; readonly serial: number };

export type LeaseKeeperEvent =
  /** The database has renewed every lease, as it was asked to by the renewal of this serial. */
  | { readonly type: 'lease.kept'; readonly serial: number }
  /** No answer came in time, or the database did not take it. */
  | { readonly type: 'lease.unanswered'; readonly serial: number; readonly reason: string }
  /** At least one lease is somebody else's by now. */
  | { readonly type: 'lease.taken'; readonly reason: string }
  /** What the database should know of the holder has changed: renew at once. */
  | { readonly type: 'lease.changed' }
  | { readonly type: 'release' }
  /** Internal: so long after the renewal of this serial was sent, the lease may be another's. */
  | { readonly type: 'lease.expired'; readonly serial: number };

export type LeaseKeeperEmitted =
  | { readonly type: 'lease.doubted'; readonly reason: string }
  | { readonly type: 'lease.regained' }
  | { readonly type: 'lease.lost'; readonly reason: string };

export interface LeaseKeeperInput {
  /** How long a lease lasts, here: less than in the database, by what two clocks may differ in that time. */
  readonly leaseMs: number;
  /** Time since before the lease was asked for. */
  readonly ageMs: number;
  /** Between two renewals, and between two attempts at one. */
  readonly renewEveryMs: number;
  readonly retryMs: number;
  /** How long a lease may be in doubt. */
  readonly giveUpMs: number;
}

type Timer = 'expiry a' | 'expiry b';

export interface LeaseKeeperContext {
  readonly input: LeaseKeeperInput;
  /** The renewal asked for last; 0 is the taking itself. */
  readonly asked: number;
  /** The last one that was answered with `lease.kept`. */
  readonly kept: number;
  /** The last one after which the lease has expired; -1 before any has. */
  readonly expired: number;
  /** The last renewal that was under way when what it tells had changed; -1 before any was. */
  readonly outdated: number;
  /** Which timer is that of the last answer; the other is the renewal's. */
  readonly timer: Timer;
  /** Why the last renewal came to nothing; empty when it did not. */
  readonly reason: string;
}

const other = (timer: Timer): Timer => (timer === 'expiry a' ? 'expiry b' : 'expiry a');

export const leaseKeeperMachine = setup({
  types: {
    context: {} as LeaseKeeperContext,
    events: {} as LeaseKeeperEvent,
    input: {} as LeaseKeeperInput,
    emitted: {} as LeaseKeeperEmitted,
    children: {} as { book: 'leaseBook' },
  },
  actors: {
    /** Answers each `lease.renew` with one of `lease.kept`, `lease.unanswered`, `lease.taken`. */
    leaseBook: fromCallback<RenewalOrder>(() => {
      throw new Error('leaseBook is provided by the composition root');
    }),
  },
  delays: {
    renewal: ({ context }) => (context.reason === '' ? context.input.renewEveryMs : context.input.retryMs),
    retry: ({ context }) => context.input.retryMs,
    giveUp: ({ context }) => context.input.giveUpMs,
  },
  guards: {
    /** Of the renewal under way: what is said of an earlier one comes too late. */
    isAnswer: ({ context, event }) => 'serial' in event && event.serial === context.asked,
    /** The answer took so long that the lease may have expired again. */
    isLateAnswer: ({ context, event }) =>
      'serial' in event && event.serial === context.asked && context.expired >= event.serial,
    /** Of the renewal under way, which has told what is no longer so. */
    isOutdatedAnswer: ({ context, event }) =>
      'serial' in event && event.serial === context.asked && context.outdated >= event.serial,
    isOfLastAnswer: ({ context, event }) => 'serial' in event && event.serial === context.kept,
  },
  actions: {
    startExpiry: enqueueActions(({ context, enqueue }) => {
      const { leaseMs, ageMs } = context.input;
      const delay = Math.max(0, leaseMs - ageMs);
      enqueue.raise({ type: 'lease.expired', serial: context.asked }, { id: context.timer, delay });
    }),
    askToRenew: enqueueActions(({ context, enqueue }) => {
      const serial = context.asked + 1;
      const { leaseMs } = context.input;
      // Before it is sent: the database cannot count from a moment earlier than this one.
      enqueue.raise({ type: 'lease.expired', serial }, { id: other(context.timer), delay: leaseMs });
      enqueue.assign({ asked: serial });
      enqueue.sendTo('book', { type: 'lease.renew', serial });
    }),
    noteKept: enqueueActions(({ context, enqueue }) => {
      enqueue.cancel(context.timer);
      enqueue.assign({ kept: context.asked, timer: other(context.timer), reason: '' });
    }),
    noteUnanswered: enqueueActions(({ context, event, enqueue }) => {
      if (event.type !== 'lease.unanswered') return;
      enqueue.cancel(other(context.timer));
      enqueue.assign({ reason: event.reason });
    }),
    noteExpired: assign(({ context, event }) =>
      event.type === 'lease.expired' ? { expired: Math.max(context.expired, event.serial) } : {},
    ),
    noteChange: assign(({ context }) => ({ outdated: context.asked })),
    noteTaken: assign(({ event }) => (event.type === 'lease.taken' ? { reason: event.reason } : {})),
    stopExpiry: enqueueActions(({ context, enqueue }) => {
      enqueue.cancel(context.timer);
      enqueue.cancel(other(context.timer));
    }),
    tellDoubt: enqueueActions(({ context, enqueue }) => {
      enqueue.emit({ type: 'lease.doubted', reason: context.reason || 'no renewal was answered in time' });
    }),
    tellRegained: enqueueActions(({ enqueue }) => {
      enqueue.emit({ type: 'lease.regained' });
    }),
    tellLost: enqueueActions(({ context, enqueue }) => {
      enqueue.emit({ type: 'lease.lost', reason: context.reason || 'no renewal was answered in time' });
    }),
  },
}).createMachine({
  id: 'leaseKeeper',
  context: ({ input }) => ({
    input,
    asked: 0,
    kept: 0,
    expired: -1,
    outdated: -1,
    timer: 'expiry a',
    reason: '',
  }),
  entry: 'startExpiry',
  invoke: { id: 'book', src: 'leaseBook' },
  initial: 'kept',
  states: {
    kept: {
      initial: 'resting',
      on: {
        'lease.taken': { target: 'lost', actions: 'noteTaken' },
        release: 'released',
      },
      states: {
        resting: {
          on: {
            'lease.changed': { target: 'renewing', actions: 'askToRenew' },
            'lease.expired': {
              guard: 'isOfLastAnswer',
              target: '#leaseKeeper.doubtful',
              actions: ['noteExpired', 'tellDoubt', 'askToRenew'],
            },
          },
          after: { renewal: { target: 'renewing', actions: 'askToRenew' } },
        },
        renewing: {
          on: {
            'lease.changed': { actions: 'noteChange' },
            'lease.kept': [
              { guard: 'isOutdatedAnswer', actions: ['noteKept', 'askToRenew'] },
              { guard: 'isAnswer', target: 'resting', actions: 'noteKept' },
            ],
            'lease.unanswered': { guard: 'isAnswer', target: 'resting', actions: 'noteUnanswered' },
            // That of the last answer, or the renewal's own, which is due later: timers of a process that stood still fire in
            // any order.
            'lease.expired': { target: '#leaseKeeper.doubtful', actions: ['noteExpired', 'tellDoubt'] },
          },
        },
      },
    },
    doubtful: {
      initial: 'asking',
      on: {
        'lease.taken': { target: 'lost', actions: 'noteTaken' },
        'lease.expired': { actions: 'noteExpired' },
        release: 'released',
      },
      after: { giveUp: 'lost' },
      states: {
        asking: {
          on: {
            'lease.changed': { actions: 'noteChange' },
            'lease.kept': [
              { guard: 'isLateAnswer', actions: ['noteKept', 'askToRenew'] },
              {
                guard: 'isOutdatedAnswer',
                target: '#leaseKeeper.kept.renewing',
                actions: ['noteKept', 'tellRegained', 'askToRenew'],
              },
              { guard: 'isAnswer', target: '#leaseKeeper.kept', actions: ['noteKept', 'tellRegained'] },
            ],
            'lease.unanswered': { guard: 'isAnswer', target: 'resting', actions: 'noteUnanswered' },
          },
        },
        resting: {
          on: { 'lease.changed': { target: 'asking', actions: 'askToRenew' } },
          after: { retry: { target: 'asking', actions: 'askToRenew' } },
        },
      },
    },
    lost: { type: 'final', entry: ['stopExpiry', 'tellLost'] },
    released: { type: 'final', entry: 'stopExpiry' },
  },
});

export type LeaseKeeperSnapshot = SnapshotFrom<typeof leaseKeeperMachine>;

/** Whether the leases are kept, as far as the timers tell: they may be late. */
export const isKept = (snapshot: LeaseKeeperSnapshot): boolean =>
  snapshot.status === 'active' && snapshot.matches('kept');
