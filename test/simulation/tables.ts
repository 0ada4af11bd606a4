/**
 * A simulated database: the tables' rules, stated once more and simply, every operation a transaction that is there or
 * not. `store-contract.ts` holds it and PostgreSQL to the same behaviour.
 */

import type { Appearances, Coverage, CoverageRange } from '../../src/domain/coverage.ts';
import { mustHaveRows, type NotServed } from '../../src/domain/dataset.ts';
import type { SearchType, Slice, SliceKey } from '../../src/domain/slice.ts';
import { judge, NOT_PUBLISHED } from '../../src/planning/seal.ts';
import type { PlainRow } from '../../src/rows/row-block.ts';
import type {
  Calendar,
  CommitResult,
  CommittedPage,
  DayTotal,
  OpenedSlice,
  RunIdentity,
  SettledKey,
} from '../../src/store/types.ts';
import { LeaseRows } from './lease-rows.ts';
import { LeaseTable } from './lease-table.ts';
import { type RunRow, RunTable } from './run-table.ts';
import {
  compare,
  contains,
  contiguous,
  countDuplicates,
  keyOf,
  type LedgerRow,
  type Next,
  type PlainPage,
  type SliceRow,
  sum,
} from './table-rows.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const LEFT_OPEN = 'left open by an earlier run';

const byNewestDay = (one: SliceKey, other: SliceKey): number =>
  -compare(one.date, other.date) ||
  compare(one.searchType, other.searchType) ||
  compare(one.dataset, other.dataset) ||
  compare(one.part ?? '', other.part ?? '');

const partIn = ({ part = '' }: SliceKey): Pick<SliceKey, 'part'> => (part === '' ? {} : { part });

/** One property's tables. `now` is the database's clock. */
export class Tables {
  readonly #now: () => number;
  readonly #siteUrl: string;
  readonly slices = new Map<string, SliceRow>();
  readonly #byKey = new Map<string, SliceRow[]>();
  /** The ledger and the rows, by slice. */
  readonly ledger = new Map<string, LedgerRow[]>();
  readonly facts = new Map<string, PlainRow[]>();
  readonly refused = new Map<string, { readonly refused: NotServed; readonly atMs: number }>();
  readonly leases: LeaseTable;
  readonly runs: RunTable;
  readonly holders: LeaseRows;
  readonly calendars = new Map<SearchType, Calendar>();
  readonly dayTotals = new Map<SearchType, Map<string, DayTotal>>();
  /** Told when readers see another version of a key. */
  onSealed: (before: SliceRow | undefined, after: SliceRow) => void = () => undefined;
  #ids = 0;

  constructor(siteUrl: string, now: () => number) {
    this.#siteUrl = siteUrl;
    this.#now = now;
    this.holders = new LeaseRows(now);
    this.leases = new LeaseTable(now, this.holders);
    this.runs = new RunTable(now, () => this.#id());
  }

  // ── pages ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /** @param hasNoDuplicates whether, by what the process remembers, no key of the slice came twice. */
  commitPage(identity: RunIdentity, page: PlainPage, hasNoDuplicates: () => boolean): CommitResult {
    const run = this.runs.hold(identity);
    const slice = this.slices.get(page.slice.id);
    const pages = this.#pagesOf(page.slice.id);
    if (
      slice?.status !== 'open' ||
      slice.runId !== run.id ||
      pages.some(({ startRow }) => startRow === page.startRow)
    ) {
      return (
        this.readCommitted(page) ?? {
          kind: 'rejected',
          reason: 'its slice has ended or belongs to another run',
        }
      );
    }
    pages.push({
      startRow: page.startRow,
      rows: page.rows.length,
      clicks: sum(page.rows, ({ clicks }) => clicks),
      impressions: sum(page.rows, ({ impressions }) => impressions),
      last: page.rows.length < page.rowLimit,
      committedAt: this.#now(),
    });
    pages.sort((one, other) => one.startRow - other.startRow);
    this.facts.set(slice.id, [...(this.facts.get(slice.id) ?? []), ...page.rows]);
    const reached = contiguous(pages);
    const isWhole = pages.some(({ last }) => last) && reached === sum(pages, ({ rows }) => rows);
    const next: Next = isWhole
      ? this.#seal(run, slice, page, pages, hasNoDuplicates)
      : { kind: 'page', startRow: reached };
    return { kind: 'committed', rows: page.rows.length, next };
  }

  #seal(
    run: RunRow,
    slice: SliceRow,
    page: PlainPage,
    pages: readonly LedgerRow[],
    hasNoDuplicates: () => boolean,
  ): Next {
    const duplicateRows = hasNoDuplicates() ? 0 : countDuplicates(this.facts.get(slice.id) ?? []);
    const previous = this.visible(slice);
    const verdict = judge({
      rows: sum(pages, ({ rows }) => rows),
      duplicateRows,
      isRefetch: slice.secondLook,
      mayBeEmpty: page.day.mayBeEmpty,
      clicks: mustHaveRows(slice.dataset, page.day.clicks ?? 0) ? (page.day.clicks ?? 0) : 0,
      acceptShrunk: run.parameters.acceptShrunk,
      previous: previous ?? null,
    });
    if (verdict.kind !== 'complete') {
      slice.status = verdict.kind;
      slice.error = verdict.reason;
      if (verdict.kind === 'failed') return { kind: 'failed', reason: verdict.reason };
      return verdict.reason === NOT_PUBLISHED ? { kind: 'notPublished' } : { kind: 'sealed' };
    }
    if (previous !== undefined) previous.status = 'superseded';
    Object.assign(slice, {
      status: 'complete',
      rows: sum(pages, ({ rows }) => rows),
      clicks: sum(pages, ({ clicks }) => clicks),
      impressions: sum(pages, ({ impressions }) => impressions),
      duplicateRows,
      final: page.day.final,
      fetchedAt: this.#now(),
    });
    this.onSealed(previous, slice);
    if (!verdict.lookAgain) return { kind: 'sealed' };
    const second = this.#open(slice, run.id, true);
    slice.successorId = second.id;
    return { kind: 'again', sliceId: second.id };
  }

  readCommitted(page: {
    readonly slice: { readonly id: string };
    readonly startRow: number;
  }): CommittedPage | undefined {
    const slice = this.slices.get(page.slice.id);
    const pages = this.#pagesOf(page.slice.id);
    const entry = pages.find(({ startRow }) => startRow === page.startRow);
    if (slice === undefined || entry === undefined) return undefined;
    const said = (next: Next): CommittedPage => ({ kind: 'alreadyCommitted', rows: entry.rows, next });
    if (!entry.last || slice.status === 'open') {
      const upTo = pages.filter(({ startRow }) => startRow <= entry.startRow);
      return said({ kind: 'page', startRow: sum(upTo, ({ rows }) => rows) });
    }
    if (slice.successorId !== null) return said({ kind: 'again', sliceId: slice.successorId });
    if (slice.status === 'failed') return said({ kind: 'failed', reason: slice.error ?? 'it failed' });
    if (slice.status === 'abandoned' && slice.error === NOT_PUBLISHED) return said({ kind: 'notPublished' });
    return said({ kind: 'sealed' });
  }

  failSlice(
    identity: RunIdentity,
    sliceId: string,
    reason: string,
    page?: { readonly startRow: number },
  ): CommittedPage | null {
    const run = this.runs.hold(identity);
    const committed =
      page === undefined ? undefined : this.readCommitted({ slice: { id: sliceId }, ...page });
    if (committed !== undefined) return committed;
    const slice = this.slices.get(sliceId);
    if (slice?.status === 'open' && slice.runId === run.id) {
      slice.status = 'failed';
      slice.error = reason;
    }
    return null;
  }

  // ── slices ──────────────────────────────────────────────────────────────────────────────────────────────────────

  openSlices(
    identity: RunIdentity,
    keys: readonly SliceKey[],
    continueYoungerThanMinutes: number,
  ): OpenedSlice[] {
    const run = this.runs.hold(identity);
    return keys.map((key) => {
      const open = this.#versionsOf(key).find(({ status }) => status === 'open');
      if (open !== undefined) {
        const newest = Math.max(...this.#pagesOf(open.id).map(({ committedAt }) => committedAt));
        const isFresh =
          newest === Number.NEGATIVE_INFINITY ||
          newest > this.#now() - continueYoungerThanMinutes * MINUTE_MS;
        if (open.runId === run.id || isFresh) open.runId = run.id;
        else {
          open.status = 'abandoned';
          open.error = LEFT_OPEN;
        }
      }
      const newest = this.#versionsOf(key).at(-1);
      const owesLook =
        newest?.secondLook === true && newest.status === 'abandoned' && newest.error === LEFT_OPEN;
      const slice = open?.status === 'open' ? open : this.#open(key, run.id, owesLook);
      return { slice: this.#sliceOf(slice), startRow: contiguous(this.#pagesOf(slice.id)) };
    });
  }

  sealEmptySlices(identity: RunIdentity, keys: readonly SliceKey[], final: boolean): number {
    const run = this.runs.hold(identity);
    let sealed = 0;
    for (const key of keys) {
      for (const version of this.#versionsOf(key)) {
        if (version.status !== 'open' && version.status !== 'failed') continue;
        version.status = 'abandoned';
        version.error = 'the day has no data';
      }
      const complete = this.visible(key);
      if (complete === undefined) {
        const slice = this.#open(key, run.id, false);
        Object.assign(slice, { status: 'complete', final, fetchedAt: this.#now(), hasFacts: false });
        sealed += 1;
      } else {
        complete.final ||= final;
        complete.fetchedAt = this.#now();
      }
    }
    return sealed;
  }

  settleSpeculative(identity: RunIdentity, keys: readonly SettledKey[]): SliceKey[] {
    const run = this.runs.hold(identity);
    const unpublished: SliceKey[] = [];
    for (const { final, ...key } of keys) {
      const versions = this.#versionsOf(key).filter(({ runId }) => runId === run.id);
      for (const version of versions) if (version.status === 'complete') version.final ||= final;
      const newest = versions.at(-1);
      if (newest?.status === 'abandoned' && newest.error === NOT_PUBLISHED) unpublished.push(key);
    }
    return unpublished.sort(byNewestDay);
  }

  readCoverage({ runId }: RunIdentity, range: CoverageRange): Coverage[] {
    const { cutOff = null, scope = null } = this.runs.get(runId) ?? {};
    const found: Coverage[] = [];
    for (const versions of this.#byKey.values()) {
      const counted = versions.filter(
        ({ status }) => status === 'complete' || status === 'open' || status === 'failed',
      );
      const key = counted[0];
      if (key === undefined || !contains(range, key)) continue;
      const newest = (status: SliceRow['status']): SliceRow | undefined =>
        counted.findLast((slice) => slice.status === status);
      const [complete, open, failed] = [newest('complete'), newest('open'), newest('failed')];
      const failedSince = failed !== undefined && failed.version > (complete?.version ?? 0);
      const status =
        open !== undefined && (open.secondLook || complete === undefined || failedSince)
          ? 'open'
          : failedSince
            ? 'failed'
            : 'complete';
      found.push({
        searchType: key.searchType,
        dataset: key.dataset,
        date: key.date,
        ...partIn(key),
        status,
        final: status === 'complete' && complete?.final === true,
        beforeCutOff:
          status === 'complete' &&
          cutOff !== null &&
          scope !== null &&
          (complete?.fetchedAt ?? cutOff) < cutOff &&
          contains(scope, key),
      });
    }
    return found.sort(byNewestDay);
  }

  readAppearances(range: CoverageRange): Appearances[] {
    return [...this.slices.values()]
      .filter(({ status, dataset }) => status === 'complete' && dataset === 'searchAppearance')
      .filter((slice) => contains(range, slice))
      .sort(byNewestDay)
      .map(({ id, searchType, date }) => ({
        searchType,
        date,
        values: [...new Set((this.facts.get(id) ?? []).map(({ keys }) => keys[0] ?? ''))].sort(compare),
      }));
  }

  readRefused(): NotServed[] {
    const since = this.#now() - 30 * 24 * HOUR_MS;
    return [...this.refused.values()].filter(({ atMs }) => atMs > since).map(({ refused }) => refused);
  }

  refuseSlice(identity: RunIdentity, sliceId: string, refused: NotServed): null {
    const run = this.runs.hold(identity);
    this.refused.set(`${refused.searchType} ${refused.dataset}`, { refused, atMs: this.#now() });
    const slice = this.slices.get(sliceId);
    if (slice?.status === 'open' && slice.runId === run.id) {
      slice.status = 'abandoned';
      slice.error = refused.reason;
    }
    return null;
  }

  /** The version that readers see. */
  visible(key: SliceKey): SliceRow | undefined {
    return this.#versionsOf(key).find(({ status }) => status === 'complete');
  }

  // ── calendar, cleaning ──────────────────────────────────────────────────────────────────────────────────────────

  commitCalendar(identity: RunIdentity, searchType: SearchType, calendar: Calendar): readonly DayTotal[] {
    this.runs.hold(identity);
    this.calendars.set(searchType, calendar);
    const totals = this.dayTotals.get(searchType) ?? new Map<string, DayTotal>();
    this.dayTotals.set(searchType, totals);
    for (const day of calendar.days) totals.set(day.date, day);
    const named = new Set(calendar.days.map(({ date }) => date));
    return [...totals.values()]
      .filter(
        ({ date, clicks }) => clicks > 0 && date >= calendar.from && date <= calendar.to && !named.has(date),
      )
      .sort((a, b) => (a.date < b.date ? 1 : -1));
  }

  cleanUp(): void {
    const now = this.#now();
    for (const slice of this.slices.values()) {
      const touched = [slice.openedAt, ...this.#pagesOf(slice.id).map(({ committedAt }) => committedAt)];
      const isLeft = slice.status === 'open' && this.runs.get(slice.runId)?.status !== 'running';
      if (isLeft && Math.max(...touched) < now - 24 * HOUR_MS) {
        slice.status = 'abandoned';
        slice.error = LEFT_OPEN;
      }
      if (slice.hasFacts && slice.status !== 'open' && slice.status !== 'complete') {
        slice.hasFacts = false;
        this.ledger.delete(slice.id);
        this.facts.delete(slice.id);
      }
    }
  }

  // ── parts ───────────────────────────────────────────────────────────────────────────────────────────────────────

  #id(): string {
    this.#ids += 1;
    return String(this.#ids);
  }

  #open(key: SliceKey, runId: string, secondLook: boolean): SliceRow {
    const { searchType, dataset, date } = key;
    const version = (this.#versionsOf(key).at(-1)?.version ?? 0) + 1;
    const slice: SliceRow = {
      id: this.#id(),
      searchType,
      dataset,
      date,
      ...partIn(key),
      version,
      status: 'open',
      rows: 0,
      clicks: 0,
      impressions: 0,
      duplicateRows: 0,
      final: false,
      secondLook,
      successorId: null,
      openedAt: this.#now(),
      fetchedAt: null,
      runId,
      error: null,
      hasFacts: true,
    };
    this.slices.set(slice.id, slice);
    this.#byKey.set(keyOf(slice), [...this.#versionsOf(slice), slice]);
    return slice;
  }

  /** Oldest first: ids and versions rise together. */
  #versionsOf(key: SliceKey): readonly SliceRow[] {
    return this.#byKey.get(keyOf(key)) ?? [];
  }

  #pagesOf(sliceId: string): LedgerRow[] {
    const known = this.ledger.get(sliceId);
    if (known !== undefined) return known;
    const pages: LedgerRow[] = [];
    if (this.slices.has(sliceId)) this.ledger.set(sliceId, pages);
    return pages;
  }

  #sliceOf(slice: SliceRow): Slice {
    const { id, searchType, dataset, date } = slice;
    return { id, siteUrl: this.#siteUrl, searchType, dataset, date, ...partIn(slice) };
  }
}
