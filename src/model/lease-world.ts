/**
 * Two processes that want the same property, a database that knows who has it, and messages between them. Times are
 * ticks relative to now: worlds that differ only in age are equal.
 */
import type { AnyEventObject } from 'xstate';
import type { BusyLease, LeaseValidity, Looks } from '../domain/lease-rules.ts';
import type { LeaseKeeperInput, LeaseKeeperSnapshot } from '../machines/index.ts';
import type { LeaseRow } from './lease-table.ts';

export type ProcessId = 'a' | 'b';
export const PROCESSES: readonly ProcessId[] = ['a', 'b'];

/** Rare events. Each is counted along a path. */
export const RARE_LEASE_KINDS = [
  /** A message takes longer than its receiver waits. It still arrives, at any time. */
  'slow',
  /** A message never arrives. */
  'lost',
  /** The database does not accept a renewal. */
  'refused',
  /** A process is frozen for any length of time (SIGSTOP, a closed laptop). */
  'stopped',
  /** A process dies, and its sessions with it. */
  'killed',
  /** A host disappears without closing its connections: the database still considers its sessions alive. */
  'vanished',
  /** The session that shows a presence is ended. Another is opened immediately. */
  'sessionEnded',
  /** The same, and no other can be opened. */
  'sessionStaysAway',
] as const;
export type RareLeaseKind = (typeof RARE_LEASE_KINDS)[number];

export interface LeaseModelOptions {
  /** How long a lease lasts, in the database and here. */
  readonly leaseTicks: number;
  readonly keeper: Omit<LeaseKeeperInput, 'ageMs' | 'leaseMs'>;
  /** How long a renewal may go unanswered. */
  readonly answerWithin: number;
  /** Number of runs that each process makes, one after the other. */
  readonly runs: Readonly<Record<ProcessId, number>>;
  /** Requests that a run of each process sends before it ends. */
  readonly requests: Readonly<Record<ProcessId, 0 | 1>>;
  /** Whether a run waits for a property held by a living one. */
  readonly wait: boolean;
  /** Whether processes show their presence. */
  readonly presence: boolean;
  /** The processes that rare events can hit. */
  readonly victims: readonly ProcessId[];
  readonly rare: Readonly<Partial<Record<RareLeaseKind, number>>>;
  /** Maximum number of rare events on a path. */
  readonly maxRare: number;
}

export const DEFAULT_LEASE_OPTIONS: LeaseModelOptions = {
  leaseTicks: 3,
  keeper: { renewEveryMs: 1, retryMs: 1, giveUpMs: 4 },
  answerWithin: 2,
  runs: { a: 1, b: 1 },
  requests: { a: 1, b: 1 },
  wait: true,
  presence: true,
  victims: PROCESSES,
  rare: {},
  maxRare: 0,
};

/** The session that shows a process's presence. */
export type PresenceSession =
  /** Shown, and the process knows it. */
  | 'shown'
  /** The server has ended it, and the process does not know yet. */
  | 'ended'
  /** The same, and no other can be opened for now. */
  | 'cutOff'
  /** The session ended, and the process has noticed it and opens another. */
  | 'reopening'
  /** None is shown, and none can be for now. */
  | 'away'
  /** Its process is gone, and the server does not know. */
  | 'ghost'
  /** None is shown, and none is wanted. */
  | 'none';

export interface LeaseTimer {
  readonly id: string;
  readonly event: AnyEventObject;
  readonly dueIn: number;
}

/** A request. Its tokens are recorded before it is sent. */
export interface TokenCall {
  readonly stage: 'recording' | 'recorded';
  readonly tokens: Tokens;
}
/**
 * The state of the tokens. `own`: no one else has taken the property since. `counted`: the process that took it has
 * counted them. `uncounted`: it has not, because they were not in the table yet.
 */
export type Tokens = 'own' | 'counted' | 'uncounted';

export type LeaseRun =
  | { readonly kind: 'none' }
  | {
      readonly kind: 'looking';
      readonly looks: Looks;
      /** What happens before the next look. */
      readonly next: 'now' | 'answer' | 'moment' | 'tick';
      /** Ticks since the current look was sent, and the presence it named for the asker. */
      readonly askedAgo: number;
      readonly shown: string | null;
      /** The lease's holder at the first look, if it was already dead and had no messages under way. */
      readonly deadHolder: string | null;
    }
  | {
      readonly kind: 'keeping';
      readonly keeper: LeaseKeeperSnapshot;
      readonly timers: readonly LeaseTimer[];
      readonly validity: LeaseValidity;
      /** Renewals that the book waits for, and for how long. */
      readonly orders: readonly { readonly serial: number; readonly answerIn: number }[];
      readonly call: TokenCall | undefined;
      /** Requests sent. */
      readonly sent: 0 | 1;
      /** Whether it was told to end, and why. */
      readonly told: 'nothing' | 'lost' | 'refused';
      /** Its lease was taken because it looked dead. */
      readonly misjudged: boolean;
    };
export type Keeping = Extract<LeaseRun, { kind: 'keeping' }>;

export interface LeaseProcess {
  readonly standing: 'running' | 'stopped' | 'dead';
  /** Number of runs begun. The current run's number is one less. */
  readonly begun: number;
  readonly session: PresenceSession;
  /** Something disturbed the path between its run and the database, which may cost it its lease. */
  readonly hampered: boolean;
  readonly run: LeaseRun;
}

interface MessageBase {
  readonly process: ProcessId;
  readonly holder: string;
  /** On its way to the database, or back. */
  readonly to: 'database' | 'process';
  /** It arrives at any time, and no one waits for it. */
  readonly isLate: boolean;
}
export type LeaseMessage = MessageBase &
  (
    | {
        readonly kind: 'take';
        readonly presence: string | null;
        readonly goneSince: string | null;
        /** The previous look found the holder gone, and it has not renewed since. */
        readonly isRecheck: boolean;
        /** The database's answer. */
        readonly answer?: 'taken' | BusyLease;
        /** Another process has since taken the lease, which looked like a dead holder's. */
        readonly misjudged?: true;
      }
    | {
        readonly kind: 'renew';
        readonly serial: number;
        readonly presence: string | null;
        readonly answer?: 'kept' | 'taken' | 'refused';
      }
    | { readonly kind: 'record'; readonly answer?: 'recorded' | 'lost' }
    | { readonly kind: 'release' }
  );

export interface LeaseWorld {
  /** Required by an XState snapshot. The world itself never ends. */
  readonly status: 'active';
  readonly output: undefined;
  readonly error: undefined;

  readonly processes: Readonly<Record<ProcessId, LeaseProcess>>;
  readonly rows: readonly LeaseRow[];
  readonly messages: readonly LeaseMessage[];
  /** Requests that were sent and have not arrived. */
  readonly flying: readonly { readonly holder: string; readonly tokens: Tokens }[];
  readonly rare: Readonly<Partial<Record<RareLeaseKind, number>>>;
  /** Invariants that were broken. */
  readonly broken: readonly { readonly invariant: number; readonly what: string }[];
}

/** Possible next events, as plain data. */
export type LeaseWorldEvent =
  | { readonly type: 'time.passes' }
  | { readonly type: 'message.arrives'; readonly message: number }
  | { readonly type: 'message.slows'; readonly message: number }
  | { readonly type: 'message.isLost'; readonly message: number }
  | { readonly type: 'renewal.isRefused'; readonly message: number }
  | { readonly type: 'timer.fires'; readonly process: ProcessId; readonly timer: string }
  | { readonly type: 'answer.isMissed'; readonly process: ProcessId; readonly serial: number }
  | { readonly type: 'run.looks'; readonly process: ProcessId }
  | { readonly type: 'run.records'; readonly process: ProcessId }
  | { readonly type: 'run.sends'; readonly process: ProcessId }
  | { readonly type: 'run.ends'; readonly process: ProcessId }
  | { readonly type: 'request.arrives'; readonly request: number }
  | { readonly type: 'process.starts'; readonly process: ProcessId }
  | { readonly type: 'process.stops'; readonly process: ProcessId }
  | { readonly type: 'process.wakes'; readonly process: ProcessId }
  | { readonly type: 'process.isKilled'; readonly process: ProcessId }
  | { readonly type: 'host.vanishes'; readonly process: ProcessId }
  | { readonly type: 'session.ends'; readonly process: ProcessId; readonly staysAway: boolean }
  | { readonly type: 'session.isMissed'; readonly process: ProcessId }
  | { readonly type: 'session.opens'; readonly process: ProcessId };

export const otherProcess = (process: ProcessId): ProcessId => (process === 'a' ? 'b' : 'a');

export const holderOf = (process: ProcessId, { begun }: LeaseProcess): string => `${process}${begun - 1}`;
