/**
 * A simulated database: the tables' rules, stated once more and simply, every operation a transaction that is there or
 * not. `store-contract.ts` holds it and PostgreSQL to the same behaviour.
 */
import { FENCED_OFF } from '../../src/db/answer.ts';
import { KeyHashes, type PageKeys } from '../../src/db/key-hashes.ts';
import type { RunEnd, RunParameters } from '../../src/db/run.ts';
import { judge, NOT_PUBLISHED } from '../../src/db/seal.ts';
import type {
  Calendar,
  CommitResult,
  Coverage,
  CoverageRange,
  DatabaseFailure,
  LeaseGrant,
  LeaseRecord,
  LeaseSettlement,
  OpenedSlice,
  PageCommit,
  RunIdentity,
  SliceKey,
} from '../../src/db/types.ts';
import { type PlainRow, plainRows } from '../../src/domain/row-block.ts';
import type { SearchType, Slice } from '../../src/domain/slice.ts';

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const LEFT_OPEN = 'left open by an earlier run';

export interface LedgerRow {
  readonly startRow: number;
  readonly rows: number;
  readonly clicks: number;
  readonly impressions: number;
  readonly last: boolean;
  readonly committedAt: number;
}

export interface SliceRow extends SliceKey {
  readonly id: string;
  readonly version: number;
  status: 'open' | 'complete' | 'superseded' | 'failed' | 'abandoned';
  rows: number;
  clicks: number;
  impressions: number;
  duplicateRows: number;
  final: boolean;
  readonly secondLook: boolean;
  successorId: string | null;
  readonly openedAt: number;
  fetchedAt: number | null;
  runId: string;
  error: string | null;
  hasFacts: boolean;
}

interface RunRow {
  readonly id: string;
  readonly epoch: string;
  readonly parameters: RunParameters;
  status: 'running' | 'crashed' | RunEnd;
  readonly cutOff: number | null;
  readonly scope: CoverageRange | null;
}

interface LeaseRow {
  readonly leaseId: string;
  readonly scope: string;
  tokens: number;
  settledTokens: number;
  readonly grantedAt: number;
  settledAt: number | null;
}

/** Ends a transaction that changed nothing. */
export class Refused extends Error {
  readonly failure: DatabaseFailure;
  constructor(failure: DatabaseFailure) {
    super(failure.reason);
    this.failure = failure;
  }
}

/** A page whose rows have been read. */
export interface PlainPage extends Omit<PageCommit, 'rows'> {
  readonly rows: readonly PlainRow[];
  /** Hashes of its keys, when it has other pages beside it. */
  readonly keys: PageKeys | undefined;
}

type Next = Extract<CommitResult, { kind: 'committed' | 'alreadyCommitted' }>['next'];

/** One property's tables. `now` is the database's clock. */
export class Tables {
  readonly #now: () => number;
  readonly #siteUrl: string;
  readonly slices = new Map<string, SliceRow>();
  readonly #byKey = new Map<string, SliceRow[]>();
  /** The ledger and the rows, by slice. */
  readonly ledger = new Map<string, LedgerRow[]>();
  readonly facts = new Map<string, PlainRow[]>();
  readonly leases: LeaseRow[] = [];
  readonly runs = new Map<string, RunRow>();
  readonly calendars = new Map<SearchType, Calendar>();
  /** Told when readers see another version of a key. */
  onSealed: (before: SliceRow | undefined, after: SliceRow) => void = () => undefined;
  #epoch = 0;
  #ids = 0;

  constructor(siteUrl: string, now: () => number) {
    this.#siteUrl = siteUrl;
    this.#now = now;
  }

  // ── runs ────────────────────────────────────────────────────────────────────────────────────────────────────────

  takeOver(): { readonly propertyId: string; readonly epoch: string } {
    this.#epoch += 1;
    for (const run of this.runs.values()) if (run.status === 'running') run.status = 'crashed';
    return { propertyId: '1', epoch: String(this.#epoch) };
  }

  startRun(
    lock: { readonly propertyId: string; readonly epoch: string },
    parameters: RunParameters,
  ): RunIdentity {
    const { from, to, searchTypes, datasets, refresh } = parameters;
    const spans = (scope: CoverageRange): boolean =>
      refresh ? spansAll(scope, parameters) : scope.from <= to && scope.to >= from;
    const isFinished = (refreshed: RunRow): boolean =>
      [...this.runs.values()].some(
        ({ status, cutOff, parameters: asked }) =>
          (status === 'complete' || status === 'completeWithFailures') &&
          cutOff === refreshed.cutOff &&
          refreshed.scope !== null &&
          spansAll(asked, refreshed.scope),
      );
    const earlier = [...this.runs.values()]
      .filter((run) => !isFinished(run))
      .filter(
        ({ status, cutOff, scope }) =>
          (status === 'halted' || status === 'failed' || status === 'crashed') &&
          cutOff !== null &&
          cutOff > this.#now() - 24 * HOUR_MS &&
          scope !== null &&
          spans(scope),
      )
      .sort((one, other) => (other.cutOff ?? 0) - (one.cutOff ?? 0) || Number(other.id) - Number(one.id))[0];
    const id = this.#id();
    this.runs.set(id, {
      id,
      epoch: lock.epoch,
      parameters,
      status: 'running',
      cutOff: earlier?.cutOff ?? (refresh ? this.#now() : null),
      scope: earlier?.scope ?? (refresh ? { from, to, searchTypes, datasets } : null),
    });
    return { runId: id, ...lock };
  }

  finishRun({ runId }: RunIdentity, status: RunEnd): void {
    const run = this.runs.get(runId);
    if (run?.status === 'running') run.status = status;
  }

  #hold({ runId, epoch }: RunIdentity): RunRow {
    const run = this.runs.get(runId);
    if (run?.status !== 'running' || epoch !== String(this.#epoch)) throw new Refused(FENCED_OFF);
    return run;
  }

  // ── pages ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /** @param hasNoDuplicates whether, by what the process remembers, no key of the slice came twice. */
  commitPage(identity: RunIdentity, page: PlainPage, hasNoDuplicates: () => boolean): CommitResult {
    const run = this.#hold(identity);
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
          reason: 'its slice has ended, or belongs to another run',
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
      isSecondLook: slice.secondLook,
      mayBeEmpty: page.mayBeEmpty,
      force: run.parameters.force,
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
      final: page.final,
      fetchedAt: this.#now(),
    });
    this.onSealed(previous, slice);
    if (!verdict.lookAgain) return { kind: 'sealed' };
    const second = this.#open(slice, run.id, true);
    slice.successorId = second.id;
    return { kind: 'again', sliceId: second.id };
  }

  readCommitted(page: PlainPage): CommitResult | undefined {
    const slice = this.slices.get(page.slice.id);
    const pages = this.#pagesOf(page.slice.id);
    const entry = pages.find(({ startRow }) => startRow === page.startRow);
    if (slice === undefined || entry === undefined) return undefined;
    const said = (next: Next): CommitResult => ({ kind: 'alreadyCommitted', rows: entry.rows, next });
    if (!entry.last || slice.status === 'open') {
      const upTo = pages.filter(({ startRow }) => startRow <= entry.startRow);
      return said({ kind: 'page', startRow: sum(upTo, ({ rows }) => rows) });
    }
    if (slice.successorId !== null) return said({ kind: 'again', sliceId: slice.successorId });
    if (slice.status === 'failed') return said({ kind: 'failed', reason: slice.error ?? 'it failed' });
    if (slice.status === 'abandoned' && slice.error === NOT_PUBLISHED) return said({ kind: 'notPublished' });
    return said({ kind: 'sealed' });
  }

  failSlice(identity: RunIdentity, sliceId: string, reason: string): null {
    const run = this.#hold(identity);
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
    const run = this.#hold(identity);
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
    const run = this.#hold(identity);
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
    return found.sort(
      (one, other) =>
        -compare(one.date, other.date) ||
        compare(one.searchType, other.searchType) ||
        compare(one.dataset, other.dataset),
    );
  }

  /** The version that readers see. */
  visible(key: SliceKey): SliceRow | undefined {
    return this.#versionsOf(key).find(({ status }) => status === 'complete');
  }

  // ── leases, calendar, cleaning ──────────────────────────────────────────────────────────────────────────────────

  commitCalendar(identity: RunIdentity, searchType: SearchType, calendar: Calendar): null {
    this.#hold(identity);
    this.calendars.set(searchType, calendar);
    return null;
  }

  recordLease({ runId }: RunIdentity, grant: LeaseGrant): null {
    const leaseId = `${runId}/${grant.leaseId}`;
    for (const scope of grant.scopes) {
      if (this.leases.some((lease) => lease.leaseId === leaseId && lease.scope === scope)) continue;
      this.leases.push({
        leaseId,
        scope,
        tokens: grant.tokens,
        settledTokens: 0,
        grantedAt: this.#now(),
        settledAt: null,
      });
    }
    return null;
  }

  settleLease({ runId }: RunIdentity, { leaseId, settled, graceMs, returned }: LeaseSettlement): null {
    for (const lease of this.leases) {
      if (lease.leaseId !== `${runId}/${leaseId}`) continue;
      lease.tokens -= returned;
      lease.settledTokens += settled;
      if (settled > 0) lease.settledAt = Math.max(lease.settledAt ?? 0, this.#now() + graceMs);
    }
    return null;
  }

  readOpenLeases(scopes: readonly string[], windowMs: number): LeaseRecord[] {
    const now = this.#now();
    const found: LeaseRecord[] = [];
    for (const { scope, tokens, settledTokens, grantedAt, settledAt } of this.leases) {
      if (!scopes.includes(scope) || grantedAt <= now - 25 * HOUR_MS) continue;
      if (tokens > settledTokens && grantedAt > now - HOUR_MS) {
        found.push({ scope, tokens: tokens - settledTokens, settledMsAgo: null });
      }
      if (settledTokens > 0 && settledAt !== null && settledAt > now - windowMs) {
        found.push({ scope, tokens: settledTokens, settledMsAgo: now - settledAt });
      }
    }
    return found;
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

  #open({ searchType, dataset, date }: SliceKey, runId: string, secondLook: boolean): SliceRow {
    const version = (this.#versionsOf({ searchType, dataset, date }).at(-1)?.version ?? 0) + 1;
    const slice: SliceRow = {
      id: this.#id(),
      searchType,
      dataset,
      date,
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

  #sliceOf({ id, searchType, dataset, date }: SliceRow): Slice {
    return { id, siteUrl: this.#siteUrl, searchType, dataset, date };
  }
}

/** What one process remembers of pages that it has committed: production's own, used as production does. */
export class CommitMemory {
  readonly #hashes = new KeyHashes();

  /** Reads the rows at once: the memory they lie in is overwritten by what comes next. */
  read({ rows, ...page }: PageCommit): PlainPage {
    const isAlone = page.startRow === 0 && rows.count < page.rowLimit;
    return { ...page, rows: plainRows(rows), keys: isAlone ? undefined : this.#hashes.read(rows) };
  }

  hasNoDuplicates({ slice, startRow, keys }: PlainPage): boolean {
    return keys === undefined || this.#hashes.suspects(slice.id, startRow, keys) === 0;
  }

  remember({ slice, startRow, keys }: PlainPage, next: Next): void {
    if (next.kind !== 'page') this.#hashes.forget(slice.id);
    else if (keys !== undefined) this.#hashes.keep(slice.id, startRow, keys);
  }

  forget(sliceId: string): void {
    this.#hashes.forget(sliceId);
  }
}

const keyOf = ({ searchType, dataset, date }: SliceKey): string => `${searchType} ${dataset} ${date}`;
const compare = (one: string, other: string): number => (one < other ? -1 : one > other ? 1 : 0);

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0);
}

/** Rows from the start on without a gap. */
function contiguous(pages: readonly LedgerRow[]): number {
  let reached = 0;
  for (const { startRow, rows } of pages) if (startRow === reached) reached += rows;
  return reached;
}

export function countDuplicates(rows: readonly PlainRow[]): number {
  return rows.length - new Set(rows.map(({ keys }) => JSON.stringify(keys))).size;
}

function contains(range: CoverageRange, { searchType, dataset, date }: SliceKey): boolean {
  return (
    range.from <= date &&
    date <= range.to &&
    range.searchTypes.includes(searchType) &&
    range.datasets.includes(dataset)
  );
}

const spansAll = (one: CoverageRange, other: CoverageRange): boolean =>
  one.from <= other.from &&
  one.to >= other.to &&
  other.searchTypes.every((type) => one.searchTypes.includes(type)) &&
  other.datasets.every((dataset) => one.datasets.includes(dataset));
