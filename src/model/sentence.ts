/** Formats a message as one readable line. */
import type { Page } from '../machines/index.ts';
import type { Message } from './turn.ts';
import { pageKey } from './world.ts';

export function sentence({ from, to, event }: Message): string {
  const { type, ...rest } = event;
  const details = Object.entries(rest)
    .filter(([name]) => !OBVIOUS.has(name))
    .map(([name, value]) => `${name} ${brief(value)}`)
    .join(', ');
  const way = from === undefined ? `    ▸ ${to}` : `    ${from} → ${to}`;
  return details === '' ? `${way}: ${type}` : `${way}: ${type} (${details})`;
}

/** Fields that repeat what sender and receiver already show. */
const OBVIOUS = new Set(['workerId', 'replyTo', 'scopes', 'maxAttempts', 'chance', 'leaseId', 'rows']);

function brief(value: unknown): string {
  if (value instanceof Error) return value.message;
  if (Array.isArray(value)) return `[${value.map(brief).join(' ')}]`;
  if (isPage(value)) {
    const { attempts, callFailures } = value;
    return `${pageKey(value)}${attempts > 0 ? ` after ${attempts} failed` : ''}${callFailures > 0 ? ` and ${callFailures} failed calls` : ''}`;
  }
  if (typeof value === 'object' && value !== null && 'kind' in value) {
    const { kind, ...rest } = value;
    const more = Object.values(rest).map(brief).join(' ');
    return more === '' ? String(kind) : `${String(kind)} (${more})`;
  }
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

const isPage = (value: unknown): value is Page =>
  typeof value === 'object' &&
  value !== null &&
  'sliceId' in value &&
  'startRow' in value &&
  'attempts' in value;
