/** How long a request for tokens waits while the quota is free, and how long recording the lease takes. */
import postgres from 'postgres';
import type { InspectionEvent } from 'xstate';
import { createSync } from '../../src/index.ts';
import { recordLease } from '../../src/postgres/locks/token-leases.ts';
import type { Job } from './jobs.ts';

/** Every wait from `tokens.request` to `tokens.granted` in a run that never exhausts its quota, in milliseconds. */
export async function measureTokenWaits(job: Job, database: string, apiRoot: string): Promise<number[]> {
  const asked = new Map<string, number>();
  const waits: number[] = [];
  const inspect = (inspected: InspectionEvent): void => {
    if (inspected.type !== '@xstate.event') return;
    const { event } = inspected;
    if (event.type === 'tokens.request') asked.set(String(event.requestId), performance.now());
    if (event.type === 'tokens.granted') {
      const since = asked.get(String(event.requestId));
      if (since !== undefined) waits.push(performance.now() - since);
    }
  };
  await using sync = createSync({
    ...job,
    database,
    apiRoot,
    inspect,
    credentials: { accessToken: 'a-token' },
    requestsPerMinute: 40_000,
    batchSize: 2,
  });
  const outcome = await sync.run();
  if (outcome.status !== 'complete') throw new Error(`it ended as ${JSON.stringify(outcome)}`);
  return waits;
}

/** Times of the statement that inserts a lease, on an open connection, in milliseconds. The schema must exist. */
export async function measureLeaseInserts(database: string, times: number): Promise<number[]> {
  const sql = postgres(database, { max: 1, fetch_types: false });
  try {
    const run = { runId: '1', propertyId: '1', epoch: '1', holder: 'bench' };
    const scopes = ['site:bench', 'user:bench', 'project:bench'];
    await sql`
      insert into longtail.lease (resource, holder, party, renewed_at, expires_at)
      select resource, ${run.holder}, 'bench', now(), now() + interval '1 hour'
      from unnest(array['site:bench', 'user:bench']) as resource
      on conflict do nothing`;
    const took: number[] = [];
    for (let index = 0; index < times; index += 1) {
      const startedMs = performance.now();
      await recordLease(sql, run, { leaseId: `bench-${index}`, scopes, tokens: 50 });
      took.push(performance.now() - startedMs);
    }
    return took;
  } finally {
    await sql.end();
  }
}
