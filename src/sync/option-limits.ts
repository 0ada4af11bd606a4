/** What all options are checked with, and those that a rate limiter has. */
import { z } from 'zod';
import { LongtailError } from '../domain/errors.ts';
import type { BudgetRule } from '../machines/rate-limiter/quota-window.ts';

/** What is said of an option that cannot be used. */
export const wrong = (message: string, nextStep: string): LongtailError =>
  new LongtailError('BAD_OPTION', message, nextStep);

/** A whole number within bounds, both included. */
export const whole = (name: string, least: number, most: number) =>
  z
    .number(`${name} is a whole number from ${least} to ${most}.`)
    .int(`${name} is a whole number from ${least} to ${most}.`)
    .min(least, `${name} is at least ${least}.`)
    .max(most, `${name} is at most ${most}.`);

const BUDGETS = 'extraBudgets is a list of { scopeKind, limit, windowMs }.';

/** With their defaults. */
export const limits = z.object({
  requestsPerMinute: whole('requestsPerMinute', 1, 40_000).default(1_200),
  extraBudgets: z
    .array(
      z.object(
        {
          scopeKind: z
            .string('A budget’s scopeKind is a word.')
            .regex(/^[a-z][a-zA-Z0-9_-]*$/, 'A budget’s scopeKind is a word.'),
          limit: whole('A budget’s limit', 1, 1_000_000_000),
          windowMs: whole('A budget’s windowMs', 1, 86_400_000),
        },
        BUDGETS,
      ),
      BUDGETS,
    )
    .default([]),
});

export interface Limits {
  readonly requestsPerMinute: number;
  readonly extraBudgets: readonly BudgetRule[];
}

/** @throws LongtailError BAD_OPTION with the schema's words. */
export function readOptions<T>(schema: z.ZodType<T>, options: unknown): T {
  const parsed = schema.safeParse(options);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const path = issue?.path.map(String).join('.') ?? 'the options';
  throw wrong(issue?.message ?? 'An option has a wrong type.', `Look at "${path}", or leave it out.`);
}

/** The part of the options that a rate limiter has. @throws LongtailError BAD_OPTION. */
export function readLimits(options: unknown): Limits {
  if (typeof options !== 'object' || options === null)
    throw wrong('The rate limiter’s options are no object.', 'Give { requestsPerMinute: 1200 }, or nothing.');
  return readOptions(limits, options);
}
