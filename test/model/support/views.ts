/** A world of the model, and the real system, in the same words: a text that must be equal. */
import type { AnyMachineSnapshot } from 'xstate';
import type { World } from '../../../src/model/index.ts';
import type { startRealSystem } from './real-system.ts';

export function viewOfModel(world: World): string {
  return viewOf({
    coordinator: viewOfSnapshot(world.coordinator),
    limiter: viewOfSnapshot(world.limiter),
    workers: sorted(world.workers, viewOfSnapshot),
    timers: timersOf(world.timers),
    calls: sorted(world.calls, ({ leaseId, aborted }) => ({ leaseId, aborted })),
    owed: world.coordinator.status === 'active' ? world.plan.owed : 0,
    errors: 0,
  });
}

export function viewOfReal(real: ReturnType<typeof startRealSystem>): string {
  const coordinator = real.coordinator.getSnapshot();
  const workers: Record<string, AnyMachineSnapshot> = {};
  for (const [id, child] of Object.entries(real.childrenOf())) {
    const snapshot = child?.getSnapshot();
    if (/^w\d+$/.test(id) && snapshot?.status === 'active') workers[id] = snapshot;
  }
  return viewOf({
    coordinator: viewOfSnapshot(coordinator),
    limiter: viewOfSnapshot(real.limiter.getSnapshot()),
    // An end stops them all; XState still lists them.
    workers: coordinator.status === 'active' ? sorted(workers, viewOfSnapshot) : [],
    timers: timersOf([...real.timers.pending.values()]),
    calls: sorted(Object.fromEntries(real.calls), ({ input, aborted }) => ({
      leaseId: input.leaseId,
      aborted,
    })),
    owed: coordinator.status === 'active' ? real.owed : 0,
    errors: real.errors.length,
  });
}

function viewOfSnapshot(snapshot: AnyMachineSnapshot): object {
  const { input: _, ...context } = snapshot.context;
  const { value, status } = snapshot;
  const children = Object.keys(snapshot.children).sort();
  // An orderly end stops the children; whether they are still listed is XState's affair.
  return { value, status, context, children: status === 'active' ? children : [] };
}

interface TimerView {
  readonly owner: string;
  readonly event: object;
  readonly delayMs: number;
}

function timersOf(timers: readonly TimerView[]): readonly TimerView[] {
  return timers
    .map(({ owner, event, delayMs }) => ({ owner, event, delayMs }))
    .sort((a, b) => (a.owner < b.owner ? -1 : a.owner > b.owner ? 1 : 0));
}

function sorted<V>(record: Readonly<Record<string, V>>, view: (value: V) => object): readonly object[] {
  return Object.keys(record)
    .sort()
    .map((key) => [key, view(record[key] as V)]);
}

/** Serials of assignments grow in the real system and are numbered anew in the model: only their order counts. */
function viewOf(parts: Readonly<Record<string, unknown>>): string {
  const text = JSON.stringify(parts, (_, value: unknown) => {
    if (typeof value !== 'object' || value === null) return value;
    if ('xstate$$type' in value || 'sessionId' in value) return `@${refName(value)}`;
    if ('serial' in value && 'workerId' in value) {
      return { ...value, serial: `run:${String(value.workerId)}.${String(value.serial)}` };
    }
    return value;
  });
  const live = [...new Set(text.match(SERIAL) ?? [])].sort((a, b) => serialOf(a) - serialOf(b));
  const ranks = new Map<string, number>();
  const names = new Map<string, string>();
  for (const id of live) {
    const worker = id.slice(0, id.indexOf('.'));
    const rank = ranks.get(worker) ?? 0;
    ranks.set(worker, rank + 1);
    names.set(id, `${worker}.${rank}`);
  }
  return text.replace(SERIAL, (id) => names.get(id) ?? id);
}

const SERIAL = /run:w\d+\.\d+/g;
const serialOf = (id: string): number => Number(id.slice(id.indexOf('.') + 1));

function refName(ref: object): string {
  const id = 'id' in ref ? String(ref.id) : '';
  return id.startsWith('x:') ? 'root' : id;
}
