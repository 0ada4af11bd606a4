/**
 * Writes the dashboard, the alert rules and their runbook. With `--check` it writes nothing, and fails where a file is not
 * what the code says.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { dashboardFiles } from './dashboards/files.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const stale = [...dashboardFiles()].filter(
  ([path, text]) => !existsSync(`${root}${path}`) || readFileSync(`${root}${path}`, 'utf8') !== text,
);
if (process.argv.includes('--check')) {
  for (const [path] of stale) console.error(`${path} is not up to date. Run: npm run docs:dashboards`);
  if (stale.length > 0) process.exitCode = 1;
} else {
  for (const [path, text] of stale) {
    writeFileSync(`${root}${path}`, text);
    console.log(path);
  }
}
