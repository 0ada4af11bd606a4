import type { Ground } from '../ground.ts';
import type { Life } from '../life.ts';
import type { Scenario } from '../scenario.ts';

const MINUTE_MS = 60_000;
/** Until the tokens of a call that nobody heard the end of are given up: see the coordinator. */
const LONGEST_GRACE_MS = 300_000;

/** No window at the server, wherever it starts, holds more than the limit that the options give. */
export function checkQuota({ server, judge }: Ground, { options }: Scenario): void {
  const windows = [{ limit: options.requestsPerMinute, windowMs: MINUTE_MS }];
  if (options.burst !== null) windows.push(options.burst);
  for (const { limit, windowMs } of windows) {
    let first = 0;
    let inWindow = 0;
    for (const { atMs, requests } of server.arrivals) {
      inWindow += requests;
      for (let oldest = server.arrivals[first]; oldest !== undefined && oldest.atMs <= atMs - windowMs; ) {
        inWindow -= oldest.requests;
        first += 1;
        oldest = server.arrivals[first];
      }
      if (inWindow > limit) {
        const from = server.arrivals.slice(first).filter((arrival) => arrival.atMs <= atMs);
        const shown = from.map(
          (arrival) => `${arrival.requests} by ${arrival.process.name} at ${arrival.atMs}`,
        );
        judge.fail(
          'the server sees no more than the quota',
          `${inWindow} of ${limit} in ${windowMs} ms: ${shown.join(', ')}`,
        );
        return;
      }
    }
  }
}

/** When its windows have passed, no token of a run that has ended counts any more. */
export async function checkTokensReturned({ world, judge }: Ground, life: Life): Promise<void> {
  if (life.limiter === undefined) return;
  await world.advance(LONGEST_GRACE_MS + 3 * MINUTE_MS);
  const { budgets, leases, queue } = life.limiter.actor.getSnapshot().context;
  const all = [...budgets.values()].flat();
  const left = all.filter(({ spent, buckets }) => buckets === null && spent !== 0);
  judge.expect(
    left.length === 0 && leases.size === 0 && queue.length === 0,
    'every token comes back',
    () => `${life.process.name}: ${JSON.stringify({ left, leases, waiting: queue.length })}`,
  );
  const inBuckets = all.filter(
    ({ spent, buckets }) => buckets !== null && spent !== buckets.reduce((a, b) => a + b, 0),
  );
  judge.expect(inBuckets.length === 0, 'a bucket holds every token that counts for a day', () =>
    JSON.stringify(inBuckets),
  );
}
