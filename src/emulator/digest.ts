import { createHash } from 'node:crypto';
import type { AnswerRow } from './answer-text.ts';

/**
 * A digest of rows that tests and SQL can reproduce. Each row is a line: its keys in the order of the dataset's dimensions,
 * then clicks and impressions, joined by U+001F. The lines are sorted by their UTF-8 bytes, joined by newlines, and hashed
 * with MD5. In PostgreSQL, for `page+query`:
 *
 * ```sql
 * SELECT count(*), sum(clicks), sum(impressions),
 *        md5(coalesce(string_agg(line, E'\n' ORDER BY line COLLATE "C"), ''))
 * FROM (SELECT clicks, impressions, concat_ws(E'\x1f', page, query, clicks, impressions) AS line
 *       FROM search_analytics WHERE dataset = 'page+query' AND date = '2026-05-01') AS lines
 * ```
 */
export interface Digest {
  readonly rows: number;
  readonly clicks: number;
  readonly impressions: number;
  /** MD5 in lower-case hexadecimal. */
  readonly hash: string;
}

export function digestOf(rows: Iterable<AnswerRow>): Digest {
  const lines: Buffer[] = [];
  let clicks = 0;
  let impressions = 0;
  for (const row of rows) {
    lines.push(Buffer.from([...row.keys, row.clicks, row.impressions].join('\u001f'), 'utf8'));
    clicks += row.clicks;
    impressions += row.impressions;
  }
  lines.sort(Buffer.compare);
  const hash = createHash('md5');
  for (const [index, line] of lines.entries()) {
    if (index > 0) hash.update('\n');
    hash.update(line);
  }
  return { rows: lines.length, clicks, impressions, hash: hash.digest('hex') };
}
