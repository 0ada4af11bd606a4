import { wordsOf } from '../domain/words.ts';
import { watch } from './guarded-inspect.ts';

/** Typed listeners. An error or rejection of a listener becomes a process warning. */
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
      // A separate wrapper lets the same function be added twice and removed once.
      const entry: typeof listener = (event) => listener(event);
      listeners.add(entry);
      return () => void listeners.delete(entry);
    },
    emit(type, event) {
      // Rethrown, the error would stop an actor; swallowed, it would go unnoticed.
      const warn = (error: unknown): void =>
        process.emitWarning(
          `A listener for "${String(type)}" threw: ${wordsOf(error)}`,
          'LongtailListenerWarning',
        );
      for (const listener of [...(byType[type] ?? [])]) {
        try {
          watch(listener(event), warn);
        } catch (error) {
          warn(error);
        }
      }
    },
    has: (type) => (byType[type]?.size ?? 0) > 0,
  };
}
