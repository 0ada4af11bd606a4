/** Options with defaults: `undefined` is the same as leaving an option out, also with `exactOptionalPropertyTypes`. */
export type Given<T> = { readonly [K in keyof T]?: T[K] | undefined };

/** The options that were given, and the defaults of those that were not. */
export function withDefaults<T extends object>(defaults: T, given: Given<T> = {}): T {
  return {
    ...defaults,
    ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)),
  };
}
