/**
 * Two processes that want the same property, a database that knows who has it, and what is on its way between them. Times
 * are ticks, and relative to now: worlds that differ in their age alone are one.
 */
import type { AnyEventObject } from 'xstate';
import type { BusyLease, LeaseValidity, Looks } from '../domain/lease-rules.ts';
import type { LeaseKeeperInput, LeaseKeeperSnapshot } from '../machines/index.ts';
import type { LeaseRow } from './lease-table.ts';

export type ProcessId = 'a' | 'b';
export const PROCESSES: readonly ProcessId[] = ['a', 'b'];

/** What happens seldom. Each is counted along a path. */
export const RARE_LEASE_KINDS = [
  /** A message takes longer than anybody waits; it arrives all the same, at any time. */
  'slow',
  /** A message never arrives. */
  'lost',
  /** The database does not take a renewal. */
  'refused',
  /** A process stands still, for any time (SIGSTOP, a laptop's lid). */
  'stopped',
  /** A process is gone, and its sessions with it. */
  'killed',
  /** A host is gone without a word: the database goes on taking its sessions for alive. */
  'vanished',
  /** The session that shows a presence is ended; another is opened at once. */
  'sessionEnded',
  /** The same, and none can be opened. */
  'sessionStaysAway',
] as const;
export type RareLeaseKind = (typeof RARE_LEASE_KINDS)[number];

export interface LeaseModelOptions {
  /** How long a lease lasts, in the database and here. */
  readonly leaseTicks: number;
  readonly keeper: Omit<LeaseKeeperInput, 'ageMs' | 'leaseMs'>;
  /** How long a renewal may go unanswered. */
  readonly answerWithin: number;
  /** Runs that each process makes, one after the other. */
  readonly runs: Readonly<Record<ProcessId, number>>;
  /** Requests that a run of each process sends before it ends. */
  readonly requests: Readonly<Record<ProcessId, 0 | 1>>;
  /** Whether a run waits for a property that a living one holds. */
  readonly wait: boolean;
  /** Whether processes show their presence. */
  readonly presence: boolean;
  /** What happens seldom happens to these. */
  readonly victims: readonly ProcessId[];
  readonly rare: Readonly<Partial<Record<RareLeaseKind, number>>>;
  /** How many rare things may happen on a path altogether. */
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
  /** Shown, and known. */
  | 'shown'
  /** The server has ended it, and the process does not know yet. */
  | 'ended'
  /** The same, and no other can be opened for now. */
  | 'cutOff'
  /** The process knows, and opens another. */
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

/** A request: its tokens are recorded before it is sent. */
export interface TokenCall {
  readonly stage: 'recording' | 'recorded';
  readonly tokens: Tokens;
}
/**
 * Where the tokens stand: nobody else has taken the property since, or who did has counted them, or who did has not, since
 * they were not in the table by then.
 */
export type Tokens = 'own' | 'counted' | 'uncounted';

export type LeaseRun =
  | { readonly kind: 'none' }
  | {
      readonly kind: 'looking';
      readonly looks: Looks;
      /** What comes before the next look. */
      readonly next: 'now' | 'answer' | 'moment' | 'tick';
      /** Since the look under way was asked for, and what was said of the asker. */
      readonly askedAgo: number;
      readonly shown: string | null;
      /** Who held the lease at the first look, if it was dead by then, with nothing of its own on the way. */
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
      /** Whether it has been told that it must end, and why. */
      readonly told: 'nothing' | 'lost' | 'refused';
      /** Its lease was taken since it looked dead. */
      readonly misjudged: boolean;
    };
export type Keeping = Extract<LeaseRun, { kind: 'keeping' }>;

export interface LeaseProcess {
  readonly standing: 'running' | 'stopped' | 'dead';
  /** Runs that have begun; the present one's number is this minus one. */
  readonly begun: number;
  readonly session: PresenceSession;
  /** Something came between its run and the database: that may lose its lease. */
  readonly hampered: boolean;
  readonly run: LeaseRun;
}

interface MessageBase {
  readonly process: ProcessId;
  readonly holder: string;
  /** On its way to the database, or back. */
  readonly to: 'database' | 'process';
  /** It arrives at any time, and nobody waits for it. */
  readonly isLate: boolean;
}
export type LeaseMessage = MessageBase &
  (
    | {
        readonly kind: 'take';
        readonly presence: string | null;
        readonly goneSince: string | null;
        /** The look before has found the holder gone, and it has not renewed since. */
        readonly isRecheck: boolean;
        /** Of the database's. */
        readonly answer?: 'taken' | BusyLease;
        /** Another has taken the lease since, which looked like a dead holder's. */
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
  /** The three of an XState snapshot: the world itself never ends. */
  readonly status: 'active';
  readonly output: undefined;
  readonly error: undefined;

  readonly processes: Readonly<Record<ProcessId, LeaseProcess>>;
  readonly rows: readonly LeaseRow[];
  readonly messages: readonly LeaseMessage[];
  /** Requests that have left their process and have not arrived. */
  readonly flying: readonly { readonly holder: string; readonly tokens: Tokens }[];
  readonly rare: Readonly<Partial<Record<RareLeaseKind, number>>>;
  /** What must never happen, and did. */
  readonly broken: readonly { readonly invariant: number; readonly what: string }[];
}

/** What may happen next, as plain data. */
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
