/**
 * A seed from beginning to end: processes that live through bad days one after another; then everything heals, a last
 * run completes what is missing, and the checks judge what is there. A further run has nothing left to do.
 */

import { checkEnding } from './checks/ending.ts';
import { checkQuota, checkTokensReturned } from './checks/quota.ts';
import { checkLeftOvers, checkTables } from './checks/tables.ts';
import { Ground } from './ground.ts';
import { Judge, type Violation } from './judge.ts';
import { Life } from './life.ts';
import type { Planted } from './planted.ts';
import type { LifeScript, Scenario } from './scenario.ts';
import { type Asked, calendarKey } from './search-console.ts';
import { stamp } from './world.ts';

const HOUR_MS = 3_600_000;
/** A run may wait for quotas for days; but not for ever, and not without end at one instant. */
const LONGEST_LIFE_MS = 10 * 24 * HOUR_MS;
const MOST_STEPS = 150_000;
const MOST_HEALED_RUNS = 4;

export interface StoryResult {
  readonly violations: readonly Violation[];
  readonly simulatedMs: number;
  readonly steps: number;
  readonly lives: number;
  readonly calls: number;
  /** Whether any life asked for a slice before it had a calendar. */
  readonly isSpeculative: boolean;
  /** How each life ended. */
  readonly ends: readonly string[];
}

export async function tellStory(
  scenario: Scenario,
  options: { readonly planted?: Planted; readonly trace?: (line: string) => void } = {},
): Promise<StoryResult> {
  const judge = new Judge(options.trace);
  const ground = new Ground(scenario, judge, options.planted);
  const onRejection = (error: unknown): void => judge.fail('no rejection is left unhandled', String(error));
  process.on('unhandledRejection', onRejection);
  try {
    const lives = await liveThrough(ground);
    return {
      violations: judge.violations,
      simulatedMs: ground.world.now - scenario.startMs,
      steps: ground.world.steps,
      lives,
      calls: [...ground.sends.values()].reduce((sum, count) => sum + count, 0),
      isSpeculative: hasSpeculative(ground.server.asked),
      ends: ground.ends,
    };
  } finally {
    ground.life?.close();
    for (const life of ground.replaced) life.close();
    process.off('unhandledRejection', onRejection);
  }
}

async function liveThrough(ground: Ground): Promise<number> {
  const { scenario, judge } = ground;
  let lives = 0;
  for (const script of scenario.lives) {
    lives += 1;
    await liveOnce(ground, `life ${lives}`, script);
    if (judge.hasFailed) return lives;
  }
  await awaitReplaced(ground);
  if (judge.hasFailed) return lives;
  ground.heal();
  const calm: LifeScript = { refresh: false, actions: [], restMs: 0 };
  for (let healed = 1; ; healed += 1) {
    lives += 1;
    const life = await liveOnce(ground, `healed ${healed}`, calm);
    if (judge.hasFailed) return lives;
    const { end } = life;
    if (
      end?.kind === 'ended' &&
      (end.ending.status === 'complete' || end.ending.status === 'completeWithFailures')
    ) {
      checkTables(ground, life);
      break;
    }
    judge.expect(healed < MOST_HEALED_RUNS, 'a healed world is synchronised', () => JSON.stringify(end));
    if (judge.hasFailed) return lives;
    await ground.world.advance(HOUR_MS);
  }
  lives += 1;
  const before = ground.server.asked.length;
  const last = await liveOnce(ground, 'last', calm);
  if (!judge.hasFailed) checkLeftOvers(ground, last, ground.server.asked.slice(before));
  return lives;
}

function hasSpeculative(asked: readonly Asked[]): boolean {
  return [...Map.groupBy(asked, ({ process }) => process).values()].some((ofOne) => {
    const slice = ofOne.findIndex(({ key }) => !isCalendar(key));
    const calendar = ofOne.findIndex(({ key, said }) => isCalendar(key) && said === 'rows');
    return slice >= 0 && (calendar < 0 || slice < calendar);
  });
}

const isCalendar = (key: string): boolean => key.startsWith(calendarKey(''));

/** Those who were replaced wake up, find out, and end: they have nothing to say any more. */
async function awaitReplaced(ground: Ground): Promise<void> {
  const { world, judge, replaced } = ground;
  for (const life of replaced) {
    const reached = await world.until(() => life.end !== undefined, LONGEST_LIFE_MS, MOST_STEPS);
    judge.expect(
      reached === 'done' || reached === 'failed',
      'every run ends',
      () => `${life.process.name}, replaced: ${reached}`,
    );
    ground.ends.push(labelOf(life));
    if (!judge.hasFailed) checkEnding(ground, life);
    life.close();
  }
}

async function liveOnce(ground: Ground, name: string, script: LifeScript): Promise<Life> {
  const { world, judge, scenario } = ground;
  const life = new Life(ground, name, script.refresh);
  ground.life = life;
  judge.tell(`${stamp(world.now)} ${name} begins${script.refresh ? ', a refresh' : ''}`);
  life.start(script.actions);
  const reached = await world.until(
    () => life.end !== undefined || life.isReplaced,
    LONGEST_LIFE_MS,
    MOST_STEPS,
  );
  judge.expect(
    reached === 'done' || reached === 'failed',
    'every run ends',
    () =>
      `${name}: ${reached} after ${world.now - life.startedMs} ms, in ${life.execution?.progress().state}`,
  );
  judge.tell(`${stamp(world.now)} ${name}: ${JSON.stringify(life.end) ?? 'is replaced'}`);
  if (life.isReplaced && life.end === undefined) {
    ground.replaced.add(life);
    ground.hasOverlapped = true;
    ground.noteLife(life);
    return life;
  }
  ground.ends.push(labelOf(life));
  if (judge.hasFailed) return life;
  checkEnding(ground, life);
  if (life.end?.kind === 'ended' && (ground.isHealed || ground.chance.is(0.1)))
    await checkTokensReturned(ground, life);
  life.close();
  if (!ground.isHealed) ground.noteLife(life);
  checkQuota(ground, scenario);
  await world.advance(script.restMs);
  return life;
}

function labelOf({ end }: Life): string {
  if (end?.kind !== 'ended') return end?.kind ?? 'none';
  const { ending } = end;
  if (ending.status === 'halted') return `halted: ${ending.reason.kind}`;
  return ending.status === 'failed' ? `failed: ${ending.fatal.code}` : ending.status;
}
