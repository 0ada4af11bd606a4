/**
 * Makes states and events small and readable: counts for lists, days and datasets for the ids of slices, ids for references to
 * actors. What is large or private in a context never gets this far: rows, connections and secrets are in no context.
 */
import type { SliceKey } from '../../domain/slice.ts';
import type { Json } from './messages.ts';

/** Longer texts are cut. */
const MAX_TEXT = 200;
/** Longer lists of plain values are counted. */
const MAX_LISTED = 8;
const MAX_DEPTH = 3;
/** More slices than this are told as a range of days. */
const MAX_SLICES = 3;

export type NameOf = (sliceId: string) => SliceKey | undefined;

export function slim(value: unknown, nameOf: NameOf): Json {
  return slimAt(value, nameOf, 0);
}

export function slimRecord(value: unknown, nameOf: NameOf): { readonly [key: string]: Json } {
  if (typeof value !== 'object' || value === null) return {};
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, field]) => field !== undefined && typeof field !== 'function')
      .map(([key, field]) =>
        key === 'sliceId' && typeof field === 'string'
          ? ['slice', sliceWords(field, nameOf)]
          : [key, slimAt(field, nameOf, 1)],
      ),
  );
}

function slimAt(value: unknown, nameOf: NameOf, depth: number): Json {
  switch (typeof value) {
    case 'string':
      // The id of an account or a project is nobody's business here.
      if (/^(user|project):/.test(value)) return value.slice(0, value.indexOf(':'));
      return value.length > MAX_TEXT ? `${value.slice(0, MAX_TEXT)}…` : value;
    case 'number':
      return Number.isFinite(value) ? value : String(value);
    case 'boolean':
      return value;
    case 'bigint':
      return String(value);
    case 'object':
      return value === null ? null : slimObject(value, nameOf, depth);
    default:
      return null;
  }
}

function slimObject(value: object, nameOf: NameOf, depth: number): Json {
  if (value instanceof Error) return slimAt(value.message, nameOf, depth);
  // A reference to an actor.
  if ('sessionId' in value && 'send' in value)
    return `actor ${String('id' in value ? value.id : value.sessionId)}`;
  if (Array.isArray(value)) return slimList(value, nameOf, depth);
  if (Symbol.iterator in value) return { count: countOf(value) };
  if (isPage(value)) return pageWords(value, nameOf);
  return depth >= MAX_DEPTH ? '…' : slimFields(value, nameOf, depth);
}

function slimFields(value: object, nameOf: NameOf, depth: number): Json {
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, field]) => field !== undefined && typeof field !== 'function')
      .map(([key, field]) => [key, slimAt(field, nameOf, depth + 1)]),
  );
}

function slimList(list: readonly unknown[], nameOf: NameOf, depth: number): Json {
  const pages = list.filter(isPage);
  if (list.length > 0 && pages.length === list.length) return pagesWords(pages, nameOf);
  return list.length > MAX_LISTED || depth >= MAX_DEPTH
    ? { count: list.length }
    : list.map((item) => slimAt(item, nameOf, depth + 1));
}

function countOf(value: object): number {
  if ('size' in value && typeof value.size === 'number') return value.size;
  let count = 0;
  for (const _ of value as Iterable<unknown>) count += 1;
  return count;
}

interface PageLike {
  readonly sliceId: string;
  readonly startRow: number;
}

const isPage = (value: unknown): value is PageLike =>
  typeof value === 'object' &&
  value !== null &&
  'sliceId' in value &&
  typeof value.sliceId === 'string' &&
  'startRow' in value &&
  typeof value.startRow === 'number';

function sliceWords(sliceId: string, nameOf: NameOf): string {
  const slice = nameOf(sliceId);
  // Calendars and probes have ids that are words.
  if (slice === undefined) return /^\d+$/.test(sliceId) ? `slice ${sliceId}` : sliceId;
  const { dataset, date, searchType, part = '' } = slice;
  return [searchType === 'web' ? '' : searchType, dataset, date, part]
    .filter((word) => word !== '')
    .join(' ');
}

function pageWords({ sliceId, startRow }: PageLike, nameOf: NameOf): string {
  const words = sliceWords(sliceId, nameOf);
  return startRow === 0 ? words : `${words} from row ${startRow}`;
}

/** `12 pages: page, page+query; 2026-05-01 to 2026-05-12` */
function pagesWords(pages: readonly PageLike[], nameOf: NameOf): string {
  if (pages.length <= MAX_SLICES) return pages.map((page) => pageWords(page, nameOf)).join(', ');
  const known = pages.map(({ sliceId }) => nameOf(sliceId)).filter((slice) => slice !== undefined);
  const count = `${pages.length} pages`;
  const dates = known.map(({ date }) => date).sort();
  if (dates.length === 0) return count;
  const datasets = [...new Set(known.map(({ dataset }) => dataset))].sort();
  const [first] = dates;
  const last = dates.at(-1);
  return `${count}: ${datasets.join(', ')}; ${first === last ? first : `${first} to ${last}`}`;
}
