/** Typed listeners; one that throws harms nothing and is told of. */
export interface Listeners<Events extends object> {
  on<K extends keyof Events>(type: K, listener: (event: Events[K]) => void): () => void;
  emit<K extends keyof Events>(type: K, event: Events[K]): void;
  has(type: keyof Events): boolean;
}

export function createListeners<Events extends object>(): Listeners<Events> {
  const byType: { [K in keyof Events]?: Set<(event: Events[K]) => void> } = {};
  return {
    on(type, listener) {
      const listeners = byType[type] ?? new Set();
      byType[type] = listeners;
      // A wrapper of its own, so that the same function may be added twice and removed once.
      const entry: typeof listener = (event) => listener(event);
      listeners.add(entry);
      return () => void listeners.delete(entry);
    },
    emit(type, event) {
      for (const listener of [...(byType[type] ?? [])]) {
        try {
          listener(event);
        } catch (error) {
          // Thrown in here it would stop an actor; swallowed, nobody would find it.
          process.emitWarning(
            `A listener for "${String(type)}" threw: ${error instanceof Error ? error.message : String(error)}`,
            'LongtailListenerWarning',
          );
        }
      }
    },
    has: (type) => (byType[type]?.size ?? 0) > 0,
  };
}
