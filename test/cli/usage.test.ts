import { describe, expect, it } from 'vitest';
import { addDays, pacificDay } from '../../src/domain/day.ts';
import { runHere } from './support/here.ts';
import { STACK_TRACE, useLongtail } from './support/longtail.ts';

const { run } = useLongtail();
const SITE = ['--site', 'sc-domain:example.com'];
const longAgo = addDays(pacificDay(Date.now()), -40);

describe('help', () => {
  it.each([[[]], [['--help']], [['help']]])(
    'longtail %j says what there is, on standard output',
    async (args) => {
      const { code, stdout, stderr } = await run(args);
      expect(code).toBe(0);
      expect(stderr).toBe('');
      for (const command of ['demo', 'sync', 'sites', 'status', 'emulator']) {
        expect(stdout).toMatch(new RegExp(`^  ${command}\\b`, 'm'));
      }
      expect(stdout).toMatch(/^Exit codes:\n {2}0 +complete\n {2}1 +failed\n {2}2 +wrong usage/m);
    },
  );

  it.each(['demo', 'sync', 'sites', 'status', 'metrics', 'emulator', 'database'])(
    'longtail %s --help',
    async (command) => {
      const { code, stdout } = await runHere([command, '--help']);
      expect(code).toBe(0);
      expect(stdout).toContain(`Usage: longtail ${command}`);
    },
  );

  it('names every option and variable of the contract', async () => {
    const { stdout } = await runHere(['sync', '--help']);
    const options =
      '--site --from --to --days --datasets --types --max-concurrency --batch-size --qpm --database-url ' +
      '--credentials --api-root --token-url --refresh --dry-run --json --log-level';
    const variables =
      'DATABASE_URL GOOGLE_APPLICATION_CREDENTIALS LONGTAIL_ACCESS_TOKEN LONGTAIL_API_ROOT LONGTAIL_TOKEN_URL';
    for (const name of [...options.split(' '), ...variables.split(' ')]) expect(stdout).toContain(name);
  });

  it('the version is the package’s', async () => {
    expect(await run(['--version'])).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/),
    });
  });
});

describe('wrong use ends with 2, in two lines', () => {
  it.each<[string, string[], string]>([
    ['an unknown command', ['synk'], 'Did you mean sync?'],
    ['an unknown option', ['sync', '--sit', 'x'], 'Did you mean --site?'],
    ['an unknown option of the whole', ['--versio'], 'Did you mean --version?'],
    ['no property', ['sync'], 'No property is given'],
    ['an option without its value', ['sync', '--site'], "'--site <url>' argument missing"],
    ['too many words', ['sync', ...SITE, 'now'], 'Too many arguments'],
    ['a bare domain', ['sync', '--site', 'example.com'], 'Did you mean "sc-domain:example.com"'],
    ['a URL without its slash', ['sync', '--site', 'https://www.example.com'], '"https://www.example.com/"'],
    ['a domain property with a path', ['sync', '--site', 'sc-domain:example.com/x'], 'sc-domain:example.com'],
    [
      'a day that is none',
      ['sync', ...SITE, '--from', '2026-02-30'],
      '--from "2026-02-30" is not a real date',
    ],
    ['a range backwards', ['sync', ...SITE, '--from', '2026-05-02', '--to', '2026-05-01'], 'is after --to'],
    ['the future', ['sync', ...SITE, '--to', '2999-01-01'], 'is in the future'],
    ['what Google has no more', ['sync', ...SITE, '--from', '2019-01-01', '--to', '2019-02-01'], '16 months'],
    ['days and dates', ['sync', ...SITE, '--days', '3', '--to', '2026-01-01'], '--days cannot be combined'],
    ['no days', ['sync', ...SITE, '--days', '0'], '--days "0" is not a whole number from 1 to 500'],
    ['a fraction', ['sync', ...SITE, '--qpm', '1.5'], '--qpm "1.5" is not a whole number from 1 to 40,000'],
    ['too much at once', ['sync', ...SITE, '--max-concurrency', '65'], 'from 1 to 64'],
    ['too large a batch', ['sync', ...SITE, '--batch-size', '1001'], 'from 1 to 1,000'],
    ['an unknown dataset', ['sync', ...SITE, '--datasets', 'page,pages'], '"pages" is not a dataset'],
    ['a dataset that was meant', ['sync', ...SITE, '--datasets', 'pages'], 'did you mean "page"?'],
    [
      'what a type has not',
      ['sync', ...SITE, '--types', 'discover', '--datasets', 'page+query'],
      'Google has no queries for Discover',
    ],
    ['hours of long ago', ['sync', ...SITE, '--datasets', 'hour', '--to', longAgo], 'it keeps ten days'],
    ['a filter without an expression', ['sync', ...SITE, '--filter', 'page contains'], 'is not a filter'],
    ['a filter on the date', ['sync', ...SITE, '--filter', 'date equals x'], 'cannot be filtered'],
    [
      'a filter on queries that are not there',
      ['sync', ...SITE, '--types', 'all', '--filter', 'query contains x'],
      'no queries for discover',
    ],
    ['an unknown aggregation', ['sync', ...SITE, '--aggregation', 'byCountry'], 'is not an aggregation'],
    [
      'pages by property',
      ['sync', ...SITE, '--aggregation', 'byProperty'],
      'does not aggregate by property what is grouped by page',
    ],
    [
      'pages by property, by a filter',
      [
        'sync',
        ...SITE,
        '--datasets',
        'query',
        '--aggregation',
        'byproperty',
        '--filter',
        'page includes /x/',
      ],
      'does not aggregate by property what is filtered by page',
    ],
    [
      'Discover by property',
      ['sync', ...SITE, '--types', 'discover', '--datasets', 'country', '--aggregation', 'byProperty'],
      'does not aggregate discover by property',
    ],
    [
      'a filter twice over',
      ['sync', ...SITE, '--datasets', 'page+searchAppearance', '--filter', 'searchAppearance equals VIDEO'],
      'cannot be filtered too',
    ],
    ['no dataset', ['sync', ...SITE, '--datasets', ','], '--datasets names none'],
    ['an unknown type', ['sync', ...SITE, '--types', 'web,maps'], '"maps" is not a search type'],
    [
      'an unknown level',
      ['sync', ...SITE, '--log-level', 'loud'],
      'Use one of error, warn, info, debug, trace',
    ],
    [
      'another database',
      ['sync', ...SITE, '--database-url', 'mysql://a:geheim1@b/c'],
      'is not a PostgreSQL URL',
    ],
    ['an open line', ['sync', ...SITE, '--api-root', 'http://example.com/'], 'only over https'],
    ['no such file', ['sync', ...SITE, '--credentials', 'nowhere.json'], 'there is no such file'],
  ])('%s', async (_, args, words) => {
    const { code, stdout, stderr } = await runHere(args);
    expect(stderr).toContain(words);
    expect(code).toBe(2);
    expect(stdout).toBe('');
    expect(stderr.trimEnd().split('\n').length).toBeLessThanOrEqual(2);
    expect(stderr).toMatch(/^longtail: /);
    expect(stderr).not.toMatch(STACK_TRACE);
    expect(stderr).not.toContain('geheim1');
  });

  it('ends the process with it, too', async () => {
    const { code, stdout, stderr } = await run(['sync', '--site', 'example.com']);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(/^longtail: "example.com" is not a property’s name.\nDid you mean .*\n$/);
  });

  it('reads the variables with the same care', async () => {
    const wrong = { DATABASE_URL: 'host=db password=geheim1', LONGTAIL_API_ROOT: 'http://example.com/' };
    const database = await runHere(['sync', ...SITE], { DATABASE_URL: wrong.DATABASE_URL });
    expect(database).toMatchObject({
      code: 2,
      stderr: expect.stringContaining('DATABASE_URL is not a PostgreSQL URL'),
    });
    expect(database.stderr).not.toContain('geheim1');
    const root = await runHere(['sites'], { LONGTAIL_API_ROOT: wrong.LONGTAIL_API_ROOT });
    expect(root).toMatchObject({ code: 2, stderr: expect.stringContaining('LONGTAIL_API_ROOT') });
  });

  it('credentials that are none', async () => {
    const { code, stderr } = await runHere(['sites'], {
      GOOGLE_APPLICATION_CREDENTIALS: '/nowhere/key.json',
    });
    expect(code).toBe(2);
    expect(stderr).toContain('GOOGLE_APPLICATION_CREDENTIALS names /nowhere/key.json');
  });
});

describe('status where nothing is', () => {
  it('says so, and what to do', async () => {
    const { code, stdout } = await run(['status']);
    expect(code).toBe(0);
    expect(stdout).toContain('Fetch it: npx longtail sync --site');
  });

  it('is an empty list in JSON', async () => {
    expect(await run(['status', '--json'])).toMatchObject({
      code: 0,
      stdout: '{"months":[],"failed":[],"capped":[]}\n',
    });
  });
});
