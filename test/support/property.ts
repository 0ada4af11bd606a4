import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { addDays, pacificDay } from '../../src/domain/day.ts';
import type { Day } from '../../src/domain/slice.ts';
import { type Emulator, type EmulatorOptions, startEmulator } from '../../src/emulator/index.ts';
import type { SyncOptions } from '../../src/sync/types.ts';

export const SITE = 'sc-domain:example.com';

export const TODAY: Day = pacificDay(Date.now());

/** The day so many days before today. */
export const daysAgo = (count: number): Day => addDays(TODAY, -count);

/** `count` days, newest first, all of them far older than what Google still changes. */
export const settledDays = (count: number): Day[] =>
  Array.from({ length: count }, (_, index) => daysAgo(20 + index));

/** Quotas that no test runs into unless it wants to. */
const AMPLE = { perSiteQpm: 1_000_000, perUserQpm: 1_000_000, perProjectQpm: 10_000_000 };

/** An emulator whose quotas are ample, unless `options` say otherwise. */
export function emulate(options: EmulatorOptions = {}): Promise<Emulator> {
  return startEmulator({ ...options, quotas: { ...AMPLE, ...options.quotas } });
}

/** Options of a synchronisation of {@link SITE} with the emulator, over `days` (newest first). */
export function options(
  database: NonNullable<SyncOptions['database']>,
  emulator: Emulator,
  days: readonly Day[],
  more: Partial<SyncOptions> = {},
): SyncOptions {
  const [to] = days;
  const from = days.at(-1);
  if (from === undefined || to === undefined) throw new Error('no days');
  return {
    siteUrl: SITE,
    database,
    from,
    to,
    apiRoot: emulator.url,
    credentials: { accessToken: 'a-token' },
    requestsPerMinute: 40_000,
    // Tests count requests: what is looked behind of short pages would be among them.
    endOfSlice: 'short',
    ...more,
  };
}

/** What the emulator was asked for, a calendar among it, oldest first. */
export function queries(
  emulator: Emulator,
): { date: string; dimensions: string; type: string; startRow: number }[] {
  return emulator.requests.flatMap(({ body }) => {
    // The client's own bodies: the emulator has read them.
    const query = body as { startDate: string; dimensions: string[]; type: string; startRow: number };
    const { startDate: date, dimensions, type, startRow } = query;
    return [{ date, dimensions: dimensions.join('+'), type, startRow }];
  });
}

/** The most requests that arrived in any window of that width, of those that `of` takes. */
export function largestWindow(
  emulator: Emulator,
  windowMs: number,
  of: (request: Emulator['requests'][number]) => boolean = () => true,
): number {
  const times = emulator.requests.filter(of).map(({ arrivedAtMs }) => arrivedAtMs);
  let first = 0;
  return times.reduce((largest, time, index) => {
    while ((times[first] ?? time) <= time - windowMs) first += 1;
    return Math.max(largest, index - first + 1);
  }, 0);
}

/** A user's credentials file, whose refresh token the emulator's token endpoint takes. */
export async function credentialsFile(): Promise<AsyncDisposable & { readonly path: string }> {
  const folder = await mkdtemp(join(tmpdir(), 'longtail-credentials-'));
  const path = join(folder, 'credentials.json');
  const content = {
    type: 'authorized_user',
    client_id: '1234-abc.apps.googleusercontent.com',
    client_secret: randomBytes(8).toString('hex'),
    refresh_token: randomBytes(8).toString('hex'),
  };
  await writeFile(path, JSON.stringify(content), { mode: 0o600 });
  return { path, [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }) };
}
