/**
 * Options with defaults. `undefined` means the same as leaving the option out, also with `exactOptionalPropertyTypes`.
 */
export type Given<T> = { readonly [K in keyof T]?: T[K] | undefined };

/** The given options, with defaults for the missing ones. */
export function withDefaults<T extends object>(defaults: T, given: Given<T> = {}): T {
  return {
    ...defaults,
    ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)),
  };
}
