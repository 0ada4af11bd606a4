/** `longtail status`: what the database has, by property, dataset and month, and how much of the truth it is. */
import { existsSync } from 'node:fs';
import { LongtailError } from '../../../domain/errors.ts';
import { connect, type Database, place } from '../../../postgres/connection/connect.ts';
import {
  type DayStatus,
  type MonthStatus,
  readStatus,
  type Status,
} from '../../../postgres/queries/status.ts';
import { readFacts, readState, refuse } from '../../../postgres/schema/schema-state.ts';
import { count, counted, plain, table } from '../../../report/render.ts';
import { EXIT } from '../../process/exit-code.ts';
import type { Output } from '../../terminal/output.ts';
import { namedDatabase, openDatabase } from '../database-place.ts';
import type { Session } from '../session.ts';

/** The options, read and each right by itself. */
export interface StatusFlags {
  readonly site?: string;
  readonly databaseUrl?: string;
  readonly json?: boolean;
  readonly failed?: boolean;
}

const EMBEDDED_DIRECTORY = '.longtail';
/** After a signal, the way out is short. */
const INTERRUPTED_CLOSE_MS = 250;

/** @throws LongtailError where the database cannot be read. */
export async function runStatus(flags: StatusFlags, session: Session): Promise<void> {
  const { env, output } = session;
  const isNamed = namedDatabase(flags.databaseUrl, env) !== undefined;
  // Looking should not make a database server where there is none.
  const status = isNamed || existsSync(EMBEDDED_DIRECTORY) ? await readFlagged(flags, session) : NOTHING;
  if (status === undefined) return session.endWith(EXIT.interrupted);
  if (flags.json === true) return output.print(JSON.stringify(status));
  if (status.months.length === 0) return output.print(nothing(flags, isNamed, session.self));
  output.print(
    flags.failed === true
      ? describeFailed(status, output, session.self)
      : describeStatus(status, output, session.self),
  );
}

const NOTHING: Status = { months: [], failed: [], capped: [] };

/** Undefined: it was told to stop, and the database had not answered. */
async function readFlagged(flags: StatusFlags, session: Session): Promise<Status | undefined> {
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

async function readFrom(sql: Database['sql'], site: string | undefined): Promise<Status> {
  const state = await readState(sql, await readFacts(sql));
  refuse(state, place(sql));
  if (state.kind === 'empty') return NOTHING;
  if (state.kind === 'installed' && state.missing.length > 0) {
    throw new LongtailError(
      'MIGRATION_FAILED',
      `The tables in the ${place(sql)} are from an older version of Longtail (before ${state.missing[0]?.tag}).`,
      'Run longtail sync once: it updates them, with all that is in them.',
    );
  }
  return await readStatus(sql, site);
}

function nothing({ site }: StatusFlags, isNamed: boolean, self: string): string {
  const where = isNamed ? 'this database' : `the embedded PostgreSQL under ${EMBEDDED_DIRECTORY}/`;
  const example = site ?? 'sc-domain:example.com';
  return `Nothing${site === undefined ? '' : ` of ${plain(site)}`} is in ${where} yet.\nFetch it: ${self} sync --site ${plain(example)}`;
}

/** A table a property. Exported for its test. */
export function describeStatus(
  { months, failed, capped }: Status,
  { colours }: Pick<Output, 'colours'>,
  self: string,
): string {
  const bySite = Object.entries(Object.groupBy(months, ({ siteUrl }) => siteUrl));
  return bySite
    .map(([siteUrl, ofSite = []]) => {
      const notes = remarks(
        ofSite,
        failed.filter((day) => day.siteUrl === siteUrl),
        capped.filter((day) => day.siteUrl === siteUrl),
        self,
      );
      return [colours.bold(plain(siteUrl)), siteTable(ofSite, colours), notes].join('\n\n');
    })
    .join('\n\n');
}

/** The days whose newest attempt failed, with the reasons. Exported for its test. */
export function describeFailed(
  { failed }: Status,
  { colours }: Pick<Output, 'colours'>,
  self: string,
): string {
  if (failed.length === 0) return 'No day has failed.';
  const bySite = Object.entries(Object.groupBy(failed, ({ siteUrl }) => siteUrl));
  const lists = bySite.map(([siteUrl, days = []]) => {
    const lines = days.map(
      ({ date, reason, rows, ...day }) =>
        `  ${date}  ${nameOf(day)}\n    ${plain(reason)}${rows === null ? '' : `\n    The ${counted(rows, 'row')} of before can still be read.`}`,
    );
    return `${colours.bold(plain(siteUrl))}\n\n${lines.join('\n')}`;
  });
  return `${lists.join('\n\n')}\n\n  Run ${self} sync again: it fetches what failed.`;
}

const nameOf = ({ searchType, dataset }: Pick<DayStatus, 'searchType' | 'dataset'>): string =>
  searchType === 'web' ? dataset : `${dataset} (${searchType})`;

/** A column, and what it says of a month. One without anything to say is left out, unless it always stays. */
interface StatusColumn {
  readonly title: string;
  readonly align?: 'right';
  readonly stays: boolean;
  readonly cell: (month: MonthStatus) => string;
}

const NONE = '–';

function siteTable(months: readonly MonthStatus[], colours: Output['colours']): string {
  let told: string | undefined;
  const columns: readonly StatusColumn[] = [
    {
      title: 'Dataset',
      stays: true,
      cell(month) {
        const name = nameOf(month);
        const shown = name === told ? '' : name;
        told = name;
        return shown;
      },
    },
    { title: 'Month', stays: true, cell: ({ month }) => month },
    { title: 'Complete', align: 'right', stays: true, cell: ({ complete }) => count(complete) },
    { title: 'Empty', align: 'right', stays: false, cell: ({ empty }) => orNone(empty) },
    { title: 'Open', align: 'right', stays: false, cell: ({ open }) => orNone(open) },
    {
      title: 'Failed',
      align: 'right',
      stays: false,
      cell: ({ failed }) => (failed > 0 ? colours.red(count(failed)) : NONE),
    },
    { title: 'Missing', align: 'right', stays: false, cell: ({ missing }) => orNone(missing) },
    { title: 'Capped', align: 'right', stays: false, cell: ({ capped }) => orNone(capped) },
    { title: 'Hidden', align: 'right', stays: true, cell: ({ hiddenShare }) => percent(hiddenShare) },
    { title: 'Rows', align: 'right', stays: true, cell: ({ rows }) => count(rows) },
  ];
  const shown = columns.filter(({ stays, cell }) => stays || months.some((month) => cell(month) !== NONE));
  const rows = months.map((month) => shown.map(({ cell }) => cell(month)));
  return table(shown, rows, colours.dim);
}

function remarks(
  months: readonly MonthStatus[],
  failed: readonly DayStatus[],
  capped: readonly DayStatus[],
  self: string,
): string {
  const sum = (of: (month: MonthStatus) => number): number =>
    months.reduce((total, month) => total + of(month), 0);
  const figures = [
    `${count(sum(({ complete }) => complete))} slices complete`,
    `${count(sum(({ open }) => open))} open`,
    `${count(sum((month) => month.failed))} failed`,
    `${count(sum(({ missing }) => missing))} missing`,
    `${count(sum(({ rows }) => rows))} rows`,
  ];
  const lines = [`  ${figures.join(', ')}.`];
  if (months.some(({ hiddenShare }) => hiddenShare !== null && hiddenShare > 0))
    lines.push('  Hidden: the share of the clicks that Google counts and gives in no row.');
  if (capped.length > 0)
    lines.push(
      `  ${counted(capped.length, 'day')} capped, the newest ${capped[0]?.date} (${capped[0] === undefined ? '' : nameOf(capped[0])}): Google had more rows.`,
    );
  if (failed.length > 0) lines.push(`  ${self} status --failed lists the failed days with the reasons.`);
  const undone = sum((month) => month.open + month.failed + month.missing) > 0;
  if (undone) lines.push(`  Run ${self} sync again: it fetches what is open, failed or missing.`);
  return lines.join('\n');
}

const orNone = (value: number): string => (value === 0 ? NONE : count(value));

/** `0.123` → `12.3 %`. */
function percent(share: number | null): string {
  if (share === null) return NONE;
  return share === 0 ? '0 %' : `${(share * 100).toFixed(1)} %`;
}
