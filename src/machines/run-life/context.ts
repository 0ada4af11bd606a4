/** The run life's input, context and events, and pure functions over them. */
import type { DoneActorEvent, ErrorActorEvent } from 'xstate';
import type { Ending } from '../coordinator/context.ts';
import type { HaltReason } from '../messages.ts';

/** Opened in this order, closed in reverse. */
export type OpeningStep =
  | 'credentials'
  /** The embedded server, if no other database was named. */
  | 'server'
  | 'database'
  | 'schema'
  /** The property's lease, which allows writing. */
  | 'property'
  /** The run's row. */
  | 'run'
  /** Quota used by earlier runs. */
  | 'budgets';

/** Questions to the database after fetching, or, in a dry run, instead of fetching. */
export type Question = 'record' | 'tidy' | 'read' | 'count';

/** `away`: it may answer later. `refused`: it will not. Neither is a bug; bugs reject. */
export type QuestionAnswer =
  | { readonly kind: 'answered' }
  | { readonly kind: 'away'; readonly error: unknown }
  | { readonly kind: 'refused'; readonly error: unknown };

export interface QuestionInput {
  readonly question: Question;
  readonly ending: Ending | undefined;
}

/** Commands that arrived before the coordinator ran. */
export interface Wishes {
  readonly isPaused: boolean;
  readonly maxConcurrency: number | undefined;
}

/** How the run went. The outcome is built from it. */
export interface LifeResult {
  readonly ending: Ending | undefined;
  /** `own`: the table's counts could not be read, so only this run's counts are known. */
  readonly figures: 'range' | 'own';
  readonly fault: LifeFault | undefined;
}

export interface CloseInput extends LifeResult {
  /** Maximum time to close one resource. */
  readonly withinMs: number;
}

/** Why there is no outcome. */
export type LifeFault =
  | { readonly kind: 'threw'; readonly error: unknown }
  /** No answer arrived in time. */
  | { readonly kind: 'late'; readonly at: OpeningStep | Question; readonly afterMs: number };

export interface RunLifeInput {
  /** A dry run opens only the database, counts what is missing, and closes. */
  readonly purpose: 'run' | 'dryRun';
  readonly haltDeadlineMs: number;
  /** Maximum time per step without a halt. */
  readonly limits: Readonly<Record<OpeningStep | Question, number>>;
  /** Maximum time for closing in total, and per resource, without a halt. */
  readonly closing: { readonly allMs: number; readonly oneMs: number };
  /** How long a run that halts or fails by itself waits for the database's last answers. */
  readonly lastAnswersMs: number;
  /** Delays between attempts while the database is away. */
  readonly retryDelaysMs: readonly number[];
}

export interface RunLifeContext extends LifeResult {
  readonly input: RunLifeInput;
  readonly wishes: Wishes;
  /** The first halt request from outside. */
  readonly halt: HaltReason | undefined;
  /** Whether all work has ended. A commit that hangs locks the run's row. */
  readonly isQuiet: boolean;
  /** Failed attempts at the current question. */
  readonly failed: number;
}

export type RunLifeEvent =
  /** `halt`: it arrived before there was anything to halt. */
  | { readonly type: 'start'; readonly halt: HaltReason | undefined }
  | { readonly type: 'pause' }
  | { readonly type: 'resume' }
  | { readonly type: 'concurrency.change'; readonly maxConcurrency: number }
  | { readonly type: 'halt'; readonly reason: HaltReason }
  | { readonly type: 'close' }
  /** The machines have ended. `isQuiet`: so has all their work. */
  | { readonly type: 'execution.ended'; readonly ending: Ending; readonly isQuiet: boolean }
  /** A bug in the machines. */
  | { readonly type: 'execution.broke'; readonly error: unknown }
  /** Internal: the halt's deadline is near. The remaining time is for closing. */
  | { readonly type: 'halt.near' }
  /** The halt's deadline has passed. */
  | { readonly type: 'halt.due' }
  | DoneActorEvent<QuestionAnswer | undefined>
  | ErrorActorEvent;

/** To the running machines. */
export type ExecutionOrder = Extract<
  RunLifeEvent,
  { type: 'pause' | 'resume' | 'concurrency.change' | 'halt' }
>;

/**
 * How a halt's deadline is divided: three fifths for calls and commits under way, up to four fifths for recording the
 * end and reading the figures, the rest for closing.
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

/** The database's answer to a question. Undefined for every other event. */
export function answerIn(event: RunLifeEvent): QuestionAnswer | undefined {
  if (!event.type.startsWith('xstate.done.actor.')) return undefined;
  return 'output' in event ? event.output : undefined;
}

/** Only a complete run needs the table's figures in its outcome. */
export function endsWell({ ending }: Pick<LifeResult, 'ending'>): boolean {
  return ending?.status === 'complete' || ending?.status === 'completeWithFailures';
}

export function retryDelayMs({ input, failed }: RunLifeContext): number {
  return input.retryDelaysMs[failed - 1] ?? 0;
}

/** A halting run does not wait for a database that was away once. */
export function mayAskAgain({ input, failed, halt }: RunLifeContext): boolean {
  return halt === undefined && failed < input.retryDelaysMs.length;
}

export function closeInput({ input, halt, ending, figures, fault }: RunLifeContext): CloseInput {
  const withinMs = halt === undefined ? input.closing.oneMs : haltShares(input.haltDeadlineMs).closingMs;
  return { ending, figures, fault, withinMs: Math.min(withinMs, input.closing.oneMs) };
}
