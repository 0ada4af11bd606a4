import type { Day } from '../domain/slice.ts';
import type { Table } from './dataset.ts';
import { hoursOf } from './hours.ts';
import type { QueryRequest } from './query-request.ts';

/** One row as a caller reads it. `position` is missing where Google gives none, `keys` for totals. */
export interface AnswerRow {
  readonly keys: readonly string[];
  readonly clicks: number;
  readonly impressions: number;
  readonly ctr: number;
  readonly position: number | undefined;
}

/** Details of the answer that Google does not document and users report differently. Each is a setting. */
export interface AnswerStyle {
  readonly pretty: boolean;
  readonly withPosition: boolean;
  /** The `keys` of a totals row: missing, or an empty list. */
  readonly totalsKeys: 'absent' | 'empty';
  /** How names inside `metadata` are spelled. */
  readonly metadataNames: 'camel' | 'snake';
}

const ROWS_A_CHUNK = 500;

/** The table's rows from `startRow` on, as objects. */
export function* answerRows(
  table: Table,
  startRow: number,
  rowLimit: number,
  withPosition: boolean,
): Generator<AnswerRow> {
  const { groups, columns } = table;
  for (const row of table.order.subarray(startRow, startRow + rowLimit)) {
    const key = groups.keys[row] ?? 0;
    const clicks = groups.clicks[row] ?? 0;
    const impressions = groups.impressions[row] ?? 0;
    yield {
      keys: columns.map(
        ({ pool, radix }) => pool.texts[Math.floor(key / radix) % Math.max(1, pool.texts.length)] ?? '',
      ),
      clicks,
      impressions,
      ctr: clicks / impressions,
      position: withPosition ? (groups.positionSum[row] ?? 0) / impressions : undefined,
    };
  }
}

/** The answer's JSON text in pieces of about 60 KB, generated on demand. */
export function* answerText(
  table: Table,
  request: QueryRequest,
  style: AnswerStyle,
  firstIncompleteDay: Day | undefined,
): Generator<string> {
  const { pretty } = style;
  const rows = table.order.subarray(request.startRow, request.startRow + request.rowLimit);
  const [line, colon] = pretty ? ['\n  ', ': '] : ['', ':'];
  yield '{';
  if (rows.length > 0) {
    yield `${line}"rows"${colon}[`;
    yield* rowTexts(table, rows, style);
    yield pretty ? '\n  ],' : '],';
  }
  yield `${line}"responseAggregationType"${colon}"${request.aggregation}"`;
  if (firstIncompleteDay !== undefined) {
    const hourly = request.dataState === 'hourlyAll';
    const camel = hourly ? 'firstIncompleteHour' : 'firstIncompleteDate';
    const name =
      style.metadataNames === 'camel' ? camel : camel.replace(/[A-Z]/g, (l) => `_${l.toLowerCase()}`);
    const value = JSON.stringify(hourly ? hoursOf(firstIncompleteDay)[0] : firstIncompleteDay);
    yield pretty ? `,\n  "metadata": {\n    "${name}": ${value}\n  }` : `,"metadata":{"${name}":${value}}`;
  }
  yield pretty ? '\n}\n' : '}';
}

function* rowTexts(table: Table, rows: Uint32Array, style: AnswerStyle): Generator<string> {
  const { pretty, withPosition } = style;
  const { keys, clicks, impressions, positionSum } = table.groups;
  const columns = table.columns.map(({ pool, radix }) => ({
    json: pool.json,
    radix,
    size: Math.max(1, pool.json.length),
  }));
  const open = pretty ? '\n    {\n      ' : '{';
  const beforeKeys = pretty ? '"keys": [\n        ' : '"keys":[';
  const betweenKeys = pretty ? ',\n        ' : ',';
  const afterKeys = pretty ? '\n      ],\n      ' : '],';
  const [clicksName, shownName, ctrName, positionName] = pretty
    ? ['"clicks": ', ',\n      "impressions": ', ',\n      "ctr": ', ',\n      "position": ']
    : ['"clicks":', ',"impressions":', ',"ctr":', ',"position":'];
  const close = pretty ? '\n    }' : '}';
  const emptyKeys = style.totalsKeys === 'empty' ? (pretty ? '"keys": [],\n      ' : '"keys":[],') : '';

  let text = '';
  for (let i = 0; i < rows.length; i++) {
    const row = rows[i] ?? 0;
    const key = keys[row] ?? 0;
    text += i === 0 ? open : `,${open}`;
    if (columns.length === 0) text += emptyKeys;
    for (let c = 0; c < columns.length; c++) {
      const column = columns[c];
      if (column === undefined) continue;
      text += c === 0 ? beforeKeys : betweenKeys;
      text += column.json[Math.floor(key / column.radix) % column.size] ?? '""';
    }
    if (columns.length > 0) text += afterKeys;
    const shown = impressions[row] ?? 1;
    const clicked = clicks[row] ?? 0;
    text += clicksName + clicked + shownName + shown + ctrName + clicked / shown;
    if (withPosition) text += positionName + (positionSum[row] ?? 0) / shown;
    text += close;
    if (i % ROWS_A_CHUNK === ROWS_A_CHUNK - 1) {
      yield text;
      text = '';
    }
  }
  if (text !== '') yield text;
}
