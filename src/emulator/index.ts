import { systemClock } from '../domain/clock.ts';
import { Api } from './api.ts';
import type { Faults } from './faults.ts';
import { NO_FAULTS } from './faults.ts';
import type { EmulatorCounters, EmulatorOptions, RequestRecord } from './options.ts';
import type { QuotaLimits } from './quota.ts';
import { type Served, servedRows } from './served.ts';
import { EmulatorServer } from './server.ts';

export type { AnswerRow } from './answer-text.ts';
export { type Faults, parseFaults } from './faults.ts';
export type {
  EmulatedSite,
  EmulatorCounters,
  EmulatorOptions,
  Endpoint,
  PermissionLevel,
  RequestRecord,
} from './options.ts';
export type { QuotaLimits, WidestWindows } from './quota.ts';
export type { Served } from './served.ts';
export type { TokenSettings } from './token-endpoint.ts';

/** A running emulator of the Search Console API. */
export interface Emulator {
  /** `http://127.0.0.1:PORT/`: the root URL to give to a client. The token endpoint is `token` below it. */
  readonly url: string;
  /** Every call of the API as it was counted, oldest first; the newest {@link EmulatorOptions.keepRequests}. */
  readonly requests: readonly RequestRecord[];
  readonly counters: EmulatorCounters;
  /**
   * All rows that the pages of a request together hold, most clicks first. `body`: as for `searchAnalytics.query`;
   * its `startRow` and `rowLimit` are not looked at. Rejects with `BAD_OPTION` for what the API would refuse.
   */
  served(siteUrl: string, body: object): Promise<Served>;
  /** Replaces the faults; undefined ends them. Throws `BAD_OPTION` when they make no sense. */
  setFaults(faults: Faults | undefined): void;
  /** Changes some of the quotas, from the next call on. */
  setQuotas(quotas: Partial<QuotaLimits>): void;
  /** Refuses every access token issued so far. */
  expireTokens(): void;
  /** Stops listening and destroys every connection. A second time does nothing. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Starts an emulator of the Search Console API on this machine: the endpoints, batch protocol, errors and quotas of
 * the real one, with seeded data. Rejects with `BAD_OPTION` when the port is taken or the faults make no sense.
 */
export async function startEmulator(options: EmulatorOptions = {}): Promise<Emulator> {
  const clock = options.clock ?? systemClock;
  const api = new Api(options);
  const server = new EmulatorServer(api, options, clock);
  await server.listen();
  return {
    url: server.url,
    requests: server.records.requests,
    get counters() {
      return server.records.counters(api.meter);
    },
    served: (siteUrl, body) => servedRows(api, siteUrl, body, clock.now()),
    setFaults: (faults) => server.setFaults(faults ?? NO_FAULTS),
    setQuotas: (quotas) => {
      api.meter.limits = { ...api.meter.limits, ...quotas };
    },
    expireTokens: () => server.tokens.expireAll(),
    close: () => server.close(),
    [Symbol.asyncDispose]: () => server.close(),
  };
}
