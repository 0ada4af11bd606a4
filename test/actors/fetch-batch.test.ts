// Holds invariants 4 of SPEC.md.
import { describe, expect, it } from 'vitest';
import { createActor, setup } from 'xstate';
import { createCallRegistry } from '../../src/actors/call-registry.ts';
import { createFetchBatch, type FetchBatchPorts } from '../../src/actors/fetch-batch.ts';
import { systemClock } from '../../src/domain/clock.ts';
import type { FetchBatchInput } from '../../src/machines/batch-worker/batch-worker.ts';
import type { CallEvent } from '../../src/machines/messages.ts';
import { createCatalogue } from '../../src/planning/catalogue.ts';
import { rowBlock } from '../../src/rows/row-block.ts';
import type { CallStep } from '../../src/search-console/request/call.ts';

const ok = { kind: 'ok', value: null } as const;
const answer = (index: number): CallStep => ({
  kind: 'answer',
  index,
  outcome: {
    kind: 'ok',
    answer: {
      rows: rowBlock([{ keys: ['https://x/'], clicks: 1, impressions: 2, position: 3 }], 1),
      firstIncompleteDate: null,
      firstIncompleteHour: null,
      responseAggregationType: null,
      bytes: 10,
    },
  },
});
const head = (index: number): CallStep => ({ kind: 'head', index, status: 200 });
const END: CallStep = { kind: 'end', outcome: { kind: 'answered' }, strayParts: 0 };

/** One call over two pages, with everything around it passed in; resolves with what it told its worker. */
async function call(steps: readonly CallStep[], ports: Partial<FetchBatchPorts> = {}): Promise<CallEvent[]> {
  const catalogue = createCatalogue();
  for (const id of ['1', '2']) {
    catalogue.add(id, {
      kind: 'slice',
      slice: { id, siteUrl: 'sc-domain:x.y', searchType: 'web', dataset: 'page', date: '2026-01-01' },
      day: { final: true, mayBeEmpty: true, clicks: 0 },
      rows: 0,
    });
  }
  const fetchBatch = createFetchBatch({
    client: {
      async *call() {
        yield* steps;
      },
    },
    auth: {
      identity: { userScope: 'user:x', projectScope: null, quotaProjectId: null },
      token: async () => ({ kind: 'token', token: 't' }),
      refused: async () => 'retry',
      succeeded: () => undefined,
    },
    store: {
      openQueue: () => ({
        commitPage: async () => ({ kind: 'committed', rows: 1, next: { kind: 'sealed' } }),
      }),
      commitCalendar: async () => ({ kind: 'ok', value: [] }),
      failSlice: async () => ok,
      refuseSlice: async () => ok,
      recordLease: async () => ok,
      settleLease: async () => ok,
    },
    clock: { ...systemClock, random: () => 0.5 },
    catalogue,
    calls: createCallRegistry(),
    leases: { mayCall: () => true, whenKept: async (signal) => !signal.aborted },
    rowsPerPage: 25_000,
    graceMs: 1_000,
    scope: new AbortController().signal,
    observer: {
      callStarted: () => ({
        sent: () => undefined,
        page: () => undefined,
        stalled: () => undefined,
        ended: () => undefined,
      }),
    },
    background: (work) => void work.catch(() => undefined),
    ...ports,
  });
  const input: FetchBatchInput = {
    workerId: 'w0',
    assignmentId: 'r:w0.1',
    leaseId: 'r:w0.1',
    scopes: ['site:x'],
    pages: ['1', '2'].map((sliceId) => ({ sliceId, startRow: 0, attempts: 0, callFailures: 0 })),
    maxAttempts: 3,
    blame: 'call',
  };
  return await new Promise((resolve) => {
    const told: CallEvent[] = [];
    const parent = setup({ types: { events: {} as CallEvent }, actors: { fetchBatch } }).createMachine({
      invoke: { src: 'fetchBatch', input },
      on: {
        '*': {
          actions: ({ event }) => {
            told.push(event);
            if (event.type === 'call.ended') resolve(told);
          },
        },
      },
    });
    createActor(parent).start();
  });
}

const tokens = (events: readonly CallEvent[]): number =>
  events.reduce((sum, event) => sum + ('tokens' in event ? event.tokens : 0), 0);

describe('a call', () => {
  it('settles each token when its head is read, commits page by page, and ends once', async () => {
    const events = await call([{ kind: 'sent' }, head(1), answer(1), head(0), answer(0), END]);
    expect(tokens(events)).toBe(2);
    expect(events.flatMap((event) => (event.type === 'call.page' ? [event.sliceId] : []))).toEqual([
      '2',
      '1',
    ]);
    expect(events.filter(({ type }) => type === 'call.ended')).toHaveLength(1);
    expect(events.at(-1)).toEqual({ type: 'call.ended', outcome: { kind: 'answered' }, chance: 0.5 });
  });

  it('gives every token back when nothing was sent', async () => {
    const end: CallStep = {
      kind: 'end',
      outcome: { kind: 'failed', reason: 'refused', mayHaveArrived: false },
      strayParts: 0,
    };
    const events = await call([end]);
    expect(events).toMatchObject([
      { type: 'call.unsent', tokens: 2 },
      { type: 'call.ended', outcome: { kind: 'failed', reason: 'refused' } },
    ]);
  });

  it('settles what may still be on its way as late as it can arrive', async () => {
    const end: CallStep = {
      kind: 'end',
      outcome: { kind: 'failed', reason: 'reset', mayHaveArrived: true },
      strayParts: 0,
    };
    const events = await call([{ kind: 'sent' }, head(0), end]);
    expect(events).toMatchObject([
      { type: 'call.settled', tokens: 1, graceMs: 0 },
      { type: 'call.settled', tokens: 1, accepted: 0, graceMs: 1_000 },
      { type: 'call.ended', outcome: { kind: 'failed' } },
    ]);
  });

  it('stops reading when the database is away, and loses no token', async () => {
    const events = await call([{ kind: 'sent' }, head(0), answer(0), head(1), answer(1), END], {
      store: {
        openQueue: () => ({ commitPage: async () => ({ kind: 'databaseAway', reason: 'gone' }) }),
        commitCalendar: async () => ({ kind: 'ok', value: [] }),
        failSlice: async () => ok,
        refuseSlice: async () => ok,
        recordLease: async () => ok,
        settleLease: async () => ok,
      },
    });
    expect(events.at(-1)).toMatchObject({ outcome: { kind: 'databaseAway', reason: 'gone' } });
    expect(events.some(({ type }) => type === 'call.page')).toBe(false);
    expect(tokens(events)).toBe(2);
  });

  it.each<[string, Partial<FetchBatchPorts['store']>]>([
    ['while committing', { openQueue: () => ({ commitPage: () => Promise.reject(new Error('a bug')) }) }],
    ['before anything is sent', { recordLease: () => Promise.reject(new Error('a bug')) }],
  ])('with a bug %s ends the run with its reason, and leaves no token out', async (_, broken) => {
    const events = await call([{ kind: 'sent' }, head(0), answer(0), head(1), answer(1), END], {
      store: {
        openQueue: () => ({
          commitPage: async () => ({ kind: 'committed', rows: 1, next: { kind: 'sealed' } }),
        }),
        commitCalendar: async () => ({ kind: 'ok', value: [] }),
        failSlice: async () => ok,
        refuseSlice: async () => ok,
        recordLease: async () => ok,
        settleLease: async () => ok,
        ...broken,
      },
    });
    expect(events.at(-1)).toMatchObject({
      type: 'call.ended',
      outcome: { kind: 'fatal', fatal: { code: 'INTERNAL', reason: 'a bug' } },
    });
    expect(tokens(events)).toBe(2);
  });

  it('of a slice that nobody knows ends the run with its reason', async () => {
    const events = await call([END], { catalogue: createCatalogue() });
    expect(events).toMatchObject([
      { type: 'call.unsent', tokens: 2 },
      {
        type: 'call.ended',
        outcome: { kind: 'fatal', fatal: { reason: 'slice 1 is not in the catalogue' } },
      },
    ]);
  });
});
