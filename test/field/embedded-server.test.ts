// @module-tag long
/**
 * The embedded server as a guest on somebody's machine: among other users' files and links, and in surroundings that it
 * did not choose. Other users are played by root, so most of it is left out where the tests run as somebody else.
 */

import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { describe, expect, onTestFinished, test } from 'vitest';
import { LongtailError } from '../../src/domain/errors.ts';
import { serverAccount } from '../../src/embedded-postgres/account.ts';
import { findNativePackage, usableBinaries } from '../../src/embedded-postgres/binaries.ts';
import { createCluster } from '../../src/embedded-postgres/cluster.ts';
import { startEmbedded } from '../../src/embedded-postgres/embedded.ts';
import { namelessLibrary } from '../../src/embedded-postgres/nameless-user.ts';
import { BIN } from '../support/command.ts';
import { killHard, nothingLeft, runningState, useWorkplace, withSql } from '../support/embedded.ts';

const root = process.getuid?.() === 0;
const CLIENT = fileURLToPath(new URL('../support/embedded-client.ts', import.meta.url));
/** Nobody has these numbers: users without a name. */
const STRANGER = 54_321;
const NAMELESS = 12_345;

const workplace = useWorkplace();

async function refusalOf(options: Parameters<typeof startEmbedded>[0]): Promise<LongtailError> {
  const error: unknown = await startEmbedded(options).then(
    async (server) => {
      await server.close();
      return new Error('it started');
    },
    (reason: unknown) => reason,
  );
  if (!(error instanceof LongtailError)) throw error;
  expect(error.code).toBe('EMBEDDED_SERVER');
  expect(error.message).not.toContain('\n');
  expect(error.nextStep).toContain('--database-url');
  return error;
}

/** All that can be seen of a folder and what is in it. */
function stateOf(folder: string): readonly string[] {
  return ['.', ...readdirSync(folder, { recursive: true, encoding: 'utf8' })].sort().map((name) => {
    const { mode, uid, gid, size, mtimeMs } = lstatSync(join(folder, name));
    return [name, mode, uid, gid, size, mtimeMs].join(' ');
  });
}

interface Said {
  readonly kind: string;
  readonly url?: string;
  readonly code?: string;
  readonly message?: string;
}

interface Spawned {
  readonly child: ChildProcess;
  next(): Promise<Said>;
  end(): Promise<void>;
}

/** A program that uses the embedded server, as another user or in other surroundings. */
function client(
  options: object,
  how: { uid?: number; cwd: string; env?: NodeJS.ProcessEnv; before?: readonly string[] },
): Spawned {
  const [program = process.execPath, ...words] = [
    ...(how.before ?? []),
    process.execPath,
    CLIENT,
    JSON.stringify(options),
  ];
  const child = spawn(program, words, {
    cwd: how.cwd,
    env: { PATH: process.env.PATH, ...how.env },
    stdio: ['pipe', 'pipe', 'inherit'],
    ...(how.uid === undefined ? {} : { uid: how.uid, gid: how.uid }),
  });
  onTestFinished(() => {
    child.kill('SIGKILL');
  });
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    child,
    async next() {
      const line = await lines.next();
      if (line.done) throw new Error('it ended without a word');
      return JSON.parse(line.value);
    },
    async end() {
      child.stdin.end();
      await exited;
    },
  };
}

function succeeds(program: string, words: readonly string[]): boolean {
  return spawnSync(program, words, { stdio: 'ignore' }).status === 0;
}

const mine = (directory: string): void => {
  mkdirSync(directory, { recursive: true });
  chmodSync(directory, root ? 0o711 : 0o700);
};

describe('what somebody has laid into .longtail is not followed, read, given away or removed', () => {
  /** The names of files, and what can be in their place. */
  const FILES = ['lock', 'server.json', 'password', 'server.log', 'server.log.1', 'data-location'];
  const KINDS: Record<string, (path: string, target: string) => void> = {
    'a symbolic link to a file': (path, target) => symlinkSync(target, path),
    'a symbolic link to nothing yet': (path, target) => symlinkSync(`${target}-new`, path),
    'a hard link': (path, target) => linkSync(target, path),
    'a pipe that nobody writes to': (path) => execFileSync('mkfifo', [path]),
    'a folder': (path) => mkdirSync(path),
  };
  const cases = FILES.flatMap((name) => Object.keys(KINDS).map((kind) => ({ name, kind })));

  test.each(cases)('$kind in the place of $name', async ({ name, kind }) => {
    const { folder, options } = workplace();
    const { directory } = options();
    const outside = join(folder, 'outside');
    mkdirSync(outside);
    writeFileSync(join(outside, 'file'), 'somebody’s own\n', { mode: 0o640 });
    mine(directory);
    KINDS[kind]?.(join(directory, name), join(outside, 'file'));
    const before = [...stateOf(outside), ...stateOf(directory)];
    const { message } = await refusalOf(options());
    expect(message).toContain(`${join(directory, name)} is `);
    expect([...stateOf(outside), ...stateOf(directory)]).toEqual(before);
  });

  test.each(['pg18', 'pg17', 'binaries-18.4.0'])(
    'a symbolic link to a folder in the place of %s',
    async (name) => {
      const { folder, options } = workplace();
      const { directory } = options();
      const outside = join(folder, 'outside');
      mkdirSync(outside);
      writeFileSync(join(outside, 'PG_VERSION'), '17\n');
      mine(directory);
      symlinkSync(outside, join(directory, name));
      const before = stateOf(outside);
      expect((await refusalOf(options())).message).toContain(`${join(directory, name)} is a symbolic link`);
      expect(stateOf(outside)).toEqual(before);
    },
  );

  test('a file in the place of the control socket', async () => {
    const { options } = workplace();
    const { directory } = options();
    mine(directory);
    writeFileSync(join(directory, 'control.sock'), 'mine');
    expect((await refusalOf(options())).message).toContain('control.sock is not a socket');
    expect(readFileSync(join(directory, 'control.sock'), 'utf8')).toBe('mine');
  });

  test.each([
    ['lock', 'x'],
    ['data-location', 'x'.repeat(100_000)],
    ['data-location', '/etc\n'],
    ['data-location', '../../etc/0123456789abcdef'],
  ])('a %s that holds something else', async (name, text) => {
    const { options } = workplace();
    const { directory } = options();
    mine(directory);
    writeFileSync(join(directory, name), text, { mode: 0o600 });
    expect((await refusalOf(options())).message).toContain(join(directory, name));
    expect(readFileSync(join(directory, name), 'utf8')).toBe(text);
  });

  test('the text of a PG_VERSION that is none is not repeated, and a link there is not read', async () => {
    const { folder, options } = workplace();
    const data = join(options().directory, 'pg18');
    mine(options().directory);
    mkdirSync(data);
    writeFileSync(join(folder, 'secret'), 'a-secret-of-root');
    symlinkSync(join(folder, 'secret'), join(data, 'PG_VERSION'));
    const { message } = await refusalOf(options());
    expect(message).toBe(`${join(data, 'PG_VERSION')} names no PostgreSQL version.`);
  });

  test.runIf(root)('a file of another user’s', async () => {
    const { options } = workplace();
    const { directory } = options();
    mine(directory);
    writeFileSync(join(directory, 'password'), 'known-to-him', { mode: 0o644 });
    chownSync(join(directory, 'password'), STRANGER, STRANGER);
    expect((await refusalOf(options())).message).toBe(
      `${join(directory, 'password')} belongs to another user (uid ${STRANGER}).`,
    );
  });

  test.runIf(root)('a device', async ({ skip }) => {
    const { options } = workplace();
    const { directory } = options();
    mine(directory);
    const made = succeeds('mknod', [join(directory, 'password'), 'c', '1', '5']);
    if (!made) return skip('no device may be made here');
    expect((await refusalOf(options())).message).toContain('is not a regular file');
  });

  test.runIf(root)('a pointer to a folder that a user filled', async () => {
    const { folder, options } = workplace();
    const { directory } = options();
    mine(directory);
    const his = join(folder, '0123456789abcdef');
    mkdirSync(his);
    chownSync(his, STRANGER, STRANGER);
    writeFileSync(join(directory, 'data-location'), `${his}\n`, { mode: 0o600 });
    expect((await refusalOf(options())).message).toContain(`belongs to another user (uid ${STRANGER})`);
    expect(readdirSync(his)).toEqual([]);
  });
});

describe('whose .longtail it is', () => {
  test.runIf(root)('a shared place for data that a user made is refused', async () => {
    const { folder, options } = workplace();
    const home = join(folder, 'home');
    mkdirSync(home);
    chmodSync(home, 0o700);
    const { sharedDirectory } = options();
    mkdirSync(sharedDirectory);
    chownSync(sharedDirectory, STRANGER, STRANGER);
    const { message } = await refusalOf(options(join(home, '.longtail')));
    expect(message).toContain(`${sharedDirectory} belongs to another user (uid ${STRANGER})`);
    expect(readdirSync(sharedDirectory)).toEqual([]);
  });

  test.runIf(root)('another user’s is refused, and his server is not even asked', async () => {
    const { folder, options } = workplace();
    const { directory } = options();
    mkdirSync(directory);
    const callers: Socket[] = [];
    const his = createServer((socket) => {
      callers.push(socket);
      socket.write('{"kind":"ready","port":5432}\n');
    });
    const controlPath = join(directory, 'control.sock');
    await new Promise<void>((resolve) => his.listen(controlPath, resolve));
    try {
      writeFileSync(join(directory, 'password'), 'his-password');
      writeFileSync(join(directory, 'server.json'), JSON.stringify({ supervisorPid: 1, controlPath }));
      for (const name of ['.', ...readdirSync(directory)]) {
        chmodSync(join(directory, name), 0o777);
        chownSync(join(directory, name), STRANGER, STRANGER);
      }
      const before = stateOf(directory);
      const refusal = await refusalOf(options());
      expect(refusal.message).toBe(`${directory} belongs to another user (uid ${STRANGER}).`);
      expect(refusal.nextStep).toContain(`sudo -u '#${STRANGER}'`);

      // And for a user without any power, in the very same words.
      const victim = client(options(), { uid: NAMELESS, cwd: folder });
      expect(await victim.next()).toMatchObject({ code: 'EMBEDDED_SERVER', message: refusal.message });
      expect(callers).toEqual([]);
      expect(stateOf(directory)).toEqual(before);
    } finally {
      his.close();
    }
  });

  test.runIf(root)('root’s is refused for a user, in one line', async () => {
    const { folder, options } = workplace();
    mine(options().directory);
    const said = await client(options(), { uid: NAMELESS, cwd: folder }).next();
    expect(said).toMatchObject({
      code: 'EMBEDDED_SERVER',
      message: `${options().directory} belongs to another user (uid 0).`,
    });
  });

  test.runIf(root)('a link that a user laid is not followed, whosever folder it leads to', async () => {
    const { folder, options } = workplace();
    const his = join(folder, 'his');
    const roots = join(folder, 'roots');
    for (const path of [his, roots]) mkdirSync(path);
    chownSync(his, STRANGER, STRANGER);
    for (const owner of [STRANGER, 0]) {
      const link = join(his, `.longtail-of-${owner}`);
      execFileSync('ln', ['-s', roots, link]);
      execFileSync('chown', ['-h', `${owner}:${owner}`, link]);
      // Root's own link is no better, where the user may have moved it.
      expect((await refusalOf(options(link))).message).toContain('is a symbolic link');
    }
    expect(readdirSync(roots)).toEqual([]);
  });

  test('one’s own link is followed, but not into a folder with other things', async () => {
    const { folder, options } = workplace();
    mkdirSync(join(folder, 'etc'));
    writeFileSync(join(folder, 'etc/passwd'), '');
    symlinkSync(join(folder, 'etc'), join(folder, '.longtail'));
    expect((await refusalOf(options())).message).toContain('which contains other files ("passwd")');
    expect(readdirSync(join(folder, 'etc'))).toEqual(['passwd']);
  });

  test('a link to nothing is refused, and nothing is made', async () => {
    const { folder, options } = workplace();
    symlinkSync(join(folder, 'nowhere'), join(folder, '.longtail'));
    expect((await refusalOf(options())).message).toContain('.longtail cannot be used');
    expect(existsSync(join(folder, 'nowhere'))).toBe(false);
  });
});

describe('surroundings that it did not choose', () => {
  test('a working directory that is gone is one plain line', async () => {
    const { folder } = workplace();
    const gone = join(folder, 'gone');
    mkdirSync(gone);
    const before = ['sh', '-c', `rmdir '${gone}' && exec "$@"`, 'sh'];
    const said = await client({ sync: false }, { cwd: gone, before }).next();
    expect(said).toMatchObject({
      code: 'EMBEDDED_SERVER',
      message: 'The working directory no longer exists.',
    });
  });

  test.runIf(root)('a folder that may not be written to is one plain line', async () => {
    const { folder, options } = workplace();
    const said = await client(options(), { uid: NAMELESS, cwd: folder }).next();
    expect(said).toMatchObject({ code: 'EMBEDDED_SERVER' });
    expect(said.message).toMatch(/\.longtail cannot be used: EACCES/);
  });

  test.runIf(root)(
    'a full disk and a read-only one are one plain line, and leave nothing half made',
    async ({ skip }) => {
      const { folder, options } = workplace();
      const disk = join(folder, 'disk');
      mkdirSync(disk);
      const mine = { ...options(), directory: join(disk, '.longtail') };
      // In a space of its own, which goes with its processes.
      const onDisk = (flags: string, script: string): readonly string[] => [
        ...['unshare', '-m', 'sh', '-c'],
        `mount -t tmpfs -o mode=755,${flags} none '${disk}' && ${script}`,
        'sh',
      ];
      const [unshare = '', ...words] = onDisk('size=1m', 'true');
      if (!succeeds(unshare, words)) return skip('nothing may be mounted here');
      // Enough for the folder and its short files, not for the data.
      const before = onDisk('size=12m', `"$@"; ls -A '${mine.directory}' >'${folder}/left'`);
      const full = client(mine, { cwd: folder, before });
      const said = await full.next();
      expect(said).toMatchObject({ code: 'EMBEDDED_SERVER' });
      expect(said.message).toMatch(/No space left on device/);
      await full.end();
      const left = readFileSync(join(folder, 'left'), 'utf8').split('\n');
      expect(left).toContain('server.log');
      expect(left.filter((name) => /^(pg|making)/.test(name))).toEqual([]);

      const readOnly = client(mine, { cwd: folder, before: onDisk('ro', 'exec "$@"') });
      expect((await readOnly.next()).message).toMatch(/\.longtail cannot be used: EROFS/);
    },
  );

  test.runIf(root)(
    'under a user id without a name, in a deep folder, with libpq’s variables and a locale that is not there',
    async () => {
      const { folder } = workplace();
      const home = join(folder, 'home');
      const deep = join(home, ...Array.from({ length: 4 }, () => 'deep folder '.repeat(4)));
      mkdirSync(deep, { recursive: true });
      execFileSync('chown', ['-R', `${NAMELESS}:${NAMELESS}`, home]);
      const child = spawn('sh', ['-c', `umask 000 && exec "$@"`, 'sh', process.execPath, BIN, 'database'], {
        cwd: deep,
        uid: NAMELESS,
        gid: NAMELESS,
        env: {
          PATH: process.env.PATH,
          TMPDIR: join(folder, 'missing', 'm'.repeat(80)),
          LC_ALL: 'de_DE.UTF-8',
          LANGUAGE: 'xx',
          TZ: 'Mars/Olympus_Mons',
          PGHOST: 'db.invalid',
          PGPORT: '1',
          PGUSER: 'somebody',
          PGPASSWORD: 'else',
          PGDATABASE: 'other',
          PGDATA: '/nowhere',
          PGOPTIONS: '-c default_transaction_read_only=on',
          PGSSLMODE: 'verify-full',
          PGSERVICE: 'prod',
          PGPASSFILE: '/nowhere/pgpass',
          PGTZ: 'Nowhere',
          PGAPPNAME: 'x',
        },
        stdio: ['ignore', 'pipe', 'pipe'],
      });
      onTestFinished(() => {
        child.kill('SIGKILL');
      });
      let said = '';
      for (const stream of [child.stdout, child.stderr]) {
        stream.setEncoding('utf8').on('data', (text: string) => {
          said += text;
        });
      }
      await expect.poll(() => said, { timeout: 60_000, interval: 50 }).toContain('Ctrl-C stops it.');
      // A URL for other programs, whole.
      const url = /^ {2}(postgres:\/\/\S+)$/m.exec(said)?.[1];
      expect(await withSql(url, (sql) => sql`SELECT current_user, current_database()`)).toEqual([
        { current_user: 'postgres', current_database: 'longtail' },
      ]);
      const directory = join(deep, '.longtail');
      expect(statSync(directory).mode & 0o777).toBe(0o700);
      for (const name of readdirSync(directory)) expect(statSync(join(directory, name)).mode & 0o077).toBe(0);
      const { controlPath } = JSON.parse(readFileSync(join(directory, 'server.json'), 'utf8'));
      child.kill('SIGKILL');
      await nothingLeft(folder);
      expect(existsSync(controlPath)).toBe(false);
    },
  );

  test('the name for the nameless is known for both kinds of machine, and no other', () => {
    const user = { uid: NAMELESS, gid: NAMELESS };
    for (const kind of ['x64', 'arm64']) {
      expect(namelessLibrary(kind, user)?.subarray(0, 4).toString('latin1')).toBe('\x7fELF');
    }
    // adr x0, +0x10d00; ret.
    expect(namelessLibrary('arm64', user)?.subarray(0x400, 0x408).toString('hex')).toBe('00680810c0035fd6');
    expect(namelessLibrary('riscv64', user)).toBeUndefined();
  });

  test('in a folder whose name has a quote, a percent sign, a letter with an accent and a line break', async () => {
    const { folder, options } = workplace();
    const strange = join(folder, 'it\'s "100%20" déjà #1?\nhere ');
    mkdirSync(strange);
    const server = await startEmbedded(options(join(strange, '.longtail')));
    const { supervisorPid } = runningState(server.directory);
    await withSql(server.url, (sql) => sql`CREATE TABLE kept AS SELECT 1 AS number`);
    // It cannot answer: the wait for it has an end all the same.
    process.kill(supervisorPid, 'SIGSTOP');
    const began = Date.now();
    await server.close({ waitMs: 100 });
    expect(Date.now() - began).toBeLessThan(5_000);
    process.kill(supervisorPid, 'SIGCONT');
    await nothingLeft(folder);
  });
});

describe('a folder that is in use', () => {
  test('what its server.json names is not ours to remove, and programs that its postmaster.pid names not ours to end', async () => {
    const { folder, options } = workplace();
    const { directory } = options();
    // As somebody with a careless umask made it.
    mkdirSync(directory);
    chmodSync(directory, 0o777);
    const precious = join(folder, 'longtail-control-abcdef');
    mkdirSync(precious);
    for (const name of ['control.sock', 'thesis.txt']) writeFileSync(join(precious, name), 'years of work');
    const before = stateOf(precious);
    const planted = { supervisorPid: process.pid, controlPath: join(precious, 'control.sock'), port: 99_999 };
    writeFileSync(join(directory, 'server.json'), JSON.stringify(planted), { mode: 0o600 });
    await (await startEmbedded(options())).close();
    expect(stateOf(precious)).toEqual(before);
    expect(statSync(directory).mode & 0o022).toBe(0);

    // Somebody reads our configuration: that looks like a server, and is none. The data came back from a backup, open.
    const data = join(directory, 'pg18');
    const reader = spawn('tail', ['-f', join(data, 'postgresql.conf')], { stdio: 'ignore' });
    try {
      chmodSync(data, 0o755);
      const owner = statSync(data);
      writeFileSync(
        join(data, 'postmaster.pid'),
        `${reader.pid}\n${data}\n1700000000\n5432\n\n127.0.0.1\n 1 1\nready\n`,
      );
      chownSync(join(data, 'postmaster.pid'), owner.uid, owner.gid);
      writeFileSync(
        join(directory, 'server.json'),
        JSON.stringify({ ...planted, controlPath: '/etc/passwd' }),
      );
      await using server = await startEmbedded(options());
      await withSql(server.url, (sql) => sql`SELECT 1`);
      expect([reader.exitCode, reader.signalCode]).toEqual([null, null]);
      expect(statSync(join(directory, 'password')).mode & 0o777).toBe(0o600);
    } finally {
      reader.kill('SIGKILL');
    }
    await nothingLeft(folder);
  });

  test('data of an earlier version keeps its rows and its password, and its role no longer hides public', async () => {
    const { options } = workplace();
    const { directory } = options();
    mine(directory);
    const dataDirectory = join(directory, 'pg18');
    const account = await serverAccount(dataDirectory);
    const binaries = await usableBinaries(await findNativePackage(), account, async () => directory);
    // As it was made then: its superuser called `longtail`, and no word of it in `server.json`.
    await createCluster({ binaries, account, dataDirectory }, { password: 'of-old-times', sync: false });
    writeFileSync(join(directory, 'password'), 'of-old-times', { mode: 0o600 });
    writeFileSync(join(directory, 'server.json'), '{"supervisorPid": 1}', { mode: 0o600 });

    const first = await startEmbedded(options());
    expect(new URL(first.url)).toMatchObject({ username: 'postgres', password: 'of-old-times' });
    await withSql(first.url, async (sql) => {
      await sql`CREATE SCHEMA longtail`;
      await sql`CREATE TABLE of_the_user AS SELECT 1 AS number`;
      expect(await sql`SELECT schemaname FROM pg_tables WHERE tablename = 'of_the_user'`).toEqual([
        { schemaname: 'public' },
      ]);
      const roles = await sql`SELECT rolname FROM pg_roles WHERE rolname !~ '^pg_'`;
      expect(roles.map((role) => role.rolname)).toEqual(['postgres']);
    });
    await first.close();
    // A lost state costs a look, no more.
    rmSync(join(directory, 'server.json'));
    await using second = await startEmbedded(options());
    expect(await withSql(second.url, (sql) => sql`SELECT number FROM of_the_user`)).toEqual([{ number: 1 }]);
    killHard(runningState(directory).serverPid);
    await expect
      .poll(() => withSql(second.url, (sql) => sql`SELECT number FROM of_the_user`).catch(String), {
        timeout: 15_000,
      })
      .toEqual([{ number: 1 }]);
  });
});

describe('a start that is given up', () => {
  test.each([0, 300, 1_000])('after %i ms rejects at once, and leaves no process', async (afterMs) => {
    const { options } = workplace();
    const reason = new Error('enough');
    const giveUp = new AbortController();
    const starting = startEmbedded({ ...options(), signal: giveUp.signal }).then(
      (server) => server.close(),
      (error: unknown) => error,
    );
    await new Promise((resolve) => setTimeout(resolve, afterMs));
    giveUp.abort(reason);
    const abortedAt = performance.now();
    // On a quick machine it may be up by then; then it is there, and closes as ever.
    expect([reason, undefined]).toContain(await starting);
    // No sooner than the set-up that was under way has ended would be ten times as long.
    expect(performance.now() - abortedAt).toBeLessThan(15_000);
  });

  test('before it began starts nothing', async () => {
    const { folder, options } = workplace();
    const reason = new Error('enough');
    await expect(startEmbedded({ ...options(), signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    expect(readdirSync(folder)).toEqual([]);
  });

  test('leaves those alone who wait for the same server', async () => {
    const { options } = workplace();
    const giveUp = new AbortController();
    const one = startEmbedded({ ...options(), signal: giveUp.signal }).catch((error: unknown) => error);
    const other = startEmbedded(options());
    await new Promise((resolve) => setTimeout(resolve, 200));
    giveUp.abort(new Error('enough'));
    await one;
    await using server = await other;
    expect(await withSql(server.url, (sql) => sql`SELECT 1 AS number`)).toEqual([{ number: 1 }]);
  });
});
