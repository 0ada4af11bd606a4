/**
 * Mutants that nobody can notice, and why. Each must still be one, and unnoticed: otherwise its line here is wrong.
 */
import type { MachineName } from '../machines/tables/sheets.ts';

export const EQUIVALENT: Readonly<Record<MachineName, Readonly<Record<string, string>>>> = {
  'batch worker': {},
  'rate limiter': {},
  'concurrency controller': {},
  'lease keeper': {},
  coordinator: {},
  'run life': {},
  verification: {},
};
