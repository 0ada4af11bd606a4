import { LongtailError } from '../domain/errors.ts';

/** The driver's private query members that are used here. The driver's types do not declare them. */
export interface InsideQuery {
  /** Sends the query to a connection. */
  handler: (query: unknown) => unknown;
  resolve: (value: unknown) => unknown;
  reject: (error: unknown) => unknown;
}

/** The probe: whether this is a query of postgres 3.4, not one of its helpers for identifiers and lists. */
export function isQuery(made: unknown): made is InsideQuery {
  return (
    made instanceof Promise &&
    'handler' in made &&
    typeof made.handler === 'function' &&
    'resolve' in made &&
    typeof made.resolve === 'function' &&
    'reject' in made &&
    typeof made.reject === 'function'
  );
}

/** The error of the pool, which has no public way to send a query to a given connection. */
export function unknownDriver(): LongtailError {
  return new LongtailError(
    'INTERNAL',
    'The queries of the installed version of the package postgres differ from those that Longtail works with.',
    'Install postgres 3.4.9, or a later 3.4.',
  );
}
