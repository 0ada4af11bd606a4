import { describe, expect, it } from 'vitest';
import { runHere } from '../cli/support/here.ts';
import { useLongtail } from '../cli/support/longtail.ts';

const SITE = ['--site', 'sc-domain:example.com'];
const { run } = useLongtail();

describe('an option that is given twice', () => {
  it.each<[string, string[], string]>([
    [
      'two properties',
      ['sync', ...SITE, '--site', 'sc-domain:example.org'],
      'run longtail sync once for each',
    ],
    ['two properties of status', ['status', ...SITE, '--site=https://example.org/'], 'run longtail'],
    ['two first days', ['sync', ...SITE, '--from', '2026-01-01', '--from', '2026-01-02'], 'Give it once.'],
    ['two last days', ['sync', ...SITE, '--to', '2026-01-01', '--to', '2026-01-02'], 'Give it once.'],
    ['two numbers of days', ['sync', ...SITE, '--days', '1', '--days=2'], 'Give it once.'],
    [
      'two lists of datasets',
      ['sync', ...SITE, '--datasets', 'page', '--datasets', 'query'],
      '--datasets page,query',
    ],
    ['two lists of types', ['sync', ...SITE, '--types', 'web', '--types', 'image'], '--types web,image'],
    [
      'two databases',
      [
        'sync',
        ...SITE,
        '--database-url',
        'postgres://a:geheim1@x/y',
        '--database-url',
        'postgres://a:geheim2@x/y',
      ],
      'Give it once.',
    ],
    ['two keys', ['sites', '--credentials', 'a.json', '--credentials', 'b.json'], 'Give it once.'],
    [
      'two roots',
      ['sites', '--api-root', 'https://a.example/', '--api-root', 'https://b.example/'],
      'Give it once.',
    ],
    [
      'two token URLs',
      ['sites', '--token-url', 'https://a.example/', '--token-url', 'https://b.example/'],
      'Give it once.',
    ],
    [
      'two concurrencies',
      ['sync', ...SITE, '--max-concurrency', '3', '--max-concurrency', 'auto'],
      'Give it once.',
    ],
    ['two batch sizes', ['sync', ...SITE, '--batch-size', '3', '--batch-size', '4'], 'Give it once.'],
    ['two quotas', ['sync', ...SITE, '--qpm', '3', '--qpm', '4'], 'Give it once.'],
    ['two levels', ['sync', ...SITE, '--log-level', 'info', '--log-level', 'debug'], 'Give it once.'],
    ['two ports of the emulator', ['emulator', '--port', '0', '--port', '1'], 'Give it once.'],
    ['two demos', ['demo', '--days', '3', '--days', '4'], 'Give it once.'],
  ])('with two values is refused: %s', async (_, args, instead) => {
    const { code, stdout, stderr } = await runHere(args);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toMatch(/^longtail: --[a-z-]+ is given twice, with two values\.\n/);
    expect(stderr).toContain(instead);
    expect(stderr.trimEnd().split('\n')).toHaveLength(2);
    expect(stderr).not.toMatch(/geheim/);
  });

  it('with the same value is no fault', async () => {
    const { stderr } = await runHere(['sync', ...SITE, ...SITE, '--days', '0']);
    expect(stderr).toContain('--days "0" is not a whole number');
  });
});

describe('at 80 columns', () => {
  it.each(['', 'demo', 'sync', 'sites', 'status', 'metrics', 'emulator', 'database'])(
    'longtail %s --help needs no more',
    async (command) => {
      const { code, stdout } = await runHere([...(command === '' ? [] : [command]), '--help']);
      expect(code).toBe(0);
      for (const line of stdout.split('\n')) expect(line.length, line).toBeLessThanOrEqual(80);
    },
  );
});

describe('what was typed is not repeated when it may be a secret', () => {
  const secrets = [
    'ya29.geheim1-geheim1',
    '1//0geheim1geheim1',
    'GOCSPX-geheim1geheim1',
    '{"private_key":"geheim1"}',
    'postgres://me:geheim1@db/x',
    'client_secret=geheim1',
    '-----BEGIN PRIVATE KEY-----\ngeheim1',
    Buffer.from('{"client_secret":"geheim1"}').toString('base64'),
  ];
  const places: readonly (readonly [string, (secret: string) => string[]])[] = [
    ['as a command', (secret) => [secret]],
    ['as a word too many', (secret) => ['sync', ...SITE, secret]],
    ['behind an unknown option', (secret) => ['sync', `--token=${secret}`]],
    ...[
      ...[
        '--site',
        '--from',
        '--to',
        '--days',
        '--datasets',
        '--types',
        '--max-concurrency',
        '--batch-size',
        '--qpm',
      ],
      ...['--log-level', '--database-url', '--credentials', '--api-root', '--token-url'],
    ].map(
      (option) =>
        [
          `as ${option}`,
          (secret: string) => ['sync', ...(option === '--site' ? [] : SITE), `${option}=${secret}`],
        ] as const,
    ),
    ['as the emulator’s port', (secret) => ['emulator', '--port', secret]],
    ['as the emulator’s property', (secret) => ['emulator', '--site', secret]],
    ['as the emulator’s faults', (secret) => ['emulator', '--faults', secret]],
    ['as the command to help with', (secret) => ['help', secret]],
  ];
  it.each(places)('%s', async (_, place) => {
    for (const secret of secrets) {
      const args = place(secret);
      // A database that is well named is no fault; it is only not there.
      if (args.at(-1)?.startsWith('--database-url=postgres')) continue;
      const { code, stdout, stderr } = await runHere(args);
      expect(code, stderr).toBe(2);
      expect(stdout + stderr).not.toContain('geheim1');
      expect(stdout + stderr).not.toContain(secret.slice(-16));
    }
  });
});

it('nothing but what was asked for is written: no warning of a package’s', async () => {
  expect(await run(['--version'], { env: { NODE_OPTIONS: '--pending-deprecation' } })).toMatchObject({
    stderr: '',
  });
  const { stderr } = await run(['sites'], { env: { GOOGLE_APPLICATION_CREDENTIALS: '/nowhere.json' } });
  expect(stderr.trimEnd().split('\n')).toHaveLength(2);
});
