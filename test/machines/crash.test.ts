/** Workers that crash, in every state they can be in: reaped, replaced, a bounded number of times. */
import { afterEach, describe, expect, test } from 'vitest';
import { committed, MachineSystem, type SystemOptions } from './support/system.ts';

const MINUTE_MS = 60_000;
const RULES = [{ scopeKind: 'site', limit: 100, windowMs: MINUTE_MS }];
const systems: MachineSystem[] = [];
afterEach(() => {
  for (const system of systems.splice(0)) system.stop();
});

function start(options?: SystemOptions): MachineSystem {
  const system = new MachineSystem({ rules: RULES, ...options }).start();
  systems.push(system);
  return system;
}

/** Brings worker `w0` into a state. */
const STATES: Record<string, () => MachineSystem> = {
  idle: () => {
    const system = start({ slices: 1 });
    system.coordinator.send({ type: 'concurrency.change', maxConcurrency: 1 });
    system.open[0]?.answer(() => committed({ kind: 'page', startRow: 25_000 }));
    system.coordinator.send({ type: 'pause' });
    system.open[0]?.answer();
    return system;
  },
  awaitingTokens: () => {
    const system = start({ slices: 12, rules: [{ scopeKind: 'site', limit: 4, windowMs: MINUTE_MS }] });
    // The first call's tokens count for a minute; its worker asks again and waits.
    system.open[0]?.answer();
    return system;
  },
  'calling.fetching': () => start({ slices: 8 }),
  backingOff: () => {
    const system = start({ slices: 8 });
    system.open[0]?.fail();
    return system;
  },
};

describe.each(Object.keys(STATES))('a worker that crashes in %s', (state) => {
  const begin = (): MachineSystem => {
    const create = STATES[state];
    if (create === undefined) throw new Error(state);
    const system = create();
    const value = system.workerState('w0');
    expect(typeof value === 'string' ? value : 'calling.fetching').toBe(state);
    return system;
  };

  test('is reaped, born again under its old id, and nothing is lost, doubled, or left of its tokens', async () => {
    const system = begin();
    const dead = system.slot('w0');
    system.crash('w0');
    expect(system.slot('w0').status).toBe('reaping');
    expect(system.reapers.map(({ input }) => input)).toEqual([
      { workerId: 'w0', assignmentId: `run:w0.${dead.serial}`, pages: dead.pages },
    ]);
    // Until its call has ended, its pages go to nobody else.
    const others = system.calls.filter(({ input }) => input.workerId !== 'w0').flatMap(({ ids }) => ids);
    for (const page of dead.pages) expect(others).not.toContain(page.sliceId);
    await system.reapers[0]?.resolve({ workerId: 'w0', committed: [] });
    expect(system.emitted).toContainEqual({ type: 'worker.restarted', workerId: 'w0' });
    // What the dead one says late is not taken for the word of its successor.
    const about = { workerId: 'w0', assignmentId: `run:w0.${dead.serial}`, sliceId: 's0', startRow: 0 };
    const next = { kind: 'page', startRow: 25_000 } as const;
    const before = system.committed;
    system.coordinator.send({ type: 'page.committed', ...about, rows: 1, next });
    const { status } = system.slot('w0');
    system.coordinator.send({ type: 'worker.halted', workerId: 'w0', assignmentId: about.assignmentId });
    expect([system.committed, system.slot('w0').status]).toEqual([before, status]);
    system.coordinator.send({ type: 'resume' });
    system.finish();
    expect(system.snapshot.output).toEqual({ status: 'complete' });
    expect(new Set(system.committed)).toEqual(new Set(system.all));
    expect(system.left).toEqual([]);
    system.clock.advance(10 * MINUTE_MS);
    const { leases, queue, budgets } = system.limiter.getSnapshot().context;
    expect([leases.size, queue, budgets.size]).toEqual([0, [], 0]);
  });

  test('while the run halts: the end of its call is awaited', async () => {
    const system = begin();
    system.crash('w0');
    const calls = system.calls.length;
    system.coordinator.send({ type: 'halt', reason: { kind: 'asked', reason: 'enough' } });
    for (const call of system.open) if (call.aborted) call.fail({ kind: 'aborted' });
    expect(system.snapshot.value).toBe('halting');
    await system.reapers[0]?.resolve({ workerId: 'w0', committed: [] });
    expect(system.snapshot.value).toBe('halted');
    expect(system.calls.length).toBe(calls);
    expect(system.limiter.getSnapshot().context).toMatchObject({ leases: { size: 0 }, queue: [] });
  });
});

test('what a crashed worker had committed unseen counts once, and leads to the next page', async () => {
  const system = start({ slices: 2, maxConcurrency: 1 });
  system.crash('w0');
  await system.reapers[0]?.resolve({
    workerId: 'w0',
    committed: [{ sliceId: 's0', startRow: 0, rows: 25_000, next: { kind: 'page', startRow: 25_000 } }],
  });
  expect(system.committed).toEqual(['s0']);
  expect(system.calls.at(-1)?.input.pages).toMatchObject([
    { sliceId: 's0', startRow: 25_000 },
    { sliceId: 's1', startRow: 0 },
  ]);
});

test('a call that cannot even be started crashes its worker, and its tokens come back', async () => {
  const system = new MachineSystem({ rules: RULES, slices: 8 });
  systems.push(system);
  system.throwingCalls = 1;
  system.start();
  expect([system.slot('w0').status, system.slot('w1').status]).toEqual(['reaping', 'busy']);
  await system.reapers[0]?.resolve({ workerId: 'w0', committed: [] });
  system.finish();
  expect(system.snapshot.output).toEqual({ status: 'complete' });
  expect(system.committed).toEqual(system.all);
  system.clock.advance(10 * MINUTE_MS);
  expect(system.limiter.getSnapshot().context.budgets.size).toBe(0);
});

test('pages that had failed before the crash keep their attempts', async () => {
  const system = start({ slices: 2, maxConcurrency: 1 });
  const [call] = system.open;
  call?.say({ type: 'call.settled', tokens: 1, accepted: 1, graceMs: 0 });
  const result = { kind: 'failed', reason: 'truncated', final: false } as const;
  call?.say({ type: 'call.page', sliceId: 's0', startRow: 0, result });
  system.crash('w0');
  await system.reapers[0]?.resolve({ workerId: 'w0', committed: [] });
  expect(
    system.calls.at(-1)?.input.pages.toSorted((a, b) => a.sliceId.localeCompare(b.sliceId)),
  ).toMatchObject([
    { sliceId: 's0', attempts: 1 },
    { sliceId: 's1', attempts: 0 },
  ]);
});

test('a reaper that fails replaces the worker all the same: the ledger tells what was committed', async () => {
  const system = start({ slices: 2, maxConcurrency: 1 });
  system.crash('w0');
  await system.reapers[0]?.reject();
  system.finish();
  expect(system.snapshot.output).toEqual({ status: 'complete' });
});

test('crashes without end fail the run after maxWorkerRestarts, with the pages kept', async () => {
  const system = start({ slices: 4, maxConcurrency: 2, maxWorkerRestarts: 2 });
  for (let crash = 0; crash < 3; crash += 1) {
    expect(system.snapshot.status).toBe('active');
    system.crash('w0');
    await system.reapers.at(-1)?.resolve({ workerId: 'w0', committed: [] });
  }
  expect(system.snapshot.value).toBe('halting');
  // XState keeps the dead among the children until they are stopped.
  expect(Object.keys(system.snapshot.children).sort()).toEqual(['plan', 'w1']);
  // The other worker's call is aborted and waited for.
  expect(system.open.map(({ aborted }) => aborted)).toEqual([true]);
  system.open[0]?.fail({ kind: 'aborted' });
  expect(system.snapshot.output).toMatchObject({ status: 'failed', fatal: { code: 'INTERNAL' } });
  expect(system.emitted.filter(({ type }) => type === 'worker.restarted').length).toBe(2);
  expect(system.left).toEqual(system.all);
});

test('a crash while the call is being aborted: the run still ends as it was asked to', async () => {
  const system = start({ slices: 4, maxConcurrency: 1 });
  system.coordinator.send({ type: 'halt', reason: { kind: 'asked', reason: 'enough' } });
  expect(system.workerState('w0')).toEqual({ calling: 'aborting' });
  system.crash('w0');
  expect(system.slot('w0').status).toBe('reaping');
  await system.reapers[0]?.resolve({ workerId: 'w0', committed: [] });
  expect(system.snapshot.output).toEqual({ status: 'halted', reason: { kind: 'asked', reason: 'enough' } });
  expect(system.emitted.filter(({ type }) => type === 'worker.restarted')).toEqual([]);
});

test('the plan crashes: the run fails and says so', () => {
  const system = new MachineSystem({ slices: 4 });
  systems.push(system);
  system.planAnswers = false;
  system.start();
  system.coordinator.send({ type: 'xstate.error.actor.plan', actorId: 'plan', error: new Error('a bug') });
  expect(system.snapshot.output).toEqual({
    status: 'failed',
    fatal: { code: 'INTERNAL', reason: 'the actor "plan" crashed: a bug' },
  });
});
