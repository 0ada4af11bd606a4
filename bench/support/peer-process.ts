/**
 * Runs in its own process what people use today: Google's client, and Drizzle to write a thousand rows per statement. Its
 * first message is a {@link PeerTask}.
 */
import { once } from 'node:events';
import { searchconsole_v1 } from '@googleapis/searchconsole';
import { sql } from 'drizzle-orm';
import { bigint, date, doublePrecision, pgTable, primaryKey, text } from 'drizzle-orm/pg-core';
import { drizzle, type PostgresJsDatabase } from 'drizzle-orm/postgres-js';
import { OAuth2Client } from 'google-auth-library';
import PQueue from 'p-queue';
import pThrottle from 'p-throttle';
import postgres from 'postgres';
import { bodyOf, type JobSlice } from './jobs.ts';

/**
 * `loop`: one request after another, rows are inserted. `queue`: three concurrent requests by p-queue, 1,200 per minute by
 * p-throttle. `upserts`: one after another, rows are upserted by their key, as Singer targets do.
 */
export type PeerKind = 'loop' | 'queue' | 'upserts';

export interface PeerTask {
  readonly kind: PeerKind;
  readonly apiRoot: string;
  readonly database: string;
  readonly siteUrl: string;
  readonly slices: readonly JobSlice[];
}

export interface PeerReport {
  readonly wallMs: number;
  readonly cpuMs: number;
  readonly rows: number;
  readonly requests: number;
}

const ROWS_A_PAGE = 25_000;
const ROWS_A_STATEMENT = 1_000;
const KEYS = ['page', 'query', 'country', 'device'] as const;

const columns = {
  siteUrl: text('site_url').notNull(),
  searchType: text('search_type').notNull(),
  dataset: text('dataset').notNull(),
  date: date('date').notNull(),
  page: text('page').notNull().default(''),
  query: text('query').notNull().default(''),
  country: text('country').notNull().default(''),
  device: text('device').notNull().default(''),
  clicks: bigint('clicks', { mode: 'number' }).notNull(),
  impressions: bigint('impressions', { mode: 'number' }).notNull(),
  position: doublePrecision('position'),
};
const plainRows = pgTable('search_rows', columns);
const keyedRows = pgTable('search_rows_by_key', columns, (table) => [
  primaryKey({
    columns: [
      ...[table.siteUrl, table.searchType, table.dataset, table.date],
      ...[table.page, table.query, table.country, table.device],
    ] as const,
  }),
]);
type Row = typeof plainRows.$inferInsert;
type Database = PostgresJsDatabase<Record<string, never>>;

async function createTables(connection: postgres.Sql): Promise<void> {
  await connection.unsafe(`
    create table search_rows (
      site_url text not null, search_type text not null, dataset text not null, date date not null,
      page text not null default '', query text not null default '', country text not null default '',
      device text not null default '', clicks bigint not null, impressions bigint not null, position double precision);
    create table search_rows_by_key (like search_rows including defaults,
      primary key (site_url, search_type, dataset, date, page, query, country, device))`);
}

async function insertRows(database: Database, rows: readonly Row[]): Promise<void> {
  for (let at = 0; at < rows.length; at += ROWS_A_STATEMENT) {
    await database.insert(plainRows).values(rows.slice(at, at + ROWS_A_STATEMENT));
  }
}

async function upsertRows(database: Database, rows: readonly Row[]): Promise<void> {
  const { siteUrl, searchType, dataset, date: day, page, query, country, device } = keyedRows;
  for (let at = 0; at < rows.length; at += ROWS_A_STATEMENT) {
    await database
      .insert(keyedRows)
      .values(rows.slice(at, at + ROWS_A_STATEMENT))
      .onConflictDoUpdate({
        target: [siteUrl, searchType, dataset, day, page, query, country, device],
        set: {
          clicks: sql`excluded.clicks`,
          impressions: sql`excluded.impressions`,
          position: sql`excluded.position`,
        },
      });
  }
}

async function measure({ kind, apiRoot, database: url, siteUrl, slices }: PeerTask): Promise<PeerReport> {
  const connection = postgres(url, { onnotice: () => undefined });
  const database = drizzle(connection);
  await createTables(connection);
  const auth = new OAuth2Client();
  auth.setCredentials({ access_token: 'a-token' });
  const client = new searchconsole_v1.Searchconsole({ auth, rootUrl: apiRoot });
  const done = { rows: 0, requests: 0 };
  const write = kind === 'upserts' ? upsertRows : insertRows;
  const ask = async (slice: JobSlice, startRow: number) => {
    done.requests += 1;
    const { data } = await client.searchanalytics.query({ siteUrl, requestBody: bodyOf(slice, startRow) });
    return data.rows ?? [];
  };
  const throttled = kind === 'queue' ? pThrottle({ limit: 1_200, interval: 60_000 })(ask) : ask;
  const fetchSlice = async (slice: JobSlice): Promise<void> => {
    for (let startRow = 0; ; startRow += ROWS_A_PAGE) {
      const rows = await throttled(slice, startRow);
      await write(
        database,
        rows.map((row) => toRow(siteUrl, slice, row)),
      );
      done.rows += rows.length;
      if (rows.length < ROWS_A_PAGE) return;
    }
  };
  const startedMs = performance.now();
  const cpu = process.cpuUsage();
  if (kind === 'queue') {
    const queue = new PQueue({ concurrency: 3 });
    await Promise.all(slices.map((slice) => queue.add(() => fetchSlice(slice))));
  } else {
    for (const slice of slices) await fetchSlice(slice);
  }
  const wallMs = performance.now() - startedMs;
  const { user, system } = process.cpuUsage(cpu);
  await connection.end();
  return { wallMs, cpuMs: (user + system) / 1_000, ...done };
}

function toRow(siteUrl: string, slice: JobSlice, row: searchconsole_v1.Schema$ApiDataRow): Row {
  const names = slice.dataset.split('+');
  const keys = Object.fromEntries(KEYS.map((name) => [name, row.keys?.[names.indexOf(name)] ?? '']));
  const { searchType, dataset, date: day } = slice;
  const { clicks, impressions, position } = row;
  return {
    ...{ siteUrl, searchType, dataset, date: day, ...keys },
    clicks: clicks ?? 0,
    impressions: impressions ?? 0,
    position: position ?? null,
  };
}

process.on('disconnect', () => process.exit());
// Only parts/peers.ts starts this, with such a task.
const [task] = (await once(process, 'message')) as [PeerTask];
const report = await measure(task);
process.send?.(report, () => process.disconnect?.());
