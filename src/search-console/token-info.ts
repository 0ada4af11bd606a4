import { oneLine } from './one-line.ts';
import { GOOGLE_API_ROOT, isSafeForSecrets } from './root.ts';

/** Whose token it is, as a scope's name; or why nobody can say. Never holds the token. */
export type TokenOwner =
  | { readonly kind: 'known'; readonly userScope: string }
  | { readonly kind: 'unknown'; readonly reason: string };

const GOOGLE_TOKEN_INFO_URL = 'https://oauth2.googleapis.com/tokeninfo';
/** Not worth more: without an answer the account shares a budget with all that are not known. */
const ASK_WITHIN_MS = 5_000;
const MOST_CHARACTERS = 16_384;

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

/** Asks whose a token is. The token goes into a header, where no log of addresses sees it. Never rejects. */
export async function ownerOf(token: string, url: string): Promise<TokenOwner> {
  if (!isSafeForSecrets(new URL(url))) return unknown('it would be sent in the clear');
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${token}`,
        'content-type': 'application/x-www-form-urlencoded;charset=UTF-8',
      },
      redirect: 'error',
      signal: AbortSignal.timeout(ASK_WITHIN_MS),
    });
    const text = await readStart(response);
    if (!response.ok) return unknown(`HTTP ${response.status}`);
    return ownerIn(JSON.parse(text));
  } catch (error) {
    return unknown(oneLine(error instanceof Error ? error.message : String(error), [token]));
  }
}

/** No more of an answer than one that makes sense has. */
async function readStart(response: Response): Promise<string> {
  let text = '';
  const decoder = new TextDecoder();
  for await (const chunk of response.body ?? []) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > MOST_CHARACTERS) throw new Error('the answer is too long');
  }
  return text;
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
