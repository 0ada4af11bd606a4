import type { NotServed } from '../domain/dataset.ts';
import { daysBetween } from '../domain/day.ts';
import type { SliceFailure } from '../domain/slice.ts';
import type { DryRun, Outcome, RunFigures } from '../sync/types.ts';
import { haltWords } from './events.ts';
import { count, counted, duration, megabytes, pairs, plain, rate } from './render.ts';

const FAILURE_GROUPS_SHOWN = 5;
const DATES_SHOWN = 3;

/** Colours text; keeps the summary independent of the terminal. */
export interface Paint {
  good(text: string): string;
  bad(text: string): string;
  weak(text: string): string;
}

/** The outcome of a run, for people. */
export function summarise(outcome: Outcome, paint: Paint): string {
  const parts = [headline(outcome, paint), pairs(figures(outcome))];
  if (outcome.failures.length > 0) parts.push(failuresOf(outcome.failures, paint));
  if (outcome.notServed.length > 0) parts.push(notServedWords(outcome.notServed));
  const { slices, shortPages } = outcome;
  if (slices.capped > 0) {
    parts.push(
      `${counted(slices.capped, 'slice has', 'slices have')} as many rows as Google gives at most, and Google has more.\nProperties of subfolders (https://www.example.com/blog/) each have a cap of their own.`,
    );
  }
  if (shortPages > 0) {
    parts.push(
      `${counted(shortPages, 'slice', 'slices')} went on after a page with fewer rows than requested: from there on\neach slice was asked until a page without rows, and those that had ended with a short one again.`,
    );
  }
  const next = nextStep(outcome);
  if (next !== '') parts.push(next);
  return parts.join('\n\n');
}

function headline(outcome: Outcome, paint: Paint): string {
  const what = `${plain(outcome.siteUrl)}, ${outcome.from} to ${outcome.to}`;
  switch (outcome.status) {
    case 'complete':
      return `${paint.good('Complete')}: ${what}`;
    case 'completeWithFailures':
      return `${paint.bad('Complete but for failed slices')}: ${what}`;
    case 'halted':
      return `${paint.bad('Halted')}: ${haltWords(outcome.haltReason)}\n${what}`;
    case 'failed':
      return `${paint.bad('Failed')}: ${plain(outcome.failure.message)}\n${what}`;
  }
}

function figures(outcome: RunFigures): (readonly [string, string])[] {
  const { slices, rows, apiCalls, httpCalls, retries, quotaRefusals, durationMs } = outcome;
  const missing = slices.planned - slices.complete - slices.failed;
  const sliceWords = [
    `${count(slices.complete)} of ${count(slices.planned)} complete`,
    slices.empty > 0 ? `${count(slices.empty)} of them empty` : '',
    slices.capped > 0 ? `${count(slices.capped)} capped` : '',
    slices.failed > 0 ? `${count(slices.failed)} failed` : '',
    missing > 0 ? `${count(missing)} not there yet` : '',
  ];
  const trouble = [
    counted(retries, 'retry', 'retries'),
    quotaRefusals > 0
      ? counted(quotaRefusals, 'refusal because of the quota', 'refusals because of the quota')
      : '',
  ];
  const calls =
    apiCalls === 0
      ? 'none needed'
      : [`${count(apiCalls)} in ${counted(httpCalls, 'call')}`, ...trouble].filter(Boolean).join(', ');
  return [
    ['Days', count(daysBetween(outcome.from, outcome.to) + 1)],
    ['Slices', sliceWords.filter(Boolean).join(', ')],
    ['Rows', count(rows)],
    ['Requests', calls],
    ['Time', duration(durationMs)],
    ['Memory', `${megabytes(outcome.peakRssBytes)} at the peak`],
  ];
}

function failuresOf(failures: readonly SliceFailure[], paint: Paint): string {
  const groups = Object.entries(Object.groupBy(failures, ({ reason }) => reason))
    .map(([reason, slices = []]) => ({ reason, slices }))
    .sort((a, b) => b.slices.length - a.slices.length);
  const lines = groups.slice(0, FAILURE_GROUPS_SHOWN).map(({ reason, slices }) => {
    const named = slices
      .slice(0, DATES_SHOWN)
      .map(({ date, dataset, part }) => `${date} ${dataset}${part === undefined ? '' : ` ${plain(part)}`}`);
    const more = slices.length > DATES_SHOWN ? `, and ${count(slices.length - DATES_SHOWN)} more` : '';
    return `  ${count(slices.length)} × ${plain(reason)}\n    ${paint.weak(named.join(', ') + more)}`;
  });
  const rest = groups.length - FAILURE_GROUPS_SHOWN;
  if (rest > 0) lines.push(`  and ${counted(rest, 'other reason')} (all of them: --json)`);
  return [`${counted(failures.length, 'slice')} failed:`, ...lines].join('\n');
}

/** One line for each reason: which combinations it concerns. */
export function notServedWords(notServed: readonly NotServed[]): string {
  const groups = Object.entries(Object.groupBy(notServed, ({ reason }) => reason));
  const lines = groups.slice(0, FAILURE_GROUPS_SHOWN).map(([reason, combinations = []]) => {
    const byType = Object.entries(Object.groupBy(combinations, ({ searchType }) => searchType));
    const named = byType.map(([type, of = []]) => `${type}: ${of.map(({ dataset }) => dataset).join(', ')}`);
    return `  ${plain(reason)}\n    ${named.join('; ')}`;
  });
  const rest = groups.length - FAILURE_GROUPS_SHOWN;
  if (rest > 0) lines.push(`  and ${counted(rest, 'other reason')} (all of them: --json)`);
  return ['Not served by Google, and left out:', ...lines].join('\n');
}

function nextStep(outcome: Outcome): string {
  switch (outcome.status) {
    case 'complete':
      return '';
    case 'completeWithFailures':
      return outcome.failures.every(({ reason }) => reason.startsWith('shrunk: '))
        ? 'The earlier rows stay, and are not asked for again unless with --refresh or --accept-shrunk.'
        : 'Run the same command again: it tries those slices alone.';
    case 'failed':
      return plain(outcome.failure.nextStep);
    case 'halted':
      switch (outcome.haltReason.kind) {
        case 'asked':
          return 'Run the same command again: it resumes where it stopped.';
        case 'callFailures':
        case 'databaseAway':
          return 'When that is fixed, run the same command again: it resumes where it stopped.';
        case 'quota':
          return `Run the same command again ${WHEN[outcome.haltReason.quota]}: it resumes where it stopped.`;
      }
  }
}

const WHEN = {
  qps: 'in a few minutes, with a smaller --qpm if other programs use the same account',
  load: 'in an hour or so',
  daily: 'tomorrow, after midnight Pacific time',
} as const;

/** The figures of a run that ended with an error. */
export function brokenOff(
  known: Pick<RunFigures, 'siteUrl' | 'from' | 'to' | 'durationMs' | 'peakRssBytes' | 'notServed'>,
  planned: number,
): JsonFigures {
  const slices = { planned, complete: 0, failed: 0, empty: 0, capped: 0 };
  const calls = { apiCalls: 0, httpCalls: 0, retries: 0, quotaRefusals: 0, shortPages: 0 };
  const nothing = { rows: 0, ...calls, failures: [] };
  return { status: 'failed', haltReason: null, slices, ...known, ...nothing };
}

type JsonFigures = RunFigures & Pick<Outcome, 'status' | 'haltReason'>;

/** The public JSON contract: exactly these fields. */
export function jsonOf(outcome: JsonFigures): string {
  const { status, siteUrl, from, to, slices, rows, apiCalls, httpCalls, retries, quotaRefusals } = outcome;
  const { shortPages, durationMs, peakRssBytes, haltReason } = outcome;
  const { planned, complete, failed, empty, capped } = slices;
  return JSON.stringify({
    status,
    siteUrl,
    from,
    to,
    slices: { planned, complete, failed, empty, capped },
    rows,
    apiCalls,
    httpCalls,
    retries,
    quotaRefusals,
    shortPages,
    durationMs,
    peakRssBytes,
    haltReason,
    failures: outcome.failures.map(({ searchType, dataset, date, part, reason }) => ({
      dataset,
      date,
      ...(part === undefined ? {} : { part }),
      // The contract has no field for the search type, and the dataset alone may be ambiguous.
      reason: searchType === 'web' ? reason : `${searchType}: ${reason}`,
    })),
    notServed: outcome.notServed.map(({ searchType, dataset, reason }) => ({ searchType, dataset, reason })),
  });
}

/** A dry run, for people. */
export function describeDryRun(plan: DryRun, requestsPerMinute: number): string {
  const nothing = plan.slicesToFetch === 0;
  const lines: (readonly [string, string])[] = [
    ['Days', count(daysBetween(plan.from, plan.to) + 1)],
    ['Slices to fetch', `${count(plan.slicesToFetch)} of ${count(plan.slicesPlanned)}`],
    [
      'Requests',
      nothing ? 'none' : `${count(plan.apiCalls)} at least, in ${counted(plan.httpCalls, 'call')}`,
    ],
    ['Time', nothing ? 'none' : timeAtQuota(plan.durationMs, requestsPerMinute)],
  ];
  return [
    `Dry run: ${plain(plan.siteUrl)}, ${plan.from} to ${plan.to}. Nothing was fetched.`,
    pairs(lines),
    nothing ? 'All of it is there already.' : 'Leave out --dry-run to fetch them.',
  ].join('\n\n');
}

function timeAtQuota(ms: number, requestsPerMinute: number): string {
  const quota = `${count(requestsPerMinute)} requests a minute`;
  return ms === 0 ? `no waiting at ${quota}` : `${duration(ms)} at least, at ${quota}`;
}

/** The end of a demo or a sync: how fast it went. */
export function speed(rows: number, ms: number): string {
  return `${counted(rows, 'row')} in ${duration(ms)}: ${count(rate(rows, ms))} rows/s`;
}
