import postgres from 'postgres';
import type { TestProject } from 'vitest/node';
import { migrate } from '../../src/postgres/schema/migrate.ts';
import { startTestServer, TEMPLATE } from './postgres.ts';
import { makeRunFolder } from './run-folder.ts';
import { guardSliceLife } from './slice-life-guard.ts';

/**
 * One folder for what the run writes, and one PostgreSQL for all its files, with the database that theirs are copied from.
 * Both end with the run, however that ends.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const clearAway = await makeRunFolder();
  // Several files at a time, each with several databases of ten connections.
  const server = await startTestServer({ settings: { max_connections: '300' } });
  const admin = postgres(server.url, { max: 1, fetch_types: false, onnotice: () => undefined });
  try {
    await admin`create database ${admin(TEMPLATE)} template template0 encoding 'UTF8'`;
    const template = Object.assign(new URL(server.url), { pathname: `/${TEMPLATE}` }).href;
    await migrate(template);
    const sql = postgres(template, { max: 1, fetch_types: false, onnotice: () => undefined });
    try {
      await guardSliceLife(sql);
    } finally {
      await sql.end();
    }
  } finally {
    await admin.end();
  }
  project.provide('testServerUrl', server.url);
  return async () => {
    await server.close();
    await clearAway();
  };
}
