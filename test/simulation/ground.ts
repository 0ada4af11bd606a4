/** All that a seed's processes stand on, and the checks that watch while they live. */
import { isTwoStep } from '../../src/domain/dataset.ts';
import { ROWS_THAT_MEAN_SOMETHING } from '../../src/planning/seal.ts';
import type { Progress } from '../../src/sync/types.ts';
import { Chance } from './chance.ts';
import { Database } from './database.ts';
import type { Judge } from './judge.ts';
import type { Life } from './life.ts';
import { Network } from './network.ts';
import { type Planted, SOUND } from './planted.ts';
import type { Process } from './process.ts';
import type { Scenario } from './scenario.ts';
import { SearchConsole, SITE } from './search-console.ts';
import type { SliceRow } from './table-rows.ts';
import { Tables } from './tables.ts';
import { World } from './world.ts';

/** What a halt may take beyond its deadline: timers are late. */
const LATE_MS = 4_000;

export class Ground {
  readonly scenario: Scenario;
  readonly judge: Judge;
  readonly world: World;
  readonly server: SearchConsole;
  readonly network: Network;
  readonly database: Database;
  readonly planted: Planted;
  /** For what belongs to no other stream. */
  readonly chance: Chance;
  isHealed = false;
  /** How each life ended, for the figures. */
  readonly ends: string[] = [];
  life: Life | undefined;
  /** Processes that were replaced and have not found out yet. */
  readonly replaced = new Set<Life>();
  /** Whether two processes ever called at the same time: then no limiter can answer for the quota. */
  hasOverlapped = false;
  /** Calls under way, by process. */
  #refreshedAt: number[] = [];
  readonly #calls = new Map<Process, number>();
  /** Calls begun, by process. */
  readonly sends = new Map<Process, number>();
  /** What each process needs leases of, and as whom it has them. */
  readonly leased = new Map<Process, { readonly holder: string; readonly scopes: readonly string[] }>();

  constructor(scenario: Scenario, judge: Judge, planted: Planted = SOUND) {
    this.scenario = scenario;
    this.judge = judge;
    this.planted = planted;
    this.world = new World(scenario.startMs, judge);
    this.chance = new Chance(scenario.seed, 'ground');
    this.server = new SearchConsole(scenario, judge);
    const tables = new Tables(SITE, () => this.world.now);
    tables.onSealed = (before, after) => this.#checkSeal(before, after);
    this.database = new Database(this.world, scenario, tables);
    this.network = new Network(this.world, scenario, this.server, {
      started: (process) => this.#callStarted(process),
      ended: (process) => this.#calls.set(process, (this.#calls.get(process) ?? 0) - 1),
    });
  }

  /** From now on nothing goes wrong. What Google has lost stays lost. */
  heal(): void {
    this.isHealed = true;
    this.server.isHealed = true;
    this.network.isHealed = true;
    this.database.isHealed = true;
  }

  /** Whoever began a refresh, and when; a run that came to its end has finished it. */
  noteLife(life: Life): void {
    const { end, run } = life;
    if (
      end?.kind === 'ended' &&
      (end.ending.status === 'complete' || end.ending.status === 'completeWithFailures')
    ) {
      if (this.database.tables.runs.get(run?.runId ?? '')?.status !== 'crashed') this.#refreshedAt = [];
    } else if (life.refresh && run !== undefined) this.#refreshedAt.push(life.startedMs);
  }

  /** What was fetched before this is to be fetched again by such a run: a refresh goes on for a day. */
  refreshSince(life: Life): number {
    const day = 24 * 3_600_000;
    return Math.max(
      0,
      ...this.#refreshedAt.filter((atMs) => atMs > life.startedMs - day + 3_600_000).slice(0, 1),
    );
  }

  callsUnderWay(process: Process): number {
    return this.#calls.get(process) ?? 0;
  }

  #callStarted(process: Process): void {
    const underWay = this.callsUnderWay(process) + 1;
    this.#calls.set(process, underWay);
    this.sends.set(process, (this.sends.get(process) ?? 0) + 1);
    const { life, judge } = this;
    const held = this.leased.get(process);
    judge.expect(
      held !== undefined && this.database.tables.holders.holds(held, held.scopes),
      'no call starts in the name of a lease that another has taken',
      () => process.name,
    );
    if (life?.process !== process) return;
    judge.expect(
      underWay <= life.maxConcurrency,
      'no more calls are under way than allowed',
      () => `${process.name}: ${underWay} of ${life.maxConcurrency}`,
    );
    judge.expect(life.haltedMs === undefined, 'no call starts after a halt', () => process.name);
    judge.expect(life.end === undefined, 'no call starts after the end', () => process.name);
    judge.expect(
      life.execution?.progress().state !== 'paused',
      'no call starts while paused',
      () => process.name,
    );
  }

  checkHalt(life: Life): void {
    if (life.haltedMs === undefined || life.endedMs === undefined) return;
    const took = life.endedMs - life.haltedMs - life.frozenMs;
    this.judge.expect(
      took <= life.config.haltDeadlineMs + LATE_MS,
      'a halt ends within its deadline',
      () => `${life.process.name}: it took ${took} ms of ${life.config.haltDeadlineMs}`,
    );
  }

  /** The last of the run: whatever is left behind, it is waited for no longer than a halt may take. */
  checkQuiet(life: Life): void {
    if (life.endedMs === undefined) return;
    const took = this.world.now - life.endedMs - life.frozenMs;
    this.judge.expect(
      took <= life.config.haltDeadlineMs + LATE_MS,
      'what is left behind is waited for within the deadline',
      () => `${life.process.name}: it took ${took} ms of ${life.config.haltDeadlineMs}`,
    );
  }

  checkProgress(life: Life, progress: Progress): void {
    const { judge } = this;
    const { batchSize } = life.config;
    // Nothing is asked for while two rounds of full batches are held, and two are asked for at a time.
    const most = 4 * batchSize * life.maxConcurrency;
    const { datasets, searchTypes } = life.config;
    // A day of two steps has at most a part for each row of its first.
    const parts = datasets.some(isTwoStep) ? this.scenario.google.rows : 1;
    const pages = datasets.length * searchTypes.length * this.scenario.days * Math.max(1, parts);
    const { slicesDone, slicesPlanned, pagesWaiting, pagesInFlight } = progress;
    const show = (): string => JSON.stringify(progress);
    judge.expect(slicesDone <= slicesPlanned, 'no more slices are done than planned', show);
    judge.expect(
      pagesInFlight >= 0 && pagesInFlight <= batchSize * life.maxConcurrency,
      'pages in flight are bounded',
      show,
    );
    judge.expect(
      pagesWaiting <= Math.min(most, pages) + life.config.searchTypes.length,
      'pages waiting are bounded',
      show,
    );
  }

  /** Readers see another version: nothing is replaced by nothing, or by less than half. */
  #checkSeal(before: SliceRow | undefined, after: SliceRow): void {
    if (before === undefined) return;
    const isLess =
      before.rows > 0 &&
      (after.rows === 0 ||
        (before.final && before.rows >= ROWS_THAT_MEAN_SOMETHING && after.rows * 2 < before.rows));
    this.judge.expect(!isLess, 'nothing is replaced by less', () => `${before.rows} rows by ${after.rows}`);
  }
}
