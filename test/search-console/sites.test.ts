import { describe, expect, it } from 'vitest';
import { TransportError } from '../../src/search-console/http/transport.ts';
import { listSites } from '../../src/search-console/sites.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { until } from '../support/until.ts';
import { type FakeAnswer, fakeTransport } from './support/fake-transport.ts';

function setUp(given: FakeAnswer | TransportError | 'silence') {
  const transport = fakeTransport(given);
  const clock = new ManualClock(1_700_000_000_000);
  const controller = new AbortController();
  const list = (apiRoot = 'https://example.com') =>
    listSites({
      transport,
      clock,
      apiRoot,
      accessToken: 'secret-token',
      signal: controller.signal,
      idleTimeoutMs: 100,
    });
  return { transport, clock, controller, list };
}

describe('the properties', () => {
  it('come sorted, with their permission', async () => {
    const { list, transport } = setUp({
      chunks: [
        '{"siteEntry":[{"siteUrl":"sc-domain:b.c","permissionLevel":"siteOwner","more":1},',
        '{"siteUrl":"https://a.b/","permissionLevel":"siteUnverifiedUser"}]}',
      ],
    });
    expect(await list()).toEqual({
      kind: 'ok',
      sites: [
        { siteUrl: 'https://a.b/', permissionLevel: 'siteUnverifiedUser' },
        { siteUrl: 'sc-domain:b.c', permissionLevel: 'siteOwner' },
      ],
    });
    expect(transport.requests).toMatchObject([
      {
        method: 'GET',
        url: 'https://example.com/webmasters/v3/sites?prettyPrint=false',
        headers: { authorization: 'Bearer secret-token' },
      },
    ]);
  });

  it('are none where Google leaves the list out', async () => {
    expect(await setUp({ chunks: ['{}'] }).list()).toEqual({ kind: 'ok', sites: [] });
  });

  it.each([
    [
      { status: 401, chunks: ['{"error":{"message":"secret-token is bad"}}'] },
      { kind: 'unauthorized', reason: 'HTTP 401 [secret] is bad' },
    ],
    [
      { status: 503, chunks: ['down'] },
      { kind: 'retryable', reason: 'HTTP 503 down' },
    ],
    [{ chunks: ['<html>'] }, { kind: 'retryable', reason: 'The list of properties is not whole JSON.' }],
    [
      { chunks: ['{"siteEntry":[{}]}'] },
      { kind: 'retryable', reason: 'The list of properties is not of the shape it should be.' },
    ],
    [
      { chunks: ['{', new TransportError('reset', 'body', true, 'read ECONNRESET')] },
      { kind: 'retryable', reason: 'read ECONNRESET' },
    ],
    [new TransportError('connect', 'connect', false, 'refused'), { kind: 'retryable', reason: 'refused' }],
    [
      { chunks: Array.from({ length: 100 }, () => 'x'.repeat(100_000)) },
      { kind: 'retryable', reason: 'the answer is larger than 4194304 bytes' },
    ],
  ])('or a value that says why not (%#)', async (given, expected) => {
    expect(await setUp(given).list()).toEqual(expected);
  });

  it('are waited for only so long, and given up on an abort', async () => {
    const { list, clock } = setUp({ chunks: ['{', 'silence'] });
    const late = list();
    await until(() => clock.pending.length === 1);
    await new Promise((resolve) => setImmediate(resolve));
    clock.advance(100);
    expect(await late).toEqual({ kind: 'retryable', reason: 'no data for 100 ms' });
    const aborted = setUp('silence');
    const listing = aborted.list();
    aborted.controller.abort();
    expect(await listing).toEqual({ kind: 'aborted' });
  });

  it('are asked of no root that a token must not go to', async () => {
    const { list, transport } = setUp('silence');
    await expect(list('http://example.com/')).rejects.toMatchObject({ code: 'INSECURE_ROOT' });
    expect(transport.requests).toEqual([]);
  });
});
