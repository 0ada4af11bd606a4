import { execFileSync } from 'node:child_process';
import { chmod, mkdtemp, open, rm, statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startTestServer, type TestServer } from '../../support/postgres.ts';

/** A PostgreSQL on a disk of its own, which can be filled. */
export type SmallDisk = AsyncDisposable &
  (
    | { readonly server: TestServer; fill(): Promise<void>; free(): Promise<void> }
    | { readonly skipped: string }
  );

const SIZE_MB = 400;
/** Left on the full disk: enough to connect, not enough for the rows. */
const LEFT_BYTES = 6_000_000;

export async function fillDisk(): Promise<SmallDisk> {
  const disk = await mkdtemp(join(tmpdir(), 'longtail-disk-'));
  const nothing = async (): Promise<void> => rm(disk, { recursive: true, force: true });
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${SIZE_MB}m,mode=755`, 'tmpfs', disk], {
      stdio: 'pipe',
    });
  } catch {
    return {
      skipped: 'a small file system cannot be mounted here: that takes root, and the right to mount',
      [Symbol.asyncDispose]: nothing,
    };
  }
  const unmount = async (): Promise<void> => {
    execFileSync('umount', ['-l', disk], { stdio: 'pipe' });
    await nothing();
  };
  const before = process.env.TMPDIR;
  try {
    await chmod(disk, 0o755);
    // Where the server's process makes its folder.
    process.env.TMPDIR = disk;
    const server = await startTestServer({ settings: { max_wal_size: '64MB', min_wal_size: '32MB' } });
    const ballast = join(disk, 'ballast');
    return {
      server,
      async fill() {
        const { bavail, bsize } = await statfs(disk);
        const file = await open(ballast, 'w');
        const chunk = Buffer.alloc(1 << 20);
        for (let left = bavail * bsize - LEFT_BYTES; left > 0; left -= chunk.length)
          await file.write(chunk, 0, Math.min(chunk.length, left));
        await file.close();
      },
      async free() {
        await rm(ballast);
        // Out of room for its log the server itself goes down.
        await server.stop('immediate');
        await server.start();
      },
      async [Symbol.asyncDispose]() {
        await server.close();
        await unmount();
      },
    };
  } catch (error) {
    await unmount();
    throw error;
  } finally {
    if (before === undefined) delete process.env.TMPDIR;
    else process.env.TMPDIR = before;
  }
}
