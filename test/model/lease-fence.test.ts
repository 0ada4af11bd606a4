// Holds invariants 11 of SPEC.md.
/** Paths of the model of leases that are too long to be found among all: what becomes of requests when a lease is taken. */
import { expect, test } from 'vitest';
import {
  createLeaseModel,
  type LeaseModel,
  type LeaseWorld,
  type LeaseWorldEvent,
} from '../../src/model/index.ts';

/** Walks a path; throws where an event of it is not possible. */
function walk(model: LeaseModel, path: readonly LeaseWorldEvent[], from?: LeaseWorld): LeaseWorld {
  let world = from ?? model.logic.getInitialSnapshot(undefined as never, undefined);
  for (const event of path) {
    const name = JSON.stringify(event);
    const possible = model.events(world).map((other) => JSON.stringify(other));
    if (!possible.includes(name))
      throw new Error(`${name} is not possible here, only ${possible.join(', ')}`);
    world = model.logic.transition(world, event, undefined as never);
    for (const { check } of model.invariants) expect(check(world, model.options)).toBeUndefined();
  }
  return world;
}

/** The first message of this kind that is on its way there. */
function arrives(world: LeaseWorld, kind: string, to: 'database' | 'process'): LeaseWorldEvent {
  const message = world.messages.findIndex((entry) => entry.kind === kind && entry.to === to);
  return { type: 'message.arrives', message };
}

const model = createLeaseModel({ rare: { stopped: 1, sessionEnded: 1 }, maxRare: 2 });

function takes(world: LeaseWorld, process: 'a' | 'b'): LeaseWorld {
  let next = walk(model, [{ type: 'run.looks', process }], world);
  next = walk(model, [arrives(next, 'take', 'database')], next);
  return walk(model, [arrives(next, 'take', 'process')], next);
}

/** A has the lease, stands still as its session is ended, and B takes it, which A does not know when it wakes. */
function aWasOvertaken(beforeItStops: readonly LeaseWorldEvent['type'][]): LeaseWorld {
  let world = takes(walk(model, [{ type: 'process.starts', process: 'a' }]), 'a');
  for (const type of beforeItStops) {
    world =
      type === 'message.arrives'
        ? walk(model, [{ type, message: 0 }], world)
        : walk(model, [{ type, process: 'a' } as LeaseWorldEvent], world);
  }
  world = walk(
    model,
    [
      { type: 'process.stops', process: 'a' },
      { type: 'session.ends', process: 'a', staysAway: false },
      { type: 'process.starts', process: 'b' },
    ],
    world,
  );
  world = takes(takes(world, 'b'), 'b');
  expect(world.rows).toMatchObject([{ holder: 'b0' }]);
  return walk(model, [{ type: 'process.wakes', process: 'a' }], world);
}

test('who does not know that its lease is taken records nothing, and so sends nothing', () => {
  let world = walk(model, [{ type: 'run.records', process: 'a' }], aWasOvertaken([]));
  world = walk(model, [arrives(world, 'record', 'database')], world);
  world = walk(model, [arrives(world, 'record', 'process')], world);
  expect(world.processes.a.run).toMatchObject({ told: 'refused', call: undefined });
  const sends = model.events(world).filter((event) => event.type === 'run.sends' && event.process === 'a');
  expect(sends).toEqual([]);
});

test('what was recorded before is sent all the same, and whoever took over has counted it', () => {
  const recorded = ['run.records', 'message.arrives', 'message.arrives'] as const;
  let world = walk(model, [{ type: 'run.sends', process: 'a' }], aWasOvertaken(recorded));
  expect(world.flying).toEqual([{ holder: 'a0', tokens: 'counted' }]);
  world = walk(model, [{ type: 'request.arrives', request: 0 }], world);
  expect(world.broken).toEqual([]);
});

test('what is recorded, and not yet answered, when the lease is taken is counted too', () => {
  const world = aWasOvertaken(['run.records', 'message.arrives']);
  expect(world.processes.a.run).toMatchObject({ call: { stage: 'recording', tokens: 'counted' } });
});
