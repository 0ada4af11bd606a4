import { sql } from 'drizzle-orm';
import {
  bigint,
  boolean,
  check,
  customType,
  date,
  doublePrecision,
  foreignKey,
  index,
  integer,
  jsonb,
  pgSchema,
  pgView,
  primaryKey,
  text,
  timestamp,
  uniqueIndex,
} from 'drizzle-orm/pg-core';
import { SLICE_STATUSES } from '../../domain/slice-life.ts';

/** All of Longtail's tables are in a separate schema. Only views are in `public`: the contract, and those of `views.ts`. */
export const longtail = pgSchema('longtail');

/** Text exactly as Google sent it. Comparing by code point is faster than by a locale's rules, and the same on every server. */
const textC = customType<{ data: string }>({ dataType: () => 'text COLLATE "C"' });
const instant = (name: string) => timestamp(name, { withTimezone: true });
const bigId = (name: string) => bigint(name, { mode: 'bigint' });

/** A Search Console property. Taking its lease raises `epoch`, which fences off writers with an older one. */
export const property = longtail.table('property', {
  id: bigId('id').primaryKey().generatedAlwaysAsIdentity(),
  siteUrl: textC('site_url').notNull().unique(),
  epoch: bigId('epoch').notNull(),
  /** When rows last came after a page that had fewer than requested. Null: never. */
  shortPageAt: instant('short_page_at'),
  createdAt: instant('created_at').notNull().defaultNow(),
});

/** One run. It may write while it is `running` and its epoch equals the property's. */
export const run = longtail.table(
  'run',
  {
    id: bigId('id').primaryKey().generatedAlwaysAsIdentity(),
    propertyId: bigId('property_id')
      .notNull()
      .references(() => property.id),
    epoch: bigId('epoch').notNull(),
    status: text('status').notNull(),
    /** Requested days, both inclusive. */
    fromDate: date('from_date').notNull(),
    toDate: date('to_date').notNull(),
    /** All other options, including search types and datasets. */
    parameters: jsonb('parameters').notNull(),
    /** Whether an answer with fewer rows may replace one with more. */
    force: boolean('force').notNull(),
    /** Slices fetched before this time are fetched again. Null: the run is not a refresh. */
    refreshCutOff: instant('refresh_cut_off'),
    /** What the cut-off applies to: `{from, to, searchTypes, datasets}`. */
    refreshScope: jsonb('refresh_scope'),
    haltReason: text('halt_reason'),
    startedAt: instant('started_at').notNull().defaultNow(),
    endedAt: instant('ended_at'),
  },
  (table) => [
    check(
      'run_status',
      sql`${table.status} in ('running', 'complete', 'completeWithFailures', 'halted', 'failed', 'crashed')`,
    ),
    index('run_property').on(table.propertyId, table.startedAt),
  ],
);

/**
 * A version of one property × search type × dataset × date (× filter × aggregation type). Readers see its facts only
 * while it is `complete`.
 */
export const slice = longtail.table(
  'slice',
  {
    id: bigId('id').primaryKey().generatedAlwaysAsIdentity(),
    propertyId: bigId('property_id')
      .notNull()
      .references(() => property.id),
    searchType: text('search_type').notNull(),
    dataset: text('dataset').notNull(),
    date: date('date').notNull(),
    /** The filter that makes one part of a day, such as `searchAppearance=VIDEO`. Empty: the day as a whole. */
    part: text('part').notNull().default(''),
    /** Empty: no filter. */
    filterKey: text('filter_key').notNull().default(''),
    /** Empty: Google's default. */
    aggregationType: text('aggregation_type').notNull().default(''),
    version: integer('version').notNull(),
    status: text('status').notNull(),
    /** Sums over its ledger entries, written when it ends. They stay when its rows are deleted. */
    rows: bigint('rows', { mode: 'number' }).notNull().default(0),
    clicks: bigint('clicks', { mode: 'number' }).notNull().default(0),
    impressions: bigint('impressions', { mode: 'number' }).notNull().default(0),
    /** Rows that were dropped because their key appeared in another row: a sign that as many other rows were missed. */
    duplicatesDropped: integer('duplicates_dropped').notNull().default(0),
    /** Characters that PostgreSQL cannot store (U+0000, lone surrogates), replaced by U+FFFD. */
    replacedCharacters: integer('replaced_characters').notNull().default(0),
    /** Whether the slice has the maximum number of rows that Google returns for a day. */
    capped: boolean('capped').notNull().default(false),
    /** Whether it ended with a short page, and short pages have since turned out not to be ends: it is fetched again. */
    doubted: boolean('doubted').notNull().default(false),
    /** Whether the day's data was final when it was fetched. */
    final: boolean('final').notNull().default(false),
    /** As in Google's API: `final`, or `all` when Google may still change the day. */
    dataState: text('data_state').notNull().default('all'),
    /** A refetch: a version opened because the previous one had duplicates. */
    secondLook: boolean('second_look').notNull().default(false),
    /** The refetch that this version led to. */
    successorId: bigId('successor_id'),
    openedAt: instant('opened_at').notNull().defaultNow(),
    /** When its rows came. */
    fetchedAt: instant('fetched_at'),
    /** When Google was last asked about the day and these rows stayed. Null: not since they came. */
    checkedAt: instant('checked_at'),
    /** Why a later answer did not replace it. */
    keptReason: text('kept_reason'),
    runId: bigId('run_id')
      .notNull()
      .references(() => run.id),
    /** Why it is `failed` or `abandoned`. */
    error: text('error'),
    /** Whether `fact` may contain rows of this version. False once an ended version has been cleaned up. */
    hasFacts: boolean('has_facts').notNull().default(true),
  },
  (table) => {
    const key = [
      table.propertyId,
      table.searchType,
      table.dataset,
      table.date,
      table.part,
      table.filterKey,
      table.aggregationType,
    ] as const;
    return [
      check(
        'slice_status',
        sql`${table.status} in (${sql.raw(SLICE_STATUSES.map((status) => `'${status}'`).join(', '))})`,
      ),
      uniqueIndex('slice_version').on(...key, table.version),
      uniqueIndex('slice_one_complete')
        .on(...key)
        .where(sql`status = 'complete'`),
      uniqueIndex('slice_one_open')
        .on(...key)
        .where(sql`status = 'open'`),
      index('slice_to_clean')
        .on(table.propertyId)
        .where(sql`has_facts and status in ('superseded', 'failed', 'abandoned')`),
    ];
  },
);

/** The ledger: it contains a page if and only if the page's rows are in `fact`. */
export const slicePage = longtail.table(
  'slice_page',
  {
    sliceId: bigId('slice_id').notNull(),
    /** Empty: a page. `duplicates`: the rows that were dropped from the slice, as negative figures. */
    segment: text('segment').notNull().default(''),
    startRow: integer('start_row').notNull(),
    rows: integer('rows').notNull(),
    clicks: bigint('clicks', { mode: 'number' }).notNull(),
    impressions: bigint('impressions', { mode: 'number' }).notNull(),
    replacedCharacters: integer('replaced_characters').notNull().default(0),
    /** No page follows: it has no rows, or fewer than requested where that is taken for the end. */
    last: boolean('last').notNull(),
    /** Whether it has rows, and fewer than requested. */
    short: boolean('short').notNull().default(false),
    runId: bigId('run_id').notNull(),
    committedAt: instant('committed_at').notNull().defaultNow(),
  },
  (table) => [
    primaryKey({ columns: [table.sliceId, table.segment, table.startRow] }),
    foreignKey({ columns: [table.sliceId], foreignColumns: [slice.id], name: 'slice_page_slice' }),
  ],
);

/**
 * The rows. No foreign key (it costs 60 % of COPY's speed) and a single index: slices are written, deleted and read as a
 * whole. Dimensions that are not in the dataset are null.
 */
export const fact = longtail.table(
  'fact',
  {
    sliceId: bigId('slice_id').notNull(),
    page: textC('page'),
    query: textC('query'),
    country: textC('country'),
    device: textC('device'),
    searchAppearance: textC('search_appearance'),
    clicks: bigint('clicks', { mode: 'number' }).notNull(),
    impressions: bigint('impressions', { mode: 'number' }).notNull(),
    /** Average position from Google. Null where Google gives none (Discover, Google News). */
    position: doublePrecision('position'),
    /** The beginning of the hour. */
    hour: instant('hour'),
  },
  (table) => [index('fact_slice').on(table.sliceId)],
);

/** When Google was asked for a search type's days, and which days it reported as the last. */
export const calendar = longtail.table(
  'calendar',
  {
    propertyId: bigId('property_id')
      .notNull()
      .references(() => property.id),
    searchType: text('search_type').notNull(),
    /** The range of the newest answer. */
    fromDate: date('from_date').notNull(),
    toDate: date('to_date').notNull(),
    /** The newest day with data. */
    lastPublished: date('last_published'),
    /** The first day that Google may still change. */
    firstIncomplete: date('first_incomplete'),
    fetchedAt: instant('fetched_at').notNull(),
  },
  (table) => [primaryKey({ columns: [table.propertyId, table.searchType] })],
);

/** The calendar's days, with the property's totals. They do not depend on a dataset. */
export const dayTotal = longtail.table(
  'day_total',
  {
    propertyId: bigId('property_id')
      .notNull()
      .references(() => property.id),
    searchType: text('search_type').notNull(),
    date: date('date').notNull(),
    clicks: bigint('clicks', { mode: 'number' }).notNull(),
    impressions: bigint('impressions', { mode: 'number' }).notNull(),
    fetchedAt: instant('fetched_at').notNull(),
  },
  (table) => [primaryKey({ columns: [table.propertyId, table.searchType, table.date] })],
);

/** Search types and datasets that Google has refused to serve together. They are not asked for again for a while. */
export const notServed = longtail.table(
  'not_served',
  {
    propertyId: bigId('property_id')
      .notNull()
      .references(() => property.id),
    searchType: text('search_type').notNull(),
    dataset: text('dataset').notNull(),
    /** In Google's words. */
    reason: text('reason').notNull(),
    refusedAt: instant('refused_at').notNull(),
  },
  (table) => [primaryKey({ columns: [table.propertyId, table.searchType, table.dataset] })],
);

/** Tokens taken from a budget, so that the run after a crash still counts them. */
export const quotaLease = longtail.table(
  'quota_lease',
  {
    leaseId: text('lease_id').notNull(),
    /** The budget's kind and id: `site:…`, `user:…`, `project:…`. */
    scope: text('scope').notNull(),
    runId: bigId('run_id').notNull(),
    tokens: integer('tokens').notNull(),
    settledTokens: integer('settled_tokens').notNull().default(0),
    grantedAt: instant('granted_at').notNull().defaultNow(),
    /** When the last settled token settled. In the future while a request may still be under way. */
    settledAt: instant('settled_at'),
  },
  (table) => [
    primaryKey({ columns: [table.leaseId, table.scope] }),
    index('quota_lease_scope').on(table.scope, table.grantedAt),
  ],
);

/**
 * Who may try to work on a property (`site:…`) or with an account's quota (`user:…`), and until when, by the database's
 * clock. Holders of one party share a resource. Another party may take it once all of them have expired or are gone.
 */
export const lease = longtail.table(
  'lease',
  {
    resource: textC('resource').notNull(),
    /** One run's id. */
    holder: textC('holder').notNull(),
    party: textC('party').notNull(),
    /** The advisory lock that the holder's process keeps while it is alive. Null: it keeps none. */
    presence: text('presence'),
    renewedAt: instant('renewed_at').notNull(),
    expiresAt: instant('expires_at').notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.resource, table.holder] }),
    index('lease_holder').on(table.holder),
  ],
);

/** The views that Longtail has made, so that one that was changed is noticed: see `made-views.ts`. */
export const madeView = longtail.table('made_view', {
  name: text('name').primaryKey(),
  /** Digest of the SQL that made it. Empty: a migration made it. */
  source: text('source').notNull(),
  /** Digest of its definition as the server writes it. */
  definition: text('definition').notNull(),
  /** Major version of that server. */
  server: integer('server').notNull(),
});

/** Columns of the views with rows. A function, because a column belongs to one view. */
const rowColumns = () => ({
  siteUrl: text('site_url'),
  searchType: text('search_type'),
  dataset: text('dataset'),
  date: date('date'),
  page: text('page'),
  query: text('query'),
  country: text('country'),
  device: text('device'),
  clicks: bigint('clicks', { mode: 'number' }),
  impressions: bigint('impressions', { mode: 'number' }),
  ctr: doublePrecision('ctr'),
  position: doublePrecision('position'),
  searchAppearance: text('search_appearance'),
  dataState: text('data_state'),
  hour: instant('hour'),
});

/** The public contract: only rows of complete slices. */
export const searchAnalytics = pgView('search_analytics', rowColumns()).as(sql`
  select p.site_url, s.search_type, s.dataset, s.date,
    f.page, f.query, f.country, f.device, f.clicks, f.impressions,
    case when f.impressions = 0 then 0 else f.clicks::double precision / f.impressions end as ctr,
    f.position, f.search_appearance,
    s.data_state, f.hour
  from longtail.fact f
  join longtail.slice s on s.id = f.slice_id
  join longtail.property p on p.id = s.property_id
  where s.status = 'complete' and s.filter_key = '' and s.aggregation_type = ''
`);

/** The rows of runs with filters or an aggregation of the user's own, with these two beside them. */
export const searchAnalyticsFiltered = pgView('search_analytics_filtered', {
  ...rowColumns(),
  filter: text('filter'),
  aggregation: text('aggregation'),
}).as(sql`
  select p.site_url, s.search_type, s.dataset, s.date,
    f.page, f.query, f.country, f.device, f.clicks, f.impressions,
    case when f.impressions = 0 then 0 else f.clicks::double precision / f.impressions end as ctr,
    f.position, f.search_appearance,
    s.data_state, f.hour,
    s.filter_key as filter, s.aggregation_type as aggregation
  from longtail.fact f
  join longtail.slice s on s.id = f.slice_id
  join longtail.property p on p.id = s.property_id
  where s.status = 'complete' and (s.filter_key <> '' or s.aggregation_type <> '')
`);
