import type { QuotaKind } from '../../domain/quota-kind.ts';
import { PROXY_SIGN_IN_STEP } from '../http/proxy-settings.ts';
import type { TransportError } from '../http/transport.ts';
import { oneLine } from './one-line.ts';
import { projectRefusal } from './project-refusal.ts';
import { refusedScopeKind } from './refused-scope.ts';

/** A quota is exceeded. It does not count as an attempt of the page. */
export interface QuotaRefusal {
  readonly kind: 'quota';
  /** `qps`: too many requests per minute. `load`: too much load in ten minutes. `daily`: the daily quota is used up. */
  readonly quota: QuotaKind;
  /** From the Retry-After header, if the server sent one. */
  readonly retryAfterMs: number | null;
  /** `site`, `user` or `project`, if the server says whose quota is exceeded. */
  readonly scopeKind?: string;
}

/** Every answer other than the requested rows. A `reason` is one line of bounded length, without a token. */
export type Refusal =
  /** 5xx, a missing, truncated, too large or unreadable answer: the same request may succeed later. */
  | { readonly kind: 'retryable'; readonly reason: string }
  | QuotaRefusal
  /** The token was refused. */
  | { readonly kind: 'unauthorized'; readonly reason: string }
  /** `FORBIDDEN`: no permission for the property. `MISSING_SCOPE`: the token was made for something else. */
  | { readonly kind: 'forbidden'; readonly code: 'FORBIDDEN' | 'MISSING_SCOPE'; readonly reason: string }
  /** Nothing will succeed until a person fixes the cause. */
  | {
      readonly kind: 'fatal';
      readonly code: 'API_NOT_ENABLED' | 'PROJECT_REFUSED' | 'INVALID_GRANT' | 'API_UNREACHABLE';
      readonly reason: string;
      readonly nextStep?: string;
    }
  /** The server calls the request invalid: its slice fails, the rest continues. */
  | { readonly kind: 'invalid'; readonly reason: string };

/** An answer that is not a 2xx. */
export interface RefusedAnswer {
  readonly status: number;
  /** The first 64 KiB or so are enough. */
  readonly body: Uint8Array;
  /** The Retry-After header, as sent. */
  readonly retryAfter: string | undefined;
  /** The current time. Needed because Retry-After may be a date. */
  readonly nowMs: number;
  /** Removed from the reason if the server repeats them. */
  readonly secrets?: readonly string[];
}

/** Google's error body in any of its forms. Missing values are empty. */
interface ApiError {
  /** The status in the body; 0 if there is none. */
  readonly code: number;
  readonly message: string;
  /** `errors[].reason`, `details[].reason`, and the name of an OAuth error. */
  readonly reasons: readonly string[];
  readonly domains: readonly string[];
  /** The limit that was exceeded, from `details[].metadata`: `quota_limit`, `quota_unit`. */
  readonly limits: readonly string[];
  /** Whether the body was an error object at all. */
  readonly recognised: boolean;
}

const QUOTA_REASONS = new Set([
  'quotaExceeded',
  'rateLimitExceeded',
  'userRateLimitExceeded',
  'servingLimitExceeded',
  'dailyLimitExceeded',
  'dailyLimitExceededUnreg',
  'userRateLimitExceededUnreg',
  'concurrentLimitExceeded',
  'RATE_LIMIT_EXCEEDED',
]);
const SCOPE_REASONS = new Set(['insufficientPermissions', 'ACCESS_TOKEN_SCOPE_INSUFFICIENT']);
const LONG_RETRY_AFTER_MS = 60 * 60 * 1000;
const MAX_RETRY_AFTER_MS = 24 * 60 * 60 * 1000;

/** What an answer that is not a 2xx means for the request it answers. Pure. */
export function refusalOf(answer: RefusedAnswer): Refusal {
  const { status } = answer;
  const error = readError(answer.body);
  const reason = describe(answer, error);
  if (error.reasons.includes('invalid_grant')) return { kind: 'fatal', code: 'INVALID_GRANT', reason };
  if (status === 401) return { kind: 'unauthorized', reason };
  if (status === 403 || status === 429) return refusedAccess(answer, error, reason);
  if (status === 408 || status === 425) return { kind: 'retryable', reason };
  // An error page of a proxy or of Google's front end says nothing about the request.
  const concernsRequest = error.recognised || SIZE_STATUSES.has(status);
  return status >= 400 && status < 500 && concernsRequest
    ? { kind: 'invalid', reason }
    : { kind: 'retryable', reason };
}

/** A refusal for size concerns the request itself, even if a proxy sends it. */
const SIZE_STATUSES = new Set([413, 414, 431]);

/** The refusal for a transport error that no retry can fix; undefined for all others. */
export function refusalOnTheWay({ kind, message }: TransportError): Refusal | undefined {
  if (kind !== 'proxySignIn') return undefined;
  const reason = oneLine(`Google cannot be reached: ${message}`);
  return { kind: 'fatal', code: 'API_UNREACHABLE', reason, nextStep: PROXY_SIGN_IN_STEP };
}

/** The status in an error's body; undefined if the body is not an error of the API. */
export function statusInside(body: Uint8Array): number | undefined {
  const code = readError(body).code;
  return code >= 400 && code < 600 ? code : undefined;
}

/** 403 and 429 have many causes; the body distinguishes them. */
function refusedAccess(answer: RefusedAnswer, error: ApiError, reason: string): Refusal {
  const has = (names: ReadonlySet<string>) => error.reasons.some((name) => names.has(name));
  // Must come first: `accessNotConfigured` has the same domain as refusals for quota.
  const project = answer.status === 403 && !has(QUOTA_REASONS) ? projectRefusal(error) : undefined;
  if (project !== undefined) return { kind: 'fatal', reason, ...project };
  const isQuota =
    answer.status === 429 ||
    has(QUOTA_REASONS) ||
    error.domains.includes('usageLimits') ||
    /quota exceeded/i.test(error.message);
  if (isQuota) {
    const retryAfterMs = parseRetryAfter(answer.retryAfter, answer.nowMs);
    // A Retry-After of hours means the daily quota, whatever its name.
    const isLong = retryAfterMs !== null && retryAfterMs >= LONG_RETRY_AFTER_MS;
    const scopeKind = refusedScopeKind(error.message, error.reasons);
    const quota = isLong ? 'daily' : quotaKind(error);
    return { kind: 'quota', quota, retryAfterMs, ...(scopeKind && { scopeKind }) };
  }
  // A proxy's error page or a captcha says nothing about the property.
  if (!error.recognised) return { kind: 'retryable', reason };
  if (has(SCOPE_REASONS) || /insufficient authentication scopes/i.test(error.message)) {
    return { kind: 'forbidden', code: 'MISSING_SCOPE', reason };
  }
  return { kind: 'forbidden', code: 'FORBIDDEN', reason };
}

const PER_DAY = /\bdaily|per[ _-]?day|\b1\/d\b/i;
const PER_MINUTE = /\bQPS\b|per[ _-]?minute|per[ _-]?second|per 100 seconds|\b1\/min\b/i;

function quotaKind({ message, reasons, limits }: ApiError): QuotaRefusal['quota'] {
  // The limit's name is more reliable than the message, which may mention several: metric 'Queries per day' and limit
  // 'Queries per minute'.
  const named = limits.length > 0 ? limits.join(' ') : (/\blimit '([^']+)'/i.exec(message)?.[1] ?? '');
  if (PER_DAY.test(named)) return 'daily';
  if (PER_MINUTE.test(named)) return 'qps';
  if (/\bload quota/i.test(message)) return 'load';
  if (reasons.some((name) => name.startsWith('dailyLimitExceeded'))) return 'daily';
  if (PER_MINUTE.test(message)) return 'qps';
  if (PER_DAY.test(message)) return 'daily';
  return 'qps';
}

/** `Retry-After: 120`, or a date; null when absent, unreadable or past. At most a day. */
export function parseRetryAfter(value: string | undefined, nowMs: number): number | null {
  const text = value?.trim() ?? '';
  if (text === '') return null;
  const ms = /^\d+(?:\.\d+)?$/.test(text) ? Math.ceil(Number(text) * 1000) : Date.parse(text) - nowMs;
  if (Number.isNaN(ms) || ms <= 0) return null;
  return Math.min(ms, MAX_RETRY_AFTER_MS);
}

function describe({ status, body, secrets }: RefusedAnswer, error: ApiError): string {
  const name = error.reasons[0] ?? '';
  const what = error.recognised ? error.message : pageText(body);
  const said = [name, what].filter((text) => text !== '').join(': ');
  const head = status === 0 ? 'An answer without a status' : `HTTP ${status}`;
  return oneLine(said === '' ? head : `${head} ${said}`, secrets);
}

function readError(body: Uint8Array): ApiError {
  const none: ApiError = { code: 0, message: '', reasons: [], domains: [], limits: [], recognised: false };
  let parsed: unknown;
  try {
    parsed = JSON.parse(Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('utf8'));
  } catch {
    return none;
  }
  // The older endpoints wrap the object in an array.
  const holder = Array.isArray(parsed) ? parsed[0] : parsed;
  const error = field(holder, 'error');
  // OAuth: {"error":"invalid_grant","error_description":"…"}.
  if (typeof error === 'string') {
    return { ...none, message: text(field(holder, 'error_description')), reasons: [error], recognised: true };
  }
  if (typeof error !== 'object' || error === null) return none;
  const items = [...list(field(error, 'errors')), ...list(field(error, 'details'))];
  const status = text(field(error, 'status'));
  const reasons = items.map((item) => text(field(item, 'reason'))).filter((name) => name !== '');
  const code = field(error, 'code');
  return {
    code: Number.isInteger(code) ? Number(code) : 0,
    message: text(field(error, 'message')) || text(field(items[0], 'message')),
    reasons: reasons.length === 0 && status !== '' ? [status] : reasons,
    domains: items.map((item) => text(field(item, 'domain'))),
    limits: items.flatMap((item) =>
      ['quota_limit', 'quota_unit']
        .map((name) => text(field(field(item, 'metadata'), name)))
        .filter((name) => name !== ''),
    ),
    recognised: true,
  };
}

/** The title of an HTML page, otherwise the beginning of the text. */
function pageText(body: Uint8Array): string {
  const page = Buffer.from(body.buffer, body.byteOffset, Math.min(body.byteLength, 4096)).toString('utf8');
  const title = /<title[^>]*>([^<]*)<\/title>/i.exec(page)?.[1];
  return title ?? page.replace(/<[^>]*>/g, ' ');
}

function field(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return undefined;
  return Reflect.get(value, name);
}

const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value.slice(0, 20) : []);
const text = (value: unknown): string => (typeof value === 'string' ? value : '');
