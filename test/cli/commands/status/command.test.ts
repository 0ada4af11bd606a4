import { afterEach, beforeEach, expect, test } from 'vitest';
import { displayWidth } from '../../../../src/report/render.ts';
import { type TestDatabase, testDatabase } from '../../../support/postgres.ts';
import { useLongtail } from '../../support/longtail.ts';

const { run } = useLongtail();

let database: TestDatabase;

beforeEach(async () => {
  database = await testDatabase();
  await database.sql.unsafe(`
    insert into longtail.property (site_url, epoch) values ('sc-domain:example.com', 1);
    insert into longtail.run (property_id, epoch, status, from_date, to_date, parameters, force)
      values (1, 1, 'complete', '2026-01-01', '2026-01-31', '{}', false);
    insert into longtail.slice (property_id, search_type, dataset, date, version, status, rows, clicks, impressions, capped, final, fetched_at, run_id, error)
    values (1, 'web', 'page+query', '2026-01-01', 1, 'complete', 50000, 600, 9000, true, true, now(), 1, null),
      (1, 'web', 'page+query', '2026-01-02', 1, 'complete', 10, 300, 900, false, true, now(), 1, null),
      (1, 'web', 'page+query', '2026-01-03', 1, 'complete', 10, 300, 900, false, true, now(), 1, null),
      (1, 'web', 'page+query', '2026-01-03', 2, 'failed', 0, 0, 0, false, false, null, 1, 'shrunk: Google now returns no rows'),
      (1, 'web', 'page+query', '2026-01-05', 1, 'failed', 0, 0, 0, false, false, null, 1, 'Google refuses it');
    insert into longtail.day_total select 1, 'web', date '2026-01-01' + day, 1000, 10000, now() from generate_series(0, 4) as day`);
});
afterEach(() => database.close());

const status = (...more: string[]) => run(['status', ...more], { env: { DATABASE_URL: database.url } });

test('months with hidden share and capped days, in 80 columns', async () => {
  const { code, stdout, stderr } = await status();
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  const lines = stdout.trimEnd().split('\n');
  for (const line of lines) expect(displayWidth(line)).toBeLessThanOrEqual(80);
  expect(lines.slice(0, 4)).toEqual([
    'sc-domain:example.com',
    '',
    '  Dataset     Month    Complete  Failed  Missing  Capped  Hidden    Rows',
    '  page+query  2026-01         2       2        1       1  60.0 %  50,020',
  ]);
  expect(stdout).toContain('2 slices complete, 0 open, 2 failed, 1 missing, 50,020 rows.');
  expect(stdout).toContain('1 day capped, the newest 2026-01-01 (page+query)');
  expect(stdout).toContain('status --failed');
});

test('--failed lists the days, the reasons, and what can still be read', async () => {
  const { code, stdout } = await status('--failed');
  expect(code).toBe(0);
  expect(stdout.split('\n').slice(2, 7)).toEqual([
    '  2026-01-05  page+query',
    '    Google refuses it',
    '  2026-01-03  page+query',
    '    shrunk: Google now returns no rows',
    '    The 10 rows of before can still be read.',
  ]);
  expect((await status('--failed', '--site', 'sc-domain:none.example')).stdout).toContain('Nothing of');
});

test('--json has all of it', async () => {
  const { stdout } = await status('--json');
  expect(JSON.parse(stdout)).toEqual({
    months: [
      {
        ...{ siteUrl: 'sc-domain:example.com', searchType: 'web', dataset: 'page+query', month: '2026-01' },
        ...{ complete: 2, empty: 0, open: 0, failed: 2, missing: 1, capped: 1 },
        ...{ rows: 50_020, clicks: 1_200, impressions: 10_800, totalClicks: 3_000, hiddenShare: 0.6 },
        ...{ duplicatesDropped: 0, first: '2026-01-01', last: '2026-01-03' },
      },
    ],
    failed: [
      {
        ...{ siteUrl: 'sc-domain:example.com', searchType: 'web', dataset: 'page+query', date: '2026-01-05' },
        ...{ reason: 'Google refuses it', rows: null },
      },
      {
        ...{ siteUrl: 'sc-domain:example.com', searchType: 'web', dataset: 'page+query', date: '2026-01-03' },
        ...{ reason: 'shrunk: Google now returns no rows', rows: 10 },
      },
    ],
    capped: [
      {
        ...{ siteUrl: 'sc-domain:example.com', searchType: 'web', dataset: 'page+query', date: '2026-01-01' },
        ...{ rows: 50_000, hiddenShare: 0.4 },
      },
    ],
  });
});

test('tables of an earlier version are told of in two lines', async () => {
  await database.sql`delete from longtail.migrations where created_at = (select max(created_at) from longtail.migrations)`;
  const { code, stderr } = await status();
  expect(code).toBe(1);
  expect(stderr).toContain('from an older version of Longtail');
  expect(stderr).toContain('sync');
});
