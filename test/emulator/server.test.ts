import { createHash } from 'node:crypto';
import { connect, createServer } from 'node:net';
import { describe, expect, it } from 'vitest';
import { startEmulator } from '../../src/emulator/index.ts';
import { until } from '../support/until.ts';
import { batch, httpText, query, rawExchange, SITE, TODAY } from './support.ts';

const DAY = { startDate: '2026-05-01', endDate: '2026-05-01' };

describe('what a test outside may ask', () => {
  it('counters and records, which are no calls themselves', async () => {
    await using emulator = await startEmulator({
      today: TODAY,
      rowsPerDay: 20,
      keepRequests: 10,
      quotas: { perSiteQpm: 30 },
    });
    await batch(
      emulator,
      Array.from({ length: 40 }, () => DAY),
    );
    const stats = (await (await fetch(`${emulator.url}__emulator/stats`)).json()) as Record<string, unknown>;
    expect(stats).toMatchObject({
      httpCalls: 1,
      apiCalls: 40,
      refusals: 10,
      maxConcurrentCalls: 1,
      maxInAnyWindow: 40,
      rows: 30,
      cpuMs: expect.any(Number),
    });
    const records = await (await fetch(`${emulator.url}__emulator/requests?last=2`)).json();
    expect(records).toMatchObject([
      { part: 38, status: 403 },
      { part: 39, status: 403, body: DAY },
    ]);
    expect(emulator.requests.length).toBeLessThan(13);
    expect((await fetch(`${emulator.url}__emulator/other`)).status).toBe(404);
  });

  it('digests of what a slice holds, which can be made again from the rows', async () => {
    await using emulator = await startEmulator({ today: TODAY, rowsPerDay: 500 });
    const digest = async (search: object): Promise<Response> =>
      fetch(
        `${emulator.url}__emulator/digest?${new URLSearchParams({ site: SITE, date: DAY.startDate, ...search })}`,
      );
    for (const [dataset, dimensions] of [
      ['page+query', ['page', 'query']],
      ['country+page', ['page', 'country']],
      ['date', []],
    ] as const) {
      const { rows = [] } = (await query(emulator, { ...DAY, dimensions, rowLimit: 25_000 })).body;
      const lines = rows.map((row) =>
        Buffer.from([...(row.keys ?? []), row.clicks, row.impressions].join('\u001f')),
      );
      const text = lines
        .sort(Buffer.compare)
        .map((line) => line.toString('utf8'))
        .join('\n');
      expect(await (await digest({ dataset })).json()).toEqual({
        rows: rows.length,
        clicks: rows.reduce((total, row) => total + row.clicks, 0),
        impressions: rows.reduce((total, row) => total + row.impressions, 0),
        hash: createHash('md5').update(text).digest('hex'),
      });
    }
    expect(await (await digest({ dataset: 'page', date: '2026-05-31' })).json()).toEqual({
      rows: 0,
      clicks: 0,
      impressions: 0,
      hash: 'd41d8cd98f00b204e9800998ecf8427e',
    });
    const fresh = await (await digest({ dataset: 'page', date: '2026-05-31', dataState: 'all' })).json();
    expect((fresh as { rows: number }).rows).toBeGreaterThan(0);
    for (const wrong of [
      { dataset: 'clicks' },
      { dataset: 'page', site: 'x' },
      { dataset: 'page', date: 'today' },
    ]) {
      expect((await digest(wrong)).status).toBe(400);
    }
    expect(emulator.counters.httpCalls).toBe(3);
  });
});

describe('the server', () => {
  it('listens on loopback, on the port asked for, and says whose fault it is when it cannot', async () => {
    await using emulator = await startEmulator();
    expect(emulator.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/$/);
    const port = Number(new URL(emulator.url).port);
    await expect(startEmulator({ port })).rejects.toMatchObject({
      code: 'BAD_OPTION',
      message: `Port ${port} on 127.0.0.1 is used by another program.`,
      nextStep: expect.stringContaining('--port'),
    });
    await expect(startEmulator({ host: '203.0.113.1' })).rejects.toMatchObject({ code: 'BAD_OPTION' });
  });

  it('closes with connections open, twice, and leaves the port free', async () => {
    const emulator = await startEmulator({ latencyMs: 60_000 });
    const waiting = query(emulator, DAY).catch(() => 'gone');
    await until(() => emulator.counters.httpCalls === 1);
    await emulator.close();
    await emulator.close();
    expect(await waiting).toBe('gone');
    const port = Number(new URL(emulator.url).port);
    const other = createServer();
    await new Promise<void>((resolve, reject) => {
      other.once('error', reject);
      other.listen(port, '127.0.0.1', resolve);
    });
    await new Promise((resolve) => other.close(resolve));
  });

  it('counts calls under way at one time', async () => {
    await using emulator = await startEmulator({ today: TODAY, rowsPerDay: 20, latencyMs: 20 });
    await Promise.all([query(emulator, DAY), query(emulator, DAY), query(emulator, DAY)]);
    expect(emulator.counters.maxConcurrentCalls).toBe(3);
    await query(emulator, DAY);
    expect(emulator.counters.maxConcurrentCalls).toBe(3);
  });

  it('writes no faster than its client reads', async () => {
    await using emulator = await startEmulator({ today: TODAY, rowsPerDay: 25_000 });
    const { hostname, port } = new URL(emulator.url);
    const part = `--b\r\nContent-Type: application/http\r\n\r\nPOST /webmasters/v3/sites/${encodeURIComponent(SITE)}/searchAnalytics/query\r\n\r\n${JSON.stringify({ ...DAY, dimensions: ['page', 'query'], rowLimit: 25_000 })}\r\n`;
    const socket = connect(Number(port), hostname);
    socket.pause();
    socket.write(httpText('/batch', 'multipart/mixed; boundary=b', `${part.repeat(20)}--b--`));
    await until(() => emulator.counters.rows > 0);
    // Rows are counted as their part begins. 20 parts are some 120 MB: without back pressure all would be begun.
    await query(emulator, DAY);
    await query(emulator, DAY);
    expect(emulator.counters.rows).toBeLessThan(25_000 * 6);
    const closed = new Promise((resolve) => socket.once('close', resolve));
    let bytes = 0;
    socket.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
    });
    socket.resume();
    await closed;
    expect(bytes).toBeGreaterThan(60_000_000);
    expect(emulator.counters.rows).toBe(25_000 * 20 + 2);
  });

  it('survives clients that go away, and bytes that are no HTTP', async () => {
    await using emulator = await startEmulator({ today: TODAY, rowsPerDay: 5_000 });
    const { hostname, port } = new URL(emulator.url);
    const body = JSON.stringify({ ...DAY, dimensions: ['page', 'query'], rowLimit: 25_000 });
    for (let i = 0; i < 5; i++) {
      const socket = connect(Number(port), hostname);
      socket.write(
        httpText(`/webmasters/v3/sites/${encodeURIComponent(SITE)}/searchAnalytics/query`, 'x', body),
      );
      await new Promise((resolve) => socket.once('data', resolve));
      socket.resetAndDestroy();
    }
    expect((await rawExchange(emulator.url, 'nonsense\r\n\r\n')).text).toMatch(/^HTTP\/1\.1 400/);
    expect((await query(emulator, DAY)).status).toBe(200);
  });
});
