/** `longtail verify`, as a process of its own. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Emulator, startEmulator } from '../../../../src/emulator/index.ts';
import { type TestDatabase, testDatabase } from '../../../support/postgres.ts';
import { runHere } from '../../support/here.ts';
import {
  type Finished,
  lastLineOf,
  STACK_TRACE,
  type StartOptions,
  useLongtail,
} from '../../support/longtail.ts';

const SITE = 'sc-domain:example.com';
const TOKEN = 'a-token-that-must-not-be-seen';

const { folder, run, start } = useLongtail();
let emulator: Emulator;
let database: TestDatabase;

beforeEach(async () => {
  [emulator, database] = await Promise.all([startEmulator({ rowsPerDay: 30 }), testDatabase()]);
});
afterEach(async () => {
  await Promise.all([emulator.close(), database.close()]);
});

const options = (): StartOptions => ({
  env: { DATABASE_URL: database.url, LONGTAIL_ACCESS_TOKEN: TOKEN, LONGTAIL_API_ROOT: emulator.url },
});
const sync = () => run(['sync', '--site', SITE, '--days', '4'], options());
const verify = (...more: string[]): Promise<Finished> =>
  run(['verify', '--site', SITE, '--seed', '7', ...more], options());

function expectClean({ stdout, stderr }: Finished): void {
  for (const text of [stdout, stderr]) {
    expect(text).not.toContain(TOKEN);
    expect(text).not.toContain(new URL(database.url).password);
    expect(text).not.toMatch(STACK_TRACE);
    for (const line of text.split('\n')) {
      if (!line.startsWith('{')) expect([...line].length).toBeLessThanOrEqual(80);
    }
  }
}

describe('a table that is as Google says', () => {
  it('ends with 0, in words and as JSON', async () => {
    expect((await sync()).code).toBe(0);
    const told = await verify();
    expectClean(told);
    expect(told).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^Equal: sc-domain:example\.com, /),
    });
    expect(told.stdout).toContain('100 equal, 0 different');
    const json = await verify('--json', '--dataset', 'query+page', '--type', 'web', '--sample', '20');
    expect(json.code).toBe(0);
    expect(json.stdout.trimEnd().split('\n')).toHaveLength(1);
    expect(lastLineOf(json.stdout)).toMatchObject({
      status: 'equal',
      siteUrl: SITE,
      dataset: 'page+query',
      searchType: 'web',
      seed: 7,
      sample: 20,
      drawn: { rows: 18, absent: 2 },
      equal: 20,
      differences: [],
      haltReason: null,
    });
  });
});

describe('a table that is not', () => {
  it('ends with 1, says what differs, and writes the report', async () => {
    expect((await sync()).code).toBe(0);
    const changed = await database.sql<{ page: string }[]>`
      update longtail.fact set clicks = clicks + 5
      where ctid = (select f.ctid from longtail.fact f join longtail.slice s on s.id = f.slice_id
        where s.dataset = 'page' and s.status = 'complete' order by f.page limit 1)
      returning page`;
    const page = changed[0]?.page ?? '';
    const told = await verify('--sample', '2000', '--report', 'report.md');
    expectClean(told);
    expect(told.code).toBe(1);
    expect(told.stdout).toMatch(/^Different: /);
    expect(told.stdout).toContain(page);
    expect(told.stdout).toMatch(/clicks [\d,]+ → [\d,]+ \(-5\)/);
    expect(told.stderr).toContain('The report is in report.md.');
    const report = await readFile(join(folder(), 'report.md'), 'utf8');
    expect(report).toMatch(/^# Verification\n/);
    expect(report).toContain('(-5)');
    expect(report).toContain('| Seed | 7 |');
  });
});

describe('other ends', () => {
  it('nothing to verify: 2, and what to do', async () => {
    const told = await verify();
    expectClean(told);
    expect(told).toMatchObject({ code: 2, stdout: '' });
    expect(told.stderr).toContain('The table has no complete and final day with rows');
  });

  it('some without an answer: 3', async () => {
    expect((await sync()).code).toBe(0);
    emulator.setFaults({
      rules: [{ match: { part: 0 }, times: 1, action: { kind: 'error', error: 'badRequest' } }],
    });
    const told = await verify();
    expect(told.code).toBe(3);
    expect(told.stdout).toContain('1 without an answer');
  });

  it('no quota: 75', async () => {
    expect((await sync()).code).toBe(0);
    emulator.setFaults({ rules: [{ action: { kind: 'error', error: 'daily' } }] });
    const told = await verify('--json');
    expect(told.code).toBe(75);
    expect(lastLineOf(told.stdout)).toMatchObject({
      status: 'halted',
      haltReason: { kind: 'quota', quota: 'daily' },
    });
  });

  it('Ctrl-C: 130', async () => {
    expect((await sync()).code).toBe(0);
    emulator.setFaults({ rules: [{ match: { endpoint: 'batch' }, action: { kind: 'delay', ms: 20_000 } }] });
    const running = start(['verify', '--site', SITE], options());
    const seen = emulator.requests.length;
    await expect.poll(() => emulator.requests.length, { timeout: 20_000 }).toBeGreaterThan(seen);
    running.child.kill('SIGINT');
    expect(await running.finished).toMatchObject({
      code: 130,
      stdout: expect.stringMatching(/^Halted: as asked/),
    });
  });
});

describe('wrong use ends with 2', () => {
  it.each<[string, string[], string]>([
    ['no property', [], 'No property is given'],
    ['no such dataset', ['--site', SITE, '--dataset', 'pages'], '"pages" is not a dataset'],
    ['two datasets', ['--site', SITE, '--dataset', 'page,query'], '--dataset names more than one'],
    ['two types', ['--site', SITE, '--type', 'web,image'], '--type names more than one'],
    [
      'a sample of none',
      ['--site', SITE, '--sample', '0'],
      '--sample "0" is not a whole number from 1 to 10,000',
    ],
    ['a seed that is none', ['--site', SITE, '--seed', 'x'], '--seed "x" is not a whole number'],
    [
      'a report in no folder',
      ['--site', SITE, '--report', 'no/such/folder/r.md'],
      'is in a folder that does not exist',
    ],
    [
      'days and dates',
      ['--site', SITE, '--days', '3', '--from', '2026-01-01'],
      '--days does not go together',
    ],
  ])('%s', async (_, args, message) => {
    const { code, stdout, stderr } = await runHere(['verify', ...args]);
    expect([code, stdout]).toEqual([2, '']);
    expect(stderr).toContain(message);
    expect(stderr).not.toMatch(STACK_TRACE);
  });

  it('help fits 80 columns', async () => {
    const { code, stdout } = await runHere(['verify', '--help']);
    expect(code).toBe(0);
    expect(stdout).toContain('Usage: longtail verify');
    for (const line of stdout.split('\n')) expect([...line].length).toBeLessThanOrEqual(80);
  });
});
