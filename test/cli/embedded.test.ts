// @module-tag long
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import postgres from 'postgres';
import { describe, expect, it } from 'vitest';
import { connectLine } from '../../src/cli/commands/database-place.ts';
import { startEmulator } from '../../src/emulator/index.ts';
import { lastLineOf, processesIn, STACK_TRACE, useLongtail } from './support/longtail.ts';

const SITE = 'sc-domain:example.com';
const { folder, start, run } = useLongtail();

describe('the demo', () => {
  const DEMO = ['demo', '--days', '5', '--rows-per-day', '40'];

  it('shows the ten top queries, the totals, the speed and how to go on, and does so again', async () => {
    for (let time = 1; time <= 2; time += 1) {
      const { code, stdout, stderr } = await run(DEMO);
      expect(code).toBe(0);
      const top = stdout
        .split('\n')
        .slice(stdout.split('\n').findIndex((line) => line.includes('ten top queries')) + 2);
      expect(top.slice(0, 10).every((line) => / [\d,]+ +[\d,]+ +[\d.]+ % +[\d.]+$/.test(line))).toBe(true);
      expect(top[10]).toBe('');
      expect(stdout).toMatch(/^ {2}page\+query +200 +/m);
      expect(stdout).toMatch(/\d+ rows in .+: [\d,]+ rows\/s, \d+ calls\./);
      expect(stdout).toContain('npx longtail sync --site sc-domain:your-domain.com');
      // A line to copy, with the file that holds the password instead of the password.
      expect(stdout).toContain(`PGPASSWORD="$(cat ${join(folder(), '.longtail', 'password')})" psql`);
      for (const text of [stdout, stderr]) {
        expect(text).not.toMatch(STACK_TRACE);
        expect(text).not.toContain('\u001b');
      }
    }
    // Of the two databases the first has gone, the second is there.
    const server = start(['database']);
    await expect.poll(() => server.said().stdout, { timeout: 30_000 }).toContain('Ctrl-C stops it.');
    const url = await urlOf(server.said().stdout);
    const sql = postgres(url, { max: 1, onnotice: () => undefined });
    const names = await sql<
      { datname: string }[]
    >`select datname from pg_database where datname like 'demo%'`;
    await sql.end();
    expect(names).toHaveLength(1);
    server.child.kill('SIGINT');
    expect((await server.finished).code).toBe(0);
  });

  it('leaves nothing running after a Ctrl-C', { tags: ['long'] }, async () => {
    const running = start(['demo', '--days', '400', '--rows-per-day', '5000']);
    await expect.poll(() => running.said().stderr, { timeout: 60_000 }).toMatch(/^Fetching: [1-9]/m);
    // The server and the emulator beside it are seen: what is checked below could fail.
    expect(processesIn(folder()).some((line) => line.includes('commands/demo/emulator'))).toBe(true);
    expect(processesIn(folder()).some((line) => line.includes('postgres'))).toBe(true);
    running.child.kill('SIGINT');
    const { code, stdout, stderr } = await running.finished;
    expect(code).toBe(130);
    expect(stdout).toContain('Halted');
    expect(stderr).not.toMatch(STACK_TRACE);
    await expect.poll(() => processesIn(folder()), { timeout: 20_000 }).toEqual([]);
  });

  it('leaves nothing running after a kill -9', { tags: ['long'] }, async () => {
    const running = start(['demo', '--days', '400', '--rows-per-day', '5000']);
    await expect.poll(() => running.said().stderr, { timeout: 60_000 }).toMatch(/^Fetching: [1-9]/m);
    running.child.kill('SIGKILL');
    await once(running.child, 'close');
    await expect.poll(() => processesIn(folder()), { timeout: 20_000 }).toEqual([]);
  });
});

describe('sync without a database URL', () => {
  it('fills the embedded server, says where that is, and status finds it there', async () => {
    await using emulator = await startEmulator({ rowsPerDay: 20, sites: [SITE] });
    const env = { LONGTAIL_ACCESS_TOKEN: 'a-token', LONGTAIL_API_ROOT: emulator.url };
    const finished = await run(['sync', '--site', SITE, '--days', '3', '--json'], { env });
    expect(finished.code).toBe(0);
    expect(lastLineOf(finished.stdout)).toMatchObject({ status: 'complete', slices: { complete: 6 } });
    expect(finished.stderr).toContain(join(folder(), '.longtail'));
    expect(finished.stderr).toContain('npx longtail database');
    const { stdout } = await run(['status']);
    expect(stdout).toContain('6 slices complete');
  });

  it('stops when told to while the server is being set up', async () => {
    const running = start(['sync', '--site', SITE], { env: { LONGTAIL_ACCESS_TOKEN: 'a-token' } });
    await expect.poll(() => running.said().stderr, { timeout: 30_000 }).toContain('Setting up PostgreSQL');
    running.child.kill('SIGINT');
    expect(await running.finished).toMatchObject({ code: 130, stdout: '' });
  });
});

it('a psql line never has the password in it, and survives spaces', () => {
  expect(connectLine('postgres://me:secret@127.0.0.1:5433/db', "/home/it's me/.longtail")).toBe(
    `PGPASSWORD="$(cat '/home/it'\\''s me/.longtail/password')" psql -h 127.0.0.1 -p 5433 -U me db`,
  );
});

/** The URL behind the line that `longtail database` prints. */
async function urlOf(said: string): Promise<string> {
  const [, password = '', port = '', user = '', name = ''] =
    /cat (\S+)\)" psql -h 127\.0\.0\.1 -p (\d+) -U (\S+) (\S+)/.exec(said) ?? [];
  const secret = (await readFile(password, 'utf8')).trim();
  return `postgres://${user}:${secret}@127.0.0.1:${port}/${name}`;
}
