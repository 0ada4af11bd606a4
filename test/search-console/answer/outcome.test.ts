import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { oneLine } from '../../../src/search-console/answer/one-line.ts';
import { parseRetryAfter, refusalOf } from '../../../src/search-console/answer/outcome.ts';

const NOW_MS = Date.UTC(2026, 0, 1);

function refusal(status: number, body: string, retryAfter?: string, secrets: string[] = []) {
  return refusalOf({ status, body: Buffer.from(body), retryAfter, nowMs: NOW_MS, secrets });
}

const google = (code: number, message: string | null, domain: string, reason: string, more: object = {}) =>
  JSON.stringify({ error: { code, message, errors: [{ message, domain, reason }], ...more } });

const LOAD =
  'Search Analytics load quota exceeded. Learn about usage limits: https://developers.google.com/webmaster-tools/v3/limits.';
const QPS =
  'Search Analytics QPS quota exceeded. Learn about usage limits: https://developers.google.com/webmaster-tools/v3/limits.';
const NO_PERMISSION =
  "User does not have sufficient permission for site 'https://x/'. See also: https://support.google.com/webmasters/answer/2451999.";
const NOT_ENABLED = 'Google Search Console API has not been used in project 123 before or it is disabled.';

describe('quota', () => {
  it.each([
    ['load, as captured', 403, google(403, LOAD, 'usageLimits', 'quotaExceeded'), 'load'],
    ['QPS, as captured', 403, google(403, QPS, 'usageLimits', 'quotaExceeded'), 'qps'],
    [
      'rate limit with 429',
      429,
      google(429, 'Rate Limit Exceeded', 'usageLimits', 'rateLimitExceeded'),
      'qps',
    ],
    [
      'user rate limit',
      403,
      google(403, 'User Rate Limit Exceeded', 'usageLimits', 'userRateLimitExceeded'),
      'qps',
    ],
    [
      'serving limit',
      403,
      google(
        403,
        'The overall rate limit specified for the API has already been reached.',
        'global',
        'servingLimitExceeded',
      ),
      'qps',
    ],
    [
      'daily by reason',
      403,
      google(403, 'Daily Limit Exceeded', 'usageLimits', 'dailyLimitExceeded'),
      'daily',
    ],
    [
      'daily by message',
      403,
      google(
        403,
        'Quota exceeded for quota metric and limit "Queries per day"',
        'usageLimits',
        'quotaExceeded',
      ),
      'daily',
    ],
    [
      'per minute, in the newer shape',
      429,
      JSON.stringify({
        error: {
          code: 429,
          message:
            "Quota exceeded for quota metric 'Queries' and limit 'Queries per minute' of service 'searchconsole.googleapis.com'",
          status: 'RESOURCE_EXHAUSTED',
          details: [
            {
              '@type': 'type.googleapis.com/google.rpc.ErrorInfo',
              reason: 'RATE_LIMIT_EXCEEDED',
              domain: 'googleapis.com',
            },
          ],
        },
      }),
      'qps',
    ],
    ['the domain alone', 403, google(403, 'no', 'usageLimits', 'somethingNew'), 'qps'],
    [
      'the message alone',
      403,
      google(403, 'Search Analytics load quota exceeded.', 'global', 'forbidden'),
      'load',
    ],
    ['429 without a body', 429, '', 'qps'],
    ['429 with a page', 429, '<html><title>Sorry...</title></html>', 'qps'],
  ])('%s', (_name, status, body, quota) => {
    expect(refusal(status, body)).toMatchObject({ kind: 'quota', quota, retryAfterMs: null });
  });

  it('takes Retry-After in seconds or as a date, and nothing else', () => {
    expect(refusal(429, '', '30')).toMatchObject({ retryAfterMs: 30_000 });
    expect(parseRetryAfter('Thu, 01 Jan 2026 00:02:00 GMT', NOW_MS)).toBe(120_000);
    for (const text of ['soon', '-5', '', 'Thu, 01 Jan 2025 00:00:00 GMT', '0', undefined]) {
      expect(parseRetryAfter(text, NOW_MS), String(text)).toBeNull();
    }
    expect(parseRetryAfter('999999999999', NOW_MS)).toBe(86_400_000);
  });
});

describe('what is no quota', () => {
  it.each([
    [
      403,
      google(403, NOT_ENABLED, 'usageLimits', 'accessNotConfigured'),
      { kind: 'fatal', code: 'API_NOT_ENABLED' },
    ],
    [
      403,
      JSON.stringify({
        error: {
          code: 403,
          message: NOT_ENABLED,
          status: 'PERMISSION_DENIED',
          details: [{ reason: 'SERVICE_DISABLED', domain: 'googleapis.com' }],
        },
      }),
      { kind: 'fatal', code: 'API_NOT_ENABLED' },
    ],
    [403, google(403, NO_PERMISSION, 'global', 'forbidden'), { kind: 'forbidden', code: 'FORBIDDEN' }],
    [
      403,
      google(403, 'Insufficient Permission', 'global', 'insufficientPermissions'),
      { kind: 'forbidden', code: 'MISSING_SCOPE' },
    ],
    [
      403,
      JSON.stringify({
        error: {
          code: 403,
          message: 'Request had insufficient authentication scopes.',
          status: 'PERMISSION_DENIED',
          details: [{ reason: 'ACCESS_TOKEN_SCOPE_INSUFFICIENT' }],
        },
      }),
      { kind: 'forbidden', code: 'MISSING_SCOPE' },
    ],
    [
      403,
      JSON.stringify({
        error: {
          code: 403,
          message: 'Request had insufficient authentication scopes.',
          status: 'PERMISSION_DENIED',
        },
      }),
      { kind: 'forbidden', code: 'MISSING_SCOPE' },
    ],
    // Not from the API: a proxy, or a page for humans.
    [
      403,
      '<html><title>Forbidden by proxy</title></html>',
      { kind: 'retryable', reason: 'HTTP 403 Forbidden by proxy' },
    ],
    [403, '', { kind: 'retryable', reason: 'HTTP 403' }],
    [
      401,
      google(401, 'Invalid Credentials', 'global', 'authError', { status: 'UNAUTHENTICATED' }),
      { kind: 'unauthorized' },
    ],
    [401, '', { kind: 'unauthorized', reason: 'HTTP 401' }],
    [
      400,
      '{"error":"invalid_grant","error_description":"Token has been expired or revoked."}',
      {
        kind: 'fatal',
        code: 'INVALID_GRANT',
        reason: 'HTTP 400 invalid_grant: Token has been expired or revoked.',
      },
    ],
    [
      400,
      google(
        400,
        'Cannot group by search appearance dimension together with another dimension.',
        'global',
        'invalidParameter',
      ),
      {
        kind: 'invalid',
        reason:
          'HTTP 400 invalidParameter: Cannot group by search appearance dimension together with another dimension.',
      },
    ],
    [404, google(404, 'Not found', 'global', 'notFound'), { kind: 'invalid' }],
    [413, '', { kind: 'invalid' }],
    [408, '', { kind: 'retryable' }],
    [500, '{"error":{"code":500,"message":null}}', { kind: 'retryable', reason: 'HTTP 500' }],
    [
      500,
      google(500, 'Backend Error', 'global', 'backendError'),
      { kind: 'retryable', reason: 'HTTP 500 backendError: Backend Error' },
    ],
    [
      503,
      JSON.stringify({
        error: { code: 503, message: 'The service is currently unavailable.', status: 'UNAVAILABLE' },
      }),
      { kind: 'retryable', reason: 'HTTP 503 UNAVAILABLE: The service is currently unavailable.' },
    ],
    [
      502,
      '<!DOCTYPE html><html><title>Error 502 (Server Error)!!1</title>…',
      { kind: 'retryable', reason: 'HTTP 502 Error 502 (Server Error)!!1' },
    ],
    [302, '', { kind: 'retryable' }],
    [0, '', { kind: 'retryable', reason: 'An answer without a status' }],
    [
      500,
      '[{"error":{"code":500,"message":"in an array"}}]',
      { kind: 'retryable', reason: 'HTTP 500 in an array' },
    ],
  ])('%i %s', (status, body, expected) => {
    expect(refusal(status, body)).toMatchObject(expected);
  });

  it('is said of any status and any body without an exception, in one short line', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 999 }),
        fc.oneof(
          fc.string(),
          fc.json(),
          fc.json().map((json) => `{"error":${json}}`),
        ),
        (status, body) => {
          const told = refusal(status, body);
          if ('reason' in told) {
            expect(told.reason.length).toBeLessThanOrEqual(300);
            expect(told.reason).toMatch(/^\P{Cc}*$/u);
          }
        },
      ),
    );
  });
});

describe('no secret in a reason', () => {
  it.each([
    'Bearer abcdef.123-456_xyz',
    'ya29.a0AfB_byDsecretsecret-secret',
    '1//0gSecretRefreshTokenSecret',
    'eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0.c2lnbmF0dXJl',
    'GOCSPX-abcdefgh_1234',
  ])('%s', (secret) => {
    expect(oneLine(`it said ${secret} and more`)).toMatch(/^it said \[secret\] and more$/);
  });

  it('the token at hand, whatever it looks like, even where the line is cut', () => {
    const token = 'plain-token-of-no-known-shape';
    const { reason } = refusal(401, google(401, `bad token ${token}`, 'global', 'authError'), undefined, [
      token,
    ]) as { reason: string };
    expect(reason).toBe('HTTP 401 authError: bad token [secret]');
    const long = oneLine(`${'x'.repeat(285)}${token}`, [token]);
    expect(long).not.toContain('plain');
    expect(long.length).toBeLessThanOrEqual(300);
  });
});
