import type { Ground } from '../ground.ts';
import type { Life } from '../life.ts';

/** How a run ended has a cause in the world, and it has let go of everything. */
export function checkEnding(ground: Ground, life: Life): void {
  const { judge, server, database, network, scenario } = ground;
  const { end, process } = life;
  if (end === undefined || end.kind === 'killed') return;
  const name = process.name;
  if (end.kind === 'notOpened') {
    const isKnown =
      database.failures.away + database.failures.diskFull > 0 || scenario.faults.noToken !== undefined;
    judge.expect(
      isKnown && !ground.isHealed,
      'a run begins unless something is in its way',
      () => `${name}: ${end.reason}`,
    );
    return;
  }
  const { ending } = end;
  const most = database.mostCommits.get(process) ?? 0;
  judge.expect(
    most <= life.maxConcurrency,
    'no more pages are held than there are workers',
    () => `${name}: ${most} commits at once`,
  );
  const told = (): string => `${name}: ${JSON.stringify(ending)}`;
  // What it leaves to the background is a few statements.
  const isShort = life.config.haltDeadlineMs < 4 * scenario.databaseMs;
  judge.expect(end.isQuiet || isShort || !ground.isHealed, 'a run that ended is quiet', told);
  if (end.isQuiet) {
    judge.expect(ground.callsUnderWay(process) === 0, 'a quiet run has no call under way', told);
    const inFlight = life.execution?.progress().pagesInFlight;
    judge.expect(inFlight === 0, 'a quiet run has no page in flight', () => `${name}: ${inFlight}`);
  }
  judge.expect(hasCause(), 'a run ends for a reason', told);
  judge.expect(
    ending.status !== 'complete' || life.haltedMs === undefined,
    'a halted run is not called complete',
    told,
  );

  function hasCause(): boolean {
    switch (ending.status) {
      case 'complete':
        return true;
      case 'completeWithFailures':
        return [...database.tables.slices.values()].some(
          ({ status, error }) => status === 'failed' && error !== null,
        );
      case 'halted':
        switch (ending.reason.kind) {
          case 'asked':
            return life.haltedMs !== undefined;
          case 'quota':
            return server.counts.refusals > 0;
          case 'callFailures':
            return (ground.sends.get(process) ?? 0) >= 10 || scenario.faults.noToken !== undefined;
          case 'databaseAway':
            return database.failures.away > 0;
        }
        break;
      case 'failed':
        switch (ending.fatal.code) {
          case 'FENCED_OFF':
            return life.isReplaced;
          case 'LOCK_LOST':
            return life.haltedMs !== undefined || life.isReplaced || database.failures.away > 0;
          case 'UNAUTHORIZED':
            return server.counts.unauthorized > 1;
          case 'DATABASE_READ_ONLY':
          case 'DATABASE_TIMEOUT':
            return database.failures.away > 0;
          case 'DATABASE_DISK_FULL':
            return database.failures.diskFull > 0;
          case 'UNEXPECTED_ANSWER':
            return (
              server.asked.some(({ key, said }) => key.startsWith('calendar') && said !== 'rows') ||
              network.failures > 0
            );
          case 'INTERNAL':
            return (scenario.faults.workerCrash ?? 0) > 0 && ending.fatal.reason.includes('crash');
          default:
            return false;
        }
    }
    return false;
  }
}
