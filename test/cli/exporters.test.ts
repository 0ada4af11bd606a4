/** Whatever carries telemetry away: neither the command line nor the environment is in it. */
import { once } from 'node:events';
import { createServer } from 'node:http';
import { createServer as createHttp2Server, type ServerHttp2Stream } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { freePort } from '../../src/embedded-postgres/cluster.ts';
import { type Emulator, startEmulator } from '../../src/emulator/index.ts';
import { type TestDatabase, testDatabase } from '../support/postgres.ts';
import { useLongtail } from './support/longtail.ts';

const SITE = 'sc-domain:example.com';
const TOKEN = 'a-token-that-must-not-be-seen';
const MARK = 'a-variable-that-must-not-be-seen';

const { start, run } = useLongtail();
let emulator: Emulator;
let database: TestDatabase;
beforeEach(async () => {
  [emulator, database] = await Promise.all([startEmulator({ rowsPerDay: 5, sites: [SITE] }), testDatabase()]);
});
afterEach(async () => {
  await Promise.all([emulator.close(), database.close()]);
});

const commandLine = () => ['sync', '--site', SITE, '--days', '3', '--database-url', database.url, '--json'];
const environment = (more: Readonly<Record<string, string>>) => ({
  env: {
    LONGTAIL_ACCESS_TOKEN: TOKEN,
    LONGTAIL_API_ROOT: emulator.url,
    PRIVATE: MARK,
    // All that the SDK has, and the one that reads the command line by name.
    OTEL_NODE_RESOURCE_DETECTORS: 'all,process',
    ...more,
  },
});

function expectNothingPrivate(sent: string): void {
  const { password } = new URL(database.url);
  expect(password.length).toBeGreaterThan(6);
  for (const secret of [password, decodeURIComponent(password), TOKEN, MARK])
    expect(sent).not.toContain(secret);
  expect(sent).not.toMatch(/process[._](command|executable|owner)/);
  expect(sent).not.toContain('--database-url');
}

/** Takes whatever is posted over HTTP, and keeps it as it came. */
async function keepAll() {
  const chunks: Buffer[] = [];
  const server = createServer((request, response) => {
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => response.setHeader('content-type', 'application/json').end('{}'));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  // Listening on a port, its address is an object.
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    sent: () => Buffer.concat(chunks).toString('latin1'),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
}

/** The same over gRPC. Each call is answered as a success without a message. */
async function keepAllGrpc() {
  const chunks: Buffer[] = [];
  const server = createHttp2Server();
  const sessions = new Set<{ destroy(): void }>();
  server.on('session', (session) => sessions.add(session));
  server.on('stream', (stream: ServerHttp2Stream) => {
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.on('end', () => {
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
      stream.end(Buffer.from([0, 0, 0, 0, 0]));
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    sent: () => Buffer.concat(chunks).toString('latin1'),
    async [Symbol.asyncDispose]() {
      for (const session of sessions) session.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}

it.each(['http/json', 'http/protobuf'])('OTLP as %s', async (protocol) => {
  await using receiver = await keepAll();
  const env = { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url, OTEL_EXPORTER_OTLP_PROTOCOL: protocol };
  expect((await run(commandLine(), environment(env))).code).toBe(0);
  expect(receiver.sent()).toContain('longtail.page.commit');
  expect(receiver.sent()).toContain('longtail.call.duration.seconds');
  expect(receiver.sent()).toContain('service.version');
  expectNothingPrivate(receiver.sent());
});

it('OTLP over gRPC', async () => {
  await using receiver = await keepAllGrpc();
  const env = { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url, OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' };
  expect((await run(commandLine(), environment(env))).code).toBe(0);
  expect(receiver.sent()).toContain('longtail.page.commit');
  expect(receiver.sent()).toContain('service.version');
  expectNothingPrivate(receiver.sent());
});

it('Zipkin', async () => {
  await using receiver = await keepAll();
  const env = {
    OTEL_TRACES_EXPORTER: 'zipkin',
    OTEL_EXPORTER_ZIPKIN_ENDPOINT: `${receiver.url}/api/v2/spans`,
  };
  expect((await run(commandLine(), environment(env))).code).toBe(0);
  expect(receiver.sent()).toContain('longtail.page.commit');
  expectNothingPrivate(receiver.sent());
});

it('the console', async () => {
  const env = { OTEL_TRACES_EXPORTER: 'console', OTEL_METRICS_EXPORTER: 'console' };
  const finished = await run(commandLine(), environment(env));
  expect(finished.code).toBe(0);
  expect(finished.stdout).toContain('longtail.page.commit');
  expect(finished.stdout).toContain('longtail.call.duration.seconds');
  expectNothingPrivate(finished.stdout + finished.stderr);
});

it('Prometheus', async () => {
  emulator.setFaults({ rules: [{ match: { call: 2 }, action: { kind: 'delay', ms: 300_000 } }] });
  const port = String(await freePort());
  const env = { OTEL_METRICS_EXPORTER: 'prometheus', OTEL_EXPORTER_PROMETHEUS_PORT: port };
  const running = start([...commandLine(), '--max-concurrency', '1', '--batch-size', '2'], environment(env));
  await expect.poll(() => emulator.counters.httpCalls, { timeout: 30_000 }).toBe(2);
  const text = await (await fetch(`http://localhost:${port}/metrics`)).text();
  expect(text).toContain('longtail_calls_total');
  expect(text).toContain('service_version=');
  expectNothingPrivate(text);
  running.child.kill('SIGINT');
  expect((await running.finished).code).toBe(130);
});
