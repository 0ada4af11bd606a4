/** Parses the values of options. An error says in one line what is wrong, and in another what to write. */

import { existsSync, statSync } from 'node:fs';
import { oldestDayOf, parseDatasets } from '../../domain/dataset.ts';
import { addDays, FINAL_LAG_DAYS, isDay, oldestDayKept } from '../../domain/day.ts';
import { LongtailError } from '../../domain/errors.ts';
import { AGGREGATIONS, type Aggregation, type Filter, parseFilter } from '../../domain/filter.ts';
import { quoted } from '../../domain/quoted.ts';
import { type Dataset, type Day, SEARCH_TYPES, type SearchType } from '../../domain/slice.ts';
import { ENDS_OF_SLICE, type EndOfSlice } from '../../planning/end-of-slice.ts';
import { surroundings } from '../../postgres/connection/surroundings.ts';
import { parseDatabaseUrl } from '../../postgres/driver/database-url.ts';
import { LOG_FORMATS, LOG_LEVELS, type LogFormat, type LogLevel } from '../../report/log.ts';
import { count } from '../../report/render.ts';
import type { Credentials } from '../../search-console/auth/credentials.ts';
import { unreadableFile } from '../../search-console/auth/credentials-file.ts';
import { secureUrl } from '../../search-console/request/root.ts';
import { checkSiteUrl, MAX_CONCURRENCY } from '../../sync/config.ts';
import { MAX_SAMPLE, MAX_SEED } from '../../sync/verification/config.ts';
import { usageError } from '../process/errors.ts';

export const LIMITS = {
  maxConcurrency: [1, MAX_CONCURRENCY],
  batchSize: [1, 1_000],
  qpm: [1, 40_000],
  days: [1, 500],
  sample: [1, MAX_SAMPLE],
  seed: [0, MAX_SEED],
} as const;

/** Returns a parser for the whole number of an option: `--qpm 1200`. */
export function wholeNumber(option: string, [min, max]: readonly [number, number]) {
  return (text: string): number => {
    const value = /^[+-]?\d{1,15}$/.test(text.trim()) ? Number(text) : Number.NaN;
    if (value >= min && value <= max) return value;
    throw usageError(
      `${option} ${quoted(text)} is not a whole number from ${count(min)} to ${count(max)}.`,
      `For example: ${option} ${min === 1 ? Math.min(max, 50) : min}`,
    );
  };
}

/** Returns a parser for a number of concurrent calls, or `auto`. */
export function concurrency(option: string) {
  const [min, max] = LIMITS.maxConcurrency;
  const readNumber = wholeNumber(option, LIMITS.maxConcurrency);
  return (text: string): number | 'auto' => {
    const word = text.trim().toLowerCase();
    if (word === 'auto') return 'auto';
    if (/^[+-]?\d/.test(word)) return readNumber(text);
    throw usageError(
      `${option} ${quoted(text)} is neither a whole number from ${count(min)} to ${count(max)} nor "auto".`,
      `For example: ${option} auto`,
    );
  };
}

export function readSite(text: string): string {
  return checkSiteUrl(text.trim());
}

export function readDay(option: string) {
  return (text: string): Day => {
    if (isDay(text.trim())) return text.trim();
    throw usageError(
      `${option} ${quoted(text)} is not a real date.`,
      'Write it as YYYY-MM-DD, for example 2026-01-31.',
    );
  };
}

/** `page,query+page` → `['page', 'page+query']` */
export function readDatasets(text: string): readonly string[] {
  const names = readList(text);
  const parsed = parseDatasets(names);
  if ('problem' in parsed) throw usageError(parsed.problem, 'For example: --datasets page,page+query');
  if (names.length === 0)
    throw usageError('--datasets names none.', 'For example: --datasets page,page+query');
  return parsed.datasets;
}

/** One dataset's name: `query+page` → `page+query`. */
export function readDataset(text: string): Dataset {
  const [dataset, ...more] = readDatasets(text);
  if (dataset !== undefined && more.length === 0) return dataset;
  throw usageError('--dataset names more than one.', 'For example: --dataset page+query');
}

export function readType(text: string): SearchType {
  const [type, ...more] = readTypes(text);
  if (type !== undefined && more.length === 0) return type;
  throw usageError('--type names more than one.', 'For example: --type web');
}

export function readTypes(text: string): readonly SearchType[] {
  const types = readList(text).flatMap((name) => {
    if (name.toLowerCase() === 'all') return [...SEARCH_TYPES];
    const type = SEARCH_TYPES.find((known) => known.toLowerCase() === name.toLowerCase());
    if (type === undefined) {
      throw usageError(
        `${quoted(name)} is not a search type.`,
        `Use some of ${SEARCH_TYPES.join(', ')}, or all.`,
      );
    }
    return [type];
  });
  if (types.length === 0) throw usageError('--types names none.', `Use some of ${SEARCH_TYPES.join(', ')}.`);
  return [...new Set(types)];
}

/** One of the filters; the option may be repeated. */
export function readFilter(text: string, before: readonly Filter[] = []): readonly Filter[] {
  const parsed = parseFilter(text);
  if ('problem' in parsed) throw usageError(parsed.problem, "For example: --filter 'page includes /blog/'");
  return [...before, parsed.filter];
}

export function readAggregation(text: string): Aggregation {
  const known = AGGREGATIONS.find((one) => one.toLowerCase() === text.toLowerCase());
  if (known !== undefined) return known;
  throw usageError(`${quoted(text)} is not an aggregation.`, `Use one of ${AGGREGATIONS.join(', ')}.`);
}

/** What of a range by hour Google no longer has. Undefined: nothing. */
export function noteOnHours({
  from,
  today,
  datasets,
}: {
  readonly from: Day;
  readonly today: Day;
  readonly datasets: readonly Dataset[];
}): string | undefined {
  const oldest = datasets.map((dataset) => oldestDayOf(dataset, today)).find((day) => day !== null);
  return oldest === undefined || oldest === null || oldest <= from
    ? undefined
    : `Google keeps ten days by hour: those datasets start at ${oldest}.`;
}

export function readLogLevel(text: string): LogLevel {
  const level = LOG_LEVELS.find((known) => known === text.toLowerCase());
  if (level !== undefined) return level;
  throw usageError(`${quoted(text)} is not a log level.`, `Use one of ${LOG_LEVELS.join(', ')}.`);
}

export function readEndOfSlice(text: string): EndOfSlice {
  const end = ENDS_OF_SLICE.find((known) => known === text.trim().toLowerCase());
  if (end !== undefined) return end;
  throw usageError(
    `--end-of-slice ${quoted(text)} is not a way to end a slice.`,
    `Use one of ${ENDS_OF_SLICE.join(', ')}.`,
  );
}

export function readLogFormat(text: string): LogFormat {
  const format = LOG_FORMATS.find((known) => known === text.toLowerCase());
  if (format !== undefined) return format;
  throw usageError(`${quoted(text)} is not a log format.`, `Use one of ${LOG_FORMATS.join(', ')}.`);
}

/** Returns a parser for a URL that tokens or credentials are sent to. */
export function readRoot(option: string) {
  return (text: string): string => secureUrl(text.trim(), option).href;
}

export function readDatabaseUrl(text: string, source: string): string {
  try {
    parseDatabaseUrl(text, surroundings());
    return text;
  } catch (error) {
    if (!(error instanceof LongtailError)) throw error;
    // The text itself is not repeated, because it may contain a password.
    throw usageError(error.message.replace('The database URL', source), error.nextStep);
  }
}

export interface RangeFlags {
  readonly from?: Day;
  readonly to?: Day;
  readonly days?: number;
}

/**
 * Checks the options of the range against each other. `today` is Google's current day, in Pacific time.
 * @returns a line to print if the range begins before the oldest day that Google keeps.
 */
export function checkRange({ from, to, days }: RangeFlags, today: Day): string | undefined {
  const oldest = oldestDayKept(today);
  if (days !== undefined && (from !== undefined || to !== undefined)) {
    throw usageError(
      '--days cannot be combined with --from or --to.',
      'Pass either a number of days or dates.',
    );
  }
  for (const [option, day] of [
    ['--from', from],
    ['--to', to],
  ] as const) {
    if (day !== undefined && day > today) {
      throw usageError(
        `${option} ${day} is in the future: today is ${today} in Pacific time, which is Google’s.`,
        `The newest day that is final is about ${addDays(today, -FINAL_LAG_DAYS)}.`,
      );
    }
  }
  if (from !== undefined && to !== undefined && from > to) {
    throw usageError(`--from ${from} is after --to ${to}.`, `Did you mean --from ${to} --to ${from}?`);
  }
  if (to !== undefined && to < oldest) {
    throw usageError(
      `Google keeps 16 months: it has no data left up to ${to}.`,
      `The oldest day it still has is ${oldest}.`,
    );
  }
  if (from !== undefined && from < oldest) {
    return `Google keeps 16 months: starting at ${oldest} instead of ${from}.`;
  }
  if (days !== undefined && addDays(today, -FINAL_LAG_DAYS + 1 - days) < oldest) {
    return `Google keeps 16 months: starting at ${oldest}, fewer than ${counted(days)} ago.`;
  }
  return undefined;
}

const counted = (days: number): string => `${count(days)} days`;

/** The options for Google's credentials and addresses. */
export interface AccessFlags {
  readonly credentials?: string;
  /** The name of the account that the credentials belong to. */
  readonly account?: string;
  readonly apiRoot?: string;
  readonly tokenUrl?: string;
}

export interface Access {
  readonly credentials?: Credentials;
  readonly apiRoot?: string;
  readonly tokenUrl?: string;
}

/**
 * An option overrides its variable. Credentials are taken from `--credentials`, otherwise `LONGTAIL_ACCESS_TOKEN`, otherwise
 * `GOOGLE_APPLICATION_CREDENTIALS`.
 */
export function readAccess(flags: AccessFlags, env: NodeJS.ProcessEnv): Access {
  const apiRoot = flags.apiRoot ?? fromEnvironment(env, 'LONGTAIL_API_ROOT', readRoot('LONGTAIL_API_ROOT'));
  const tokenUrl =
    flags.tokenUrl ?? fromEnvironment(env, 'LONGTAIL_TOKEN_URL', readRoot('LONGTAIL_TOKEN_URL'));
  const account = flags.account ?? variable(env, 'LONGTAIL_ACCOUNT');
  const credentials = readCredentials(flags.credentials, account, env);
  return {
    ...(credentials === undefined ? {} : { credentials }),
    ...(apiRoot === undefined ? {} : { apiRoot }),
    ...(tokenUrl === undefined ? {} : { tokenUrl }),
  };
}

function readCredentials(
  file: string | undefined,
  account: string | undefined,
  env: NodeJS.ProcessEnv,
): Credentials | undefined {
  if (file !== undefined) return { file: checkFile(file, '--credentials'), account };
  const accessToken = variable(env, 'LONGTAIL_ACCESS_TOKEN');
  if (accessToken !== undefined) return { accessToken, account };
  const named = variable(env, 'GOOGLE_APPLICATION_CREDENTIALS');
  if (named !== undefined) return { file: checkFile(named, 'GOOGLE_APPLICATION_CREDENTIALS'), account };
  return account === undefined ? undefined : { account };
}

function checkFile(path: string, source: string): string {
  const isThere = existsSync(path);
  if (isThere && statSync(path).isFile()) return path;
  throw unreadableFile(path, source, isThere ? 'that is not a file' : 'there is no such file');
}

/** The value of a variable. An empty one counts as not set. */
export function variable(env: NodeJS.ProcessEnv, name: string): string | undefined {
  const value = env[name]?.trim();
  return value === '' ? undefined : value;
}

function fromEnvironment<T>(env: NodeJS.ProcessEnv, name: string, read: (text: string) => T): T | undefined {
  const value = variable(env, name);
  return value === undefined ? undefined : read(value);
}

function readList(text: string): string[] {
  return text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');
}
