import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Emulator, startEmulator } from '../../src/emulator/index.ts';
import { query, queryUrl, SITE, TODAY } from './support.ts';

const OK = { startDate: '2026-05-01', endDate: '2026-05-01' };
const FILTER = { dimension: 'query', operator: 'includingRegex' };
const URL_SITE = 'https://www.example.com/';
let emulator: Emulator;

beforeAll(async () => {
  emulator = await startEmulator({
    today: TODAY,
    rowsPerDay: 50,
    sites: [
      SITE,
      { siteUrl: URL_SITE, permissionLevel: 'siteRestrictedUser' },
      { siteUrl: 'https://unverified.example.com/', permissionLevel: 'siteUnverifiedUser' },
    ],
  });
});
afterAll(() => emulator.close());

function get(
  path: string,
  headers: Record<string, string> = { authorization: 'Bearer x' },
): Promise<Response> {
  return fetch(emulator.url + path, { headers });
}

describe('requests that are refused', () => {
  const cases: readonly (readonly [string, unknown, string])[] = [
    ['no dates', {}, 'startDate field is required.\nendDate field is required.'],
    ['no end', { startDate: '2026-05-01' }, 'endDate field is required.'],
    ['a day that is none', { ...OK, startDate: '2026-02-30' }, "Invalid startDate: '2026-02-30'."],
    ['start after end', { ...OK, startDate: '2026-05-02' }, 'startDate must be before or equal to endDate.'],
    [
      'appearance with another',
      { ...OK, dimensions: ['searchAppearance', 'page'] },
      'Cannot group by search appearance dimension together with another dimension.',
    ],
    [
      'discover by device',
      { ...OK, type: 'discover', dimensions: ['device'] },
      'Requests for Discover cannot be grouped by device',
    ],
    [
      'discover by query',
      { ...OK, type: 'discover', dimensions: ['query'] },
      'Requests for Discover cannot be grouped by query',
    ],
    [
      'google news by query',
      { ...OK, type: 'googleNews', dimensions: ['query'] },
      'cannot be grouped by query',
    ],
    ['date with hour', { ...OK, dataState: 'hourly_all', dimensions: ['date', 'hour'] }, 'date and hour'],
    [
      'what RE2 has not',
      { ...OK, dimensionFilterGroups: [{ filters: [{ ...FILTER, expression: '(?!a)b' }] }] },
      'regular expression',
    ],
    [
      'an expression that is too long',
      { ...OK, dimensionFilterGroups: [{ filters: [{ ...FILTER, expression: 'a'.repeat(4_097) }] }] },
      '4096',
    ],
    ['hour without hourly_all', { ...OK, dimensions: ['hour'] }, 'HOURLY_ALL'],
    ['a dimension twice', { ...OK, dimensions: ['page', 'PAGE'] }, 'same dimension more than once'],
    ['rowLimit 0', { ...OK, rowLimit: 0 }, 'rowLimit must be between 1 and 25000.'],
    ['rowLimit 25001', { ...OK, rowLimit: 25_001 }, 'rowLimit must be between 1 and 25000.'],
    ['startRow below 0', { ...OK, startRow: -1 }, 'startRow'],
    ['rowLimit a fraction', { ...OK, rowLimit: 1.5 }, "Invalid value at 'row_limit' (TYPE_INT32)"],
    ['byProperty with page', { ...OK, dimensions: ['page'], aggregationType: 'byProperty' }, 'by property'],
    [
      'byProperty with a page filter',
      {
        ...OK,
        aggregationType: 'BY_PROPERTY',
        dimensionFilterGroups: [{ filters: [{ dimension: 'page', operator: 'contains', expression: 'x' }] }],
      },
      'by property',
    ],
    ['byProperty in discover', { ...OK, type: 'discover', aggregationType: 'byProperty' }, 'not supported'],
    [
      'news panel without its filter',
      { ...OK, type: 'discover', aggregationType: 'byNewsShowcasePanel' },
      'NEWS_SHOWCASE',
    ],
    [
      'an unknown dimension',
      { ...OK, dimensions: ['clicks'] },
      'Invalid value at \'dimensions[0]\', "clicks"',
    ],
    ['an unknown type', { ...OK, type: 'books' }, 'Invalid value at \'type\', "books"'],
    [
      'an unknown field',
      { ...OK, limit: 5 },
      'Invalid JSON payload received. Unknown name "limit": Cannot find field.',
    ],
    ['a list for a body', [OK], 'a JSON object was expected'],
    [
      'groups joined by or',
      { ...OK, dimensionFilterGroups: [{ groupType: 'or', filters: [] }] },
      'group_type',
    ],
    [
      'a broken expression',
      {
        ...OK,
        dimensionFilterGroups: [
          { filters: [{ dimension: 'query', operator: 'includingRegex', expression: '(' }] },
        ],
      },
      "Invalid regular expression: '('.",
    ],
    [
      'a filter on a date',
      { ...OK, dimensionFilterGroups: [{ filters: [{ dimension: 'date', expression: '2026-05-01' }] }] },
      'dimension',
    ],
  ];
  it.each(cases)('%s', async (_, body, message) => {
    const answer = await query(emulator, body);
    expect(answer.status).toBe(400);
    expect(answer.body.error?.code).toBe(400);
    expect(answer.body.error?.message).toContain(message);
    expect(answer.body.error?.errors?.[0]).toMatchObject({
      message: answer.body.error?.message,
      domain: 'global',
    });
  });

  it('a body that is not JSON', async () => {
    const response = await fetch(queryUrl(emulator), {
      method: 'POST',
      headers: { authorization: 'Bearer x' },
      body: '{"startDate":',
    });
    expect(response.status).toBe(400);
  });
});

describe('requests that are taken', () => {
  it.each([
    [
      'upper case words',
      { ...OK, dimensions: ['PAGE'], aggregationType: 'BY_PAGE', dataState: 'FINAL', type: 'WEB' },
    ],
    [
      'snake case names and numbers as text',
      { start_date: OK.startDate, end_date: OK.endDate, row_limit: '5' },
    ],
    ['null for what is not there', { ...OK, dimensions: null, type: null }],
    [
      'a news panel',
      {
        ...OK,
        type: 'discover',
        aggregationType: 'byNewsShowcasePanel',
        dimensionFilterGroups: [
          { filters: [{ dimension: 'searchAppearance', operator: 'equals', expression: 'NEWS_SHOWCASE' }] },
        ],
      },
    ],
  ])('%s', async (_, body) => {
    expect((await query(emulator, body)).status).toBe(200);
  });

  it('names the aggregation that was done', async () => {
    const aggregation = async (body: object): Promise<unknown> =>
      (await query(emulator, { ...OK, ...body })).body.responseAggregationType;
    expect(await aggregation({})).toBe('byProperty');
    expect(await aggregation({ dimensions: ['query'] })).toBe('byProperty');
    expect(await aggregation({ dimensions: ['page'] })).toBe('byPage');
    expect(await aggregation({ aggregationType: 'byPage' })).toBe('byPage');
    expect(await aggregation({ type: 'discover' })).toBe('byPage');
  });

  it('gives totals without keys, pretty by default, compact on request', async () => {
    const pretty = await query(emulator, OK);
    expect(pretty.body.rows).toHaveLength(1);
    expect(pretty.body.rows?.[0]).not.toHaveProperty('keys');
    expect(pretty.text).toContain('{\n  "rows": [\n    {\n      "clicks": ');
    const compact = await query(emulator, OK, { search: '?alt=json&prettyPrint=false' });
    expect(compact.text).toMatch(
      /^\{"rows":\[\{"clicks":\d+,"impressions":\d+,"ctr":[\d.e-]+,"position":[\d.]+\}\],/,
    );
    expect(compact.body).toEqual(pretty.body);
    const keyed = await query(emulator, { ...OK, dimensions: ['page', 'device'] });
    expect(keyed.text).toBe(`${JSON.stringify(keyed.body, null, 2)}\n`);
    const keyedCompact = await query(
      emulator,
      { ...OK, dimensions: ['page', 'device'] },
      { search: '?prettyPrint=false' },
    );
    expect(keyedCompact.text).toBe(JSON.stringify(keyed.body));
  });

  it('writes the reported variants when told to', async () => {
    await using other = await startEmulator({
      today: TODAY,
      rowsPerDay: 50,
      totalsKeys: 'empty',
      metadataNames: 'snake',
      newsPosition: true,
    });
    expect((await query(other, OK)).body.rows?.[0]?.keys).toEqual([]);
    const all = { startDate: '2026-05-01', endDate: TODAY, dimensions: ['date'], dataState: 'all' };
    expect((await query(other, all)).body.metadata).toEqual({ first_incomplete_date: '2026-05-30' });
    expect((await query(other, { ...OK, type: 'discover' })).body.rows?.[0]?.position).toBeGreaterThan(0);
  });
});

describe('compression', () => {
  const raw = (headers: Record<string, string>): Promise<Response> =>
    fetch(queryUrl(emulator), {
      method: 'POST',
      headers: { authorization: 'Bearer x', ...headers },
      body: JSON.stringify({ ...OK, dimensions: ['query'] }),
    });
  it('needs the word in both headers', async () => {
    const both = await raw({ 'accept-encoding': 'gzip', 'user-agent': 'test (gzip)' });
    expect(both.headers.get('content-encoding')).toBe('gzip');
    expect(await both.json()).toHaveProperty('rows');
    const one = await raw({ 'accept-encoding': 'gzip', 'user-agent': 'test' });
    expect(one.headers.get('content-encoding')).toBeNull();
    const other = await raw({ 'accept-encoding': 'identity', 'user-agent': 'test (gzip)' });
    expect(other.headers.get('content-encoding')).toBeNull();
    expect(await other.json()).toHaveProperty('rows');
  });
});

describe('properties and permissions', () => {
  it('lists properties', async () => {
    expect(await (await get('webmasters/v3/sites')).json()).toEqual({
      siteEntry: [
        { siteUrl: SITE, permissionLevel: 'siteOwner' },
        { siteUrl: URL_SITE, permissionLevel: 'siteRestrictedUser' },
        { siteUrl: 'https://unverified.example.com/', permissionLevel: 'siteUnverifiedUser' },
      ],
    });
    await using none = await startEmulator({ sites: [] });
    const response = await fetch(`${none.url}webmasters/v3/sites`, {
      headers: { authorization: 'Bearer x' },
    });
    expect(await response.json()).toEqual({});
  });

  it('gives one property', async () => {
    const response = await get(`webmasters/v3/sites/${encodeURIComponent(URL_SITE)}?alt=json`);
    expect(await response.json()).toEqual({ siteUrl: URL_SITE, permissionLevel: 'siteRestrictedUser' });
  });

  it('refuses an unknown property, and one that is not verified', async () => {
    for (const site of ['https://x/', 'https://unverified.example.com/']) {
      const message = `User does not have sufficient permission for site '${site}'. See also: https://support.google.com/webmasters/answer/2451999.`;
      const answer = await query(emulator, OK, { site });
      expect(answer.status).toBe(403);
      expect(answer.body).toEqual({
        error: { code: 403, message, errors: [{ message, domain: 'global', reason: 'forbidden' }] },
      });
    }
  });

  it('asks for a token', async () => {
    const response = await get('webmasters/v3/sites', {});
    expect(response.status).toBe(401);
    expect(await response.json()).toMatchObject({
      error: { code: 401, status: 'UNAUTHENTICATED', errors: [{ reason: 'authError' }] },
    });
  });

  it.each(['webmasters/v3/nothing', 'other', 'webmasters/v3/sites/x/sitemaps', 'webmasters/v3/sites/%ff'])(
    'has no %s',
    async (path) => {
      expect((await get(path)).status).toBe(404);
    },
  );
});
