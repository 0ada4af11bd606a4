import { startEmulator } from 'longtail/emulator';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startBackend } from '../../examples/backend/server.ts';
import { emptyDatabase } from '../support/postgres.ts';

const SITES = ['sc-domain:one.example', 'https://two.example/'];

describe('the example backend', () => {
  let close: (() => Promise<void>)[] = [];
  let url = '';
  let requests: () => number = () => 0;

  beforeAll(async () => {
    const emulator = await startEmulator({
      port: 0,
      rowsPerDay: 40,
      sites: SITES.map((siteUrl) => ({ siteUrl })),
    });
    const database = await emptyDatabase();
    const backend = await startBackend({
      databaseUrl: database.url,
      sync: { apiRoot: emulator.url, credentials: { accessToken: 'backend' }, days: 5 },
    });
    url = backend.url;
    requests = () => emulator.requests.length;
    close = [backend.close, () => database.close(), () => emulator.close()];
  });
  afterAll(async () => {
    for (const step of close) await step();
  });

  const at = (site: string, what: string): string => `${url}/sites/${encodeURIComponent(site)}/${what}`;
  const outcome = async (site: string): Promise<{ status: string; rows: number } | undefined> => {
    const answer = await fetch(at(site, 'sync'));
    return ((await answer.json()) as { outcome?: { status: string; rows: number } }).outcome;
  };

  it('synchronises two properties side by side under one limiter, and serves their queries', async () => {
    for (const site of SITES) {
      expect((await fetch(at(site, 'sync'), { method: 'POST' })).status).toBe(202);
      expect((await fetch(at(site, 'sync'), { method: 'POST' })).status).toBe(409);
    }
    for (const site of SITES) {
      await expect.poll(() => outcome(site), { timeout: 50_000 }).toMatchObject({ status: 'complete' });
      const queries = (await (await fetch(at(site, 'queries'))).json()) as {
        query: string;
        clicks: number;
      }[];
      expect(queries).toHaveLength(10);
      expect(queries[0]?.clicks).toBeGreaterThanOrEqual(queries[9]?.clicks ?? 0);
    }
    // Five days in two datasets, a calendar, and what is behind the first page of each dataset, twice over.
    expect(requests()).toBe(26);
  });

  it('halts on DELETE, and knows nothing of a property it never started', async () => {
    expect((await fetch(at('sc-domain:unknown.example', 'sync'))).status).toBe(404);
    const [site = ''] = SITES;
    const answer = await fetch(at(site, 'sync'), { method: 'DELETE' });
    expect(await answer.json()).toMatchObject({ outcome: { status: 'complete' } });
  });
});
