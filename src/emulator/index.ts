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
  /** `http://127.0.0.1:PORT/`: the root URL for clients. The token endpoint is at `token` below it. */
  readonly url: string;
  /** The counted API calls, oldest first, limited to the newest {@link EmulatorOptions.keepRequests}. */
  readonly requests: readonly RequestRecord[];
  readonly counters: EmulatorCounters;
  /**
   * All rows of a request over all its pages, most clicks first. `body`: as for `searchAnalytics.query`; its `startRow` and
   * `rowLimit` are ignored. Rejects with `BAD_OPTION` where the API would return an error.
   */
  served(siteUrl: string, body: object): Promise<Served>;
  /** Replaces the faults; undefined removes them. Throws `BAD_OPTION` if they are invalid. */
  setFaults(faults: Faults | undefined): void;
  /** Changes some of the quotas, starting with the next call. */
  setQuotas(quotas: Partial<QuotaLimits>): void;
  /** From now on rejects all access tokens issued so far. */
  expireTokens(): void;
  /** Stops listening and destroys all connections. Calling it again has no effect. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Starts an emulator of the Search Console API on this machine: with the real API's endpoints, batch protocol, errors and
 * quotas, and with seeded data. Rejects with `BAD_OPTION` if the port is taken or the faults are invalid.
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
