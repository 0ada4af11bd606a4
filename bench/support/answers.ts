/** Fetches the answers of a job without storing them: their size, the time to parse them, and how fast they arrive. */
import { Agent, request } from 'node:http';
import { gunzipSync } from 'node:zlib';
import { bodyOf, type Job, type JobSlice, slicesOf } from './jobs.ts';

export interface AnswerFigures {
  readonly answers: number;
  readonly wireBytes: number;
  readonly jsonBytes: number;
  /** CPU time to turn bytes into values, by `JSON.parse` with the text that it needs, on one thread. */
  readonly parseMs: number;
  /** CPU time to decompress gzip, as Google's answers require. */
  readonly gunzipMs: number;
}

const CONNECTIONS = 8;
const ROWS_A_PAGE = 25_000;

/** Fetches every page of the job by plain requests, several concurrently, and parses each. */
export async function measureAnswers(apiRoot: string, job: Job, rowsPerDay: number): Promise<AnswerFigures> {
  const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS });
  const figures = { answers: 0, wireBytes: 0, jsonBytes: 0, parseMs: 0, gunzipMs: 0 };
  const queue = slicesOf(job).flatMap((slice) =>
    startRows(rowsPerDay).map((startRow) => ({ slice, startRow })),
  );
  const worker = async (): Promise<void> => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      const body = await ask(agent, apiRoot, job.siteUrl, next.slice, next.startRow, '?prettyPrint=false');
      const arrivedMs = performance.now();
      const json = gunzipSync(body);
      const unpackedMs = performance.now();
      JSON.parse(json.toString('utf8'));
      figures.parseMs += performance.now() - unpackedMs;
      figures.gunzipMs += unpackedMs - arrivedMs;
      figures.answers += 1;
      figures.wireBytes += body.length;
      figures.jsonBytes += json.length;
    }
  };
  try {
    await Promise.all(Array.from({ length: CONNECTIONS }, worker));
  } finally {
    agent.destroy();
  }
  return figures;
}

/** Makes the emulator prepare the answers that Google's client will request: indented, one page after another. */
export async function prepareAnswers(
  apiRoot: string,
  siteUrl: string,
  slices: readonly JobSlice[],
  rowsPerDay: number,
): Promise<void> {
  const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS });
  try {
    for (const slice of slices) {
      // Also the page after the last one: after a full page, a client requests another.
      const starts = [...startRows(rowsPerDay), rowsPerDay];
      await Promise.all(starts.map((startRow) => ask(agent, apiRoot, siteUrl, slice, startRow, '')));
    }
  } finally {
    agent.destroy();
  }
}

function startRows(rowsPerDay: number): number[] {
  return Array.from({ length: Math.ceil(rowsPerDay / ROWS_A_PAGE) }, (_, page) => page * ROWS_A_PAGE);
}

function ask(
  agent: Agent,
  apiRoot: string,
  siteUrl: string,
  slice: JobSlice,
  startRow: number,
  search: '' | '?prettyPrint=false',
): Promise<Buffer> {
  const url = `${apiRoot}webmasters/v3/sites/${encodeURIComponent(siteUrl)}/searchAnalytics/query${search}`;
  const headers = {
    authorization: 'Bearer a-token',
    'accept-encoding': 'gzip',
    'user-agent': 'longtail bench (gzip)',
  };
  return new Promise((resolve, reject) => {
    const call = request(url, { method: 'POST', agent, headers }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => resolve(Buffer.concat(chunks)));
      response.on('error', reject);
    });
    call.on('error', reject);
    call.end(JSON.stringify(bodyOf(slice, startRow)));
  });
}
