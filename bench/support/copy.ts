/** Copies the rows of a synchronisation into the same table elsewhere, to measure how fast PostgreSQL itself can be. */
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { createReadStream, createWriteStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { promisify } from 'node:util';
import postgres from 'postgres';
import { FACT_COLUMNS } from '../../src/postgres/copy/encode-rows.ts';
import { migrate } from '../../src/postgres/schema/migrate.ts';
import { type BenchServer, withDatabase } from './postgres.ts';

const run = promisify(execFile);
const TARGET = `longtail.fact (${FACT_COLUMNS})`;
const ROWS_A_FETCH = 5_000;
/** Larger chunks sometimes make the driver fail. */
const CHUNK_BYTES = 64 * 1024;

export interface CopiedRows {
  /** Two files with half of the rows each, in COPY's text format. */
  readonly files: readonly [string, string];
  readonly bytes: number;
}

/**
 * Writes the facts of a database into two files. Uses a cursor instead of COPY: the driver's stream of a COPY to the
 * client does not always end.
 */
export async function exportRows(url: string, folder: string): Promise<CopiedRows> {
  const sql = postgres(url, { max: 1, fetch_types: false });
  try {
    const [row] = await sql<{ middle: string }[]>`
      select percentile_disc(0.5) within group (order by id)::text as middle from longtail.slice where rows > 0`;
    const middle = BigInt(row?.middle ?? '0');
    const files = [join(folder, 'first.copy'), join(folder, 'second.copy')] as const;
    for (const [index, file] of files.entries()) {
      const part = `slice_id ${index === 0 ? '<=' : '>'} ${middle}`;
      const facts = sql.unsafe(`select ${FACT_COLUMNS} from longtail.fact where ${part}`).values();
      await pipeline(Readable.from(factLines(facts.cursor(ROWS_A_FETCH))), createWriteStream(file));
    }
    const sizes = await Promise.all(files.map(async (file) => (await stat(file)).size));
    return { files, bytes: sizes.reduce((total, size) => total + size, 0) };
  } finally {
    await sql.end();
  }
}

async function* factLines(fetched: AsyncIterable<readonly unknown[]>): AsyncGenerator<string> {
  for await (const rows of fetched) {
    const lines = rows.map((row) => (Array.isArray(row) ? `${row.map(copyField).join('\t')}\n` : ''));
    yield lines.join('');
  }
}

const copyField = (value: unknown): string => (value === null ? '\\N' : escaped(String(value)));

const ESCAPES: Readonly<Record<string, string>> = { '\\': '\\\\', '\t': '\\t', '\n': '\\n', '\r': '\\r' };
const escaped = (text: string): string =>
  text.replace(/[\\\t\n\r]/g, (character) => ESCAPES[character] ?? character);

export interface CopyFigure {
  readonly wallMs: number;
  /** CPU time of the server's processes only; null if the system does not report it. */
  readonly serverCpuMs: number | null;
}

/** Loads the files into a new table: one after another, or in parallel with one connection each. */
export async function measureCopy(
  server: BenchServer,
  { files }: CopiedRows,
  how: { readonly connections: 1 | 2; readonly psql: boolean },
): Promise<CopyFigure> {
  const load = how.psql ? copyByPsql : copyByDriver;
  return await withDatabase(server, async (url) => {
    await migrate(url);
    const cpuBefore = await server.cpuMs();
    const startedMs = performance.now();
    if (how.connections === 1) await load(url, files);
    else await Promise.all(files.map((file) => load(url, [file])));
    const wallMs = performance.now() - startedMs;
    const cpuAfter = await server.cpuMs();
    return { wallMs, serverCpuMs: cpuBefore === null || cpuAfter === null ? null : cpuAfter - cpuBefore };
  });
}

async function copyByPsql(url: string, files: readonly string[]): Promise<void> {
  const { hostname, port, username, password, pathname } = new URL(url);
  const commands = files.flatMap((file) => ['-c', `\\copy ${TARGET} from '${file.replaceAll("'", "''")}'`]);
  const place = ['-h', hostname, '-p', port, '-U', username, '-d', pathname.slice(1)];
  await run('psql', ['-X', '-q', '-v', 'ON_ERROR_STOP=1', ...place, ...commands], {
    // Not as an argument, which everyone on the machine can read.
    env: { PATH: process.env.PATH, PGPASSWORD: decodeURIComponent(password) },
  });
}

async function copyByDriver(url: string, files: readonly string[]): Promise<void> {
  const sql = postgres(url, { max: 1 });
  try {
    for (const file of files) {
      const rows = await sql.unsafe(`copy ${TARGET} from stdin`).writable();
      const source = createReadStream(file, { highWaterMark: CHUNK_BYTES });
      const done = once(rows, 'finish');
      await pipeline(source, rows);
      await done;
    }
  } finally {
    await sql.end();
  }
}
