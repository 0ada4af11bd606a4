import type { CoverageRange } from '../../src/domain/coverage.ts';
import { FENCED_OFF } from '../../src/postgres/connection/answer.ts';
import type { RunEnd, RunParameters } from '../../src/postgres/queries/run.ts';
import type { RunIdentity } from '../../src/store/types.ts';
import { Refused, spansAll } from './table-rows.ts';

const HOUR_MS = 3_600_000;

export interface RunRow {
  readonly id: string;
  readonly epoch: string;
  readonly parameters: RunParameters;
  status: 'running' | 'crashed' | RunEnd;
  readonly startedAt: number;
  endedAt: number | null;
  readonly cutOff: number | null;
  readonly scope: CoverageRange | null;
}

/** The property's epoch and its runs. */
export class RunTable {
  readonly #now: () => number;
  readonly #nextId: () => string;
  readonly #runs = new Map<string, RunRow>();
  #epoch = 0;

  constructor(now: () => number, nextId: () => string) {
    this.#now = now;
    this.#nextId = nextId;
  }

  get(runId: string): RunRow | undefined {
    return this.#runs.get(runId);
  }

  takeOver(): { readonly propertyId: string; readonly epoch: string } {
    this.#epoch += 1;
    for (const run of this.#runs.values()) if (run.status === 'running') this.#end(run, 'crashed');
    return { propertyId: '1', epoch: String(this.#epoch) };
  }

  start(lock: Omit<RunIdentity, 'runId'>, parameters: RunParameters): RunIdentity {
    const { from, to, searchTypes, datasets, refresh } = parameters;
    const spans = (scope: CoverageRange): boolean =>
      refresh ? spansAll(scope, parameters) : scope.from <= to && scope.to >= from;
    const isFinished = (refreshed: RunRow): boolean =>
      [...this.#runs.values()].some(
        ({ status, cutOff, parameters: asked }) =>
          (status === 'complete' || status === 'completeWithFailures') &&
          cutOff === refreshed.cutOff &&
          refreshed.scope !== null &&
          spansAll(asked, refreshed.scope),
      );
    const earlier = [...this.#runs.values()]
      .filter((run) => !isFinished(run))
      .filter(
        ({ status, cutOff, scope }) =>
          (status === 'halted' || status === 'failed' || status === 'crashed') &&
          cutOff !== null &&
          cutOff > this.#now() - 24 * HOUR_MS &&
          scope !== null &&
          spans(scope),
      )
      .sort((one, other) => (other.cutOff ?? 0) - (one.cutOff ?? 0) || Number(other.id) - Number(one.id))[0];
    const id = this.#nextId();
    this.#runs.set(id, {
      id,
      epoch: lock.epoch,
      parameters,
      status: 'running',
      startedAt: this.#now(),
      endedAt: null,
      cutOff: earlier?.cutOff ?? (refresh ? this.#now() : null),
      scope: earlier?.scope ?? (refresh ? { from, to, searchTypes, datasets } : null),
    });
    return { runId: id, ...lock };
  }

  finish({ runId }: RunIdentity, status: RunEnd): void {
    const run = this.#runs.get(runId);
    if (run?.status === 'running') this.#end(run, status);
  }

  #end(run: RunRow, status: RunRow['status']): void {
    run.status = status;
    run.endedAt = this.#now();
  }

  hold({ runId, epoch }: RunIdentity): RunRow {
    const run = this.#runs.get(runId);
    if (run?.status !== 'running' || epoch !== String(this.#epoch)) throw new Refused(FENCED_OFF);
    return run;
  }
}
