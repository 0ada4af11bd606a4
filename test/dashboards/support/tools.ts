/** Prometheus and its tool, where this machine has them. They are never downloaded. */
import { execFileSync } from 'node:child_process';

function versionOf(program: string): string | undefined {
  try {
    const text = execFileSync(program, ['--version'], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    return /version (\S+)/.exec(text)?.[1] ?? 'unknown';
  } catch {
    return undefined;
  }
}

/** A reason to skip, or undefined: install Debian's package `prometheus` to run the test. */
export function whyNot(program: 'prometheus' | 'promtool'): string | undefined {
  return versionOf(program) === undefined ? `${program} is not installed (Debian: prometheus)` : undefined;
}
