/** The shortest possible time of a job, given the emulator's latencies. */
import { fraction, mix } from '../../src/emulator/hash.ts';
import type { EmulatorOptions, RequestRecord } from '../../src/emulator/index.ts';
import { sum } from './statistics.ts';

/** One HTTP call, as the emulator served it. */
export interface ServedCall {
  readonly number: number;
  readonly parts: number;
  /** The latency that the emulator added. */
  readonly latencyMs: number;
  /** The call requests a calendar. The plan needs the answer. */
  readonly isCalendar: boolean;
  /** The call arrived before the calendar was answered, so it did not depend on it. */
  readonly isSpeculative: boolean;
}

/** Groups the emulator's records into calls, in order of arrival. */
export function servedCalls(
  records: readonly RequestRecord[],
  { latencyMs = 0, latencyJitter = 0, perPartMs = 0 }: EmulatorOptions,
): ServedCall[] {
  const calls = new Map<number, ServedCall & { readonly arrivedAtMs: number }>();
  for (const { httpCall, batchSize, batchId, body, arrivedAtMs } of records) {
    if (calls.has(httpCall)) continue;
    // As in the emulator, the latency depends only on the number of the call.
    const swing = 1 + latencyJitter * (2 * fraction(mix(httpCall, 99)) - 1);
    const inParts = batchId === undefined ? 0 : perPartMs * batchSize;
    calls.set(httpCall, {
      number: httpCall,
      parts: batchSize,
      latencyMs: latencyMs * swing + inParts,
      isCalendar: isCalendar(body),
      isSpeculative: false,
      arrivedAtMs,
    });
  }
  const inOrder = [...calls.values()].sort((a, b) => a.number - b.number);
  const answered = inOrder.filter((call) => call.isCalendar).map((call) => call.arrivedAtMs + call.latencyMs);
  const knownAtMs = Math.max(...answered);
  return inOrder.map(({ arrivedAtMs, ...call }) => ({
    ...call,
    isSpeculative: !call.isCalendar && arrivedAtMs < knownAtMs,
  }));
}

function isCalendar(body: unknown): boolean {
  if (typeof body !== 'object' || body === null || !('dimensions' in body)) return false;
  return Array.isArray(body.dimensions) && body.dimensions.join('+') === 'date';
}

/** The maximum number of concurrent calls, and from when it applies. The first entry applies from the start. */
export type Workers = readonly { readonly atMs: number; readonly workers: number }[];

export const steadily = (workers: number): Workers => [{ atMs: 0, workers }];

/**
 * The critical path: first the calls for calendars and those that did not depend on them, then all others in their order.
 * Each starts as soon as a worker is free.
 */
export function idealMs(calls: readonly ServedCall[], workers: Workers): number {
  const goesAlong = (call: ServedCall): boolean => !call.isCalendar && call.isSpeculative;
  const waits = (call: ServedCall): boolean => !call.isCalendar && !call.isSpeculative;
  let ends: number[] = [];
  let atMs = 0;
  let knownAtMs = 0;
  let lastEndMs = 0;
  for (const call of [
    ...calls.filter((one) => one.isCalendar),
    ...calls.filter(goesAlong),
    ...calls.filter(waits),
  ]) {
    if (waits(call)) atMs = Math.max(atMs, knownAtMs);
    for (;;) {
      ends = ends.filter((end) => end > atMs);
      if (ends.length < workersAt(workers, atMs)) break;
      const raise = workers.find((step) => step.atMs > atMs)?.atMs ?? Number.POSITIVE_INFINITY;
      atMs = Math.min(...ends, raise);
    }
    const endMs = atMs + call.latencyMs;
    ends.push(endMs);
    lastEndMs = Math.max(lastEndMs, endMs);
    if (call.isCalendar) knownAtMs = lastEndMs;
  }
  return lastEndMs;
}

/** One call after another. */
export const sequentialMs = (calls: readonly ServedCall[]): number =>
  sum(calls.map(({ latencyMs }) => latencyMs));

function workersAt(workers: Workers, atMs: number): number {
  return workers.findLast((step) => step.atMs <= atMs)?.workers ?? workers[0]?.workers ?? 1;
}
