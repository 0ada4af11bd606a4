// Holds invariants 5 of SPEC.md.
/** Pause, resume, halt, concurrency and a database that is away, in every phase of a run. All three machines are real. */
import { afterEach, describe, expect, test } from 'vitest';
import { committed, failed, MachineSystem, type SystemOptions } from './support/system.ts';

const MINUTE_MS = 60_000;
const systems: MachineSystem[] = [];
afterEach(() => {
  for (const system of systems.splice(0)) system.stop();
});

function start(options?: SystemOptions): MachineSystem {
  const system = new MachineSystem(options).start();
  systems.push(system);
  return system;
}

const TIGHT = [{ scopeKind: 'site', limit: 4, windowMs: MINUTE_MS }];
const ASKED = { kind: 'asked', reason: 'enough' } as const;

/** Brings a run of two workers into a phase. In all of them every page can still be fetched. */
const PHASES: Record<string, () => MachineSystem | Promise<MachineSystem>> = {
  planning: () => {
    const system = new MachineSystem();
    system.planAnswers = false;
    systems.push(system);
    return system.start();
  },
  'calls under way': () => start(),
  'one call under way, one worker without tokens': () => start({ slices: 8, rules: TIGHT }),
  'a worker with fewer tokens than pages': () =>
    start({ slices: 8, rules: [{ scopeKind: 'site', limit: 2, windowMs: MINUTE_MS }] }),
  'backing off': () => {
    const system = start({ slices: 4, maxConcurrency: 1 });
    system.open[0]?.fail();
    return system;
  },
  'waiting for a retry': () => {
    const system = start({ slices: 2 });
    for (const call of [...system.open]) call.answer(() => failed());
    return system;
  },
  'waiting for the database': () => {
    const system = start({ slices: 4, maxConcurrency: 1 });
    system.open[0]?.fail({ kind: 'databaseAway', reason: 'gone' });
    return system;
  },
  'probing the database': () => {
    const system = start({ slices: 4, maxConcurrency: 1 });
    system.open[0]?.fail({ kind: 'databaseAway', reason: 'gone' });
    system.clock.advance(500);
    return system;
  },
  'the limiter cools': () => {
    const system = start({ slices: 4, maxConcurrency: 1 });
    system.open[0]?.answer(() => ({ kind: 'refused', quota: 'load', retryAfterMs: null }));
    return system;
  },
  'reaping a crashed worker': () => {
    const system = start();
    system.crash('w0');
    return system;
  },
};

/** Has everything under way come to its end, but starts nothing. */
async function settle(system: MachineSystem): Promise<void> {
  for (const call of [...system.open]) {
    if (call.aborted) call.fail({ kind: 'aborted' });
    else if (system.snapshot.value === 'pausing') call.answer();
  }
  for (const { input, resolve } of system.reapers) await resolve({ workerId: input.workerId, committed: [] });
}

describe.each(Object.keys(PHASES))('%s', (phase) => {
  const begin = async (): Promise<MachineSystem> => {
    const create = PHASES[phase];
    if (create === undefined) throw new Error(phase);
    return create();
  };

  test('halt: no call starts any more, and the run ends with every page accounted for', async () => {
    const system = await begin();
    const calls = system.calls.length;
    system.coordinator.send({ type: 'halt', reason: ASKED });
    expect(system.open.every(({ aborted, input }) => aborted || input.workerId === 'w0')).toBe(true);
    await settle(system);
    expect(system.snapshot.output).toEqual({ status: 'halted', reason: ASKED });
    system.clock.advance(60 * MINUTE_MS);
    expect(system.calls.length).toBe(calls);
    expect(system.left.length).toBe(system.supplied);
    // Invariant 4: no token is left with anybody, no request waits.
    expect(system.limiter.getSnapshot().context).toMatchObject({ leases: { size: 0 }, queue: [] });
  });

  test('halt: ends at its deadline when nothing else does', async () => {
    const system = await begin();
    system.coordinator.send({ type: 'halt', reason: ASKED });
    const unended = system.open.length + system.reapers.length > 0;
    system.clock.advance(4_999);
    expect(system.snapshot.status).toBe(unended ? 'active' : 'done');
    system.clock.advance(1);
    expect(system.snapshot.output).toEqual({ status: 'halted', reason: ASKED });
    expect(system.limiter.getSnapshot().context).toMatchObject({ leases: { size: 0 }, queue: [] });
  });

  test('pause: nothing starts and calls under way finish; resume: the run completes', async () => {
    const system = await begin();
    const calls = system.calls.length;
    system.coordinator.send({ type: 'pause' });
    await settle(system);
    expect(system.snapshot.value).toBe('paused');
    if (phase === 'planning') system.supply();
    system.planAnswers = true;
    system.clock.advance(10 * MINUTE_MS);
    expect(system.calls.length).toBe(calls);
    expect(system.limiter.getSnapshot().context).toMatchObject({ leases: { size: 0 }, queue: [] });
    system.coordinator.send({ type: 'resume' });
    system.finish();
    expect(system.snapshot.output).toEqual({ status: 'complete' });
    expect(system.committed).toEqual(system.all);
  });

  test('pause and resume in one breath: every page is still fetched once', async () => {
    const system = await begin();
    system.coordinator.send({ type: 'pause' });
    system.coordinator.send({ type: 'resume' });
    await settle(system);
    if (phase === 'planning') system.supply();
    system.planAnswers = true;
    system.finish();
    expect(system.snapshot.output).toEqual({ status: 'complete' });
    expect(system.committed).toEqual(system.all);
  });

  test('fail: ends as failed, whatever was under way', async () => {
    const system = await begin();
    const fatal = { code: 'LOCK_LOST', reason: 'the lock is lost' };
    system.coordinator.send({ type: 'halt', reason: ASKED });
    if (system.snapshot.status === 'active') {
      system.coordinator.send({ type: 'fail', fatal });
      await settle(system);
      expect(system.snapshot.output).toEqual({ status: 'failed', fatal });
    }
    expect(system.snapshot.status).toBe('done');
  });
});

test('a call that is aborted is waited for: what it committed counts', () => {
  const system = start({ slices: 2, maxConcurrency: 1 });
  system.coordinator.send({ type: 'halt', reason: ASKED });
  const [call] = system.open;
  expect(call?.aborted).toBe(true);
  expect(system.workerState('w0')).toEqual({ calling: 'aborting' });
  call?.say({ type: 'call.settled', tokens: 2, accepted: 2, graceMs: 0 });
  call?.say({ type: 'call.page', sliceId: 's0', startRow: 0, result: committed() });
  expect(system.snapshot.status).toBe('active');
  call?.end({ kind: 'aborted' });
  expect(system.snapshot.output?.status).toBe('halted');
  expect([system.committed, system.left]).toEqual([['s0'], ['s1']]);
});

describe('concurrency', () => {
  test('up and down while running: never more calls than the limit, once those from before have ended', () => {
    const system = start({ slices: 400, batchSize: 2, maxConcurrency: 2 });
    for (const maxConcurrency of [5, 1, 3, 8, 2, 1, 4]) {
      system.coordinator.send({ type: 'concurrency.change', maxConcurrency });
      // Lowering stops nobody.
      expect(system.open.some(({ aborted }) => aborted)).toBe(false);
      const before = system.open.filter((call) => call.input.assignmentId !== '');
      for (const call of before) {
        call.answer();
        const later = system.open.filter((open) => !before.includes(open)).length;
        expect(later).toBeLessThanOrEqual(maxConcurrency);
      }
      expect(system.open.length).toBe(maxConcurrency);
      expect(system.calls.at(-1)?.ids.length).toBe(2);
    }
    system.finish();
    expect(system.committed).toEqual(system.all);
    expect(system.snapshot.context.workers.length).toBe(8);
  });

  test('raised while paused: the new workers work once it goes on', () => {
    const system = start({ slices: 40, batchSize: 4, maxConcurrency: 1 });
    system.coordinator.send({ type: 'pause' });
    system.open[0]?.answer();
    system.coordinator.send({ type: 'concurrency.change', maxConcurrency: 3 });
    expect(system.open).toEqual([]);
    system.coordinator.send({ type: 'resume' });
    expect(system.open.length).toBe(3);
  });
});

describe('a database that is away', () => {
  const away = { kind: 'databaseAway', reason: 'gone' } as const;

  test('nothing goes out until it answers; then everything goes on', async () => {
    const system = start({ slices: 8, maxConcurrency: 2, maxDatabaseProbes: 3 });
    const [first, second] = system.open;
    first?.fail(away);
    expect(system.emitted).toContainEqual({ type: 'database.away', reason: 'gone' });
    second?.answer();
    expect(system.open).toEqual([]);
    system.clock.advance(500);
    await system.probes[0]?.reject();
    // Exponential: the second wait is 2 s without jitter.
    system.clock.advance(1_999);
    expect(system.probes.length).toBe(1);
    system.clock.advance(1);
    await system.probes[1]?.resolve();
    expect(system.emitted).toContainEqual({ type: 'database.back' });
    system.finish();
    expect(system.snapshot.output).toEqual({ status: 'complete' });
    expect(system.committed).toEqual(system.all);
  });

  test('it is asked maxDatabaseProbes times, no more; then the run halts, to be resumed', async () => {
    const system = start({ slices: 2, maxConcurrency: 1, maxDatabaseProbes: 3 });
    system.open[0]?.fail(away);
    for (let probe = 0; probe < 3; probe += 1) {
      expect(system.snapshot.status).toBe('active');
      system.clock.advance(10 * MINUTE_MS);
      expect(system.probes.length).toBe(probe + 1);
      await system.probes[probe]?.reject();
    }
    expect(system.snapshot.output).toMatchObject({ status: 'halted', reason: { kind: 'databaseAway' } });
    expect(system.left).toEqual(system.all);
  });

  test('the plan finds it away: it is asked again when the database is back', async () => {
    const system = new MachineSystem({ slices: 4 });
    systems.push(system);
    system.planAnswers = false;
    system.start();
    system.failPlan();
    expect(system.snapshot.value).toEqual({ running: { waitingForDatabase: 'sleeping' } });
    system.clock.advance(500);
    system.planAnswers = true;
    system.planOrders.length = 0;
    await system.probes[0]?.resolve();
    system.finish();
    expect(system.committed).toEqual(system.all);
  });
});
