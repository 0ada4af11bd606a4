/**
 * Writes `src/postgres/schema/migrations.ts` from the SQL files in `drizzle/`, because a program that is bundled into one
 * file has no other files. With `--check` it writes nothing, and fails if the module does not match the files.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const MODULE = 'src/postgres/schema/migrations.ts';
const root = fileURLToPath(new URL('..', import.meta.url));

interface Journal {
  readonly entries: readonly { readonly when: number; readonly tag: string }[];
}

const { entries } = JSON.parse(readFileSync(`${root}drizzle/meta/_journal.json`, 'utf8')) as Journal;
const migrations = entries.map(({ when, tag }) => {
  const text = readFileSync(`${root}drizzle/${tag}.sql`, 'utf8');
  const statements = text.split('--> statement-breakpoint').map((statement) => literal(statement.trim()));
  // Computed as by Drizzle's own migrator, because databases have recorded its hashes.
  const hash = createHash('sha256').update(text).digest('hex');
  return `{ tag: '${tag}', moment: ${when}, hash: '${hash}', statements: [${statements.join(', ')}] }`;
});
const source = `// Written by \`npm run migrations\` out of drizzle/: change the files there, not this one.

/** One step from the tables of a version to those of the next. */
export interface Migration {
  readonly tag: string;
  /** When it was made, in milliseconds: its name in \`longtail.migrations\`. */
  readonly moment: number;
  readonly hash: string;
  readonly statements: readonly string[];
}

/** In the order in which they are applied. */
export const MIGRATIONS: readonly Migration[] = [${migrations.join(', ')}];
`;
const written = execFileSync('node_modules/.bin/biome', ['format', `--stdin-file-path=${MODULE}`], {
  cwd: root,
  input: source,
  encoding: 'utf8',
});

if (!process.argv.includes('--check')) writeFileSync(`${root}${MODULE}`, written);
else if (readFileSync(`${root}${MODULE}`, 'utf8') !== written) {
  console.error(`${MODULE} is not what drizzle/ says. Run: node scripts/migrations.ts`);
  process.exitCode = 1;
}

function literal(text: string): string {
  return `\`${text.replace(/[\\`]|\$\{/g, '\\$&')}\``;
}
