import type { ServerResponse } from 'node:http';
import type { Clock } from '../domain/clock.ts';
import { LongtailError } from '../domain/errors.ts';
import type { Api } from './api.ts';
import type { Records } from './records.ts';
import { servedDigest } from './served.ts';

const DEFAULT_RECENT = 1_000;

/**
 * Endpoints for tests in other processes. They do not count as API calls:
 * `GET /__emulator/stats` returns the counters; `GET /__emulator/requests?last=N` the newest records, oldest first;
 * `GET /__emulator/digest?site&type&dataset&date&dataState` the digest of a slice's rows.
 */
export async function answerControl(
  api: Api,
  records: Records,
  path: string,
  asked: URLSearchParams,
  clock: Clock,
  response: ServerResponse,
): Promise<void> {
  const answer = (status: number, value: unknown): void => {
    response.writeHead(status, { 'content-type': 'application/json; charset=utf-8' });
    response.end(`${JSON.stringify(value)}\n`);
  };
  switch (path) {
    case '/__emulator/stats':
      return answer(200, records.counters(api.meter));
    case '/__emulator/requests': {
      const last = Number(asked.get('last') ?? DEFAULT_RECENT);
      return answer(200, last > 0 ? records.requests.slice(-last) : []);
    }
    case '/__emulator/digest':
      try {
        return answer(200, await servedDigest(api, asked, clock.now()));
      } catch (error) {
        if (error instanceof LongtailError) return answer(400, { error: error.message });
        throw error;
      }
    default:
      return answer(404, { error: `There is no ${path}. Available: stats, requests, digest.` });
  }
}
