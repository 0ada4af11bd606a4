import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { expect, test, vi } from 'vitest';
import { HeapNudge } from '../../../src/postgres/commit/heap-nudge.ts';
import { createStore } from '../../../src/postgres/store.ts';
import { readConfig } from '../../../src/sync/config.ts';
import { commit, databaseWithRun, leaveRun, makeRows, openOne } from '../../support/synchronisation.ts';

/** A quarter of what a nudge is given for. */
const FULL_PAGE_BYTES = 3 * 1024 * 1024;

setFlagsFromString('--expose-gc');
const gc: unknown = runInNewContext('gc');

/** What a weak reference was made for, or was found in, stays until the job is over. */
async function collect(): Promise<void> {
  if (typeof gc !== 'function') throw new Error('V8 has no gc()');
  await new Promise((resolve) => setImmediate(resolve));
  gc();
}

function write(nudge: HeapNudge, pages: number): void {
  for (let page = 0; page < pages; page += 1) nudge.passed(FULL_PAGE_BYTES);
}

function counted(heapMegabytes = 20) {
  const counts = { nudges: 0 };
  const count = () => {
    counts.nudges += 1;
  };
  return { counts, nudge: new HeapNudge(count, () => heapMegabytes * 1024 * 1024) };
}

test('V8 is nudged once in four full pages until it collects', async () => {
  const { counts, nudge } = counted();
  write(nudge, 3);
  expect(counts.nudges).toBe(0);
  write(nudge, 1);
  expect(counts.nudges).toBe(1);
  write(nudge, 4);
  expect(counts.nudges).toBe(2);
  await collect();
  write(nudge, 3);
  expect(counts.nudges).toBe(2);
  write(nudge, 1);
  expect(counts.nudges).toBe(3);
});

test('a V8 that does not collect is nudged sixteen times', async () => {
  const { counts, nudge } = counted();
  write(nudge, 1_000);
  expect(counts.nudges).toBe(16);
  await collect();
  write(nudge, 4);
  expect(counts.nudges).toBe(17);
});

test('where V8 collects often by itself there is no nudge', async () => {
  const { counts, nudge } = counted();
  for (let cycle = 0; cycle < 10; cycle += 1) {
    write(nudge, 3);
    await collect();
  }
  expect(counts.nudges).toBe(0);
});

test('a host with a large heap is left alone', () => {
  const { counts, nudge } = counted(200);
  write(nudge, 100);
  expect(counts.nudges).toBe(0);
});

test('what is reserved takes no memory, and is gone with the next collection', async () => {
  await collect();
  const before = process.memoryUsage();
  write(new HeapNudge(), 4);
  const after = process.memoryUsage();
  const reserved = after.arrayBuffers - before.arrayBuffers;
  expect(reserved).toBeGreaterThan(60 * 1024 * 1024);
  expect(after.rss - before.rss).toBeLessThan(reserved / 4);
  await collect();
  // Freed in the background.
  await expect
    .poll(() => process.memoryUsage().arrayBuffers - before.arrayBuffers)
    .toBeLessThan(reserved / 4);
});

test('V8 is left alone unless the option asks for a nudge', async () => {
  const passed = vi.spyOn(HeapNudge.prototype, 'passed');
  const { database, current } = await databaseWithRun();
  try {
    const { slice } = await openOne(current.store, { date: '2026-03-01' });
    await commit(current.store, slice, makeRows(3));
    const nudging = createStore(database, current.run, { nudgesHeap: true });
    const { slice: next } = await openOne(nudging, { date: '2026-03-02' });
    await commit(nudging, next, makeRows(3));
    // Once for both: the queue tells it after it has answered.
    await expect.poll(() => passed.mock.calls.length).toBeGreaterThan(0);
    expect(passed).toHaveBeenCalledOnce();
  } finally {
    passed.mockRestore();
    await leaveRun(database, current);
  }
  expect(readConfig({ siteUrl: 'sc-domain:example.com' }, '2026-05-01').nudgeHeap).toBe(false);
});
