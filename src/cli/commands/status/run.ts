/** `longtail status`: what the database has, by property, dataset and month. */
import { existsSync } from 'node:fs';
import { connect, type Database, place } from '../../../postgres/connection/connect.ts';
import { type MonthStatus, readStatus } from '../../../postgres/queries/status.ts';
import { readFacts, readState, refuse } from '../../../postgres/schema/schema-state.ts';
import { count, plain, table } from '../../../report/render.ts';
import { EXIT } from '../../process/exit-code.ts';
import type { Output } from '../../terminal/output.ts';
import { namedDatabase, openDatabase } from '../database-place.ts';
import type { Session } from '../session.ts';

/** The options, read and each right by itself. */
export interface StatusFlags {
  readonly site?: string;
  readonly databaseUrl?: string;
  readonly json?: boolean;
}

const EMBEDDED_DIRECTORY = '.longtail';
/** After a signal, the way out is short. */
const INTERRUPTED_CLOSE_MS = 250;

/** @throws LongtailError where the database cannot be read. */
export async function runStatus(flags: StatusFlags, session: Session): Promise<void> {
  const { env, output } = session;
  const isNamed = namedDatabase(flags.databaseUrl, env) !== undefined;
  // Looking should not make a database server where there is none.
  const months = isNamed || existsSync(EMBEDDED_DIRECTORY) ? await readMonths(flags, session) : [];
  if (months === undefined) return session.endWith(EXIT.interrupted);
  if (flags.json === true) output.print(JSON.stringify({ months }));
  else
    output.print(
      months.length === 0
        ? nothing(flags, isNamed, session.self)
        : describeStatus(months, output, session.self),
    );
}

/** Undefined: it was told to stop, and the database had not answered. */
async function readMonths(flags: StatusFlags, session: Session): Promise<readonly MonthStatus[] | undefined> {
  const { signal, asked } = session.catchSignals('Stopping.');
  const opened = await Promise.race([openDatabase(flags.databaseUrl, session), asked]);
  // The server that is still starting ends with this process.
  if (opened === undefined) return undefined;
  try {
    const connecting = connect(opened.url, { max: 1, applicationName: 'longtail status', signal });
    const database = await Promise.race([connecting, asked]);
    if (database === undefined) return undefined;
    try {
      return await Promise.race([readFrom(database.sql, flags.site), asked]);
    } finally {
      await database.close(signal.aborted ? { timeoutMs: 0 } : {});
    }
  } finally {
    await opened.close(signal.aborted ? { waitMs: INTERRUPTED_CLOSE_MS } : {});
  }
}

async function readFrom(sql: Database['sql'], site: string | undefined): Promise<readonly MonthStatus[]> {
  const state = await readState(sql, await readFacts(sql));
  refuse(state, place(sql));
  return state.kind === 'empty' ? [] : await readStatus(sql, site);
}

function nothing({ site }: StatusFlags, isNamed: boolean, self: string): string {
  const where = isNamed ? 'this database' : `the embedded PostgreSQL under ${EMBEDDED_DIRECTORY}/`;
  const example = site ?? 'sc-domain:example.com';
  return `Nothing${site === undefined ? '' : ` of ${plain(site)}`} is in ${where} yet.\nFetch it: ${self} sync --site ${plain(example)}`;
}

/** A table a property. Exported for its test. */
export function describeStatus(
  months: readonly MonthStatus[],
  { colours }: Pick<Output, 'colours'>,
  self: string,
): string {
  const bySite = Object.entries(Object.groupBy(months, ({ siteUrl }) => siteUrl));
  return bySite
    .map(([siteUrl, ofSite = []]) => `${colours.bold(plain(siteUrl))}\n\n${siteTable(ofSite, colours, self)}`)
    .join('\n\n');
}

function siteTable(months: readonly MonthStatus[], colours: Output['colours'], self: string): string {
  const columns = [
    { title: 'Dataset' },
    { title: 'Month' },
    { title: 'Complete', align: 'right' },
    { title: 'Empty', align: 'right' },
    { title: 'Open', align: 'right' },
    { title: 'Failed', align: 'right' },
    { title: 'Missing', align: 'right' },
    { title: 'Rows', align: 'right' },
    { title: 'Days' },
  ] as const;
  let told: string | undefined;
  const rows = months.map((month) => {
    const name = month.searchType === 'web' ? month.dataset : `${month.dataset} (${month.searchType})`;
    const shown = name === told ? '' : name;
    told = name;
    return [
      shown,
      month.month,
      count(month.complete),
      orDash(month.empty),
      orDash(month.open),
      month.failed > 0 ? colours.red(count(month.failed)) : '–',
      orDash(month.missing),
      count(month.rows),
      month.first === null || month.last === null ? '' : `${month.first.slice(8)}–${month.last.slice(8)}`,
    ];
  });
  const parts = [table(columns, rows, colours.dim), totals(months, self)];
  return parts.join('\n\n');
}

function totals(months: readonly MonthStatus[], self: string): string {
  const sum = (of: (month: MonthStatus) => number): number =>
    months.reduce((total, month) => total + of(month), 0);
  const figures = [
    `${count(sum(({ complete }) => complete))} slices complete`,
    `${count(sum(({ open }) => open))} open`,
    `${count(sum(({ failed }) => failed))} failed`,
    `${count(sum(({ missing }) => missing))} missing`,
    `${count(sum(({ rows }) => rows))} rows`,
  ];
  const undone = sum(({ open, failed, missing }) => open + failed + missing) > 0;
  return `  ${figures.join(', ')}.${undone ? `\n  Run ${self} sync again: it fetches what is open, failed or missing.` : ''}`;
}

const orDash = (value: number): string => (value === 0 ? '–' : count(value));
