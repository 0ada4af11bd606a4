/**
 * Keeps one run's leases: renews them in time, stops the run's calls when the leases are in doubt, and reports when they are
 * lost.
 *
 *   kept ─────────────────────────────┐  lease.expired          doubtful ─────────────────┐
 *   │ resting ──renewal──► renewing   │ ──────────────────────► │ asking ⇄ resting        │
 *   │    ▲   lease.kept,      │       │ ◄────────────────────── │                         │
 *   │    └─ lease.unanswered ─┘       │   lease.kept, in time   │                         │
 *   └──────────────┬──────────────────┘                         └──────────┬──────────────┘
 *                  │ lease.taken                                           │ lease.taken · too long
 *                  └───────────────────────────► lost ◄────────────────────┘
 *
 *   release leads to `released` from `kept` and `doubtful`. lease.changed renews immediately, also in `doubtful`: the
 *   renewal under way carries outdated details, so another one follows.
 *
 * The database counts a lease from the moment it renews it; this machine counts from just before it asks. So a lease always
 * expires here first, and a run that lost its lease has stopped before another run may start. In `doubtful` no other run
 * is known to have the lease: if the next renewal succeeds, the run continues.
 *
 * While a renewal is under way there are two expiry timers: one for the last answer, and one for the renewal itself, set
 * before it is sent. The answer decides which one is stopped.
 */
import { assign, enqueueActions, fromCallback, type SnapshotFrom, setup } from 'xstate';

/** Messages to the lease book, which asks the database. At most one renewal is under way. */
export type RenewalOrder = { readonly type: 'lease.renew'; readonly serial: number };

export type LeaseKeeperEvent =
  /** The database has renewed every lease, in answer to the renewal with this serial. */
  | { readonly type: 'lease.kept'; readonly serial: number }
  /** No answer came in time, or the database did not accept the renewal. */
  | { readonly type: 'lease.unanswered'; readonly serial: number; readonly reason: string }
  /** Another holder has taken at least one lease. */
  | { readonly type: 'lease.taken'; readonly reason: string }
  /** The holder's details have changed. Renew immediately. */
  | { readonly type: 'lease.changed' }
  | { readonly type: 'release' }
  /** Internal: enough time has passed since this renewal was sent that the lease may have been taken. */
  | { readonly type: 'lease.expired'; readonly serial: number };

export type LeaseKeeperEmitted =
  | { readonly type: 'lease.doubted'; readonly reason: string }
  | { readonly type: 'lease.regained' }
  | { readonly type: 'lease.lost'; readonly reason: string };

export interface LeaseKeeperInput {
  /**
   * How long a lease lasts on this side. Shorter than in the database, by the maximum clock difference over that time.
   */
  readonly leaseMs: number;
  /** Time since just before the lease was requested. */
  readonly ageMs: number;
  /** Delay between two renewals, and between two attempts. */
  readonly renewEveryMs: number;
  readonly retryMs: number;
  /** How long a lease may be in doubt. */
  readonly giveUpMs: number;
}

type Timer = 'expiry a' | 'expiry b';

export interface LeaseKeeperContext {
  readonly input: LeaseKeeperInput;
  /** The last renewal requested. 0 is the initial acquisition. */
  readonly asked: number;
  /** The last renewal answered with `lease.kept`. */
  readonly kept: number;
  /** The last renewal whose expiry has passed; -1 before any. */
  readonly expired: number;
  /** The last renewal that was under way when the holder's details changed; -1 before any. */
  readonly outdated: number;
  /** Which timer belongs to the last answer. The other belongs to the renewal. */
  readonly timer: Timer;
  /** Why the last renewal failed. Empty if it succeeded. */
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
    /** Answers each `lease.renew` with `lease.kept`, `lease.unanswered` or `lease.taken`. */
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
    /** An answer to the current renewal. Answers to earlier ones are too late. */
    isAnswer: ({ context, event }) => 'serial' in event && event.serial === context.asked,
    /** The answer took so long that the lease may have expired in the meantime. */
    isLateAnswer: ({ context, event }) =>
      'serial' in event && event.serial === context.asked && context.expired >= event.serial,
    /** An answer to the current renewal, whose details are out of date. */
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
      // Set before sending: the database cannot count from an earlier moment.
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
            // The timer of the last answer, or the renewal's, which is due later. After a process freeze, timers fire
            // in any order.
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

/** Whether the leases are held according to the timers, which may be late. */
export const isKept = (snapshot: LeaseKeeperSnapshot): boolean =>
  snapshot.status === 'active' && snapshot.matches('kept');
