/**
 * The tables of all machines in one form, to be asked by whoever wants to know whether a machine is the one that they
 * describe: the test of the tables, and those that look for faults which nobody notices.
 */
import { readFileSync } from 'node:fs';
import type { AnyStateMachine, EventFromLogic, EventObject, SnapshotFrom } from 'xstate';
import { batchWorkerMachine } from '../../../src/machines/batch-worker.ts';
import { concurrencyControllerMachine } from '../../../src/machines/concurrency-controller.ts';
import { coordinatorMachine } from '../../../src/machines/coordinator.ts';
import { leaseKeeperMachine } from '../../../src/machines/lease-keeper.ts';
import type { ControlEvent, GrantEvent, LimiterEvent, WorkerReport } from '../../../src/machines/messages.ts';
import { rateLimiterMachine } from '../../../src/machines/rate-limiter.ts';
import { runLifeMachine } from '../../../src/machines/run-life.ts';
import { createBystander } from '../support/refs.ts';
import * as worker from './batch-worker.ts';
import { TABLE as WORKER_TABLE, VARIANTS as WORKER_VARIANTS } from './batch-worker-table.ts';
import * as controller from './concurrency-controller.ts';
import { TABLE as CONTROLLER_TABLE } from './concurrency-controller-table.ts';
import * as coordinator from './coordinator.ts';
import { TABLE as COORDINATOR_TABLE } from './coordinator-table.ts';
import * as keeper from './lease-keeper.ts';
import { TABLE as KEEPER_TABLE } from './lease-keeper-table.ts';
import * as limiter from './rate-limiter.ts';
import { TABLE as LIMITER_TABLE } from './rate-limiter-table.ts';
import * as life from './run-life.ts';
import { TABLE as LIFE_TABLE, VARIANTS as LIFE_VARIANTS } from './run-life-table.ts';
import { type Answer, answerOf, type Expected, stateOf } from './table.ts';

export const MACHINE_NAMES = [
  'batch worker',
  'rate limiter',
  'concurrency controller',
  'lease keeper',
  'coordinator',
  'run life',
] as const;
export type MachineName = (typeof MACHINE_NAMES)[number];

/** The machine, brought into each situation. */
interface Built {
  readonly state: (situation: string) => string;
  readonly answer: (situation: string, name: string) => Answer;
}

export interface Sheet {
  readonly title: MachineName;
  /** States, and where one state has several rows, what else is so: `running, halting`. */
  readonly situations: readonly string[];
  /** By the names of the table's columns. */
  readonly events: Readonly<Record<string, EventObject>>;
  readonly expected: (situation: string, name: string) => Expected<string>;
  readonly build: () => Built;
}

type Row = Readonly<Partial<Record<string, Expected<string>>>>;

function sheetOf<M extends AnyStateMachine>(
  title: MachineName,
  machine: M,
  states: () => Readonly<Record<string, SnapshotFrom<M>>>,
  cases: Readonly<Record<string, EventFromLogic<M>>>,
  table: Readonly<Record<string, Row>>,
): Sheet {
  const found = <T>(record: Readonly<Record<string, T>>, key: string): T => {
    const value = record[key];
    if (value === undefined) throw new Error(`the table of the ${title} knows no "${key}"`);
    return value;
  };
  return {
    title,
    situations: Object.keys(table),
    events: cases,
    expected: (situation, name) => found(table, situation)[name] ?? 'ignored',
    build: () => {
      const built = states();
      return {
        state: (situation) => stateOf(found(built, situation)),
        answer: (situation, name) => answerOf(machine, found(built, situation), found(cases, name)),
      };
    },
  };
}

/** `running, halting` → `running`. */
export const baseOf = (situation: string): string => situation.replace(/, .*/, '');

/** All tables, by machine. The neighbours that the machines speak to are real actors, which hold nothing. */
export function createSheets(): Readonly<Record<MachineName, Sheet>> {
  const toLimiter = createBystander<LimiterEvent>('limiter', () => {});
  const toCoordinator = createBystander<WorkerReport>('coordinator', () => {});
  const toControlled = createBystander<ControlEvent>('coordinator', () => {});
  const toClient = createBystander<GrantEvent>('client', () => {});
  const workerInput = {
    workerId: 'w0',
    assignmentId: 'run:w0.0',
    coordinator: toCoordinator.ref,
    limiter: toLimiter.ref,
    scopes: ['site:a'],
    backoff: { baseMs: 100, maxMs: 1_000 },
  };
  return {
    'batch worker': sheetOf(
      'batch worker',
      batchWorkerMachine,
      () => worker.fixture(workerInput),
      worker.CASES,
      { ...WORKER_TABLE, ...WORKER_VARIANTS },
    ),
    'rate limiter': sheetOf(
      'rate limiter',
      rateLimiterMachine,
      () => limiter.fixture(toClient.ref),
      limiter.casesFor(toClient.ref),
      LIMITER_TABLE,
    ),
    'concurrency controller': sheetOf(
      'concurrency controller',
      concurrencyControllerMachine,
      () => controller.fixture(controller.inputFor(toControlled.ref)),
      controller.CASES,
      CONTROLLER_TABLE,
    ),
    'lease keeper': sheetOf(
      'lease keeper',
      leaseKeeperMachine,
      () => keeper.fixture(),
      keeper.CASES,
      KEEPER_TABLE,
    ),
    coordinator: sheetOf(
      'coordinator',
      coordinatorMachine,
      () => coordinator.fixture(coordinator.inputFor(toLimiter.ref)),
      coordinator.CASES,
      COORDINATOR_TABLE,
    ),
    'run life': sheetOf(
      'run life',
      runLifeMachine,
      () => {
        const { states, variants } = life.statesOf(runLifeMachine);
        return { ...states, ...variants };
      },
      life.CASES,
      { ...LIFE_TABLE, ...LIFE_VARIANTS },
    ),
  };
}

/** What the machine keeps in mind of every event in every situation, as it is written down beside the table. */
export function keepsText({ build, situations, events }: Sheet): string {
  const built = build();
  const lines = situations.flatMap((situation) => {
    const changed = Object.keys(events)
      .map((name) => [name, built.answer(situation, name).keeps] as const)
      .filter(([, keeps]) => keeps !== '');
    return [situation, ...changed.map(([name, keeps]) => `  ${name} → ${keeps}`), ''];
  });
  return lines.join('\n');
}

export const keepsFile = (title: MachineName): URL =>
  new URL(`keeps/${title.replaceAll(' ', '-')}.txt`, import.meta.url);

/** What is written down, asked by situation and case. */
export function readKeeps(title: MachineName): (situation: string, name: string) => string {
  const written = new Map<string, string>();
  let situation = '';
  for (const line of readFileSync(keepsFile(title), 'utf8').split('\n')) {
    const [name, keeps] = line.trim().split(' → ');
    if (name === undefined || keeps === undefined) situation = line;
    else written.set(`${situation} · ${name}`, keeps);
  }
  return (at, name) => written.get(`${at} · ${name}`) ?? '';
}

/** The first cell in which the machine is not what its table says; undefined when it is. */
export function firstDifference(
  { situations, events, expected, build }: Sheet,
  keeps: (situation: string, name: string) => string,
): string | undefined {
  const built = build();
  for (const situation of situations) {
    const state = built.state(situation);
    if (state !== baseOf(situation)) return `what should be "${situation}" is "${state}"`;
    for (const name of Object.keys(events)) {
      const answer = built.answer(situation, name);
      const [is, should] = [answer.outcome, expected(situation, name)].map((text) => JSON.stringify(text));
      if (is !== should) return `${situation}, ${name}: ${is}`;
      if (answer.keeps !== keeps(situation, name)) return `${situation}, ${name}: keeps "${answer.keeps}"`;
    }
  }
  return undefined;
}
