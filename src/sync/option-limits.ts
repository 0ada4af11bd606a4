/** Validation helpers for all options, and the options of a rate limiter. */
import { z } from 'zod';
import { LongtailError } from '../domain/errors.ts';
import type { BudgetRule } from '../machines/rate-limiter/quota-window.ts';

/** The error for an invalid option. */
export const wrong = (message: string, nextStep: string): LongtailError =>
  new LongtailError('BAD_OPTION', message, nextStep);

/** A whole number within inclusive bounds. */
export const whole = (name: string, min: number, max: number) =>
  z
    .number(`${name} is a whole number from ${min} to ${max}.`)
    .int(`${name} is a whole number from ${min} to ${max}.`)
    .min(min, `${name} is at least ${min}.`)
    .max(max, `${name} is at most ${max}.`);

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

/** @throws LongtailError BAD_OPTION with the schema's message. */
export function readOptions<T>(schema: z.ZodType<T>, options: unknown): T {
  const parsed = schema.safeParse(options);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const path = issue?.path.map(String).join('.') ?? 'the options';
  throw wrong(issue?.message ?? 'An option has a wrong type.', `Look at "${path}", or leave it out.`);
}

/** Reads the rate limiter's options. @throws LongtailError BAD_OPTION. */
export function readLimits(options: unknown): Limits {
  if (typeof options !== 'object' || options === null)
    throw wrong(
      'The rate limiter’s options are not an object.',
      'Give { requestsPerMinute: 1200 }, or nothing.',
    );
  return readOptions(limits, options);
}
