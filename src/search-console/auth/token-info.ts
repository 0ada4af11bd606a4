import type { Clock } from '../../domain/clock.ts';
import { wordsOf } from '../../domain/words.ts';
import { oneLine } from '../answer/one-line.ts';
import { Exchange } from '../http/exchange.ts';
import { createGotTransport } from '../http/got-transport.ts';
import type { Environment } from '../http/proxy-settings.ts';
import { GOOGLE_API_ROOT, isSafeForSecrets } from '../request/root.ts';

/** Whose token it is, as a scope's name; or why nobody can say. Never holds the token. */
export type TokenOwner =
  | { readonly kind: 'known'; readonly userScope: string }
  | { readonly kind: 'unknown'; readonly reason: string };

const GOOGLE_TOKEN_INFO_URL = 'https://oauth2.googleapis.com/tokeninfo';
/** Not worth more: without an answer the account shares a budget with all that are not known. */
const ASK_WITHIN_MS = 5_000;
const MOST_BYTES = 16_384;

/**
 * Where to ask whose a token is: beside the token endpoint that was named, or at Google where the token goes to Google.
 * Undefined: the token is for somebody else's server, and Google must not see it.
 */
export function tokenInfoUrl(apiRoot: string, tokenUrl: string | undefined): string | undefined {
  if (tokenUrl !== undefined) return new URL('tokeninfo', tokenUrl).href;
  return apiRoot === GOOGLE_API_ROOT ? GOOGLE_TOKEN_INFO_URL : undefined;
}

/** The scope of an account that goes by this name, whoever says so: a caller, a file, or Google. */
export const scopeOfAccount = (name: string): string => `user:${name.trim().toLowerCase()}`;

/** What the way to tokeninfo depends on. */
export interface TokenInfoWay {
  readonly clock: Clock;
  /** Names the proxies. */
  readonly env: Environment;
}

/** Asks whose a token is. The token goes into a header, where no log of addresses sees it. Never rejects. */
export async function ownerOf(token: string, url: string, { clock, env }: TokenInfoWay): Promise<TokenOwner> {
  if (!isSafeForSecrets(new URL(url))) return unknown('it would be sent in the clear');
  const limits = { connectTimeoutMs: ASK_WITHIN_MS, firstByteTimeoutMs: ASK_WITHIN_MS };
  const transport = createGotTransport({ clock, env, maxSockets: 1, ...limits });
  const late = new AbortController();
  const timer = clock.setTimeout(() => late.abort(), ASK_WITHIN_MS);
  const exchange = new Exchange({
    transport,
    clock,
    idleTimeoutMs: ASK_WITHIN_MS,
    maxWaitMs: ASK_WITHIN_MS,
    maxAnswerBytes: MOST_BYTES,
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
    if (late.signal.aborted) return unknown(`no answer within ${ASK_WITHIN_MS} ms`);
    // The parser's words quote what it read.
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
 * An address, or an account's number. A token that was made without the scopes for either names the client it was made for:
 * a service account, or a program whose users then share one budget. Less than they may use, and never more.
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
