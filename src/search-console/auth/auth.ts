import { type Clock, systemClock } from '../../domain/clock.ts';
import { LongtailError } from '../../domain/errors.ts';
import { wordsOf } from '../../domain/words.ts';
import { oneLine } from '../answer/one-line.ts';
import { secureUrl } from '../request/root.ts';
import type { Credentials } from './credentials.ts';
import { defaultCredentialsPath, type Identity, readCredentialsFile } from './credentials-file.ts';
import type { TokenWay } from './google-tokens.ts';
import { ownerOf, scopeOfAccount, type TokenInfoWay } from './token-info.ts';
import type { TokenResult, TokenSource } from './token-source.ts';

export type { Identity } from './credentials-file.ts';
export type { TokenResult } from './token-source.ts';

export interface AuthOptions {
  /** @default Application Default Credentials */
  readonly credentials?: Credentials | undefined;
  /** Replaces Google's token endpoint for user credentials and service accounts. */
  readonly tokenUrl?: string | undefined;
  /** Endpoint that returns the account of a token. Used only if no account is named. */
  readonly tokenInfoUrl?: string | undefined;
  readonly clock?: Clock;
  /** Maximum wait for one token in milliseconds. @default 60000 */
  readonly tokenTimeoutMs?: number;
  readonly env?: Readonly<Record<string, string | undefined>>;
}

export interface Auth {
  readonly identity: Identity;
  /** The current token. Concurrent calls share one request. Never rejects. */
  token(): Promise<TokenResult>;
  /**
   * Reports that the server answered 401 to `token`. `retry`: the next token is a new one. `fatal`: the token cannot be
   * renewed, or it is the renewed one and the server has never accepted it.
   */
  refused(token: string): Promise<'retry' | 'fatal'>;
  /** Reports that the server accepted `token`. */
  succeeded(token: string): void;
}

const DEFAULT_TOKEN_TIMEOUT_MS = 60_000;

/**
 * Determines the identity. Requests a token only if the identity cannot be known without one.
 * @throws LongtailError `NO_CREDENTIALS`, `BAD_CREDENTIALS`, `BAD_OPTION` or `INSECURE_ROOT`.
 */
export async function createAuth(options: AuthOptions = {}): Promise<Auth> {
  const tokenUrl =
    options.tokenUrl === undefined ? undefined : secureUrl(options.tokenUrl, '--token-url').href;
  const clock = options.clock ?? systemClock;
  const { source, identity, isFixed } = await openSource(options, tokenUrl);
  const timed = withDeadline(source, clock, options.tokenTimeoutMs ?? DEFAULT_TOKEN_TIMEOUT_MS);
  return new RenewingAuth(timed, identity, isFixed);
}

interface OpenedSource {
  readonly source: TokenSource;
  readonly identity: Identity;
  /** The token cannot be renewed. */
  readonly isFixed: boolean;
}

async function openSource(options: AuthOptions, tokenUrl: string | undefined): Promise<OpenedSource> {
  const { credentials } = options;
  const env = options.env ?? process.env;
  const account: AccountQuestion = {
    named: credentials?.account,
    tokenInfoUrl: options.tokenInfoUrl,
    way: { clock: options.clock ?? systemClock, env },
  };
  if (credentials !== undefined && 'accessToken' in credentials) {
    return fixedToken(credentials.accessToken, account);
  }
  if (credentials !== undefined && 'getAccessToken' in credentials) {
    return callersToken(credentials.getAccessToken, account);
  }
  const path = credentials !== undefined && 'file' in credentials ? credentials.file : undefined;
  const opened = await openFile(path, { tokenUrl, env });
  if (account.named === undefined) return opened;
  // Two sign-ins to one account produce two files, and neither names the account. The caller knows it.
  return { ...opened, identity: { ...opened.identity, userScope: scopeOfAccount(account.named) } };
}

/** How to determine the account of a token. */
interface AccountQuestion {
  readonly named: string | undefined;
  readonly tokenInfoUrl: string | undefined;
  readonly way: TokenInfoWay;
}

/** Opens the named file, otherwise Application Default Credentials. */
async function openFile(path: string | undefined, way: TokenWay): Promise<OpenedSource> {
  const { env } = way;
  if (path !== undefined) return fromFile(path, way);
  const found = defaultCredentialsPath(env, process.platform);
  if (found.named) return fromFile(found.path, way, 'GOOGLE_APPLICATION_CREDENTIALS');
  try {
    return await fromFile(found.path, way);
  } catch (error) {
    // Without a gcloud sign-in, the machine may have credentials, as on Compute Engine.
    if (!(error instanceof LongtailError) || error.code !== 'NO_CREDENTIALS') throw error;
    const { tokensFromMachine } = await googleTokens();
    return { ...(await tokensFromMachine(way)), isFixed: false };
  }
}

/** Loaded on demand: Google's library is large, and a given token does not need it. */
const googleTokens = () => import('./google-tokens.ts').catch(cannotLoad);

/** A bundle that is an ES module has no `require`, which the library needs. */
function cannotLoad(error: unknown): never {
  throw new LongtailError(
    'NO_CREDENTIALS',
    `google-auth-library, which reads credentials, cannot be loaded: ${error instanceof Error ? error.message : String(error)}`,
    'In a bundle: make it CommonJS, or give the ES module a `require` (docs/library.md, "Bundles and CommonJS"). Or sign in yourself, with credentials: { getAccessToken }.',
    { cause: error },
  );
}

async function fromFile(path: string, way: TokenWay, source?: string): Promise<OpenedSource> {
  const file = await readCredentialsFile(path, source);
  const { tokensFromFile } = await googleTokens();
  return { source: tokensFromFile(file, way), identity: file.identity, isFixed: false };
}

async function fixedToken(token: string, account: AccountQuestion): Promise<OpenedSource> {
  if (!isToken(token)) {
    throw new LongtailError(
      'BAD_CREDENTIALS',
      'The access token is empty or contains characters that no token has.',
      'Pass only the token, without "Bearer" and without line breaks.',
    );
  }
  return {
    source: { get: async () => ({ kind: 'token', token }) },
    identity: await identityOf(token, account),
    isFixed: true,
  };
}

/** Calls the function once, so that its error is reported before anything is opened. */
async function callersToken(
  getAccessToken: () => string | Promise<string>,
  account: AccountQuestion,
): Promise<OpenedSource> {
  const source: TokenSource = {
    get: async () => {
      try {
        const token = await getAccessToken();
        if (isToken(token)) return { kind: 'token', token };
        return {
          kind: 'failed',
          code: 'BAD_CREDENTIALS',
          reason: 'getAccessToken returned something that is not an access token.',
          nextStep: 'Return only the token, as a string.',
        };
      } catch (error) {
        return { kind: 'unavailable', reason: oneLine(`getAccessToken failed: ${wordsOf(error)}`) };
      }
    },
  };
  const first = await source.get(false);
  if (first.kind === 'token') {
    return { source, identity: await identityOf(first.token, account), isFixed: false };
  }
  if (first.kind === 'failed') throw new LongtailError(first.code, first.reason, first.nextStep);
  throw new LongtailError('NO_CREDENTIALS', first.reason, 'Make sure that getAccessToken returns a token.');
}

/** All unknown accounts share one budget. Together they may use less than Google allows, never more. */
const UNKNOWN_ACCOUNT = 'user:unknown';

/**
 * Determines whose quota a caller's tokens use. A token does not identify the account: it changes every hour, and
 * several may be valid at once, but the account has a single budget.
 */
async function identityOf(token: string, { named, tokenInfoUrl, way }: AccountQuestion): Promise<Identity> {
  const unknownAccount = { userScope: UNKNOWN_ACCOUNT, projectScope: null, quotaProjectId: null };
  if (named !== undefined) return { ...unknownAccount, userScope: scopeOfAccount(named) };
  if (tokenInfoUrl === undefined) return unknownAccount;
  const owner = await ownerOf(token, tokenInfoUrl, way);
  return owner.kind === 'known'
    ? { ...unknownAccount, userScope: owner.userScope }
    : { ...unknownAccount, accountProblem: owner.reason };
}

/** Whether the token is safe in a header: a line break would inject headers. */
const isToken = (token: unknown): token is string =>
  typeof token === 'string' && /^[\x21-\x7e]+$/.test(token);

/** Adds a timeout: a caller's function may hang. */
function withDeadline(source: TokenSource, clock: Clock, timeoutMs: number): TokenSource {
  return {
    get: (renew) => {
      const { promise, resolve } = Promise.withResolvers<TokenResult>();
      const timer = clock.setTimeout(
        () => resolve({ kind: 'unavailable', reason: `No access token arrived within ${timeoutMs} ms.` }),
        timeoutMs,
      );
      void source.get(renew).then((result) => {
        clock.clearTimeout(timer);
        resolve(result);
      });
      return promise;
    },
  };
}

/**
 * Renews a token once after a 401, and not again until the server has accepted the new one:
 *
 *   fresh ──refused──► (renewed) ──refused──► fatal
 *     ▲                    └──succeeded──┐
 *     └──────────────────────────────────┘
 */
class RenewingAuth implements Auth {
  readonly identity: Identity;
  readonly #source: TokenSource;
  readonly #isFixed: boolean;
  /** The last token, until it is refused. */
  #current: string | undefined;
  /** The renewed token, until the server accepts it. */
  #unproven: string | undefined;
  #mustRenew = false;
  #pending: Promise<TokenResult> | undefined;

  constructor(source: TokenSource, identity: Identity, isFixed: boolean) {
    this.#source = source;
    this.identity = identity;
    this.#isFixed = isFixed;
  }

  token(): Promise<TokenResult> {
    this.#pending ??= this.#get().finally(() => {
      this.#pending = undefined;
    });
    return this.#pending;
  }

  async refused(token: string): Promise<'retry' | 'fatal'> {
    if (this.#isFixed) return 'fatal';
    if (token === this.#unproven) return 'fatal';
    if (token === this.#current) {
      this.#current = undefined;
      this.#mustRenew = true;
    }
    return 'retry';
  }

  succeeded(token: string): void {
    if (token === this.#unproven) this.#unproven = undefined;
  }

  async #get(): Promise<TokenResult> {
    const renew = this.#mustRenew;
    const result = await this.#source.get(renew);
    if (result.kind !== 'token') return result;
    if (renew) {
      this.#mustRenew = false;
      this.#unproven = result.token;
    }
    this.#current = result.token;
    return result;
  }
}
