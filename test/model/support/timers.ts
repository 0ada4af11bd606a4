/** A clock whose timers fire when they are told to, each with what XState scheduled it for. */
import type { AnyActor, AnyActorRef, AnyEventObject } from 'xstate';

export interface RealTimer {
  readonly owner: string;
  readonly event: AnyEventObject;
  readonly delayMs: number;
  readonly fire: () => void;
}

/** What XState notes of a delayed event. `getSnapshot` of a system is public; its shape is not. */
interface Scheduled {
  readonly source: AnyActorRef;
  readonly event: AnyEventObject;
}

export function createTimers() {
  const pending = new Map<number, RealTimer>();
  const seen = new WeakSet<Scheduled>();
  const actors: AnyActor[] = [];
  let count = 0;

  /** XState notes a delayed event before it sets its timer: it is the one not seen before. */
  const latest = (): Scheduled => {
    for (const actor of actors) {
      const scheduled: Record<string, Scheduled> = actor.system.getSnapshot()._scheduledEvents;
      for (const entry of Object.values(scheduled)) {
        if (seen.has(entry)) continue;
        seen.add(entry);
        return entry;
      }
    }
    throw new Error('a timer was set for nobody');
  };

  return {
    pending,
    watch(actor: AnyActor): void {
      actors.push(actor);
    },
    clock: {
      setTimeout(fire: (...args: unknown[]) => void, delayMs: number): number {
        const { source, event } = latest();
        count += 1;
        const id = count;
        const owner = source === actors[0] ? 'limiter' : source === actors[1] ? 'coordinator' : source.id;
        pending.set(id, {
          owner,
          event,
          delayMs,
          fire: () => {
            pending.delete(id);
            fire();
          },
        });
        return id;
      },
      clearTimeout(id: unknown): void {
        if (typeof id === 'number') pending.delete(id);
      },
    },
    ownedBy(owner: string): readonly RealTimer[] {
      return [...pending.values()].filter((timer) => timer.owner === owner);
    },
  };
}
