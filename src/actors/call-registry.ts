/** Calls under way, by worker, so that a crashed worker's call can be aborted and awaited. */
export interface RunningCall {
  abort(): void;
  /** Resolves when all work of the call has ended, including commits. Never rejects. */
  readonly ended: Promise<void>;
}

export interface CallRegistry {
  add(workerId: string, call: RunningCall): void;
  /** Aborts the worker's call, if any, and waits until it has ended. */
  end(workerId: string): Promise<void>;
  endAll(): Promise<void>;
  /** Number of calls under way. */
  readonly size: number;
}

export function createCallRegistry(): CallRegistry {
  const calls = new Map<string, Set<RunningCall>>();
  const end = async (workerId: string): Promise<void> => {
    const running = [...(calls.get(workerId) ?? [])];
    for (const call of running) call.abort();
    await Promise.all(running.map((call) => call.ended));
  };
  return {
    add(workerId, call) {
      const running = calls.get(workerId) ?? new Set();
      calls.set(workerId, running.add(call));
      void call.ended.then(() => {
        running.delete(call);
        if (running.size === 0 && calls.get(workerId) === running) calls.delete(workerId);
      });
    },
    end,
    async endAll() {
      await Promise.all([...calls.keys()].map(end));
    },
    get size() {
      return [...calls.values()].reduce((sum, running) => sum + running.size, 0);
    },
  };
}
