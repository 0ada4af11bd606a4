// @module-tag long
/** A host that keeps its own tables with `drizzle-kit push`, which drops every view that its schema does not know. */
import { execFile } from 'node:child_process';
import { mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { VIEW_NAMES } from '../../src/postgres/schema/made-views.ts';
import { migrate } from '../../src/postgres/schema/migrate.ts';
import { type TestDatabase, testDatabase } from '../support/postgres.ts';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../../', import.meta.url));

let folder: string;
let database: TestDatabase;

beforeEach(async () => {
  [folder, database] = await Promise.all([mkdtemp(join(tmpdir(), 'longtail-push-')), testDatabase()]);
  await symlink(join(root, 'node_modules'), join(folder, 'node_modules'));
  await writeFile(
    join(folder, 'schema.ts'),
    `import { integer, pgTable } from 'drizzle-orm/pg-core';
export const customer = pgTable('customer', { id: integer('id').primaryKey() });`,
  );
});
afterEach(async () => {
  await database.close();
  await rm(folder, { recursive: true, force: true });
});

async function push(filter: string): Promise<void> {
  await writeFile(
    join(folder, 'drizzle.config.ts'),
    `export default { dialect: 'postgresql', schema: './schema.ts', dbCredentials: { url: '${database.url}' }, ${filter} };`,
  );
  await run(process.execPath, [join(root, 'node_modules/drizzle-kit/bin.cjs'), 'push', '--force'], {
    cwd: folder,
    timeout: 60_000,
  });
}

async function views(): Promise<string[]> {
  const rows = await database.sql<{ name: string }[]>`
    select relname as name from pg_class where relkind = 'v' and relnamespace = 'public'::regnamespace order by relname`;
  return rows.map(({ name }) => name);
}

test('without a filter the views are dropped, and the next start makes them again', async () => {
  await push(`schemaFilter: ['public']`);
  expect(await views()).toEqual([]);
  expect(await migrate(database.url)).toEqual({ applied: 0 });
  expect(await views()).toEqual([...VIEW_NAMES].toSorted());
});

test('with the documented filter they stay, and the host’s table is made', async () => {
  await push(`schemaFilter: ['public'], tablesFilter: ['!search_*', '!searchdata_*']`);
  expect(await views()).toEqual([...VIEW_NAMES].toSorted());
  await database.sql`select id from customer`;
});
