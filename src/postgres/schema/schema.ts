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

/** All of Longtail's tables are in a schema of their own; only the view `search_analytics` is in `public`. */
export const longtail = pgSchema('longtail');

/** Bytes as Google sent them: comparing by code point is faster than by a locale's rules, and equal on every server. */
const textC = customType<{ data: string }>({ dataType: () => 'text COLLATE "C"' });
const instant = (name: string) => timestamp(name, { withTimezone: true });
const bigId = (name: string) => bigint(name, { mode: 'bigint' });

/** A Search Console site. Taking its lock raises `epoch`: a writer of an older one is fenced off. */
export const property = longtail.table('property', {
  id: bigId('id').primaryKey().generatedAlwaysAsIdentity(),
  siteUrl: textC('site_url').notNull().unique(),
  epoch: bigId('epoch').notNull(),
  createdAt: instant('created_at').notNull().defaultNow(),
});

/** One synchronisation. It writes while it is `running` and its epoch is the property's. */
export const run = longtail.table(
  'run',
  {
    id: bigId('id').primaryKey().generatedAlwaysAsIdentity(),
    propertyId: bigId('property_id')
      .notNull()
      .references(() => property.id),
    epoch: bigId('epoch').notNull(),
    status: text('status').notNull(),
    /** Days asked for, both included. */
    fromDate: date('from_date').notNull(),
    toDate: date('to_date').notNull(),
    /** Everything else it was asked for, search types and datasets among it. */
    parameters: jsonb('parameters').notNull(),
    /** Whether less may replace more. */
    force: boolean('force').notNull(),
    /** Slices that were fetched before this are fetched again; null in a plain run. */
    refreshCutOff: instant('refresh_cut_off'),
    /** What the cut-off holds for: `{from, to, searchTypes, datasets}`. */
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
 * One property × search type × dataset × date (× filter, × aggregation type), in versions. Its facts are seen only
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
    /** Empty: no filter. */
    filterKey: text('filter_key').notNull().default(''),
    /** Empty: what Google chooses. */
    aggregationType: text('aggregation_type').notNull().default(''),
    version: integer('version').notNull(),
    status: text('status').notNull(),
    /** Sums over its ledger, from the moment it is sealed. */
    rows: bigint('rows', { mode: 'number' }).notNull().default(0),
    clicks: bigint('clicks', { mode: 'number' }).notNull().default(0),
    impressions: bigint('impressions', { mode: 'number' }).notNull().default(0),
    /** Rows whose key had come before in this slice: a sign that as many others were missed. */
    duplicateRows: integer('duplicate_rows').notNull().default(0),
    /** Characters that PostgreSQL cannot store (U+0000, half a surrogate pair), replaced by U+FFFD. */
    replacedCharacters: integer('replaced_characters').notNull().default(0),
    /** Google gives no more rows for a day than it gave here. */
    capped: boolean('capped').notNull().default(false),
    /** Whether Google had stopped changing the day when it was fetched. */
    final: boolean('final').notNull().default(false),
    /** As the API spells it: `final`, or `all` when Google may still change the day. */
    dataState: text('data_state').notNull().default('all'),
    /** A version opened because the one before it had duplicates. */
    secondLook: boolean('second_look').notNull().default(false),
    /** The second look that this version led to. */
    successorId: bigId('successor_id'),
    openedAt: instant('opened_at').notNull().defaultNow(),
    fetchedAt: instant('fetched_at'),
    runId: bigId('run_id')
      .notNull()
      .references(() => run.id),
    /** Why it ended as `failed` or `abandoned`. */
    error: text('error'),
    /** Whether rows of this version may be in `fact`: false once a version that ended has been cleaned up. */
    hasFacts: boolean('has_facts').notNull().default(true),
  },
  (table) => {
    const key = [
      table.propertyId,
      table.searchType,
      table.dataset,
      table.date,
      table.filterKey,
      table.aggregationType,
    ] as const;
    return [
      check(
        'slice_status',
        sql`${table.status} in ('open', 'complete', 'superseded', 'failed', 'abandoned')`,
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

/** The ledger: a page is here if and only if its rows are in `fact`. */
export const slicePage = longtail.table(
  'slice_page',
  {
    sliceId: bigId('slice_id').notNull(),
    /** Empty: the slice is not divided. */
    segment: text('segment').notNull().default(''),
    startRow: integer('start_row').notNull(),
    rows: integer('rows').notNull(),
    clicks: bigint('clicks', { mode: 'number' }).notNull(),
    impressions: bigint('impressions', { mode: 'number' }).notNull(),
    replacedCharacters: integer('replaced_characters').notNull().default(0),
    /** Shorter than asked for: nothing comes after it. */
    last: boolean('last').notNull(),
    runId: bigId('run_id').notNull(),
    committedAt: instant('committed_at').notNull().defaultNow(),
  },
  (table) => [
    primaryKey({ columns: [table.sliceId, table.segment, table.startRow] }),
    foreignKey({ columns: [table.sliceId], foreignColumns: [slice.id], name: 'slice_page_slice' }),
  ],
);

/**
 * The rows. No foreign key (it costs 60 % of COPY's speed) and one index: a slice is the unit that is written, deleted
 * and read. A dimension that the dataset does not have is null.
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
    /** Average position as Google gives it; null where it gives none (Discover, Google News). */
    position: doublePrecision('position'),
  },
  (table) => [index('fact_slice').on(table.sliceId)],
);

/** When a search type's days were asked for, and what Google said of their end. */
export const calendar = longtail.table(
  'calendar',
  {
    propertyId: bigId('property_id')
      .notNull()
      .references(() => property.id),
    searchType: text('search_type').notNull(),
    /** The range that the newest answer spans. */
    fromDate: date('from_date').notNull(),
    toDate: date('to_date').notNull(),
    /** The newest day that had data. */
    lastPublished: date('last_published'),
    /** The first day that Google still changes. */
    firstIncomplete: date('first_incomplete'),
    fetchedAt: instant('fetched_at').notNull(),
  },
  (table) => [primaryKey({ columns: [table.propertyId, table.searchType] })],
);

/** The calendar's days: the property's totals, whatever the dataset. */
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

/** Tokens taken from a budget, so that a run that follows a crash still counts them. */
export const quotaLease = longtail.table(
  'quota_lease',
  {
    leaseId: text('lease_id').notNull(),
    /** The budget: its kind and id, as `site:…`, `user:…`, `project:…`. */
    scope: text('scope').notNull(),
    runId: bigId('run_id').notNull(),
    tokens: integer('tokens').notNull(),
    settledTokens: integer('settled_tokens').notNull().default(0),
    grantedAt: instant('granted_at').notNull().defaultNow(),
    /** When the last token that has settled did; in the future where a request may still be on its way. */
    settledAt: instant('settled_at'),
  },
  (table) => [
    primaryKey({ columns: [table.leaseId, table.scope] }),
    index('quota_lease_scope').on(table.scope, table.grantedAt),
  ],
);

/**
 * Who may try to work on a property (`site:…`) or with an account's quota (`user:…`), and until when by the database's clock.
 * Several holders of one party share a resource; another party may take it when each of them has expired or is gone.
 */
export const lease = longtail.table(
  'lease',
  {
    resource: textC('resource').notNull(),
    /** One run. */
    holder: textC('holder').notNull(),
    party: textC('party').notNull(),
    /** The advisory lock that the holder's process keeps while it lives; null where it keeps none. */
    presence: text('presence'),
    renewedAt: instant('renewed_at').notNull(),
    expiresAt: instant('expires_at').notNull(),
  },
  (table) => [
    primaryKey({ columns: [table.resource, table.holder] }),
    index('lease_holder').on(table.holder),
  ],
);

/** The public contract: rows of complete slices, and nothing else. */
export const searchAnalytics = pgView('search_analytics', {
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
}).as(sql`
  select p.site_url, s.search_type, s.dataset, s.date,
    f.page, f.query, f.country, f.device, f.clicks, f.impressions,
    case when f.impressions = 0 then 0 else f.clicks::double precision / f.impressions end as ctr,
    f.position, f.search_appearance,
    s.data_state
  from longtail.fact f
  join longtail.slice s on s.id = f.slice_id
  join longtail.property p on p.id = s.property_id
  where s.status = 'complete' and s.filter_key = '' and s.aggregation_type = ''
`);
