/**
 * How wide a text is, without a font: advance widths of Helvetica in thousandths of its size. Arial and Liberation Sans,
 * which stand in for it everywhere else, have the same.
 */
const CHARACTERS = [
  [191, "'"],
  [222, 'ijl'],
  [260, '|'],
  [278, ' !,./:;I[\\]ft'],
  [333, '()-`r'],
  [334, '{}'],
  [355, '"'],
  [389, '*'],
  [469, '^'],
  [500, 'Jckvxyzs'],
  [556, '#$0123456789?L_abdeghnopqu'],
  [584, '+<=>~'],
  [611, 'FTZ'],
  [667, '&ABEKPSVXY'],
  [722, 'CDHNRUw'],
  [778, 'GOQ'],
  [833, 'Mm'],
  [889, '%'],
  [944, 'W'],
  [1015, '@'],
] as const;
const WIDTHS = new Map(
  CHARACTERS.flatMap(([width, characters]) => [...characters].map((c) => [c, width] as const)),
);
// The arrow before a state's name comes from whatever font has it: most are as wide as their size.
const WIDEST = 1_015;
/** Helvetica Bold, over the letters that names are made of. */
const BOLD = 1.09;

/** In the unit of `size`. A character it does not know counts as the widest. */
export function textWidth(text: string, size: number, weight: 'normal' | 'bold' = 'normal'): number {
  const thousandths = [...text].reduce((sum, character) => sum + (WIDTHS.get(character) ?? WIDEST), 0);
  return (thousandths / 1_000) * size * (weight === 'bold' ? BOLD : 1);
}
