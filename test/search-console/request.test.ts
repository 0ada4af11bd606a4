import { describe, expect, it } from 'vitest';
import { batchBody, batchUrl, indexOfContentId } from '../../src/search-console/request/batch-request.ts';
import { calendarQuery, sliceQuery } from '../../src/search-console/request/query.ts';
import { isSafeForSecrets, secureApiRoot, secureUrl } from '../../src/search-console/request/root.ts';

const SLICE = {
  siteUrl: 'https://www.example.com/',
  searchType: 'web',
  dataset: 'page+query',
  date: '2026-01-02',
} as const;

describe('a query', () => {
  it('asks for one page of one day of a dataset', () => {
    const { body, ...rest } = sliceQuery(SLICE, { startRow: 25_000, rowLimit: 25_000 });
    expect(rest).toEqual({
      method: 'POST',
      path: '/webmasters/v3/sites/https%3A%2F%2Fwww.example.com%2F/searchAnalytics/query?prettyPrint=false',
      keyCount: 2,
      rowLimit: 25_000,
    });
    expect(JSON.parse(body)).toEqual({
      startDate: '2026-01-02',
      endDate: '2026-01-02',
      dimensions: ['page', 'query'],
      type: 'web',
      dataState: 'all',
      rowLimit: 25_000,
      startRow: 25_000,
    });
  });

  it('asks for totals without a dimension', () => {
    const query = sliceQuery(
      { ...SLICE, siteUrl: 'sc-domain:example.com', dataset: 'date' },
      { startRow: 0, rowLimit: 10 },
    );
    expect(query).toMatchObject({
      keyCount: 0,
      path: expect.stringContaining('/sites/sc-domain%3Aexample.com/'),
    });
    expect(JSON.parse(query.body)).toMatchObject({ dimensions: [] });
  });

  it('asks for the calendar by date over the whole range', () => {
    const query = calendarQuery({
      siteUrl: 'sc-domain:x.y',
      searchType: 'googleNews',
      from: '2025-01-01',
      to: '2026-01-02',
    });
    expect(query).toMatchObject({ keyCount: 1, rowLimit: 25_000 });
    expect(JSON.parse(query.body)).toEqual({
      startDate: '2025-01-01',
      endDate: '2026-01-02',
      dimensions: ['date'],
      type: 'googleNews',
      dataState: 'all',
      rowLimit: 25_000,
      startRow: 0,
    });
  });
});

describe('a batch', () => {
  it('is written out to the byte', () => {
    const first = {
      method: 'POST',
      path: '/a?prettyPrint=false',
      body: '{"a":"é"}',
      keyCount: 1,
      rowLimit: 1,
    } as const;
    const second = { ...first, path: '/b', body: '{}' };
    expect(batchBody([first, second], 'bound')).toBe(
      [
        '--bound',
        'Content-Type: application/http',
        'Content-Transfer-Encoding: binary',
        'Content-ID: <p0>',
        '',
        'POST /a?prettyPrint=false HTTP/1.1',
        'Content-Type: application/json',
        'Content-Length: 10',
        'Accept: application/json',
        '',
        '{"a":"é"}',
        '--bound',
        'Content-Type: application/http',
        'Content-Transfer-Encoding: binary',
        'Content-ID: <p1>',
        '',
        'POST /b HTTP/1.1',
        'Content-Type: application/json',
        'Content-Length: 2',
        'Accept: application/json',
        '',
        '{}',
        '--bound--',
        '',
      ].join('\r\n'),
    );
  });

  it('knows its answers by their ids alone', () => {
    expect(['response-p0', 'p1', 'response-p999'].map((id) => indexOfContentId(id, 1000))).toEqual([
      0, 1, 999,
    ]);
    for (const id of [
      'response-p2',
      'response-p00',
      'p',
      'q1',
      'response-response-p0',
      'p-1',
      ' p1',
      '',
      null,
    ]) {
      expect(indexOfContentId(id, 2), String(id)).toBeNull();
    }
  });

  it('goes to the root’s own batch path', () => {
    expect(batchUrl('https://searchconsole.googleapis.com/')).toBe(
      'https://searchconsole.googleapis.com/batch',
    );
    expect(batchUrl('https://www.googleapis.com/')).toBe('https://www.googleapis.com/batch/webmasters/v3');
    expect(batchUrl('http://127.0.0.1:8080/')).toBe('http://127.0.0.1:8080/batch');
  });
});

describe('where a token may be sent', () => {
  it.each([
    'https://a.b/',
    'http://127.0.0.1:1/',
    'http://127.9.9.9/',
    'http://localhost:80/x',
    'http://[::1]:8/',
  ])('%s', (url) => {
    expect(isSafeForSecrets(new URL(url))).toBe(true);
  });
  it.each([
    'http://a.b/',
    'http://10.0.0.1/',
    'http://127.0.0.1.evil.com/',
    'http://localhost.evil.com/',
    'http://[::2]/',
    'ftp://127.0.0.1/',
    'http://128.0.0.1/',
  ])('not to %s', (url) => {
    expect(() => secureUrl(url, '--api-root')).toThrow(expect.objectContaining({ code: 'INSECURE_ROOT' }));
  });
  it('knows numbers in other spelling for what they are', () => {
    expect(secureApiRoot('http://2130706433:80')).toBe('http://127.0.0.1/');
    expect(() => secureUrl('http://134744072/', 'x')).toThrow(
      expect.objectContaining({ code: 'INSECURE_ROOT' }),
    );
  });
  it.each(['', 'nonsense', 'https://user:pass@a.b/', '//a.b'])('"%s" is no root', (text) => {
    expect(() => secureUrl(text, '--api-root')).toThrow(expect.objectContaining({ code: 'BAD_OPTION' }));
    try {
      secureUrl(text, '--api-root');
    } catch (error) {
      expect(String(error)).not.toContain('pass@');
    }
  });
  it('makes the root end in a slash', () => {
    expect(secureApiRoot('https://a.b/c?x#y')).toBe('https://a.b/c/');
  });
});
