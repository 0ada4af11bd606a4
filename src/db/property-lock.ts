import type { Sql } from 'postgres';
import type { Clock } from '../domain/clock.ts';
import { LongtailError } from '../errors.ts';
import { one } from './answer.ts';
import { asLongtailError } from './connect.ts';
import { type HeldLock, holdLock } from './held-lock.ts';
import { transaction } from './transaction.ts';

/** The right to write to one property. */
export interface PropertyLock extends HeldLock {
  readonly propertyId: string;
  /** Higher than any that was given out before: whoever writes with an older one is refused. */
  readonly epoch: string;
}

/** `busy`: another synchronisation of this property is under way; nothing was touched. */
export type PropertyLocking =
  | { readonly kind: 'ok'; readonly lock: PropertyLock }
  | { readonly kind: 'busy' };

/**
 * Takes the property's lock, then raises its epoch, in a transaction that is over before this resolves: from that
 * moment an earlier writer that has lost its lock without knowing cannot commit. Its run is marked as crashed, which
 * waits for what it is committing. Rejects with a LongtailError when the database does not answer.
 */
export async function lockProperty(sql: Sql, siteUrl: string, clock: Clock): Promise<PropertyLocking> {
  let held: HeldLock | undefined;
  try {
    held = await holdLock(sql, `property ${siteUrl}`, clock);
    if (held === undefined) return { kind: 'busy' };
    const { propertyId, epoch } = await raiseEpoch(sql, siteUrl);
    return { kind: 'ok', lock: { ...held, propertyId, epoch } };
  } catch (error) {
    await held?.release();
    throw asLongtailError(sql, error);
  }
}

async function raiseEpoch(sql: Sql, siteUrl: string): Promise<{ propertyId: string; epoch: string }> {
  return await transaction(sql, async (tx) => {
    await tx`set local lock_timeout = '10s'`.simple();
    const raised = one(
      await tx<{ propertyId: string; epoch: string }[]>`
        insert into longtail.property as p (site_url, epoch) values (${siteUrl}::text, 1)
        on conflict (site_url) do update set epoch = p.epoch + 1
        returning id::text as "propertyId", epoch::text as "epoch"`,
    );
    await tx`
      update longtail.run set status = 'crashed', ended_at = now()
      where property_id = ${raised.propertyId}::text::bigint and status = 'running'`;
    return raised;
  });
}

/**
 * Takes the user's quota for this lock's holder, so that two processes do not each count on the whole of it. `scope` is
 * the budget's id, `user:…`. Rejects with USER_SCOPE_BUSY. It is given up with the property's lock.
 */
export async function lockUserScope(lock: HeldLock, scope: string): Promise<void> {
  if (await lock.alsoTake(`scope ${scope}`)) return;
  throw new LongtailError(
    'USER_SCOPE_BUSY',
    'Another process uses the same Google account for a synchronisation: together they would overrun its quota.',
    'Wait for it to end, use other credentials, or run both in one process with a shared rate limiter.',
  );
}
