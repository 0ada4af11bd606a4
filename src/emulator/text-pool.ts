/** A dimension's values by number. Rows contain the numbers; texts are inserted when an answer is written. */
export interface TextPool {
  readonly texts: readonly string[];
  /** Each text as JSON, quotes included. */
  readonly json: readonly string[];
}

export function textPool(texts: readonly string[]): TextPool {
  return { texts, json: texts.map((text) => JSON.stringify(text)) };
}
