/** A scrape endpoint over the database alone: it works without a run. */
import type { Sql } from 'postgres';
import { type Clock, systemClock } from '../domain/clock.ts';
import { pacificDay } from '../domain/day.ts';
import { within } from '../domain/wait.ts';
import { connect, type Database, place } from '../postgres/connection/connect.ts';
import { type DatabaseFigures, readFigures } from '../postgres/queries/property-figures.ts';
import { readFacts, readState, refuse } from '../postgres/schema/schema-state.ts';
import { databaseFamilies } from './database-metrics.ts';
import { CONTENT_TYPE, prometheusText } from './prometheus-text.ts';

/** Shorter than Prometheus's default timeout of a scrape, ten seconds. */
const ANSWER_WITHIN_MS = 8_000;
/** Several scrapers, or an impatient one, cost one reading. */
const KEPT_MS = 5_000;

export interface MetricsOptions {
  /** A PostgreSQL URL, or a postgres.js pool, from which only the connection settings are taken. One connection is opened. */
  readonly database: string | Sql;
}

/** The metrics of a whole database. Created by {@link createMetrics}. */
export interface Metrics extends AsyncDisposable {
  /**
   * Answers a GET with Prometheus's text format, whatever its path, within eight seconds. If the database does not answer,
   * `longtail_database_up` is 0 and the other series are absent. Never rejects. It does not ask who is asking: mount it
   * where only those come who may see the properties' names and counts.
   */
  handle(request: Request): Promise<Response>;
  /** Closes the connection. */
  close(): Promise<void>;
}

/**
 * Prepares a scrape endpoint; connects at the first request.
 * @example
 * const metrics = createMetrics({ database: 'postgres://me@localhost/search' });
 * app.get('/metrics', (context) => metrics.handle(context.req.raw));
 */
export function createMetrics({ database }: MetricsOptions, clock: Clock = systemClock): Metrics {
  const scope = new AbortController();
  let opening: Promise<Database> | undefined;
  let reading: Promise<DatabaseFigures | undefined> | undefined;
  let kept: { readonly figures: DatabaseFigures; readonly atMs: number } | undefined;

  const opened = async (): Promise<Database> => {
    opening ??= connect(database, { max: 1, applicationName: 'longtail metrics', signal: scope.signal });
    try {
      return await opening;
    } catch (error) {
      opening = undefined;
      throw error;
    }
  };
  const read = async (): Promise<DatabaseFigures | undefined> => {
    try {
      const { sql } = await opened();
      const state = await readState(sql, await readFacts(sql));
      refuse(state, place(sql));
      const figures =
        state.kind === 'empty' ? { runs: [], datasets: [] } : await readFigures(sql, ANSWER_WITHIN_MS);
      kept = { figures, atMs: clock.now() };
      return figures;
    } catch {
      // Why is in the logs of those who write there. Here it is one series, which an alert watches.
      return undefined;
    }
  };
  const figures = async (): Promise<DatabaseFigures | undefined> => {
    const ageMs = kept === undefined ? Number.POSITIVE_INFINITY : clock.now() - kept.atMs;
    if (ageMs >= 0 && ageMs < KEPT_MS) return kept?.figures;
    // A reading that takes longer than its scrape goes on for the next one: there is never a second.
    reading ??= read().finally(() => {
      reading = undefined;
    });
    const current = reading;
    return (await within(clock, ANSWER_WITHIN_MS, current)) ? await current : undefined;
  };
  const close = async (): Promise<void> => {
    scope.abort();
    const database = await opening?.catch(() => undefined);
    await database?.close();
  };

  return {
    async handle({ method }) {
      if (method !== 'GET' && method !== 'HEAD') {
        return new Response(null, { status: 405, headers: { allow: 'GET, HEAD' } });
      }
      if (scope.signal.aborted) return new Response('The metrics are closed.\n', { status: 503 });
      const text = prometheusText(databaseFamilies(await figures(), pacificDay(clock.now())));
      return new Response(method === 'HEAD' ? null : text, {
        headers: { 'content-type': CONTENT_TYPE, 'cache-control': 'no-store' },
      });
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}
