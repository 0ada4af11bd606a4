import type { Sql, TransactionSql } from 'postgres';
import type { Clock } from '../../domain/clock.ts';
import { type BusyLease, judgeHolders, type OtherLease } from '../../domain/lease-rules.ts';
import type { Answer } from '../../store/types.ts';
import { answer, one } from '../connection/answer.ts';
import { toldError } from '../connection/told-error.ts';
import { transaction } from '../connection/transaction.ts';

/**
 * Who may try to work on what, and until when: rows with an expiry by the database's clock. What must never happen twice is
 * fenced off elsewhere (the property's epoch at every commit, the lease's own row at every record of tokens): a lease only
 * sees to it that two do not try at once.
 */

/** How long a lease lasts in the database from its last renewal. */
export const LEASE_MS = 60_000;

export interface Holder {
  /** Unique to one run. */
  readonly id: string;
  /** Who may hold the same resource beside it: runs that share a rate limiter share an account. */
  readonly party: string;
}

/** Taken, or somebody holds it. */
export type Taking<T> = { readonly kind: 'taken'; readonly value: T } | BusyLease;

/** What is known of who asks, and of who holds. */
export interface TakingOptions {
  /** The lock that shows the presence of who asks; null: none does. */
  readonly presence: string | null;
  /** A holder that is gone, and has not renewed its lease since then, is gone for good. */
  readonly goneSince: string | null;
}

/** What a run that holds a property writes with. */
export interface PropertyGrant {
  readonly propertyId: string;
  /** Higher than any that was given out before: whoever writes with an older one is refused. */
  readonly epoch: string;
}

/** The port behind which the rows are: PostgreSQL's, or a simulation's. Taking rejects with a LongtailError where it fails. */
export interface LeaseTable {
  /** Takes a property, and raises its epoch. */
  takeProperty(siteUrl: string, holder: Holder, options: TakingOptions): Promise<Taking<PropertyGrant>>;
  /** Takes an account's quota, `user:…`. */
  takeScope(scope: string, holder: Holder, options: TakingOptions): Promise<Taking<null>>;
  /** Renews all of these; false: at least one is another's by now. */
  renew(holderId: string, resources: readonly string[], presence: string | null): Promise<Answer<boolean>>;
  /** Gives up all that the holder has; false: the database did not take it. Never rejects. */
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
 * Takes a property, and raises its epoch: from that moment an earlier writer cannot commit. Its run is marked as crashed,
 * which waits for what it is committing.
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
    const stop = endWhoeverIsInTheWay(sql, pid, clock);
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

/** A commit that is under way is over by then, unless nobody is there to end it. */
const ENDED_BY_ITSELF_MS = 2_000;
const END_EVERY_MS = 1_000;

/**
 * A process that was stopped, or whose host is gone, in the middle of a transaction holds its run's row for as long as the
 * server takes it for alive: hours. It has no right to the property any more, so its session is ended, if it is one of ours (by
 * its name, or by the one that the URL gives) and waits for nothing but its client. Where the user may not do that, the lock's timeout tells.
 */
function endWhoeverIsInTheWay(sql: Sql, pid: number, clock: Clock): () => void {
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

/** Takes an account's quota, `user:…`: one party at a time counts its requests. */
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

/** Takes one resource, in a transaction that is over soon. Undefined: taken. */
async function take(
  tx: TransactionSql,
  resource: string,
  { id, party }: Holder,
  { presence, goneSince }: TakingOptions,
): Promise<BusyLease | undefined> {
  await tx`set local lock_timeout = '10s'`.simple();
  // One at a time: two that find it free would both have it.
  await tx`select pg_advisory_xact_lock(hashtextextended('longtail:lease:' || ${resource}::text, 0))`;
  // A presence that can be had is nobody's any more.
  const others = await tx<OtherLease[]>`
    select case when presence is null then 'unknown'
        when pg_try_advisory_xact_lock(hashtextextended(presence, 0)) then 'gone'
        else 'alive' end as "state",
      (extract(epoch from renewed_at) * 1000000)::bigint::text as "renewedAt"
    from longtail.lease
    where resource = ${resource}::text and party <> ${party}::text and expires_at > clock_timestamp()`;
  const busy = judgeHolders(others, goneSince);
  if (busy !== undefined) return busy;
  // Waits for whoever is recording tokens in the name of one of them: those are counted by what is read after this.
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
 * Renews all that a holder has; how many of these resources that were. One that is missing is another's. It is on disk
 * before this resolves: after a crash of the server the holder and others must agree on the expiry.
 */
async function renewLeases(
  sql: Sql,
  holderId: string,
  resources: readonly string[],
  presence: string | null,
): Promise<number> {
  // Whoever finds this process dead or alive goes by it: it does not wait behind the work of other runs.
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

/** Gives up all that a holder has. */
async function releaseLeases(sql: Sql, holderId: string): Promise<void> {
  await sql`delete from longtail.lease where holder = ${holderId}::text`;
}
