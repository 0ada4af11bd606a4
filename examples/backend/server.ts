/**
 * A small Node backend that keeps the Search Console history of its customers: one synchronisation per property, all with
 * the same rate limiter, started and halted over HTTP.
 *
 *   POST   /sites/:site/sync     starts a synchronisation        → 202, or 409 while one is under way
 *   GET    /sites/:site/sync     its progress, then its outcome  → 200, or 404
 *   DELETE /sites/:site/sync     halts it                        → 200 with the outcome
 *   GET    /sites/:site/queries  the ten top queries             → 200
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import {
  createRateLimiter,
  createSync,
  LongtailError,
  type Outcome,
  type Progress,
  type Sync,
  type SyncOptions,
} from 'longtail';
import { migrate } from 'longtail/migrate';
import postgres from 'postgres';

export interface BackendOptions {
  readonly databaseUrl: string;
  /** Options that all synchronisations share: credentials, range, datasets. */
  readonly sync: Omit<SyncOptions, 'siteUrl' | 'database' | 'rateLimiter' | 'migrate'>;
}

interface Job {
  readonly sync: Sync;
  progress: Progress | undefined;
  outcome:
    | Outcome
    | { readonly status: 'rejected'; readonly code: string; readonly message: string }
    | undefined;
  readonly finished: Promise<void>;
}

export async function startBackend(
  options: BackendOptions,
): Promise<{ server: Server; url: string; close(): Promise<void> }> {
  const sql = postgres(options.databaseUrl, { max: 12, onnotice: () => undefined });
  await migrate(sql);
  const rateLimiter = createRateLimiter();
  const jobs = new Map<string, Job>();

  const start = (siteUrl: string): Job => {
    const sync = createSync({ ...options.sync, siteUrl, database: sql, rateLimiter, migrate: false });
    const job: Job = {
      sync,
      progress: undefined,
      outcome: undefined,
      finished: sync.run().then(
        (outcome) => {
          job.outcome = outcome;
        },
        (error: unknown) => {
          const code = error instanceof LongtailError ? error.code : 'INTERNAL';
          job.outcome = {
            status: 'rejected',
            code,
            message: error instanceof Error ? error.message : String(error),
          };
        },
      ),
    };
    sync.on('progress', (progress) => {
      job.progress = progress;
    });
    jobs.set(siteUrl, job);
    return job;
  };

  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const [, sites, site = '', what] = (request.url ?? '').split('/');
    if (sites !== 'sites' || site === '') return reply(response, 404, { error: 'not found' });
    const siteUrl = decodeURIComponent(site);
    const job = jobs.get(siteUrl);
    switch (`${request.method} ${what}`) {
      case 'POST sync':
        if (job !== undefined && job.outcome === undefined)
          return reply(response, 409, { error: 'under way' });
        start(siteUrl);
        return reply(response, 202, { siteUrl });
      case 'GET sync':
        if (job === undefined) return reply(response, 404, { error: 'never started' });
        return reply(response, 200, { progress: job.progress, outcome: job.outcome });
      case 'DELETE sync':
        if (job === undefined) return reply(response, 404, { error: 'never started' });
        await job.sync.halt('asked over HTTP');
        await job.finished;
        return reply(response, 200, { outcome: job.outcome });
      case 'GET queries':
        return reply(
          response,
          200,
          await sql`
            select query, sum(clicks)::int as clicks, sum(impressions)::int as impressions
            from search_analytics
            where site_url = ${siteUrl} and dataset = 'page+query'
            group by query order by clicks desc, query limit 10`,
        );
      default:
        return reply(response, 404, { error: 'not found' });
    }
  };

  const server = createServer((request, response) => {
    handle(request, response).catch((error: unknown) => {
      reply(response, error instanceof LongtailError ? 400 : 500, {
        error: error instanceof Error ? error.message : String(error),
      });
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  return {
    server,
    url: `http://127.0.0.1:${port}`,
    async close() {
      await Promise.all([...jobs.values()].map((job) => job.sync.close()));
      rateLimiter.close();
      await new Promise((resolve) => server.close(resolve));
      await sql.end();
    },
  };
}

function reply(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}
