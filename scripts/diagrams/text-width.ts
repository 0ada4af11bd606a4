/**
 * Measures text without a font, by the advance widths of Helvetica in thousandths of its size. Arial and Liberation Sans,
 * which replace it elsewhere, have the same widths.
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
// The font of the arrow before a state's name is unknown. In most fonts it is as wide as the font size.
const WIDEST = 1_015;
/** How much wider Helvetica Bold is, on average over the letters of names. */
const BOLD = 1.09;

/** In the unit of `size`. An unknown character counts as the widest. */
export function textWidth(text: string, size: number, weight: 'normal' | 'bold' = 'normal'): number {
  const thousandths = [...text].reduce((sum, character) => sum + (WIDTHS.get(character) ?? WIDEST), 0);
  return (thousandths / 1_000) * size * (weight === 'bold' ? BOLD : 1);
}
