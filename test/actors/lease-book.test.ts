import { afterEach, expect, test } from 'vitest';
import { createActor, setup } from 'xstate';
import { createLeaseBook } from '../../src/actors/lease-book.ts';
import type { LeaseKeeperEvent } from '../../src/machines/lease-keeper/lease-keeper.ts';
import type { Answer } from '../../src/store/types.ts';
import { ManualClock } from '../support/manual-clock.ts';

const ANSWER_WITHIN_MS = 20_000;
const stops: (() => void)[] = [];
afterEach(() => {
  for (const stop of stops.splice(0)) stop();
});

/** A book, a database that answers by hand, and whoever the book tells. */
function openBook() {
  const clock = new ManualClock();
  const asked: PromiseWithResolvers<Answer<boolean>>[] = [];
  const told: LeaseKeeperEvent[] = [];
  const noted: string[] = [];
  const book = createLeaseBook({
    clock: {
      ...clock,
      now: () => clock.now(),
      random: () => 0,
      clearTimeout: (handle) => clock.clearTimeout(Number(handle)),
    },
    answerWithinMs: ANSWER_WITHIN_MS,
    renew: () => {
      noted.push('sent');
      const answer = Promise.withResolvers<Answer<boolean>>();
      asked.push(answer);
      return answer.promise;
    },
    onAsked: (serial) => noted.push(`asked ${serial}`),
    onKept: (serial) => noted.push(`kept ${serial}`),
  });
  const owner = setup({ types: { events: {} as LeaseKeeperEvent }, actors: { book } }).createMachine({
    invoke: { id: 'book', src: 'book' },
    on: { '*': { actions: ({ event }) => told.push(event) } },
  });
  const actor = createActor(owner).start();
  stops.push(() => actor.stop());
  const order = (serial: number) => actor.getSnapshot().children.book?.send({ type: 'lease.renew', serial });
  const settled = () => new Promise((resolve) => setImmediate(resolve));
  return { clock, asked, told, noted, order, settled, stop: () => actor.stop() };
}

const KEPT: Answer<boolean> = { kind: 'ok', value: true };

test('an order is noted before it is sent, and kept before that is told', async () => {
  const { order, asked, told, noted, settled, clock } = openBook();
  order(1);
  expect(noted).toEqual(['asked 1', 'sent']);
  asked[0]?.resolve(KEPT);
  await settled();
  expect(noted).toEqual(['asked 1', 'sent', 'kept 1']);
  expect(told).toEqual([{ type: 'lease.kept', serial: 1 }]);
  expect(clock.pending).toEqual([]);
});

test('a lease of somebody else’s, a database that does not take it, a rejection', async () => {
  const { order, asked, told, settled } = openBook();
  order(1);
  asked[0]?.resolve({ kind: 'ok', value: false });
  await settled();
  order(2);
  asked[1]?.resolve({ kind: 'fatal', code: 'DATABASE_REFUSED', reason: 'it does not take it' });
  await settled();
  order(3);
  asked[2]?.reject(new Error('the pool is closed'));
  await settled();
  expect(told).toMatchObject([
    { type: 'lease.taken' },
    { type: 'lease.unanswered', serial: 2, reason: 'it does not take it' },
    { type: 'lease.unanswered', serial: 3, reason: 'the pool is closed' },
  ]);
});

test('an answer too late is no answer, and does not make the lease good', async () => {
  const { order, asked, told, noted, settled, clock } = openBook();
  order(1);
  clock.advance(ANSWER_WITHIN_MS);
  expect(told).toMatchObject([{ type: 'lease.unanswered', serial: 1 }]);
  order(2);
  asked[0]?.resolve(KEPT);
  await settled();
  expect(told).toHaveLength(1);
  expect(noted).not.toContain('kept 1');
  asked[1]?.resolve(KEPT);
  await settled();
  expect(told.slice(1)).toEqual([{ type: 'lease.kept', serial: 2 }]);
});

test('that somebody else has it is not told too late: the next renewal says so', async () => {
  const { order, asked, told, settled, clock } = openBook();
  order(1);
  clock.advance(ANSWER_WITHIN_MS);
  asked[0]?.resolve({ kind: 'ok', value: false });
  await settled();
  expect(told).toHaveLength(1);
});

test('a book that is closed says nothing, and leaves no timer that keeps the process alive', async () => {
  const { order, asked, told, settled, clock, stop } = openBook();
  order(1);
  expect(clock.pending).toHaveLength(1);
  stop();
  expect(clock.pending).toEqual([]);
  asked[0]?.resolve(KEPT);
  await settled();
  expect(told).toEqual([]);
});
