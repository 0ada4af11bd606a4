/** The questions of docs/sql.md, as they stand there. */
import { readFileSync } from 'node:fs';

export interface Question {
  readonly title: string;
  readonly sql: string;
}

/** @param places What the document's property and page are here. */
export function readQuestions(places: { readonly siteUrl: string; readonly page: string }): Question[] {
  const text = readFileSync(new URL('../../docs/sql.md', import.meta.url), 'utf8');
  return text.split(/^## /m).flatMap((section) => {
    const sql = /^```sql\n([\s\S]+?);\n```$/m.exec(section)?.[1];
    if (sql === undefined) return [];
    const here = sql
      .replaceAll(`'sc-domain:example.com'`, `'${places.siteUrl}'`)
      .replaceAll(`'https://www.example.com/'`, `'${places.page}'`);
    return [{ title: section.slice(0, section.indexOf('\n')), sql: here }];
  });
}
