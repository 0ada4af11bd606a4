import { isUtf8 } from 'node:buffer';
import { isDay } from '../domain/day.ts';
import type { Day } from '../domain/slice.ts';

/** One row as the API gives it. `keys` are the dimensions asked for, in that order. */
export interface QueryRow {
  readonly keys: readonly string[];
  readonly clicks: number;
  readonly impressions: number;
  /** Absent for Discover and Google News. */
  readonly position: number | null;
}

/** One answer of searchAnalytics.query. */
export interface QueryAnswer {
  readonly rows: readonly QueryRow[];
  /** The first day that is not yet wholly counted; sent only when grouping by date. */
  readonly firstIncompleteDate: Day | null;
  /** `byPage` or `byProperty`, or null when the server left it out. */
  readonly responseAggregationType: string | null;
  /** Size of the JSON, decompressed. */
  readonly bytes: number;
}

/** What was asked for, to hold the answer against. */
export interface Asked {
  readonly keyCount: number;
  readonly rowLimit: number;
}

const NO_KEYS: readonly string[] = [];

/**
 * Reads one answer. Every field that is used is checked, by a loop of our own: a schema library takes longer than the
 * parsing. `problem` is a sentence that says what is wrong, and quotes nothing of the answer.
 */
export function decodeRows(
  bytes: Buffer,
  asked: Asked,
): { readonly answer: QueryAnswer } | { readonly problem: string } {
  // `toString` would replace broken bytes silently, and a changed key is a wrong row.
  if (!isUtf8(bytes)) return { problem: 'The answer is not valid UTF-8.' };
  let parsed: unknown;
  try {
    parsed = JSON.parse(bytes.toString('utf8'));
  } catch {
    return { problem: `The answer is not whole JSON (${bytes.length} bytes).` };
  }
  if (!isObject(parsed)) return { problem: 'The answer is not a JSON object.' };
  if (parsed.error !== undefined) return { problem: 'The answer has status 200 and holds an error.' };
  const metadata = parsed.metadata ?? {};
  if (!isObject(metadata)) return { problem: 'The answer has metadata that is not an object.' };
  // Camel case on the wire; the reference prints it with underscores.
  const firstIncompleteDate = metadata.firstIncompleteDate ?? metadata.first_incomplete_date ?? null;
  if (
    firstIncompleteDate !== null &&
    !(typeof firstIncompleteDate === 'string' && isDay(firstIncompleteDate))
  ) {
    return { problem: 'The answer has a firstIncompleteDate that is not a day.' };
  }
  const aggregation = parsed.responseAggregationType;
  const rows = parsed.rows ?? [];
  if (!Array.isArray(rows)) return { problem: 'The answer has rows that are not an array.' };
  if (rows.length > asked.rowLimit) {
    return { problem: `The answer has ${rows.length} rows where ${asked.rowLimit} were asked for.` };
  }
  const problem = checkRows(rows, asked.keyCount);
  if (problem !== null) return { problem };
  return {
    answer: {
      rows: rows as QueryRow[],
      firstIncompleteDate,
      responseAggregationType: typeof aggregation === 'string' ? aggregation : null,
      bytes: bytes.length,
    },
  };
}

/** Checks rows in place and fills in what may be absent, so that no second object a row is made. */
function checkRows(rows: unknown[], keyCount: number): string | null {
  for (let index = 0; index < rows.length; index++) {
    const row = rows[index];
    if (!isObject(row)) return `Row ${index} is not an object.`;
    const keys = row.keys;
    if (keys === undefined && keyCount === 0) row.keys = NO_KEYS;
    else if (!Array.isArray(keys) || keys.length !== keyCount)
      return `Row ${index} has not ${keyCount} keys.`;
    else {
      for (let key = 0; key < keyCount; key++) {
        if (typeof keys[key] !== 'string') return `Row ${index} has a key that is not text.`;
      }
    }
    // Doubles on the wire, counts by nature.
    if (!isCount(row.clicks)) return `Row ${index} has clicks that are not a count.`;
    if (!isCount(row.impressions)) return `Row ${index} has impressions that are not a count.`;
    const position = row.position;
    if (position === undefined) row.position = null;
    else if (position !== null && !(typeof position === 'number' && position >= 0 && position < Infinity)) {
      return `Row ${index} has a position that is not a number of 0 or more.`;
    }
  }
  return null;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
