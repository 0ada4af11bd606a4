import type { SliceKey } from '../../../src/domain/slice.ts';
import { keysOf } from '../../../src/planning/plan.ts';
import { partsOfAll } from '../../../src/planning/two-step.ts';
import type { Ground } from '../ground.ts';
import type { Life } from '../life.ts';
import { type Asked, calendarKey, keyName } from '../search-console.ts';
import { countDuplicates, type SliceRow } from '../table-rows.ts';
import type { TrueKey, TrueRow } from '../truth.ts';

/** What is in the tables once everything is well: all that Google has, or a reason. */
export function checkTables(ground: Ground, life: Life): void {
  checkLedger(ground);
  const { truth } = ground.server;
  const { from, searchTypes } = life.config;
  const last = new Map(searchTypes.map((type) => [type, truth.lastPublished(type, from, life.startedMs)]));
  for (const key of slicesOf(ground, life)) {
    checkKey(ground, life, key, last.get(key.searchType) ?? '');
    if (ground.judge.hasFailed) return;
  }
}

/** The keys of the range, those of two steps as parts: one for each value that the first step has in the table. */
function slicesOf({ database }: Ground, { config }: Life): readonly SliceKey[] {
  return partsOfAll(keysOf(config), database.tables.readAppearances(config));
}

/** The ledger has a page if and only if its rows are there; one version is complete and one open at most. */
function checkLedger({ database: { tables }, judge }: Ground): void {
  const seen = new Set<string>();
  for (const slice of tables.slices.values()) {
    const pages = tables.ledger.get(slice.id) ?? [];
    const rows = tables.facts.get(slice.id) ?? [];
    const name = `${keyName(slice)} version ${slice.version} (${slice.status})`;
    const sums = (items: readonly { clicks: number; impressions: number }[]): string =>
      `${items.reduce((sum, { clicks }) => sum + clicks, 0)} ${items.reduce((sum, { impressions }) => sum + impressions, 0)}`;
    const inLedger = pages.reduce((sum, page) => sum + page.rows, 0);
    judge.expect(
      inLedger === rows.length && sums(pages) === sums(rows),
      'the ledger is its rows',
      () => `${name}: ${inLedger} and ${rows.length}`,
    );
    if (slice.status === 'complete') {
      judge.expect(
        slice.rows === rows.length && sums([slice]) === sums(rows),
        'a complete slice is its rows',
        () => name,
      );
      let reached = 0;
      for (const page of pages) {
        judge.expect(page.startRow === reached, 'a complete slice has no gap', () => name);
        reached += page.rows;
      }
      judge.expect(slice.hasFacts === pages.length > 0, 'a complete slice has its last page', () => name);
      judge.expect(
        pages.length === 0 || pages.at(-1)?.last === true,
        'a complete slice has its last page',
        () => name,
      );
      judge.expect(slice.duplicateRows === countDuplicates(rows), 'duplicates are counted', () => name);
    }
    if (slice.status === 'complete' || slice.status === 'open') {
      const place = `${keyName(slice)} ${slice.status}`;
      judge.expect(!seen.has(place), 'a key has one complete version, and one open', () => place);
      seen.add(place);
    }
  }
}

function checkKey(ground: Ground, life: Life, key: TrueKey, last: string): void {
  const { server, database, judge, world } = ground;
  const { truth } = server;
  const name = keyName(key);
  const slice = database.tables.visible(key);
  const newest = [...database.tables.slices.values()].filter((one) => keyName(one) === name).at(-1);
  const isFailed = newest?.status === 'failed';
  if (isFailed) {
    judge.expect(
      failureHasCause(ground, life, key, newest),
      'a slice fails for a reason',
      () => `${name}: ${newest.error}`,
    );
    return;
  }
  const isNamed = truth.hasData(key.searchType, key.date);
  if (slice === undefined) {
    const versions = Array.from({ length: truth.versionAt(key, world.now) + 1 }, (_, version) => version);
    const wasEmpty = versions.some((version) => truth.rowsOf(key, version).length === 0);
    const mayBeMissing = key.date > last || (key.date === last && wasEmpty);
    judge.expect(
      mayBeMissing,
      'every slice is complete, failed, or not published',
      () => `${name}: ${JSON.stringify(newest)}`,
    );
    return;
  }
  const rows = database.tables.facts.get(slice.id) ?? [];
  // What Google itself takes away after it was called final may be had before or after, or half of each.
  if (truth.isLost(key) && key.date <= last) return;
  const fetchedAt = slice.fetchedAt ?? 0;
  const isOld = key.date <= last && fetchedAt < ground.refreshSince(life);
  judge.expect(!isOld, 'a refresh that was cut off is finished by the next run', () => name);
  const upTo = truth.versionAt(key, fetchedAt);
  if (slice.final) {
    judge.expect(fetchedAt >= truth.finalAt(key.date), 'final means final', () => name);
    if (!isNamed) judge.expect(rows.length === 0, 'a day without data is empty', () => name);
    else expectRows(ground, name, rows, truth.rowsOf(key, upTo), slice);
    return;
  }
  if (!isNamed) return;
  const known = new Map<string, Set<string>>();
  for (let version = 0; version <= upTo; version += 1) {
    for (const row of truth.rowsOf(key, version)) {
      const values = known.get(row.keys.join(' ')) ?? new Set();
      known.set(row.keys.join(' '), values.add(valuesOf(row)));
    }
  }
  const invented = rows.find((row) => known.get(row.keys.join(' '))?.has(valuesOf(row)) !== true);
  judge.expect(
    invented === undefined,
    'every row was given by Google',
    () => `${name}: ${JSON.stringify(invented)}`,
  );
}

const valuesOf = ({ clicks, impressions, position }: Omit<TrueRow, 'keys'>): string =>
  `${clicks} ${impressions} ${position}`;

function expectRows(
  { judge, scenario }: Ground,
  name: string,
  rows: readonly TrueRow[],
  truth: readonly TrueRow[],
  slice: SliceRow,
): void {
  const lines = (list: readonly TrueRow[]): string[] =>
    list.map((row) => `${row.keys.join(' ')} ${valuesOf(row)}`).sort();
  const [had, wanted] = [lines(rows), lines(truth)];
  const isSame =
    slice.duplicateRows > 0 && scenario.faults.reorderedTies !== undefined
      ? // Rows fell between two pages, as many as came twice: known, and looked at twice.
        had.length === wanted.length && had.every((line) => wanted.includes(line))
      : had.join('\n') === wanted.join('\n');
  judge.expect(
    isSame,
    'the table is what Google has',
    () =>
      `${name} version ${slice.version}: ${had.length} rows, Google has ${wanted.length}\n${had.join('\n')}\n--\n${wanted.join('\n')}`,
  );
}

function failureHasCause(
  { server, database }: Ground,
  life: Life,
  key: TrueKey,
  { error }: SliceRow,
): boolean {
  const name = keyName(key);
  if (server.isInvalid(key)) return true;
  if (database.isPoison(key)) return true;
  if (error?.startsWith('shrunk') === true)
    return server.truth.isLost(key) || server.truth.publishedAt(key.date) > 0;
  if (error?.startsWith('Google returns no rows') === true) return server.truth.isLost(key);
  const attempts = Map.groupBy(
    server.asked.filter(({ key: asked, said }) => asked === name && said !== 'rows'),
    ({ process, startRow }) => `${process.name} ${startRow}`,
  );
  return [...attempts.values()].some((tries) => tries.length >= life.config.maxAttempts);
}

/** What is complete and final is not asked for again; where all is, Google is not asked at all. */
export function checkLeftOvers(ground: Ground, life: Life, asked: readonly Asked[]): void {
  const { judge, database } = ground;
  const isMissing = (key: TrueKey): boolean => {
    const newest = [...database.tables.slices.values()]
      .filter((slice) => keyName(slice) === keyName(key))
      .at(-1);
    return database.tables.visible(key)?.final !== true || newest?.status === 'failed' || life.refresh;
  };
  const missing = slicesOf(ground, life).filter(isMissing);
  const names = new Set(missing.flatMap((key) => [keyName(key), calendarKey(key.searchType)]));
  // A probe of Google asks for totals of the first type, whatever is missing.
  for (const searchType of missing.length > 0 ? life.config.searchTypes.slice(0, 1) : [])
    names.add(calendarKey(searchType));
  const before = asked.find(({ key }) => !names.has(key));
  // What this run itself made final was missing when it began.
  const madeFinal =
    before !== undefined &&
    [...database.tables.slices.values()].some(
      (slice) =>
        slice.runId === life.run?.runId &&
        (keyName(slice) === before.key || calendarKey(slice.searchType) === before.key),
    );
  judge.expect(before === undefined || madeFinal, 'what is complete is not asked for again', () =>
    JSON.stringify(before?.key),
  );
  if (missing.length === 0 && ground.scenario.faults.changingDays === undefined) {
    const touched = [...database.tables.slices.values()].some(({ runId }) => runId === life.run?.runId);
    judge.expect(
      asked.length === 0 || touched,
      'a complete range makes no call',
      () => `${asked.length} requests`,
    );
  }
}
