/** One contract, two stores: what the simulation proves of the engine holds only if its database behaves as PostgreSQL does. */

import { describe, expect, test } from 'vitest';
import type { SliceKey } from '../../src/domain/slice.ts';
import type { CommitResult } from '../../src/store/types.ts';
import { type ContractGround, type ContractRun, postgresGround, simulatedGround } from './contract-ground.ts';
import {
  answered,
  commit,
  fill,
  HOUR_MS,
  KEY,
  LIMIT,
  MINUTE_MS,
  open,
  PARAMETERS,
  rows,
} from './contract-steps.ts';

const nextOf = (result: CommitResult): unknown => ('next' in result ? result.next : result);

describe.each([
  ['PostgreSQL', postgresGround],
  ['the simulated database', simulatedGround],
] as const)('%s', (_name, makeGround) => {
  const on = (story: (ground: ContractGround) => Promise<void>) => async () => {
    await using ground = await makeGround();
    await story(ground);
  };

  test(
    'a slice is seen when its last page is there, and not before',
    on(async (ground) => {
      const run = await ground.begin(PARAMETERS);
      const { slice, startRow } = await open(run);
      expect(startRow).toBe(0);
      const all = rows(6);
      expect(await commit(run, slice, all.slice(0, 4))).toEqual({
        kind: 'committed',
        rows: 4,
        next: { kind: 'page', startRow: 4 },
      });
      expect(await ground.seen(KEY)).toBeUndefined();
      const last = await commit(run, slice, all.slice(4), { startRow: 4 });
      expect(last).toEqual({ kind: 'committed', rows: 2, next: { kind: 'sealed' } });
      expect(await ground.seen(KEY)).toMatchObject({
        rows: 6,
        clicks: 585,
        impressions: 5_985,
        duplicateRows: 0,
        final: true,
      });
    }),
  );

  test(
    'a page committed twice is had once, whatever it led to',
    on(async (ground) => {
      const run = await ground.begin(PARAMETERS);
      const { slice } = await open(run);
      const all = rows(6);
      await commit(run, slice, all.slice(0, 4));
      expect(await commit(run, slice, all.slice(0, 4))).toMatchObject({
        kind: 'alreadyCommitted',
        next: { kind: 'page', startRow: 4 },
      });
      await commit(run, slice, all.slice(4), { startRow: 4 });
      expect(await commit(run, slice, all.slice(4), { startRow: 4 })).toMatchObject({
        kind: 'alreadyCommitted',
        next: { kind: 'sealed' },
      });
      expect((await ground.seen(KEY))?.lines).toHaveLength(6);
      const late = await open(run, { ...KEY, date: '2026-03-02' });
      await commit(run, late.slice, [], { mayBeEmpty: false });
      expect(await commit(run, late.slice, [], { mayBeEmpty: false })).toMatchObject({
        kind: 'alreadyCommitted',
        next: { kind: 'notPublished' },
      });
      expect(await commit(run, late.slice, rows(1), { startRow: 4 })).toMatchObject({ kind: 'rejected' });
    }),
  );

  test(
    'a full last page is followed by an empty one',
    on(async (ground) => {
      const run = await ground.begin(PARAMETERS);
      const { slice } = await open(run);
      expect(nextOf(await fill(run, slice, rows(8)))).toEqual({ kind: 'sealed' });
      expect(await ground.seen(KEY)).toMatchObject({ rows: 8 });
    }),
  );

  test(
    'an empty day is complete only where it may be',
    on(async (ground) => {
      const run = await ground.begin(PARAMETERS);
      expect(nextOf(await fill(run, (await open(run)).slice, [], false))).toEqual({ kind: 'notPublished' });
      expect(await ground.seen(KEY)).toBeUndefined();
      expect(nextOf(await fill(run, (await open(run)).slice, [], true))).toEqual({ kind: 'sealed' });
      expect(await ground.seen(KEY)).toMatchObject({ rows: 0 });
    }),
  );

  test.each([
    [false, 49, 'failed', 100],
    [false, 50, 'sealed', 50],
    [false, 0, 'failed', 100],
    [true, 49, 'sealed', 49],
    [true, 0, 'failed', 100],
  ])(
    'less does not replace more: acceptShrunk %s, %d rows after a hundred: %s',
    (acceptShrunk, count, kind, left) =>
      on(async (ground) => {
        const run = await ground.begin({ ...PARAMETERS, acceptShrunk });
        await fill(run, (await open(run)).slice, rows(100));
        const { slice } = await open(run);
        expect(nextOf(await fill(run, slice, rows(count, 'new')))).toMatchObject({ kind });
        expect(await ground.seen(KEY)).toMatchObject({ rows: left });
        const again = await commit(run, slice, rows(count % LIMIT, 'new'), {
          startRow: count - (count % LIMIT),
        });
        expect(again).toMatchObject({ kind: 'alreadyCommitted', next: { kind } });
      })(),
  );

  test.each([
    [6, 0, 6],
    [5, 0, 6],
    [6, 1, 6],
  ])(
    'duplicates are looked at again, and the better look stays: %d rows, %d of them twice',
    (count, twice, left) =>
      on(async (ground) => {
        const run = await ground.begin(PARAMETERS);
        const { slice } = await open(run);
        // One key on both pages: five different rows out of six.
        const first = [...rows(5), ...rows(1)];
        const result = await fill(run, slice, first);
        const next = 'next' in result ? result.next : undefined;
        if (next?.kind !== 'again') throw new Error(`no second look: ${JSON.stringify(result)}`);
        expect(await ground.seen(KEY)).toMatchObject({ rows: 6, duplicateRows: 1 });
        const second = [...rows(count - twice, 'other'), ...rows(twice, 'other')];
        expect(nextOf(await fill(run, { ...slice, id: next.sliceId }, second))).toEqual({ kind: 'sealed' });
        const seen = await ground.seen(KEY);
        expect(seen).toMatchObject({ rows: left === 6 ? count : left, duplicateRows: twice });
        expect(seen?.lines.some((line) => line.includes('other'))).toBe(true);
      })(),
  );

  test(
    'of a page that was there already the keys are those in the table, whatever came now',
    on(async (ground) => {
      const run = await ground.begin(PARAMETERS);
      const { slice } = await open(run);
      const [first, second, ...rest] = rows(5);
      if (first === undefined || second === undefined) throw new Error('no rows');
      await commit(run, slice, [first, second, ...rows(2, 'a')]);
      // The answer to COMMIT was lost, and found again too late: the page was fetched once more, its ties in another order.
      expect(await commit(run, slice, [...rest, ...rows(1, 'b')])).toMatchObject({
        kind: 'alreadyCommitted',
      });
      expect(nextOf(await commit(run, slice, [first], { startRow: 4 }))).toMatchObject({ kind: 'again' });
      expect(await ground.seen(KEY)).toMatchObject({ rows: 5, duplicateRows: 1 });
    }),
  );

  test(
    'a worse second look is given up',
    on(async (ground) => {
      const run = await ground.begin(PARAMETERS);
      const { slice } = await open(run);
      const result = await fill(run, slice, [...rows(5), ...rows(1)]);
      const next = 'next' in result ? result.next : undefined;
      if (next?.kind !== 'again') throw new Error('no second look');
      expect(nextOf(await fill(run, { ...slice, id: next.sliceId }, rows(4, 'other')))).toEqual({
        kind: 'sealed',
      });
      expect(await ground.seen(KEY)).toMatchObject({ rows: 6, duplicateRows: 1 });
      const coverage = answered(await run.store.readCoverage(PARAMETERS));
      expect(coverage).toEqual([{ ...KEY, status: 'complete', final: true, beforeCutOff: false }]);
    }),
  );

  test(
    'whoever has lost the property writes nothing any more',
    on(async (ground) => {
      const old = await ground.begin(PARAMETERS);
      const { slice } = await open(old);
      await ground.begin(PARAMETERS);
      const fenced = { kind: 'fatal', code: 'FENCED_OFF' };
      expect(await commit(old, slice, rows(2))).toMatchObject(fenced);
      expect(await old.store.failSlice(slice.id, 'why not')).toMatchObject(fenced);
      expect(await old.store.openSlices([KEY], { continueYoungerThanMinutes: 15 })).toMatchObject(fenced);
      expect(await old.store.sealEmptySlices([KEY], { final: true })).toMatchObject(fenced);
      const calendar = {
        from: '2026-03-01',
        to: '2026-03-02',
        lastPublished: null,
        firstIncomplete: null,
        days: [],
      };
      expect(await old.store.commitCalendar('web', calendar)).toMatchObject(fenced);
      expect(await ground.seen(KEY)).toBeUndefined();
    }),
  );

  test(
    'a run that is over writes nothing any more',
    on(async (ground) => {
      const run = await ground.begin(PARAMETERS);
      const { slice } = await open(run);
      await run.finish('halted');
      expect(await commit(run, slice, rows(2))).toMatchObject({ kind: 'fatal', code: 'FENCED_OFF' });
    }),
  );

  test.each([
    [14, 4],
    [16, 0],
  ])('a slice left open %d minutes ago goes on from row %d', (minutes, startRow) =>
    on(async (ground) => {
      const crashed = await ground.begin(PARAMETERS);
      const before = await open(crashed);
      await commit(crashed, before.slice, rows(4));
      await ground.pass(minutes * MINUTE_MS);
      const run = await ground.begin(PARAMETERS);
      const after = await open(run);
      expect(after.startRow).toBe(startRow);
      expect(after.slice.id === before.slice.id).toBe(startRow > 0);
      const all = rows(6);
      for (let at = startRow; at < 6; at += LIMIT)
        await commit(run, after.slice, all.slice(at, at + LIMIT), { startRow: at });
      expect(await ground.seen(KEY)).toMatchObject({ rows: 6, duplicateRows: 0 });
    })(),
  );

  test(
    'duplicates are counted also where an earlier process wrote the first page; a second look outlives its process',
    on(async (ground) => {
      const crashed = await ground.begin(PARAMETERS);
      await commit(crashed, (await open(crashed)).slice, rows(4));
      const next = await ground.begin(PARAMETERS);
      const { slice, startRow } = await open(next);
      expect(nextOf(await commit(next, slice, rows(2), { startRow }))).toMatchObject({ kind: 'again' });
      expect(await ground.seen(KEY)).toMatchObject({ rows: 6, duplicateRows: 2 });
      await ground.pass(HOUR_MS);
      const last = await ground.begin(PARAMETERS);
      expect(answered(await last.store.readCoverage(PARAMETERS))).toMatchObject([{ status: 'open' }]);
      const again = await open(last);
      expect(nextOf(await fill(last, again.slice, rows(6)))).toEqual({ kind: 'sealed' });
      expect(await ground.seen(KEY)).toMatchObject({ rows: 6, duplicateRows: 0 });
    }),
  );

  test(
    'a slice does not fail for a page that is committed, though nobody was told so',
    on(async (ground) => {
      const run = await ground.begin(PARAMETERS);
      const { slice } = await open(run);
      expect(await commit(run, slice, rows(LIMIT))).toMatchObject({ kind: 'committed' });
      expect(answered(await run.store.failSlice(slice.id, 'no answer', { startRow: 0 }))).toEqual({
        kind: 'alreadyCommitted',
        rows: LIMIT,
        next: { kind: 'page', startRow: LIMIT },
      });
      // The next page has not come: for that one it does.
      const beside = (await open(run, { ...KEY, date: '2026-03-09' })).slice;
      await commit(run, beside, rows(LIMIT));
      expect(answered(await run.store.failSlice(beside.id, 'no answer', { startRow: LIMIT }))).toBeNull();
      const whole = (await open(run, { ...KEY, date: '2026-03-10' })).slice;
      await commit(run, whole, rows(2));
      expect(answered(await run.store.failSlice(whole.id, 'no answer', { startRow: 0 }))).toEqual({
        kind: 'alreadyCommitted',
        rows: 2,
        next: { kind: 'sealed' },
      });
      const statuses = answered(await run.store.readCoverage(PARAMETERS)).map(({ date, status }) => [
        date,
        status,
      ]);
      expect(new Map(statuses as [string, string][])).toEqual(
        new Map([
          [slice.date, 'open'],
          ['2026-03-09', 'failed'],
          ['2026-03-10', 'complete'],
        ]),
      );
    }),
  );

  test(
    'what failed is said to have, until it is complete; a failed slice takes no page',
    on(async (ground) => {
      const run = await ground.begin(PARAMETERS);
      const { slice } = await open(run);
      expect(answered(await run.store.readCoverage(PARAMETERS))).toMatchObject([
        { status: 'open', final: false },
      ]);
      expect(answered(await run.store.failSlice(slice.id, 'it had to be'))).toBeNull();
      expect(await commit(run, slice, rows(2))).toMatchObject({ kind: 'rejected' });
      expect(answered(await run.store.readCoverage(PARAMETERS))).toMatchObject([
        { status: 'failed', final: false },
      ]);
      await fill(run, (await open(run)).slice, rows(2));
      expect(answered(await run.store.readCoverage(PARAMETERS))).toMatchObject([
        { status: 'complete', final: true },
      ]);
    }),
  );

  test(
    'days without data are complete without a call, and take nothing away',
    on(async (ground) => {
      const run = await ground.begin(PARAMETERS);
      const other = { ...KEY, date: '2026-03-02' };
      const { slice } = await open(run);
      await commit(run, slice, rows(2), { final: false });
      await open(run, other);
      expect(answered(await run.store.sealEmptySlices([KEY, other], { final: true }))).toBe(1);
      expect(await ground.seen(KEY)).toMatchObject({ rows: 2, final: true });
      expect(await ground.seen(other)).toMatchObject({ rows: 0, final: true });
      expect(answered(await run.store.sealEmptySlices([KEY, other], { final: false }))).toBe(0);
      expect(answered(await run.store.readCoverage(PARAMETERS))).toMatchObject([
        { final: true },
        { final: true },
      ]);
    }),
  );

  test(
    'speculative slices are settled once their days are known',
    on(async (ground) => {
      const day = (date: string): SliceKey => ({ ...KEY, date });
      const full = day('2026-03-01');
      const twice = day('2026-03-02');
      const hollow = day('2026-03-03');
      const begun = day('2026-03-04');
      const late = day('2026-03-05');
      const failed = day('2026-03-06');
      const earlier = day('2026-03-07');
      const before = await ground.begin(PARAMETERS);
      await commit(before, (await open(before, earlier)).slice, rows(2), { final: false });
      const run = await ground.begin(PARAMETERS);
      const unknown = { final: false, mayBeEmpty: false };
      const all = [full, twice, hollow, begun, late, failed, earlier];
      await commit(run, (await open(run, full)).slice, rows(2), unknown);
      const first = (await open(run, twice)).slice;
      await commit(run, first, rows(4), unknown);
      const looked = await commit(run, first, rows(1), { startRow: 4, ...unknown });
      if (!('next' in looked) || looked.next.kind !== 'again') throw new Error('no second look');
      // Worse than the first look, which stays.
      await commit(run, { ...first, id: looked.next.sliceId }, rows(3), unknown);
      await commit(run, (await open(run, hollow)).slice, [], unknown);
      await open(run, begun);
      await commit(run, (await open(run, late)).slice, rows(2), unknown);
      await run.store.failSlice((await open(run, failed)).slice.id, 'so it goes');
      await commit(run, (await open(run, earlier)).slice, [], unknown);
      const settled = all.map((key) => ({ ...key, final: key !== late }));
      for (let time = 1; time <= 2; time += 1) {
        // What the run before has completed is not ours to settle; that it came back empty now is.
        expect(answered(await run.store.settleSpeculative(settled))).toEqual([earlier, hollow]);
        expect(
          answered(await run.store.readCoverage(PARAMETERS)).map(({ date, status, final }) => [
            date,
            status,
            final,
          ]),
        ).toEqual([
          [earlier.date, 'complete', false],
          [failed.date, 'failed', false],
          [late.date, 'complete', false],
          [begun.date, 'open', false],
          [twice.date, 'complete', true],
          [full.date, 'complete', true],
        ]);
      }
      expect(answered(await run.store.settleSpeculative([]))).toEqual([]);
      await ground.begin(PARAMETERS);
      expect(await run.store.settleSpeculative(settled)).toMatchObject({ kind: 'fatal', code: 'FENCED_OFF' });
    }),
  );

  test(
    'a refresh resumes where a crash cut it off, and not after a day',
    on(async (ground) => {
      const refresh = { ...PARAMETERS, refresh: true };
      await fill(await ground.begin(PARAMETERS), (await open(await ground.begin(PARAMETERS))).slice, []);
      const first = await ground.begin(PARAMETERS);
      await fill(first, (await open(first)).slice, rows(2));
      await first.finish('complete');
      await ground.pass(MINUTE_MS);
      const crashed = await ground.begin(refresh);
      const held = async (run: ContractRun) =>
        answered(await run.store.readCoverage(PARAMETERS))[0]?.beforeCutOff;
      expect(await held(crashed)).toBe(true);
      await ground.pass(MINUTE_MS);
      const plain = await ground.begin(PARAMETERS);
      expect(await held(plain)).toBe(true);
      await fill(plain, (await open(plain)).slice, rows(2, 'new'));
      expect(await held(plain)).toBe(false);
      await ground.pass(MINUTE_MS);
      const wider = await ground.begin({ ...refresh, from: '2026-01-01' });
      expect(await held(wider)).toBe(true);
      await wider.finish('halted');
      await ground.pass(25 * HOUR_MS);
      expect(await held(await ground.begin(PARAMETERS))).toBe(false);
    }),
  );

  test(
    'who asks for a refresh when the last one is finished gets a new one',
    on(async (ground) => {
      const refresh = { ...PARAMETERS, refresh: true };
      const complete = async (run: ContractRun) => {
        await fill(run, (await open(run)).slice, rows(2));
        await run.finish('complete');
      };
      const isAsked = async (run: ContractRun) =>
        answered(await run.store.readCoverage(PARAMETERS))[0]?.beforeCutOff;
      await complete(await ground.begin(PARAMETERS));
      await ground.pass(MINUTE_MS);
      // Cut off; what another run over a part of it completes does not finish it, the whole does.
      await (await ground.begin(refresh)).finish('halted');
      await ground.pass(MINUTE_MS);
      await complete(await ground.begin({ ...PARAMETERS, from: '2026-03-01' }));
      await ground.pass(MINUTE_MS);
      expect(await isAsked(await ground.begin(refresh))).toBe(false);
      await complete(await ground.begin(PARAMETERS));
      await ground.pass(MINUTE_MS);
      expect(await isAsked(await ground.begin(refresh))).toBe(true);
    }),
  );

  test(
    'leases are found again for as long as they may count',
    on(async (ground) => {
      const run = await ground.begin(PARAMETERS);
      const scopes = ['site:a', 'user:b'];
      const found = async (windowMs = HOUR_MS) => {
        const leases = answered(await run.store.readOpenLeases(['site:a'], windowMs));
        return leases.map(({ tokens, settledMsAgo }) => [
          tokens,
          settledMsAgo === null ? null : Math.round(settledMsAgo / MINUTE_MS),
        ]);
      };
      await run.store.recordLease({ leaseId: 'one', scopes, tokens: 5 });
      await run.store.recordLease({ leaseId: 'one', scopes, tokens: 5 });
      expect(await found()).toEqual([[5, null]]);
      await run.store.settleLease({ leaseId: 'one', settled: 2, graceMs: 2 * MINUTE_MS, returned: 1 });
      expect(await found()).toEqual([
        [2, null],
        [2, -2],
      ]);
      await ground.pass(5 * MINUTE_MS);
      expect(await found(2 * MINUTE_MS)).toEqual([[2, null]]);
      expect(await found()).toEqual([
        [2, null],
        [2, 3],
      ]);
      await ground.pass(56 * MINUTE_MS);
      expect(await found()).toEqual([[2, 59]]);
      await ground.pass(2 * MINUTE_MS);
      expect(await found()).toEqual([]);
    }),
  );
});
