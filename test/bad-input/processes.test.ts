// @module-tag long
import { spawnSync } from 'node:child_process';
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { addDays } from '../../src/domain/day.ts';
import { createSync } from '../../src/sync/sync.ts';
import { lastLineOf, useLongtail } from '../cli/support/longtail.ts';
import { testDatabase } from '../support/postgres.ts';
import { SITE, settledDays } from '../support/property.ts';
import { expectRefusal, NO_DATABASE, SECRET } from './support/command.ts';
import { joined, repeated, startHostileApi } from './support/hostile-api.ts';

const { run, folder } = useLongtail();
const GB = 2 ** 30;
const site = ['--site', SITE];
const token = { LONGTAIL_ACCESS_TOKEN: 'a-token' };

/** One of each kind, as users have it: the built command, its exit code, its streams, and an empty folder afterwards. */
describe('the built command refuses', () => {
  it.each<readonly [string, readonly string[], Readonly<Record<string, string>>, number]>([
    ['a property that is none', ['sync', '--site', 'example.com'], token, 2],
    ['a property with a password', ['sync', '--site', `https://me:${SECRET}@example.com/`], token, 2],
    ['a number that is none', ['sync', ...site, '--qpm', '1e3'], token, 2],
    ['a day that is none', ['sync', ...site, '--from', '2026-02-30'], token, 2],
    ['a dataset that is none', ['sync', ...site, '--datasets', 'pages'], token, 2],
    ['a type that is none', ['sync', ...site, '--types', 'maps'], token, 2],
    ['a level that is none', ['sync', ...site, '--log-level', 'loud'], token, 2],
    ['a database that is none', ['sync', ...site, '--database-url', `mysql://a:${SECRET}@b/c`], token, 2],
    ['a database that is not there', ['sync', ...site], { ...token, DATABASE_URL: NO_DATABASE }, 1],
    ['a root over an open line', ['sync', ...site, '--api-root', 'http://example.com/'], token, 2],
    ['a token URL that is none', ['sites'], { ...token, LONGTAIL_TOKEN_URL: 'nonsense' }, 2],
    ['a root where nobody is', ['sites', '--api-root', 'http://127.0.0.1:1/'], token, 1],
    ['a token of two words', ['sync', ...site], { LONGTAIL_ACCESS_TOKEN: `Bearer ${SECRET}` }, 2],
    ['credentials that are not there', ['sync', ...site, '--credentials', 'nowhere.json'], {}, 2],
    ['credentials that are none', ['sync', ...site, '--credentials', '../empty.json'], {}, 2],
    ['no credentials at all', ['sync', ...site], { METADATA_SERVER_DETECTION: 'none' }, 2],
    ['a port that is none', ['emulator', '--port', '65536'], {}, 2],
    ['an address that is none', ['emulator', '--host', ''], {}, 2],
    ['faults that are not there', ['emulator', '--faults', 'nowhere.json'], {}, 2],
    ['a command that is none', ['synk'], {}, 2],
    ['help for what is not there', ['help', 'synk'], {}, 2],
    ['an option that is none', ['status', '--colour'], {}, 2],
    ['an option of 100,000 characters', ['sync', ...site, '--days', 'x'.repeat(100_000)], token, 2],
  ])('%s', async (_, args, env, code) => {
    const path = join(folder(), 'work');
    spawnSync('mkdir', [path]);
    writeFileSync(join(folder(), 'empty.json'), '');
    expectRefusal(await run(args, { env, cwd: path }).then(asEnded), [code]);
    expect(readdirSync(path)).toEqual([]);
  });
});

const asEnded = (ended: { code: number | string | null; stdout: string; stderr: string }) => ({
  ...ended,
  code: Number(ended.code),
});

describe('an API that is hostile once', () => {
  const days = settledDays(4);
  const [to = '', victim = ''] = days;
  const command = ['sync', ...site, '--from', days.at(-1) ?? '', '--to', to, '--datasets', 'page', '--json'];

  it('with a part of 2 GB: its page is tried again, and memory stays where it was', {
    tags: ['long'],
  }, async () => {
    let served = 0;
    await using api = await startHostileApi({
      lastDay: addDays(to, 5),
      answers: ({ startDate, endDate, seenBefore }) => {
        if (startDate !== victim || endDate !== victim || seenBefore > 0) return undefined;
        served += 1;
        const body = joined([Buffer.from('{"rows":[')], repeated(' ', 2 * GB), [Buffer.from(']}')]);
        return { head: 'HTTP/1.1 200 OK', body };
      },
    });
    await using database = await testDatabase();
    const env = { ...token, DATABASE_URL: database.url, LONGTAIL_API_ROOT: api.url };
    const { code, stdout } = await run(command, { env });
    expect(served).toBe(1);
    expect(code).toBe(0);
    const told = lastLineOf(stdout) as { peakRssBytes: number; retries: number; slices: object };
    console.info(`a part of 2 GB: ${Math.round(told.peakRssBytes / 1e6)} MB at most`);
    expect(told.peakRssBytes).toBeLessThan(400e6);
    expect(told.retries).toBeGreaterThan(0);
    expect(told.slices).toMatchObject({ planned: 4, complete: 4, failed: 0 });
    const [held] = await database.sql`select count(*)::int as rows from search_analytics`;
    expect(held).toEqual({ rows: 12 });
  });

  it('with a page of HTML each time: the run waits, says what came instead, and can be halted', async () => {
    await using api = await startHostileApi({
      lastDay: to,
      takes: (_request, response) => {
        response.writeHead(200, { 'content-type': 'text/html' });
        response.end('<html><title>Please sign in to the hotel’s network</title></html>');
        return true;
      },
    });
    await using database = await testDatabase();
    await using sync = createSync({
      siteUrl: 'sc-domain:example.com',
      database: database.url,
      apiRoot: api.url,
      credentials: { accessToken: 'a-token' },
      from: to,
      to,
      batchSize: 1,
    });
    const said = Promise.withResolvers<string>();
    sync.on('retry', (event) => {
      if ('reason' in event) said.resolve(event.reason);
    });
    const running = sync.run();
    expect(await said.promise).toMatch(/not whole JSON/);
    await sync.halt();
    expect(await running).toMatchObject({ status: 'halted', slices: { complete: 0 } });
  });
});
