import { z } from 'zod';
import { oneLine } from './answer/one-line.ts';
import { type Refusal, refusalOf, refusalOnTheWay } from './answer/outcome.ts';
import { type ClientOptions, commonHeaders, DEFAULT_IDLE_TIMEOUT_MS } from './client.ts';
import { Exchange } from './http/exchange.ts';
import { TransportError } from './http/transport.ts';
import { secureApiRoot } from './request/root.ts';

/** A property that the credentials can see. */
export interface Site {
  readonly siteUrl: string;
  /** Google's name for it; `siteUnverifiedUser` cannot read data. */
  readonly permissionLevel: string;
}

export type SitesResult =
  /** Sorted by URL. */
  { readonly kind: 'ok'; readonly sites: readonly Site[] } | Refusal | { readonly kind: 'aborted' };

export type SitesOptions = Omit<ClientOptions, 'maxPartBytes'> & {
  readonly accessToken: string;
  readonly signal: AbortSignal;
};

/** An account has at most 1,000 properties. */
const MAX_ANSWER_BYTES = 4 * 1024 * 1024;
const MAX_WAIT_MS = 120_000;

const sitesAnswer = z.object({
  siteEntry: z.array(z.object({ siteUrl: z.string(), permissionLevel: z.string() })).optional(),
});

/**
 * Lists the properties that these credentials can see. Does not count against the Search Analytics quota.
 * @throws LongtailError `BAD_OPTION` or `INSECURE_ROOT` for the root. Failures of network or server are values.
 */
export async function listSites(options: SitesOptions): Promise<SitesResult> {
  const { clock, accessToken, idleTimeoutMs = DEFAULT_IDLE_TIMEOUT_MS, maxWaitMs = MAX_WAIT_MS } = options;
  const exchange = new Exchange({ ...options, idleTimeoutMs, maxWaitMs, maxAnswerBytes: MAX_ANSWER_BYTES });
  try {
    await exchange.start({
      method: 'GET',
      url: `${secureApiRoot(options.apiRoot)}webmasters/v3/sites?prettyPrint=false`,
      headers: commonHeaders(accessToken, options),
    });
    const { status, headers } = await exchange.head();
    const body = await exchange.readAll();
    if (status >= 200 && status < 300) return readSites(body);
    const retryAfter = headers['retry-after'];
    return refusalOf({ status, body, retryAfter, nowMs: clock.now(), secrets: [accessToken] });
  } catch (error) {
    if (!(error instanceof TransportError)) throw error;
    if (error.kind === 'aborted') return { kind: 'aborted' };
    return refusalOnTheWay(error) ?? { kind: 'retryable', reason: oneLine(error.message, [accessToken]) };
  } finally {
    exchange.close();
  }
}

function readSites(body: Buffer): SitesResult {
  let parsed: unknown;
  try {
    parsed = JSON.parse(body.toString('utf8'));
  } catch {
    return { kind: 'retryable', reason: 'The list of properties is not whole JSON.' };
  }
  const checked = sitesAnswer.safeParse(parsed);
  if (!checked.success)
    return { kind: 'retryable', reason: 'The list of properties is not of the shape it should be.' };
  // Without properties, `siteEntry` is absent.
  const sites = checked.data.siteEntry ?? [];
  return {
    kind: 'ok',
    sites: sites.toSorted((a, b) => (a.siteUrl < b.siteUrl ? -1 : a.siteUrl > b.siteUrl ? 1 : 0)),
  };
}
