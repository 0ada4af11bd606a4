import { LongtailError } from '../domain/errors.ts';

/** What Longtail uses of the driver's query beyond its public interface. No type of the driver promises it. */
export interface InsideQuery {
  /** Takes the query to a connection. */
  handler: (query: unknown) => unknown;
  resolve: (value: unknown) => unknown;
  reject: (error: unknown) => unknown;
}

/** The probe: whether this is a query as postgres 3.4 makes them, not one of its helpers for names and lists. */
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

/** For the pool, which has no public way to hand a query to a connection. */
export function unknownDriver(): LongtailError {
  return new LongtailError(
    'INTERNAL',
    'The installed version of the package postgres has queries of another shape than Longtail works with.',
    'Install postgres 3.4.9, or a later 3.4.',
  );
}
