import { readFile, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import type { DatabaseAddress } from './database-url.ts';

/** The database's password from `~/.pgpass` or the file that `PGPASSFILE` names, or an empty string. Like libpq, ignores a file that others may read. */
export async function passwordFromFile(address: DatabaseAddress): Promise<string> {
  const path = address.passwordFile ?? join(homedir(), '.pgpass');
  try {
    const { mode } = await stat(path);
    if ((mode & 0o077) !== 0 && process.platform !== 'win32') return '';
    return findPassword(await readFile(path, 'utf8'), address);
  } catch {
    return '';
  }
}

/** The password in the first matching line: `host:port:database:user:password`, with `*` for any and `\` before `:` and `\`. */
export function findPassword(text: string, { endpoints, database, user }: DatabaseAddress): string {
  const [endpoint] = endpoints;
  if (endpoint === undefined) return '';
  // libpq matches "localhost" for a Unix socket in its default folder, and the folder for any other.
  const hosts =
    endpoint.kind === 'tcp'
      ? [endpoint.host]
      : ['localhost', endpoint.path.replace(/\/\.s\.PGSQL\.\d+$/, '')];
  for (const line of text.split(/\r?\n/)) {
    if (line.startsWith('#')) continue;
    const fields = [...line.matchAll(/(?:^|:)((?:[^:\\]|\\.)*)/g)].map(([, field = '']) =>
      field.replace(/\\(.)/g, '$1'),
    );
    const [host, port, name, login] = fields;
    const fits =
      (host === '*' || hosts.some((known) => known === host)) &&
      (port === '*' || port === String(endpoint.port)) &&
      (name === '*' || name === database) &&
      (login === '*' || login === user);
    if (fits) return fields.slice(4).join(':');
  }
  return '';
}
