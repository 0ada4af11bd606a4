import { Buffer } from 'node:buffer';
import { expect, test } from 'vitest';
import { ReadingMemoryPool } from '../../src/search-console/reading-memory.ts';

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
