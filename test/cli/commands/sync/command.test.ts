// @module-tag long
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type Emulator, startEmulator } from '../../../../src/emulator/index.ts';
import { type TestDatabase, testDatabase } from '../../../support/postgres.ts';
import {
  type Finished,
  lastLineOf,
  STACK_TRACE,
  type StartOptions,
  useLongtail,
} from '../../support/longtail.ts';

const SITE = 'sc-domain:example.com';
const TOKEN = 'a-token-that-must-not-be-seen';
const DAYS = 6;
/** Two datasets. */
const SLICES = 2 * DAYS;

const { start, run } = useLongtail();
let emulator: Emulator;
let database: TestDatabase;

beforeEach(async () => {
  [emulator, database] = await Promise.all([
    startEmulator({
      rowsPerDay: 30,
      sites: [SITE, { siteUrl: 'https://other.example/', permissionLevel: 'siteUnverifiedUser' }],
    }),
    testDatabase(),
  ]);
});
afterEach(async () => {
  await Promise.all([emulator.close(), database.close()]);
});

const options = (): StartOptions => ({
  env: { DATABASE_URL: database.url, LONGTAIL_ACCESS_TOKEN: TOKEN, LONGTAIL_API_ROOT: emulator.url },
});
const arguments_ = (...more: string[]): string[] => ['sync', '--site', SITE, '--days', String(DAYS), ...more];
const sync = (...more: string[]): Promise<Finished> => run(arguments_(...more), options());
const startSync = (...more: string[]) => start(arguments_(...more), options());

/** No secret, no stack: true of whatever comes out. */
function expectClean({ stdout, stderr }: Pick<Finished, 'stdout' | 'stderr'>): void {
  const password = new URL(database.url).password;
  for (const text of [stdout, stderr]) {
    expect(text).not.toContain(TOKEN);
    expect(text).not.toContain(password);
    expect(text).not.toMatch(STACK_TRACE);
    expect(text).not.toContain('\u001b');
  }
}

describe('a run', () => {
  it('that is complete ends with 0, and its JSON is what the table holds', async () => {
    const finished = await sync('--json');
    expect(finished.code).toBe(0);
    expectClean(finished);
    const [held] = await database.sql<{ rows: number }[]>`select count(*)::int as rows from search_analytics`;
    expect(finished.stdout.trimEnd().split('\n')).toHaveLength(1);
    expect(lastLineOf(finished.stdout)).toMatchObject({
      status: 'complete',
      siteUrl: SITE,
      slices: { planned: SLICES, complete: SLICES, failed: 0 },
      rows: held?.rows,
      apiCalls: SLICES + 1,
      haltReason: null,
      failures: [],
    });
    expect(held?.rows).toBeGreaterThan(DAYS * 30);
    expect(finished.stderr).toContain(`Complete: ${SITE}`);
    const before = emulator.requests.length;
    const again = await sync('--json');
    expect(again.code).toBe(0);
    expect(lastLineOf(again.stdout)).toMatchObject({ status: 'complete', apiCalls: 0, rows: held?.rows });
    expect(emulator.requests).toHaveLength(before);
  });

  it('says for people what came of it, on standard output', async () => {
    const finished = await sync();
    expect(finished.code).toBe(0);
    expect(finished.stdout).toContain(`Slices    ${SLICES} of ${SLICES} complete`);
    expect(finished.stdout).toContain('search_analytics');
    // Not a terminal: plain lines.
    expect(finished.stderr).toMatch(/^(Planning|Fetching|Ending)/m);
    expectClean(finished);
  });

  it('with failed slices ends with 3, and the next one fetches those alone', async () => {
    emulator.setFaults({
      rules: [
        { match: { dimensions: 'page', part: 2 }, times: 1, action: { kind: 'error', error: 'badRequest' } },
      ],
    });
    const finished = await sync('--json');
    expect(finished.code).toBe(3);
    expectClean(finished);
    const result = lastLineOf(finished.stdout) as {
      failures: { dataset: string; date: string; reason: string }[];
    };
    expect(result).toMatchObject({
      status: 'completeWithFailures',
      slices: { complete: SLICES - 1, failed: 1 },
    });
    expect(result.failures).toEqual([
      {
        dataset: 'page',
        date: expect.stringMatching(/^\d{4}-\d\d-\d\d$/),
        reason: expect.stringContaining('400'),
      },
    ]);
    expect(finished.stderr).toContain('1 slice failed:');
    const again = await sync('--json');
    expect(again.code).toBe(0);
    expect(lastLineOf(again.stdout)).toMatchObject({ apiCalls: 2, slices: { complete: SLICES, failed: 0 } });
  });

  it('that the day’s quota halts ends with 75, says when to come back, and goes on from there', async () => {
    emulator.setQuotas({ perDay: 5 });
    const finished = await sync('--json', '--batch-size', '2');
    expect(finished.code).toBe(75);
    expectClean(finished);
    expect(lastLineOf(finished.stdout)).toMatchObject({
      status: 'halted',
      haltReason: { kind: 'quota', quota: 'daily' },
    });
    expect(finished.stderr).toContain('again tomorrow');
    emulator.setQuotas({ perDay: 30_000_000 });
    const again = await sync('--json');
    expect(again.code).toBe(0);
    expect(lastLineOf(again.stdout)).toMatchObject({ slices: { complete: SLICES } });
  });

  it.each([
    ['an unverified one', 'https://other.example/'],
    ['an unknown one', 'sc-domain:nobody.example'],
  ])('of a property that is forbidden (%s) ends with 1, in two lines', async (_, site) => {
    const finished = await run(
      ['sync', '--site', site, '--days', '3', '--json', '--log-level', 'error'],
      options(),
    );
    expect(finished.code).toBe(1);
    expectClean(finished);
    expect(finished.stderr.trimEnd().split('\n')).toHaveLength(2);
    expect(finished.stderr).toContain('sufficient permission');
    expect(finished.stderr).toContain('longtail sites');
    expect(lastLineOf(finished.stdout)).toMatchObject({ status: 'failed', siteUrl: site, rows: 0 });
  });

  it('without a database ends with 1, in two lines without the password', async () => {
    const url = 'postgres://me:my-pass-word@127.0.0.1:1/none';
    const finished = await run(arguments_('--database-url', url, '--json'), options());
    expect(finished.code).toBe(1);
    expectClean(finished);
    expect(finished.stderr).not.toContain('my-pass-word');
    expect(finished.stderr.trimEnd().split('\n')).toHaveLength(2);
    expect(lastLineOf(finished.stdout)).toMatchObject({
      status: 'failed',
      slices: { planned: SLICES },
      rows: 0,
    });
    const debug = await run(arguments_('--database-url', url, '--log-level', 'debug'), options());
    expect(debug.stderr).toMatch(/ debug run\.broken error=LongtailError message=".*" .*at="\S+:\d+:\d+ < /);
    expectClean(debug);
  });

  it('is quiet when nobody reads its output', async () => {
    const running = startSync('--json');
    running.child.stdout?.destroy();
    const finished = await running.finished;
    expect(finished.code).toBe(0);
    expect(finished.stderr).not.toContain('EPIPE');
    expectClean(finished);
  });
});

describe('--dry-run', () => {
  it('says what it would take, calls nobody and fetches nothing', async () => {
    const finished = await sync('--dry-run', '--qpm', '10');
    expect(finished.code).toBe(0);
    expect(finished.stdout).toContain(`Slices to fetch  ${SLICES} of ${SLICES}`);
    expect(finished.stdout).toContain(`${SLICES + 1} at least`);
    expect(finished.stdout).toContain('1 min at least, at 10 requests a minute');
    const json = await sync('--dry-run', '--json');
    expect(lastLineOf(json.stdout)).toMatchObject({
      siteUrl: SITE,
      slicesPlanned: SLICES,
      slicesToFetch: SLICES,
      apiCalls: SLICES + 1,
    });
    expect(emulator.requests).toEqual([]);
  });
});

describe('--log-level', () => {
  const LINE =
    /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (error|warn|info|debug|trace) [a-zA-Z.]+( [a-zA-Z]+=\S.*)?$/;
  const logOf = (stderr: string): string[] => stderr.split('\n').filter((line) => /^\d{4}-/.test(line));

  it('writes a line an event, and no secret at any level', async () => {
    emulator.setFaults({
      rules: [{ times: 1, match: { dimensions: 'page' }, action: { kind: 'error', error: 'backendError' } }],
    });
    const finished = await sync('--log-level', 'trace');
    expect(finished.code).toBe(0);
    expectClean(finished);
    const lines = logOf(finished.stderr);
    for (const line of lines) expect(line).toMatch(LINE);
    expect(lines.filter((line) => line.includes(' info slice.complete '))).toHaveLength(SLICES);
    expect(lines.some((line) => line.includes(' debug retry.pages pages=1 '))).toBe(true);
    expect(lines.some((line) => line.includes(' info run.state state='))).toBe(true);
    expect(lines.some((line) => line.includes(' trace run.progress '))).toBe(true);
  });

  it('leaves out what is below it', async () => {
    const finished = await sync('--log-level', 'warn');
    expect(finished.code).toBe(0);
    expect(logOf(finished.stderr)).toEqual([]);
  });
});

describe('a signal with calls under way', () => {
  /** Longer than any test: who waits for the answer fails. */
  const SLOW = {
    rules: [{ match: { call: 2 }, action: { kind: 'delay' as const, ms: 300_000 } }],
  };

  it.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)(
    '%s halts at once with 130, makes no call more, and the next run completes',
    async (signal) => {
      emulator.setFaults(SLOW);
      const running = startSync('--json', '--batch-size', '4', '--max-concurrency', '1');
      // The calendar, and a batch that is not answered.
      await expect.poll(() => emulator.counters.httpCalls, { timeout: 30_000 }).toBe(2);
      const before = emulator.requests.length;
      running.child.kill(signal);
      const finished = await running.finished;
      expect(finished.code).toBe(130);
      expectClean(finished);
      expect(finished.stderr).toContain('Halting');
      expect(lastLineOf(finished.stdout)).toMatchObject({
        status: 'halted',
        haltReason: { kind: 'asked', reason: signal },
      });
      expect(emulator.requests).toHaveLength(before);
      emulator.setFaults(undefined);
      expect(lastLineOf((await sync('--json')).stdout)).toMatchObject({
        status: 'complete',
        slices: { complete: SLICES },
      });
    },
  );

  it('twice at once is one wish: npm hands a Ctrl-C on that reached us already', async () => {
    emulator.setFaults(SLOW);
    const running = startSync('--json', '--batch-size', '4', '--max-concurrency', '1');
    await expect.poll(() => emulator.counters.httpCalls, { timeout: 30_000 }).toBe(2);
    running.child.kill('SIGINT');
    running.child.kill('SIGTERM');
    const finished = await running.finished;
    expect(finished.code).toBe(130);
    expect(lastLineOf(finished.stdout)).toMatchObject({ status: 'halted' });
  });

  it('a second one ends it by force', async () => {
    expect((await sync('--datasets', 'date')).code).toBe(0);
    // A commit that cannot go on holds up the halt, up to its deadline.
    const blocker = await database.sql.reserve();
    try {
      await blocker`begin`;
      await blocker`lock table longtail.slice_page in access exclusive mode`;
      const running = startSync('--json');
      await expect
        .poll(() => database.sql`select 1 from pg_locks where not granted`.then((rows) => rows.length), {
          timeout: 30_000,
        })
        .toBeGreaterThan(0);
      running.child.kill('SIGINT');
      await expect.poll(() => running.said().stderr, { timeout: 30_000 }).toContain('Halting');
      // As a person does who is out of patience. At 150 ms and sooner it would count as the same wish.
      const press = (): number | null => {
        running.child.kill('SIGINT');
        return running.child.exitCode;
      };
      await expect.poll(press, { timeout: 4_000, interval: 200 }).toBe(130);
      const finished = await running.finished;
      expect(finished.code).toBe(130);
      // It was forced: there was no time for a result.
      expect(finished.stdout).toBe('');
      expectClean(finished);
    } finally {
      await blocker`rollback`;
      blocker.release();
    }
    expect((await sync()).code).toBe(0);
  });
});

describe('the other commands', () => {
  it('sites lists the properties and permissions', async () => {
    const finished = await run(['sites'], options());
    expect(finished.code).toBe(0);
    expect(finished.stdout.trimEnd().split('\n').slice(1)).toEqual([
      '  https://other.example/  unverified: its data cannot be read',
      `  ${SITE}   owner`,
    ]);
    expectClean(finished);
    const json = await run(['sites', '--json'], options());
    expect(lastLineOf(json.stdout)).toEqual({
      sites: [
        { siteUrl: 'https://other.example/', permissionLevel: 'siteUnverifiedUser' },
        { siteUrl: SITE, permissionLevel: 'siteOwner' },
      ],
    });
  });

  it('sites says in two lines why it cannot', async () => {
    await emulator.close();
    const finished = await run(['sites'], options());
    expect(finished.code).toBe(1);
    expect(finished.stderr.trimEnd().split('\n')).toHaveLength(2);
    expectClean(finished);
  });

  it('status counts what is there, and has a helpful line where nothing is', async () => {
    const before = await run(['status'], options());
    expect(before).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('Nothing is in this database yet.'),
    });
    expect((await sync()).code).toBe(0);
    const after = await run(['status', '--site', SITE], options());
    expect(after.code).toBe(0);
    expect(after.stdout).toContain(`  ${SLICES} slices complete, 0 open, 0 failed,`);
    expectClean(after);
    const json = lastLineOf((await run(['status', '--json'], options())).stdout) as {
      months: { complete: number }[];
    };
    expect(json.months.reduce((sum, { complete }) => sum + complete, 0)).toBe(SLICES);
    const other = await run(['status', '--site', 'sc-domain:none.example'], options());
    expect(other.stdout).toContain('Nothing of sc-domain:none.example is in this database yet.');
  });
});
