import http from 'node:http';
import https from 'node:https';
import { type AuthClient, GoogleAuth } from 'google-auth-library';
import { systemClock } from '../../domain/clock.ts';
import { LongtailError } from '../../domain/errors.ts';
import { oneLine } from '../answer/one-line.ts';
import { type Environment, PROXY_SIGN_IN, PROXY_SIGN_IN_STEP, proxyFor } from '../http/proxy-settings.ts';
import { ProxyTunnel } from '../http/proxy-tunnel.ts';
import { adviceOnIssuer } from '../http/unknown-issuer.ts';
import { isSafeForSecrets } from '../request/root.ts';
import { type CredentialsFile, type Identity, READ_SCOPE } from './credentials-file.ts';
import { type ClientSettings, makeGoogleClient } from './google-clients.ts';
import type { TokenResult, TokenSource } from './token-source.ts';

const GOOGLE_TOKEN_HOSTS = new Set(['oauth2.googleapis.com', 'www.googleapis.com', 'accounts.google.com']);
const TOKEN_PATH = /\/(?:token|oauth2\/v\d\/token)$/;
const REQUEST_TIMEOUT_MS = 30_000;
const CONNECT_TIMEOUT_MS = 10_000;
/** Fields of a credentials file that must never be shown. */
const SECRET_FIELDS = ['client_secret', 'refresh_token', 'private_key', 'private_key_id'];

/** How token requests are sent. */
export interface TokenWay {
  /** Replaces Google's token endpoint. */
  readonly tokenUrl: string | undefined;
  /** Environment with the proxy settings. */
  readonly env: Environment;
}

/**
 * Tokens from a credentials file. google-auth-library gets tokens and sends no API requests: it may send
 * a request twice, which could exceed the quota.
 */
export function tokensFromFile(file: CredentialsFile, way: TokenWay): TokenSource {
  const secrets = SECRET_FIELDS.map((name) => file.json[name]).filter((value) => typeof value === 'string');
  const makeClient = async () => makeGoogleClient(file.json, [READ_SCOPE], clientSettings(way));
  return new GoogleTokens(makeClient, (error) => explainTokenFailure(error, file, secrets));
}

/** Tokens from the machine's own credentials (Compute Engine, Cloud Run and similar). */
export async function tokensFromMachine(
  way: TokenWay,
): Promise<{ readonly source: TokenSource; readonly identity: Identity }> {
  const makeAuth = () => new GoogleAuth({ scopes: [READ_SCOPE], clientOptions: clientSettings(way) });
  try {
    const auth = makeAuth();
    await auth.getClient();
    const { client_email: email } = await auth.getCredentials();
    const project = await auth.getProjectId().catch(() => null);
    const identity: Identity = {
      userScope: `user:${email ?? 'machine'}`,
      projectScope: project === null ? null : `project:${project}`,
      quotaProjectId: null,
      ...(email !== undefined && { serviceAccountEmail: email }),
    };
    const makeClient = () => makeAuth().getClient();
    return { source: new GoogleTokens(makeClient, (error) => explainTokenFailure(error)), identity };
  } catch (error) {
    throw new LongtailError(
      'NO_CREDENTIALS',
      'There are no Google credentials: no file was named, gcloud has none, and this machine has none of its own.',
      'Give --credentials a service account key or set GOOGLE_APPLICATION_CREDENTIALS; the README says how to make one.',
      { cause: error instanceof LongtailError ? error : undefined },
    );
  }
}

/** A 200 whose body is not a JSON object: a proxy's page or a truncated answer. The library cannot handle it. */
class UnreadableAnswer extends Error {
  override readonly name = 'UnreadableAnswer';
}

class GoogleTokens implements TokenSource {
  readonly #makeClient: () => Promise<AuthClient>;
  readonly #explain: (error: unknown) => TokenResult;
  #client: AuthClient | undefined;

  constructor(makeClient: () => Promise<AuthClient>, explain: (error: unknown) => TokenResult) {
    this.#makeClient = makeClient;
    this.#explain = explain;
  }

  async get(renew: boolean): Promise<TokenResult> {
    try {
      // A new client has no cached token. Only this forces a new token for every kind of credentials.
      if (renew) this.#client = undefined;
      this.#client ??= await this.#makeClient();
      const { token } = await this.#client.getAccessToken();
      if (typeof token === 'string' && token !== '') return { kind: 'token', token };
      throw new Error('the answer of the token endpoint contains none');
    } catch (error) {
      return this.#explain(error);
    }
  }
}

function clientSettings({ tokenUrl, env }: TokenWay): ClientSettings {
  const adapter: ClientSettings['transporterOptions']['adapter'] = async (options, send) => {
    const asked = new URL(options.url);
    const url = tokenUrl !== undefined && isGoogleTokenUrl(asked) ? new URL(tokenUrl) : asked;
    if (options.method === 'POST' && !isSafeForSecrets(url)) {
      throw new LongtailError(
        'INSECURE_ROOT',
        `The credentials would be sent to ${url.origin}, which is neither https nor this machine.`,
        'Correct the URLs in the credentials file.',
      );
    }
    // A redirect would send the secret to another server.
    const answer = await send({ ...options, url, redirect: 'error' });
    const data: unknown = answer.data;
    if (options.method === 'POST' && answer.ok && (typeof data !== 'object' || data === null)) {
      throw new UnreadableAnswer();
    }
    return answer;
  };
  // The caller retries, not the library.
  return {
    transporterOptions: {
      adapter,
      // Replaces the library's proxy agent, which also uses the proxy for servers on this machine and passes on the proxy's
      // refusal as the server's answer.
      agent: (url) => agentFor(url, env),
      timeout: REQUEST_TIMEOUT_MS,
      retryConfig: { retry: 0 },
    },
  };
}

/** @throws LongtailError `BAD_OPTION` if the proxy setting is invalid. */
function agentFor(url: URL, env: Environment): http.Agent {
  if (url.protocol !== 'https:') return http.globalAgent;
  const proxy = proxyFor(url, env);
  if (proxy === undefined) return https.globalAgent;
  return new ProxyTunnel(proxy, { clock: systemClock, connectTimeoutMs: CONNECT_TIMEOUT_MS });
}

/** A service account's client ignores every setting for the token endpoint, so the URL is replaced in the request. */
function isGoogleTokenUrl(url: URL): boolean {
  return GOOGLE_TOKEN_HOSTS.has(url.hostname) && TOKEN_PATH.test(url.pathname);
}

/** Explains a failed token request. google-auth-library's errors contain the request with its secrets, so none is kept. */
export function explainTokenFailure(
  error: unknown,
  file?: Pick<CredentialsFile, 'type' | 'identity'>,
  secrets: readonly string[] = [],
): TokenResult {
  const ours = ownError(error);
  if (ours !== undefined)
    return { kind: 'failed', code: ours.code, reason: ours.message, nextStep: ours.nextStep };
  if (wraps(error, UnreadableAnswer)) {
    return { kind: 'unavailable', reason: 'The token endpoint gave an answer that cannot be read.' };
  }
  const { status, name, description } = answerOf(error);
  const said = oneLine([name, description].filter((part) => part !== '').join(': '), secrets);
  if (name === 'invalid_grant') return invalidGrant(said, file);
  const message = oneLine(error instanceof Error ? error.message : String(error), secrets);
  if (status === undefined && codeOf(error) === PROXY_SIGN_IN) {
    const reason = `The token endpoint cannot be reached: ${message}`;
    return { kind: 'failed', code: 'API_UNREACHABLE', reason, nextStep: PROXY_SIGN_IN_STEP };
  }
  if (status === undefined && isNetworkError(error)) {
    const advice = adviceOnIssuer(codeOf(error));
    return { kind: 'unavailable', reason: `The token endpoint cannot be reached: ${message}${advice}` };
  }
  if (status !== undefined && (status >= 500 || status === 429 || status === 408)) {
    return { kind: 'unavailable', reason: oneLine(`The token endpoint answered ${status} ${said}`) };
  }
  return {
    kind: 'failed',
    code: 'BAD_CREDENTIALS',
    reason: `No access token could be obtained: ${said || message}`,
    nextStep: 'Check that the credentials are complete and still valid, or create new ones.',
  };
}

function invalidGrant(
  said: string,
  file: Pick<CredentialsFile, 'type' | 'identity'> | undefined,
): TokenResult {
  const isKey = file?.type === 'service_account';
  return {
    kind: 'failed',
    code: 'INVALID_GRANT',
    reason: `Google no longer accepts these credentials (${said}).`,
    nextStep: isKey
      ? `Check this machine's clock, and that the key of ${file.identity.serviceAccountEmail ?? 'the service account'} was not deleted. Otherwise create a new key.`
      : `Sign in again: gcloud auth application-default login --scopes=${READ_SCOPE},https://www.googleapis.com/auth/cloud-platform`,
  };
}

/** Our own error, even if the library has wrapped it. */
const ownError = (error: unknown): LongtailError | undefined => wraps(error, LongtailError);

/** Finds an error of this class in the chain of causes. */
function wraps<E extends Error>(error: unknown, type: new (...args: never[]) => E): E | undefined {
  for (let at = error, depth = 0; at instanceof Error && depth < 5; at = at.cause, depth++) {
    if (at instanceof type) return at;
  }
  return undefined;
}

function answerOf(error: unknown): { status: number | undefined; name: string; description: string } {
  const response = property(error, 'response');
  const status = property(response, 'status');
  const data = property(response, 'data');
  const name = property(data, 'error');
  const description = property(data, 'error_description');
  return {
    status: typeof status === 'number' ? status : undefined,
    name: typeof name === 'string' ? name : '',
    description: typeof description === 'string' ? description : '',
  };
}

/** Whether a request failed. Errors without a request, such as an unreadable key, do not count. */
function isNetworkError(error: unknown): boolean {
  return property(error, 'config') !== undefined;
}

/** The code of the error, or of the error that it wraps. */
function codeOf(error: unknown): string {
  const code = property(error, 'code') ?? property(property(error, 'cause'), 'code');
  return typeof code === 'string' ? code : '';
}

function property(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
}
