/** Reads and checks the options of a synchronisation: what comes out is whole and right. */

import type { Sql } from 'postgres';
import { z } from 'zod';
import {
  addDays,
  daysBetween,
  earlierDay,
  FINAL_LAG_DAYS,
  isDay,
  laterDay,
  oldestDayKept,
} from './domain/day.ts';
import { type Dataset, type Day, parseDataset, SEARCH_TYPES, type SearchType } from './domain/slice.ts';
import { LongtailError } from './errors.ts';
import type { BudgetRule } from './machines/quota-window.ts';
import { MAX_BATCH_SIZE } from './search-console/batch-request.ts';
import { MAX_ROW_LIMIT } from './search-console/query.ts';
import { GOOGLE_API_ROOT, secureApiRoot, secureUrl } from './search-console/root.ts';
import type { Credentials, SyncOptions } from './sync-types.ts';

export const MOST_CONCURRENCY = 64;

export interface Config {
  readonly siteUrl: string;
  readonly database: string | Sql | undefined;
  readonly from: Day;
  readonly to: Day;
  readonly today: Day;
  readonly datasets: readonly Dataset[];
  readonly searchTypes: readonly SearchType[];
  readonly maxConcurrency: number;
  readonly batchSize: number;
  readonly rowsPerPage: number;
  readonly requestsPerMinute: number;
  readonly extraBudgets: readonly BudgetRule[];
  readonly maxAttempts: number;
  readonly refresh: boolean;
  readonly acceptShrunk: boolean;
  readonly credentials: Credentials | undefined;
  readonly apiRoot: string;
  readonly tokenUrl: string | undefined;
  readonly migrate: boolean;
  readonly prepare: boolean | undefined;
  readonly haltDeadlineMs: number;
}

const wrong = (message: string, nextStep: string): LongtailError =>
  new LongtailError('BAD_OPTION', message, nextStep);

const whole = (name: string, least: number, most: number) =>
  z
    .number(`${name} is a whole number from ${least} to ${most}.`)
    .int(`${name} is a whole number from ${least} to ${most}.`)
    .min(least, `${name} is at least ${least}.`)
    .max(most, `${name} is at most ${most}.`);

const yesOrNo = (name: string) => z.boolean(`${name} is true or false.`);

const numbers = z.object({
  maxConcurrency: whole('maxConcurrency', 1, MOST_CONCURRENCY).default(3),
  batchSize: whole('batchSize', 1, MAX_BATCH_SIZE).default(50),
  rowsPerPage: whole('rowsPerPage', 1, MAX_ROW_LIMIT).default(MAX_ROW_LIMIT),
  requestsPerMinute: whole('requestsPerMinute', 1, 40_000).default(1_200),
  maxAttempts: whole('maxAttempts', 1, 100).default(5),
  haltDeadlineMs: whole('haltDeadlineMs', 100, 600_000).default(5_000),
  days: whole('days', 1, 500).optional(),
  refresh: yesOrNo('refresh').default(false),
  acceptShrunk: yesOrNo('acceptShrunk').default(false),
  migrate: yesOrNo('migrate').default(true),
  prepare: yesOrNo('prepare').optional(),
  extraBudgets: z
    .array(
      z.object({
        scopeKind: z.string().regex(/^[a-z][a-zA-Z0-9_-]*$/, 'a budget’s scopeKind is a word.'),
        limit: whole('a budget’s limit', 1, 1_000_000_000),
        windowMs: whole('a budget’s windowMs', 1, 86_400_000),
      }),
      'extraBudgets is a list of { scopeKind, limit, windowMs }.',
    )
    .default([]),
});

const PROPERTY_FORMS =
  'Give it as Search Console does: "sc-domain:example.com" or "https://www.example.com/".';

/** Checks the form of a property's name. @throws LongtailError BAD_OPTION with what was probably meant. */
export function checkSiteUrl(siteUrl: unknown): string {
  if (typeof siteUrl !== 'string' || siteUrl.trim() === '')
    throw wrong('No property is given.', PROPERTY_FORMS);
  if (siteUrl.length > 2_048)
    throw wrong('The property’s name is longer than 2,048 characters.', PROPERTY_FORMS);
  if (siteUrl.startsWith('sc-domain:')) {
    const domain = siteUrl.slice('sc-domain:'.length);
    if (/^[^\s/:?#@]+\.[^\s/:?#@]+$/.test(domain)) return siteUrl;
    throw wrong(`"${siteUrl}" is not a domain property.`, 'Write it as "sc-domain:example.com".');
  }
  if (/^https?:\/\//.test(siteUrl)) {
    if (!URL.canParse(siteUrl) || /\s/.test(siteUrl))
      throw wrong(`"${siteUrl}" is not a URL.`, PROPERTY_FORMS);
    if (!siteUrl.endsWith('/')) {
      throw wrong(
        `"${siteUrl}" lacks its last slash.`,
        `A URL-prefix property ends with one: "${siteUrl}/".`,
      );
    }
    return siteUrl;
  }
  const bare = siteUrl.replace(/\/+$/, '');
  throw wrong(
    `"${siteUrl}" is not a property’s name.`,
    `Did you mean "sc-domain:${bare}" (the whole domain) or "https://${bare}/" (one URL prefix)?`,
  );
}

function checkDay(name: string, day: unknown): Day {
  if (typeof day === 'string' && isDay(day)) return day;
  throw wrong(`${name} "${String(day)}" is not a date.`, 'Write it as YYYY-MM-DD, for example 2026-01-31.');
}

/** The range of days; never older than what Google keeps. */
function readRange(options: SyncOptions, days: number | undefined, today: Day): { from: Day; to: Day } {
  const oldest = oldestDayKept(today);
  if (days !== undefined) {
    if (options.from !== undefined || options.to !== undefined) {
      throw wrong('days and from/to exclude each other.', 'Give one of them.');
    }
    const to = addDays(today, -FINAL_LAG_DAYS);
    const from = addDays(to, 1 - days);
    return { from: laterDay(from, oldest), to };
  }
  const from = options.from === undefined ? oldest : checkDay('from', options.from);
  const to = options.to === undefined ? today : checkDay('to', options.to);
  if (from > to) throw wrong(`The range ends (${to}) before it starts (${from}).`, 'Swap the two dates.');
  if (to < oldest) {
    throw wrong(
      `Google has nothing left of ${from} to ${to}.`,
      `It keeps 16 months: the oldest day is ${oldest}.`,
    );
  }
  if (from > today) throw wrong(`${from} is in the future.`, `Today is ${today} in Pacific time, Google’s.`);
  return { from: laterDay(from, oldest), to: earlierDay(to, today) };
}

function readDatasets(names: unknown): Dataset[] {
  if (!Array.isArray(names) || names.length === 0) {
    throw wrong('No dataset is given.', 'Name at least one, such as "page" or "page+query".');
  }
  const datasets = names.map((name: unknown) => {
    const parsed = parseDataset(String(name));
    if ('problem' in parsed) throw wrong(parsed.problem, 'Datasets are named like "page" or "page+query".');
    return parsed.dataset;
  });
  return [...new Set(datasets)];
}

function readSearchTypes(names: unknown): SearchType[] {
  if (!Array.isArray(names) || names.length === 0) {
    throw wrong('No search type is given.', `Name at least one of ${SEARCH_TYPES.join(', ')}.`);
  }
  const types = names.map((name: unknown) => {
    const type = SEARCH_TYPES.find((known) => known === name);
    if (type === undefined) {
      throw wrong(`"${String(name)}" is not a search type.`, `Use ${SEARCH_TYPES.join(', ')}.`);
    }
    return type;
  });
  return [...new Set(types)];
}

/** @throws LongtailError BAD_OPTION or INSECURE_ROOT, in one sentence with the next step. */
export function readConfig(options: SyncOptions, today: Day): Config {
  const siteUrl = checkSiteUrl(options.siteUrl);
  const parsed = numbers.safeParse(options);
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw wrong(
      issue?.message ?? 'An option has a wrong type.',
      `Look at "${issue?.path.join('.') ?? 'options'}".`,
    );
  }
  const { days, ...rest } = parsed.data;
  const range = readRange(options, days, today);
  return {
    ...rest,
    prepare: rest.prepare,
    ...range,
    siteUrl,
    today,
    database: options.database,
    datasets: readDatasets(options.datasets ?? ['page', 'page+query']),
    searchTypes: readSearchTypes(options.searchTypes ?? ['web']),
    credentials: options.credentials,
    apiRoot: secureApiRoot(options.apiRoot ?? GOOGLE_API_ROOT, 'apiRoot'),
    tokenUrl: options.tokenUrl === undefined ? undefined : secureUrl(options.tokenUrl, 'tokenUrl').href,
  };
}

/** Days of the range, both ends counted. */
export function daysIn({ from, to }: { readonly from: Day; readonly to: Day }): number {
  return daysBetween(from, to) + 1;
}
