/** `longtail index`: creates, drops or lists the indexes on the rows. */
import { existsSync } from 'node:fs';
import { LongtailError } from '../../../domain/errors.ts';
import { connect, type Database, place } from '../../../postgres/connection/connect.ts';
import {
  createIndex,
  dropIndex,
  type FactIndex,
  INDEXED_COLUMNS,
  type IndexedColumn,
  type IndexProgress,
  readIndexes,
} from '../../../postgres/schema/fact-indexes.ts';
import { readFacts, readState, refuse } from '../../../postgres/schema/schema-state.ts';
import { duration, megabytes, table } from '../../../report/render.ts';
import { usageError } from '../../process/errors.ts';
import { EXIT } from '../../process/exit-code.ts';
import { namedDatabase, openDatabase } from '../database-place.ts';
import type { Session } from '../session.ts';

/** The options, read and each right by itself. */
export interface IndexFlags {
  readonly page?: boolean;
  readonly query?: boolean;
  readonly drop?: boolean;
  readonly databaseUrl?: string;
  readonly json?: boolean;
}

const EMBEDDED_DIRECTORY = '.longtail';
/** After a signal, the way out is short. */
const INTERRUPTED_CLOSE_MS = 250;

/** @throws LongtailError where the database cannot be used. */
export async function runIndex(flags: IndexFlags, session: Session): Promise<void> {
  const columns = INDEXED_COLUMNS.filter((column) => flags[column] === true);
  if (flags.drop === true && columns.length === 0)
    throw usageError('--drop does not say which.', `For example: ${session.self} index --page --drop`);
  if (namedDatabase(flags.databaseUrl, session.env) === undefined && !existsSync(EMBEDDED_DIRECTORY))
    throw usageError(
      `There is no embedded PostgreSQL under ${EMBEDDED_DIRECTORY}/ yet.`,
      `Fetch something first: ${session.self} sync --site sc-domain:example.com`,
    );
  const { signal, asked } = session.catchSignals('Stopping: what was begun of the index is removed.');
  const opened = await Promise.race([openDatabase(flags.databaseUrl, session), asked]);
  if (opened === undefined) return session.endWith(EXIT.interrupted);
  try {
    // One works, the other watches.
    const connecting = connect(opened.url, { max: 2, applicationName: 'longtail index' });
    const database = await Promise.race([connecting, asked]);
    if (database === undefined) return session.endWith(EXIT.interrupted);
    try {
      await requireTables(database.sql);
      const isWhole = await workOn(database, columns, flags, session, signal);
      if (!isWhole) return session.endWith(EXIT.interrupted);
      const indexes = await readIndexes(database.sql);
      if (flags.json === true) session.output.print(JSON.stringify({ indexes }));
      else session.output.print(describeIndexes(indexes, session));
    } finally {
      await database.close(signal.aborted ? { timeoutMs: 0 } : {});
    }
  } finally {
    await opened.close(signal.aborted ? { waitMs: INTERRUPTED_CLOSE_MS } : {});
  }
}

async function requireTables(sql: Database['sql']): Promise<void> {
  const state = await readState(sql, await readFacts(sql));
  refuse(state, place(sql));
  if (state.kind !== 'empty') return;
  throw new LongtailError(
    'MIGRATION_FAILED',
    `The ${place(sql)} has no tables of Longtail yet.`,
    'Run longtail sync first: it creates them.',
  );
}

/** Resolves to whether all was done: false when a signal came. */
async function workOn(
  database: Database,
  columns: readonly IndexedColumn[],
  flags: IndexFlags,
  { output, clock, self }: Session,
  signal: AbortSignal,
): Promise<boolean> {
  for (const column of columns) {
    if (flags.drop === true) {
      const wasThere = await dropIndex(database, column);
      output.note(wasThere ? `The index on ${column} is dropped.` : `There is no index on ${column}.`);
      continue;
    }
    const startedMs = clock.now();
    let phase = '';
    const onProgress = (progress: IndexProgress): void => {
      output.live([`  ${progressLine(progress)}, ${duration(clock.now() - startedMs)}`]);
      // Without a terminal there are no live lines: a line for each phase.
      if (!output.isTerminal && progress.phase !== phase) output.note(`${column}: ${progress.phase}`);
      phase = progress.phase;
    };
    try {
      const made = await createIndex(database, column, { clock, signal, onProgress });
      if (made === undefined) {
        const left = (await readIndexes(database.sql)).find((index) => index.column === column);
        if (left?.state === 'invalid')
          output.note(
            `Others are writing, so what was begun of the index is still there: ${self} index --${column} --drop removes it.`,
          );
        return false;
      }
      output.note(
        `The index on ${column} is there: ${megabytes(made.bytes)}, ${duration(clock.now() - startedMs)}.`,
      );
    } finally {
      output.live([]);
    }
    if (signal.aborted) return false;
  }
  return true;
}

function progressLine({ column, phase, share }: IndexProgress): string {
  return `${column}: ${phase}${share === null ? '' : ` ${Math.floor(share * 100)} %`}`;
}

function describeIndexes(indexes: readonly FactIndex[], { output, self }: Session): string {
  const rows = indexes.map(({ column, state, bytes }) => [
    column,
    STATES[state],
    bytes === 0 ? '–' : megabytes(bytes),
  ]);
  const shown = table(
    [{ title: 'Index' }, { title: 'State' }, { title: 'Size', align: 'right' }],
    rows,
    output.colours.dim,
  );
  const broken = indexes.filter(({ state }) => state === 'invalid');
  const next = broken.map(
    ({ column }) =>
      `  The index on ${column} was not finished: ${self} index --${column} makes it anew, --drop removes it.`,
  );
  return [shown, ...next].join('\n');
}

const STATES: Readonly<Record<FactIndex['state'], string>> = {
  none: 'none',
  building: 'being created',
  invalid: 'not finished',
  valid: 'there',
};
