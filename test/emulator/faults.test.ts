import { afterEach, describe, expect, it } from 'vitest';
import { LongtailError } from '../../src/domain/errors.ts';
import {
  type Emulator,
  type EmulatorOptions,
  type Faults,
  parseFaults,
  startEmulator,
} from '../../src/emulator/index.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { until } from '../support/until.ts';
import { batch, httpText, query, rawExchange, TODAY } from './support.ts';

const DAY = { startDate: '2026-05-01', endDate: '2026-05-01', dimensions: ['page', 'query'] };
const PATH = '/webmasters/v3/sites/sc-domain%3Aexample.com/searchAnalytics/query';
const BODIES = ['2026-05-01', '2026-05-02', '2026-05-03', '2026-05-04'].map((date) => ({
  startDate: date,
  endDate: date,
  dimensions: ['query'],
  rowLimit: 5,
}));

let emulator: Emulator | undefined;
afterEach(async () => {
  await emulator?.close();
  emulator = undefined;
});

async function start(rules: Faults['rules'], options: EmulatorOptions = {}): Promise<Emulator> {
  emulator = await startEmulator({ today: TODAY, rowsPerDay: 300, faults: { seed: 1, rules }, ...options });
  return emulator;
}

/** The bytes of one query's answer, and how the connection ended. */
function raw(server: Emulator, body: object = DAY): Promise<{ text: string; error: string | undefined }> {
  return rawExchange(server.url, httpText(PATH, 'application/json', JSON.stringify(body)));
}

describe('faults of one call', () => {
  it.each([
    ['backendError', 500, 'backendError'],
    ['unavailable', 503, 'backendError'],
    ['qps', 403, 'quotaExceeded'],
    ['load', 403, 'quotaExceeded'],
    ['daily', 403, 'dailyLimitExceeded'],
    ['rateLimitExceeded', 429, 'rateLimitExceeded'],
    ['servingLimitExceeded', 403, 'servingLimitExceeded'],
    ['accessNotConfigured', 403, 'accessNotConfigured'],
    ['insufficientPermissions', 403, 'insufficientPermissions'],
    ['forbidden', 403, 'forbidden'],
    ['unauthorized', 401, 'authError'],
    ['badRequest', 400, 'badRequest'],
    ['notFound', 404, 'notFound'],
  ] as const)('error %s, in a part and alone', async (error, status, reason) => {
    const server = await start([{ match: { part: 1 }, action: { kind: 'error', error } }]);
    const answer = await batch(server, BODIES);
    expect(answer.parts.map((part) => part.status)).toEqual([200, status, 200, 200]);
    expect(JSON.parse(answer.parts[1]?.body ?? '').error.errors[0].reason).toBe(reason);
    server.setFaults({ rules: [{ action: { kind: 'error', error } }] });
    expect((await query(server, DAY)).status).toBe(status);
    server.setFaults(undefined);
    expect((await query(server, DAY)).status).toBe(200);
  });

  it('one row is changed or left out wherever it is served, alone and in a batch, by filter and among others', async () => {
    const server = await start([]);
    const answer = await query(server, DAY);
    const rowsOf = (body: unknown): { keys: string[]; clicks: number; position: number; ctr: number }[] =>
      (body as { rows?: { keys: string[]; clicks: number; position: number; ctr: number }[] }).rows ?? [];
    const [first, second, ...others] = rowsOf(answer.body);
    const [page = '', query_ = ''] = second?.keys ?? [];
    const match = { dimensions: 'page+query' };
    const key = { page, query: query_ };
    server.setFaults({
      rules: [{ match, action: { kind: 'changeRow', key, to: { clicks: 0, position: 9.5 } } }],
    });
    const changed = { ...second, clicks: 0, ctr: 0, position: 9.5 };
    expect(rowsOf((await query(server, DAY)).body)).toEqual([first, changed, ...others]);
    const filters = [
      { dimension: 'page', expression: page },
      { dimension: 'query', expression: query_ },
    ];
    const filtered = { ...DAY, dimensionFilterGroups: [{ filters }] };
    const { parts } = await batch(server, [filtered, { ...DAY, dimensions: ['page'] }]);
    expect(rowsOf(JSON.parse(parts[0]?.body ?? ''))).toEqual([changed]);
    expect(parts[1]?.body).not.toContain('9.5}');
    server.setFaults({ rules: [{ match, action: { kind: 'changeRow', key, to: null } }] });
    expect(rowsOf((await query(server, DAY)).body)).toEqual([first, ...others]);
    expect((await query(server, filtered)).body).toEqual({ responseAggregationType: 'byPage' });
  });

  it('an error without a message, one of one’s own, and Retry-After', async () => {
    const server = await start([
      { match: { part: 0 }, action: { kind: 'error', error: 'nullMessage' } },
      {
        match: { part: 1 },
        action: {
          kind: 'error',
          error: { status: 418, message: 'm', reason: 'r', domain: 'd' },
          retryAfterS: 3,
        },
      },
    ]);
    const answer = await batch(server, BODIES);
    expect(JSON.parse(answer.parts[0]?.body ?? '')).toEqual({ error: { code: 500, message: null } });
    expect(JSON.parse(answer.parts[1]?.body ?? '').error.errors).toEqual([
      { message: 'm', domain: 'd', reason: 'r' },
    ]);
    expect(answer.text).toContain('\r\nRetry-After: 3\r\n');
  });

  it('load refusals count as refusals', async () => {
    const server = await start([{ action: { kind: 'error', error: 'load' }, times: 2 }]);
    const answer = await batch(server, BODIES);
    expect(answer.parts.map((part) => part.status)).toEqual([403, 403, 200, 200]);
    expect(server.counters.refusals).toBe(2);
    expect(server.requests[0]).toMatchObject({ status: 403, reason: 'quotaExceeded', faults: ['error'] });
  });

  it('missing, doubled and unknown parts', async () => {
    const server = await start([
      { match: { part: 0 }, action: { kind: 'dropPart' } },
      { match: { part: 1 }, action: { kind: 'doublePart' } },
      { match: { part: 2 }, action: { kind: 'unknownId' } },
    ]);
    expect((await batch(server, BODIES)).parts.map((part) => part.id)).toEqual([
      'item1',
      'item1',
      'unknown-1',
      'item3',
    ]);
  });

  it('bodies that are empty, cut, or no JSON', async () => {
    const server = await start([
      { match: { part: 0 }, action: { kind: 'emptyPart' } },
      { match: { part: 1 }, action: { kind: 'cutPart', afterBytes: 40 } },
      { match: { part: 2 }, action: { kind: 'garblePart' } },
    ]);
    const answer = await batch(server, BODIES);
    expect(answer.parts.map((part) => part.status)).toEqual([200, 200, 200, 200]);
    expect(answer.parts[0]?.body).toBe('');
    expect(answer.parts[1]?.body).toHaveLength(40);
    expect(answer.parts[2]?.body).toMatch(/^<html>/);
    expect(JSON.parse(answer.parts[3]?.body ?? '').rows).toHaveLength(5);
  });
});

describe('when faults fall', () => {
  it('on what they match', async () => {
    const server = await start([
      {
        match: { date: '2026-05-02', dimensions: 'query', startRow: 0 },
        action: { kind: 'error', error: 'unavailable' },
      },
      { match: { site: 'sc-domain:other.com' }, action: { kind: 'error', error: 'badRequest' } },
      { match: { type: 'image' }, action: { kind: 'error', error: 'notFound' } },
    ]);
    expect((await batch(server, BODIES)).parts.map((part) => part.status)).toEqual([200, 503, 200, 200]);
    expect((await query(server, { ...DAY, type: 'image' })).status).toBe(404);
  });

  it('on the n-th, on each n-th, so many times', async () => {
    const server = await start([
      { nth: 2, action: { kind: 'error', error: 'badRequest' } },
      { every: 3, times: 1, action: { kind: 'error', error: 'unavailable' } },
    ]);
    const statuses: number[] = [];
    for (let i = 0; i < 8; i++) statuses.push((await query(server, DAY)).status);
    // The first rule took the second call, so the other one has seen one call less.
    expect(statuses).toEqual([200, 400, 200, 503, 200, 200, 200, 200]);
  });

  it('by chance, the same for a seed, whatever the order of arrival, and anew at a second try', async () => {
    const rules: Faults['rules'] = [{ probability: 0.3, action: { kind: 'error', error: 'backendError' } }];
    const bodies = Array.from({ length: 100 }, (_, index) => ({ ...BODIES[0], rowLimit: index + 1 }));
    const statuses = async (seed: number, list: readonly object[]): Promise<number[]> => {
      await using server = await startEmulator({ today: TODAY, rowsPerDay: 300, faults: { seed, rules } });
      return (await batch(server, list)).parts.map((part) => part.status);
    };
    const first = await statuses(1, bodies);
    const failed = first.filter((status) => status === 500).length;
    expect(failed).toBeGreaterThan(15);
    expect(failed).toBeLessThan(45);
    expect((await statuses(1, bodies.toReversed())).toReversed()).toEqual(first);
    expect(await statuses(2, bodies)).not.toEqual(first);
    const server = await start(rules);
    const again = await batch(server, [...bodies, ...bodies]);
    expect(again.parts.slice(0, 100).map((part) => part.status)).toEqual(first);
    expect(again.parts.slice(100).map((part) => part.status)).not.toEqual(first);
  });

  it('for a time', async () => {
    const clock = new ManualClock(1_780_000_000_000);
    const server = await start(
      [{ match: { fromMs: 1_000, untilMs: 2_000 }, action: { kind: 'error', error: 'load' } }],
      { clock },
    );
    const statuses: number[] = [];
    for (let i = 0; i < 3; i++) {
      statuses.push((await query(server, DAY)).status);
      clock.advance(1_000);
    }
    expect(statuses).toEqual([200, 403, 200]);
  });

  it('on one endpoint', async () => {
    const server = await start([{ match: { endpoint: 'batch' }, action: { kind: 'status', status: 502 } }]);
    expect((await query(server, DAY)).status).toBe(200);
    expect((await batch(server, BODIES)).status).toBe(502);
  });
});

describe('faults of a whole HTTP call', () => {
  it('any status, with an error or a text', async () => {
    const server = await start([
      { nth: 1, action: { kind: 'status', status: 401, error: 'unauthorized' } },
      { nth: 2, action: { kind: 'status', status: 502, body: '<h1>Bad gateway</h1>' } },
    ]);
    const first = await batch(server, BODIES);
    expect(first.status).toBe(401);
    expect(JSON.parse(first.text).error.status).toBe('UNAUTHENTICATED');
    expect(await batch(server, BODIES)).toMatchObject({ status: 502, text: '<h1>Bad gateway</h1>' });
    expect(server.requests.map(({ status }) => status)).toEqual([401, 401, 401, 401, 502, 502, 502, 502]);
  });

  it('reset before any byte, and in the middle', async () => {
    const server = await start([
      { nth: 1, action: { kind: 'reset' } },
      { nth: 2, action: { kind: 'reset', afterBytes: 4_000 } },
    ]);
    const before = await raw(server);
    expect(before).toEqual({ text: '', error: 'ECONNRESET' });
    await expect(query(server, DAY)).rejects.toThrow();
    expect((await query(server, DAY)).status).toBe(200);
  });

  it('truncated: the connection closes before the answer ends', async () => {
    const server = await start([{ nth: 1, action: { kind: 'truncate', afterBytes: 4_000 } }]);
    const { text, error } = await raw(server);
    expect(error).toBeUndefined();
    expect(text.length).toBeGreaterThan(3_900);
    expect(text.length).toBeLessThan(4_600);
    expect(text).not.toMatch(/\r\n0\r\n\r\n$/);
  });

  it('truncated: the answer ends as if it were whole', async () => {
    const server = await start([{ action: { kind: 'truncate', afterBytes: 500, clean: true } }]);
    const answer = await batch(server, BODIES);
    expect(answer.status).toBe(200);
    expect(Buffer.byteLength(answer.text)).toBe(500);
  });

  it('truncated while compressed', async () => {
    const server = await start([{ action: { kind: 'truncate', afterBytes: 4_000 } }]);
    const headers = { authorization: 'Bearer x', 'accept-encoding': 'gzip', 'user-agent': 'gzip' };
    const body = JSON.stringify(DAY);
    const response = await fetch(`${server.url}${PATH.slice(1)}`, { method: 'POST', headers, body });
    await expect(response.text()).rejects.toThrow();
  });

  it('no final boundary; parts in another order', async () => {
    const server = await start([
      { action: { kind: 'noFinalBoundary' } },
      { action: { kind: 'shuffleParts' } },
    ]);
    const bodies = [...BODIES, ...BODIES, ...BODIES];
    const { text, parts } = await batch(server, bodies);
    expect(text).not.toMatch(/--\r\n$/);
    const sent = bodies.map((_, index) => `item${index}`);
    const ids = parts.map((part) => part.id ?? '');
    expect(ids).not.toEqual(sent);
    expect(ids.toSorted()).toEqual(sent.toSorted());
  });

  it('nothing at all, or what is no answer', async () => {
    const server = await start([
      { nth: 1, action: { kind: 'emptyBody' } },
      { nth: 2, action: { kind: 'garbage' } },
    ]);
    expect(await batch(server, BODIES)).toMatchObject({ status: 200, text: '' });
    const garbage = await batch(server, BODIES);
    expect(garbage.status).toBe(200);
    expect(() => JSON.parse(garbage.text)).toThrow();
  });

  it('slow: a delay, and bytes that trickle', async () => {
    const clock = new ManualClock(1_780_000_000_000);
    const server = await start(
      [
        { action: { kind: 'delay', ms: 5_000 } },
        { action: { kind: 'trickle', chunkBytes: 2_000, everyMs: 100 } },
      ],
      { clock, latencyMs: 1_000 },
    );
    let settled = false;
    const answer = query(server, { ...DAY, rowLimit: 50 }).then((value) => {
      settled = true;
      return value;
    });
    await until(() => clock.pending.length === 1);
    clock.advance(5_999);
    expect(clock.pending.length).toBe(1);
    clock.advance(1);
    let pieces = 0;
    while (!settled) {
      await until(() => settled || clock.pending.length === 1);
      if (settled) break;
      pieces += 1;
      clock.advance(100);
    }
    expect((await answer).body.rows).toHaveLength(50);
    expect(pieces).toBeGreaterThan(4);
  });

  it('refused connections, for a while', async () => {
    const clock = new ManualClock(1_780_000_000_000);
    const server = await start([{ nth: 1, action: { kind: 'refuse', forMs: 1_000 } }], { clock });
    await expect(query(server, DAY)).rejects.toThrow();
    await expect(fetch(server.url)).rejects.toMatchObject({ cause: { code: 'ECONNREFUSED' } });
    clock.advance(1_000);
    let status = 0;
    await until(() => {
      if (status === 0) {
        query(server, DAY).then(
          (answer) => {
            status = answer.status;
          },
          () => {},
        );
      }
      return status !== 0;
    });
    expect(status).toBe(200);
  });

  it('closes while it refuses, and while a client waits', async () => {
    const clock = new ManualClock(1_780_000_000_000);
    const server = await start([{ nth: 2, action: { kind: 'refuse', forMs: 1_000 } }], {
      clock,
      latencyMs: 10_000,
    });
    const waiting = query(server, DAY).catch(() => 'gone');
    await until(() => clock.pending.length === 1);
    await expect(query(server, DAY)).rejects.toThrow();
    await server.close();
    expect(await waiting).toBe('gone');
    expect(clock.pending.length).toBe(0);
  });
});

describe('a fault file', () => {
  it('is read', () => {
    const faults = { seed: 3, rules: [{ match: { call: 2 }, action: { kind: 'reset' } }] };
    expect(parseFaults(JSON.stringify(faults))).toEqual(faults);
  });

  it.each([
    ['{', 'it is not JSON'],
    ['[]', 'the whole'],
    ['{"rules":[{"action":{"kind":"explode"}}]}', 'rules[0].action'],
    ['{"rules":[{"action":{"kind":"reset"},"probability":2}]}', 'rules[0].probability'],
    ['{"rules":[{"action":{"kind":"error","error":"no"}}]}', 'rules[0].action.error'],
    ['{"rules":[{"match":{"day":"x"},"action":{"kind":"reset"}}]}', 'rules[0].match'],
  ])('%s is refused, and the field named', (text, where) => {
    const problem = (() => {
      try {
        parseFaults(text);
      } catch (error) {
        return error;
      }
      return undefined;
    })();
    expect(problem).toBeInstanceOf(LongtailError);
    expect(problem).toMatchObject({ code: 'BAD_OPTION', message: expect.stringContaining(where) });
  });
});
