/** `longtail metrics` and `sync --inspect`, as processes. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import { WebSocket } from 'ws';
import { type Emulator, startEmulator } from '../../src/emulator/index.ts';
import { type TestDatabase, testDatabase } from '../support/postgres.ts';
import { useLongtail } from './support/longtail.ts';

const SITE = 'sc-domain:example.com';
const { start, run } = useLongtail();
let emulator: Emulator;
let database: TestDatabase;
beforeEach(async () => {
  [emulator, database] = await Promise.all([startEmulator({ rowsPerDay: 5, sites: [SITE] }), testDatabase()]);
});
afterEach(async () => {
  await Promise.all([emulator.close(), database.close()]);
});

const ARGUMENTS = ['sync', '--site', SITE, '--days', '3', '--datasets', 'page'];
const environment = () => ({
  env: { DATABASE_URL: database.url, LONGTAIL_ACCESS_TOKEN: 'a-token', LONGTAIL_API_ROOT: emulator.url },
});

it('metrics serves Prometheus until it is told to stop', async () => {
  expect((await run(ARGUMENTS, environment())).code).toBe(0);
  const serving = start(['metrics', '--port', '0'], environment());
  await expect.poll(() => serving.said().stdout, { timeout: 30_000 }).toMatch(/127\.0\.0\.1:\d+\/metrics/);
  const [url = ''] = /http:\/\/127\.0\.0\.1:\d+/.exec(serving.said().stdout) ?? [];
  const text = await (await fetch(`${url}/metrics`)).text();
  expect(text).toContain(
    `longtail_database_slices{longtail_property="${SITE}",longtail_search_type="web",longtail_dataset="page",longtail_slice_state="complete"} 3`,
  );
  expect((await fetch(`${url}/other`)).status).toBe(404);

  const taken = await run(['metrics', '--port', new URL(url).port], environment());
  expect(taken.code).toBe(2);
  expect(taken.stderr).toContain('is used by another program');

  serving.child.kill('SIGTERM');
  expect((await serving.finished).code).toBe(0);
});

it('--inspect says where the machines can be watched', async () => {
  emulator.setFaults({ rules: [{ match: { dimensions: 'page' }, action: { kind: 'delay', ms: 300_000 } }] });
  const running = start([...ARGUMENTS, '--inspect'], environment());
  await expect.poll(() => running.said().stderr, { timeout: 30_000 }).toMatch(/ws:\/\/\S+/);
  const [url = ''] = /ws:\/\/\S+/.exec(running.said().stderr) ?? [];
  const socket = new WebSocket(url);
  const names: unknown[] = [];
  socket.on('message', (data) => {
    const { type, name }: { type: string; name?: string } = JSON.parse(String(data));
    if (type === '@xstate.actor') names.push(name);
  });
  await expect.poll(() => names, { timeout: 30_000 }).toEqual(expect.arrayContaining(['coordinator', 'w0']));
  running.child.kill('SIGINT');
  expect((await running.finished).code).toBe(130);
  socket.terminate();
});
