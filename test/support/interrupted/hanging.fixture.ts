/** Starts one of everything, says so, and then hangs until the whole run is interrupted. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { startEmbedded } from '../../../src/embedded-postgres/embedded.ts';
import { startEmulator } from '../../../src/emulator/index.ts';
import { useWorkplace } from '../embedded.ts';
import { startTestServer, testDatabase } from '../postgres.ts';
import { settledDays } from '../property.ts';
import { startSyncProcess } from '../sync-process.ts';

const workplace = useWorkplace();

test('it hangs, or fails', async () => {
  const database = await testDatabase();
  await startTestServer();
  await startEmbedded(workplace().options());
  const emulator = await startEmulator({ latencyMs: 60_000 });
  const [day = ''] = settledDays(1);
  startSyncProcess({ databaseUrl: database.url, emulator, from: day, to: day });
  await expect.poll(() => emulator.counters.httpCalls, { timeout: 30_000 }).toBeGreaterThan(0);
  writeFileSync(join(process.env.READY ?? '', 'ready'), '');
  if (process.env.FAILS === 'yes') throw new Error('as told');
  await new Promise(() => undefined);
}, 600_000);
