/** Answers of the simulated Search Console, as bytes. */
import type { Chance } from './chance.ts';
import type { TrueRow } from './truth.ts';

export interface WrittenPart {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

export function writePage(rows: readonly TrueRow[], firstIncompleteDate: string | null): WrittenPart {
  const body = {
    // As Google does it: no rows, no field; no keys where nothing was grouped by.
    ...(rows.length === 0
      ? {}
      : {
          rows: rows.map(({ keys, clicks, impressions, position }) => ({
            ...(keys.length === 0 ? {} : { keys }),
            clicks,
            impressions,
            ctr: impressions === 0 ? 0 : clicks / impressions,
            ...(position === null ? {} : { position }),
          })),
        }),
    responseAggregationType: 'byPage',
    ...(firstIncompleteDate === null ? {} : { metadata: { firstIncompleteDate } }),
  };
  return { status: 200, headers: {}, body: JSON.stringify(body) };
}

type ErrorKind = 'backend' | 'invalid' | 'unauthorized' | 'qps' | 'load' | 'daily' | 'wrongRows';

const error = (code: number, message: string | null, reason: string, domain = 'global'): string =>
  JSON.stringify({ error: { code, message, errors: [{ message, domain, reason }] } });

/**
 * An error as Google writes it. `isHealed`: a refusal names no rest of an hour and more, which means the day's quota:
 * a server whose own limit is lower than ours would otherwise go on ending runs.
 */
export function writeError(kind: ErrorKind, chance: Chance, isHealed = false): WrittenPart {
  switch (kind) {
    case 'backend': {
      const status = chance.pick([500, 502, 503]);
      const body = chance.pick([error(status, null, 'backendError'), '<html><title>Oops</title></html>', '']);
      return { status, headers: {}, body };
    }
    case 'invalid':
      return {
        status: 400,
        headers: {},
        body: error(400, 'Request contains an invalid argument.', 'invalidParameter'),
      };
    case 'unauthorized':
      return { status: 401, headers: {}, body: error(401, 'Invalid Credentials', 'authError') };
    case 'wrongRows':
      return {
        status: 200,
        headers: {},
        body: chance.pick([
          '{"rows":[{"keys":["a","b","c","d"],"clicks":1,"impressions":1}]}',
          '{"rows":[{"clicks":-1,"impressions":1,"ctr":0,"position":1}]}',
          '{"rows":{}}',
          '{"rows":[',
          '[]',
        ]),
      };
    default: {
      const said = { qps: 'Search Analytics QPS', load: 'Search Analytics load', daily: 'Daily' }[kind];
      const status = chance.is(0.8) ? 403 : 429;
      const headers = chance.is(0.3) ? { 'retry-after': retryAfter(chance, isHealed) } : undefined;
      const body = error(status, `${said} quota exceeded.`, 'quotaExceeded', 'usageLimits');
      return { status, headers: headers ?? {}, body };
    }
  }
}

function retryAfter(chance: Chance, isHealed: boolean): string {
  if (isHealed) return String(chance.whole(0, 120));
  return chance.is(0.02)
    ? '99999999'
    : chance.pick([String(chance.whole(0, 120)), '-5', 'soon', 'Wed, 21 Oct 2015 07:28:00 GMT', '3600']);
}

/** The multipart answer. `isOdd`: with all the liberties that were seen, or that the format allows. */
export function writeBatch(
  parts: readonly { readonly contentId: string; readonly part: WrittenPart }[],
  chance: Chance,
  isOdd: boolean,
): { readonly headers: Readonly<Record<string, string>>; readonly body: Buffer } {
  const boundary = `batch_${chance.below(2 ** 31).toString(36)}${isOdd ? '=' : ''}`;
  const line = isOdd && chance.is(0.5) ? '\n' : '\r\n';
  const written = parts.map(({ contentId, part: { status, headers, body } }) => {
    const id = isOdd && chance.is(0.5) ? `response-${contentId}` : `<response-${contentId}>`;
    const reason = isOdd && chance.is(0.5) ? '' : ' Whatever';
    const lines = [
      `--${boundary}`,
      'Content-Type: application/http',
      `Content-ID: ${id}`,
      '',
      `HTTP/1.1 ${status}${reason}`,
      'Content-Type: application/json; charset=UTF-8',
      ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
      '',
      body,
      '',
    ];
    return lines.join(line);
  });
  const preamble = isOdd && chance.is(0.5) ? `A preamble${line}` : '';
  const end = isOdd && chance.is(0.3) ? '' : `--${boundary}--${line}`;
  return {
    headers: { 'content-type': `multipart/mixed; boundary="${boundary}"` },
    body: Buffer.from(`${preamble}${written.join('')}${end}`),
  };
}
