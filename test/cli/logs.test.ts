import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Emulator, startEmulator } from '../../src/emulator/index.ts';
import { type TestDatabase, testDatabase } from '../support/postgres.ts';
import { runHere } from './support/here.ts';
import { lastLineOf, useLongtail } from './support/longtail.ts';

const SITE = 'sc-domain:example.com';
const { run } = useLongtail();
let emulator: Emulator;
let database: TestDatabase;
beforeEach(async () => {
  [emulator, database] = await Promise.all([startEmulator({ rowsPerDay: 5, sites: [SITE] }), testDatabase()]);
});
afterEach(async () => {
  await Promise.all([emulator.close(), database.close()]);
});

const ARGUMENTS = ['sync', '--site', SITE, '--days', '3', '--datasets', 'page'];
const environment = () => ({
  env: { DATABASE_URL: database.url, LONGTAIL_ACCESS_TOKEN: 'a-token', LONGTAIL_API_ROOT: emulator.url },
});

interface Line {
  readonly time: string;
  readonly level: string;
  readonly event: string;
  readonly site: string;
  readonly run?: string;
  readonly message?: string;
  readonly [field: string]: unknown;
}
const linesOf = (text: string): readonly Line[] =>
  text
    .trimEnd()
    .split('\n')
    .map((line): Line => JSON.parse(line));

describe('--log-format json', () => {
  it('makes every line of standard error an object with site and run', async () => {
    const finished = await run([...ARGUMENTS, '--log-format', 'json', '--json'], environment());
    expect(finished.code).toBe(0);
    expect(lastLineOf(finished.stdout)).toMatchObject({ status: 'complete' });
    const lines = linesOf(finished.stderr);
    const [row] = await database.sql<{ id: string }[]>`select id::text as id from longtail.run`;
    for (const line of lines) {
      expect(line).toMatchObject({ site: SITE, level: expect.stringMatching(/^(error|warn|info)$/) });
      expect(new Date(line.time).toISOString()).toBe(line.time);
    }
    const slices = lines.filter(({ event }) => event === 'slice.complete');
    expect(slices).toHaveLength(3);
    for (const line of slices)
      expect(line).toMatchObject({ run: row?.id, dataset: 'page', type: 'web', rows: 5 });
    // The summary is for people who watch it: a note.
    expect(lines.at(-1)).toMatchObject({ event: 'note', message: expect.stringContaining('complete') });
  });

  it('also of a run that fails', async () => {
    const finished = await run(
      ['sync', '--site', 'sc-domain:nobody.example', '--days', '3', '--log-format', 'json'],
      environment(),
    );
    expect(finished.code).toBe(1);
    expect(linesOf(finished.stderr).at(-1)).toMatchObject({
      level: 'error',
      event: 'error',
      site: 'sc-domain:nobody.example',
    });
  });
});

describe('--quiet', () => {
  it('says nothing of a run that is well', async () => {
    expect(await run([...ARGUMENTS, '--quiet'], environment())).toEqual({ code: 0, stdout: '', stderr: '' });
  });

  it('leaves the object of --json', async () => {
    const finished = await run([...ARGUMENTS, '--quiet', '--json'], environment());
    expect(finished.stderr).toBe('');
    expect(finished.stdout.trimEnd().split('\n')).toHaveLength(1);
    expect(lastLineOf(finished.stdout)).toMatchObject({ status: 'complete' });
  });

  it('says an error', async () => {
    const finished = await run(
      ['sync', '--site', 'sc-domain:nobody.example', '--days', '3', '--quiet'],
      environment(),
    );
    expect(finished.code).toBe(1);
    expect(finished.stderr).toMatch(/^longtail: /);
  });

  it.each([
    ['--log-level', 'info'],
    ['--log-format', 'json'],
  ])('does not go with %s', async (...log) => {
    const refused = await runHere([...ARGUMENTS, '--quiet', ...log]);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toContain('--quiet does not go together with a log.');
  });
});

it('another format is refused, with those there are', async () => {
  const refused = await runHere([...ARGUMENTS, '--log-format', 'xml']);
  expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining('Use one of text, json.') });
});
