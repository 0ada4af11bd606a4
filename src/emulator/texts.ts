import { fraction, mix } from './hash.ts';

/**
 * Generates realistic pages and queries of a shop in several languages. Rare ones are deliberately awkward: emoji, quotes,
 * tabs, backslashes, very long addresses.
 */

const QUERY_WORDS: readonly (readonly string[])[] = [
  // English twice: most of a site's queries are in one language.
  'best,cheap,how to,buy,running,shoes,trail,women,men,review,size,guide,waterproof,near me,2024,vs,for,kids,hiking,boots,sale,care,leather,wide,fit,winter,summer,light,repair,price'.split(
    ',',
  ),
  'what is,difference between,jacket,rain,backpack,tent,sleeping,bag,camping,stove,gear,list,ultralight,outdoor,store,opening hours,discount,code,return,policy,delivery,warranty,clean,wash,measure'.split(
    ',',
  ),
  'chaussures,randonnée,femme,homme,pas cher,avis,taille,été,imperméable,acheter,légère,où,entretien,forêt,comparatif'.split(
    ',',
  ),
  'schuhe,wandern,größe,wasserdicht,günstig,damen,herren,kinder,test,für,straße,kaufen,übergröße,pflege,öffnungszeiten'.split(
    ',',
  ),
  'zapatillas,montaña,niño,mujer,hombre,baratas,qué,talla,año,opiniones,mejores,señal,corazón,cómo,limpiar'.split(
    ',',
  ),
  'tênis,corrida,promoção,feminino,masculino,tamanho,coração,avaliação,botas,caminhada,preço,onde,comprar'.split(
    ',',
  ),
  '登山靴,レディース,防水,おすすめ,サイズ,通販,軽量,キャンプ,手入れ,人気,冬,子供'.split(','),
  'кроссовки,купить,недорого,женские,мужские,отзывы,размер,зимние,как,выбрать,походные,ботинки'.split(','),
  'أحذية,رياضية,نسائية,رجالية,سعر,شراء,مقاس,مقاومة,للماء,أفضل'.split(','),
];
const ODD_QUERY_TAILS = [
  ' 👟',
  ' 🏔️🥾',
  ' 👩‍👩‍👧',
  ' "exact phrase"',
  " women's",
  ' C:\\shoes\\new',
  '\ttab',
  ' 10" x 12"',
  ' a & b <c>',
  ' \\N',
  ' %s %20',
  ' é',
  ' \u2028line',
] as const;
const SECTIONS = [
  'blog',
  'products',
  'guides',
  'collections/women',
  'collections/men',
  'fr/guide',
  'de/ratgeber',
  'es/blog',
  'help',
  'ja/%E3%82%AC%E3%82%A4%E3%83%89',
  'brands',
  'stores',
] as const;
const SLUG_WORDS =
  'trail,runner,alpine,storm,light,guide,care,fit,wide,boots,jacket,tent,pack,review,winter,summer,classic,pro,kids,sale,how-to,best,size,chart,leather,mesh,granite,river,summit,valley'.split(
    ',',
  );

function pick<T>(items: readonly T[], hash: number): T {
  const item = items[hash % items.length];
  if (item === undefined) throw new RangeError('picked from an empty list');
  return item;
}

/** A query's text. Two indexes may give the same text: the caller makes them distinct. */
export function queryText(seed: number, index: number): string {
  const h = mix(seed, index);
  const language = fraction(mix(h, 1)) < 0.55 ? h % 2 : h % QUERY_WORDS.length;
  const words = pick(QUERY_WORDS, language);
  const count = 1 + (mix(h, 2) % 4) + (mix(h, 3) % 2);
  const parts: string[] = [];
  for (let i = 0; i < count; i++) parts.push(pick(words, mix(h, 10 + i)));
  const text = parts.join(' ');
  return mix(h, 4) % 97 === 0 ? text + pick(ODD_QUERY_TAILS, mix(h, 5)) : text;
}

/** A page's address under the property. Two indexes may give the same text: the caller makes them distinct. */
export function pageText(seed: number, siteUrl: string, index: number): string {
  const h = mix(seed, index);
  const base = baseUrl(siteUrl, index === 0 ? 0 : mix(h, 6));
  if (index === 0) return base;
  const words: string[] = [];
  for (let i = 0, count = 2 + (mix(h, 2) % 4); i < count; i++) words.push(pick(SLUG_WORDS, mix(h, 10 + i)));
  const path = `${base}${pick(SECTIONS, mix(h, 1))}/${words.join('-')}`;
  switch (mix(h, 3) % 211) {
    case 0:
      return `${path}?ref=${'long-'.repeat(60 + (mix(h, 4) % 700))}${index}`;
    case 1:
      return `${path}/?q="quoted"&back=\\slash`;
    case 2:
      return `${path}/größe-日本-🥾`;
    case 3:
    case 4:
    case 5:
    case 6:
      return `${path}?color=${h % 9}&utm_source=feed#size`;
    default:
      return mix(h, 5) % 3 === 0 ? `${path}.html` : `${path}/`;
  }
}

/** A domain property covers several hosts. A URL-prefix property is the prefix itself. */
function baseUrl(siteUrl: string, h: number): string {
  if (!siteUrl.startsWith('sc-domain:')) return siteUrl.endsWith('/') ? siteUrl : `${siteUrl}/`;
  const domain = siteUrl.slice('sc-domain:'.length);
  const hosts = ['www', 'www', 'www', 'www', 'www', 'www', 'blog', 'shop', 'm'];
  return `https://${pick(hosts, h)}.${domain}/`;
}
