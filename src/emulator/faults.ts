import { z } from 'zod';
import { LongtailError } from '../domain/errors.ts';
import { type ApiError, apiError, NAMED_ERRORS, type NamedError } from './api-errors.ts';
import { FILTERED_DIMENSIONS } from './filters.ts';
import { fraction, hashText, mix } from './hash.ts';

const count = z.int().min(1);
const atLeastZero = z.int().min(0);
const namedError = z.enum(Object.keys(NAMED_ERRORS) as [NamedError, ...NamedError[]]); // Object.keys forgets the names

const partAction = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('error'),
    error: z.union(
      [
        namedError,
        z.strictObject({
          status: z.int().min(400).max(599),
          message: z.string(),
          reason: z.string(),
          domain: z.string().optional(),
        }),
      ],
      `expected one of ${Object.keys(NAMED_ERRORS).join(', ')}, or { status, message, reason }`,
    ),
    retryAfterS: atLeastZero.optional(),
  }),
  z.strictObject({ kind: z.literal('garblePart') }),
  z.strictObject({ kind: z.literal('emptyPart') }),
  z.strictObject({ kind: z.literal('cutPart'), afterBytes: atLeastZero }),
  z.strictObject({ kind: z.literal('noRows') }),
  z.strictObject({
    kind: z.literal('changeRow'),
    key: z.partialRecord(z.enum(FILTERED_DIMENSIONS), z.string()),
    to: z
      .strictObject({
        clicks: atLeastZero.optional(),
        impressions: atLeastZero.optional(),
        position: z.number().min(0).optional(),
      })
      .nullable(),
  }),
  z.strictObject({ kind: z.literal('shortPage'), rows: count }),
  z.strictObject({ kind: z.literal('dropPart') }),
  z.strictObject({ kind: z.literal('doublePart') }),
  z.strictObject({ kind: z.literal('unknownId') }),
]);

const callAction = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('status'),
    status: z.int().min(200).max(599),
    error: namedError.optional(),
    body: z.string().optional(),
  }),
  z.strictObject({ kind: z.literal('reset'), afterBytes: atLeastZero.optional() }),
  z.strictObject({ kind: z.literal('truncate'), afterBytes: atLeastZero, clean: z.boolean().optional() }),
  z.strictObject({ kind: z.literal('noFinalBoundary') }),
  z.strictObject({ kind: z.literal('shuffleParts') }),
  z.strictObject({ kind: z.literal('delay'), ms: atLeastZero }),
  z.strictObject({ kind: z.literal('trickle'), chunkBytes: count, everyMs: atLeastZero }),
  z.strictObject({ kind: z.literal('emptyBody') }),
  z.strictObject({ kind: z.literal('garbage') }),
  z.strictObject({ kind: z.literal('expireTokens') }),
  z.strictObject({ kind: z.literal('refuse'), forMs: atLeastZero }),
]);

const rule = z.strictObject({
  match: z
    .strictObject({
      endpoint: z.enum(['batch', 'query', 'sites', 'token']).optional(),
      call: count.optional(),
      site: z.string().optional(),
      type: z.string().optional(),
      date: z.string().optional(),
      startRow: atLeastZero.optional(),
      dimensions: z.string().optional(),
      part: atLeastZero.optional(),
      fromMs: atLeastZero.optional(),
      untilMs: atLeastZero.optional(),
    })
    .optional(),
  nth: count.optional(),
  every: count.optional(),
  probability: z.number().min(0).max(1).optional(),
  times: count.optional(),
  action: z.discriminatedUnion('kind', [partAction, callAction]),
});

const faultsSchema = z.strictObject({ seed: z.int().optional(), rules: z.array(rule) });

/**
 * Which faults occur, and when. A fault file is JSON:
 *
 * ```json
 * {
 *   "seed": 1,
 *   "rules": [
 *     { "action": { "kind": "error", "error": "backendError" }, "probability": 0.05 },
 *     { "match": { "date": "2026-05-01", "startRow": 0 }, "times": 1, "action": { "kind": "dropPart" } },
 *     { "match": { "endpoint": "batch" }, "nth": 3, "action": { "kind": "reset", "afterBytes": 4000 } }
 *   ]
 * }
 * ```
 *
 * A rule without `match` applies to everything. All given fields of `match` must hold:
 *
 * | field | means |
 * |---|---|
 * | `endpoint` | `batch`, `query` (one sent alone), `sites`, `token` |
 * | `call` | the n-th HTTP call since the start, counted from 1 |
 * | `site`, `type`, `date`, `startRow`, `dimensions` | fields of the query; `date`: its `startDate`; `dimensions` joined by `+` |
 * | `part` | the call's index in its batch, from 0 |
 * | `fromMs`, `untilMs` | milliseconds since the start, or since the faults were set |
 *
 * For an action on an HTTP call, a rule with query fields matches if any call in the batch does. Of the matches, `nth`
 * selects only the n-th, `every` each n-th, `probability` a share (determined by the seed, not by the order of arrival),
 * and `times` at most that many.
 *
 * Actions on one call, alone or in a batch. The first matching rule decides:
 *
 * | kind | what the client sees |
 * |---|---|
 * | `error` | `error`: a name (see below), or `{status, message, reason, domain?}`; `retryAfterS?` |
 * | `garblePart` | 200 with a body that is not JSON |
 * | `emptyPart` | 200 with an empty body |
 * | `noRows` | 200 with no rows, as on a day without data |
 * | `changeRow` | the row with this `key`, such as `{page, query}`, has the figures in `to` (`clicks`, `impressions`, `position`); with `to: null` it is missing |
 * | `shortPage` | at most `rows` rows, though more were requested and exist; the next page begins behind them |
 * | `cutPart` | 200 with JSON that ends after `afterBytes` |
 * | `dropPart`, `doublePart` | in a batch: no answer for this call, or the same twice |
 * | `unknownId` | in a batch: the answer has an id that no call had |
 *
 * Names: `backendError` (500), `nullMessage` (500), `unavailable` (503), `qps`, `load`, `daily` (403),
 * `rateLimitExceeded` (429), `servingLimitExceeded`, `accessNotConfigured`, `insufficientPermissions`, `forbidden`
 * (403), `unauthorized` (401), `badRequest` (400), `notFound` (404).
 *
 * Actions on a whole HTTP call. All that match apply:
 *
 * | kind | what the client sees |
 * |---|---|
 * | `status` | `status` with `error`'s body, or with `body` as plain text |
 * | `reset` | the connection reset, before any byte or after `afterBytes` of the answer |
 * | `truncate` | the connection closes after `afterBytes`; with `clean` the answer ends as if complete |
 * | `noFinalBoundary` | a batch without its last line |
 * | `shuffleParts` | parts in another order |
 * | `delay` | nothing for `ms` |
 * | `trickle` | `chunkBytes` at a time, `everyMs` apart |
 * | `emptyBody`, `garbage` | 200 with an empty body, or with one that is not an API answer |
 * | `expireTokens` | every token issued so far is rejected, from this call on |
 * | `refuse` | this connection reset, and new ones refused for `forMs` |
 */
export type Faults = z.infer<typeof faultsSchema>;
export type FaultRule = z.infer<typeof rule>;
export type PartAction = z.infer<typeof partAction>;
export type CallAction = z.infer<typeof callAction>;

export const NO_FAULTS: Faults = { rules: [] };

/** Parses the text of a fault file. Throws `BAD_OPTION`, which names the invalid field. */
export function parseFaults(text: string): Faults {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw badFaults(`it is not JSON (${error instanceof Error ? error.message : String(error)})`, error);
  }
  return checkFaults(value);
}

/** Checks a value from a program. Throws like {@link parseFaults}. */
export function checkFaults(value: unknown): Faults {
  const result = faultsSchema.safeParse(value);
  if (result.success) return result.data;
  const issue = result.error.issues[0];
  const path = issue?.path
    .map((step) => (typeof step === 'number' ? `[${step}]` : `.${String(step)}`))
    .join('');
  throw badFaults(`${path?.replace(/^\./, '') || 'the whole'}: ${issue?.message ?? 'invalid'}`, result.error);
}

function badFaults(what: string, cause: unknown): LongtailError {
  return new LongtailError(
    'BAD_OPTION',
    `The fault file is invalid: ${what}.`,
    'See the type Faults in longtail/emulator for the format; {"rules": []} is an empty file.',
    { cause },
  );
}

export function faultError(action: Extract<PartAction, { kind: 'error' }>): ApiError {
  const { error, retryAfterS } = action;
  const base = typeof error === 'string' ? NAMED_ERRORS[error]() : apiError(error);
  return retryAfterS === undefined ? base : { ...base, retryAfterS };
}

/** What a rule matches on. The query's fields are undefined for other calls. */
export interface FaultSubject {
  readonly endpoint: 'batch' | 'query' | 'sites' | 'token';
  readonly call: number;
  readonly sinceStartMs: number;
  readonly site?: string | undefined;
  readonly type?: string | undefined;
  readonly date?: string | undefined;
  readonly startRow?: number | undefined;
  readonly dimensions?: string | undefined;
  readonly part?: number | undefined;
  /** Equal for equal requests. Random choices depend on it and on `seenBefore`. */
  readonly identity?: string | undefined;
  readonly seenBefore?: number | undefined;
}

/** Decides which faults apply to a call. Holds the rules' counters. */
export class FaultPlan {
  readonly #seed: number;
  readonly #rules: readonly { readonly rule: FaultRule; matched: number; fired: number }[];

  constructor(faults: Faults) {
    this.#seed = faults.seed ?? 1;
    this.#rules = faults.rules.map((entry) => ({ rule: entry, matched: 0, fired: 0 }));
  }

  /** The action for this API call. */
  forPart(subject: FaultSubject): PartAction | undefined {
    for (const [index, state] of this.#rules.entries()) {
      const action = asPartAction(state.rule.action);
      if (action === undefined || !matches(state.rule, subject)) continue;
      const chance = mix(hashText(subject.identity ?? String(subject.call)), subject.seenBefore ?? 0);
      if (this.#takes(index, state, chance)) return action;
    }
    return undefined;
  }

  /** The actions for this HTTP call with these API calls. */
  forCall(subject: FaultSubject, parts: readonly FaultSubject[]): CallAction[] {
    const actions: CallAction[] = [];
    for (const [index, state] of this.#rules.entries()) {
      const action = asCallAction(state.rule.action);
      if (action === undefined) continue;
      const { match } = state.rule;
      const subjects = parts.length === 0 ? [subject] : parts;
      if (match !== undefined && !subjects.some((part) => matches(state.rule, part))) continue;
      if (this.#takes(index, state, hashText(`call ${subject.call}`))) actions.push(action);
    }
    return actions;
  }

  #takes(
    index: number,
    state: { readonly rule: FaultRule; matched: number; fired: number },
    chance: number,
  ): boolean {
    const { nth, every, probability, times } = state.rule;
    state.matched += 1;
    if (nth !== undefined && state.matched !== nth) return false;
    if (every !== undefined && state.matched % every !== 0) return false;
    if (times !== undefined && state.fired >= times) return false;
    if (probability !== undefined && fraction(mix(mix(this.#seed, index), chance)) >= probability)
      return false;
    state.fired += 1;
    return true;
  }
}

function matches({ match }: FaultRule, subject: FaultSubject): boolean {
  if (match === undefined) return true;
  const { fromMs, untilMs, ...fields } = match;
  if (fromMs !== undefined && subject.sinceStartMs < fromMs) return false;
  if (untilMs !== undefined && subject.sinceStartMs >= untilMs) return false;
  const own = {
    endpoint: subject.endpoint,
    call: subject.call,
    site: subject.site,
    type: subject.type,
    date: subject.date,
    startRow: subject.startRow,
    dimensions: subject.dimensions,
    part: subject.part,
  };
  return Object.entries(fields).every(
    ([name, wanted]) => wanted === undefined || own[name as keyof typeof own] === wanted, // entries() forgets the names
  );
}

function asPartAction(action: FaultRule['action']): PartAction | undefined {
  switch (action.kind) {
    case 'error':
    case 'garblePart':
    case 'emptyPart':
    case 'cutPart':
    case 'noRows':
    case 'changeRow':
    case 'shortPage':
    case 'dropPart':
    case 'doublePart':
    case 'unknownId':
      return action;
    default:
      return undefined;
  }
}

function asCallAction(action: FaultRule['action']): CallAction | undefined {
  const isPart = (candidate: FaultRule['action']): candidate is PartAction =>
    asPartAction(candidate) !== undefined;
  return isPart(action) ? undefined : action;
}
