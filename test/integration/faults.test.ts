// @module-tag long
// Holds invariants 1, 9 of SPEC.md.
import { expect, test } from 'vitest';
import type { Faults } from '../../src/emulator/index.ts';
import { createSync } from '../../src/sync/sync.ts';
import { differences } from '../support/compare.ts';
import { ledgerProblems } from '../support/ledger-check.ts';
import { testDatabase } from '../support/postgres.ts';
import { credentialsFile, emulate, options, SITE, settledDays } from '../support/property.ts';

/** Every kind of fault that a retry mends, by chance and bounded: backing off is most of what this test does. */
const RULES: Faults['rules'] = [
  { times: 2, probability: 0.04, action: { kind: 'error', error: 'backendError' } },
  { times: 2, probability: 0.04, action: { kind: 'error', error: 'nullMessage' } },
  { times: 2, probability: 0.04, action: { kind: 'error', error: 'unavailable' } },
  { times: 2, probability: 0.06, action: { kind: 'garblePart' } },
  { times: 2, probability: 0.06, action: { kind: 'emptyPart' } },
  { times: 2, probability: 0.06, action: { kind: 'cutPart', afterBytes: 300 } },
  { times: 2, probability: 0.06, action: { kind: 'dropPart' } },
  { times: 4, probability: 0.04, action: { kind: 'doublePart' } },
  { times: 2, probability: 0.06, action: { kind: 'unknownId' } },
  { times: 2, probability: 0.04, action: { kind: 'error', error: 'qps', retryAfterS: 1 } },
  { times: 1, probability: 0.04, action: { kind: 'error', error: 'load', retryAfterS: 1 } },
  { times: 1, probability: 0.04, action: { kind: 'error', error: 'rateLimitExceeded', retryAfterS: 1 } },
  { times: 1, probability: 0.04, action: { kind: 'error', error: 'servingLimitExceeded', retryAfterS: 1 } },
  { times: 1, probability: 0.1, action: { kind: 'status', status: 503, error: 'unavailable' } },
  { times: 1, probability: 0.1, action: { kind: 'status', status: 502, body: '<html>Bad gateway</html>' } },
  { times: 1, probability: 0.1, action: { kind: 'reset' } },
  { times: 1, probability: 0.1, action: { kind: 'reset', afterBytes: 2_000 } },
  { times: 1, probability: 0.1, action: { kind: 'truncate', afterBytes: 3_000 } },
  { times: 1, probability: 0.1, action: { kind: 'truncate', afterBytes: 3_000, clean: true } },
  { probability: 0.15, action: { kind: 'noFinalBoundary' } },
  { probability: 0.3, action: { kind: 'shuffleParts' } },
  { probability: 0.15, action: { kind: 'delay', ms: 50 } },
  { times: 5, probability: 0.15, action: { kind: 'trickle', chunkBytes: 997, everyMs: 1 } },
  { match: { endpoint: 'batch' }, nth: 8, action: { kind: 'emptyBody' } },
  { match: { endpoint: 'batch' }, nth: 10, action: { kind: 'garbage' } },
  { match: { endpoint: 'token' }, nth: 1, action: { kind: 'garbage' } },
  { match: { endpoint: 'token' }, nth: 2, action: { kind: 'emptyBody' } },
  { match: { endpoint: 'batch' }, nth: 4, action: { kind: 'refuse', forMs: 200 } },
  { match: { endpoint: 'batch' }, nth: 6, action: { kind: 'expireTokens' } },
];

/** Pages of 100 rows: slices of one page, of several, and of full ones with an empty page behind. */
const days = settledDays(8);
const range = {
  siteUrl: SITE,
  searchTypes: ['web', 'image'],
  datasets: ['page', 'page+query', 'date', 'country', 'device'],
  days,
} as const;

for (const maxConcurrency of [1, 3, 8]) {
  test.concurrent(`at concurrency ${maxConcurrency}, under every fault, the table is what was served`, {
    timeout: 300_000,
    // Most of it is backing off: one of them tells enough in between.
    ...(maxConcurrency === 8 ? {} : { tags: ['long'] }),
  }, async () => {
    await using emulator = await emulate({
      rowsPerDay: 240,
      nulQueries: true,
      rowsOn: (date, type) => (type === 'web' && date === days[2] ? 200 : undefined),
      tokens: { requireIssuedTokens: true },
      faults: { seed: 20 + maxConcurrency, rules: RULES },
    });
    await using credentials = await credentialsFile();
    await using database = await testDatabase();
    const settings = options(database.url, emulator, days, {
      datasets: range.datasets,
      searchTypes: range.searchTypes,
      credentials: { file: credentials.path },
      tokenUrl: `${emulator.url}token`,
      maxConcurrency,
      batchSize: 5,
      rowsPerPage: 100,
      maxAttempts: 30,
    });
    await using sync = createSync(settings);
    const outcome = await sync.run();
    expect(outcome).toMatchObject({ status: 'complete', slices: { planned: 80, complete: 80, failed: 0 } });
    expect(await differences(database.sql, emulator, range)).toEqual([]);
    expect(await ledgerProblems(database.sql)).toEqual([]);

    const fallen = new Set(emulator.requests.flatMap(({ faults }) => faults));
    expect([...fallen].sort()).toEqual([...new Set(RULES.map(({ action }) => action.kind))].sort());
    // A token's renewal is an HTTP call, too.
    expect(emulator.counters.maxConcurrentCalls).toBeLessThanOrEqual(maxConcurrency + 1);

    // All of it is final: whoever asks again asks nobody.
    emulator.setFaults(undefined);
    const before = emulator.counters.httpCalls;
    await using again = createSync(settings);
    expect(await again.run()).toMatchObject({ status: 'complete', apiCalls: 0, rows: outcome.rows });
    expect(emulator.counters.httpCalls).toBe(before);
  });
}

for (const maxConcurrency of [1, 8]) {
  test.concurrent(`at concurrency ${maxConcurrency} a server that is away for three seconds ends no run`, async () => {
    const rules = [{ nth: 5, action: { kind: 'refuse', forMs: 3_000 } }] as const;
    await using emulator = await emulate({ rowsPerDay: 60, faults: { rules: [...rules] } });
    await using database = await testDatabase();
    await using sync = createSync(
      options(database.url, emulator, days, { datasets: range.datasets, maxConcurrency, batchSize: 1 }),
    );
    expect(await sync.run()).toMatchObject({ status: 'complete', slices: { complete: 40, failed: 0 } });
    expect(await differences(database.sql, emulator, { ...range, searchTypes: ['web'] })).toEqual([]);
  });
}
