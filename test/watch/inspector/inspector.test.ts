import { setTimeout as pause } from 'node:timers/promises';
import { createWebSocketReceiver, type StatelyInspectionEvent } from '@statelyai/inspect';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { WebSocket } from 'ws';
import { createActor, createMachine } from 'xstate';
import { type Emulator, startEmulator } from '../../../src/emulator/index.ts';
import { createSync } from '../../../src/sync/sync.ts';
import {
  createInspector,
  type InspectorMessage,
  serveInspector,
} from '../../../src/watch/inspector/index.ts';
import { type TestDatabase, testDatabase } from '../../support/postgres.ts';

const SITE = 'sc-domain:example.com';
const ACCOUNT = 'somebody-whose-name-stays-here';
const TOKEN = 'a-token-that-must-not-be-seen';
/** Of one message with a state. Whole snapshots had 48 kB. */
const LARGEST_SNAPSHOT = 4_000;

let emulator: Emulator;
let database: TestDatabase;
beforeEach(async () => {
  [emulator, database] = await Promise.all([
    startEmulator({ rowsPerDay: 20, sites: [SITE] }),
    testDatabase(),
  ]);
});
afterEach(async () => {
  await Promise.all([emulator.close(), database.close()]);
});

function sync(inspect: Parameters<typeof createSync>[0]['inspect']) {
  return createSync({
    siteUrl: SITE,
    database: database.url,
    credentials: { accessToken: TOKEN, account: ACCOUNT },
    apiRoot: emulator.url,
    days: 20,
    batchSize: 5,
    datasets: ['page', 'page+query'],
    maxConcurrency: 'auto',
    inspect,
  });
}

/** JSON knows no undefined fields, and XState's type of a snapshot wants some. */
type AsJson<Message> = Message extends { readonly snapshot: { readonly status: unknown } }
  ? Omit<Message, 'snapshot'> & { readonly snapshot: Pick<Message['snapshot'], 'status'> }
  : Message;
/** The compiler checks our messages against those of `@statelyai/inspect`. */
const asStately = (message: InspectorMessage): AsJson<StatelyInspectionEvent> => message;

describe('a watcher of a run', () => {
  it('sees every machine, small and in words', async () => {
    const inspector = createInspector({ everyMs: 20 });
    const messages: InspectorMessage[] = [];
    inspector.watch((message) => messages.push(message));
    await using run = sync(inspector.inspect);
    expect((await run.run()).status).toBe('complete');
    // The last states are told with the next round.
    await expect
      .poll(() =>
        messages.some((message) => message.type === '@xstate.snapshot' && message.snapshot.value === 'ended'),
      )
      .toBe(true);
    inspector.close();

    const names = messages.flatMap((message) => (message.type === '@xstate.actor' ? [message.name] : []));
    for (const name of [
      'runLife',
      'coordinator',
      'rateLimiter',
      'leaseKeeper',
      'concurrencyController',
      'w0',
    ])
      expect(names).toContain(name);
    for (const message of messages) {
      const text = JSON.stringify(asStately(message));
      expect(text).not.toContain(ACCOUNT);
      expect(text).not.toContain(TOKEN);
      if (message.type === '@xstate.actor') {
        expect(JSON.parse(message.definition ?? '')).toMatchObject({ description: expect.any(String) });
      } else expect(text.length).toBeLessThan(LARGEST_SNAPSHOT);
    }
    const texts = messages.map((message) => JSON.stringify(message));
    expect(texts.some((text) => /page\+query \d{4}-\d{2}-\d{2}/.test(text))).toBe(true);
    // Ids of slices are in none of the events that carry them.
    expect(texts.filter((text) => text.includes('"sliceId"'))).toEqual([]);
  });

  it('says how many events it did not show', async () => {
    const inspector = createInspector({ everyMs: 200, eventsEach: 0 });
    const messages: InspectorMessage[] = [];
    inspector.watch((message) => messages.push(message));
    await using run = sync(inspector.inspect);
    await run.run();
    await expect
      .poll(() =>
        messages.some((message) => message.type === '@xstate.snapshot' && Number(message.event.skipped) > 0),
      )
      .toBe(true);
    inspector.close();
    expect(messages.filter(({ type }) => type === '@xstate.event')).toEqual([]);
  });

  it('that throws is removed, and the run goes on', async () => {
    const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    const inspector = createInspector({ everyMs: 20 });
    let calls = 0;
    inspector.watch(() => {
      calls += 1;
      throw new Error('for the test');
    });
    await using run = sync(inspector.inspect);
    expect((await run.run()).status).toBe('complete');
    inspector.close();
    expect(calls).toBe(1);
    expect(warned).toHaveBeenCalledWith(expect.stringContaining('for the test'), 'LongtailInspectWarning');
    warned.mockRestore();
  });
});

it('options out of range are refused', () => {
  for (const options of [{ everyMs: 0 }, { eventsEach: -1 }, { everyMs: 1.5 }])
    expect(() => createInspector(options)).toThrow(expect.objectContaining({ code: 'BAD_OPTION' }));
});

describe('through the bridge', () => {
  it('Stately’s own receiver sees a real run', async () => {
    // The receiver tells the console of every message.
    const silenced = vi.spyOn(console, 'log').mockImplementation(() => undefined);
    const inspector = createInspector({ everyMs: 20 });
    await using bridge = await serveInspector(inspector);
    const received: StatelyInspectionEvent[] = [];
    createWebSocketReceiver({ server: bridge.url }).subscribe((message) => received.push(message));
    await using run = sync(inspector.inspect);
    await expect.poll(() => received.length).toBeGreaterThan(0);
    await run.run();
    const endsOf = () =>
      received.filter(
        (message) =>
          message.type === '@xstate.snapshot' && JSON.stringify(message.snapshot).includes('"value":"ended"'),
      );
    await expect.poll(endsOf).toHaveLength(1);
    const names = received.flatMap((message) => (message.type === '@xstate.actor' ? [message.name] : []));
    expect(names).toEqual(expect.arrayContaining(['runLife', 'coordinator', 'w0', 'rateLimiter']));
    expect(received.map(({ type }) => type)).toEqual(
      expect.arrayContaining(['@xstate.actor', '@xstate.event', '@xstate.snapshot']),
    );
    expect(bridge.dropped()).toBe(0);
    silenced.mockRestore();
  });

  it('a reader that stalls loses the oldest messages and is told how many', async () => {
    const inspector = createInspector({ everyMs: 20, eventsEach: 1_000 });
    await using bridge = await serveInspector(inspector, { waiting: 20 });
    const reader = new WebSocket(bridge.url);
    const texts: string[] = [];
    reader.on('message', (data) => texts.push(String(data)));
    await new Promise((resolve) => reader.once('open', resolve));
    reader.pause();
    const actor = createActor(createMachine({ on: { said: {} } }), { inspect: inspector.inspect }).start();
    // Until all buffers between here and there are full.
    for (let round = 0; round < 1_000 && bridge.dropped() === 0; round += 1) {
      for (let count = 0; count < 1_000; count += 1) actor.send({ type: 'said', text: 'x'.repeat(150) });
      await pause(25);
    }
    actor.stop();
    expect(bridge.dropped()).toBeGreaterThan(0);
    reader.resume();
    const told = () =>
      texts.reduce((sum, text) => {
        const { event }: { event?: { type: string; messages?: number } } = JSON.parse(text);
        return event?.type === 'longtail.inspector.dropped' ? sum + (event.messages ?? 0) : sum;
      }, 0);
    await expect.poll(() => told() - bridge.dropped(), { timeout: 20_000 }).toBe(0);
    expect(told()).toBeGreaterThan(0);
    reader.close();
  });

  it.each([
    ['without the token', (url: URL) => ({ url: `ws://${url.host}/` }), 401],
    ['with another token', (url: URL) => ({ url: `ws://${url.host}/${'0'.repeat(32)}` }), 401],
    [
      'from a foreign page',
      (url: URL) => ({ url: url.href, headers: { origin: 'https://evil.example' } }),
      403,
    ],
    ['from a file or a sandboxed page', (url: URL) => ({ url: url.href, headers: { origin: 'null' } }), 403],
    ['for a foreign host', (url: URL) => ({ url: url.href, headers: { host: 'evil.example' } }), 421],
  ])('nobody gets in %s', async (_, how, status) => {
    const inspector = createInspector();
    await using bridge = await serveInspector(inspector);
    const { url, headers }: { url: string; headers?: Record<string, string> } = how(new URL(bridge.url));
    const socket = new WebSocket(url, { headers });
    const answer = await new Promise((resolve) => {
      socket.on('unexpected-response', (request, response) => {
        request.destroy();
        resolve(response.statusCode);
      });
      socket.on('open', () => resolve('open'));
      socket.on('error', () => undefined);
    });
    expect(answer).toBe(status);
  });

  it('a page of this machine gets in, and an eleventh reader does not', async () => {
    await using bridge = await serveInspector(createInspector());
    const connect = () =>
      new Promise<string>((resolve) => {
        const socket = new WebSocket(bridge.url, { headers: { origin: 'http://localhost:3000' } });
        socket.on('open', () => resolve('open'));
        socket.on('error', () => resolve('refused'));
      });
    const answers: string[] = [];
    for (let count = 0; count < 11; count += 1) answers.push(await connect());
    expect(answers).toEqual([...Array.from({ length: 10 }, () => 'open'), 'refused']);
  });

  it('plain HTTP gets nothing, and closing ends it', async () => {
    const bridge = await serveInspector(createInspector());
    const url = bridge.url.replace('ws:', 'http:');
    expect((await fetch(url)).status).toBe(426);
    await bridge.close();
    await pause(10);
    await expect(fetch(url)).rejects.toThrow();
  });
});
