import { afterEach, beforeEach, expect, test } from 'vitest';
import { type TestDatabase, testDatabase } from '../../../support/postgres.ts';
import { until } from '../../../support/until.ts';
import { useLongtail } from '../../support/longtail.ts';

const { run, start } = useLongtail();

let database: TestDatabase;

beforeEach(async () => {
  database = await testDatabase();
});
afterEach(() => database.close());

const env = () => ({ DATABASE_URL: database.url });
const index = (...more: string[]) => run(['index', ...more], { env: env() });

test('creates, lists and drops', async () => {
  const made = await index('--page', '--query');
  expect(made.code).toBe(0);
  expect(made.stderr).toContain('The index on page is there:');
  expect(made.stdout).toMatch(/page +there/);
  const listed = await index('--json');
  expect(JSON.parse(listed.stdout)).toMatchObject({
    indexes: [
      { column: 'page', state: 'valid' },
      { column: 'query', state: 'valid' },
    ],
  });
  const dropped = await index('--page', '--drop');
  expect(dropped.stderr).toContain('The index on page is dropped.');
  expect(dropped.stdout).toMatch(/page +none/);
});

test('Ctrl-C leaves nothing behind', async () => {
  let finished: Promise<{ readonly code: unknown }> = Promise.resolve({ code: undefined });
  await database.sql.begin(async (writer) => {
    await writer`insert into longtail.fact (slice_id, clicks, impressions) values (1, 0, 0)`;
    const started = start(['index', '--page'], { env: env() });
    ({ finished } = started);
    await until(() => started.said().stderr.includes('waiting for writers'));
    started.child.kill('SIGINT');
  });
  expect((await finished).code).toBe(130);
  const found = await database.sql`select from pg_class where relname = 'fact_page'`;
  expect(found).toHaveLength(0);
});

test('--drop wants to know which; an empty folder has no database', async () => {
  const unnamed = await index('--drop');
  expect(unnamed.code).toBe(2);
  expect(unnamed.stderr).toContain('index --page --drop');
  const nowhere = await run(['index', '--page']);
  expect(nowhere.code).toBe(2);
  expect(nowhere.stderr.trimEnd().split('\n')).toHaveLength(2);
});
