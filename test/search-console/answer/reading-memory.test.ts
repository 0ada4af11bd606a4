import { Buffer } from 'node:buffer';
import { expect, test } from 'vitest';
import { ReadingMemoryPool, sharedReadingMemory } from '../../../src/search-console/answer/reading-memory.ts';
import { ScanMemory } from '../../../src/search-console/answer/scan-rows.ts';

const MEGABYTE = 1024 * 1024;

test('the arena of a call never grows for a page that Google may send, and the next call reads into it again', () => {
  const pool = new ReadingMemoryPool();
  const memory = pool.take();
  memory.arena.append(Buffer.from('x'), 0, 1);
  expect(memory.arena.capacity).toBeLessThan(MEGABYTE);
  memory.arena.append(Buffer.alloc(MEGABYTE), 0, MEGABYTE);
  const { capacity } = memory.arena;
  expect(memory.arena.view(0, 1).toString()).toBe('x');
  for (let part = 0; part < 14; part += 1) memory.arena.append(Buffer.alloc(MEGABYTE), 0, MEGABYTE);
  expect(memory.arena.capacity).toBe(capacity);
  pool.give(memory);
  expect(pool.take()).toBe(memory);
  expect(memory.arena.size).toBe(0);
});

test('one that a monstrous answer has blown up is given back, and not used again', () => {
  const pool = new ReadingMemoryPool();
  const memory = pool.take();
  memory.arena.append(Buffer.alloc(17 * MEGABYTE), 0, 17 * MEGABYTE);
  const { buffer } = memory.arena.view(0, 1);
  pool.give(memory);
  expect(buffer.byteLength).toBe(0);
  expect(pool.take()).not.toBe(memory);
});

test('a call with small pages takes little, and one with a full page all that it needs at once', () => {
  const memory = new ScanMemory();
  expect(memory.offsets.byteLength + memory.escaped.byteLength).toBeLessThan(MEGABYTE / 16);
  memory.provide(20_000, 5_000);
  const { offsets, escaped } = memory;
  memory.provide(25_000 * 12, 25_000 * 4);
  expect(memory.offsets).toBe(offsets);
  expect(memory.escaped).toBe(escaped);
});

test('runs that are under way at the same time read into the same memory', () => {
  const memory = sharedReadingMemory().take();
  sharedReadingMemory().give(memory);
  expect(sharedReadingMemory().take()).toBe(memory);
});
