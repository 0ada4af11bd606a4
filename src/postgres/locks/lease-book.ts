import type { Sql, TransactionSql } from 'postgres';
import type { Clock } from '../../domain/clock.ts';
import { type BusyLease, judgeHolders, type OtherLease } from '../../domain/lease-rules.ts';
import type { Answer } from '../../store/types.ts';
import { answer, one } from '../connection/answer.ts';
import { toldError } from '../connection/told-error.ts';
import { transaction } from '../connection/transaction.ts';

/**
 * Leases: who may try to work on what, and until when, by the database's clock. A lease only prevents two runs from
 * trying at the same time. Correctness is enforced elsewhere: every commit checks the property's epoch, and every token
 * record checks the lease's row.
 */

/** How long a lease is valid in the database after its last renewal. */
export const LEASE_MS = 60_000;

export interface Holder {
  /** Unique to one run. */
  readonly id: string;
  /** Holders of the same party may share a resource: runs that share a rate limiter share an account. */
  readonly party: string;
}

/** The resource was taken, or another party holds it. */
export type Taking<T> = { readonly kind: 'taken'; readonly value: T } | BusyLease;

/** Facts about the caller and the current holder. */
export interface TakingOptions {
  /** The advisory lock that shows that the caller's process is alive. Null: it has none. */
  readonly presence: string | null;
  /** A holder whose process is gone and that has not renewed its lease since then is gone for good. */
  readonly goneSince: string | null;
}

/** What a run needs for writing to the property that it holds. */
export interface PropertyGrant {
  readonly propertyId: string;
  /** Higher than any epoch before. Writers with an older epoch are rejected. */
  readonly epoch: string;
}

/** The port to the lease rows: PostgreSQL's or a simulation's. Taking rejects with a LongtailError on failure. */
export interface LeaseTable {
  /** Takes a property and raises its epoch. */
  takeProperty(siteUrl: string, holder: Holder, options: TakingOptions): Promise<Taking<PropertyGrant>>;
  /** Takes an account's quota, `user:…`. */
  takeScope(scope: string, holder: Holder, options: TakingOptions): Promise<Taking<null>>;
  /** Renews the leases of all these resources. False: at least one now belongs to another party. */
  renew(holderId: string, resources: readonly string[], presence: string | null): Promise<Answer<boolean>>;
  /** Releases all leases of the holder. False: the database did not do it. Never rejects. */
  release(holderId: string): Promise<boolean>;
}

export function createLeaseTable(sql: Sql, clock: Clock): LeaseTable {
  const orLongtailError = async (error: unknown): Promise<never> => {
    throw await toldError(sql, error);
  };
  return {
    takeProperty: (siteUrl, holder, options) =>
      takeProperty(sql, clock, siteUrl, holder, options).catch(orLongtailError),
    takeScope: (scope, holder, options) => takeScope(sql, scope, holder, options).catch(orLongtailError),
    renew: (holderId, resources, presence) =>
      answer(async () => (await renewLeases(sql, holderId, resources, presence)) === resources.length),
    release: (holderId) =>
      releaseLeases(sql, holderId).then(
        () => true,
        () => false,
      ),
  };
}

export const propertyResource = (siteUrl: string): string => `site:${siteUrl}`;

/**
 * Takes a property and raises its epoch: from then on, an earlier writer cannot commit. Marks that writer's run as
 * crashed, which waits for its current commit.
 */
async function takeProperty(
  sql: Sql,
  clock: Clock,
  siteUrl: string,
  holder: Holder,
  options: TakingOptions,
): Promise<Taking<PropertyGrant>> {
  return await transaction(sql, async (tx) => {
    const busy = await take(tx, propertyResource(siteUrl), holder, options);
    if (busy !== undefined) return busy;
    const { pid } = one(await tx<{ pid: number }[]>`select pg_backend_pid() as "pid"`);
    const raising = raiseEpoch(tx, siteUrl);
    const stop = endBlockingSessions(sql, pid, clock);
    const value = await raising.finally(stop);
    return { kind: 'taken', value };
  });
}

async function raiseEpoch(tx: TransactionSql, siteUrl: string): Promise<PropertyGrant> {
  const raised = one(
    await tx<PropertyGrant[]>`
      insert into longtail.property as p (site_url, epoch) values (${siteUrl}::text, 1)
      on conflict (site_url) do update set epoch = p.epoch + 1
      returning id::text as "propertyId", epoch::text as "epoch"`,
  );
  await tx`
    update longtail.run set status = 'crashed', ended_at = now()
    where property_id = ${raised.propertyId}::text::bigint and status = 'running'`;
  return raised;
}

/** A running commit has ended by then, unless its process is stopped or gone. */
const ENDED_BY_ITSELF_MS = 2_000;
const END_EVERY_MS = 1_000;

/**
 * If a process is suspended, or its host disappears, in the middle of a transaction, its session keeps the run's row
 * locked until the server notices, which can take hours. That process has lost its right to the property, so this ends
 * its session, provided that it is one of Longtail's (by its name, or the one in the URL) and waits only for its client.
 * If the user may not end it, the lock's timeout reports it.
 */
function endBlockingSessions(sql: Sql, pid: number, clock: Clock): () => void {
  let isOver = false;
  let timer: unknown;
  const end = (): void => {
    sql`
      select pg_terminate_backend(a.pid) from pg_stat_activity a
      where a.pid = any(pg_blocking_pids(${pid}::int)) and a.usename = current_user
        and (a.application_name like 'longtail%' or a.application_name = current_setting('application_name'))
        and a.wait_event = 'ClientRead'`
      .then(
        () => undefined,
        () => undefined,
      )
      .then(() => {
        if (!isOver) timer = clock.setTimeout(end, END_EVERY_MS);
      });
  };
  timer = clock.setTimeout(end, ENDED_BY_ITSELF_MS);
  return () => {
    isOver = true;
    clock.clearTimeout(timer);
  };
}

/** Takes an account's quota, `user:…`: only one party at a time counts its requests. */
async function takeScope(
  sql: Sql,
  scope: string,
  holder: Holder,
  options: TakingOptions,
): Promise<Taking<null>> {
  return await transaction(
    sql,
    async (tx) => (await take(tx, scope, holder, options)) ?? { kind: 'taken', value: null },
  );
}

/** Takes one resource, in a short transaction. Undefined: taken. */
async function take(
  tx: TransactionSql,
  resource: string,
  { id, party }: Holder,
  { presence, goneSince }: TakingOptions,
): Promise<BusyLease | undefined> {
  await tx`set local lock_timeout = '10s'`.simple();
  // One at a time: otherwise two parties could both find it free and take it.
  await tx`select pg_advisory_xact_lock(hashtextextended('longtail:lease:' || ${resource}::text, 0))`;
  // If a presence lock is available, its process is gone.
  const others = await tx<OtherLease[]>`
    select case when presence is null then 'unknown'
        when pg_try_advisory_xact_lock(hashtextextended(presence, 0)) then 'gone'
        else 'alive' end as "state",
      (extract(epoch from renewed_at) * 1000000)::bigint::text as "renewedAt"
    from longtail.lease
    where resource = ${resource}::text and party <> ${party}::text and expires_at > clock_timestamp()`;
  const busy = judgeHolders(others, goneSince);
  if (busy !== undefined) return busy;
  // Waits for any transaction that is recording tokens under one of these leases. The next read counts those tokens.
  await tx`delete from longtail.lease where resource = ${resource}::text and party <> ${party}::text`;
  await tx`
    insert into longtail.lease (resource, holder, party, presence, renewed_at, expires_at)
    values (${resource}::text, ${id}::text, ${party}::text, ${presence}::text, clock_timestamp(),
      clock_timestamp() + make_interval(secs => ${LEASE_MS}::float8 / 1000))
    on conflict (resource, holder) do update set presence = excluded.presence, renewed_at = excluded.renewed_at,
      expires_at = excluded.expires_at`;
  return undefined;
}

/**
 * Renews all leases of a holder. Returns how many of these resources it renewed; a missing one belongs to another party.
 * Resolves only once this is on disk: after a server crash, the holder and the others must agree on the expiry.
 */
async function renewLeases(
  sql: Sql,
  holderId: string,
  resources: readonly string[],
  presence: string | null,
): Promise<number> {
  // Urgent, because other processes judge by it whether this one is alive: it must not wait behind other runs' work.
  const work = (tx: TransactionSql) => tx`
    update longtail.lease set presence = ${presence}::text, renewed_at = clock_timestamp(),
      expires_at = clock_timestamp() + make_interval(secs => ${LEASE_MS}::float8 / 1000)
    from set_config('synchronous_commit', 'on', true)
    where holder = ${holderId}::text
      and resource in (select jsonb_array_elements_text(${JSON.stringify(resources)}::text::jsonb))
    returning resource`;
  const renewed = await transaction(sql, async (tx) => work(tx), { isUrgent: true });
  return renewed.length;
}

/** Releases all leases of a holder. */
async function releaseLeases(sql: Sql, holderId: string): Promise<void> {
  await sql`delete from longtail.lease where holder = ${holderId}::text`;
}
