/**
 * Records `longtail demo` in a terminal of 80 columns and writes `docs/demo.svg`. Needs script(1) of util-linux, and a
 * build (`npm run build`). Run it on an otherwise idle machine: the figures are part of the picture.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Piece, replay } from './recording/replay.ts';
import { terminalSvg } from './recording/terminal-svg.ts';

/** The height of the demo's results in rows, so that the last picture shows them all. */
const SIZE = { columns: 80, rows: 34 } as const;
const PROMPT = '\u001b[2m$\u001b[22m npx longtail demo\r\n\r\n';
const LONGEST_WAIT_MS = 1_200;
const LIMIT_MS = 180_000;
const MAX_BYTES = 60_000;
const TARGET = 'docs/demo.svg';
const root = fileURLToPath(new URL('..', import.meta.url));

const folder = mkdtempSync(join(tmpdir(), 'demo-'));
try {
  const pieces = [{ afterMs: 0, bytes: new TextEncoder().encode(PROMPT) }, ...(await record(folder))];
  const recording = await replay(pieces, SIZE, LONGEST_WAIT_MS);
  const svg = terminalSvg(recording, {
    title: 'longtail demo in a terminal',
    description:
      'The demo starts an embedded PostgreSQL, copies 150 days of a made-up property, shows its progress, ' +
      `then the ten top queries, the totals, and the next steps. Waits are cut to ${LONGEST_WAIT_MS / 1_000} s.`,
  });
  if (Buffer.byteLength(svg) > MAX_BYTES) {
    throw new Error(
      `${TARGET} would have ${Buffer.byteLength(svg)} bytes; more than ${MAX_BYTES} are too many.`,
    );
  }
  writeFileSync(join(root, TARGET), svg);
  console.log(`${TARGET}: ${Buffer.byteLength(svg)} bytes, ${(recording.endMs / 1_000).toFixed(1)} s.`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}

/** The output of the command, piece by piece. */
async function record(cwd: string): Promise<Piece[]> {
  const command = `stty cols ${SIZE.columns} rows ${SIZE.rows}; exec "$NODE" "$LONGTAIL" demo`;
  const child = spawn(
    'script',
    ['--quiet', '--return', '--log-out', 'output', '--log-timing', 'timing', '--command', command],
    {
      cwd,
      stdio: ['ignore', 'ignore', 'inherit'],
      timeout: LIMIT_MS,
      env: {
        PATH: process.env.PATH,
        HOME: process.env.HOME,
        LANG: 'C.UTF-8',
        TERM: 'xterm-256color',
        SHELL: '/bin/sh',
        NODE: process.execPath,
        LONGTAIL: join(root, 'bin/longtail.js'),
      },
    },
  );
  const [code] = await once(child, 'close');
  if (code !== 0) throw new Error(`longtail demo, or script(1), ended with ${code ?? 'a signal'}.`);
  return piecesOf(readFileSync(join(cwd, 'output')), readFileSync(join(cwd, 'timing'), 'utf8'));
}

/** script(1) writes a heading of one line, which is not in the list of times. */
function piecesOf(output: Uint8Array, timing: string): Piece[] {
  let offset = output.indexOf(0x0a) + 1;
  return timing
    .trim()
    .split('\n')
    .map((line) => {
      const [seconds, bytes] = line.split(' ').map(Number);
      if (seconds === undefined || bytes === undefined)
        throw new Error(`script(1) timed something unknown: ${line}`);
      const piece = { afterMs: seconds * 1_000, bytes: output.subarray(offset, offset + bytes) };
      offset += bytes;
      return piece;
    });
}
