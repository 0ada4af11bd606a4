/** `longtail status`: what the database has, by property, dataset and month. */
import { existsSync } from 'node:fs';
import { connect, place } from '../db/connect.ts';
import { readFacts, readState, refuse } from '../db/schema-state.ts';
import { type MonthStatus, readStatus } from '../db/status.ts';
import { namedDatabase, openDatabase } from './database.ts';
import type { Output } from './output.ts';
import { count, plain, table } from './render.ts';
import type { Session } from './session.ts';
import type { StatusFlags } from './status.ts';

const EMBEDDED_DIRECTORY = '.longtail';

/** @throws LongtailError where the database cannot be read. */
export async function runStatus(flags: StatusFlags, session: Session): Promise<void> {
  const { env, output } = session;
  const isNamed = namedDatabase(flags.databaseUrl, env) !== undefined;
  // Looking should not make a database server where there is none.
  const months = isNamed || existsSync(EMBEDDED_DIRECTORY) ? await readMonths(flags, session) : [];
  if (flags.json === true) output.print(JSON.stringify({ months }));
  else
    output.print(
      months.length === 0
        ? nothing(flags, isNamed, session.self)
        : describeStatus(months, output, session.self),
    );
}

async function readMonths(flags: StatusFlags, session: Session): Promise<readonly MonthStatus[]> {
  const opened = await openDatabase(flags.databaseUrl, session);
  try {
    const database = await connect(opened.url, { max: 1, applicationName: 'longtail status' });
    try {
      const state = await readState(database.sql, await readFacts(database.sql));
      refuse(state, place(database.sql));
      return state.kind === 'empty' ? [] : await readStatus(database.sql, flags.site);
    } finally {
      await database.close();
    }
  } finally {
    await opened.close();
  }
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
