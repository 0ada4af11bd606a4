import { DIMENSIONS, type Dimension, dimensionsOf } from './dataset.ts';
import type { SliceKey } from './slice.ts';

/** A part of a day: the rows that have these values. Its text is part of a slice's key. */

/** A dimension that a part fixes, and its value. */
export interface Fixed {
  readonly dimension: Dimension;
  readonly value: string;
}

/** `[{ dimension: 'country', value: 'deu' }]` → `country=deu`. */
export function partOf(fixed: readonly Fixed[]): string {
  return fixed.map(({ dimension, value }) => `${dimension}=${value.replaceAll(/[%,=]/g, escaped)}`).join(',');
}

const escaped = (character: string): string =>
  `%${character.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`;

/** The inverse of {@link partOf}. An empty part fixes nothing. */
export function fixedBy({ part = '' }: Pick<SliceKey, 'part'>): readonly Fixed[] {
  if (part === '') return [];
  return part.split(',').map((text) => {
    const [name = '', value = ''] = text.split('=', 2);
    const dimension = DIMENSIONS.find((known) => known === name);
    if (dimension === undefined) throw new Error(`a part that fixes ${name}`);
    return { dimension, value: value.replaceAll(/%([0-9A-F]{2})/g, unescaped) };
  });
}

const unescaped = (_: string, hex: string): string => String.fromCharCode(Number.parseInt(hex, 16));

/** The dimensions that a slice is grouped by: those of its dataset, without the ones that its part fixes. */
export function groupedBy(slice: Pick<SliceKey, 'dataset' | 'part'>): readonly Dimension[] {
  const fixed = fixedBy(slice);
  return dimensionsOf(slice.dataset).filter(
    (dimension) => !fixed.some((value) => value.dimension === dimension),
  );
}
