/**
 * Integer hashing. The emulator's only source of randomness, so that a seed always gives the same property, in whatever
 * order its data is requested.
 */

/** Mixes two 32-bit integers into one in [0, 2^32). */
export function mix(a: number, b: number): number {
  let h = Math.imul(a ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(b + 0x7f4a7c15, 0xc2b2ae35);
  h ^= h >>> 15;
  h = Math.imul(h, 0x2c1b3c6d);
  h ^= h >>> 12;
  h = Math.imul(h, 0x297a2d39);
  h ^= h >>> 15;
  return h >>> 0;
}

/** FNV-1a over UTF-16 code units, in [0, 2^32). */
export function hashText(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return mix(h, text.length);
}

/** A hash in [0, 2^32) as a fraction in [0, 1). */
export function fraction(hash: number): number {
  return hash / 4_294_967_296;
}
