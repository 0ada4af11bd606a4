import type { PartAction } from './faults.ts';

type ChangeRow = Extract<PartAction, { readonly kind: 'changeRow' }>;

/** An answer as `answerText` writes it. */
interface Answer {
  readonly rows?: readonly {
    readonly keys?: readonly string[];
    readonly clicks: number;
    readonly impressions: number;
  }[];
}

/** The answer with the row of the fault's key changed or left out. An answer without that row stays as it is. */
export function withChangedRow(text: string, dimensions: readonly string[], { key, to }: ChangeRow): unknown {
  // The emulator's own text.
  const { rows = [], ...rest } = JSON.parse(text) as Answer;
  const isMeant = (keys: readonly string[]): boolean =>
    Object.entries(key).every(([dimension, value]) => keys[dimensions.indexOf(dimension)] === value);
  const changed = rows.flatMap((row) => {
    if (!isMeant(row.keys ?? [])) return [row];
    if (to === null) return [];
    const clicks = to.clicks ?? row.clicks;
    const impressions = to.impressions ?? row.impressions;
    return [{ ...row, ...to, clicks, impressions, ctr: impressions === 0 ? 0 : clicks / impressions }];
  });
  return { ...(changed.length === 0 ? {} : { rows: changed }), ...rest };
}
