/**
 * The way to the simulated database: latency, connections lost before and after a COMMIT, lock waits, times when it is
 * away or its disk is full. What happens in it happens whether or not the process that asked still lives.
 */

import type { PageQueue, WaitForDatabase } from '../../src/store/row-sink.ts';
import type { Store } from '../../src/store/store.ts';
import type {
  Answer,
  CommitResult,
  DatabaseAway,
  DatabaseFailure,
  RunIdentity,
} from '../../src/store/types.ts';
import { Chance, share } from './chance.ts';
import { CommitMemory } from './commit-memory.ts';
import type { Process } from './process.ts';
import type { Fault, Scenario } from './scenario.ts';
import { keyName } from './search-console.ts';
import { type PlainPage, Refused } from './table-rows.ts';
import type { Tables } from './tables.ts';
import { stamp, type World } from './world.ts';

const LOCK_TIMEOUT_MS = 10_000;
const MINUTE_MS = 60_000;

const away = (reason: string): DatabaseAway => ({ kind: 'databaseAway', reason });
const DISK_FULL: DatabaseFailure = { kind: 'fatal', code: 'DATABASE_DISK_FULL', reason: 'the disk is full' };

/** `lost`: whether it went through is not known. */
type Statement<T> = Answer<T> | { readonly kind: 'lost' };

export class Database {
  readonly tables: Tables;
  isHealed = false;
  /** Of the processes whose sessions the server takes for alive. */
  readonly presences = new Set<string>();
  /** Statements that failed because it was away, and because its disk was full. */
  readonly failures = { away: 0, diskFull: 0 };
  /** The most pages that a process ever had on their way into the tables at once: what it holds in memory. */
  readonly mostCommits = new Map<Process, number>();
  readonly #commitsUnderWay = new Map<Process, number>();
  readonly #world: World;
  readonly #scenario: Scenario;
  readonly #chance: Chance;

  constructor(world: World, scenario: Scenario, tables: Tables) {
    this.#world = world;
    this.#scenario = scenario;
    this.tables = tables;
    this.#chance = new Chance(scenario.seed, 'database');
  }

  storeOf(process: Process, run: RunIdentity): Store {
    const { tables } = this;
    const memory = new CommitMemory();
    const ask = <T>(work: () => T): Promise<Answer<T>> => this.ask(process, work);
    return {
      openQueue: (signal, wait) => this.#openQueue(process, run, memory, signal, wait),
      failSlice: (sliceId, reason, page) => {
        memory.forget(sliceId);
        return ask(() => tables.failSlice(run, sliceId, reason, page));
      },
      openSlices: (keys, options) =>
        ask(() => tables.openSlices(run, keys, options.continueYoungerThanMinutes)),
      sealEmptySlices: (keys, options) => ask(() => tables.sealEmptySlices(run, keys, options.final)),
      settleSpeculative: (keys) => ask(() => tables.settleSpeculative(run, keys)),
      readCoverage: (range) => ask(() => tables.readCoverage(run, range)),
      readAppearances: (range) => ask(() => tables.readAppearances(range)),
      readRefused: () => ask(() => tables.readRefused()),
      refuseSlice(sliceId, refused) {
        memory.forget(sliceId);
        return ask(() => tables.refuseSlice(run, sliceId, refused));
      },
      commitCalendar: (searchType, calendar) => ask(() => tables.commitCalendar(run, searchType, calendar)),
      recordLease: (grant) => ask(() => tables.leases.record(run, grant)),
      settleLease: (settlement) => ask(() => tables.leases.settle(run, settlement)),
      readOpenLeases: (scopes, windowMs) => ask(() => tables.leases.readOpen(scopes, windowMs)),
      probe: () => ask(() => null),
    };
  }

  /** One transaction. With `holder` it is rolled back when that dies before it is through. */
  async ask<T>(process: Process, work: () => T, holder?: Process): Promise<Answer<T>> {
    const answer = await this.#statement(process, work, holder);
    this.#tell(process, answer.kind);
    return answer.kind === 'lost' ? away('the connection was lost') : answer;
  }

  /**
   * One page after the other, each in a transaction of its own. While the database is away the page waits, and all behind it;
   * after a failure that no retry mends none is written.
   */
  #openQueue(
    process: Process,
    run: RunIdentity,
    memory: CommitMemory,
    signal: AbortSignal,
    wait?: WaitForDatabase,
  ): PageQueue {
    let before: Promise<CommitResult | undefined> = Promise.resolve(undefined);
    const commitNext = async (page: PlainPage, last: typeof before): Promise<CommitResult> => {
      const earlier = await last;
      if (earlier?.kind === 'databaseAway' || earlier?.kind === 'fatal') return earlier;
      for (;;) {
        if (signal.aborted) return { kind: 'dropped' };
        const result = await this.#writePage(process, run, page, memory);
        if (result.kind !== 'databaseAway' || wait === undefined) return result;
        if (!(await wait(result))) return { kind: 'dropped' };
      }
    };
    return {
      commitPage: (commit) => {
        const result = commitNext(memory.read(commit), before);
        before = result;
        return result;
      },
    };
  }

  async #writePage(
    process: Process,
    run: RunIdentity,
    page: PlainPage,
    memory: CommitMemory,
  ): Promise<CommitResult> {
    const finished = (result: CommitResult): CommitResult => {
      if (result.kind === 'committed') memory.remember(page, result.next);
      if (result.kind === 'alreadyCommitted') memory.forget(page.slice.id);
      return result;
    };
    this.#countCommits(process, 1);
    try {
      const written = await this.#statement(process, (): CommitResult => {
        if (this.#isRejected(page)) return { kind: 'rejected', reason: 'PostgreSQL rejected the rows' };
        return this.tables.commitPage(run, page, () => memory.hasNoDuplicates(page));
      });
      this.#tell(process, written.kind);
      if (written.kind === 'ok') return finished(written.value);
      if (written.kind !== 'lost') return written;
      const read = await this.ask(process, () => this.tables.readCommitted(page));
      if (read.kind !== 'ok') return read;
      return finished(read.value ?? away('the connection was lost'));
    } finally {
      this.#countCommits(process, -1);
    }
  }

  #tell(process: Process, kind: string): void {
    const { judge, now } = this.#world;
    if (kind !== 'ok' && judge.isTracing)
      judge.tell(`${stamp(now)}   a statement of ${process.name} fails: ${kind}`);
  }

  #countCommits(process: Process, change: number): void {
    const now = (this.#commitsUnderWay.get(process) ?? 0) + change;
    this.#commitsUnderWay.set(process, now);
    this.mostCommits.set(process, Math.max(this.mostCommits.get(process) ?? 0, now));
  }

  /** Rows that PostgreSQL will never take. */
  #isRejected({ slice, rows }: PlainPage): boolean {
    return rows.length > 0 && this.isPoison(slice);
  }

  isPoison(slice: { readonly searchType: string; readonly dataset: string; readonly date: string }): boolean {
    return (
      share(this.#scenario.seed, 'rejected', keyName(slice)) < (this.#scenario.faults.rejectedSlice ?? 0)
    );
  }

  #is(fault: Fault): boolean {
    return !this.isHealed && this.#chance.is(this.#scenario.faults[fault] ?? 0);
  }

  /** Bad times are stretches of one to twenty minutes, drawn by the clock. */
  #isBadTime(fault: 'databaseAway' | 'diskFull' | 'readOnly'): boolean {
    if (this.isHealed) return false;
    const stretch = Math.floor(this.#world.now / (fault === 'diskFull' ? 20 * MINUTE_MS : MINUTE_MS));
    return share(this.#scenario.seed, fault, stretch) < (this.#scenario.faults[fault] ?? 0);
  }

  #latencyMs(): number {
    const slow = this.#is('slowDatabase') ? this.#chance.scale(2, 100) : 1;
    return this.#scenario.databaseMs * this.#chance.between(0.2, 1) * slow;
  }

  async #statement<T>(process: Process, work: () => T, holder?: Process): Promise<Statement<T>> {
    // Up to COMMIT, which only a living process sends.
    await this.#world.sleep(this.#latencyMs(), process);
    if (this.#isBadTime('databaseAway')) {
      this.failures.away += 1;
      if (this.#chance.is(0.3)) await this.#world.sleep(LOCK_TIMEOUT_MS, process);
      return away('the server is not there');
    }
    if (this.#is('lockWait')) {
      const waitMs = this.#chance.scale(100, 2 * LOCK_TIMEOUT_MS);
      await this.#world.sleep(Math.min(LOCK_TIMEOUT_MS, waitMs), process);
      if (waitMs >= LOCK_TIMEOUT_MS) {
        this.failures.away += 1;
        return away('a lock was not had in time');
      }
    }
    if (this.#is('statementTimeout')) {
      this.failures.away += 1;
      return { ...away('canceling statement due to statement timeout'), cause: 'timeout' };
    }
    if (this.#isBadTime('readOnly')) {
      this.failures.away += 1;
      return { ...away('cannot execute INSERT in a read-only transaction'), cause: 'readOnly' };
    }
    if (this.#is('lostBeforeCommit')) {
      this.failures.away += 1;
      return away('the connection was lost');
    }
    // From here on the database goes on alone.
    const isLost = this.#is('lostAfterCommit');
    if (isLost) this.failures.away += 1;
    const answerMs = this.#latencyMs();
    const done = Promise.withResolvers<Statement<T>>();
    this.#world.after(
      this.#latencyMs(),
      () => {
        const answer = this.#commit(work);
        if (!isLost) this.#world.after(answerMs, () => done.resolve(answer), process);
      },
      holder,
    );
    if (isLost) this.#world.after(this.#latencyMs(), () => done.resolve({ kind: 'lost' }), process);
    return done.promise;
  }

  #commit<T>(work: () => T): Answer<T> {
    if (this.#isBadTime('diskFull')) {
      this.failures.diskFull += 1;
      return DISK_FULL;
    }
    try {
      return { kind: 'ok', value: work() };
    } catch (error) {
      if (error instanceof Refused) return error.failure;
      throw error;
    }
  }
}
