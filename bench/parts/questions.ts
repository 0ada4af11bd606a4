/** Part 7: reading. The questions of docs/sql.md at ten million rows: as the view was read before, as it is, and with indexes. */
import postgres, { type Sql } from 'postgres';
import { systemClock } from '../../src/domain/clock.ts';
import { connect } from '../../src/postgres/connection/connect.ts';
import { createIndex, INDEXED_COLUMNS } from '../../src/postgres/schema/fact-indexes.ts';
import { migrate } from '../../src/postgres/schema/migrate.ts';
import { type BenchContext, repeat } from '../support/context.ts';
import { HISTORY_PAGE, HISTORY_SITE, type History, makeHistory } from '../support/history.ts';
import { withDatabase } from '../support/postgres.ts';
import { type Question, readQuestions } from '../support/questions.ts';
import { goal, type PartResult } from '../support/report.ts';
import { median } from '../support/statistics.ts';
import { megabytes, millis, seconds, times, whole } from '../support/text.ts';

interface Timed {
  readonly title: string;
  readonly beforeMs: number;
  readonly afterMs: number;
  readonly indexedMs: number;
}

export interface QuestionFigures {
  readonly rows: number;
  readonly days: number;
  readonly questions: readonly Timed[];
  /** Of each index, and what it took. */
  readonly indexes: readonly { readonly column: string; readonly bytes: number; readonly ms: number }[];
  readonly tableBytes: number;
}

/** Reads that the questions do not have: small ones, which must stay small, and whole ones, which must not become slower. */
const FURTHER: readonly Question[] = [
  {
    title: 'Daily totals (dataset date)',
    sql: `select date, clicks, impressions from search_analytics where site_url = '${HISTORY_SITE}' and dataset = 'date' order by date`,
  },
  {
    title: 'One day',
    sql: `select page, query, clicks from search_analytics where dataset = 'page+query' and date = current_date - 10 order by clicks desc limit 100`,
  },
  {
    title: 'A prefix of page, all days',
    sql: `select date, sum(clicks) from search_analytics where dataset = 'page' and page like 'https://www.example.com/brands/other/article-0000007%' group by date`,
  },
  {
    title: 'All rows of page+query',
    sql: `select count(*), sum(clicks) from search_analytics where dataset = 'page+query'`,
  },
  { title: 'All rows', sql: 'select dataset, count(*), sum(clicks) from search_analytics group by dataset' },
  {
    title: 'Lifetime of one page',
    sql: `select * from search_page_lifetime where page = '${HISTORY_PAGE}'`,
  },
  {
    title: 'Lifetime, the top 100',
    sql: 'select * from search_page_lifetime order by clicks desc limit 100',
  },
  {
    title: 'Bulk export by URL, a week',
    sql: `select url, sum(clicks), sum(sum_position) from searchdata_url_impression
      where data_date between current_date - 9 and current_date - 3 group by url order by 2 desc limit 100`,
  },
];

/** What the migrations set so that small reads stay small, and how it was before. */
const BEFORE = `
  alter table longtail.fact alter slice_id reset (n_distinct);
  alter table longtail.slice reset (parallel_workers)`;

export async function questions(context: BenchContext): Promise<PartResult<QuestionFigures>> {
  return await withDatabase(context.server, async (url) => {
    await migrate(url);
    const sql = postgres(url, { max: 1, onnotice: () => undefined });
    try {
      const history = await makeHistory(sql, context.scale);
      context.say(`${whole(history.rows)} rows`);
      return present(await measure(context, sql, url, history));
    } finally {
      await sql.end();
    }
  });
}

async function measure(
  context: BenchContext,
  sql: Sql,
  url: string,
  history: History,
): Promise<QuestionFigures> {
  const asked = [...readQuestions({ siteUrl: HISTORY_SITE, page: HISTORY_PAGE }), ...FURTHER];
  const [kept] = await sql<{ distinct: string | null; workers: string | null; bytes: number }[]>`
    select (select attoptions[1] from pg_attribute where attrelid = 'longtail.fact'::regclass and attname = 'slice_id') as distinct,
      (select reloptions[1] from pg_class where oid = 'longtail.slice'::regclass) as workers,
      pg_table_size('longtail.fact')::float8 as bytes`;
  await sql.unsafe(BEFORE);
  const before = await timeAll(context, sql, asked, 'before');
  if (kept?.distinct != null)
    await sql.unsafe(`alter table longtail.fact alter slice_id set (${kept.distinct})`);
  if (kept?.workers != null) await sql.unsafe(`alter table longtail.slice set (${kept.workers})`);
  const after = await timeAll(context, sql, asked, 'now');
  const database = await connect(url, { max: 2, applicationName: 'longtail bench' });
  const indexes: QuestionFigures['indexes'][number][] = [];
  try {
    for (const column of INDEXED_COLUMNS) {
      const startedMs = performance.now();
      const made = await createIndex(database, column, {
        clock: systemClock,
        signal: new AbortController().signal,
        onProgress: () => undefined,
      });
      indexes.push({ column, bytes: made?.bytes ?? 0, ms: performance.now() - startedMs });
    }
  } finally {
    await database.close();
  }
  const indexed = await timeAll(context, sql, asked, 'indexed');
  return {
    rows: history.rows,
    days: history.days,
    questions: asked.map(({ title }, index) => ({
      title,
      beforeMs: before[index] ?? 0,
      afterMs: after[index] ?? 0,
      indexedMs: indexed[index] ?? 0,
    })),
    indexes,
    tableBytes: kept?.bytes ?? 0,
  };
}

/** The median of each, after one time that is not counted: what is on the disk is in memory then. */
async function timeAll(
  context: BenchContext,
  sql: Sql,
  asked: readonly Question[],
  name: string,
): Promise<readonly number[]> {
  await sql.unsafe('analyze longtail.fact');
  await sql.unsafe('analyze longtail.slice');
  const all: number[] = [];
  for (const { title, sql: text } of asked) {
    await sql.unsafe(text);
    const taken = await repeat(context.runs, async () => {
      const startedMs = performance.now();
      await sql.unsafe(text);
      return performance.now() - startedMs;
    });
    all.push(median(taken));
    context.say(`${name}: ${title}, ${millis(median(taken))}`);
  }
  return all;
}

function present(figures: QuestionFigures): PartResult<QuestionFigures> {
  const { rows, days, questions: all, indexes, tableBytes } = figures;
  const slower = Math.max(...all.map(({ beforeMs, afterMs }) => afterMs / beforeMs));
  return {
    title: `Questions: reading ${whole(rows)} rows, six datasets, ${days} days`,
    figures,
    tables: [
      {
        title: 'Each alone, one session',
        columns: ['question', 'before', 'now', 'with both indexes'],
        rows: all.map(({ title, beforeMs, afterMs, indexedMs }) => [
          title,
          millis(beforeMs),
          millis(afterMs),
          millis(indexedMs),
        ]),
      },
      {
        title: 'The indexes',
        columns: ['column', 'size', 'created in'],
        rows: indexes.map(({ column, bytes, ms }) => [column, megabytes(bytes), seconds(ms)]),
      },
    ],
    goals: [
      goal('Questions, the one that became slower the most', 'at most 1.2×', times(slower), slower <= 1.2),
    ],
    notes: [
      `The rows take ${megabytes(tableBytes)}. The questions are those of docs/sql.md, then some further ones. Before: without the settings that the migrations give the tables so that the planner reads slices, not the table.`,
    ],
  };
}
