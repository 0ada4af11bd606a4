/** What the life of a run knows: its input, its context, its events, and pure questions about them. */
import type { DoneActorEvent, ErrorActorEvent } from 'xstate';
import type { Ending } from '../coordinator/context.ts';
import type { HaltReason } from '../messages.ts';

/** What is opened, in this order; closed in the opposite one. */
export type OpeningStep =
  | 'credentials'
  /** The embedded server, where no other database was named. */
  | 'server'
  | 'database'
  | 'schema'
  /** The right to write to it. */
  | 'property'
  /** The run's own row. */
  | 'run'
  /** What earlier runs have used of the quota. */
  | 'budgets';

/** What the database is asked once nothing is fetched any more, or, for a dry run, instead of fetching. */
export type Question = 'record' | 'tidy' | 'read' | 'count';

/** `away`: it may answer when it is asked again. `refused`: it will not. Neither is a bug; that is a rejection. */
export type QuestionAnswer =
  | { readonly kind: 'answered' }
  | { readonly kind: 'away'; readonly error: unknown }
  | { readonly kind: 'refused'; readonly error: unknown };

export interface QuestionInput {
  readonly question: Question;
  readonly ending: Ending | undefined;
}

/** What was asked for before there was a coordinator to ask. */
export interface Wishes {
  readonly isPaused: boolean;
  readonly maxConcurrency: number | undefined;
}

/** How it went, for those who close: the outcome is made of it. */
export interface LifeResult {
  readonly ending: Ending | undefined;
  /** `own`: the table could not be asked what the range holds; what this run has done is all that is known. */
  readonly figures: 'range' | 'own';
  readonly fault: LifeFault | undefined;
}

export interface CloseInput extends LifeResult {
  /** How long one thing may take to close. */
  readonly withinMs: number;
}

/** Why there is no outcome. */
export type LifeFault =
  | { readonly kind: 'threw'; readonly error: unknown }
  /** Nobody answered in time. */
  | { readonly kind: 'late'; readonly at: OpeningStep | Question; readonly afterMs: number };

export interface RunLifeInput {
  /** A dry run opens the database alone, counts what is missing, and closes. */
  readonly purpose: 'run' | 'dryRun';
  readonly haltDeadlineMs: number;
  /** How long each step may take where nobody halts. */
  readonly limits: Readonly<Record<OpeningStep | Question, number>>;
  /** How long closing may take altogether, and one thing of it, where nobody halts. */
  readonly closing: { readonly allMs: number; readonly oneMs: number };
  /** How long a run that halts or fails by itself waits for the database's last answers. */
  readonly lastAnswersMs: number;
  /** What a database that was away is given, from one attempt to the next. */
  readonly retryDelaysMs: readonly number[];
}

export interface RunLifeContext extends LifeResult {
  readonly input: RunLifeInput;
  readonly wishes: Wishes;
  /** The halt that was asked for from outside; the first one counts. */
  readonly halt: HaltReason | undefined;
  /** Whether all that was under way has ended: a commit that hangs holds the run's row. */
  readonly isQuiet: boolean;
  /** Attempts of the present question that have failed. */
  readonly failed: number;
}

export type RunLifeEvent =
  /** `halt`: it was asked for before there was anything to halt. */
  | { readonly type: 'start'; readonly halt: HaltReason | undefined }
  | { readonly type: 'pause' }
  | { readonly type: 'resume' }
  | { readonly type: 'concurrency.change'; readonly maxConcurrency: number }
  | { readonly type: 'halt'; readonly reason: HaltReason }
  | { readonly type: 'close' }
  /** The machines have ended. `isQuiet`: so has all that they had under way. */
  | { readonly type: 'execution.ended'; readonly ending: Ending; readonly isQuiet: boolean }
  /** A bug in them. */
  | { readonly type: 'execution.broke'; readonly error: unknown }
  /** The run's own: the deadline of a halt comes near; what is left of it is for closing. */
  | { readonly type: 'halt.near' }
  /** The deadline of a halt has come. */
  | { readonly type: 'halt.due' }
  | DoneActorEvent<QuestionAnswer | undefined>
  | ErrorActorEvent;

/** To the running machines. */
export type ExecutionOrder = Extract<
  RunLifeEvent,
  { type: 'pause' | 'resume' | 'concurrency.change' | 'halt' }
>;

/**
 * How a halt's deadline is shared out: calls and commits under way may take three fifths of it, then the end is written
 * down and the figures are read until four fifths are over, and the rest is for closing.
 */
export function haltShares(haltDeadlineMs: number): {
  readonly executionMs: number;
  readonly nearMs: number;
  readonly closingMs: number;
} {
  const fifth = haltDeadlineMs / 5;
  return { executionMs: 3 * fifth, nearMs: 4 * fifth, closingMs: fifth };
}

export function initialContext(input: RunLifeInput): RunLifeContext {
  return {
    input,
    wishes: { isPaused: false, maxConcurrency: undefined },
    halt: undefined,
    ending: undefined,
    figures: 'own',
    fault: undefined,
    isQuiet: true,
    failed: 0,
  };
}

/** The database's word on a question; undefined for every other event. */
export function answerIn(event: RunLifeEvent): QuestionAnswer | undefined {
  if (!event.type.startsWith('xstate.done.actor.')) return undefined;
  return 'output' in event ? event.output : undefined;
}

/** Only where all is there is the outcome worth nothing without what the table says. */
export function endsWell({ ending }: Pick<LifeResult, 'ending'>): boolean {
  return ending?.status === 'complete' || ending?.status === 'completeWithFailures';
}

export function retryDelayMs({ input, failed }: RunLifeContext): number {
  return input.retryDelaysMs[failed - 1] ?? 0;
}

/** Who halts does not wait for a database that was away once. */
export function mayAskAgain({ input, failed, halt }: RunLifeContext): boolean {
  return halt === undefined && failed < input.retryDelaysMs.length;
}

export function closeInput({ input, halt, ending, figures, fault }: RunLifeContext): CloseInput {
  const withinMs = halt === undefined ? input.closing.oneMs : haltShares(input.haltDeadlineMs).closingMs;
  return { ending, figures, fault, withinMs: Math.min(withinMs, input.closing.oneMs) };
}
