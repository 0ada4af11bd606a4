// Holds invariants 11 of SPEC.md.
/** A process that stands still in the middle of a commit, for as long as the server takes it for alive, and whoever comes next. */
import postgres from 'postgres';
import { expect, test } from 'vitest';
import { createSync } from '../../src/sync/sync.ts';
import { testDatabase } from '../support/postgres.ts';
import { emulate, options, SITE, settledDays } from '../support/property.ts';
import { expectWhole } from './support/watching.ts';

const datasets = ['page'];
const days = settledDays(6);

test.each([
  ['as they are', ''],
  ['by the name that the URL gives them', '?application_name=shop'],
])('its sessions are known %s, and ended: the next run does not wait for hours', async (_, parameters) => {
  await using database = await testDatabase();
  await using emulator = await emulate({ rowsPerDay: 20 });
  const url = `${database.url}${parameters}`;
  const settings = options(url, emulator, days, { datasets });
  await using first = createSync(settings);
  await first.run();
  const frozen = postgres(database.url, {
    max: 1,
    onnotice: () => undefined,
    connection: { application_name: parameters === '' ? 'longtail' : 'shop' },
  });
  try {
    const session = await frozen.reserve();
    await session`begin`;
    await session`update longtail.run set status = 'running'`;
    await session`commit`;
    await session`begin`;
    await session`select from longtail.run r join longtail.property p on p.id = r.property_id
      where p.site_url = ${SITE} for share of r`;
    await using next = createSync({ ...settings, refresh: true });
    const startedAtMs = performance.now();
    expect(await next.run()).toMatchObject({ status: 'complete', slices: { complete: 6 } });
    expect(performance.now() - startedAtMs).toBeLessThan(20_000);
    await expectWhole(database.sql, emulator, datasets, days);
  } finally {
    await frozen.end({ timeout: 1 });
  }
});
