// Holds invariants 2 of SPEC.md.
import postgres from 'postgres';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { errorFacts } from '../../src/domain/error-facts.ts';
import type { PathChoice } from '../../src/domain/path-choice.ts';
import { type CopySource, SourceError, startCopy, UntoldRefusal } from '../../src/internals/copy-in.ts';
import { connect } from '../../src/postgres/connection/connect.ts';
import { transaction } from '../../src/postgres/connection/transaction.ts';
import { copyChunks } from '../../src/postgres/copy/copy-text.ts';
import { emptyDatabase, type TestDatabase } from '../support/postgres.ts';

let database: TestDatabase;
const unhandled: unknown[] = [];
const onUnhandled = (reason: unknown): void => {
  unhandled.push(reason);
};

beforeAll(async () => {
  process.on('unhandledRejection', onUnhandled);
  process.on('uncaughtException', onUnhandled);
  database = await emptyDatabase();
  await database.sql`create table line (number bigint, text text)`;
});

afterAll(async () => {
  await database.close();
  process.off('unhandledRejection', onUnhandled);
  process.off('uncaughtException', onUnhandled);
});

const COPY = 'copy public.line (number, text) from stdin';

/** Copies what the source gives, in a transaction, with a query behind it as the ledger's would be. */
function copyFrom(sql: postgres.Sql, rows: CopySource): Promise<unknown> {
  return transaction(sql, async (tx) => {
    await tx`select 1`;
    return await startCopy(tx, COPY).send(rows, () => tx`select 1`);
  });
}

function copy(sql: postgres.Sql, chunks: Iterable<Buffer> | AsyncIterable<Buffer>): Promise<unknown> {
  return copyFrom(sql, () => chunks);
}

/** The source's own error arrives, and the table can be locked: nobody is in COPY any more, and the connection works. */
async function expectBrokenOff(copying: Promise<unknown>, cause: Error): Promise<void> {
  await expect(copying).rejects.toBeInstanceOf(SourceError);
  await expect(copying).rejects.toMatchObject({ cause });
  await database.sql.begin(async (tx) => {
    await tx`set local lock_timeout = '2s'`;
    await tx`lock table line in access exclusive mode`;
  });
}

async function countLines(): Promise<number> {
  const rows = await database.sql<{ count: number }[]>`select count(*)::int as count from line`;
  return rows[0]?.count ?? -1;
}

function lines(count: number): Buffer {
  let text = '';
  for (let number = 0; number < count; number += 1) text += `${number}\tline ${number} of some length\n`;
  return Buffer.from(text);
}

function* megabytes(count: number): Generator<Buffer> {
  const chunk = lines(2_000);
  for (let sent = 0; sent < count * 1_048_576; sent += chunk.length) yield chunk;
}

test('pieces are never larger than the way bears, and arrive whole: past the driver and through it', async () => {
  const rows = Buffer.concat([...megabytes(4)]);
  const count = rows.toString().split('\n').length - 1;
  const own = await connect(database.url, { max: 1, applicationName: 'test' });
  try {
    const asked = new Map<string, number>();
    for (const [way, sql] of [
      ['driver', database.sql],
      ['own socket', own.sql],
    ] as const) {
      await database.sql`truncate line`;
      await copyFrom(sql, (maxBytes) => {
        asked.set(way, maxBytes);
        return copyChunks(rows, maxBytes);
      });
      expect(await countLines()).toBe(count);
    }
    // The driver fails now and then with larger ones.
    expect(asked.get('driver')).toBeLessThanOrEqual(65_536);
    expect(asked.get('own socket')).toBeGreaterThan(65_536);
  } finally {
    await own.close();
  }
});

/** What a COPY on this pool tells of its path. */
async function pathOn(sql: postgres.Sql): Promise<PathChoice | undefined> {
  let told: PathChoice | undefined;
  await transaction(sql, async (tx) => {
    const copying = startCopy(tx, COPY, (path) => {
      told = path;
    });
    await copying.send(
      () => [lines(1)],
      () => tx`select 1`,
    );
  });
  return told;
}

test('a COPY tells which path it takes, and why it is not the fast one', async () => {
  const own = await connect(database.url, { max: 1, applicationName: 'test' });
  try {
    expect(await pathOn(own.sql)).toEqual({ kind: 'fast' });
    expect(await pathOn(database.sql)).toEqual({
      kind: 'public',
      reason: 'the connection is encrypted, or its socket is not one of ours',
    });
    vi.stubEnv('LONGTAIL_FAST_PATHS', 'off');
    expect(await pathOn(own.sql)).toEqual({ kind: 'public', reason: 'LONGTAIL_FAST_PATHS is off' });
  } finally {
    await own.close();
  }
});

test('a driver whose queries have another shape is used in public', async () => {
  const own = await connect(database.url, { max: 1, applicationName: 'test' });
  try {
    await database.sql`truncate line`;
    const told: PathChoice[] = [];
    await transaction(own.sql, async (tx) => {
      // All that is public of the query, and nothing else.
      const changed = new Proxy(tx, {
        get: (target, name) =>
          name === 'unsafe'
            ? (statement: string) => {
                const query = target.unsafe(statement);
                return { writable: () => query.writable() };
              }
            : Reflect.get(target, name),
      });
      const copying = startCopy(changed, COPY, (path) => told.push(path));
      await copying.send(
        () => [lines(10)],
        () => tx`select 1`,
      );
    });
    expect(told).toEqual([
      { kind: 'public', reason: 'the queries of the installed postgres have another shape' },
    ]);
    expect(await countLines()).toBe(10);
  } finally {
    await own.close();
  }
});

afterEach(() => {
  vi.unstubAllEnvs();
});

describe.each(['fast', 'public'])('on the %s path', (path) => {
  beforeEach(() => {
    if (path === 'public') vi.stubEnv('LONGTAIL_FAST_PATHS', 'off');
  });

  test('many megabytes arrive whole', async () => {
    await database.sql`truncate line`;
    for (let round = 0; round < 5; round += 1) await copy(database.sql, megabytes(4));
    const chunks = [...megabytes(4)].length;
    expect(await countLines()).toBe(5 * chunks * 2_000);
  });

  test('a source that cannot even begin leaves no backend in COPY', async () => {
    await database.sql`truncate line`;
    const cause = new Error('there is nothing to read');
    const failing = copyFrom(database.sql, () => {
      throw cause;
    });
    await expectBrokenOff(failing, cause);
  });

  test('a source that throws leaves nothing, and no backend in COPY', async () => {
    await database.sql`truncate line`;
    const cause = new Error('the answer broke off');
    const failing = copy(
      database.sql,
      (function* () {
        yield lines(100);
        throw cause;
      })(),
    );
    await expectBrokenOff(failing, cause);
    expect(await countLines()).toBe(0);
  });

  test('a source that throws what a lost connection throws does not hang', async () => {
    const failing = copy(
      database.sql,
      (function* () {
        yield lines(10);
        throw Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' });
      })(),
    );
    await expect(failing).rejects.toBeInstanceOf(SourceError);
  });

  test('an abort in the middle of COPY leaves nothing', async () => {
    await database.sql`truncate line`;
    const controller = new AbortController();
    const aborted = copy(
      database.sql,
      (async function* () {
        for (const chunk of megabytes(1)) {
          controller.signal.throwIfAborted();
          yield chunk;
          controller.abort(new Error('halted'));
        }
      })(),
    );
    await expect(aborted).rejects.toMatchObject({ cause: { message: 'halted' } });
    expect(await countLines()).toBe(0);
  });

  test.each([
    ['at once', [Buffer.from('not a number\tx\n')]],
    ['after the last chunk was sent', [lines(3), Buffer.from('4\ttoo\tmany\n')]],
    ['with much behind it', [Buffer.from('x\ty\n'), ...megabytes(4)]],
  ])('a bad row fails the COPY: %s', async (_, chunks) => {
    await database.sql`truncate line`;
    const error = await copy(database.sql, chunks).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    // The driver drops a refusal that comes after the last chunk: only the fast path sees it.
    if (path === 'fast') expect(errorFacts(error).code).toMatch(/^22P0[24]$/);
    else if (!(error instanceof UntoldRefusal)) expect(errorFacts(error).code).toMatch(/^22P0[24]$/);
    expect(await countLines()).toBe(0);
  });

  test('cancelling leaves the connection usable', async () => {
    const cancelled = transaction(database.sql, async (tx) => {
      await startCopy(tx, COPY).cancel();
      throw new Error('as meant');
    });
    await expect(cancelled).rejects.toThrow('as meant');
    expect(await countLines()).toBe(0);
  });

  test('a lock that is not had in time is an ordinary error', async () => {
    const locked = Promise.withResolvers<void>();
    const done = Promise.withResolvers<void>();
    const holding = database.sql.begin(async (tx) => {
      await tx`lock table line in access exclusive mode`;
      locked.resolve();
      await done.promise;
    });
    await locked.promise;
    const waiting = transaction(database.sql, async (tx) => {
      await tx`set local lock_timeout = '50ms'`.simple();
      return await startCopy(tx, COPY).send(
        () => megabytes(1),
        () => tx`select 1`,
      );
    });
    await expect(waiting)
      .rejects.toMatchObject({ code: '55P03' })
      .finally(() => done.resolve());
    await holding;
  });

  test('the pool ended by force in the middle of COPY ends the copy', async () => {
    const pool = postgres(database.url, { max: 2 });
    const begun = Promise.withResolvers<void>();
    const copying = copy(
      pool,
      (async function* () {
        yield lines(10);
        begun.resolve();
        await new Promise(() => {});
      })(),
    );
    copying.catch(() => {});
    await begun.promise;
    // The source never says another word: only its owner can end it. What counts is that nothing stays behind.
    await pool.end({ timeout: 0 });
    await expect(copying).rejects.toMatchObject({ code: expect.stringMatching(/^CONNECTION_/) });
  });
});

/** One line, at the second try if the first met a connection that was dying. */
function copyLine(sql: postgres.Sql): Promise<unknown> {
  return copy(sql, [lines(1)]).catch(() => copy(sql, [lines(1)]));
}

test('a backend killed 100 times in COPY never takes the process with it', { timeout: 600_000 }, async () => {
  await database.sql`truncate line`;
  const pool = postgres(database.url, { max: 3, onnotice: () => {}, backoff: () => 0 });
  const kills: PromiseLike<unknown>[] = [];
  let failures = 0;
  try {
    for (let round = 0; round < 100; round += 1) {
      const copying = transaction(pool, async (tx) => {
        const [backend] = await tx<{ pid: number }[]>`select pg_backend_pid() as pid`;
        const chunks = (async function* () {
          let sent = 0;
          for (const chunk of megabytes(1)) {
            yield chunk;
            sent += 1;
            // Each round at another moment, before, while and after the server hangs up.
            if (sent === 1 + (round % 5)) {
              const killed = database.sql`select pg_terminate_backend(${backend?.pid ?? 0})`;
              kills.push(killed.execute());
              if (round % 2 === 0) await killed;
            }
          }
        })();
        return await startCopy(tx, COPY).send(
          () => chunks,
          () => tx`select 1`,
        );
      });
      const error = await copying.then(
        () => undefined,
        (reason: unknown) => reason,
      );
      if (error === undefined) continue;
      failures += 1;
      expect(errorFacts(error).code).toMatch(/^(57P01|CONNECTION_CLOSED|ECONNRESET|EPIPE)$/);
    }
    await Promise.all(kills);
    // A kill may still be on its way to a connection that was idle by then; each of the pool's can be lost so but once.
    const last = await Promise.any([copyLine(pool), copyLine(pool), copyLine(pool), copyLine(pool)]);
    expect(last).toBeDefined();
  } finally {
    await pool.end({ timeout: 1 });
  }
  expect(failures).toBeGreaterThan(50);
  expect(unhandled).toEqual([]);
});
