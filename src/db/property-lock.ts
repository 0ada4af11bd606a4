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
    held = await holdLock(sql, propertyLockName(siteUrl), clock);
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

export type Retaking =
  | { readonly kind: 'ok'; readonly lock: HeldLock }
  /** Somebody has it: another run that is just starting, or a session of our own that the server still takes for alive. */
  | { readonly kind: 'busy' }
  /** The epoch has been raised: the property is another run's by now. */
  | { readonly kind: 'takenOver' };

/**
 * Takes the property's lock again after its connection died. Nothing is raised: whoever held the lock meanwhile has
 * raised the epoch, and that is looked for. Rejects when the database does not answer.
 */
export async function retakeProperty(
  sql: Sql,
  siteUrl: string,
  { propertyId, epoch }: Pick<PropertyLock, 'propertyId' | 'epoch'>,
  clock: Clock,
): Promise<Retaking> {
  const lock = await holdLock(sql, propertyLockName(siteUrl), clock);
  try {
    const ours = await sql`
      select from longtail.property
      where id = ${propertyId}::text::bigint and epoch = ${epoch}::text::bigint`;
    if (ours.length === 0) {
      await lock?.release();
      return { kind: 'takenOver' };
    }
    return lock === undefined ? { kind: 'busy' } : { kind: 'ok', lock };
  } catch (error) {
    await lock?.release();
    throw error;
  }
}

const propertyLockName = (siteUrl: string): string => `property ${siteUrl}`;

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
