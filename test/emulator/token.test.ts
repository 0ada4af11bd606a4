import { createSign, generateKeyPairSync } from 'node:crypto';
import { afterEach, describe, expect, it } from 'vitest';
import { type Emulator, type EmulatorOptions, startEmulator } from '../../src/emulator/index.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { batch, query, TODAY } from './support.ts';

const NOW_MS = 1_780_000_000_000;
const DAY = { startDate: '2026-05-01', endDate: '2026-05-01' };
const KEYS = generateKeyPairSync('rsa', {
  modulusLength: 2048,
  publicKeyEncoding: { type: 'spki', format: 'pem' },
  privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
});

let emulator: Emulator | undefined;
afterEach(async () => {
  await emulator?.close();
  emulator = undefined;
});

async function start(
  tokens: EmulatorOptions['tokens'] = {},
): Promise<{ server: Emulator; clock: ManualClock }> {
  const clock = new ManualClock(NOW_MS);
  emulator = await startEmulator({ today: TODAY, rowsPerDay: 20, clock, tokens: tokens ?? {} });
  return { server: emulator, clock };
}

async function token(
  server: Emulator,
  fields: Record<string, string>,
): Promise<{ status: number; body: Record<string, unknown> }> {
  const response = await fetch(`${server.url}token`, { method: 'POST', body: new URLSearchParams(fields) });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

const REFRESH = { grant_type: 'refresh_token', client_id: 'c', client_secret: 's', refresh_token: 'r' };

function assertion(claims: object = {}, header: object = {}): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const now = NOW_MS / 1_000;
  const text = `${part({ alg: 'RS256', typ: 'JWT', ...header })}.${part({
    iss: 'robot@project.iam.gserviceaccount.com',
    aud: 'https://oauth2.googleapis.com/token',
    scope: 'https://www.googleapis.com/auth/webmasters.readonly',
    iat: now,
    exp: now + 3_600,
    ...claims,
  })}`;
  return `${text}.${createSign('RSA-SHA256').update(text).sign(KEYS.privateKey, 'base64url')}`;
}
const bearer = (text: string): Record<string, string> => ({
  grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer',
  assertion: text,
});

describe('refresh tokens', () => {
  it('give access tokens, of the same user each time', async () => {
    const { server } = await start({ requireIssuedTokens: true });
    const first = await token(server, REFRESH);
    expect(first).toEqual({
      status: 200,
      body: {
        access_token: expect.any(String),
        expires_in: 3_599,
        scope: 'https://www.googleapis.com/auth/webmasters.readonly',
        token_type: 'Bearer',
      },
    });
    const second = await token(server, REFRESH);
    const other = await token(server, { ...REFRESH, refresh_token: 'another' });
    for (const { body } of [first, second, other]) {
      expect((await query(server, DAY, { token: String(body.access_token) })).status).toBe(200);
    }
    const [one, two, three] = server.requests.map(({ user }) => user);
    expect(one).toBe(two);
    expect(one).not.toBe(three);
  });

  it('revoked, incomplete, or of another kind', async () => {
    const { server } = await start({ revoked: ['r'] });
    expect(await token(server, REFRESH)).toEqual({
      status: 400,
      body: { error: 'invalid_grant', error_description: 'Token has been expired or revoked.' },
    });
    expect((await token(server, { ...REFRESH, client_id: '' })).body.error).toBe('invalid_request');
    expect((await token(server, {})).body.error).toBe('invalid_request');
    expect((await token(server, { grant_type: 'password' })).body.error).toBe('unsupported_grant_type');
  });
});

describe('service accounts', () => {
  it('get a token for an assertion signed with their key', async () => {
    const { server } = await start({ publicKey: KEYS.publicKey, requireIssuedTokens: true, expiresInS: 60 });
    const { status, body } = await token(server, bearer(assertion()));
    expect(status).toBe(200);
    expect(body.expires_in).toBe(60);
    expect((await query(server, DAY, { token: String(body.access_token) })).status).toBe(200);
    expect(server.requests[0]?.user).toBe('robot@project.iam.gserviceaccount.com');
  });

  it.each([
    ['too old', assertion({ iat: 1, exp: 3_600 })],
    ['too long', assertion({ exp: NOW_MS / 1_000 + 9_000 })],
    ['without issuer', assertion({ iss: undefined })],
    ['another algorithm', assertion({}, { alg: 'none' })],
    ['not three parts', 'a.b'],
    ['changed after signing', assertion().replace(/\.[^.]+\./, `.${assertion({ iss: 'x' }).split('.')[1]}.`)],
    ['revoked', assertion({ iss: 'gone' })],
  ])('%s: invalid_grant', async (_, text) => {
    const { server } = await start({ publicKey: KEYS.publicKey, revoked: ['gone'] });
    expect(await token(server, bearer(text))).toMatchObject({
      status: 400,
      body: { error: 'invalid_grant' },
    });
  });

  it('take any well-formed signature without a key to check it by', async () => {
    const { server } = await start();
    expect((await token(server, bearer(assertion().replace(/\.[^.]+$/, '.AAAA')))).status).toBe(200);
  });
});

describe('access tokens', () => {
  it('may be anything by default, but must be there; no record holds them', async () => {
    const { server } = await start();
    expect((await query(server, DAY, { token: 'my-secret' })).status).toBe(200);
    expect((await query(server, DAY, { token: '' })).status).toBe(401);
    expect(JSON.stringify(server.requests)).not.toContain('my-secret');
  });

  it('must be issued here and not be expired, when so wanted', async () => {
    const { server, clock } = await start({ requireIssuedTokens: true, expiresInS: 100 });
    expect((await query(server, DAY)).status).toBe(401);
    expect((await batch(server, [DAY])).status).toBe(401);
    const { body } = await token(server, REFRESH);
    const mine = { token: String(body.access_token) };
    clock.advance(99_999);
    expect((await query(server, DAY, mine)).status).toBe(200);
    clock.advance(1);
    expect((await query(server, DAY, mine)).status).toBe(401);
  });

  it('expire at once by order or by a fault', async () => {
    const { server } = await start();
    const mine = async (): Promise<{ token: string }> => ({
      token: String((await token(server, REFRESH)).body.access_token),
    });
    const first = await mine();
    server.expireTokens();
    expect((await query(server, DAY, first)).status).toBe(401);
    const second = await mine();
    server.setFaults({ rules: [{ nth: 1, match: { endpoint: 'query' }, action: { kind: 'expireTokens' } }] });
    expect((await query(server, DAY, second)).status).toBe(200);
    expect((await query(server, DAY, second)).status).toBe(401);
    expect((await query(server, DAY, await mine())).status).toBe(200);
  });

  it('the endpoint itself can fail', async () => {
    const { server } = await start();
    server.setFaults({ rules: [{ match: { endpoint: 'token' }, action: { kind: 'status', status: 503 } }] });
    expect((await token(server, REFRESH)).status).toBe(503);
    expect((await fetch(`${server.url}token`)).status).toBe(503);
  });
});
