import type { TestProject } from 'vitest/node';
import { startTestServer } from './postgres.ts';

/** One PostgreSQL for all test files of a run. It ends with the run, however that ends. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  // Two files at a time, each with several databases of ten connections.
  const server = await startTestServer({ settings: { max_connections: '200' } });
  project.provide('testServerUrl', server.url);
  return server.close;
}
