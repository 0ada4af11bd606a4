import { expect, test } from 'vitest';
import { CopyArena, CopyMemory } from '../../../src/postgres/copy/copy-memory.ts';
import { encodeRows } from '../../../src/postgres/copy/encode-rows.ts';
import { rowBlock } from '../../../src/rows/row-block.ts';

const MEGABYTE = 1024 * 1024;

test('pages without rows take no memory: a slice that ends with one would hold a full page’s for it', () => {
  const arena = new CopyArena(new CopyMemory());
  encodeRows({ id: '1', dataset: 'page+query' }, rowBlock([], 2), arena);
  expect(arena.buffer.length).toBe(0);
});

test('a full page fits at once, and what one transaction gives back the next one takes', () => {
  const memory = new CopyMemory();
  const first = new CopyArena(memory);
  first.reserve(MEGABYTE);
  const { buffer } = first.buffer;
  first.reserve(3 * MEGABYTE);
  expect(first.buffer.buffer).toBe(buffer);
  first.release();
  expect(first.buffer.length).toBe(0);
  const second = new CopyArena(memory);
  second.reserve(4 * MEGABYTE);
  expect(second.buffer.buffer).toBe(buffer);
});

test('of two that were given back the last is taken, so that the other stays as small as it was', () => {
  const memory = new CopyMemory();
  const arenas = [new CopyArena(memory), new CopyArena(memory)] as const;
  for (const arena of arenas) arena.reserve(MEGABYTE);
  const last = arenas[1].buffer.buffer;
  for (const arena of arenas) arena.release();
  for (let page = 0; page < 3; page += 1) {
    const arena = new CopyArena(memory);
    arena.reserve(MEGABYTE);
    expect(arena.buffer.buffer).toBe(last);
    arena.release();
  }
});

test('an arena that grows keeps what it holds, and leaves its old memory to others', () => {
  const memory = new CopyMemory();
  const arena = new CopyArena(memory);
  arena.reserve(MEGABYTE);
  const { buffer } = arena.buffer;
  arena.end = arena.buffer.write('12345');
  arena.reserve(5 * MEGABYTE);
  expect(arena.buffer.length).toBe(8 * MEGABYTE);
  expect(arena.buffer.toString('latin1', 0, arena.end)).toBe('12345');
  const other = new CopyArena(memory);
  other.reserve(MEGABYTE);
  expect(other.buffer.buffer).toBe(buffer);
});

test('what a monstrous page took is given back at once', () => {
  const memory = new CopyMemory();
  const arena = new CopyArena(memory);
  arena.reserve(9 * MEGABYTE);
  const { buffer } = arena.buffer;
  arena.release();
  expect(buffer.byteLength).toBe(0);
});

test('a small page takes little: forty runs in one process have forty of them', () => {
  const memory = new CopyMemory();
  const arenas = Array.from({ length: 40 }, () => new CopyArena(memory));
  for (const arena of arenas) arena.reserve(5_000);
  expect(arenas.reduce((sum, { buffer }) => sum + buffer.length, 0)).toBeLessThan(4 * MEGABYTE);
  const buffers = new Set(arenas.map(({ buffer }) => buffer.buffer));
  for (const arena of arenas) arena.release();
  for (const arena of arenas) arena.reserve(5_000);
  expect(arenas.every(({ buffer }) => buffers.has(buffer.buffer))).toBe(true);
});
