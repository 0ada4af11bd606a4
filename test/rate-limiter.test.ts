import { describe, expect, it } from 'vitest';
import { createRateLimiter } from '../src/rate-limiter.ts';

/** A lock that one has at a time, as the database's is. */
function scopeLock() {
  let holder: string | undefined;
  return {
    get holder() {
      return holder;
    },
    taker: (name: string) => async () => {
      await Promise.resolve();
      if (holder !== undefined) throw new Error(`${holder} has it`);
      holder = name;
    },
    free: () => {
      holder = undefined;
    },
  };
}

describe('a user’s scope, held for all synchronisations of one limiter', () => {
  it('is taken once, by two that begin in the same instant', async () => {
    const limiter = createRateLimiter();
    const lock = scopeLock();
    await Promise.all([
      limiter.holdUser('user:a', lock.taker('one')),
      limiter.holdUser('user:a', lock.taker('two')),
    ]);
    expect(lock.holder).toBe('one');
    limiter.close();
  });

  it('goes on to the next when the one that took it ends, and is free when the last has ended', async () => {
    const limiter = createRateLimiter();
    const lock = scopeLock();
    const endOne = await limiter.holdUser('user:a', lock.taker('one'));
    const endTwo = await limiter.holdUser('user:a', lock.taker('two'));
    lock.free();
    await endOne();
    expect(lock.holder).toBe('two');
    lock.free();
    await endTwo();
    await limiter.holdUser('user:a', lock.taker('three'));
    expect(lock.holder).toBe('three');
    limiter.close();
  });

  it('refuses all who wait for it when another process has it, and may be tried again', async () => {
    const limiter = createRateLimiter();
    const lock = scopeLock();
    await lock.taker('another process')();
    const both = await Promise.allSettled([
      limiter.holdUser('user:a', lock.taker('one')),
      limiter.holdUser('user:a', lock.taker('two')),
    ]);
    expect(both.map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    lock.free();
    await limiter.holdUser('user:a', lock.taker('three'));
    expect(lock.holder).toBe('three');
    limiter.close();
  });
});
