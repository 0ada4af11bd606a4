import type { Planted } from './planted.ts';
import { drawScenario } from './scenario.ts';
import { tellStory } from './story.ts';

/** What came of many seeds. Plain data: it crosses processes. */
export interface Figures {
  readonly seeds: number;
  readonly simulatedMs: number;
  readonly steps: number;
  readonly calls: number;
  readonly lives: number;
  /** Seeds in which slices were asked for before the calendar was there. */
  readonly speculative: number;
  /** How the processes ended, and how often. */
  readonly ends: Readonly<Record<string, number>>;
  readonly failed: readonly { readonly seed: number; readonly check: string; readonly detail: string }[];
}

export const noFigures = (): Figures => ({
  seeds: 0,
  simulatedMs: 0,
  steps: 0,
  calls: 0,
  lives: 0,
  speculative: 0,
  ends: {},
  failed: [],
});

/** Runs `count` seeds from `start` on; with `isEnough`, until that says so. */
export async function runSeeds(
  start: number,
  count: number,
  planted: Planted,
  isEnough: (figures: Figures) => boolean = () => false,
): Promise<Figures> {
  let figures = noFigures();
  for (let seed = start; seed < start + count && !isEnough(figures); seed += 1) {
    const { violations, simulatedMs, steps, calls, isSpeculative, ends } = await tellStory(
      drawScenario(seed),
      {
        planted,
      },
    );
    const [first] = violations;
    figures = sumFigures(figures, {
      seeds: 1,
      simulatedMs,
      steps,
      calls,
      lives: ends.length,
      speculative: isSpeculative ? 1 : 0,
      ends: counted(ends),
      failed: first === undefined ? [] : [{ seed, ...first }],
    });
  }
  return figures;
}

export function sumFigures(one: Figures, other: Figures): Figures {
  const ends = { ...one.ends };
  for (const [end, times] of Object.entries(other.ends)) ends[end] = (ends[end] ?? 0) + times;
  return {
    seeds: one.seeds + other.seeds,
    simulatedMs: one.simulatedMs + other.simulatedMs,
    steps: one.steps + other.steps,
    calls: one.calls + other.calls,
    lives: one.lives + other.lives,
    speculative: one.speculative + other.speculative,
    ends,
    failed: [...one.failed, ...other.failed].sort((a, b) => a.seed - b.seed),
  };
}

function counted(ends: readonly string[]): Record<string, number> {
  const times: Record<string, number> = {};
  for (const end of ends) times[end] = (times[end] ?? 0) + 1;
  return times;
}
