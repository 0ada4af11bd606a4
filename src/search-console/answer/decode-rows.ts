import { isUtf8 } from 'node:buffer';
import { isDay } from '../../domain/day.ts';
import type { Day } from '../../domain/slice.ts';
import { type PlainRow, type RowBlock, rowBlock } from '../../rows/row-block.ts';
import { ScanMemory, scanRows } from './scan-rows.ts';

/** One answer of searchAnalytics.query. */
export interface QueryAnswer {
  /** Valid until the next answer is asked for. */
  readonly rows: RowBlock;
  /** The first day that is not yet wholly counted; sent only when grouping by date. */
  readonly firstIncompleteDate: Day | null;
  /** The first hour that is not yet wholly counted, such as `2026-04-07T05:00:00-07:00`; sent only for data by hour. */
  readonly firstIncompleteHour: string | null;
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
 * Reads one answer. Its rows are found where they lie (`scan-rows.ts`); what that does not know is parsed, and checked
 * field by field. `problem` is a sentence that says what is wrong, and quotes nothing of the answer.
 */
export function decodeRows(
  bytes: Buffer,
  { keyCount, rowLimit }: Asked,
  memory: ScanMemory = new ScanMemory(),
): { readonly answer: QueryAnswer } | { readonly problem: string } {
  // `toString` would replace broken bytes silently, and a changed key is a wrong row.
  if (!isUtf8(bytes)) return { problem: 'The answer is not valid UTF-8.' };
  const scanned = scanRows(bytes, keyCount, rowLimit, memory);
  if (scanned !== undefined) {
    const rest = readEnvelope(
      bytes.toString('utf8', 0, scanned.from) + NO_ROWS + bytes.toString('utf8', scanned.to),
      bytes.length,
    );
    // Rows that are not the outermost object's own: then all is read the slow way.
    if (!('problem' in rest) && rest.rows === null) return { answer: answerOf(rest, scanned.block, bytes) };
  }
  const envelope = readEnvelope(bytes.toString('utf8'), bytes.length);
  if ('problem' in envelope) return envelope;
  const rows = envelope.rows ?? [];
  if (!Array.isArray(rows)) return { problem: 'The answer has rows that are not an array.' };
  if (rows.length > rowLimit) {
    return { problem: `The answer has ${rows.length} rows where ${rowLimit} were asked for.` };
  }
  const problem = checkRows(rows, keyCount);
  if (problem !== null) return { problem };
  return { answer: answerOf(envelope, rowBlock(rows as PlainRow[], keyCount), bytes) };
}

/** Stands where the rows stood. */
const NO_ROWS = 'null';

interface Envelope {
  readonly rows: unknown;
  readonly firstIncompleteDate: Day | null;
  readonly firstIncompleteHour: string | null;
  readonly responseAggregationType: string | null;
}

/** All of an answer but its rows. */
function readEnvelope(json: string, bytes: number): Envelope | { readonly problem: string } {
  let parsed: unknown;
  try {
    parsed = JSON.parse(json);
  } catch {
    return { problem: `The answer is not whole JSON (${bytes} bytes).` };
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
  const firstIncompleteHour = metadata.firstIncompleteHour ?? metadata.first_incomplete_hour ?? null;
  if (
    firstIncompleteHour !== null &&
    !(typeof firstIncompleteHour === 'string' && isHour(firstIncompleteHour))
  ) {
    return { problem: 'The answer has a firstIncompleteHour that is not an hour.' };
  }
  const aggregation = parsed.responseAggregationType;
  return {
    rows: parsed.rows,
    firstIncompleteDate,
    firstIncompleteHour,
    responseAggregationType: typeof aggregation === 'string' ? aggregation : null,
  };
}

function answerOf(envelope: Envelope, rows: RowBlock, bytes: Buffer): QueryAnswer {
  const { firstIncompleteDate, firstIncompleteHour, responseAggregationType } = envelope;
  return { rows, firstIncompleteDate, firstIncompleteHour, responseAggregationType, bytes: bytes.length };
}

const isHour = (text: string): boolean => isDay(text.slice(0, 10)) && /^T\d{2}/.test(text.slice(10));

/** Checks rows in place and fills in what may be absent, so that no second object a row is made. */
function checkRows(rows: unknown[], keyCount: number): string | null {
  let clicks = 0;
  let impressions = 0;
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
    clicks += row.clicks;
    impressions += row.impressions;
    const position = row.position;
    if (position === undefined) row.position = null;
    else if (position !== null && !(typeof position === 'number' && position >= 0 && position < Infinity)) {
      return `Row ${index} has a position that is not a number of 0 or more.`;
    }
  }
  // The ledger's sums would no longer be those of the rows.
  if (!isCount(clicks) || !isCount(impressions))
    return 'The rows have more clicks or impressions than can be counted exactly.';
  return null;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
