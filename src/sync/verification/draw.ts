/** Draws the keys of a verification from the table. */
import { type DrawnKey, type WhyNotAsked, whyNotAsked } from '../../domain/row-check.ts';
import { absentShare, drawAbsent, drawRows, type SampleSlice, seededChance } from '../../planning/sample.ts';
import { answer } from '../../postgres/connection/answer.ts';
import type { Database } from '../../postgres/connection/connect.ts';
import { explain } from '../../postgres/connection/trouble.ts';
import {
  readAbsentKey,
  readDrawnRows,
  readSampleSlices,
  type SampleScope,
} from '../../postgres/queries/sample.ts';
import type { Answer } from '../../store/types.ts';

export interface Drawn {
  readonly keys: readonly DrawnKey[];
  readonly skipped: readonly { readonly key: DrawnKey; readonly why: WhyNotAsked }[];
  readonly population: { readonly slices: number; readonly rows: number };
}

/** Two days may have the same keys: then another two are tried. */
const TRIES = 3;

export interface DrawSize {
  readonly sample: number;
  readonly seed: number;
}

/** Reads only the slices that rows are drawn from. */
export async function drawKeys(
  sql: Database['sql'],
  scope: SampleScope,
  { sample, seed }: DrawSize,
  signal: AbortSignal,
): Promise<Answer<Drawn>> {
  const drawn = await answer(async () => {
    const slices = await readSampleSlices(sql, scope);
    const chance = seededChance(seed);
    const wanted = absentShare(sample);
    const absentDraws = drawAbsent(slices, TRIES * wanted, chance);
    // By key: two draws may come to the same one.
    const absentKeys = new Map<string, DrawnKey>();
    for (const [turn, draw] of absentDraws.entries()) {
      if (signal.aborted || absentKeys.size >= wanted) break;
      const key = await readAbsentKey(sql, draw, seed, turn);
      if (key !== undefined) absentKeys.set(JSON.stringify([key.slice.id, key.keys]), key);
    }
    const absent = [...absentKeys.values()];
    const rows: DrawnKey[] = [];
    for (const draw of drawRows(slices, sample - absent.length, chance)) {
      if (signal.aborted) break;
      rows.push(...(await readDrawnRows(sql, draw, seed)));
    }
    return sorted(slices, [...rows, ...absent]);
  });
  return drawn.kind === 'ok' ? drawn : explain(sql, drawn);
}

function sorted(slices: readonly SampleSlice[], drawn: readonly DrawnKey[]): Drawn {
  const replacedOf = new Map(slices.map(({ id, replacedCharacters }) => [id, replacedCharacters]));
  const judged = drawn.map((key) => ({ key, why: whyNotAsked(key.keys, replacedOf.get(key.slice.id) ?? 0) }));
  return {
    keys: judged.flatMap(({ key, why }) => (why === undefined ? [key] : [])),
    skipped: judged.flatMap(({ key, why }) => (why === undefined ? [] : [{ key, why }])),
    population: {
      slices: slices.length,
      rows: slices.reduce((sum, { rows }) => sum + rows, 0),
    },
  };
}
