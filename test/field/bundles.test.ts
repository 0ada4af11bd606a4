// @module-tag long
/** Longtail inside other people's bundles and CommonJS programs: one file, in a folder with nothing else in it. */
import { execFile } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { type BuildOptions, build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { emptyDatabase } from '../support/postgres.ts';
import { SITE, settledDays } from '../support/property.ts';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../..', import.meta.url));

/** What a host writes: tables made by hand, one run, and the view asked. */
const PROGRAM = `
import { createRateLimiter, createSync, LongtailError } from 'longtail';
import { startEmulator } from 'longtail/emulator';
import { coordinatorMachine } from 'longtail/machines';
import { migrate } from 'longtail/migrate';
import { createSystemModel, explore } from 'longtail/model';

async function main() {
  const task = JSON.parse(process.argv[2]);
  if (task.database === undefined) {
    const sync = createSync({ siteUrl: task.siteUrl, credentials: { getAccessToken: async () => 'a' } });
    const failure = await sync.run().then(() => undefined, (error) => error);
    console.log(JSON.stringify({ code: failure.code, message: failure.message, nextStep: failure.nextStep, ours: failure instanceof LongtailError }));
    return;
  }
  const first = await migrate(task.database);
  const again = await migrate(task.database);
  const emulator = await startEmulator({ sites: [task.siteUrl], seed: 1 });
  const rateLimiter = createRateLimiter({ requestsPerMinute: 40_000 });
  const sync = createSync({
    siteUrl: task.siteUrl, database: task.database, from: task.from, to: task.to, datasets: ['page', 'date'], migrate: false,
    credentials: { file: task.keyFile }, tokenUrl: emulator.url + 'token', apiRoot: emulator.url, rateLimiter,
  });
  const outcome = await sync.run();
  await sync.close();
  await rateLimiter.close();
  await emulator.close();
  const { violation } = explore(createSystemModel({ workers: 1, slices: [1] }));
  console.log(JSON.stringify({
    made: first.applied > 0, again: again.applied, status: outcome.status, slices: outcome.slices.complete, rows: outcome.rows, failure: outcome.failure,
    machine: coordinatorMachine.id, violation: violation === undefined,
  }));
}
main().catch((error) => { console.error(error); process.exitCode = 1; });
`;

/** A service account's: the library that signs with it is CommonJS. */
const KEY = JSON.stringify({
  type: 'service_account',
  project_id: 'a-project',
  private_key_id: '1',
  private_key: generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({
    type: 'pkcs8',
    format: 'pem',
  }),
  client_email: 'longtail@a-project.iam.gserviceaccount.com',
  client_id: '1',
});

/** CommonJS packages among the dependencies ask for `require`, which an ES module has not. */
const REQUIRE =
  "import { createRequire as longtailRequire } from 'node:module'; const require = longtailRequire(import.meta.url);";

const BUNDLES: Record<string, BuildOptions & { readonly file: string }> = {
  'one ES module': { file: 'main.mjs', format: 'esm', banner: { js: REQUIRE } },
  'one CommonJS file': { file: 'main.cjs', format: 'cjs' },
  'one CommonJS file, minified': { file: 'main.cjs', format: 'cjs', minify: true },
  'an ES module in pieces': {
    file: 'stdin.mjs',
    format: 'esm',
    splitting: true,
    minify: true,
    banner: { js: REQUIRE },
  },
};

describe.each(Object.entries(BUNDLES))('bundled as %s', (_name, { file, ...options }) => {
  let folder = '';
  let program = '';

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'longtail-bundle-'));
    program = join(folder, file);
    const { warnings } = await build({
      stdin: { contents: PROGRAM, resolveDir: root, loader: 'js' },
      bundle: true,
      platform: 'node',
      target: 'node22',
      logLevel: 'silent',
      ...(options.splitting === true
        ? { outdir: folder, outExtension: { '.js': '.mjs' } }
        : { outfile: program }),
      ...options,
    });
    // Said of every module that asks for its own address; ours does without.
    expect(warnings.filter(({ id }) => id !== 'empty-import-meta')).toEqual([]);
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  async function start(task: object): Promise<Record<string, unknown>> {
    const { stdout } = await run(process.execPath, [program, JSON.stringify(task)], {
      cwd: folder,
      env: { PATH: process.env.PATH },
    });
    return JSON.parse(stdout.trim().split('\n').at(-1) ?? '');
  }

  test('it makes its tables, and fetches', async () => {
    await using database = await emptyDatabase();
    const days = settledDays(3);
    const [from, to] = [days.at(0), days.at(-1)].toSorted();
    const keyFile = join(folder, 'key.json');
    await writeFile(keyFile, KEY);
    const answer = await start({ database: database.url, siteUrl: SITE, from, to, keyFile });
    expect(answer).toMatchObject({
      made: true,
      again: 0,
      status: 'complete',
      slices: 6,
      machine: 'coordinator',
      violation: true,
    });
    const [row] = await database.sql<{ rows: number }[]>`select count(*)::int as rows from search_analytics`;
    expect(row?.rows).toBe(answer.rows);
  });

  test('without a database, it says that the embedded one is not in a bundle, and what to do', async () => {
    expect(await start({ siteUrl: SITE })).toMatchObject({
      code: 'EMBEDDED_SERVER',
      ours: true,
      message: expect.stringContaining('bundle'),
      nextStep: expect.stringContaining('database URL'),
    });
  });
});

test('an ES module without `require` cannot read a key file: it says so, and what to do', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'longtail-bundle-'));
  try {
    await using database = await emptyDatabase();
    const program = join(folder, 'main.mjs');
    const keyFile = join(folder, 'key.json');
    await writeFile(keyFile, KEY);
    await build({
      stdin: {
        contents: `
          import { createSync } from 'longtail';
          const [, , siteUrl, database, file] = process.argv;
          createSync({ siteUrl, database, credentials: { file } }).run().catch(({ code, message, nextStep }) =>
            console.log(JSON.stringify({ code, message, nextStep })));`,
        resolveDir: root,
      },
      bundle: true,
      platform: 'node',
      format: 'esm',
      logLevel: 'silent',
      outfile: program,
    });
    const { stdout } = await run(process.execPath, [program, SITE, database.url, keyFile], { cwd: folder });
    expect(JSON.parse(stdout)).toMatchObject({
      code: 'NO_CREDENTIALS',
      message: expect.stringContaining('google-auth-library'),
      nextStep: expect.stringContaining('require'),
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});

test.each([
  'longtail',
  'longtail/machines',
  'longtail/model',
  'longtail/emulator',
  'longtail/inspect',
  'longtail/migrate',
])('%s is required by a CommonJS program', async (entry) => {
  const { stdout, stderr } = await run(
    process.execPath,
    ['--input-type=commonjs', '-e', `console.log(Object.keys(require('${entry}')).length)`],
    { cwd: root },
  );
  expect(Number(stdout)).toBeGreaterThan(0);
  expect(stderr).toBe('');
});

test('nothing that runs asks for Drizzle, nor for a file outside dist', async () => {
  const { stdout } = await run('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: root });
  const [packed] = Object.values(JSON.parse(stdout) as Record<string, { files: { path: string }[] }>);
  const paths = (packed?.files ?? []).map(({ path }) => path);
  const modules = paths.filter((path) => path.endsWith('.js'));
  expect(modules).toContain('dist/postgres/schema/migrations.js');
  for (const path of modules)
    expect(await readFile(join(root, path), 'utf8'), path).not.toMatch(/(from|import\(|require\() ?'drizzle/);
  expect(paths.filter((path) => path.startsWith('drizzle') || /\bschema\.(js|d\.ts)$/.test(path))).toEqual(
    [],
  );
  const { dependencies } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));
  expect(Object.keys(dependencies)).not.toContain('drizzle-orm');
});

test('the migrations in the code are those of the SQL files', async () => {
  await expect(
    run(process.execPath, ['scripts/migrations.ts', '--check'], { cwd: root }),
  ).resolves.toMatchObject({
    stderr: expect.not.stringContaining('Run:'),
  });
});
