import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseDataset } from '../../src/domain/dataset.ts';
import { startEmulator } from '../../src/emulator/index.ts';
import { createSystemModel } from '../../src/model/index.ts';
import { readConfig } from '../../src/sync/config.ts';
import { createRateLimiter } from '../../src/sync/limiter.ts';
import { readLimits } from '../../src/sync/option-limits.ts';

const checkout = fileURLToPath(new URL('../..', import.meta.url));

/** What somebody writes whose compiler is as strict as it can be. */
const CONSUMER = `
import { createRateLimiter, createSync, type DatasetName, type SyncOptions } from 'longtail';
import { startEmulator } from 'longtail/emulator';
import { migrate } from 'longtail/migrate';
import { createSystemModel } from 'longtail/model';

interface Settings { readonly qpm: number | undefined; readonly types: SyncOptions['searchTypes']; readonly names: string[] }
declare const settings: Settings;
declare const signal: AbortSignal | undefined;

const limiter = createRateLimiter({ requestsPerMinute: settings.qpm, extraBudgets: undefined, inspect: undefined, clock: undefined });
const sync = createSync({
  siteUrl: 'sc-domain:example.com',
  database: undefined, from: undefined, to: undefined, days: undefined,
  datasets: ['page', 'query+page', 'date', 'device+country+query+page', 'searchAppearance'],
  searchTypes: settings.types, filters: undefined, aggregation: undefined,
  maxConcurrency: 'auto', autoConcurrency: { start: undefined, most: undefined, soakMs: undefined, slowStart: undefined },
  batchSize: undefined, rowsPerPage: undefined, requestsPerMinute: settings.qpm, extraBudgets: undefined,
  maxAttempts: undefined, refresh: undefined, acceptShrunk: undefined, wait: undefined, credentials: undefined, apiRoot: undefined,
  tokenUrl: undefined, rateLimiter: limiter, migrate: undefined, prepare: undefined, nudgeHeap: undefined, haltDeadlineMs: undefined, inspect: undefined,
});
export const outcome = sync.run({ signal });
export const named = createSync({ siteUrl: 'sc-domain:example.com', datasets: settings.names });
export const emulator = startEmulator({ port: undefined, quotas: { perSiteQpm: undefined }, tokens: { expiresInS: undefined }, rowsOn: undefined });
export const model = createSystemModel({ workers: undefined });
export { migrate };

// An editor offers these, and no dimension twice.
type Offered<Name extends string> = [Extract<DatasetName, Name>] extends [never] ? false : true;
export const offered: [true, true, true, true, false, true, false] = [] as unknown as [
  Offered<'date'>, Offered<'page+query'>, Offered<'country+page'>, Offered<'query+device+page+country'>,
  Offered<'page+page'>, Offered<'page+searchAppearance'>, Offered<'hour+date'>,
];
// @ts-expect-error: Google has no such search type.
createSync({ siteUrl: 'sc-domain:example.com', searchTypes: ['maps'] });
// @ts-expect-error: it has none in letters.
createSync({ siteUrl: 'sc-domain:example.com', requestsPerMinute: '1200' });
`;

describe('a project with the strictest compiler', () => {
  let folder = '';
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'longtail-types-'));
    await mkdir(join(folder, 'node_modules/@types'), { recursive: true });
    for (const name of ['@types/node', 'undici-types']) {
      await symlink(join(checkout, 'node_modules', name), join(folder, 'node_modules', name));
    }
    await symlink(checkout, join(folder, 'node_modules/longtail'));
    await writeFile(join(folder, 'package.json'), '{"name":"consumer","private":true}');
    await writeFile(join(folder, 'module.mts'), CONSUMER);
    await writeFile(join(folder, 'common.cts'), CONSUMER);
    const compilerOptions = {
      target: 'es2024',
      lib: ['es2024', 'esnext.disposable'],
      module: 'nodenext',
      strict: true,
      exactOptionalPropertyTypes: true,
      noUncheckedIndexedAccess: true,
      noPropertyAccessFromIndexSignature: true,
      verbatimModuleSyntax: false,
      types: ['node'],
      noEmit: true,
      skipLibCheck: true,
    };
    await writeFile(
      join(folder, 'tsconfig.json'),
      JSON.stringify({ compilerOptions, include: ['*.mts', '*.cts'] }),
    );
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('compiles against the package, as a module and as CommonJS', async () => {
    const tsc = join(checkout, 'node_modules/.bin/tsc');
    const { stdout } = await promisify(execFile)(tsc, ['-p', folder], { cwd: folder }).catch(
      (error: { readonly stdout: string }) => error,
    );
    expect(stdout).toBe('');
  });
});

describe('undefined is the same as leaving an option out', () => {
  const names = [
    ...[
      'database',
      'from',
      'to',
      'days',
      'datasets',
      'searchTypes',
      'maxConcurrency',
      'autoConcurrency',
      'batchSize',
    ],
    ...[
      'rowsPerPage',
      'requestsPerMinute',
      'extraBudgets',
      'maxAttempts',
      'refresh',
      'acceptShrunk',
      'wait',
      'credentials',
    ],
    ...['apiRoot', 'tokenUrl', 'rateLimiter', 'migrate', 'prepare', 'nudgeHeap', 'haltDeadlineMs', 'inspect'],
  ];

  it.each(names)('of a synchronisation: %s', (name) => {
    const today = '2026-05-01';
    const left = readConfig({ siteUrl: 'sc-domain:example.com' }, today);
    expect(readConfig({ siteUrl: 'sc-domain:example.com', [name]: undefined }, today)).toEqual(left);
  });

  it('of a rate limiter', () => {
    const options = {
      requestsPerMinute: undefined,
      extraBudgets: undefined,
      inspect: undefined,
      clock: undefined,
    };
    expect(readLimits(options)).toEqual(readLimits({}));
    createRateLimiter(options).close();
  });

  it('of the emulator: its quotas and tokens, too', async () => {
    const emulator = await startEmulator({
      sites: undefined,
      port: undefined,
      quotas: { perSiteQpm: undefined, perUserQpm: undefined, perProjectQpm: undefined, perDay: undefined },
      tokens: {
        expiresInS: undefined,
        revoked: undefined,
        publicKey: undefined,
        requireIssuedTokens: undefined,
      },
    });
    try {
      const body = new URLSearchParams({
        grant_type: 'refresh_token',
        refresh_token: 'x',
        client_id: 'y',
        client_secret: 'z',
      });
      const token = await fetch(`${emulator.url}token`, { method: 'POST', body });
      expect(await token.json()).toMatchObject({ expires_in: 3_599 });
      const query = await fetch(
        `${emulator.url}webmasters/v3/sites/sc-domain%3Aexample.com/searchAnalytics/query`,
        {
          method: 'POST',
          headers: { authorization: 'Bearer x', 'content-type': 'application/json' },
          body: JSON.stringify({ startDate: '2026-01-01', endDate: '2026-01-01' }),
        },
      );
      expect(query.status).toBe(200);
    } finally {
      await emulator.close();
    }
  });

  it('of the model', () => {
    expect(createSystemModel({ workers: undefined, slices: undefined, rare: undefined }).options).toEqual(
      createSystemModel().options,
    );
  });
});

it('every name that an editor offers is one that is understood', () => {
  const dimensions = ['page', 'query', 'country', 'device', 'searchAppearance', 'hour'];
  const names = (used: readonly string[]): string[] =>
    dimensions
      .filter((name) => !used.includes(name))
      .flatMap((name) => [[...used, name].join('+'), ...names([...used, name])]);
  const all = names([]);
  expect(all).toHaveLength(1_956);
  for (const name of all) expect(parseDataset(name)).toHaveProperty('dataset');
});
