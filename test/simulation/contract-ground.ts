/** Two stores to hold to one contract: PostgreSQL's and the simulated one. */

import type { Sql } from 'postgres';
import { systemClock } from '../../src/domain/clock.ts';
import type { SliceKey } from '../../src/domain/slice.ts';
import { createLeaseTable } from '../../src/postgres/locks/lease-book.ts';
import { finishRun, type RunEnd, type RunParameters, startRun } from '../../src/postgres/queries/run.ts';
import { createStore } from '../../src/postgres/store.ts';
import type { Store } from '../../src/store/store.ts';
import type { RunIdentity } from '../../src/store/types.ts';
import { type HeldProperty, holdProperty, migratedDatabase } from '../support/synchronisation.ts';
import { Database } from './database.ts';
import { Judge } from './judge.ts';
import { Process } from './process.ts';
import { drawScenario, type Scenario } from './scenario.ts';
import { Tables } from './tables.ts';
import { World } from './world.ts';

/** What the contract takes tokens from. */
const LEASED = ['site:a', 'user:b'];
const NOBODY = { presence: null, goneSince: null };
const SITE = 'sc-domain:example.com';

/** A run, and the store it writes with. */
export interface ContractRun {
  readonly store: Store;
  readonly run: RunIdentity;
  finish(end: RunEnd): Promise<void>;
}

/** What readers see of a key. */
export interface Seen {
  readonly rows: number;
  readonly clicks: number;
  readonly impressions: number;
  readonly duplicatesDropped: number;
  readonly final: boolean;
  /** Keys and figures of each row, in order. */
  readonly lines: readonly string[];
}

export interface ContractGround extends AsyncDisposable {
  /** Takes the property over, from whoever had it, and begins a run. */
  begin(parameters: RunParameters): Promise<ContractRun>;
  /** So much time passes for the database. */
  pass(ms: number): Promise<void>;
  seen(key: SliceKey): Promise<Seen | undefined>;
}

const lineOf = (keys: readonly string[], clicks: number, impressions: number): string =>
  `${keys.join('|')} ${clicks} ${impressions}`;

export async function postgresGround(): Promise<ContractGround> {
  const database = await migratedDatabase();
  const { sql } = database;
  let held: HeldProperty | undefined;
  return {
    async begin(parameters) {
      await held?.release();
      held = await holdProperty(sql, SITE);
      if (held === undefined) throw new Error('the property is locked');
      for (const scope of LEASED)
        await createLeaseTable(sql, systemClock).takeScope(
          scope,
          { id: held.holder, party: held.holder },
          NOBODY,
        );
      const { run } = await startRun(sql, held, parameters);
      const finish = async (status: RunEnd): Promise<void> => void (await finishRun(sql, run, { status }));
      return { run, store: createStore({ sql }, run), finish };
    },
    pass: (ms) => age(sql, ms),
    async seen(key) {
      const [slice] = await sql<(Omit<Seen, 'lines'> & { id: string })[]>`
        select id::text, rows::int, clicks::int, impressions::int, duplicates_dropped as "duplicatesDropped", final
        from longtail.slice where status = 'complete' and search_type = ${key.searchType}
          and dataset = ${key.dataset} and date = ${key.date}::text::date`;
      if (slice === undefined) return undefined;
      const { id, ...seen } = slice;
      const rows = await sql<{ page: string; query: string; clicks: number; impressions: number }[]>`
        select page, query, clicks::int, impressions::int from longtail.fact where slice_id = ${id}::text::bigint`;
      const lines = rows.map(({ page, query, clicks, impressions }) =>
        lineOf([page, query], clicks, impressions),
      );
      return { ...seen, lines: lines.sort() };
    },
    async [Symbol.asyncDispose]() {
      await held?.release();
      await database.close();
    },
  };
}

/** Everything becomes older: the server's clock cannot be moved. */
async function age(sql: Sql, ms: number): Promise<void> {
  const columns = {
    property: ['short_page_at'],
    run: ['refresh_cut_off', 'started_at', 'ended_at'],
    slice: ['opened_at', 'fetched_at', 'checked_at'],
    slice_page: ['committed_at'],
    quota_lease: ['granted_at', 'settled_at'],
  };
  for (const [table, names] of Object.entries(columns)) {
    const changes = names.map((name) => `${name} = ${name} - interval '${ms} milliseconds'`);
    await sql.unsafe(`update longtail.${table} set ${changes.join(', ')}`);
  }
}

/** The simulated database without any fault, its world run for as long as somebody waits. */
export async function simulatedGround(): Promise<ContractGround> {
  const judge = new Judge();
  const scenario: Scenario = { ...drawScenario(0), faults: {}, databaseMs: 1 };
  const world = new World(Date.UTC(2026, 5, 1), judge);
  let agedMs = 0;
  const tables = new Tables(SITE, () => world.now + agedMs);
  const database = new Database(world, scenario, tables);
  const owner = new Process('contract');
  let isOpen = true;
  let holders = 0;
  const turning = (async () => {
    // Not virtual time alone: whoever waits for an answer is outside of the world.
    while (isOpen) await world.until(() => false, 1, 1_000);
  })();
  return {
    async begin(parameters) {
      holders += 1;
      const holder = `holder ${holders}`;
      for (const scope of LEASED)
        tables.holders.take(scope, { id: holder, party: holder }, NOBODY, () => false);
      const run = tables.runs.start({ ...tables.runs.takeOver(), holder }, parameters);
      return {
        run,
        store: database.storeOf(owner, run),
        finish: async (status) => tables.runs.finish(run, status),
      };
    },
    async pass(ms) {
      agedMs += ms;
    },
    async seen(key) {
      const slice = tables.visible(key);
      if (slice === undefined) return undefined;
      const { rows, clicks, impressions, duplicatesDropped, final } = slice;
      const facts = tables.facts.get(slice.id) ?? [];
      const lines = facts.map((row) => lineOf(row.keys, row.clicks, row.impressions));
      return { rows, clicks, impressions, duplicatesDropped, final, lines: lines.sort() };
    },
    async [Symbol.asyncDispose]() {
      isOpen = false;
      await turning;
      if (judge.hasFailed) throw new Error(judge.violations.map(({ detail }) => detail).join('\n'));
    },
  };
}
