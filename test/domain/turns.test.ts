import { expect, test } from 'vitest';
import { Turns } from '../../src/domain/turns.ts';

/** Work of so long each, all of which comes at once; how much of it was done in each turn of the event loop. */
async function spread(pieces: number, pieceMs: number): Promise<{ turns: number[]; order: number[] }> {
  let nowMs = 0;
  const turns = new Turns(() => nowMs);
  const done: number[] = [0];
  const order: number[] = [];
  let isOver = false;
  const count = (): void => {
    if (isOver) return;
    done.push(0);
    setImmediate(count);
  };
  setImmediate(count);
  await Promise.all(
    Array.from({ length: pieces }, async (_, piece) => {
      await turns.next();
      nowMs += pieceMs;
      order.push(piece);
      done.push((done.pop() ?? 0) + 1);
    }),
  );
  isOver = true;
  return { turns: done.filter((count) => count > 0), order };
}

test('work that comes at once is spread over turns, in its order', async () => {
  const { turns, order } = await spread(40, 5);
  expect(order).toEqual(Array.from({ length: 40 }, (_, piece) => piece));
  expect(Math.max(...turns)).toBeLessThanOrEqual(4);
  expect(turns.length).toBeGreaterThanOrEqual(10);
});

test('what comes one after another waits for nobody while there is time', async () => {
  const turns = new Turns(() => 0);
  for (let piece = 0; piece < 3; piece += 1) {
    expect(turns.next()).toBe(undefined);
    await new Promise((resolve) => setImmediate(resolve));
  }
});
