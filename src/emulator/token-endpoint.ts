import { createHash, createVerify } from 'node:crypto';

/** `/token`: OAuth 2 access tokens for a refresh token or a service account's signed assertion. `/tokeninfo`: a token's user. */

export interface TokenSettings {
  /** Lifetime of an access token in seconds. */
  readonly expiresInS: number;
  /** Refresh tokens, and service accounts (the assertion's `iss`), that are answered with `invalid_grant`. */
  readonly revoked: readonly string[];
  /** PEM. Assertions must be signed with its private key. Undefined: any well-formed signature is accepted. */
  readonly publicKey: string | undefined;
  /** True: accepts only tokens issued here, until they expire. False: any text is a token, and identifies a user. */
  readonly requireIssuedTokens: boolean;
  /** The users of tokens not issued here, by the token without its trailing number: with `{ hour: 'me@x' }`, `hour-1` and `hour-2` belong to `me@x`. */
  readonly owners: Readonly<Record<string, string>>;
}

export const DEFAULT_TOKEN_SETTINGS: TokenSettings = {
  expiresInS: 3_599,
  revoked: [],
  publicKey: undefined,
  requireIssuedTokens: false,
  owners: {},
};

export interface TokenAnswer {
  readonly status: number;
  readonly body: Readonly<Record<string, string | number>>;
}

const JWT_BEARER = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
/** Maximum number of tokens remembered. The oldest are dropped. */
const MAX_TOKENS = 10_000;
const DEFAULT_SCOPE = 'https://www.googleapis.com/auth/webmasters.readonly';

/** Issues access tokens and knows their users. */
export class TokenEndpoint {
  readonly #settings: TokenSettings;
  readonly #issued = new Map<string, { readonly user: string; readonly expiresAtMs: number }>();
  #count = 0;

  constructor(settings: TokenSettings) {
    this.#settings = settings;
  }

  /** Answers a form body, `grant_type=…`. */
  answer(form: string, nowMs: number): TokenAnswer {
    const fields = new URLSearchParams(form);
    switch (fields.get('grant_type')) {
      case 'refresh_token':
        return this.#refresh(fields, nowMs);
      case JWT_BEARER:
        return this.#assertion(fields, nowMs);
      case null:
        return failure('invalid_request', 'Required parameter is missing: grant_type');
      default:
        return failure('unsupported_grant_type', `Invalid grant_type: ${fields.get('grant_type')}`);
    }
  }

  /**
   * The user of an Authorization header. Undefined: it is malformed, or its token is not accepted. A token not issued here
   * counts as a separate user, identified by a digest: the records must not contain what may be a real token.
   */
  userOf(authorization: string | undefined, nowMs: number): string | undefined {
    const token = /^Bearer\s+(\S+)\s*$/i.exec(authorization ?? '')?.[1];
    if (token === undefined) return undefined;
    const issued = this.#issued.get(token);
    if (issued !== undefined) return issued.expiresAtMs > nowMs ? issued.user : undefined;
    if (this.#settings.requireIssuedTokens) return undefined;
    return `token-${createHash('sha256').update(token).digest('hex').slice(0, 12)}`;
  }

  /** `/tokeninfo`: the user of an access token, if its scopes allow Google to reveal it. */
  info(authorization: string | undefined, form: string, nowMs: number): TokenAnswer {
    const named = new URLSearchParams(form).get('access_token');
    const user = this.userOf(authorization ?? `Bearer ${named ?? ''}`, nowMs);
    if (user === undefined) return failure('invalid_token', 'Invalid Value');
    const token = /^Bearer\s+(\S+)\s*$/i.exec(authorization ?? '')?.[1] ?? named ?? '';
    const owner = this.#settings.owners[token.replace(/[-_.]\d+$/, '')] ?? user;
    const client = { azp: `client-of-${owner}`, aud: `client-of-${owner}`, scope: DEFAULT_SCOPE };
    return {
      status: 200,
      body: owner.includes('@') ? { ...client, email: owner } : { ...client, sub: owner },
    };
  }

  /** From now on rejects all access tokens issued so far. */
  expireAll(): void {
    for (const [token, { user }] of this.#issued) this.#issued.set(token, { user, expiresAtMs: 0 });
  }

  #refresh(fields: URLSearchParams, nowMs: number): TokenAnswer {
    for (const name of ['client_id', 'client_secret', 'refresh_token']) {
      if (!fields.get(name)) return failure('invalid_request', `Missing required parameter: ${name}`);
    }
    const refreshToken = fields.get('refresh_token') ?? '';
    if (this.#settings.revoked.includes(refreshToken)) {
      return failure('invalid_grant', 'Token has been expired or revoked.');
    }
    const digest = createHash('sha256').update(refreshToken).digest('hex').slice(0, 12);
    return this.#issue(`user-${digest}`, fields.get('scope') ?? DEFAULT_SCOPE, nowMs);
  }

  #assertion(fields: URLSearchParams, nowMs: number): TokenAnswer {
    const assertion = fields.get('assertion') ?? '';
    const [head = '', payload = '', signature = '', ...more] = assertion.split('.');
    const header = jsonPart(head);
    const claims = jsonPart(payload);
    if (header === undefined || claims === undefined || signature === '' || more.length > 0) {
      return failure('invalid_grant', 'Invalid JWT: Failed to parse the assertion.');
    }
    if (header.alg !== 'RS256') return failure('invalid_grant', 'Invalid JWT: alg must be RS256.');
    const { iss, sub, aud, exp, iat, scope } = claims;
    if (
      typeof iss !== 'string' ||
      typeof aud !== 'string' ||
      typeof exp !== 'number' ||
      typeof iat !== 'number'
    ) {
      return failure('invalid_grant', 'Invalid JWT: iss, aud, iat and exp are required.');
    }
    // Google allows clocks to differ by ten minutes, and an assertion to be valid for an hour.
    if (exp * 1_000 < nowMs - 600_000 || iat * 1_000 > nowMs + 600_000 || exp - iat > 3_700) {
      return failure(
        'invalid_grant',
        'Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim.',
      );
    }
    if (this.#settings.publicKey !== undefined) {
      const verifier = createVerify('RSA-SHA256').update(`${head}.${payload}`);
      if (!verifier.verify(this.#settings.publicKey, signature, 'base64url')) {
        return failure('invalid_grant', 'Invalid JWT Signature.');
      }
    }
    if (this.#settings.revoked.includes(iss))
      return failure('invalid_grant', 'Invalid grant: account not found');
    return this.#issue(
      typeof sub === 'string' ? sub : iss,
      typeof scope === 'string' ? scope : DEFAULT_SCOPE,
      nowMs,
    );
  }

  #issue(user: string, scope: string, nowMs: number): TokenAnswer {
    this.#count += 1;
    const [oldest] = this.#issued.keys();
    if (this.#issued.size >= MAX_TOKENS && oldest !== undefined) this.#issued.delete(oldest);
    const token = `ya29.emulator-${this.#count}`;
    this.#issued.set(token, { user, expiresAtMs: nowMs + this.#settings.expiresInS * 1_000 });
    return {
      status: 200,
      body: { access_token: token, expires_in: this.#settings.expiresInS, scope, token_type: 'Bearer' },
    };
  }
}

function failure(error: string, description: string): TokenAnswer {
  return { status: 400, body: { error, error_description: description } };
}

function jsonPart(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(text, 'base64url').toString('utf8'));
    return typeof value === 'object' && value !== null ? { ...value } : undefined;
  } catch {
    return undefined;
  }
}
