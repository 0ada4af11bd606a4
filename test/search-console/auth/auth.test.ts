import { createVerify, generateKeyPairSync } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { LongtailError } from '../../../src/domain/errors.ts';
import { type AuthOptions, createAuth } from '../../../src/search-console/auth/auth.ts';
import { ManualClock } from '../../support/manual-clock.ts';
import { until } from '../../support/until.ts';
import { deadPort, type HttpHost, httpHost } from '../support/servers.ts';

const { privateKey, publicKey } = generateKeyPairSync('rsa', {
  modulusLength: 2048,
  publicKeyEncoding: { type: 'spki', format: 'pem' },
  privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
});
const USER = {
  type: 'authorized_user',
  client_id: '4711-x.apps.googleusercontent.com',
  client_secret: 'the-client-secret',
  refresh_token: 'the-refresh-token',
};
const SERVICE = {
  type: 'service_account',
  project_id: 'my-project',
  private_key_id: 'k1',
  private_key: privateKey,
  client_email: 'bot@my-project.iam.gserviceaccount.com',
  client_id: '1',
  token_uri: 'https://oauth2.googleapis.com/token',
};
const SECRETS = ['the-client-secret', 'the-refresh-token', privateKey.split('\n')[1] ?? '', 'secret-token'];

let folder = '';
let files = 0;
let host: HttpHost;
/** What the token endpoint says next; without more, tokens `t1`, `t2` and so on. */
let answers: { status: number; body: unknown }[] = [];
let given = 0;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'longtail-auth-'));
  host = await httpHost((_request, response) => {
    const next = answers.shift() ?? {
      status: 200,
      body: { access_token: `t${++given}`, expires_in: 3600, token_type: 'Bearer' },
    };
    const isText = typeof next.body === 'string';
    response.writeHead(next.status, { 'content-type': isText ? 'text/html' : 'application/json' });
    response.end(isText ? next.body : JSON.stringify(next.body));
  });
});
afterAll(async () => {
  await host[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});
const warn = vi.spyOn(console, 'warn');
beforeEach(() => {
  answers = [];
  given = 0;
  (host.requests as unknown[]).length = 0;
  warn.mockClear();
});
afterEach(() => expect(warn).not.toHaveBeenCalled());

async function file(content: unknown): Promise<string> {
  const path = join(folder, `${++files}.json`);
  await writeFile(path, typeof content === 'string' ? content : JSON.stringify(content));
  return path;
}

const withFile = async (content: unknown, options: AuthOptions = {}) =>
  createAuth({
    credentials: { file: await file(content) },
    tokenUrl: `${host.root}token`,
    clock: new ManualClock(1_700_000_000_000),
    ...options,
  });

/** The error a creation ends with; it names a next step and shows no secret. */
async function refusal(creation: Promise<unknown>): Promise<LongtailError> {
  const error = await creation.then(
    () => 'nothing was thrown',
    (reason: unknown) => reason,
  );
  if (!(error instanceof LongtailError)) throw new Error(`not a LongtailError: ${String(error)}`);
  expect(error.nextStep).not.toBe('');
  noSecrets(error.message, error.nextStep, error.stack, error.cause);
  return error;
}

function noSecrets(...told: unknown[]): void {
  for (const secret of SECRETS) expect(JSON.stringify(told)).not.toContain(secret);
}

describe('a user’s credentials', () => {
  it('are exchanged for a token at the given endpoint, once', async () => {
    const auth = await withFile({ ...USER, quota_project_id: 'quota-project' });
    expect(host.requests).toEqual([]);
    const tokens = await Promise.all([auth.token(), auth.token()]);
    expect(tokens).toEqual([
      { kind: 'token', token: 't1' },
      { kind: 'token', token: 't1' },
    ]);
    expect(await auth.token()).toEqual({ kind: 'token', token: 't1' });
    expect(host.requests).toHaveLength(1);
    const [request] = host.requests;
    expect(request).toMatchObject({ method: 'POST', path: '/token' });
    expect(Object.fromEntries(new URLSearchParams(request?.body))).toEqual({
      grant_type: 'refresh_token',
      client_id: USER.client_id,
      client_secret: USER.client_secret,
      refresh_token: USER.refresh_token,
    });
  });

  it('say who asks without giving a secret away', async () => {
    const auth = await withFile({ ...USER, quota_project_id: 'quota-project' });
    expect(auth.identity).toEqual({
      userScope: expect.stringMatching(/^user:[0-9a-f]{16}$/),
      projectScope: 'project:quota-project',
      quotaProjectId: 'quota-project',
    });
    const same = await withFile(USER);
    expect(same.identity).toEqual({
      userScope: auth.identity.userScope,
      projectScope: 'project:4711',
      quotaProjectId: null,
    });
    const other = await withFile({ ...USER, refresh_token: 'another' });
    expect(other.identity.userScope).not.toBe(same.identity.userScope);
    noSecrets(auth.identity);
  });

  it('that were revoked are said to be, with what to do', async () => {
    answers = [
      {
        status: 400,
        body: { error: 'invalid_grant', error_description: 'Token has been expired or revoked.' },
      },
    ];
    const told = await (await withFile(USER)).token();
    expect(told).toMatchObject({
      kind: 'failed',
      code: 'INVALID_GRANT',
      reason:
        'Google no longer accepts these credentials (invalid_grant: Token has been expired or revoked.).',
      nextStep: expect.stringContaining('gcloud auth application-default login'),
    });
    noSecrets(told);
  });
});

describe('a service account', () => {
  it('signs for a token at the given endpoint, though the library knows no such setting', async () => {
    const auth = await withFile(SERVICE);
    expect(auth.identity).toEqual({
      userScope: `user:${SERVICE.client_email}`,
      projectScope: 'project:my-project',
      quotaProjectId: null,
      serviceAccountEmail: SERVICE.client_email,
    });
    expect(await auth.token()).toEqual({ kind: 'token', token: 't1' });
    const form = new URLSearchParams(host.requests[0]?.body);
    expect(form.get('grant_type')).toBe('urn:ietf:params:oauth:grant-type:jwt-bearer');
    const [header = '', payload = '', signature = ''] = (form.get('assertion') ?? '').split('.');
    const isSigned = createVerify('RSA-SHA256')
      .update(`${header}.${payload}`)
      .verify(publicKey, signature, 'base64url');
    expect(isSigned).toBe(true);
    expect(JSON.parse(Buffer.from(payload, 'base64url').toString())).toMatchObject({
      iss: SERVICE.client_email,
      scope: 'https://www.googleapis.com/auth/webmasters.readonly',
    });
  });

  it('whose key was deleted is named, with what to do', async () => {
    answers = [
      { status: 400, body: { error: 'invalid_grant', error_description: 'Invalid JWT Signature.' } },
    ];
    const told = await (await withFile(SERVICE)).token();
    expect(told).toMatchObject({
      kind: 'failed',
      code: 'INVALID_GRANT',
      nextStep: expect.stringContaining(SERVICE.client_email),
    });
    noSecrets(told);
  });

  it('with a key that is none is refused without a call', async () => {
    const error = await refusal(
      withFile({
        ...SERVICE,
        private_key: '-----BEGIN PRIVATE KEY-----\nbm9uZQ==\n-----END PRIVATE KEY-----\n',
      }),
    );
    expect(error).toMatchObject({ code: 'BAD_CREDENTIALS', message: expect.stringContaining('private_key') });
    expect(host.requests).toEqual([]);
  });
});

describe('an external account', () => {
  const external = (tokenUrl: string, subject: string) => ({
    type: 'external_account',
    audience: '//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/x',
    subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
    token_url: tokenUrl,
    credential_source: { file: subject },
  });

  it('exchanges what it has for a token at its own endpoint', async () => {
    answers = [
      {
        status: 200,
        body: { access_token: 'sts', expires_in: 3600, token_type: 'Bearer', issued_token_type: 'x' },
      },
    ];
    const auth = await withFile(external(`${host.root}v1/token`, await file('subject')));
    expect(auth.identity.userScope).toMatch(/^user:[0-9a-f]{16}$/);
    expect(await auth.token()).toEqual({ kind: 'token', token: 'sts' });
    expect(host.requests[0]?.path).toBe('/v1/token');
    expect(new URLSearchParams(host.requests[0]?.body).get('scope')).toContain('webmasters.readonly');
  });

  it('sends no proof of identity over an open line', async () => {
    const error = await refusal(withFile(external('http://sts.example.com/v1/token', await file('subject'))));
    expect(error).toMatchObject({
      code: 'INSECURE_ROOT',
      message: expect.stringContaining('http://sts.example.com'),
    });
  });

  it('is known by the service account it stands for', async () => {
    const { identity } = await withFile({
      ...external(`${host.root}v1/token`, 'x'),
      service_account_impersonation_url:
        'https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/bot@p.iam.gserviceaccount.com:generateAccessToken',
    });
    expect(identity).toMatchObject({
      userScope: 'user:bot@p.iam.gserviceaccount.com',
      serviceAccountEmail: 'bot@p.iam.gserviceaccount.com',
    });
  });
});

describe('a token endpoint that does not give one', () => {
  it.each([
    [500, '<html>oops</html>', { kind: 'unavailable' }],
    [
      503,
      { error: 'temporarily_unavailable' },
      { kind: 'unavailable', reason: 'The token endpoint answered 503 temporarily_unavailable' },
    ],
    [429, '', { kind: 'unavailable' }],
    [
      401,
      { error: 'invalid_client', error_description: 'The OAuth client was not found.' },
      {
        kind: 'failed',
        code: 'BAD_CREDENTIALS',
        reason: 'No access token could be obtained: invalid_client: The OAuth client was not found.',
      },
    ],
    [404, '<html>', { kind: 'failed', code: 'BAD_CREDENTIALS' }],
    [307, '', { kind: 'unavailable' }],
    [200, {}, { kind: 'failed', code: 'BAD_CREDENTIALS' }],
  ])('with %i %j', async (status, body, expected) => {
    for (const content of [USER, SERVICE]) {
      answers = [{ status, body }];
      const auth = await withFile(content);
      const told = await auth.token();
      expect(told).toMatchObject(expected);
      noSecrets(told);
      // No attempt of the library's own; and one failure is not kept.
      expect(answers).toEqual([]);
      expect(await auth.token()).toMatchObject({ kind: 'token' });
    }
  });

  it('and repeats the secret it was sent', async () => {
    answers = [
      { status: 400, body: { error: 'invalid_client', error_description: 'not the-client-secret' } },
    ];
    const told = await (await withFile(USER)).token();
    expect(told).toMatchObject({ reason: 'No access token could be obtained: invalid_client: not [secret]' });
  });

  it('because nobody is there', async () => {
    const auth = await withFile(USER, { tokenUrl: `http://127.0.0.1:${await deadPort()}/token` });
    const told = await auth.token();
    expect(told).toMatchObject({ kind: 'unavailable', reason: expect.stringContaining('ECONNREFUSED') });
    noSecrets(told);
  });

  it('is never asked over an open line', async () => {
    await expect(withFile(USER, { tokenUrl: 'http://example.com/token' })).rejects.toMatchObject({
      code: 'INSECURE_ROOT',
    });
  });
});

describe('files that are of no use', () => {
  it.each([
    ['not JSON', 'the-client-secret {', 'BAD_CREDENTIALS', 'is not JSON'],
    ['an array', [1], 'BAD_CREDENTIALS', 'is not a JSON object'],
    [
      'an OAuth client',
      { installed: { client_id: 'x', client_secret: 'the-client-secret' } },
      'BAD_CREDENTIALS',
      'describes an OAuth client',
    ],
    ['no type', {}, 'BAD_CREDENTIALS', 'has no "type"'],
    ['an unknown type', { type: 'magic' }, 'BAD_CREDENTIALS', 'has the type "magic"'],
    ['a type of Object’s own', { type: 'constructor' }, 'BAD_CREDENTIALS', 'has the type "constructor"'],
    [
      'a user without a refresh token',
      { ...USER, refresh_token: undefined },
      'BAD_CREDENTIALS',
      'lacks refresh_token',
    ],
    [
      'a service account without a key',
      { ...SERVICE, private_key: '' },
      'BAD_CREDENTIALS',
      'lacks private_key',
    ],
  ])('%s', async (_name, content, code, message) => {
    const error = await refusal(withFile(content));
    expect(error.code).toBe(code);
    expect(error.message).toContain(message);
  });

  it('one that is not there', async () => {
    const error = await refusal(createAuth({ credentials: { file: join(folder, 'nowhere.json') } }));
    expect(error).toMatchObject({ code: 'NO_CREDENTIALS', message: expect.stringContaining('nowhere.json') });
  });
});

describe('Application Default Credentials', () => {
  it('are the file that the environment names', async () => {
    const env = { GOOGLE_APPLICATION_CREDENTIALS: await file(SERVICE) };
    expect((await createAuth({ env })).identity.serviceAccountEmail).toBe(SERVICE.client_email);
    const error = await refusal(createAuth({ env: { GOOGLE_APPLICATION_CREDENTIALS: '/nowhere/at/all' } }));
    expect(error.code).toBe('NO_CREDENTIALS');
  });

  it('or what gcloud left', async () => {
    await writeFile(join(folder, 'application_default_credentials.json'), JSON.stringify(USER));
    expect((await createAuth({ env: { CLOUDSDK_CONFIG: folder } })).identity.projectScope).toBe(
      'project:4711',
    );
  });

  it('or none, which is said with what to do', async () => {
    vi.stubEnv('METADATA_SERVER_DETECTION', 'none');
    vi.stubEnv('GOOGLE_APPLICATION_CREDENTIALS', undefined);
    vi.stubEnv('CLOUDSDK_CONFIG', join(folder, 'empty'));
    try {
      const error = await refusal(createAuth({ env: { CLOUDSDK_CONFIG: join(folder, 'empty') } }));
      expect(error).toMatchObject({
        code: 'NO_CREDENTIALS',
        nextStep: expect.stringContaining('--credentials'),
      });
    } finally {
      vi.unstubAllEnvs();
    }
  });
});

describe('a refused token', () => {
  it('is replaced once; a replacement that is refused, too, is the end', async () => {
    const auth = await withFile(USER);
    await auth.token();
    expect(await auth.refused('t1')).toBe('retry');
    // Others that still held it, too.
    expect(await auth.refused('t1')).toBe('retry');
    expect(await Promise.all([auth.token(), auth.token()])).toEqual([
      { kind: 'token', token: 't2' },
      { kind: 'token', token: 't2' },
    ]);
    expect(await auth.refused('t1')).toBe('retry');
    expect(await auth.token()).toEqual({ kind: 'token', token: 't2' });
    expect(await auth.refused('t2')).toBe('fatal');
    expect(await auth.refused('t2')).toBe('fatal');
    expect(host.requests).toHaveLength(2);
  });

  it('may be replaced again when the replacement had worked', async () => {
    const auth = await withFile(SERVICE);
    await auth.token();
    await auth.refused('t1');
    await auth.token();
    auth.succeeded('t1');
    expect(await auth.refused('t2')).toBe('fatal');
    auth.succeeded('t2');
    expect(await auth.refused('t2')).toBe('retry');
    expect(await auth.token()).toEqual({ kind: 'token', token: 't3' });
    expect(host.requests).toHaveLength(3);
  });

  it('is asked to be replaced again when the endpoint was away', async () => {
    const auth = await withFile(USER);
    await auth.token();
    await auth.refused('t1');
    answers = [{ status: 503, body: '' }];
    expect(await auth.token()).toMatchObject({ kind: 'unavailable' });
    expect(await auth.token()).toEqual({ kind: 'token', token: 't2' });
    expect(await auth.refused('t2')).toBe('fatal');
  });

  it('that was given is the only one', async () => {
    const auth = await createAuth({ credentials: { accessToken: 'secret-token' } });
    expect(await auth.token()).toEqual({ kind: 'token', token: 'secret-token' });
    expect(auth.identity).toEqual({
      userScope: 'user:unknown',
      projectScope: null,
      quotaProjectId: null,
    });
    noSecrets(auth.identity);
    expect(await auth.refused('secret-token')).toBe('fatal');
  });

  it.each(['', 'two words', 'line\nbreak', 'Bearer x', 'é'])(
    '"%s" is no token to begin with',
    async (accessToken) => {
      expect(await refusal(createAuth({ credentials: { accessToken } }))).toMatchObject({
        code: 'BAD_CREDENTIALS',
      });
    },
  );
});

describe('the caller’s own function', () => {
  it('is asked each time, and once more after a refusal', async () => {
    let count = 0;
    const auth = await createAuth({
      credentials: { getAccessToken: async () => `own${Math.min(++count, 3)}` },
    });
    expect(auth.identity.userScope).toBe('user:unknown');
    expect(await auth.token()).toEqual({ kind: 'token', token: 'own2' });
    expect(await auth.refused('own2')).toBe('retry');
    expect(await auth.token()).toEqual({ kind: 'token', token: 'own3' });
    expect(await auth.refused('own3')).toBe('fatal');
  });

  it('that gives the refused token again is the end', async () => {
    const auth = await createAuth({ credentials: { getAccessToken: () => 'always' } });
    await auth.token();
    expect(await auth.refused('always')).toBe('retry');
    expect(await auth.token()).toEqual({ kind: 'token', token: 'always' });
    expect(await auth.refused('always')).toBe('fatal');
  });

  it('may fail for a while, and says why', async () => {
    let fails = false;
    const getAccessToken = () => {
      if (fails) throw new Error('vault sealed, Bearer secret-token');
      return 'own';
    };
    const auth = await createAuth({ credentials: { getAccessToken } });
    fails = true;
    expect(await auth.token()).toEqual({
      kind: 'unavailable',
      reason: 'getAccessToken failed: vault sealed, [secret]',
    });
    expect(await refusal(createAuth({ credentials: { getAccessToken } }))).toMatchObject({
      code: 'NO_CREDENTIALS',
    });
    fails = false;
    expect(await auth.token()).toEqual({ kind: 'token', token: 'own' });
  });

  it('that gives no string is said to', async () => {
    const getAccessToken = (() => undefined) as unknown as () => string;
    expect(await refusal(createAuth({ credentials: { getAccessToken } }))).toMatchObject({
      code: 'BAD_CREDENTIALS',
    });
  });

  it('that never answers is not waited for without end', async () => {
    let calls = 0;
    const clock = new ManualClock(1_700_000_000_000);
    const getAccessToken = () => (++calls === 1 ? 'own' : new Promise<string>(() => undefined));
    const auth = await createAuth({ credentials: { getAccessToken }, clock, tokenTimeoutMs: 500 });
    const waiting = auth.token();
    await until(() => clock.pending.length === 1);
    clock.advance(500);
    expect(await waiting).toEqual({ kind: 'unavailable', reason: 'No access token arrived within 500 ms.' });
  });
});
