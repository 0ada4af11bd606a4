/** What a host's getAccessToken may do: whatever it is, the process lives, and the run goes on or says why not. */
import { describe, expect, test } from 'vitest';
import { createSync } from '../../src/sync/sync.ts';
import { differences } from '../support/compare.ts';
import { testDatabase } from '../support/postgres.ts';
import { emulate, options, SITE, settledDays } from '../support/property.ts';

const days = settledDays(10);
const range = { siteUrl: SITE, searchTypes: ['web'], datasets: ['page'], days } as const;

/** A run whose tokens come from `give`, which is told how many came before. */
async function run(give: (before: number) => string | Promise<string>) {
  await using emulator = await emulate({ rowsPerDay: 20 });
  await using database = await testDatabase();
  let asked = 0;
  const credentials = {
    account: 'me',
    getAccessToken: () => {
      asked += 1;
      return give(asked - 1);
    },
  };
  const settings = { datasets: range.datasets, batchSize: 1, maxConcurrency: 1, credentials };
  await using sync = createSync(options(database.url, emulator, days, settings));
  const outcome = await sync.run();
  return {
    outcome,
    wrong: outcome.status === 'complete' ? await differences(database.sql, emulator, range) : [],
  };
}

const wordless: object = Object.create(null);
const throwing = {
  toString: () => {
    throw new Error('no words');
  },
};

describe('in the middle of a run', () => {
  test.concurrent.each<[string, () => string | Promise<string>]>([
    ['rejects with what has no words', () => Promise.reject(wordless)],
    [
      'throws what throws when it is put into words',
      () => {
        throw throwing;
      },
    ],
    [
      'throws nothing',
      () => {
        throw undefined;
      },
    ],
    [
      'throws an error whose message is none',
      () => {
        throw Object.assign(new Error(), { message: wordless });
      },
    ],
  ])('it %s, twice: the run completes', async (_, fail) => {
    const { outcome, wrong } = await run((before) => (before === 3 || before === 4 ? fail() : 'a-token'));
    expect(outcome).toMatchObject({ status: 'complete', slices: { complete: 10, failed: 0 } });
    expect(wrong).toEqual([]);
  });

  test.concurrent.each<[string, string | undefined]>([
    ['nothing', undefined],
    ['an empty text', ''],
    ['a token with a line break', 'secret-token\nx: y'],
    ['a token with "Bearer"', 'Bearer secret-token'],
  ])('it gives %s: the run fails with that, and repeats nothing', async (_, token) => {
    // What a caller in JavaScript may return.
    const { outcome } = await run((before) => (before === 3 ? (token as string) : 'a-token'));
    expect(outcome).toMatchObject({ status: 'failed', failure: { code: 'BAD_CREDENTIALS' } });
    expect(JSON.stringify(outcome)).not.toContain('secret');
  });
});

test('a run whose first token is refused without words is refused in words', async () => {
  await expect(run(() => Promise.reject(wordless))).rejects.toMatchObject({
    code: 'NO_CREDENTIALS',
    message: 'getAccessToken failed: an error that cannot be shown as text',
  });
});
