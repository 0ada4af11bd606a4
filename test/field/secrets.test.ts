// @module-tag long
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { resourceDetectors } from '../../src/cli/process/otel.ts';
import { createRedactor } from '../../src/cli/terminal/redact.ts';
import { mayBeSecret, withoutSecrets } from '../../src/domain/secrets.ts';
import { type Emulator, startEmulator } from '../../src/emulator/index.ts';
import { createSync } from '../../src/index.ts';
import { oneLine } from '../../src/search-console/answer/one-line.ts';
import { runHere } from '../cli/support/here.ts';
import { useLongtail } from '../cli/support/longtail.ts';
import { type TestDatabase, testDatabase } from '../support/postgres.ts';

const SITE = 'sc-domain:example.com';
const PASSWORD = 'Tr0ub4dor-3xyz';
const pem = generateKeyPairSync('rsa', { modulusLength: 2048 })
  .privateKey.export({ type: 'pkcs8', format: 'pem' })
  .toString();
const KEY = {
  type: 'service_account',
  project_id: 'project-1',
  private_key_id: '0123456789abcdef0123456789abcdef01234567',
  private_key: pem,
  client_email: 'robot@project-1.iam.gserviceaccount.com',
};
const json = JSON.stringify(KEY);
const pretty = JSON.stringify(KEY, null, 2);
const middle = pem.split('\n').slice(3, 9).join('\n');

/** What people put where the path of the key's file belongs. */
const FORMS: readonly (readonly [string, string])[] = [
  ['as it is', json],
  ['over several lines', pretty],
  ['after a space and a byte order mark', `\ufeff \n${pretty}`],
  ['in single quotes', `'${json}'`],
  ['in double quotes, escaped', JSON.stringify(json)],
  ['escaped twice', JSON.stringify(JSON.stringify(json)).slice(1, -1)],
  ['in base64', Buffer.from(json).toString('base64')],
  ['in base64, over several lines', Buffer.from(pretty).toString('base64').replace(/.{76}/g, '$&\n')],
  ['in base64 for URLs', Buffer.from(pretty).toString('base64url')],
  ['in base64, twice', Buffer.from(Buffer.from(json).toString('base64')).toString('base64')],
  ['encoded for a URL', encodeURIComponent(json)],
  ['as a data: URL', `data:application/json;base64,${Buffer.from(json).toString('base64')}`],
  ['as YAML', `type: service_account\nprivate_key: |\n  ${pem.replaceAll('\n', '\n  ')}`],
  ['as an object of JavaScript', `{type:'service_account',private_key:'${pem.replaceAll('\n', '\\n')}'}`],
  ['cut off', json.slice(0, 700)],
  ['without its beginning', json.slice(400)],
  ['as the PEM alone', pem],
  ['as the PEM on one line', pem.replaceAll('\n', '\\n')],
  ['as the PEM in base64', Buffer.from(pem).toString('base64')],
  ['as some lines of the PEM', middle],
  ['as one line of the PEM', pem.split('\n')[4] ?? ''],
  ['as a client secret', 'GOCSPX-AbCdEfGhIjKlMnOpQrStUvWxYz01'],
  ['as a refresh token', '1//0gAbCdEfGhIjKlMnOpQrStUv'],
  ['as an access token', 'ya29.a0AfH6SMBx-x_y1'],
];

describe('a key in place of its file’s path', () => {
  it.each(FORMS)('%s is told of in one line, with nothing of it', async (_, form) => {
    const expectNothingOf = (said: string, source: string) => {
      expect(said).toContain(`${source} contains a key or another secret`);
      for (let at = 0; at + 12 <= form.length; at += 4) expect(said).not.toContain(form.slice(at, at + 12));
    };
    const sync = createSync({
      siteUrl: SITE,
      credentials: { file: form },
      database: 'postgres://x@127.0.0.1:1/x',
    });
    const error: unknown = await sync.run().catch((reason: unknown) => reason);
    expect(error).toMatchObject({
      code: 'BAD_CREDENTIALS',
      nextStep: expect.stringContaining('Write the key to a file'),
    });
    expectNothingOf(String(error instanceof Error ? error.stack : error), 'credentials.file');
    const option = await runHere(['sites', '--credentials', form]);
    expect(option.code).toBe(2);
    expectNothingOf(option.stderr, '--credentials');
    expect(option.stderr.trimEnd().split('\n')).toHaveLength(2);
    const variable = await runHere(['sync', '--site', SITE], { GOOGLE_APPLICATION_CREDENTIALS: form });
    expect(variable.code).toBe(2);
    expectNothingOf(variable.stderr, 'GOOGLE_APPLICATION_CREDENTIALS');
  });

  it.each([
    '/nowhere/key.json',
    'my-project-123456-0123456789ab.json',
    './Keys of 2026/Search Console (read only).json',
    'C:\\Users\\Me\\key.json',
    '/nix/store/abcdefghijklmnopqrstuvwxyz012345-name/key.json',
    '/var/run/secrets/kubernetes.io/serviceaccount/token',
    '/home/me/9fceb02d0ae598e95dc970b74767f19372d61af8/key.json',
  ])('a path that leads nowhere is still told: %s', async (path) => {
    const { stderr } = await runHere(['sites', '--credentials', path]);
    expect(stderr).toContain(`--credentials names ${path}, but there is no such file.`);
  });
});

describe('the redactor', () => {
  const names = [
    ...[
      'client_secret',
      'clientSecret',
      'private_key',
      'private_key_id',
      'refresh_token',
      'access_token',
      'id_token',
    ],
    ...['password', 'PGPASSWORD', 'passphrase', 'api_key', 'x-api-key', 'assertion', 'sslpassword'],
  ];
  /** Each way in which a name and its secret may stand in a text. */
  const ways: Readonly<Record<string, (name: string, secret: string) => string>> = {
    JSON: (name, secret) => JSON.stringify({ a: 1, [name]: secret, b: 2 }),
    'JSON, with spaces': (name, secret) => JSON.stringify({ [name]: secret, b: [2] }, null, 2),
    'JSON in JSON': (name, secret) => JSON.stringify({ body: JSON.stringify({ [name]: secret, b: 2 }) }),
    'JSON in JSON in JSON': (name, secret) =>
      JSON.stringify(JSON.stringify({ body: JSON.stringify({ [name]: secret }) })),
    'single quotes': (name, secret) => `{'${name}': '${secret.replaceAll(/['\\]/g, '')}', 'b': 2}`,
    'JavaScript’s own way': (name, secret) => `{ ${name}: '${secret.replaceAll(/['\\]/g, '')}', b: 2 }`,
    YAML: (name, secret) => `a: 1\n${name}: ${bare(secret)}\nb: 2`,
    'YAML in quotes': (name, secret) => `${name}: '${secret.replaceAll("'", "''").replaceAll('\\', '')}'`,
    'a shell’s assignment': (name, secret) => `export ${name}=${bare(secret)} && run`,
    'a parameter of a URL': (name, secret) =>
      `https://x.example/y?a=b&${name}=${encodeURIComponent(secret)}&c=d`,
    'an option': (name, secret) => `--${name}=${bare(secret)} --other`,
    'an arrow': (name, secret) => `{ ${name} => "${bare(secret)}" }`,
    'encoded JSON': (name, secret) => encodeURIComponent(JSON.stringify({ [name]: bare(secret), b: 2 })),
    base64: (name, secret) => Buffer.from(JSON.stringify({ [name]: secret })).toString('base64'),
    'base64 in JSON': (name, secret) =>
      JSON.stringify({ data: Buffer.from(JSON.stringify({ b: 2, [name]: secret })).toString('base64url') }),
  };
  /** What stands without quotes has no spaces and no signs that end it. */
  const bare = (secret: string): string => secret.replaceAll(/[^\w.~+/-]/g, '');
  const secret = fc
    .string({ unit: 'grapheme-ascii', minLength: 0, maxLength: 30 })
    .map((text) => `s3cr3t${text.replaceAll(/[\s*]/g, '')}s3cr3t`);

  it.each(Object.entries(ways))('lets no secret through that has a name: %s', (_, way) => {
    fc.assert(
      fc.property(fc.constantFrom(...names), secret, (name, value) => {
        const text = `before ${way(name, value)}`;
        const clean = withoutSecrets(text);
        expect(clean).not.toMatch(/s3cr3t/);
        expect(clean).not.toContain(Buffer.from('s3cr3ts3cr3t').toString('base64').slice(0, 12));
        expect(clean.startsWith('before ')).toBe(true);
        expect(oneLine(text)).not.toMatch(/s3cr3t/);
      }),
    );
  });

  it.each([
    ['an Authorization header', 'authorization: Bearer abc.def-123', 'abc.def'],
    ['one of another scheme', 'Authorization: GoogleLogin auth=geheim1', 'geheim1'],
    ['one in JSON', '{"authorization":"Token geheim1"}', 'geheim1'],
    ['one in an inspected object', "headers: { Authorization: 'Basic bWU6Z2VoZWltMQ==' }", 'bWU6'],
    ['a proxy’s', 'Proxy-Authorization: Digest username="me", response="geheim1"', 'geheim1'],
    ['a URL’s user', 'https://me:geheim1@proxy.example:3128 refused', 'geheim1'],
    ['one with signs', 'postgres://me:geh@im/1:x@db.example/y refused', 'im/1'],
    ['an encoded URL', 'next=postgres%3A%2F%2Fme%3Ageheim1%40db%2Fx', 'geheim1'],
    ['a client secret', 'client GOCSPX-geheim1_x', 'geheim1'],
    ['a refresh token', 'token 1//geheim1geheim1', 'geheim1'],
    ['a PEM on one line', `key ${pem.replaceAll('\n', '\\n')} end`, pem.slice(100, 130)],
    ['a PEM that is cut off', `key ${pem.slice(0, 600)}`, pem.slice(100, 130)],
    ['a line of a PEM', `at ${pem.split('\n')[5]}`, (pem.split('\n')[5] ?? '').slice(10, 40)],
    ['a JSON web token', 'eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0.c2lnbmF0dXJl', 'c2lnbm'],
    ['one without its signature', 'eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJ4In0', 'eyJpc3'],
  ])('hides %s', (_, text, part) => {
    expect(text).toContain(part);
    expect(withoutSecrets(text)).not.toContain(part);
  });

  it('knows a secret it was told of in other writings, too', () => {
    const redactor = createRedactor();
    const token = 'my "own" tökén/1';
    redactor.hide(token);
    redactor.hidePasswordOf('postgres://me:p@ss/w0rd-x@db/x');
    redactor.hidePasswordOf('postgres://db/x?password=parameter-1');
    const forms = [
      token,
      encodeURIComponent(token),
      JSON.stringify(token),
      Buffer.from(token).toString('base64'),
    ];
    for (const form of [...forms, 'p@ss/w0rd-x', 'parameter-1']) {
      expect(redactor.redact(`x ${form} y`)).not.toContain(form.slice(2, -2));
    }
  });

  const words = fc.constantFrom(
    'schuhe',
    'Herren-Schuhe',
    'Sommer2024',
    'p',
    'XL',
    'index.html',
    'a_b',
    'Größe',
    'API',
  );
  const path = fc.array(words, { maxLength: 12 }).map((parts) => parts.join('/'));
  it('leaves the URLs of properties, hashes and ordinary words alone', () => {
    fc.assert(
      fc.property(path, fc.uuid(), fc.stringMatching(/^[0-9a-f]{40}$/), (tail, id, hash) => {
        for (const text of [
          `https://www.example.com/${tail}/`,
          `trace ${id} of ${hash}`,
          `sc-domain:${id}.example`,
        ]) {
          expect(withoutSecrets(text)).toBe(text);
          expect(mayBeSecret(text)).toBe(false);
        }
      }),
    );
  });

  it.each([
    'https://console.developers.google.com/apis/api/searchconsole.googleapis.com/overview?project=123456789012',
    'https://support.google.com/webmasters/answer/7687615?hl=en&ref_topic=9456557#zippy=%2Cadd-an-owner',
    'gcloud auth application-default login --scopes=https://www.googleapis.com/auth/webmasters.readonly,https://www.googleapis.com/auth/cloud-platform',
    'Write it as postgres://user:password@host:5432/database (with %40 for an @ in the password).',
    'PGPASSWORD="$(cat .longtail/password)" psql -h 127.0.0.1 -p 5432 -U longtail longtail',
    'password authentication failed for user "me"',
    'The access token is empty or contains characters that no token has.',
    'POST /webmasters/v3/sites/https%3A%2F%2Fwww.example.com%2F/searchAnalytics/query?prettyPrint=false',
  ])('leaves %j whole', (text) => {
    expect(withoutSecrets(text)).toBe(text);
  });

  it('is quick with what is long and hostile', () => {
    const startedAt = performance.now();
    for (const unit of [
      'password',
      'a',
      '-----BEGIN PRIVATE KEY-----',
      'x://a:',
      '\\"',
      "authorization: '",
      'eyJ',
      '%3A%2F%2F',
    ]) {
      withoutSecrets(unit.repeat(2_000));
    }
    expect(performance.now() - startedAt).toBeLessThan(10_000);
  });
});

describe('the password of --database-url', () => {
  const { run, start } = useLongtail();
  let emulator: Emulator;
  let database: TestDatabase;
  let withPassword = '';
  let password = '';
  beforeAll(async () => {
    [emulator, database] = await Promise.all([
      startEmulator({ rowsPerDay: 20, sites: [SITE] }),
      testDatabase(),
    ]);
    const url = new URL(database.url);
    // A server that trusts everyone takes any.
    if (url.password === '') url.password = PASSWORD;
    withPassword = url.href;
    password = url.password;
  });
  afterAll(() => Promise.all([emulator.close(), database.close()]));
  const args = (more: readonly string[] = []) => [
    'sync',
    '--site',
    SITE,
    '--days',
    '2',
    '--database-url',
    withPassword,
    ...more,
  ];
  const env = (more: Readonly<Record<string, string>> = {}) => ({
    env: { LONGTAIL_ACCESS_TOKEN: 'a-token', LONGTAIL_API_ROOT: emulator.url, ...more },
  });

  it.each(['http/json', 'http/protobuf'])(
    'is not in what goes to an OTLP receiver as %s',
    async (protocol) => {
      const bodies: Buffer[] = [];
      const server = createServer(async (request, response) => {
        for await (const chunk of request) bodies.push(chunk as Buffer);
        response.end('{}');
      });
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      try {
        const { port } = server.address() as AddressInfo;
        const { code } = await run(
          args(),
          env({
            OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}`,
            OTEL_EXPORTER_OTLP_PROTOCOL: protocol,
            OTEL_NODE_RESOURCE_DETECTORS: 'all',
            OTEL_RESOURCE_ATTRIBUTES: 'team=search',
          }),
        );
        expect(code).toBe(0);
      } finally {
        server.closeAllConnections();
        server.close();
      }
      const sent = Buffer.concat(bodies).toString('latin1');
      expect(sent).toContain('longtail.run');
      expect(sent).toContain('team');
      expect(sent).not.toContain(password);
      expect(sent).not.toContain('--database-url');
      expect(sent).not.toContain('a-token');
      expect(sent).not.toMatch(/process\.command/);
    },
  );

  it('is not on the console, whatever is asked to be written there', async () => {
    const { stdout, stderr } = await run(
      args(['--log-level', 'trace']),
      env({ OTEL_TRACES_EXPORTER: 'console', OTEL_METRICS_EXPORTER: 'console', OTEL_LOG_LEVEL: 'debug' }),
    );
    expect(stdout).toContain('longtail.run');
    expect(stdout + stderr).not.toContain(password);
    expect(stdout + stderr).not.toContain('a-token');
    expect(stdout).not.toMatch(/process\.command/);
  });

  it('is not in the resource of other exporters: the process is never asked for', () => {
    expect(resourceDetectors({})).toBe('env,host,os,serviceinstance');
    expect(resourceDetectors({ OTEL_NODE_RESOURCE_DETECTORS: 'env, process' })).toBe('env');
    // The version of this package comes by the variables, whatever is asked for.
    expect(resourceDetectors({ OTEL_NODE_RESOURCE_DETECTORS: 'process' })).toBe('env');
    expect(resourceDetectors({ OTEL_NODE_RESOURCE_DETECTORS: 'none' })).toBe('env');
  });

  it.runIf(process.platform === 'linux')(
    'is not on the process’s command line once it has begun',
    async () => {
      const slow = await startEmulator({ rowsPerDay: 20, sites: [SITE], latencyMs: 60_000 });
      try {
        const { child } = start(args(), env({ LONGTAIL_API_ROOT: slow.url }));
        const words = () => readFileSync(`/proc/${child.pid}/cmdline`, 'utf8');
        await expect.poll(words, { timeout: 20_000 }).toContain('sync --site');
        expect(words()).not.toContain(password);
      } finally {
        await slow.close();
      }
    },
  );

  it.each([
    ['is wrong in the URL', (url: string) => url.replace('postgres', 'mysql')],
    ['leads nowhere', () => `postgres://me:${PASSWORD}@127.0.0.1:1/x`],
    ['has an unescaped sign', () => `postgres://me:${PASSWORD}/%x@127.0.0.1:1/x`],
    ['is a parameter', () => `postgres://me@127.0.0.1:1/x?password=${PASSWORD}`],
  ])('is in no error, when it %s', async (_, spoil) => {
    for (const level of [[], ['--log-level', 'trace']]) {
      const line = ['sync', '--site', SITE, '--days', '1', ...level];
      const option = await run([...line, '--database-url', spoil(withPassword)], env());
      const variable = await run(line, env({ DATABASE_URL: spoil(withPassword) }));
      for (const { code, stdout, stderr } of [option, variable]) {
        expect(code).not.toBe(0);
        expect(stdout + stderr).not.toContain(PASSWORD);
        expect(stdout + stderr).not.toContain(password);
      }
    }
  });
});
