/** Google's error responses, as values: `{"error":{"code","message","errors":[{"message","domain","reason"}],"status"?}}`. */

export interface ApiError {
  readonly kind: 'error';
  /** HTTP status. */
  readonly status: number;
  readonly reason: string;
  readonly body: ErrorBody;
  /** Seconds, for a Retry-After header. */
  readonly retryAfterS?: number;
}

export interface ErrorBody {
  readonly error: {
    readonly code: number;
    readonly message: string | null;
    readonly errors?: readonly {
      readonly message: string;
      readonly domain: string;
      readonly reason: string;
    }[];
    readonly status?: string;
  };
}

interface ErrorParts {
  readonly status: number;
  readonly message: string;
  readonly reason: string;
  readonly domain?: string | undefined;
  /** The canonical name, such as `UNAUTHENTICATED`, where Google gives one. */
  readonly statusName?: string;
}

export function apiError(parts: ErrorParts): ApiError {
  const { status, message, reason, domain = 'global', statusName } = parts;
  return {
    kind: 'error',
    status,
    reason,
    body: {
      error: {
        code: status,
        message,
        errors: [{ message, domain, reason }],
        ...(statusName === undefined ? {} : { status: statusName }),
      },
    },
  };
}

export function badRequest(message: string, reason = 'invalidParameter'): ApiError {
  return apiError({ status: 400, message, reason });
}

/** A value that Google's JSON parser rejects: an unknown name, a wrong type, an unknown enum value. */
export function invalidArgument(message: string): ApiError {
  return apiError({ status: 400, message, reason: 'badRequest', statusName: 'INVALID_ARGUMENT' });
}

export function noPermission(siteUrl: string): ApiError {
  return apiError({
    status: 403,
    message: `User does not have sufficient permission for site '${siteUrl}'. See also: https://support.google.com/webmasters/answer/2451999.`,
    reason: 'forbidden',
  });
}

export function notFound(): ApiError {
  return apiError({
    status: 404,
    message: 'Requested entity was not found.',
    reason: 'notFound',
    statusName: 'NOT_FOUND',
  });
}

export function unauthenticated(): ApiError {
  return apiError({
    status: 401,
    message:
      'Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project.',
    reason: 'authError',
    statusName: 'UNAUTHENTICATED',
  });
}

const LIMITS_LINK = 'Learn about usage limits: https://developers.google.com/webmaster-tools/v3/limits.';

export type RefusalKind = 'qps' | 'load' | 'daily';

/** A quota refusal. `status`: 403 in nearly all reports, 429 in a few. */
export function quotaRefusal(kind: RefusalKind, status: 403 | 429 = 403, retryAfterS?: number): ApiError {
  const retry = retryAfterS === undefined ? {} : { retryAfterS };
  if (kind === 'daily') {
    const message = 'Daily Limit Exceeded. The quota will be reset at midnight Pacific Time (PT).';
    return {
      ...apiError({ status, message, reason: 'dailyLimitExceeded', domain: 'usageLimits' }),
      ...retry,
    };
  }
  const message = `Search Analytics ${kind === 'qps' ? 'QPS' : 'load'} quota exceeded. ${LIMITS_LINK}`;
  const reason = status === 429 ? 'rateLimitExceeded' : 'quotaExceeded';
  return { ...apiError({ status, message, reason, domain: 'usageLimits' }), ...retry };
}

/** The errors that a fault can refer to by name. */
export const NAMED_ERRORS = {
  backendError: () => apiError({ status: 500, message: 'Backend Error', reason: 'backendError' }),
  nullMessage: (): ApiError => ({
    kind: 'error',
    status: 500,
    reason: 'nullMessage',
    body: { error: { code: 500, message: null } },
  }),
  unavailable: () =>
    apiError({
      status: 503,
      message: 'The service is currently unavailable.',
      reason: 'backendError',
      statusName: 'UNAVAILABLE',
    }),
  qps: () => quotaRefusal('qps'),
  load: () => quotaRefusal('load'),
  daily: () => quotaRefusal('daily'),
  rateLimitExceeded: () => quotaRefusal('qps', 429),
  servingLimitExceeded: () =>
    apiError({
      status: 403,
      message: 'The overall rate limit specified for the API has already been reached.',
      reason: 'servingLimitExceeded',
      domain: 'usageLimits',
    }),
  accessNotConfigured: () =>
    apiError({
      status: 403,
      message:
        'Google Search Console API has not been used in project 123456789 before or it is disabled. Enable it by visiting https://console.developers.google.com/apis/api/searchconsole.googleapis.com/overview?project=123456789 then retry.',
      reason: 'accessNotConfigured',
      domain: 'usageLimits',
    }),
  insufficientPermissions: () =>
    apiError({
      status: 403,
      message: 'Request had insufficient authentication scopes.',
      reason: 'insufficientPermissions',
      statusName: 'PERMISSION_DENIED',
    }),
  forbidden: () =>
    apiError({
      status: 403,
      message:
        'User does not have sufficient permission for this site. See also: https://support.google.com/webmasters/answer/2451999.',
      reason: 'forbidden',
    }),
  unauthorized: unauthenticated,
  badRequest: () => badRequest('Bad Request', 'badRequest'),
  notFound,
} as const satisfies Record<string, () => ApiError>;
export type NamedError = keyof typeof NAMED_ERRORS;

const REASON_PHRASES: Readonly<Record<number, string>> = {
  200: 'OK',
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  408: 'Request Timeout',
  429: 'Too Many Requests',
  500: 'Internal Server Error',
  502: 'Bad Gateway',
  503: 'Service Unavailable',
  504: 'Gateway Timeout',
};

export function reasonPhrase(status: number): string {
  return REASON_PHRASES[status] ?? 'Unknown';
}
