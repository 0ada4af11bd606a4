import { appendFileSync, readdirSync } from 'node:fs';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect } from 'vitest';
import { runCommand } from '../../../src/cli/process/run-command.ts';
import { createOutput } from '../../../src/cli/terminal/output.ts';
import { createRedactor } from '../../../src/cli/terminal/redact.ts';
import { systemClock } from '../../../src/domain/clock.ts';
import { STACK_TRACE } from '../../cli/support/longtail.ts';

export const SITE = ['--site', 'sc-domain:example.com'];
/** Well formed, and nobody there: what gets as far as the database is told apart from what was refused before. */
export const NO_DATABASE = 'postgres://someone:geheim1@127.0.0.1:1/nothing';
/** Stands in every place where a secret may stand: no message may repeat it. */
export const SECRET = 'geheim1';

export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** The built command's own tree, its output and its exit code, within this process. `env` is all that it sees. */
export async function runInProcess(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ended> {
  const redactor = createRedactor();
  redactor.hide(env.LONGTAIL_ACCESS_TOKEN?.trim());
  redactor.hidePasswordOf(env.DATABASE_URL);
  const stdout = sink();
  const stderr = sink();
  const code = await runCommand(['node', 'longtail', ...args], {
    env,
    self: 'longtail',
    clock: systemClock,
    output: createOutput({ stdout: stdout.stream, stderr: stderr.stream, env: { NO_COLOR: '1' }, redactor }),
    redactor,
    catchSignals: () => ({ signal: new AbortController().signal, asked: new Promise(() => undefined) }),
    beforeExit: () => undefined,
  });
  return { code, stdout: stdout.text(), stderr: stderr.text() };
}

/** Works in an empty folder of its own, which must be as empty at the end, but for what `write` put there. */
export function useEmptyFolder(): { readonly folder: () => string; readonly left: () => readonly string[] } {
  let folder = '';
  const before = process.cwd();
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'longtail-bad-'));
    await chmod(folder, 0o755);
    process.chdir(folder);
  });
  afterAll(async () => {
    process.chdir(before);
    await rm(folder, { recursive: true, force: true });
  });
  return { folder: () => folder, left: () => readdirSync(folder) };
}

/** Refused: the code, one line that says what is wrong, one with the next step, and nothing else at all. */
export function expectRefusal({ code, stdout, stderr }: Ended, codes: readonly number[] = [2]): void {
  if (process.env.MESSAGES_FILE) appendFileSync(process.env.MESSAGES_FILE, `${code} ${stderr}`);
  expect(codes, stderr).toContain(code);
  expect(stdout).toBe('');
  const lines = stderr.trimEnd().split('\n');
  expect(lines, stderr).toHaveLength(2);
  const [said = '', nextStep = ''] = lines;
  expect(said).toMatch(code === 2 ? /^longtail: \S.{5,}[.?]$/u : /^longtail: [A-Z].{5,}$/u);
  expect(nextStep).toMatch(/^\S.{5,}/u);
  for (const line of lines) expect(line.length).toBeLessThan(600);
  expect(stderr).not.toMatch(STACK_TRACE);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: none may reach a terminal.
  expect(stderr).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e]/);
  expect(stderr).not.toContain(SECRET);
  expect(stderr).not.toMatch(/inside longtail/);
}

function sink() {
  let text = '';
  const stream = {
    write: (chunk: string, done?: () => void) => {
      text += chunk;
      done?.();
      return true;
    },
    on: () => stream,
    once: () => stream,
  };
  // Of a stream, the output uses these alone.
  return { stream: stream as unknown as NodeJS.WritableStream, text: () => text };
}
