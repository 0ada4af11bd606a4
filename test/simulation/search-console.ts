/**
 * A simulated Search Console: its own truth, its own count of requests as they arrive, and its own bad days. What it
 * was asked and what it said is kept, for the checks.
 */
import { pacificDay } from '../../src/domain/day.ts';
import { SEARCH_TYPES, type SearchType } from '../../src/domain/slice.ts';
import { type WrittenPart, writeBatch, writeError, writePage } from './answers.ts';
import { Chance, share } from './chance.ts';
import type { Judge } from './judge.ts';
import type { Process } from './process.ts';
import { type AskedPage, readRequest, type SentRequest } from './request-reader.ts';
import type { Fault, Scenario } from './scenario.ts';
import { type TrueKey, Truth } from './truth.ts';
import { describe, stamp } from './world.ts';

export const SITE = 'sc-domain:example.com';

export interface HttpReply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer;
  readonly thinkMs: number;
}

export interface Arrival {
  readonly atMs: number;
  readonly process: Process;
  readonly requests: number;
}

/** How one request for a page was answered. */
export interface Asked {
  readonly atMs: number;
  readonly process: Process;
  readonly key: string;
  readonly startRow: number;
  readonly said: 'rows' | 'error' | 'invalid' | 'refused' | 'nothing';
}

export interface Counts {
  refusals: number;
  unauthorized: number;
}

export const calendarKey = (searchType: string): string => `calendar ${searchType}`;
export const keyName = (key: {
  searchType: string;
  dataset: string;
  date: string;
  part?: string | undefined;
}): string => [key.searchType, key.dataset, key.date, ...(key.part ? [key.part] : [])].join(' ');

export class SearchConsole {
  readonly truth: Truth;
  readonly arrivals: Arrival[] = [];
  readonly asked: Asked[] = [];
  readonly counts: Counts = { refusals: 0, unauthorized: 0 };
  /** Faults are on until the world has healed. */
  isHealed = false;
  readonly #scenario: Scenario;
  readonly #judge: Judge;
  readonly #chance: Chance;
  #token = 1;
  /** Requests that it took, for its own limit. */
  readonly #taken: number[] = [];

  constructor(scenario: Scenario, judge: Judge) {
    this.#scenario = scenario;
    this.#judge = judge;
    this.#chance = new Chance(scenario.seed, 'search console');
    this.truth = new Truth(scenario);
  }

  /** The access token that it takes now. */
  get token(): string {
    return `token-${this.#token}`;
  }

  /** A request arrives: it counts from now on, whatever becomes of it. */
  arrive(request: SentRequest, process: Process, nowMs: number): HttpReply {
    try {
      const { isBatch, pages } = readRequest(request);
      this.arrivals.push({ atMs: nowMs, process, requests: pages.length });
      return { ...this.#answer(request, isBatch, pages, process, nowMs), thinkMs: this.#thinkMs() };
    } catch (error) {
      this.#judge.fail('every request can be read', describe(error));
      return { status: 400, headers: {}, body: Buffer.alloc(0), thinkMs: 0 };
    }
  }

  #is(fault: Fault): boolean {
    return !this.isHealed && this.#chance.is(this.#scenario.faults[fault] ?? 0);
  }

  /** A fault that lasts for a share of such periods. */
  #isPeriod(fault: 'outage' | 'noBatches', periodMs: number, nowMs: number): boolean {
    const { seed, faults } = this.#scenario;
    const period = Math.floor(nowMs / periodMs);
    return !this.isHealed && share(seed, fault, period) < (faults[fault] ?? 0);
  }

  #thinkMs(): number {
    return this.#scenario.google.thinkMs * this.#chance.between(0.5, 1.5);
  }

  #answer(
    request: SentRequest,
    isBatch: boolean,
    pages: readonly AskedPage[],
    process: Process,
    nowMs: number,
  ): Omit<HttpReply, 'thinkMs'> {
    const chance = this.#chance;
    const whole = (said: Asked['said'], error: WrittenPart): Omit<HttpReply, 'thinkMs'> => {
      for (const page of pages) this.#note(page, process, nowMs, said);
      return {
        status: error.status,
        headers: { 'content-type': 'application/json', ...error.headers },
        body: Buffer.from(error.body),
      };
    };
    if (request.headers.authorization !== `Bearer ${this.token}` || this.#is('unauthorized')) {
      // A token that is refused is no good any more: the next one is.
      if (request.headers.authorization === `Bearer ${this.token}`) this.#token += 1;
      this.counts.unauthorized += 1;
      return whole('nothing', writeError('unauthorized', chance));
    }
    if (this.#isPeriod('outage', 4 * 60_000, nowMs) && this.#chance.is(0.5)) {
      return whole('nothing', writeError('backend', chance));
    }
    if (isBatch && this.#isPeriod('noBatches', 30 * 60_000, nowMs)) {
      return whole('nothing', { status: 404, headers: {}, body: '<title>Not Found</title>' });
    }
    if (this.#is('wholeError')) return whole('nothing', writeError('backend', chance));
    if (this.#is('refusedWhole')) return whole('refused', this.#refuse(pages.length, 'qps'));
    if (isBatch && this.#is('notMultipart')) {
      for (const page of pages) this.#note(page, process, nowMs, 'nothing');
      return {
        status: 200,
        headers: { 'content-type': 'text/html' },
        body: Buffer.from('<html>Sorry</html>'),
      };
    }
    const refusal = this.#is('dailyRefusal')
      ? 'daily'
      : this.#is('loadRefusal')
        ? 'load'
        : this.#is('refusedParts')
          ? 'qps'
          : null;
    const refusedFrom = refusal === null ? pages.length : chance.below(pages.length);
    const parts = pages.map((page, index) => {
      const isOver = this.#isOverItsLimit(nowMs);
      if (index >= refusedFrom || isOver) {
        this.#note(page, process, nowMs, 'refused');
        return { page, part: this.#refuse(1, isOver ? 'qps' : (refusal ?? 'qps')) };
      }
      this.#taken.push(nowMs);
      return { page, part: this.#part(page, process, nowMs) };
    });
    if (!isBatch) {
      const { status, headers, body } = parts[0]?.part ?? writeError('backend', chance);
      return { status, headers: { 'content-type': 'application/json', ...headers }, body: Buffer.from(body) };
    }
    return { status: 200, ...this.#writeParts(parts, process, nowMs) };
  }

  /** Its real limit, where that is lower than what our options say. */
  #isOverItsLimit(nowMs: number): boolean {
    const { realLimit } = this.#scenario.google;
    if (realLimit === null) return false;
    while ((this.#taken[0] ?? nowMs) <= nowMs - 60_000) this.#taken.shift();
    return this.#taken.length >= realLimit;
  }

  #refuse(count: number, kind: 'qps' | 'load' | 'daily'): WrittenPart {
    this.counts.refusals += count;
    return writeError(kind, this.#chance, this.isHealed);
  }

  #part(page: AskedPage, process: Process, nowMs: number): WrittenPart {
    const say = (said: Asked['said'], part: WrittenPart): WrittenPart => {
      this.#note(page, process, nowMs, said);
      return part;
    };
    if (this.#is('unauthorizedPart')) {
      this.#token += 1;
      this.counts.unauthorized += 1;
      return say('nothing', writeError('unauthorized', this.#chance));
    }
    if (!isCalendar(page) && this.isInvalid(keyIn(page)))
      return say('invalid', writeError('invalid', this.#chance));
    // The same outage, told in each part.
    if (this.#isPeriod('outage', 4 * 60_000, nowMs)) return say('error', writeError('backend', this.#chance));
    if (this.#is('partError')) return say('error', writeError('backend', this.#chance));
    if (this.#is('wrongAnswer')) return say('error', writeError('wrongRows', this.#chance));
    return say('rows', this.#rows(page, nowMs));
  }

  /** A slice that Google will never serve; calendars it always does. */
  isInvalid({ searchType, dataset, date }: Pick<TrueKey, 'searchType' | 'dataset' | 'date'>): boolean {
    const { seed, faults } = this.#scenario;
    return share(seed, 'invalid', searchType, dataset, date) < (faults.invalidSlice ?? 0);
  }

  #rows(page: AskedPage, nowMs: number): WrittenPart {
    const searchType = typeOf(page.type);
    const { startDate, endDate, startRow, rowLimit } = page;
    if (isCalendar(page)) {
      const to = endDate < pacificDay(nowMs) ? endDate : pacificDay(nowMs);
      const days = this.truth.calendar(searchType, startDate, to, nowMs);
      const rows = days.map(({ date, clicks }) => ({
        keys: [date],
        clicks,
        impressions: clicks * 10,
        position: 1,
      }));
      return writePage(rows, this.truth.firstIncomplete(startDate, to, nowMs));
    }
    const key = keyIn(page);
    let rows = this.truth.rows(key, nowMs);
    if ((this.#scenario.faults.reorderedTies ?? 0) > 0 && !this.isHealed) {
      const order = new Map(this.#chance.shuffled(rows).map((row, place) => [row, place]));
      rows = rows.toSorted(
        (one, other) => other.clicks - one.clicks || (order.get(one) ?? 0) - (order.get(other) ?? 0),
      );
    }
    return writePage(rows.slice(startRow, startRow + rowLimit), null);
  }

  #writeParts(
    parts: readonly { readonly page: AskedPage; readonly part: WrittenPart }[],
    process: Process,
    nowMs: number,
  ): Pick<HttpReply, 'headers' | 'body'> {
    const chance = this.#chance;
    const written: { contentId: string; part: WrittenPart }[] = [];
    for (const { page, part } of parts) {
      if (this.#is('missingPart')) {
        this.#note(page, process, nowMs, 'error');
        continue;
      }
      written.push({ contentId: page.contentId, part });
      if (this.#is('doubledPart'))
        written.push({ contentId: page.contentId, part: writeError('backend', chance) });
    }
    if (this.#is('strayParts'))
      written.splice(chance.below(written.length + 1), 0, { contentId: 'p999', part: writePage([], null) });
    return writeBatch(
      this.#is('shuffledParts') ? shuffleFirsts(written, chance) : written,
      chance,
      this.#is('quirks'),
    );
  }

  #note(page: AskedPage, process: Process, atMs: number, said: Asked['said']): void {
    const key = isCalendar(page) ? calendarKey(page.type) : keyName(keyIn(page));
    this.asked.push({ atMs, process, key, startRow: page.startRow, said });
    if (this.#judge.isTracing) {
      this.#judge.tell(`${stamp(atMs)}   ${process.name} asks for ${key} from row ${page.startRow}: ${said}`);
    }
    if (page.siteUrl !== SITE) this.#judge.fail('only our own property is asked for', page.siteUrl);
  }
}

const isCalendar = ({ dimensions }: Pick<AskedPage, 'dimensions'>): boolean => dimensions[0] === 'date';

function keyIn({ type, dimensions, appearance, startDate: date }: AskedPage): TrueKey {
  const key = { searchType: typeOf(type), date };
  if (appearance === '') return { ...key, dataset: dimensions.join('+') || 'date' };
  return {
    ...key,
    dataset: [...dimensions, 'searchAppearance'].join('+'),
    part: `searchAppearance=${appearance}`,
  };
}

function typeOf(text: string): SearchType {
  const found = SEARCH_TYPES.find((type) => type === text);
  if (found === undefined) throw new Error(`the search type ${text}`);
  return found;
}

/** In any order, but of two parts with one id the true one stays first. */
function shuffleFirsts<T extends { readonly contentId: string }>(parts: readonly T[], chance: Chance): T[] {
  const ids = chance.shuffled([...new Set(parts.map(({ contentId }) => contentId))]);
  return ids.flatMap((id) => parts.filter(({ contentId }) => contentId === id));
}
