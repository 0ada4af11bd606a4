/** How long an outage is sat out, and what it costs: the statecharts are real, time is not. */
import { afterEach, expect, test } from 'vitest';
import { PROBE } from '../../src/machines/coordinator/context.ts';
import { type Call, failed, MachineSystem, type SystemOptions } from '../machines/support/system.ts';

const MINUTE_MS = 60_000;
const systems: MachineSystem[] = [];
afterEach(() => {
  for (const system of systems.splice(0)) system.stop();
});

function start(options: SystemOptions): MachineSystem {
  const system = new MachineSystem(options).start();
  systems.push(system);
  return system;
}

/** Every call fails until so much time has passed; then all are answered. */
function outage(
  system: MachineSystem,
  forMs: number,
  fail: (call: Call) => void = (call) => call.fail(),
): void {
  const startedMs = system.clock.now();
  for (let turns = 0; system.snapshot.status === 'active' && turns < 100_000; turns += 1) {
    const [call] = system.open;
    if (call === undefined) {
      system.clock.runUntil(() => system.open.length > 0 || system.snapshot.status !== 'active', 10_000);
    } else if (system.snapshot.matches('halting')) call.fail({ kind: 'aborted' });
    else if (system.clock.now() - startedMs < forMs) fail(call);
    else call.answer();
  }
}

test.each([
  { minutes: 1, maxConcurrency: 1, batchSize: 1 },
  { minutes: 4, maxConcurrency: 3, batchSize: 50 },
  { minutes: 10, maxConcurrency: 1, batchSize: 50 },
  { minutes: 10, maxConcurrency: 8, batchSize: 1 },
  { minutes: 14, maxConcurrency: 3, batchSize: 5 },
])(
  'an outage of $minutes minutes costs no page an attempt: $batchSize at $maxConcurrency',
  ({ minutes, ...shape }) => {
    const system = start({ slices: 120, ...shape });
    outage(system, minutes * MINUTE_MS);
    expect(system.snapshot.output).toEqual({ status: 'complete' });
    expect(system.committed).toEqual(system.all);
    expect(system.emitted.filter(({ type }) => type === 'page.failed')).toEqual([]);
    expect(system.emitted.filter(({ type }) => type.startsWith('google.')).map(({ type }) => type)).toEqual([
      'google.away',
      'google.back',
    ]);
    // A few calls find it out; then there is one probe a minute at most.
    const probes = system.calls.filter(({ ids }) => ids.includes(PROBE)).length;
    expect(system.calls.filter(({ ids }) => !ids.includes(PROBE)).length).toBeLessThan(140);
    expect(probes).toBeLessThanOrEqual(10 + minutes);
  },
);

test('an outage without an end halts the run after a quarter of an hour, and loses no page', () => {
  const system = start({ slices: 8, maxConcurrency: 2 });
  outage(system, Number.POSITIVE_INFINITY);
  expect(system.snapshot.output).toMatchObject({ status: 'halted', reason: { kind: 'callFailures' } });
  expect(system.left).toEqual(system.all);
  expect(system.clock.now()).toBeGreaterThan(15 * MINUTE_MS);
  expect(system.clock.now()).toBeLessThan(60 * MINUTE_MS);
});

test('a token that runs out during an outage ends no run', () => {
  const system = start({ slices: 20, maxConcurrency: 2 });
  let calls = 0;
  outage(system, 5 * MINUTE_MS, (call) => {
    calls += 1;
    call.fail(calls % 4 === 0 ? { kind: 'unauthorized' } : undefined);
  });
  expect(system.snapshot.output).toEqual({ status: 'complete' });
});

test('a halt during an outage is one at once, asleep or probing', () => {
  for (const isProbing of [false, true]) {
    const system = start({ slices: 4, maxConcurrency: 1 });
    for (let calls = 0; calls < 3; calls += 1) {
      system.open[0]?.fail();
      if (calls < 2) system.clock.runUntil(() => system.open.length > 0);
    }
    expect(system.snapshot.matches({ running: 'waitingForGoogle' })).toBe(true);
    if (isProbing) system.clock.runUntil(() => system.open.length > 0);
    system.coordinator.send({ type: 'halt', reason: { kind: 'asked', reason: 'enough' } });
    for (const call of [...system.open]) call.fail({ kind: 'aborted' });
    expect(system.snapshot.output).toMatchObject({ status: 'halted', reason: { kind: 'asked' } });
    expect(system.left).toEqual(system.all);
  }
});

test('a page is blamed only if it fails alone, again, and while Google is well', () => {
  const system = start({ slices: 1, maxConcurrency: 1, batchSize: 3, maxAttempts: 2 });
  const blamed: string[] = [];
  for (let turns = 0; system.snapshot.status === 'active' && turns < 1_000; turns += 1) {
    const [call] = system.open;
    if (call === undefined) system.clock.runUntil(() => system.open.length > 0, 10_000);
    else if (call.ids.includes(PROBE)) call.answer();
    else if (call.input.blame === 'call') call.fail();
    else {
      blamed.push(...call.ids);
      call.answer(({ attempts }) => failed(attempts + 1 >= 2));
    }
  }
  expect(blamed).toEqual(['s0', 's0']);
  // Once it is known that Google is well it is not asked again for each failure.
  expect(system.emitted.filter(({ type }) => type === 'google.away')).toHaveLength(1);
  expect(system.snapshot.output).toEqual({ status: 'completeWithFailures' });
});

test('failures that others come between are no outage', () => {
  const system = start({ slices: 40, maxConcurrency: 1, batchSize: 1 });
  for (let calls = 0; system.snapshot.status === 'active' && calls < 1_000; calls += 1) {
    const [call] = system.open;
    if (call === undefined) system.clock.runUntil(() => system.open.length > 0, 10_000);
    else if (calls % 3 === 0 && call.input.blame === 'call') call.fail();
    else call.answer();
  }
  expect(system.snapshot.output).toEqual({ status: 'complete' });
  expect(system.emitted.filter(({ type }) => type === 'google.away')).toEqual([]);
});

test('a good past proves nothing once calls fail: no page is blamed as an outage begins', () => {
  const system = start({ slices: 12, maxConcurrency: 2, batchSize: 1 });
  for (let calls = 0; calls < 6; calls += 1) system.open[0]?.answer();
  const blames: string[] = [];
  outage(system, 3 * MINUTE_MS, (call) => {
    blames.push(call.input.blame);
    call.fail();
  });
  expect(new Set(blames)).toEqual(new Set(['call']));
  expect(system.snapshot.output).toEqual({ status: 'complete' });
});
