import { type TextPool, textPool } from './text-pool.ts';

/** Values of the dimensions that are the same for every property, and how frequent each one is. */

export const DEVICES: TextPool = textPool(['MOBILE', 'DESKTOP', 'TABLET']);

const COUNTRY_CODES =
  'usa,gbr,deu,fra,esp,can,aus,ind,bra,jpn,nld,ita,mex,pol,swe,che,aut,bel,prt,irl,nor,dnk,fin,cze,rus,tur,zaf,arg,chl,col,idn,phl,sgp,nzl,kor,ukr,rou,grc,egy,are,sau,zzz';
/** Lower-case ISO 3166-1 alpha-3 codes, and `zzz` for an unknown country. */
export const COUNTRIES: TextPool = textPool(COUNTRY_CODES.split(','));

export const APPEARANCES: TextPool = textPool([
  'REVIEW_SNIPPET',
  'PRODUCT_SNIPPETS',
  'VIDEO',
  'TRANSLATED_RESULT',
  'MERCHANT_LISTINGS',
  'RICHCARD',
  'NEWS_SHOWCASE',
]);
/** A row without a search appearance. */
export const NO_APPEARANCE = -1;

/** In [0, devices): mobile 62 %, desktop 34 %, tablet 4 %. */
export function deviceOf(hash: number): number {
  const percent = hash % 100;
  return percent < 62 ? 0 : percent < 96 ? 1 : 2;
}

/** In [0, countries): the first gets about a third, the last very few. */
export function countryOf(hash: number): number {
  const u = (hash >>> 8) / 16_777_216;
  return Math.floor(COUNTRIES.texts.length * u ** 3.2);
}

/** An appearance for a quarter of the rows, otherwise {@link NO_APPEARANCE}. */
export function appearanceOf(hash: number): number {
  return hash % 4 === 0 ? (hash >>> 8) % APPEARANCES.texts.length : NO_APPEARANCE;
}
