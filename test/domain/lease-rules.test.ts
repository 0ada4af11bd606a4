import { expect, test } from 'vitest';
import {
  isValid,
  judgeHolders,
  leaseJoined,
  lookAgain,
  NO_LOOK,
  renewalAsked,
  renewalKept,
  validSince,
} from '../../src/domain/lease-rules.ts';

const lease = (state: 'alive' | 'unknown' | 'gone', renewedAt: number) => ({
  state,
  renewedAt: String(renewedAt),
});

test('what nobody holds may be taken', () => {
  expect(judgeHolders([], null)).toBeUndefined();
  expect(judgeHolders([], '5')).toBeUndefined();
});

test('one that is gone is dead at the second look, unless it has renewed', () => {
  expect(judgeHolders([lease('gone', 5)], null)).toEqual({ kind: 'busy', holder: 'gone', renewedAt: '5' });
  expect(judgeHolders([lease('gone', 5)], '5')).toBeUndefined();
  expect(judgeHolders([lease('gone', 6)], '5')).toMatchObject({ holder: 'gone', renewedAt: '6' });
});

test('all leases of a dead process are dead, also those that it renewed earlier', () => {
  const leases = [lease('gone', 3), lease('gone', 9), lease('gone', 4)];
  const first = judgeHolders(leases, null);
  expect(first).toMatchObject({ holder: 'gone', renewedAt: '9' });
  if (first === undefined) return;
  const { looks, isAlive } = lookAgain(NO_LOOK, first);
  expect(isAlive).toBe(false);
  expect(judgeHolders(leases, looks.goneSince)).toBeUndefined();
});

test('the liveliest of several holders decides, wherever it stands', () => {
  expect(judgeHolders([lease('gone', 9), lease('alive', 2)], '9')).toMatchObject({ holder: 'alive' });
  expect(judgeHolders([lease('unknown', 2), lease('gone', 9)], null)).toMatchObject({
    holder: 'unknown',
    renewedAt: '9',
  });
});

test('renewals are compared as numbers: they grow by a digit now and then', () => {
  expect(judgeHolders([lease('gone', 1_000)], '999')).toBeDefined();
  expect(judgeHolders([lease('gone', 999)], '1000')).toBeUndefined();
});

test('a holder without presence lives when it has renewed since the first look', () => {
  const busy = (renewedAt: number) =>
    ({ kind: 'busy', ...lease('unknown', renewedAt), holder: 'unknown' }) as const;
  const first = lookAgain(NO_LOOK, busy(5));
  expect(first.isAlive).toBe(false);
  expect(lookAgain(first.looks, busy(5)).isAlive).toBe(false);
  expect(lookAgain(first.looks, busy(6)).isAlive).toBe(true);
  // The newest was given up, and an older one is found.
  expect(lookAgain(first.looks, busy(4)).isAlive).toBe(false);
});

test('only one that is gone is taken for dead at the next look', () => {
  expect(lookAgain(NO_LOOK, { kind: 'busy', holder: 'gone', renewedAt: '5' }).looks.goneSince).toBe('5');
  expect(lookAgain(NO_LOOK, { kind: 'busy', holder: 'alive', renewedAt: '5' }).looks.goneSince).toBeNull();
});

test('an answer is good from before its question, whatever was said before', () => {
  const taken = validSince(100, 50);
  expect([isValid(taken, 149), isValid(taken, 150)]).toEqual([true, false]);
  const renewed = renewalKept(renewalAsked(taken, 1, 120), 1, 50);
  expect([isValid(renewed, 169), isValid(renewed, 170)]).toEqual([true, false]);
  // Of an earlier question, or said twice.
  expect(renewalKept(renewalAsked(renewed, 2, 500), 1, 50)).toMatchObject({ untilMs: 170 });
  expect(renewalKept(renewed, 1, 50)).toEqual(renewed);
});

test('a lease that joins later counts from its own question, and not as renewed by one that did not name it', () => {
  const asked = renewalAsked(validSince(100, 50), 1, 130);
  const joined = leaseJoined(asked, 90, 50);
  expect(joined.untilMs).toBe(140);
  expect(renewalKept(joined, 1, 50).untilMs).toBe(140);
  expect(renewalKept(renewalAsked(joined, 2, 150), 2, 50).untilMs).toBe(200);
  expect(leaseJoined(validSince(100, 50), 120, 50).untilMs).toBe(150);
});
