/** What the tables of states and events say of a machine with a fault. */
import {
  createSheets,
  firstDifference,
  MACHINE_NAMES,
  type MachineName,
  readRecords,
} from '../machines/tables/sheets.ts';
import type { Finding } from './walks.ts';

const recordsOf = new Map(MACHINE_NAMES.map((title) => [title, readRecords(title)] as const));

/** The neighbours are made anew: what a fault has them told is nobody else's. */
export function findInTables(titles: readonly MachineName[]): Finding | undefined {
  const sheets = createSheets();
  for (const title of titles) {
    const records = recordsOf.get(title);
    if (records === undefined) throw new Error(`nothing is written down of the ${title}`);
    const detail = throwsNot(() => firstDifference(sheets[title], records));
    if (detail !== undefined) return { by: 'table', detail };
  }
  return undefined;
}

/** A machine with a fault may throw, or go round in a circle until it does. */
function throwsNot(find: () => string | undefined): string | undefined {
  try {
    return find();
  } catch (error) {
    return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  }
}
