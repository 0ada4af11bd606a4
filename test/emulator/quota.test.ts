import { describe, expect, it } from 'vitest';
import { type Emulator, type EmulatorOptions, startEmulator } from '../../src/emulator/index.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { batch, query, TODAY } from './support.ts';

const DAY = { startDate: '2026-05-01', endDate: '2026-05-01' };
const NOON = Date.parse('2026-06-01T19:00:00Z');

async function start(options: EmulatorOptions): Promise<{ emulator: Emulator; clock: ManualClock }> {
  const clock = new ManualClock(NOON);
  return { clock, emulator: await startEmulator({ today: TODAY, rowsPerDay: 20, clock, ...options }) };
}

async function reasons(
  emulator: Emulator,
  calls: number,
  options: object = {},
): Promise<(string | undefined)[]> {
  const found: (string | undefined)[] = [];
  for (let call = 0; call < calls; call++) {
    const { body } = await query(emulator, DAY, options);
    found.push(body.error?.errors?.[0]?.reason ?? (body.error === undefined ? 'ok' : 'error'));
  }
  return found;
}

describe('quota of calls a minute', () => {
  it('slides: a call counts for 60 seconds after it arrived, and no longer', async () => {
    const { emulator, clock } = await start({ quotas: { perSiteQpm: 3 } });
    await using _ = emulator;
    expect(await reasons(emulator, 2)).toEqual(['ok', 'ok']);
    clock.advance(30_000);
    expect(await reasons(emulator, 2)).toEqual(['ok', 'quotaExceeded']);
    clock.advance(29_999);
    expect(await reasons(emulator, 1)).toEqual(['quotaExceeded']);
    clock.advance(1);
    expect(await reasons(emulator, 3)).toEqual(['ok', 'ok', 'quotaExceeded']);
    expect(emulator.counters).toMatchObject({ refusals: 3, apiCalls: 8 });
  });

  it('counts n calls of a batch as n, and refuses those that do not fit', async () => {
    const { emulator } = await start({ quotas: { perSiteQpm: 5 } });
    await using _ = emulator;
    const answer = await batch(
      emulator,
      Array.from({ length: 7 }, () => DAY),
    );
    expect(answer.status).toBe(200);
    expect(answer.parts.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200, 403, 403]);
    const message =
      'Search Analytics QPS quota exceeded. Learn about usage limits: https://developers.google.com/webmaster-tools/v3/limits.';
    expect(JSON.parse(answer.parts[6]?.body ?? '')).toEqual({
      error: { code: 403, message, errors: [{ message, domain: 'usageLimits', reason: 'quotaExceeded' }] },
    });
    expect(emulator.requests.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200, 403, 403]);
  });

  it('holds for a property, for a user, and for all together', async () => {
    const sites = ['sc-domain:a.com', 'sc-domain:b.com', 'sc-domain:c.com', 'sc-domain:d.com'];
    const { emulator } = await start({ sites, quotas: { perSiteQpm: 2, perUserQpm: 3, perProjectQpm: 6 } });
    await using _ = emulator;
    const [a, b, c, d] = sites;
    expect(await reasons(emulator, 3, { site: a, token: 'one' })).toEqual(['ok', 'ok', 'quotaExceeded']);
    expect(await reasons(emulator, 2, { site: b, token: 'one' })).toEqual(['ok', 'quotaExceeded']);
    expect(await reasons(emulator, 2, { site: b, token: 'two' })).toEqual(['ok', 'quotaExceeded']);
    expect(await reasons(emulator, 2, { site: c, token: 'two' })).toEqual(['ok', 'ok']);
    expect(await reasons(emulator, 1, { site: d, token: 'three' })).toEqual(['quotaExceeded']);
    const { widestWindows } = emulator.counters;
    expect(widestWindows.bySite).toEqual({ [`${a}`]: 3, [`${b}`]: 4, [`${c}`]: 2, [`${d}`]: 1 });
    expect(Object.values(widestWindows.byUser).sort()).toEqual([1, 4, 5]);
    expect(emulator.counters.maxInAnyWindow).toBe(10);
  });

  it('can count refused calls, too', async () => {
    const { emulator, clock } = await start({ quotas: { perSiteQpm: 1, countRefused: true } });
    await using _ = emulator;
    expect(await reasons(emulator, 1)).toEqual(['ok']);
    clock.advance(30_000);
    expect(await reasons(emulator, 1)).toEqual(['quotaExceeded']);
    clock.advance(30_000);
    expect(await reasons(emulator, 1)).toEqual(['quotaExceeded']);
    clock.advance(60_000);
    expect(await reasons(emulator, 1)).toEqual(['ok']);
  });

  it('counts calls that then fail, but not the list of properties nor calls without a token', async () => {
    const { emulator } = await start({ quotas: { perSiteQpm: 2 } });
    await using _ = emulator;
    const headers = { authorization: 'Bearer x' };
    for (let i = 0; i < 5; i++) await (await fetch(`${emulator.url}webmasters/v3/sites`, { headers })).text();
    expect((await query(emulator, DAY, { token: '' })).status).toBe(401);
    expect((await query(emulator, {})).status).toBe(400);
    expect(await reasons(emulator, 2)).toEqual(['ok', 'quotaExceeded']);
  });

  it('has a limit of its own for a property, can be changed, and can say 429 and Retry-After', async () => {
    const { emulator } = await start({
      sites: [{ siteUrl: 'sc-domain:example.com', perSiteQpm: 1 }],
      qpsStatus: 429,
      retryAfterS: 7,
    });
    await using _ = emulator;
    expect(await reasons(emulator, 1)).toEqual(['ok']);
    const refused = await query(emulator, DAY);
    expect(refused.status).toBe(429);
    expect(refused.headers.get('retry-after')).toBe('7');
    expect(refused.body.error?.errors?.[0]?.reason).toBe('rateLimitExceeded');
    const { emulator: changed } = await start({});
    await using __ = changed;
    expect(await reasons(changed, 2)).toEqual(['ok', 'ok']);
    changed.setQuotas({ perUserQpm: 2 });
    expect(await reasons(changed, 1)).toEqual(['quotaExceeded']);
  });
});

describe('other quotas', () => {
  it('refuses a day’s calls past the daily quota until midnight Pacific', async () => {
    const { emulator, clock } = await start({ quotas: { perDay: 2 } });
    await using _ = emulator;
    expect(await reasons(emulator, 3)).toEqual(['ok', 'ok', 'dailyLimitExceeded']);
    clock.advance(11.9 * 3_600_000);
    expect(await reasons(emulator, 1)).toEqual(['dailyLimitExceeded']);
    clock.advance(0.2 * 3_600_000);
    expect(await reasons(emulator, 1)).toEqual(['ok']);
  });

  it('refuses load by the cost of what is asked, over ten minutes', async () => {
    const { emulator, clock } = await start({ quotas: { loadPerTenMinutes: 9 } });
    await using _ = emulator;
    expect((await query(emulator, { ...DAY, dimensions: ['page', 'query'] })).status).toBe(200);
    expect((await query(emulator, { ...DAY, dimensions: ['page'] })).status).toBe(200);
    expect((await query(emulator, DAY)).status).toBe(200);
    const refused = await query(emulator, DAY);
    expect(refused.status).toBe(403);
    expect(refused.body.error?.message).toMatch(/^Search Analytics load quota exceeded\. Learn about/);
    clock.advance(600_000);
    expect((await query(emulator, DAY)).status).toBe(200);
  });
});
