/** Part 3: many small slices against a quota. Measures the share of the quota that is used. Nothing may be refused. */
import type { EmulatorOptions, RequestRecord } from '../../src/emulator/index.ts';
import type { BenchContext } from '../support/context.ts';
import { startBenchEmulator } from '../support/emulator.ts';
import { range, SITE } from '../support/jobs.ts';
import { withDatabase } from '../support/postgres.ts';
import { goal, type PartResult } from '../support/report.ts';
import { runSync } from '../support/sync.ts';
import { percent, seconds, whole } from '../support/text.ts';

export interface QuotaFigure {
  readonly limit: number;
  readonly windowMs: number;
  readonly requests: number;
  readonly wallMs: number;
  /** From the arrival of the first request to that of the last one. */
  readonly spanMs: number;
  /** The shortest span that the window allows. */
  readonly allowedMs: number;
  /** Share of what the settle-anchored window allows. */
  readonly shareOfAllowed: number;
  /** Share of what a window that knows the server's own count would allow. */
  readonly shareOfQuota: number;
  readonly mostInAnyWindow: number;
  readonly refusals: number;
}

export interface QuotaFigures {
  readonly cases: readonly QuotaFigure[];
}

const LATENCY_MS = 200;
const MINUTE_MS = 60_000;
/** The requests of two windows and part of a third, so the run must wait for the second and the third. */
const WINDOWS = 2.2;
/** The limiter waits this much longer, because Node's timers may fire early. */
const MARGIN_MS = 25;

export async function quota(context: BenchContext): Promise<PartResult<QuotaFigures>> {
  const cases: QuotaFigure[] = [];
  for (const limit of context.isTrial ? [60] : [1_200, 60]) cases.push(await measure(context, limit));
  const least = Math.min(...cases.map(({ shareOfAllowed }) => shareOfAllowed));
  const refusals = cases.reduce((total, figure) => total + figure.refusals, 0);
  const over = cases.some(({ mostInAnyWindow, limit }) => mostInAnyWindow > limit);
  return {
    title: 'Quota-bound: many small slices',
    figures: { cases },
    tables: [
      {
        title: 'Requests as they arrived, one run each',
        columns: [
          'quota',
          'requests',
          'span',
          'at best',
          'of what the window allows',
          'of the quota',
          'most in any window',
          'refused',
        ],
        rows: cases.map((figure) => [
          `${whole(figure.limit)} in ${seconds(figure.windowMs)}`,
          whole(figure.requests),
          seconds(figure.spanMs),
          seconds(figure.allowedMs),
          percent(figure.shareOfAllowed),
          percent(figure.shareOfQuota),
          whole(figure.mostInAnyWindow),
          whole(figure.refusals),
        ]),
      },
    ],
    goals: [
      goal('Quota-bound, of what the window allows', '≥ 95 %', percent(least), least >= 0.95),
      goal('Quota-bound, requests refused', '0', String(refusals), refusals === 0 && !over),
    ],
    notes: [
      `A token counts from its grant until a window after its answer's head was read, so that no window at the server can hold more than the quota. At best, then, a window's worth goes out each window + latency (${LATENCY_MS} ms) + ${MARGIN_MS} ms.`,
      ...(cases.some(({ windowMs }) => windowMs < MINUTE_MS)
        ? ['A small run: windows shorter than a minute, which the emulator does not enforce but counts.']
        : []),
    ],
  };
}

async function measure(context: BenchContext, fullLimit: number): Promise<QuotaFigure> {
  const { scale, server } = context;
  const isSmall = scale < 1;
  const windowMs = isSmall ? Math.max(500, Math.round(MINUTE_MS * scale)) : MINUTE_MS;
  const limit = isSmall ? Math.max(10, Math.round(fullLimit * scale)) : fullLimit;
  const quotas = isSmall ? {} : { perSiteQpm: limit, perUserQpm: limit };
  const options: EmulatorOptions = { sites: [SITE], rowsPerDay: 40, latencyMs: LATENCY_MS, quotas };
  const datasets = ['page', 'query', 'page+query', 'country', 'device', 'page+country', 'page+device'];
  const searchTypes = ['web', 'image', 'video'] as const;
  const wanted = Math.round(limit * WINDOWS);
  const days = Math.min(480, Math.max(1, Math.ceil(wanted / (datasets.length * searchTypes.length))));
  await using emulator = await startBenchEmulator(options);
  return await withDatabase(server, async (database) => {
    const { wallMs, outcome } = await runSync(context, {
      siteUrl: SITE,
      ...range(days),
      datasets,
      searchTypes,
      database,
      apiRoot: emulator.url,
      // A batch must not exceed the quota.
      batchSize: Math.min(50, limit),
      ...(isSmall
        ? { extraBudgets: [{ scopeKind: 'site', limit, windowMs }] }
        : { requestsPerMinute: limit }),
    });
    const arrivals = (await emulator.requests())
      .filter(({ endpoint }) => endpoint === 'query')
      .map(({ arrivedAtMs }: RequestRecord) => arrivedAtMs)
      .sort((a, b) => a - b);
    const requests = arrivals.length;
    const spanMs = (arrivals.at(-1) ?? 0) - (arrivals[0] ?? 0);
    const windows = Math.floor((requests - 1) / limit);
    const allowedMs = windows * (windowMs + LATENCY_MS + MARGIN_MS);
    context.say(
      `${limit} in ${seconds(windowMs)}: ${requests} requests in ${seconds(spanMs)}, at best ${seconds(allowedMs)}`,
    );
    return {
      limit,
      windowMs,
      requests,
      wallMs,
      spanMs,
      allowedMs,
      shareOfAllowed: allowedMs / spanMs,
      shareOfQuota: (windows * windowMs) / spanMs,
      mostInAnyWindow: mostIn(arrivals, windowMs),
      refusals: outcome.quotaRefusals,
    };
  });
}

/** The maximum number of arrivals in any window. An arrival exactly one window ago does not count. */
export function mostIn(arrivals: readonly number[], windowMs: number): number {
  let [first, most] = [0, 0];
  for (const [last, atMs] of arrivals.entries()) {
    while ((arrivals[first] ?? atMs) <= atMs - windowMs) first += 1;
    most = Math.max(most, last - first + 1);
  }
  return most;
}
