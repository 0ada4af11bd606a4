import { factsOf, parseDataset } from '../domain/dataset.ts';
import { LongtailError } from '../domain/errors.ts';
import { type AnswerRow, answerRows } from './answer-text.ts';
import type { Api, Property } from './api.ts';
import { type Digest, digestOf } from './digest.ts';
import { type QueryRequest, readQueryRequest } from './query-request.ts';

/** The complete result of a request: every row on all its pages. */
export interface Served {
  readonly rows: readonly AnswerRow[];
  readonly totals: { readonly rows: number; readonly clicks: number; readonly impressions: number };
}

/** All rows for a request body of `searchAnalytics.query`. Ignores `startRow` and `rowLimit`. */
export async function servedRows(api: Api, siteUrl: string, body: unknown, nowMs: number): Promise<Served> {
  const { property, request } = readOrThrow(api, siteUrl, body);
  const rows = await allRows(api, property, request, nowMs);
  let clicks = 0;
  let impressions = 0;
  for (const row of rows) {
    clicks += row.clicks;
    impressions += row.impressions;
  }
  return { rows, totals: { rows: rows.length, clicks, impressions } };
}

/** The digest of one slice. Parameters: `site`, `type` (default `web`), `dataset` (`page+query`), `date`, `dataState` (`final`). */
export async function servedDigest(api: Api, query: URLSearchParams, nowMs: number): Promise<Digest> {
  const dataset = parseDataset(query.get('dataset') ?? '');
  if ('problem' in dataset) throw badRequest(dataset.problem);
  const { dimensions, dataState } = factsOf(dataset.dataset);
  const date = query.get('date') ?? '';
  const { property, request } = readOrThrow(api, query.get('site') ?? '', {
    startDate: date,
    endDate: date,
    dimensions,
    type: query.get('type') ?? 'web',
    dataState: query.get('dataState') ?? (dataState === 'all' ? 'final' : dataState),
  });
  return digestOf(await allRows(api, property, request, nowMs));
}

async function allRows(
  api: Api,
  property: Property,
  request: QueryRequest,
  nowMs: number,
): Promise<AnswerRow[]> {
  const table = await api.table(property, request, 1, nowMs);
  return [...answerRows(table, 0, table.order.length, api.withPosition(request))];
}

/** Parses a query as the API does. Throws `BAD_OPTION` where the API would return an error. */
export function readOrThrow(
  api: Api,
  siteUrl: string,
  body: unknown,
): { readonly property: Property; readonly request: QueryRequest } {
  const property = api.property(siteUrl);
  if (property === undefined) throw badRequest(`The emulator has no property "${siteUrl}".`);
  const request = readQueryRequest(body);
  if (request.kind === 'error') throw badRequest(request.body.error.message ?? 'The request is invalid.');
  return { property, request };
}

function badRequest(message: string): LongtailError {
  return new LongtailError('BAD_OPTION', message, 'Make a request that the API accepts.');
}
