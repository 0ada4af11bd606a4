// @module-tag long
import { generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { LongtailError } from '../../src/domain/errors.ts';
import { type Emulator, startEmulator } from '../../src/emulator/index.ts';
import { createGotTransport, type GotTransportOptions } from '../../src/search-console/http/got-transport.ts';
import { nameOf, proxyFor } from '../../src/search-console/http/proxy-settings.ts';
import { type HttpAnswer, TransportError } from '../../src/search-console/http/transport.ts';
import { lastLineOf, useLongtail } from '../cli/support/longtail.ts';
import { createAuthority } from '../support/certificates.ts';
import { type ConnectProxyOptions, startConnectProxy, startTlsFront } from '../support/connect-proxy.ts';
import { type TestDatabase, testDatabase } from '../support/postgres.ts';

const SITE = 'sc-domain:example.com';
const PASSWORD = 'p@ss:w/rd%';
const LOGIN = `me:${PASSWORD}`;
const authority = createAuthority();
const google = authority.certify('searchconsole.googleapis.com', 'oauth2.googleapis.com');
const key = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
const KEY_FILE = {
  type: 'service_account',
  client_email: 'robot@project.iam.gserviceaccount.com',
  private_key: key.export({ type: 'pkcs8', format: 'pem' }).toString(),
};

const { folder, run } = useLongtail();
let emulator: Emulator;
let database: TestDatabase;
let front: Awaited<ReturnType<typeof startTlsFront>>;

beforeAll(async () => {
  [emulator, database] = await Promise.all([
    startEmulator({ rowsPerDay: 20, sites: [SITE] }),
    testDatabase(),
  ]);
  front = await startTlsFront(google, Number(new URL(emulator.url).port));
});
afterAll(async () => {
  await Promise.all([emulator.close(), database.close(), front[Symbol.asyncDispose]()]);
});

/** A proxy behind which Google is the emulator. */
const startProxy = (options: Partial<ConnectProxyOptions> = {}) =>
  startConnectProxy({
    leadTo: (to) => (/^(?:searchconsole|oauth2)\.googleapis\.com:443$/.test(to) ? front.port : undefined),
    ...options,
  });

/** A command line that signs in with a key, at Google's own addresses. */
function longtail(args: readonly string[], env: Readonly<Record<string, string>>) {
  const keyFile = join(folder(), 'key.json');
  const authorities = join(folder(), 'authority.pem');
  writeFileSync(keyFile, JSON.stringify(KEY_FILE));
  writeFileSync(authorities, authority.cert);
  return run(args, {
    env: {
      DATABASE_URL: database.url,
      GOOGLE_APPLICATION_CREDENTIALS: keyFile,
      NODE_EXTRA_CA_CERTS: authorities,
      ...env,
    },
  });
}

describe('behind a proxy, with a certificate authority of the company', () => {
  it('signing in and the API both go through HTTPS_PROXY, with its user and password', async () => {
    await using proxy = await startProxy({ login: LOGIN });
    const HTTPS_PROXY = `http://me:${encodeURIComponent(PASSWORD)}@127.0.0.1:${proxy.port}`;
    const { code, stdout, stderr } = await longtail(['sync', '--site', SITE, '--days', '3', '--json'], {
      HTTPS_PROXY,
    });
    expect({ code, stderr }).toMatchObject({ code: 0 });
    expect(lastLineOf(stdout)).toMatchObject({ status: 'complete', slices: { complete: 6 } });
    expect(new Set(proxy.asked)).toEqual(
      new Set(['oauth2.googleapis.com:443', 'searchconsole.googleapis.com:443']),
    );
  });

  it.each<[string, (port: number) => Record<string, string>]>([
    ['https_proxy', (port) => ({ https_proxy: `http://127.0.0.1:${port}` })],
    [
      'https_proxy before HTTPS_PROXY',
      (port) => ({ https_proxy: `127.0.0.1:${port}`, HTTPS_PROXY: 'nowhere:1' }),
    ],
    ['ALL_PROXY', (port) => ({ ALL_PROXY: `http://127.0.0.1:${port}/` })],
    [
      'HTTPS_PROXY over an empty https_proxy',
      (port) => ({ https_proxy: '', HTTPS_PROXY: `127.0.0.1:${port}` }),
    ],
  ])('the list of properties comes with %s', async (_, env) => {
    await using proxy = await startProxy();
    const { code, stdout, stderr } = await longtail(['sites'], env(proxy.port));
    expect({ code, stderr }).toMatchObject({ code: 0 });
    expect(stdout).toContain(SITE);
    expect(proxy.asked).toHaveLength(2);
  });

  it('a proxy that is itself spoken to over TLS', async () => {
    await using proxy = await startProxy({ certified: authority.certify('localhost', '127.0.0.1') });
    const HTTPS_PROXY = `https://localhost:${proxy.port}`;
    const { code, stdout, stderr } = await longtail(['sites'], { HTTPS_PROXY });
    expect({ code, stdout, stderr }).toMatchObject({ code: 0, stdout: expect.stringContaining(SITE) });
  });

  it('without its certificate authority, the error names NODE_EXTRA_CA_CERTS', async () => {
    await using proxy = await startProxy();
    const env = {
      HTTPS_PROXY: `http://127.0.0.1:${proxy.port}`,
      NODE_EXTRA_CA_CERTS: '',
      GOOGLE_APPLICATION_CREDENTIALS: '',
      LONGTAIL_ACCESS_TOKEN: 'a-token',
    };
    const { code, stderr } = await longtail(['sites'], env);
    expect({ code, stderr }).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('NODE_EXTRA_CA_CERTS'),
    });
    const signIn = await longtail(['sites'], { HTTPS_PROXY: env.HTTPS_PROXY, NODE_EXTRA_CA_CERTS: '' });
    expect(signIn).toMatchObject({ code: 1, stderr: expect.stringContaining('NODE_EXTRA_CA_CERTS') });
  });

  it('this machine’s own API and token endpoint are asked directly', async () => {
    await using proxy = await startProxy();
    const env = {
      HTTPS_PROXY: `http://127.0.0.1:${proxy.port}`,
      HTTP_PROXY: `http://127.0.0.1:${proxy.port}`,
      ALL_PROXY: `http://127.0.0.1:${proxy.port}`,
      LONGTAIL_API_ROOT: emulator.url,
      LONGTAIL_TOKEN_URL: `${emulator.url}token`,
    };
    expect(await longtail(['sites'], env)).toMatchObject({ code: 0 });
    expect(proxy.asked).toEqual([]);
  });

  it.each<[string, Partial<ConnectProxyOptions>, string]>([
    ['wants another password', { login: 'me:other' }, 'does not accept the user and password in HTTPS_PROXY'],
    ['answers 502', { leadTo: () => undefined }, 'answered 502'],
    [
      'answers with a page',
      { instead: 'HTTP/1.1 403 Forbidden\r\nContent-Type: text/html\r\n\r\n<h1>Blocked</h1>' },
      'answered 403',
    ],
    ['hangs up', { instead: '' }, 'failed: '],
    ['speaks no HTTP', { instead: 'SSH-2.0-x\r\n' }, 'failed: '],
  ])('a proxy that %s is what the error is about, without its password', async (_, options, words) => {
    await using proxy = await startProxy(options);
    const HTTPS_PROXY = `http://me:${encodeURIComponent(PASSWORD)}@127.0.0.1:${proxy.port}`;
    const signIn = await longtail(['sites'], { HTTPS_PROXY });
    const api = await longtail(['sites'], {
      HTTPS_PROXY,
      GOOGLE_APPLICATION_CREDENTIALS: '',
      LONGTAIL_ACCESS_TOKEN: 'a-token',
    });
    for (const { code, stdout, stderr } of [signIn, api]) {
      expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
      expect(stderr).toContain(`the proxy 127.0.0.1:${proxy.port} (HTTPS_PROXY)`);
      expect(stderr).toContain(words);
      for (const secret of [PASSWORD, encodeURIComponent(PASSWORD), Buffer.from(LOGIN).toString('base64')]) {
        expect(stderr).not.toContain(secret);
      }
    }
  });

  const PROXY_SIGN_IN =
    'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="x"\r\n\r\n';
  const SYNC = ['sync', '--site', SITE, '--days', '3', '--json', '--log-level', 'debug'];
  const WITH_TOKEN = { GOOGLE_APPLICATION_CREDENTIALS: '', LONGTAIL_ACCESS_TOKEN: 'a-token' };

  it.each([
    ['from the first tunnel on', 0],
    // Whose the token is, and the calendar.
    ['once the run is under way', 2],
  ])('wants another sign-in %s: the run ends at once, and says whose', async (_, before) => {
    await using proxy = await startProxy({ instead: (nth) => (nth < before ? undefined : PROXY_SIGN_IN) });
    await using database = await testDatabase();
    const { code, stdout, stderr } = await longtail(
      [...SYNC, '--max-concurrency', '3', '--batch-size', '1'],
      {
        DATABASE_URL: database.url,
        HTTPS_PROXY: `http://me:${encodeURIComponent(PASSWORD)}@127.0.0.1:${proxy.port}`,
        ...WITH_TOKEN,
      },
    );
    expect({ code, stderr }).toMatchObject({ code: 1 });
    expect(stderr).toContain(
      `the proxy 127.0.0.1:${proxy.port} (HTTPS_PROXY) does not accept the user and password in HTTPS_PROXY`,
    );
    expect(stderr).toContain('Put the proxy’s user and password into that variable');
    expect(stderr).not.toContain(PASSWORD);
    expect(lastLineOf(stdout)).toMatchObject({ status: 'failed', slices: { failed: 0 }, failures: [] });
    expect(proxy.asked.length).toBeLessThanOrEqual(before + 4);
  });

  it('wants another sign-in when a token is made: the run ends at once', async () => {
    await using proxy = await startProxy({ instead: PROXY_SIGN_IN });
    await using database = await testDatabase();
    const { code, stderr } = await longtail(SYNC, {
      DATABASE_URL: database.url,
      HTTPS_PROXY: `http://127.0.0.1:${proxy.port}`,
    });
    expect({ code, stderr }).toMatchObject({ code: 1, stderr: expect.stringContaining('wants a sign-in') });
    // Once for each worker at most.
    expect(new Set(proxy.asked)).toEqual(new Set(['oauth2.googleapis.com:443']));
    expect(proxy.asked.length).toBeLessThanOrEqual(3);
  });

  it('wants a sign-in of another kind than by password: that is said', async () => {
    const answer =
      'HTTP/1.1 407 Sign in\r\nProxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM\r\n\r\n';
    await using proxy = await startProxy({ instead: answer });
    const { stderr } = await longtail(['sites'], {
      HTTPS_PROXY: `http://127.0.0.1:${proxy.port}`,
      ...WITH_TOKEN,
    });
    expect(stderr).toContain('wants a sign-in by Negotiate or NTLM, but Longtail supports only');
  });

  it('answers 502, 503 and 504 for a while: an outage, which is sat out', async () => {
    const refusal = (nth: number) => `HTTP/1.1 ${502 + (nth % 3)} No\r\n\r\n<h1>No</h1>`;
    // Whose the token is, comes first; then each call that fails has asked for a tunnel of its own.
    await using proxy = await startProxy({
      instead: (nth) => (nth >= 1 && nth <= 7 ? refusal(nth) : undefined),
    });
    await using database = await testDatabase();
    const { code, stdout, stderr } = await longtail([...SYNC, '--batch-size', '1'], {
      DATABASE_URL: database.url,
      HTTPS_PROXY: `http://127.0.0.1:${proxy.port}`,
      ...WITH_TOKEN,
    });
    expect({ code, stderr }).toMatchObject({ code: 0 });
    for (const status of [502, 503, 504]) expect(stderr).toContain(`answered ${status}`);
    expect(lastLineOf(stdout)).toMatchObject({ status: 'complete', slices: { complete: 6, failed: 0 } });
  });

  it('whose an access token is, is asked through the proxy, too', async () => {
    await using proxy = await startProxy();
    await using database = await testDatabase();
    const { code, stderr } = await longtail(SYNC, {
      DATABASE_URL: database.url,
      HTTPS_PROXY: `http://127.0.0.1:${proxy.port}`,
      ...WITH_TOKEN,
    });
    expect({ code, stderr }).toMatchObject({ code: 0 });
    expect(proxy.asked[0]).toBe('oauth2.googleapis.com:443');
    const scopes = await database.sql<{ scope: string }[]>`
      select distinct scope from longtail.quota_lease where scope like 'user:%'`;
    expect(scopes).toEqual([{ scope: expect.stringMatching(/^user:id token-/) }]);
  });

  it.each([
    ['socks5://127.0.0.1:1080', 'SOCKS'],
    ['http://me:geheim1@', 'is not the URL of an HTTP proxy'],
    ['http://me:geheim1/x@127.0.0.1:1', 'is not the URL of an HTTP proxy'],
    ['ftp://me:geheim1@127.0.0.1:1', 'is not the URL of an HTTP proxy'],
    ['http://127.0.0.1:1/geheim1', 'has more text after'],
  ])('HTTPS_PROXY=%s is refused before anything is asked', async (HTTPS_PROXY, words) => {
    for (const command of [['sites'], ['sync', '--site', SITE, '--days', '1']]) {
      const { code, stderr } = await longtail(command, { HTTPS_PROXY });
      expect({ code, stderr }).toMatchObject({ code: 2, stderr: expect.stringContaining(words) });
      expect(stderr.trimEnd().split('\n')).toHaveLength(2);
      expect(stderr).not.toContain('geheim1');
    }
  });
});

describe('the transport through a proxy', () => {
  const opened: { close(): void }[] = [];
  afterEach(() => {
    for (const transport of opened.splice(0)) transport.close();
  });

  function setUp(port: number, options: GotTransportOptions = {}) {
    const env = { HTTPS_PROXY: `http://127.0.0.1:${port}` };
    const transport = createGotTransport({ env, ...options });
    opened.push(transport);
    const controller = new AbortController();
    const sent: string[] = [];
    const send = (host = 'searchconsole.googleapis.com') =>
      transport.send(
        { method: 'GET', url: `https://${host}/`, headers: { authorization: 'Bearer secret-token' } },
        { signal: controller.signal, onFirstByteOut: () => void sent.push(host) },
      );
    return { transport, controller, send, sent };
  }
  const failure = (sending: Promise<HttpAnswer>) =>
    sending.then(
      () => expect.unreachable(),
      (error: unknown) => error,
    );

  it('says that bytes may have left only once the tunnel is up', async () => {
    await using proxy = await startProxy({ leadTo: () => undefined });
    const { send, sent } = setUp(proxy.port);
    const error = await failure(send());
    expect(error).toBeInstanceOf(TransportError);
    expect(error).toMatchObject({ kind: 'connect', phase: 'connect', mayHaveArrived: false });
    expect(sent).toEqual([]);
  });

  it('says so of a handshake that fails at the tunnel’s end, too', async () => {
    await using proxy = await startProxy();
    const { send, sent } = setUp(proxy.port);
    expect(await failure(send())).toMatchObject({ kind: 'tls', phase: 'connect', mayHaveArrived: false });
    expect(sent).toEqual([]);
  });

  it.each(['aborted', 'closed', 'given up after its deadline'])(
    'leaves nothing open at a proxy that never answers, when it is %s',
    async (how) => {
      await using proxy = await startProxy({ instead: 'silence' });
      const { transport, controller, send, sent } = setUp(proxy.port, {
        connectTimeoutMs: how.startsWith('given') ? 300 : 60_000,
      });
      const sending = failure(send());
      await expect.poll(() => proxy.asked.length).toBe(1);
      if (how === 'aborted') controller.abort();
      if (how === 'closed') transport.close();
      const error = await sending;
      expect(error).toMatchObject({ phase: 'connect', mayHaveArrived: false });
      if (how.startsWith('given'))
        expect(error).toMatchObject({ message: expect.stringContaining('the proxy') });
      await expect.poll(() => proxy.open).toBe(0);
      expect(sent).toEqual([]);
    },
  );
});

describe('which proxy', () => {
  const googleApi = 'https://searchconsole.googleapis.com/';
  const through = (url: string, env: Readonly<Record<string, string>>) => {
    const proxy = proxyFor(new URL(url), env);
    return proxy === undefined ? undefined : `${proxy.hostname}:${proxy.port}`;
  };

  it.each([
    ['*', false],
    ['googleapis.com', false],
    ['.googleapis.com', false],
    ['*.googleapis.com', false],
    ['SearchConsole.GoogleAPIs.com', false],
    ['searchconsole.googleapis.com:443', false],
    ['a.example,  searchconsole.googleapis.com ,b', false],
    ['a.example googleapis.com', false],
    ['googleapis.com.', false],
    ['searchconsole.googleapis.com:8443', true],
    ['apis.com', true],
    ['example.com', true],
    ['10.0.0.0/8', true],
    [' , ', true],
    ['', true],
  ])('NO_PROXY=%j', (list, isUsed) => {
    const env = { HTTPS_PROXY: 'proxy.example:3128' };
    expect(through(googleApi, { ...env, NO_PROXY: list })).toBe(isUsed ? 'proxy.example:3128' : undefined);
    expect(through(googleApi, { ...env, no_proxy: list })).toBe(isUsed ? 'proxy.example:3128' : undefined);
  });

  it.each([
    ['https://10.1.2.3/', '10.0.0.0/8', false],
    ['https://10.1.2.3/', '10.1.2.3', false],
    ['https://10.1.2.3/', '10.1.2.3:443', false],
    ['https://11.1.2.3/', '10.0.0.0/8', true],
    ['https://10.1.2.3/', '10.0.0.0/99', true],
    ['https://10.1.2.3/', '10.0.0.0/', true],
    ['https://[fd00::1]/', 'fd00::/8', false],
    ['https://[fd00::1]/', '[fd00::1]', false],
    ['https://[fd00::1]:8443/', '[fd00::1]:443', true],
    ['https://[fd00::1]/', '::1', true],
    ['https://bücher.example/', 'bücher.example', false],
    ['https://api.bücher.example/', 'BÜCHER.example', false],
  ])('%s with NO_PROXY=%s', (url, list, isUsed) => {
    expect(through(url, { HTTPS_PROXY: 'p:1', NO_PROXY: list })).toBe(isUsed ? 'p:1' : undefined);
  });

  it.each([
    ['https://localhost:8443/'],
    ['https://127.0.0.1/'],
    ['https://127.8.8.8/'],
    ['https://[::1]/'],
    ['http://127.0.0.1:8787/'],
  ])('none for %s, which is this machine', (url) => {
    expect(through(url, { HTTPS_PROXY: 'p:1', ALL_PROXY: 'p:1', HTTP_PROXY: 'p:1' })).toBeUndefined();
  });

  it('HTTP_PROXY is for http, which nothing of Google’s is', () => {
    expect(through(googleApi, { HTTP_PROXY: 'p:1', http_proxy: 'p:1' })).toBeUndefined();
  });

  it('has the usual port of its kind, and no name or password in what messages call it', () => {
    expect(through(googleApi, { HTTPS_PROXY: 'proxy.example' })).toBe('proxy.example:80');
    expect(through(googleApi, { HTTPS_PROXY: 'https://proxy.example' })).toBe('proxy.example:443');
    const proxy = proxyFor(new URL(googleApi), { HTTPS_PROXY: 'http://me:100%25%sure@[::1]:3128' });
    if (proxy === undefined) return expect.unreachable();
    expect(nameOf(proxy)).toBe('the proxy [::1]:3128 (HTTPS_PROXY)');
    // A "%" that escapes nothing is one.
    expect(proxy.authorization).toBe(`Basic ${Buffer.from('me:100%25%sure').toString('base64')}`);
  });

  it('nothing is said of a wrong one that does not count', () => {
    const env = { HTTPS_PROXY: 'socks5://p:1' };
    expect(() => through(googleApi, env)).toThrow(LongtailError);
    expect(through(googleApi, { ...env, NO_PROXY: 'googleapis.com' })).toBeUndefined();
    expect(through('http://127.0.0.1:1/', env)).toBeUndefined();
  });
});
