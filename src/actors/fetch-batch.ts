/**
 * One call: lease → token → HTTP stream → pages → COPY and ledger, in one transaction. This is the data plane: rows
 * never leave it, only IDs and counts do.
 *
 * While pages are being committed, the next ones are read and parsed, up to a limit in bytes. Then reading from the
 * socket stops.
 *
 * Pages that were read stay here until the database has accepted them. While it accepts nothing, the call is stalled,
 * reports that, and retries when told to. Google is not asked for them a second time.
 */
import { fromCallback } from 'xstate';
import type { CallPermit } from '../domain/call-permit.ts';
import type { Clock } from '../domain/clock.ts';
import { EVERYTHING, isSelected, type Selection } from '../domain/filter.ts';
import type { Day, Slice } from '../domain/slice.ts';
import type { FetchBatchInput } from '../machines/batch-worker/batch-worker.ts';
import { isTroubleOfTheCall } from '../machines/coordinator/trouble.ts';
import type { CallEvent, CallOrder, CallOutcome, Fatal, Page, PageResult } from '../machines/messages.ts';
import type { Catalogue, CatalogueEntry, SliceEntry } from '../planning/catalogue.ts';
import type { SliceEnds } from '../planning/end-of-slice.ts';
import { whyNotEmpty } from '../planning/seal.ts';
import { rowBlock } from '../rows/row-block.ts';
import type { QueryAnswer } from '../search-console/answer/decode-rows.ts';
import type { QuotaRefusal, Refusal } from '../search-console/answer/outcome.ts';
import { refusesCombination, refusesSelection } from '../search-console/answer/refused-request.ts';
import type { Auth } from '../search-console/auth/auth.ts';
import type { Client, HttpCallEnd, PageOutcome } from '../search-console/request/call.ts';
import { calendarQuery, sliceQuery } from '../search-console/request/query.ts';
import type { Store } from '../store/store.ts';
import type { Answer, Calendar, CommittedPage, DatabaseAway, DayTotal } from '../store/types.ts';
import { awayOf, outcomeOf } from './away.ts';
import type { CallRegistry } from './call-registry.ts';
import { CallTokens } from './call-tokens.ts';
import { readCalendar } from './read-calendar.ts';
import { createRefusals, type RefusalsOfCall } from './refusals.ts';

export interface FetchBatchPorts {
  readonly client: Client;
  readonly auth: Auth;
  readonly store: Pick<
    Store,
    | 'openQueue'
    | 'commitCalendar'
    | 'failSlice'
    | 'refuseSlice'
    | 'noteShortPage'
    | 'recordLease'
    | 'settleLease'
  >;
  readonly clock: Clock;
  readonly catalogue: Catalogue;
  /** Google's spelling of the property's name. Without it, ours is used. */
  readonly listedName?: ((access: ListedNameAccess) => Promise<string>) | undefined;
  readonly calls: CallRegistry;
  /** Whether this run may send requests. */
  readonly leases: CallPermit;
  readonly rowsPerPage: number;
  /** What the run asks for. @default everything */
  readonly selection?: Selection | undefined;
  readonly ends: SliceEnds;
  /** Maximum time that an unanswered request can still be on its way. */
  readonly graceMs: number;
  /** Aborted when the whole run is over, whatever its state. */
  readonly scope: AbortSignal;
  readonly observer: CallObserver;
  /** Work that outlives the call. The run waits for it before it closes the database. */
  readonly background: (work: Promise<unknown>) => void;
  /**
   * Called before a piece of work. Returns what to wait for, so that other work on the event loop gets its turn;
   * undefined if there is no need.
   */
  readonly nextTurn?: (() => Promise<void> | undefined) | undefined;
}

export interface ListedNameAccess {
  readonly accessToken: string;
  readonly signal: AbortSignal;
}

/** The source of metrics and spans. Must not throw. */
export interface CallObserver {
  callStarted(input: FetchBatchInput): CallObservation;
}
export interface CallObservation {
  /** The request was sent. From now on it counts. */
  sent(pages: number): void;
  page(sliceId: string, startRow: number, result: PageResult, commitMs: number): void;
  /** Pages that were read wait for the database. */
  stalled(reason: string): void;
  ended(outcome: CallOutcome): void;
}

/** How many times in total a calendar is requested if it leaves out days known to have data. */
const MAX_CONTRADICTIONS = 3;

/** Whether hours of the day are not yet wholly counted. `firstIncomplete`: `2026-04-07T05:00:00-07:00`, in Pacific time. */
const isStillCounted = (firstIncomplete: string | null, date: Day): boolean =>
  firstIncomplete !== null && firstIncomplete.slice(0, date.length) <= date;

const refusedSelection = (reason: string): Fatal => ({
  code: 'BAD_OPTION',
  reason: `Google refuses the filters or the aggregation: ${reason}`,
  nextStep: 'Correct the filter (regular expressions are written in RE2’s syntax), then run again.',
});

function newest({ lastPublished }: Calendar, [first]: readonly DayTotal[]): Day | null {
  const other = first?.date ?? null;
  return lastPublished === null || (other !== null && other > lastPublished) ? other : lastPublished;
}

type Report = (event: CallEvent) => void;

/** Maximum size of answers, as JSON, that may be under way to the database while another is read. */
const MAX_WAITING_BYTES = 2 * 1024 * 1024;
const MAX_WAITING_PAGES = 100;

export function createFetchBatch(ports: FetchBatchPorts) {
  const refusals = createRefusals();
  return fromCallback<CallOrder, FetchBatchInput>(({ input, sendBack, receive }) => {
    const controller = new AbortController();
    const signal = AbortSignal.any([controller.signal, ports.scope]);
    const patience = new Patience(signal);
    receive(({ type }) => {
      if (type === 'call.abort') controller.abort();
      else patience.tryAgain();
    });
    let listening = true;
    const report: Report = (event) => {
      if (listening) sendBack(event);
    };
    const ended = fetchBatch(ports, input, refusals.begin(), signal, patience, report).then((outcome) => {
      report({ type: 'call.ended', outcome, chance: ports.clock.random() });
    });
    ports.calls.add(input.workerId, { abort: () => controller.abort(), ended });
    // The worker is gone: it crashed, was stopped, or the run is over. No one listens any more, so all work must stop.
    return () => {
      listening = false;
      controller.abort();
    };
  });
}

/** Makes stalled pages wait until the database should be tried again. */
class Patience {
  readonly #signal: AbortSignal;
  #waiting: ((isToTryAgain: boolean) => void)[] = [];

  constructor(signal: AbortSignal) {
    this.#signal = signal;
    signal.addEventListener('abort', () => this.#wake(false), { once: true });
  }

  /** Resolves to true when it is time to retry, to false when the call is over. */
  wait(): Promise<boolean> {
    if (this.#signal.aborted) return Promise.resolve(false);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  tryAgain(): void {
    this.#wake(true);
  }

  #wake(isToTryAgain: boolean): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const wake of waiting) wake(isToTryAgain);
  }
}

/** A page without a good answer. */
interface Troubled {
  readonly pending: PendingPage;
  readonly reason: string;
  /** Commits an answer without rows that cannot be right: the database knows whether an earlier version stays. */
  readonly empty?: () => Promise<void>;
}

/** A page, what it stands for, and its progress. */
interface PendingPage {
  readonly page: Page;
  readonly entry: CatalogueEntry;
}

/**
 * Returns how the call ended. Pages and tokens are reported before. Never rejects: a bug here ends the run with its
 * reason.
 */
async function fetchBatch(
  ports: FetchBatchPorts,
  input: FetchBatchInput,
  refusals: RefusalsOfCall,
  signal: AbortSignal,
  patience: Patience,
  report: Report,
): Promise<CallOutcome> {
  const observation = ports.observer.callStarted(input);
  const call = new BatchCall(ports, input, refusals, signal, patience, report, observation);
  const outcome = await call.run().catch((error: unknown) => call.broke(error));
  observation.ended(outcome);
  return outcome;
}

class BatchCall {
  readonly #ports: FetchBatchPorts;
  readonly #input: FetchBatchInput;
  readonly #refusals: RefusalsOfCall;
  readonly #signal: AbortSignal;
  readonly #patience: Patience;
  readonly #report: Report;
  readonly #observation: CallObservation;
  readonly #tokens: CallTokens;
  #pages: readonly PendingPage[] = [];
  readonly #queue: ReturnType<Store['openQueue']>;
  /** Pages being written to the database, oldest first. */
  readonly #commits: { readonly bytes: number; readonly done: Promise<void> }[] = [];
  /** Why the call ended before its answer did. */
  #stop: CallOutcome | undefined;
  /** Pages without a good answer. Whether a page itself is to blame is decided at the end of the call. */
  readonly #troubled: Troubled[] = [];
  /** Pages refused for missing permission. The refusal may be temporary or final. */
  readonly #forbidden: { readonly pending: PendingPage; readonly refusal: Refused }[] = [];
  #good = 0;

  constructor(
    ports: FetchBatchPorts,
    input: FetchBatchInput,
    refusals: RefusalsOfCall,
    signal: AbortSignal,
    patience: Patience,
    report: Report,
    observation: CallObservation,
  ) {
    this.#ports = ports;
    this.#input = input;
    this.#refusals = refusals;
    this.#signal = signal;
    this.#patience = patience;
    this.#report = report;
    this.#observation = observation;
    const { leaseId, scopes, pages } = input;
    this.#tokens = new CallTokens(ports, { leaseId, scopes, count: pages.length }, signal, report);
    this.#queue = ports.store.openQueue(signal, (away) => this.#stall(away));
  }

  async run(): Promise<CallOutcome> {
    const { catalogue } = this.#ports;
    this.#pages = this.#input.pages.map((page) => {
      const entry = catalogue.get(page.sliceId);
      if (entry === undefined) throw new Error(`slice ${page.sliceId} is not in the catalogue`);
      return { page, entry };
    });
    const start = await this.#tokens.begin(() => this.#ports.nextTurn?.());
    if (start.kind === 'over') return start.outcome;
    const { accessToken } = start;
    const end = await this.#fetch(accessToken);
    await this.#committed(0);
    this.#tokens.settleRest(end);
    this.#judgeForbidden();
    if (this.#stop !== undefined) return this.#stop;
    const trouble = await this.#judgeTroubled(end);
    return this.#stop ?? trouble ?? (await this.#outcomeOf(end, accessToken));
  }

  /** A bug: the call must stop, and no token may stay unsettled. */
  async broke(error: unknown): Promise<CallOutcome> {
    await Promise.allSettled(this.#commits.map(({ done }) => done));
    return this.#tokens.broke(error);
  }

  /**
   * Single pages that fail among others use up an attempt. If most or all of a call fails, the server is in trouble:
   * its pages go back unchanged, unless the only page was sent alone to find out whether it is to blame.
   */
  async #judgeTroubled(end: HttpCallEnd | undefined): Promise<CallOutcome | undefined> {
    const { blame, pages } = this.#input;
    const [first] = this.#troubled;
    const alone = pages.length === 1 && blame === 'page' ? this.#pages[0] : undefined;
    if (alone !== undefined && end?.kind === 'failed' && end.mayHaveArrived && this.#good === 0) {
      await this.#failPage(alone, end.reason, this.#isLastAttempt(alone.page));
      return { kind: 'answered' };
    }
    if (first === undefined || end?.kind === 'aborted') return undefined;
    const isProbe = first.pending.entry.kind === 'probe';
    const answers = { good: this.#good, bad: this.#troubled.length };
    if (alone === undefined && (isProbe || isTroubleOfTheCall(answers))) {
      return { kind: 'failed', reason: first.reason };
    }
    for (const { pending, reason, empty } of this.#troubled) {
      if (this.#stop !== undefined) break;
      const isLast = this.#isLastAttempt(pending.page);
      if (isLast && empty !== undefined) await empty();
      else await this.#failPage(pending, reason, isLast);
    }
    return undefined;
  }

  async #fetch(accessToken: string): Promise<HttpCallEnd | undefined> {
    const listedName = await this.#ports.listedName?.({ accessToken, signal: this.#signal });
    const requests = this.#pages.map(({ page, entry }) => this.#requestOf(page, entry, listedName));
    const steps = this.#ports.client.call(requests, {
      accessToken,
      signal: this.#signal,
      mode: requests.length === 1 ? 'plain' : 'batch',
    });
    for await (const step of steps) {
      if (step.kind === 'head') {
        const turn = this.#ports.nextTurn?.();
        if (turn !== undefined) await turn;
      }
      switch (step.kind) {
        case 'sent':
          this.#tokens.sent();
          this.#observation.sent(this.#pages.length);
          break;
        case 'head':
          this.#tokens.settle(step.index, step.status === 200);
          break;
        case 'answer':
          await this.#takeAnswer(this.#pages[step.index], step.outcome, accessToken);
          break;
        case 'end':
          return step.outcome;
      }
      // Leaving the loop closes the socket. Data that the database cannot take is not worth reading.
      if (this.#stop !== undefined) return undefined;
    }
    return undefined;
  }

  #requestOf({ startRow }: Page, entry: CatalogueEntry, listedName: string | undefined) {
    const named = listedName === undefined ? {} : { siteUrl: listedName };
    switch (entry.kind) {
      case 'slice':
        return sliceQuery(
          { ...entry.slice, ...named },
          { startRow, rowLimit: this.#ports.rowsPerPage },
          this.#ports.selection,
        );
      case 'calendar':
        return calendarQuery({ ...entry, ...named });
      case 'probe':
        return calendarQuery({ ...entry, ...named, from: entry.date, to: entry.date });
    }
  }

  async #takeAnswer(pending: PendingPage | undefined, outcome: PageOutcome, token: string): Promise<void> {
    if (pending === undefined) return;
    switch (outcome.kind) {
      case 'ok':
        this.#ports.auth.succeeded(token);
        this.#refusals.good();
        this.#good += 1;
        // A large page stays unencoded in the buffer it was read into, so one is committed while one is read.
        await this.#committed(MAX_WAITING_BYTES);
        if (this.#stop === undefined) {
          this.#begin(this.#commitPage(pending, outcome.answer), outcome.answer.bytes);
        }
        return;
      case 'quota':
        this.#tell(pending, refusal(outcome));
        return;
      case 'retryable':
        this.#troubled.push({ pending, reason: outcome.reason });
        return;
      case 'invalid':
        // The server has read the request and answered.
        this.#good += 1;
        return this.#takeInvalid(pending, outcome.reason);
      case 'unauthorized':
        this.#stop ??= await this.#tokens.unauthorized(token, outcome.reason);
        return;
      case 'forbidden':
      case 'fatal':
        // One part reports a refusal for the whole property or project. Hear the other parts first.
        this.#forbidden.push({ pending, refusal: outcome });
        return;
    }
  }

  /** The server calls a request invalid: for its filters, for its search type and dataset, or for itself alone. */
  async #takeInvalid(pending: PendingPage, reason: string): Promise<void> {
    const { entry } = pending;
    const { selection = EVERYTHING } = this.#ports;
    if (entry.kind !== 'slice') return this.#failPage(pending, reason, true);
    if (isSelected(selection) && refusesSelection(reason)) {
      this.#stop ??= { kind: 'fatal', fatal: refusedSelection(reason) };
      return;
    }
    if (!refusesCombination(reason)) return this.#failPage(pending, reason, true);
    const { searchType, dataset } = entry.slice;
    const refused = { searchType, dataset, reason };
    this.#ports.catalogue.refuse(refused);
    const noted = await this.#insist(() => this.#ports.store.refuseSlice(entry.slice.id, refused));
    if (noted.kind !== 'ok') {
      this.#stop ??= outcomeOf(noted);
      return;
    }
    entry.notServed = reason;
    // Neither complete nor failed: there is no such data.
    this.#tell(pending, { kind: 'committed', rows: 0, next: { kind: 'notPublished' } });
  }

  /** If other pages of the call were answered, or this is the first refusal, it may be a temporary fault at Google. */
  #judgeForbidden(): void {
    for (const { pending, refusal } of this.#forbidden) {
      if (this.#isForGood(refusal)) this.#stop ??= { kind: 'fatal', fatal: fatalOf(refusal) };
      else this.#troubled.push({ pending, reason: refusal.reason });
    }
  }

  #isForGood(refusal: Refused): boolean {
    return !isPassing(refusal) || this.#refusals.refused();
  }

  /** Stops using the database until the next retry. Resolves to false if the call is over. */
  #stall(away: DatabaseAway): Promise<boolean> {
    const isToTryAgain = this.#patience.wait();
    if (!this.#signal.aborted) {
      this.#observation.stalled(away.reason);
      this.#report({ type: 'call.stalled', away: awayOf(away), chance: this.#ports.clock.random() });
    }
    return isToTryAgain;
  }

  /** Repeats the question until the database answers or the call is over. */
  async #insist<T>(ask: () => Promise<Answer<T>>): Promise<Answer<T>> {
    for (;;) {
      const answer = await ask();
      if (answer.kind !== 'databaseAway' || !(await this.#stall(answer))) return answer;
    }
  }

  #begin(done: Promise<void>, bytes: number): void {
    this.#commits.push({ bytes, done });
    // It is awaited later. Until then a bug in it must not cause an unhandled rejection.
    done.catch(() => undefined);
  }

  /** Waits until at most `maxBytes` are being written; with 0, until none are. */
  async #committed(maxBytes: number): Promise<void> {
    for (;;) {
      const [oldest] = this.#commits;
      if (oldest === undefined) return;
      const bytes = this.#commits.reduce((sum, commit) => sum + commit.bytes, 0);
      if (bytes <= maxBytes && this.#commits.length < MAX_WAITING_PAGES) return;
      await oldest.done;
      this.#commits.shift();
    }
  }

  async #commitPage(pending: PendingPage, answer: QueryAnswer): Promise<void> {
    const { page, entry } = pending;
    const { store, clock } = this.#ports;
    const startedAt = clock.now();
    if (entry.kind === 'probe') {
      this.#tell(pending, { kind: 'committed', rows: 0, next: { kind: 'sealed' } });
      return;
    }
    if (entry.kind === 'calendar') {
      const read = readCalendar(entry, answer);
      if ('problem' in read) return this.#failPage(pending, read.problem, this.#isLastAttempt(page));
      const { calendar } = read;
      const written = await this.#insist(() => store.commitCalendar(entry.searchType, calendar));
      if (written.kind !== 'ok') {
        this.#stop ??= outcomeOf(written);
        return;
      }
      const leftOut = written.value;
      entry.contradictions = (entry.contradictions ?? 0) + (leftOut.length > 0 ? 1 : 0);
      if (leftOut.length > 0 && entry.contradictions < MAX_CONTRADICTIONS) {
        const reason = `Google leaves out ${leftOut.length} days of "${entry.searchType}" that had data, including ${leftOut[0]?.date}`;
        // A contradictory answer does not count as good.
        this.#good -= 1;
        this.#troubled.push({ pending, reason });
        return;
      }
      // A repeated contradiction is still not taken as "no data". Those days are fetched if no data is held, and fail
      // if they come back empty.
      entry.leftOut = leftOut.map(({ date }) => date);
      entry.calendar = {
        ...calendar,
        days: [...calendar.days, ...leftOut],
        lastPublished: newest(calendar, leftOut),
      };
      entry.onSettled();
      this.#tell(pending, { kind: 'committed', rows: 0, next: { kind: 'sealed' } }, clock.now() - startedAt);
      return;
    }
    const { slice, day } = entry;
    // Google says so with every page of the slice.
    if (isStillCounted(answer.firstIncompleteHour, slice.date)) day.final = false;
    const contradiction = page.startRow === 0 ? whyNotEmpty(slice.dataset, day) : undefined;
    if (answer.rows.count === 0 && contradiction !== undefined) {
      // A contradictory answer does not count as good.
      this.#good -= 1;
      // The answer's memory is used again by then.
      const nothing = { ...answer, rows: rowBlock([], answer.rows.keyCount) };
      const empty = () => this.#commitSlice(pending, entry, nothing);
      this.#troubled.push({ pending, reason: contradiction, empty });
      return;
    }
    await this.#commitSlice(pending, entry, answer);
  }

  async #commitSlice(pending: PendingPage, entry: SliceEntry, answer: QueryAnswer): Promise<void> {
    const { page } = pending;
    const { slice, day } = entry;
    const { clock, rowsPerPage, ends } = this.#ports;
    const startedAt = clock.now();
    const asked = { startRow: page.startRow, rowLimit: rowsPerPage };
    const { count } = answer.rows;
    const end = ends.endOf({ ...asked, dataset: slice.dataset, rows: count }, clock.random());
    const result = await this.#queue.commitPage({ ...asked, slice, rows: answer.rows, day, end });
    switch (result.kind) {
      case 'committed':
      case 'alreadyCommitted':
        if (result.afterShort === true && !(await this.#noteShortPage(slice))) return;
        this.#tellCommitted(pending, entry, result, clock.now() - startedAt);
        return;
      case 'rejected':
        return this.#failPage(pending, result.reason, true);
      case 'dropped':
        // Halted: the page goes back together with the unreported ones.
        return;
      default:
        this.#stop ??= outcomeOf(result);
    }
  }

  /** The page before these rows was taken for the slice's last one. Returns false if the database cannot note it. */
  async #noteShortPage(slice: Slice): Promise<boolean> {
    const { store, ends } = this.#ports;
    if (!ends.shortPageSeen(slice)) return true;
    const noted = await this.#insist(() => store.noteShortPage());
    if (noted.kind !== 'ok') this.#stop ??= outcomeOf(noted);
    return noted.kind === 'ok';
  }

  #tellCommitted(pending: PendingPage, entry: SliceEntry, { rows, next }: CommittedPage, commitMs = 0): void {
    if (next.kind === 'again') {
      const again = { ...entry.slice, id: next.sliceId };
      this.#ports.catalogue.add(again.id, { ...entry, slice: again, rows: 0 });
    }
    entry.rows += rows;
    this.#tell(pending, { kind: 'committed', rows, next }, commitMs);
  }

  #isLastAttempt({ attempts }: Page): boolean {
    return attempts + 1 >= this.#input.maxAttempts;
  }

  /**
   * Uses up an attempt. After the last one, the slice is recorded as failed in the database first. The page may turn
   * out to be committed by an earlier call whose answer was lost; then it has not failed.
   */
  async #failPage(pending: PendingPage, reason: string, final: boolean): Promise<void> {
    const { page, entry } = pending;
    if (final && entry.kind === 'calendar') {
      entry.problem = reason;
      entry.onSettled();
    } else if (final && entry.kind === 'slice') {
      const recorded = await this.#insist(() => this.#ports.store.failSlice(page.sliceId, reason, page));
      if (recorded.kind !== 'ok') {
        this.#stop ??= outcomeOf(recorded);
        return;
      }
      if (recorded.value !== null) return this.#tellCommitted(pending, entry, recorded.value);
    }
    this.#tell(pending, { kind: 'failed', reason, final });
  }

  #tell({ page }: PendingPage, result: PageResult, commitMs = 0): void {
    const { sliceId, startRow } = page;
    this.#observation.page(sliceId, startRow, result, commitMs);
    this.#report({ type: 'call.page', sliceId, startRow, result });
  }

  async #outcomeOf(end: HttpCallEnd | undefined, token: string): Promise<CallOutcome> {
    if (end === undefined) return { kind: 'failed', reason: 'the call stopped without reporting its end' };
    switch (end.kind) {
      case 'answered':
      case 'aborted':
        return { kind: end.kind };
      case 'failed':
        return { kind: 'failed', reason: end.reason };
      case 'unauthorized':
        return this.#tokens.unauthorized(token, end.reason);
      case 'forbidden':
      case 'fatal':
        if (!this.#isForGood(end)) return { kind: 'failed', reason: end.reason };
        return { kind: 'fatal', fatal: fatalOf(end) };
      case 'quota':
        for (const pending of this.#pages) {
          this.#tell(pending, refusal(end));
        }
        return { kind: 'answered' };
    }
  }
}

export type Refused = Extract<Refusal, { kind: 'forbidden' | 'fatal' }>;

/** Refusals that Google may take back a moment later. */
const PASSING: ReadonlySet<Refused['code']> = new Set(['FORBIDDEN', 'API_NOT_ENABLED', 'PROJECT_REFUSED']);

export const isPassing = ({ code }: Refused): boolean => PASSING.has(code);

function refusal({ quota, retryAfterMs, scopeKind }: QuotaRefusal): PageResult {
  return { kind: 'refused', quota, retryAfterMs, ...(scopeKind !== undefined && { scopeKind }) };
}

export function fatalOf(refusal: Refused): Fatal {
  const { code, reason } = refusal;
  const nextStep = refusal.kind === 'fatal' ? refusal.nextStep : undefined;
  return nextStep === undefined ? { code, reason } : { code, reason, nextStep };
}
