import { expect, test } from 'vitest';
import { createSystemModel, findBroken, walk } from '../../../src/model/index.ts';

test('tokens of a worker that crashed are settled when its call has ended', () => {
  const model = createSystemModel({ slices: [1, 1], rare: { workerCrash: 1 }, maxRare: 1 });
  const world = walk(
    model,
    [
      { type: 'plan.answers', how: 'supplied' },
      { type: 'worker.crashes', worker: 'w0' },
      { type: 'call.ends', worker: 'w0', how: 'aborted' },
      { type: 'reaper.ends', worker: 'w0', how: 'done' },
    ],
    (at) => expect(findBroken(model, at)).toBeUndefined(),
  );
  // The new worker's token is the only one that is still out; the lost one expires like any that settled.
  expect([...world.limiter.context.leases.values()]).toMatchObject([{ unsettled: 1 }]);
  expect(world.timers.filter(({ event }) => event.type === 'lease.expired')).toHaveLength(1);
});

test('a worker that crashed while it waited for tokens waits no more', () => {
  const model = createSystemModel({
    slices: [1, 1],
    quota: 1,
    planChunk: 2,
    rare: { workerCrash: 1 },
    maxRare: 1,
  });
  const world = walk(model, [
    { type: 'plan.answers', how: 'supplied' },
    { type: 'worker.crashes', worker: 'w1' },
    { type: 'reaper.ends', worker: 'w1', how: 'done' },
  ]);
  // One request: that of the worker that took its place.
  expect(world.limiter.context.queue.map(({ requestId }) => requestId)).toHaveLength(1);
  expect(findBroken(model, world)).toBeUndefined();
});

test('a halt that ends by its deadline leaves no token with the limiter, which others may share', () => {
  const model = createSystemModel({ slices: [1], rare: { halt: 1 }, maxRare: 1 });
  const world = walk(model, [
    { type: 'plan.answers', how: 'supplied' },
    { type: 'halt' },
    { type: 'timer', owner: 'coordinator', timer: 'xstate.after.haltDeadline.coordinator.halting' },
  ]);
  expect(world.coordinator.value).toBe('halted');
  expect(world.limiter.context.leases.size).toBe(0);
});
