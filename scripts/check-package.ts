/** Packs the package and checks the result with publint and attw. Needs a build; uses no registry. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'longtail-packed-'));
try {
  execFileSync('npm', ['pack', '--ignore-scripts', '--silent', '--pack-destination', folder], {
    cwd: root,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const [name = ''] = readdirSync(folder);
  const tarball = join(folder, name);
  const check = (program: string, ...args: string[]): void => {
    execFileSync(join(root, 'node_modules/.bin', program), args, { cwd: root, stdio: 'inherit' });
  };
  check('publint', 'run', tarball, '--strict');
  // Only ES modules: CommonJS hosts load them with `require`, which every supported Node allows.
  check('attw', tarball, '--profile', 'esm-only', '--quiet');
} catch {
  process.exitCode = 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
