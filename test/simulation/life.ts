/**
 * One process, from its start to its end or its death: what the composition root does, on simulated ground. All from
 * the coordinator to the multipart reader is production's own.
 */

import { whyNotServed } from '../../src/domain/dataset.ts';
import { pacificDay } from '../../src/domain/day.ts';
import { LongtailError } from '../../src/domain/errors.ts';
import type { Ending } from '../../src/machines/coordinator/context.ts';
import { createAuth } from '../../src/search-console/auth/auth.ts';
import { createClient } from '../../src/search-console/client.ts';
import type { RunIdentity } from '../../src/store/types.ts';
import { type Config, readConfig } from '../../src/sync/config.ts';
import { type Execution, startExecution } from '../../src/sync/execution.ts';
import { type KeptLeases, takeLeasesIn } from '../../src/sync/leases.ts';
import { startLimiter } from '../../src/sync/limiter.ts';
import type { LimiterInternals } from '../../src/sync/limiter-internals.ts';
import { createListeners } from '../../src/sync/listeners.ts';
import { recoverLeases, scopesOf } from '../../src/sync/resources.ts';
import { createTelemetry } from '../../src/sync/telemetry.ts';
import type { SyncEvents, SyncOptions } from '../../src/sync/types.ts';
import { Chance } from './chance.ts';
import type { Ground } from './ground.ts';
import { leaseTableOf, presenceOf, type SimulatedPresence } from './lease-rows.ts';
import { CONNECT_TIMEOUT_MS, FIRST_BYTE_TIMEOUT_MS } from './network.ts';
import { Process } from './process.ts';
import type { Action, Scenario } from './scenario.ts';
import { SITE } from './search-console.ts';
import { describe, ProcessClock, stamp } from './world.ts';

const GRACE_MS = CONNECT_TIMEOUT_MS + FIRST_BYTE_TIMEOUT_MS;

export type LifeEnd =
  /** It never began: no token, or no database. */
  | { readonly kind: 'notOpened'; readonly reason: string }
  | { readonly kind: 'ended'; readonly ending: Ending; readonly isQuiet: boolean }
  | { readonly kind: 'killed' };

export class Life {
  readonly process: Process;
  readonly clock: ProcessClock;
  readonly config: Config;
  readonly refresh: boolean;
  readonly startedMs: number;
  end: LifeEnd | undefined;
  execution: Execution | undefined;
  limiter: LimiterInternals | undefined;
  run: RunIdentity | undefined;
  haltedMs: number | undefined;
  /** When the coordinator came to its end; what is done to the run from then on changes nothing. */
  endedMs: number | undefined;
  /** The most that was ever allowed: a lower limit stops nobody who has work. */
  maxConcurrency: number;
  /** Another process has the property now; it has yet to find out. */
  isReplaced = false;
  /** Time that it stood still, which no deadline can count. */
  frozenMs = 0;
  leases: KeptLeases | undefined;
  isLeaseLost = false;
  readonly #gone = new AbortController();
  readonly #presence: SimulatedPresence;
  readonly #ground: Ground;

  constructor(ground: Ground, name: string, refresh: boolean) {
    const { world, scenario } = ground;
    this.#ground = ground;
    this.process = new Process(name);
    this.clock = new ProcessClock(
      world,
      this.process,
      new Chance(scenario.seed, `clock of ${name}`),
      ground.isHealed ? 0 : (scenario.faults.sloppyTimers ?? 0),
    );
    this.refresh = refresh;
    this.#presence = presenceOf(ground.database, this.process, world);
    this.startedMs = world.now;
    this.config = readConfig(optionsOf(scenario, refresh), pacificDay(this.clock.now()));
    this.maxConcurrency = this.config.maxConcurrency;
  }

  /** Begins; `end` says when it is over. */
  start(actions: readonly Action[]): void {
    this.#live().then(
      (end) => {
        this.end ??= end;
      },
      (error: unknown) => {
        this.#ground.judge.fail('nothing throws', `${this.process.name}: ${describe(error)}`);
        this.end ??= { kind: 'killed' };
      },
    );
    for (const action of actions)
      this.#ground.world.after(action.afterMs, () => this.#act(action), this.process);
  }

  /** kill -9. */
  kill(): void {
    this.#presence.gone();
    this.process.kill();
    this.end ??= { kind: 'killed' };
  }

  /** The process ends; nothing of it is left. */
  close(): void {
    this.limiter?.actor.stop();
    this.#presence.gone();
    this.process.kill();
  }

  async #live(): Promise<LifeEnd> {
    const { world, database, network, scenario, planted } = this.#ground;
    const { config, clock, process } = this;
    try {
      const auth = await createAuth({ credentials: { getAccessToken: () => this.#token() }, clock });
      let ids = 0;
      const newId = (): string => {
        ids += 1;
        return `${process.name} ${ids}`;
      };
      const leases = await takeLeasesIn(leaseTableOf(database, process), this.#presence, {
        siteUrl: SITE,
        clock,
        newId,
        wait: true,
        signal: this.#gone.signal,
        stopwatch: () => world.now,
      });
      this.leases = leases;
      const { from, to, searchTypes, datasets, refresh, acceptShrunk } = config;
      const parameters = { from, to, searchTypes, datasets, refresh, acceptShrunk };
      const started = await database.ask(process, () => database.tables.runs.start(leases, parameters));
      if (started.kind !== 'ok') return { kind: 'notOpened', reason: started.reason };
      const run = started.value;
      this.run = run;
      const store = planted.store(database.storeOf(process, run));
      const { requestsPerMinute, extraBudgets } = config;
      const limiter = planted.limiter(
        clock,
        () => startLimiter(process.name, { requestsPerMinute, extraBudgets, clock }),
        config,
      );
      this.limiter = limiter;
      const scopes = scopesOf(config, auth.identity.userScope, auth.identity.projectScope);
      await leases.takeAccount(auth.identity.userScope, limiter);
      this.#ground.leased.set(process, { holder: leases.holder, scopes });
      await recoverLeases(store, limiter, scopes, GRACE_MS);
      const client = planted.client(
        createClient({
          transport: planted.transport(network.transportOf(process)),
          clock,
          apiRoot: config.apiRoot,
        }),
      );
      const listeners = createListeners<SyncEvents>();
      listeners.on('progress', (progress) => this.#ground.checkProgress(this, progress));
      const execution = startExecution(
        config,
        {
          store,
          client,
          auth,
          limiter,
          leases,
          run,
          runName: limiter.nameRun(),
          scopes,
          telemetry: createTelemetry(SITE, clock),
          graceMs: GRACE_MS,
        },
        clock,
        listeners,
        undefined,
        planted.machines(
          new Chance(scenario.seed, `crashes of ${process.name}`),
          this.#ground.isHealed ? 0 : (scenario.faults.workerCrash ?? 0),
        ),
      );
      this.execution = execution;
      void leases.lost.then((reason) => {
        if (this.endedMs === undefined) this.isLeaseLost = true;
        execution.fail('LOCK_LOST', reason);
      });
      const ending = await execution.ended;
      this.endedMs = world.now;
      this.#ground.checkHalt(this);
      const isQuiet = await execution.quiesce();
      this.#ground.checkQuiet(this);
      await this.#conclude(run, ending);
      await leases.release();
      return { kind: 'ended', ending, isQuiet };
    } catch (error) {
      if (error instanceof LongtailError) return { kind: 'notOpened', reason: error.message };
      throw error;
    }
  }

  /** How it ended is written down if the database lets it; a run that is not ended counts as crashed later. */
  async #conclude(run: RunIdentity, ending: Ending): Promise<void> {
    const { database } = this.#ground;
    await database.ask(this.process, () => database.tables.runs.finish(run, ending.status));
    if (ending.status !== 'complete' && ending.status !== 'completeWithFailures') return;
    await database.ask(this.process, () => database.tables.cleanUp());
  }

  async #token(): Promise<string> {
    const { world, server, chance, scenario, isHealed } = this.#ground;
    await world.sleep(chance.between(0, scenario.latencyMs), this.process);
    if (!isHealed && chance.is(scenario.faults.noToken ?? 0))
      throw new Error('the token endpoint does not answer');
    return server.token;
  }

  #act(action: Action): void {
    const { judge } = this.#ground;
    if (this.end !== undefined || (this.endedMs !== undefined && action.kind !== 'crash')) return;
    judge.tell(`${stamp(this.#ground.world.now)}   ${this.process.name}: ${JSON.stringify(action)}`);
    const { execution } = this;
    switch (action.kind) {
      case 'crash':
        this.kill();
        return;
      case 'wallJump':
        this.clock.wrongByMs += action.byMs;
        return;
      case 'freeze':
        this.process.frozenUntil = this.#ground.world.now + action.forMs;
        this.frozenMs += action.forMs;
        // Nobody can take over what is still being taken.
        this.isReplaced ||= action.isTakenOver && execution !== undefined;
        return;
      case 'sessionEnded':
        this.#presence.end(action.staysAway);
        this.isReplaced ||= execution !== undefined;
        return;
      case 'halt':
        if (execution === undefined) return;
        this.haltedMs ??= this.#ground.world.now;
        execution.halt({ kind: 'asked', reason: 'asked' });
        return;
      case 'lockLost':
        if (execution === undefined) return;
        this.haltedMs ??= this.#ground.world.now;
        execution.fail('LOCK_LOST', 'the lock is lost');
        return;
      case 'pause':
        execution?.pause();
        this.#ground.world.after(action.forMs, () => this.execution?.resume(), this.process);
        return;
      case 'concurrency':
        if (execution === undefined) return;
        this.maxConcurrency = Math.max(this.maxConcurrency, action.to);
        execution.setConcurrency(action.to);
    }
  }
}

/** A run that Google serves nothing of is refused. */
function servedDatasets({ datasets, searchTypes }: Scenario): readonly string[] {
  const isServed = searchTypes.some((type) =>
    datasets.some((name) => whyNotServed(type, name) === undefined),
  );
  return isServed ? datasets : [...datasets, 'page'];
}

export function optionsOf(scenario: Scenario, refresh: boolean): SyncOptions {
  const today = pacificDay(scenario.startMs);
  const { burst, ...options } = scenario.options;
  return {
    siteUrl: SITE,
    ...daysBack(today, scenario.endsDaysAgo, scenario.days),
    datasets: servedDatasets(scenario),
    searchTypes: scenario.searchTypes,
    ...options,
    ...(burst === null ? {} : { extraBudgets: [{ scopeKind: 'site', ...burst }] }),
    refresh,
    credentials: { accessToken: 'unused' },
    apiRoot: 'https://searchconsole.example/',
  };
}

function daysBack(today: string, endsDaysAgo: number, days: number): { from: string; to: string } {
  const at = (count: number): string =>
    new Date(Date.parse(`${today}T00:00:00Z`) - count * 86_400_000).toISOString().slice(0, 10);
  return { from: at(endsDaysAgo + days - 1), to: at(endsDaysAgo) };
}
