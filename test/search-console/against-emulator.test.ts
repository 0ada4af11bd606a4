import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { systemClock } from '../../src/domain/clock.ts';
import { type Emulator, type Faults, startEmulator } from '../../src/emulator/index.ts';
import { type PlainRow, plainRows } from '../../src/rows/row-block.ts';
import type { QueryAnswer } from '../../src/search-console/answer/decode-rows.ts';
import { createAuth } from '../../src/search-console/auth/auth.ts';
import { createClient } from '../../src/search-console/client.ts';
import { createGotTransport } from '../../src/search-console/http/got-transport.ts';
import { type ApiRequest, calendarQuery, sliceQuery } from '../../src/search-console/request/query.ts';
import { listSites } from '../../src/search-console/sites.ts';

const SITE = 'sc-domain:example.com';
const FAULTS: Faults = {
  seed: 7,
  rules: [
    { probability: 0.1, action: { kind: 'error', error: 'backendError' } },
    { probability: 0.1, action: { kind: 'garblePart' } },
    { probability: 0.1, action: { kind: 'cutPart', afterBytes: 900 } },
    { probability: 0.1, action: { kind: 'dropPart' } },
    { probability: 0.1, action: { kind: 'doublePart' } },
    { probability: 0.1, action: { kind: 'unknownId' } },
    { match: { endpoint: 'batch' }, every: 2, action: { kind: 'shuffleParts' } },
    { match: { endpoint: 'batch' }, every: 3, action: { kind: 'truncate', afterBytes: 20_000 } },
    { match: { endpoint: 'batch' }, every: 5, action: { kind: 'noFinalBoundary' } },
    { match: { endpoint: 'batch' }, every: 7, action: { kind: 'reset', afterBytes: 10_000 } },
    { match: { endpoint: 'batch' }, every: 11, action: { kind: 'status', status: 503 } },
  ],
};

/** The rows without what is derived, as text: one line a row. */
const lines = (
  rows: readonly (Omit<PlainRow, 'position'> & { readonly position?: number | null | undefined })[],
) =>
  rows.map(({ keys, clicks, impressions, position }) =>
    JSON.stringify([keys, clicks, impressions, position ?? null]),
  );

async function serviceAccount(folder: string): Promise<string> {
  const { privateKey } = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
  const path = join(folder, 'key.json');
  const json = {
    type: 'service_account',
    project_id: 'p',
    private_key: privateKey,
    client_email: 'bot@p.iam.gserviceaccount.com',
  };
  await writeFile(path, JSON.stringify(json));
  return path;
}

/** Asks for each request until it has its answer; the faults are to be outlived. */
type PlainAnswer = Omit<QueryAnswer, 'rows'> & { readonly rows: readonly PlainRow[] };

async function fetchAll(
  emulator: Emulator,
  requests: readonly ApiRequest[],
  batchSize: number,
): Promise<PlainAnswer[]> {
  const folder = await mkdtemp(join(tmpdir(), 'longtail-client-'));
  const transport = createGotTransport({ clock: systemClock });
  try {
    const auth = await createAuth({
      credentials: { file: await serviceAccount(folder) },
      tokenUrl: `${emulator.url}token`,
    });
    const client = createClient({ transport, clock: systemClock, apiRoot: emulator.url });
    const answers = new Map<number, PlainAnswer>();
    for (let call = 0; call < 200 && answers.size < requests.length; call++) {
      const open = [...requests.keys()].filter((index) => !answers.has(index)).slice(0, batchSize);
      const token = await auth.token();
      if (token.kind !== 'token') throw new Error(token.reason);
      const mode = batchSize === 1 ? 'plain' : 'batch';
      const options = { accessToken: token.token, signal: new AbortController().signal, mode } as const;
      const asked = open.flatMap((index) => requests[index] ?? []);
      for await (const step of client.call(asked, options)) {
        if (step.kind !== 'answer' || step.outcome.kind !== 'ok') continue;
        const index = open[step.index] ?? -1;
        expect(answers.has(index)).toBe(false);
        // At once: the rows lie in memory that the next answer overwrites.
        answers.set(index, { ...step.outcome.answer, rows: plainRows(step.outcome.answer.rows) });
      }
    }
    return [...requests.keys()].flatMap((index) => answers.get(index) ?? []);
  } finally {
    transport.close();
    await rm(folder, { recursive: true });
  }
}

it.each([
  [1, undefined],
  [8, undefined],
  [8, FAULTS],
])('what was served is what is read, with batches of %i (%#)', async (batchSize, faults) => {
  await using emulator = await startEmulator({
    sites: [SITE],
    rowsPerDay: 400,
    today: '2026-06-20',
    tokens: { requireIssuedTokens: true },
    quotas: { perSiteQpm: 1e6, perUserQpm: 1e6 },
    ...(faults !== undefined && { faults }),
  });
  const requests = ['2026-06-01', '2026-06-02', '2026-06-03', '2026-06-04'].flatMap((date) =>
    ['page', 'page+query', 'date', 'country'].map((dataset) =>
      sliceQuery({ siteUrl: SITE, searchType: 'web', dataset, date }, { startRow: 0, rowLimit: 25_000 }),
    ),
  );
  requests.push(calendarQuery({ siteUrl: SITE, searchType: 'web', from: '2026-05-01', to: '2026-06-20' }));
  const answers = await fetchAll(emulator, requests, batchSize);
  expect(answers).toHaveLength(requests.length);
  for (const [index, { body }] of requests.entries()) {
    const served = await emulator.served(SITE, JSON.parse(body));
    const read = lines(answers[index]?.rows ?? []);
    if (answers[index] !== undefined && requests[index]?.keyCount !== 0)
      expect(read.toSorted()).toEqual(lines(served.rows).toSorted());
    expect(read).toHaveLength(served.rows.length);
  }
  expect(answers.at(-1)?.firstIncompleteDate).toMatch(/^2026-06-1\d$/);
});

it('the properties are listed', async () => {
  await using emulator = await startEmulator({
    sites: [SITE, { siteUrl: 'https://a.b/', permissionLevel: 'siteUnverifiedUser' }],
  });
  const transport = createGotTransport({ clock: systemClock });
  try {
    const signal = new AbortController().signal;
    expect(
      await listSites({ transport, clock: systemClock, apiRoot: emulator.url, accessToken: 'any', signal }),
    ).toEqual({
      kind: 'ok',
      sites: [
        { siteUrl: 'https://a.b/', permissionLevel: 'siteUnverifiedUser' },
        { siteUrl: SITE, permissionLevel: 'siteOwner' },
      ],
    });
  } finally {
    transport.close();
  }
});
