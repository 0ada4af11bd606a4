import { execFile } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { promisify } from 'node:util';
import { searchconsole_v1 } from '@googleapis/searchconsole';
import { JWT, OAuth2Client } from 'google-auth-library';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Emulator, startEmulator } from '../../src/emulator/index.ts';
import { SITE, TODAY } from './support.ts';

const DAY = '2026-05-01';
const PREFIX = 'https://www.example.com/';
const run = promisify(execFile);
let emulator: Emulator;

beforeAll(async () => {
  emulator = await startEmulator({
    today: TODAY,
    rowsPerDay: 100,
    sites: [SITE, PREFIX],
    tokens: { requireIssuedTokens: true },
  });
});
afterAll(() => emulator.close());

describe("Google's Node client, unchanged", () => {
  function client(): searchconsole_v1.Searchconsole {
    const auth = new OAuth2Client({
      clientId: 'c',
      clientSecret: 's',
      endpoints: { oauth2TokenUrl: `${emulator.url}token` },
    });
    auth.setCredentials({ refresh_token: 'r' });
    return new searchconsole_v1.Searchconsole({ auth, rootUrl: emulator.url });
  }

  it('lists properties and gets one', async () => {
    const { data } = await client().sites.list();
    expect(data.siteEntry?.map(({ siteUrl }) => siteUrl)).toEqual([SITE, PREFIX]);
    const one = await client().sites.get({ siteUrl: PREFIX });
    expect(one.data).toEqual({ siteUrl: PREFIX, permissionLevel: 'siteOwner' });
  });

  it('queries', async () => {
    for (const siteUrl of [SITE, PREFIX]) {
      const requestBody = { startDate: DAY, endDate: DAY, dimensions: ['page', 'query'], rowLimit: 25_000 };
      const { data } = await client().searchanalytics.query({ siteUrl, requestBody });
      const { rows } = await emulator.served(siteUrl, requestBody);
      expect(data.rows).toEqual(rows);
      expect(data.responseAggregationType).toBe('byPage');
    }
  });

  it('reads errors', async () => {
    await expect(
      client().searchanalytics.query({
        siteUrl: 'https://x/',
        requestBody: { startDate: DAY, endDate: DAY },
      }),
    ).rejects.toMatchObject({ status: 403, message: expect.stringContaining('sufficient permission') });
  });

  it('signs in as a service account', async () => {
    const { privateKey, publicKey } = generateKeyPairSync('rsa', {
      modulusLength: 2048,
      publicKeyEncoding: { type: 'spki', format: 'pem' },
      privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
    });
    await using signed = await startEmulator({
      rowsPerDay: 10,
      tokens: { publicKey, requireIssuedTokens: true },
    });
    const auth = new JWT({
      email: 'robot@project.iam.gserviceaccount.com',
      key: privateKey,
      scopes: ['https://www.googleapis.com/auth/webmasters.readonly'],
    });
    // The library takes no token address for service accounts: its requests are sent here instead.
    auth.transporter.interceptors.request.add({
      resolved: async (config) => {
        if (String(config.url).includes('/token')) config.url = new URL(`${signed.url}token`);
        return config;
      },
    });
    const { data } = await new searchconsole_v1.Searchconsole({ auth, rootUrl: signed.url }).sites.list();
    expect(data.siteEntry).toHaveLength(1);
    expect(signed.requests[0]?.user).toBe('robot@project.iam.gserviceaccount.com');
  });
});

/** A Python that has Google's client, or why there is none. */
async function findPython(): Promise<{ readonly command?: string; readonly reason: string }> {
  for (const command of ['/usr/bin/python3', 'python3']) {
    try {
      await run(command, ['-c', 'import googleapiclient']);
      return { command, reason: '' };
    } catch {
      // The next one may have it.
    }
  }
  return { reason: 'no python3 with googleapiclient here (on Debian: apt-get install python3-googleapi)' };
}

describe("Google's Python client, unchanged", () => {
  it('lists, queries, and sends batches to both paths', async ({ skip }) => {
    const { command, reason } = await findPython();
    if (command === undefined) return skip(reason);
    const script = new URL('python-client.py', import.meta.url).pathname;
    const { stdout } = await run(command, [script, emulator.url, SITE, DAY], {
      env: { ...process.env, NO_PROXY: '*' },
    });
    const found = JSON.parse(stdout) as Record<string, unknown>;
    const first = { startDate: DAY, endDate: DAY, dimensions: ['query'] };
    const queries = (await emulator.served(SITE, first)).rows.slice(0, 10);
    const pages = (await emulator.served(SITE, { ...first, dimensions: ['page'] })).rows.slice(5, 15);
    expect(found.sites).toMatchObject({ siteEntry: [{ siteUrl: SITE }, { siteUrl: PREFIX }] });
    expect(found.site).toEqual({ siteUrl: SITE, permissionLevel: 'siteOwner' });
    expect(found.alone).toEqual({ rows: queries, responseAggregationType: 'byProperty' });
    expect(found.refused).toEqual([400, 'rowLimit must be between 1 and 25000.']);
    for (const answers of [found.batch, found.oldBatch]) {
      expect(answers).toEqual({
        'first one': { rows: queries, responseAggregationType: 'byProperty' },
        'größe + 2': { rows: pages, responseAggregationType: 'byPage' },
        wrong: [400, 'Bad Request'],
      });
    }
    expect(emulator.requests.filter(({ batchSize }) => batchSize === 3)).toHaveLength(6);
  });
});
