import type { Clock } from '../../domain/clock.ts';
import { wordsOf } from '../../domain/words.ts';
import { oneLine } from '../answer/one-line.ts';
import { Exchange } from '../http/exchange.ts';
import { createGotTransport } from '../http/got-transport.ts';
import type { Environment } from '../http/proxy-settings.ts';
import { GOOGLE_API_ROOT, isSafeForSecrets } from '../request/root.ts';

/** The owner of a token as the name of a scope, or why the owner is unknown. Never contains the token. */
export type TokenOwner =
  | { readonly kind: 'known'; readonly userScope: string }
  | { readonly kind: 'unknown'; readonly reason: string };

const GOOGLE_TOKEN_INFO_URL = 'https://oauth2.googleapis.com/tokeninfo';
/** Short, because little depends on it: without an answer, the account shares a budget with the other unknown ones. */
const TIMEOUT_MS = 5_000;
const MAX_BYTES = 16_384;

/**
 * Where to ask for the owner of a token: next to the named token endpoint, otherwise at Google if the API is Google's.
 * Undefined if the token is for another server, because Google must not see it.
 */
export function tokenInfoUrl(apiRoot: string, tokenUrl: string | undefined): string | undefined {
  if (tokenUrl !== undefined) return new URL('tokeninfo', tokenUrl).href;
  return apiRoot === GOOGLE_API_ROOT ? GOOGLE_TOKEN_INFO_URL : undefined;
}

/** The scope of an account. The name may come from the caller, a file or Google. */
export const scopeOfAccount = (name: string): string => `user:${name.trim().toLowerCase()}`;

/** How to reach tokeninfo. */
export interface TokenInfoWay {
  readonly clock: Clock;
  /** Environment with the proxy settings. */
  readonly env: Environment;
}

/** Asks for the owner of a token. Sends the token in a header, so that it does not end up in logs of URLs. Never rejects. */
export async function ownerOf(token: string, url: string, { clock, env }: TokenInfoWay): Promise<TokenOwner> {
  if (!isSafeForSecrets(new URL(url))) return unknown('the token would be sent unencrypted');
  const limits = { connectTimeoutMs: TIMEOUT_MS, firstByteTimeoutMs: TIMEOUT_MS };
  const transport = createGotTransport({ clock, env, maxSockets: 1, ...limits });
  const late = new AbortController();
  const timer = clock.setTimeout(() => late.abort(), TIMEOUT_MS);
  const exchange = new Exchange({
    transport,
    clock,
    idleTimeoutMs: TIMEOUT_MS,
    maxWaitMs: TIMEOUT_MS,
    maxAnswerBytes: MAX_BYTES,
    signal: late.signal,
  });
  try {
    await exchange.start({
      method: 'POST',
      url,
      headers: {
        authorization: `Bearer ${token}`,
        'content-type': 'application/x-www-form-urlencoded;charset=UTF-8',
      },
      body: '',
    });
    const { status } = await exchange.head();
    const body = await exchange.readAll();
    if (status < 200 || status > 299) return unknown(`HTTP ${status}`);
    return ownerIn(JSON.parse(body.toString('utf8')));
  } catch (error) {
    if (late.signal.aborted) return unknown(`no answer within ${TIMEOUT_MS} ms`);
    // The parser's message quotes the answer.
    if (error instanceof SyntaxError) return unknown('the answer is not JSON');
    return unknown(oneLine(wordsOf(error), [token]));
  } finally {
    clock.clearTimeout(timer);
    exchange.close();
    transport.close();
  }
}

const unknown = (reason: string): TokenOwner => ({ kind: 'unknown', reason });

/**
 * The owner is an email address or the number of an account. A token without the scopes for these names only its OAuth
 * client: a service account, or a program whose users then share one budget. They may use less than Google allows, never
 * more.
 */
function ownerIn(answer: unknown): TokenOwner {
  const of = (name: string): string | undefined => {
    const value: unknown =
      typeof answer === 'object' && answer !== null ? Reflect.get(answer, name) : undefined;
    return typeof value === 'string' && /^[\x21-\x7e]{1,256}$/.test(value) ? value : undefined;
  };
  const email = of('email');
  if (email !== undefined) return { kind: 'known', userScope: scopeOfAccount(email) };
  const [sub, client] = [of('sub'), of('azp') ?? of('aud')];
  if (sub !== undefined) return { kind: 'known', userScope: `user:id ${sub}` };
  if (client !== undefined) return { kind: 'known', userScope: `user:client ${client}` };
  return unknown('the answer names neither an account nor a client');
}
