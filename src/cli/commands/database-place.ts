import { join } from 'node:path';
import { startEmbedded } from '../../embedded-postgres/embedded.ts';
import { surroundings } from '../../postgres/connection/surroundings.ts';
import { parseDatabaseUrl } from '../../postgres/driver/database-url.ts';
import { readDatabaseUrl, variable } from './options.ts';
import type { Session } from './session.ts';

/** Where a command's tables are. */
export interface CommandDatabase {
  readonly url: string;
  /** Only for the embedded server. `connectLine` is a shell command that connects to it. */
  readonly embedded?: { readonly directory: string; readonly connectLine: string };
  /** Leaves the embedded server, and waits for that at most `waitMs` milliseconds. Nothing to do for other databases. */
  close(options?: { readonly waitMs?: number }): Promise<void>;
}

/** Opens the database from the option or `DATABASE_URL`, otherwise the embedded server. */
export async function openDatabase(option: string | undefined, session: Session): Promise<CommandDatabase> {
  const { env, redactor } = session;
  redactor.hidePasswordOf(option);
  const named = namedDatabase(option, env);
  if (named !== undefined) redactor.hide(parseDatabaseUrl(named, surroundings(env)).password);
  if (named !== undefined) return { url: named, close: () => Promise.resolve() };
  const server = await startEmbedded({ log: (line) => session.output.note(line) });
  redactor.hidePasswordOf(server.url);
  return {
    url: server.url,
    embedded: { directory: server.directory, connectLine: connectLine(server.url, server.directory) },
    close: (options) => server.close(options),
  };
}

/** The checked URL from the option or `DATABASE_URL`. Does not connect. */
export function namedDatabase(option: string | undefined, env: NodeJS.ProcessEnv): string | undefined {
  if (option !== undefined) return readDatabaseUrl(option, '--database-url');
  const fromEnvironment = variable(env, 'DATABASE_URL');
  return fromEnvironment === undefined ? undefined : readDatabaseUrl(fromEnvironment, 'DATABASE_URL');
}

/** A psql line that names the file with the password instead of the password. */
export function connectLine(serverUrl: string, directory: string): string {
  const url = new URL(serverUrl);
  const password = shellWord(join(directory, 'password'));
  const database = url.pathname.slice(1);
  return `PGPASSWORD="$(cat ${password})" psql -h ${url.hostname} -p ${url.port} -U ${url.username} ${database}`;
}

/** The URL with its password, in the form that most programs accept. */
export function urlForOthers(serverUrl: string): string {
  const url = new URL(serverUrl);
  // Not every driver knows this parameter, and a single server does not need it.
  url.searchParams.delete('target_session_attrs');
  return url.href;
}

function shellWord(text: string): string {
  return /^[\w./:@%+=,-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
