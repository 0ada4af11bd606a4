// Written by `npm run migrations` out of drizzle/: change the files there, not this one.

/** One step from the tables of a version to those of the next. */
export interface Migration {
  readonly tag: string;
  /** When it was made, in milliseconds: its name in `longtail.migrations`. */
  readonly moment: number;
  readonly hash: string;
  readonly statements: readonly string[];
}

/** In the order in which they are applied. */
export const MIGRATIONS: readonly Migration[] = [
  {
    tag: '0000_tables',
    moment: 1795466722449,
    hash: '94356a33329670b2beb02ca83201dc3f8eee7e1514ef5139a380a0b53dc379bf',
    statements: [
      `-- The schema itself is made before the first migration, with the table that records them: a user who may not make
-- schemas can be given this one.
CREATE TABLE "longtail"."calendar" (
	"property_id" bigint NOT NULL,
	"search_type" text NOT NULL,
	"from_date" date NOT NULL,
	"to_date" date NOT NULL,
	"last_published" date,
	"first_incomplete" date,
	"fetched_at" timestamp with time zone NOT NULL,
	CONSTRAINT "calendar_property_id_search_type_pk" PRIMARY KEY("property_id","search_type")
);`,
      `CREATE TABLE "longtail"."day_total" (
	"property_id" bigint NOT NULL,
	"search_type" text NOT NULL,
	"date" date NOT NULL,
	"clicks" bigint NOT NULL,
	"impressions" bigint NOT NULL,
	"fetched_at" timestamp with time zone NOT NULL,
	CONSTRAINT "day_total_property_id_search_type_date_pk" PRIMARY KEY("property_id","search_type","date")
);`,
      `CREATE TABLE "longtail"."fact" (
	"slice_id" bigint NOT NULL,
	"page" text COLLATE "C",
	"query" text COLLATE "C",
	"country" text COLLATE "C",
	"device" text COLLATE "C",
	"search_appearance" text COLLATE "C",
	"clicks" bigint NOT NULL,
	"impressions" bigint NOT NULL,
	"position" double precision
);`,
      `CREATE TABLE "longtail"."property" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "longtail"."property_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"site_url" text COLLATE "C" NOT NULL,
	"epoch" bigint NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "property_site_url_unique" UNIQUE("site_url")
);`,
      `CREATE TABLE "longtail"."quota_lease" (
	"lease_id" text NOT NULL,
	"scope" text NOT NULL,
	"run_id" bigint NOT NULL,
	"tokens" integer NOT NULL,
	"settled_tokens" integer DEFAULT 0 NOT NULL,
	"granted_at" timestamp with time zone DEFAULT now() NOT NULL,
	"settled_at" timestamp with time zone,
	CONSTRAINT "quota_lease_lease_id_scope_pk" PRIMARY KEY("lease_id","scope")
);`,
      `CREATE TABLE "longtail"."run" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "longtail"."run_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"property_id" bigint NOT NULL,
	"epoch" bigint NOT NULL,
	"status" text NOT NULL,
	"from_date" date NOT NULL,
	"to_date" date NOT NULL,
	"parameters" jsonb NOT NULL,
	"force" boolean NOT NULL,
	"refresh_cut_off" timestamp with time zone,
	"refresh_scope" jsonb,
	"halt_reason" text,
	"started_at" timestamp with time zone DEFAULT now() NOT NULL,
	"ended_at" timestamp with time zone,
	CONSTRAINT "run_status" CHECK ("longtail"."run"."status" in ('running', 'complete', 'completeWithFailures', 'halted', 'failed', 'crashed'))
);`,
      `CREATE TABLE "longtail"."slice" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "longtail"."slice_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"property_id" bigint NOT NULL,
	"search_type" text NOT NULL,
	"dataset" text NOT NULL,
	"date" date NOT NULL,
	"filter_key" text DEFAULT '' NOT NULL,
	"aggregation_type" text DEFAULT '' NOT NULL,
	"version" integer NOT NULL,
	"status" text NOT NULL,
	"rows" bigint DEFAULT 0 NOT NULL,
	"clicks" bigint DEFAULT 0 NOT NULL,
	"impressions" bigint DEFAULT 0 NOT NULL,
	"duplicate_rows" integer DEFAULT 0 NOT NULL,
	"replaced_characters" integer DEFAULT 0 NOT NULL,
	"capped" boolean DEFAULT false NOT NULL,
	"final" boolean DEFAULT false NOT NULL,
	"data_state" text DEFAULT 'all' NOT NULL,
	"second_look" boolean DEFAULT false NOT NULL,
	"successor_id" bigint,
	"opened_at" timestamp with time zone DEFAULT now() NOT NULL,
	"fetched_at" timestamp with time zone,
	"run_id" bigint NOT NULL,
	"error" text,
	"has_facts" boolean DEFAULT true NOT NULL,
	CONSTRAINT "slice_status" CHECK ("longtail"."slice"."status" in ('open', 'complete', 'superseded', 'failed', 'abandoned'))
);`,
      `CREATE TABLE "longtail"."slice_page" (
	"slice_id" bigint NOT NULL,
	"segment" text DEFAULT '' NOT NULL,
	"start_row" integer NOT NULL,
	"rows" integer NOT NULL,
	"clicks" bigint NOT NULL,
	"impressions" bigint NOT NULL,
	"replaced_characters" integer DEFAULT 0 NOT NULL,
	"last" boolean NOT NULL,
	"run_id" bigint NOT NULL,
	"committed_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "slice_page_slice_id_segment_start_row_pk" PRIMARY KEY("slice_id","segment","start_row")
);`,
      `ALTER TABLE "longtail"."calendar" ADD CONSTRAINT "calendar_property_id_property_id_fk" FOREIGN KEY ("property_id") REFERENCES "longtail"."property"("id") ON DELETE no action ON UPDATE no action;`,
      `ALTER TABLE "longtail"."day_total" ADD CONSTRAINT "day_total_property_id_property_id_fk" FOREIGN KEY ("property_id") REFERENCES "longtail"."property"("id") ON DELETE no action ON UPDATE no action;`,
      `ALTER TABLE "longtail"."run" ADD CONSTRAINT "run_property_id_property_id_fk" FOREIGN KEY ("property_id") REFERENCES "longtail"."property"("id") ON DELETE no action ON UPDATE no action;`,
      `ALTER TABLE "longtail"."slice" ADD CONSTRAINT "slice_property_id_property_id_fk" FOREIGN KEY ("property_id") REFERENCES "longtail"."property"("id") ON DELETE no action ON UPDATE no action;`,
      `ALTER TABLE "longtail"."slice" ADD CONSTRAINT "slice_run_id_run_id_fk" FOREIGN KEY ("run_id") REFERENCES "longtail"."run"("id") ON DELETE no action ON UPDATE no action;`,
      `ALTER TABLE "longtail"."slice_page" ADD CONSTRAINT "slice_page_slice" FOREIGN KEY ("slice_id") REFERENCES "longtail"."slice"("id") ON DELETE no action ON UPDATE no action;`,
      `CREATE INDEX "fact_slice" ON "longtail"."fact" USING btree ("slice_id");`,
      `CREATE INDEX "quota_lease_scope" ON "longtail"."quota_lease" USING btree ("scope","granted_at");`,
      `CREATE INDEX "run_property" ON "longtail"."run" USING btree ("property_id","started_at");`,
      `CREATE UNIQUE INDEX "slice_version" ON "longtail"."slice" USING btree ("property_id","search_type","dataset","date","filter_key","aggregation_type","version");`,
      `CREATE UNIQUE INDEX "slice_one_complete" ON "longtail"."slice" USING btree ("property_id","search_type","dataset","date","filter_key","aggregation_type") WHERE status = 'complete';`,
      `CREATE UNIQUE INDEX "slice_one_open" ON "longtail"."slice" USING btree ("property_id","search_type","dataset","date","filter_key","aggregation_type") WHERE status = 'open';`,
      `CREATE INDEX "slice_to_clean" ON "longtail"."slice" USING btree ("property_id") WHERE has_facts and status in ('superseded', 'failed', 'abandoned');`,
      `CREATE VIEW "public"."search_analytics" AS (
  select p.site_url, s.search_type, s.dataset, s.date,
    f.page, f.query, f.country, f.device, f.clicks, f.impressions,
    case when f.impressions = 0 then 0 else f.clicks::double precision / f.impressions end as ctr,
    f.position, f.search_appearance,
    s.data_state
  from longtail.fact f
  join longtail.slice s on s.id = f.slice_id
  join longtail.property p on p.id = s.property_id
  where s.status = 'complete' and s.filter_key = '' and s.aggregation_type = ''
);`,
    ],
  },
  {
    tag: '0001_contract',
    moment: 1795466723429,
    hash: 'b38a442af63b45d1d42b2a94f7710ff0c8741ee53ce0402a621cb91c7c1321ef',
    statements: [
      `-- What Drizzle's schema cannot say.
DO $$
BEGIN
  -- A schema that somebody else has made for us is his to comment on.
  IF pg_has_role((SELECT nspowner FROM pg_namespace WHERE nspname = 'longtail'), 'USAGE') THEN
    COMMENT ON SCHEMA longtail IS 'Longtail''s own tables. Read public.search_analytics instead: these may change with any version.';
  END IF;
END $$;`,
      `COMMENT ON VIEW public.search_analytics IS 'Rows of Google Search Console, of days that are complete. ALWAYS filter one dataset (WHERE dataset = ''page+query''): datasets overlap, so that sums over several count every click more than once. dataset names the dimensions of a row; dimensions that it does not name are null. Details sum to less than the totals (dataset ''date''), because Google withholds rare queries. Average positions weighted by impressions.';`,
      `COMMENT ON COLUMN public.search_analytics.date IS 'Day in Pacific time, as Search Console counts days';`,
      `COMMENT ON COLUMN public.search_analytics.ctr IS 'clicks / impressions, 0 to 1; 0 where there were no impressions';`,
      `COMMENT ON COLUMN public.search_analytics.position IS 'Average position of the row, 1 is the top; null where Google gives none (Discover, Google News)';`,
      `COMMENT ON COLUMN public.search_analytics.data_state IS 'final, or all: Google may still change this day, and it will be fetched again';`,
      `-- Whole slices are written and deleted at once: by the default fifth of a large table, vacuum would come years late.
ALTER TABLE longtail.fact SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.02);`,
    ],
  },
  {
    tag: '0002_leases',
    moment: 1795834700000,
    hash: '99606a6bed96cd178035b9ad01e6fd4dbba2df64766c00af3f47d11ab94e2258',
    statements: [
      `CREATE TABLE "longtail"."lease" (
	"resource" text COLLATE "C" NOT NULL,
	"holder" text COLLATE "C" NOT NULL,
	"party" text COLLATE "C" NOT NULL,
	"presence" text,
	"renewed_at" timestamp with time zone NOT NULL,
	"expires_at" timestamp with time zone NOT NULL,
	CONSTRAINT "lease_resource_holder_pk" PRIMARY KEY("resource","holder")
);`,
      `CREATE INDEX "lease_holder" ON "longtail"."lease" USING btree ("holder");`,
    ],
  },
  {
    tag: '0003_readers',
    moment: 1795834800000,
    hash: '33cac6aef01259ddfa829ea0f28d34faedb2db367e22085418d9442d70cd6778',
    statements: [
      `-- Rows have no key of their own. In a database whose tables are published (FOR ALL TABLES), PostgreSQL deletes none of
-- them unless it is told what names a row. COPY costs the same; a deletion is written whole where wal_level is logical.
ALTER TABLE longtail.fact REPLICA IDENTITY FULL;`,
      `-- What default privileges gave when the tables and the view were made, nobody asked for: a hosted database names
-- everybody in them who calls its API. A grant that somebody made differs from them, and stays; so does one that was
-- handed on.
DO $$
DECLARE
  given record;
BEGIN
  FOR given IN
    WITH ours AS (
      SELECT c.relacl AS acl, c.relowner AS owner, c.relnamespace AS namespace,
        CASE c.relkind WHEN 'S' THEN 'S' ELSE 'r' END AS kind,
        CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END || format(' %I.%I', n.nspname, c.relname) AS name
      FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
      WHERE (n.nspname = 'longtail' OR (n.nspname, c.relname, c.relkind) = ('public', 'search_analytics', 'v'))
      UNION ALL
      SELECT nspacl, nspowner, 0::oid, 'n', 'SCHEMA longtail' FROM pg_namespace WHERE nspname = 'longtail'
    )
    SELECT o.name, string_agg(DISTINCT held.privilege_type, ', ') AS privileges,
      CASE held.grantee WHEN 0 THEN 'PUBLIC' ELSE format('%I', pg_get_userbyid(held.grantee)) END AS holder
    FROM ours o
    CROSS JOIN LATERAL aclexplode(o.acl) held
    JOIN pg_default_acl d ON d.defaclrole = o.owner AND d.defaclnamespace IN (0, o.namespace)
      AND d.defaclobjtype::text = o.kind
    JOIN LATERAL aclexplode(d.defaclacl) usual
      ON usual.grantee = held.grantee AND usual.privilege_type = held.privilege_type
    WHERE held.grantee <> o.owner AND held.grantor = o.owner AND pg_has_role(o.owner, 'USAGE')
      AND NOT EXISTS (SELECT FROM aclexplode(o.acl) onward WHERE onward.grantor = held.grantee)
    GROUP BY o.name, held.grantee
  LOOP
    EXECUTE format('REVOKE %s ON %s FROM %s', given.privileges, given.name, given.holder);
  END LOOP;
END $$;`,
      `-- The view reads with its reader's own rights, where the server can do that (PostgreSQL 15). Who was given the view is
-- given what it reads, and goes on reading; where that is not ours to give, the view stays as it was.
DO $$
DECLARE
  reader text;
  readers text[];
BEGIN
  IF current_setting('server_version_num')::int < 150000 OR NOT EXISTS (
    SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE (n.nspname, c.relname, c.relkind) = ('public', 'search_analytics', 'v') AND pg_has_role(c.relowner, 'USAGE')
      AND EXISTS (
        SELECT FROM pg_depend d JOIN pg_rewrite w ON w.oid = d.objid
        WHERE w.ev_class = c.oid AND d.refobjid = 'longtail.fact'::regclass
      )
  ) THEN
    RETURN;
  END IF;
  SELECT coalesce(array_agg(DISTINCT CASE held.grantee WHEN 0 THEN 'PUBLIC' ELSE format('%I', pg_get_userbyid(held.grantee)) END), '{}')
  INTO readers
  FROM pg_class c
  CROSS JOIN LATERAL (
    SELECT x.* FROM aclexplode(c.relacl) x
    UNION ALL
    SELECT x.* FROM pg_attribute a CROSS JOIN LATERAL aclexplode(a.attacl) x WHERE a.attrelid = c.oid
  ) held
  WHERE c.oid = 'public.search_analytics'::regclass AND held.privilege_type = 'SELECT' AND held.grantee <> c.relowner;
  IF readers <> '{}' AND NOT has_schema_privilege('longtail', 'USAGE WITH GRANT OPTION') THEN
    RETURN;
  END IF;
  FOREACH reader IN ARRAY readers LOOP
    EXECUTE format('GRANT USAGE ON SCHEMA longtail TO %s', reader);
    EXECUTE format('GRANT SELECT ON longtail.fact, longtail.slice, longtail.property TO %s', reader);
  END LOOP;
  ALTER VIEW public.search_analytics SET (security_invoker = true);
END $$;`,
    ],
  },
  {
    tag: '0004_keys',
    moment: 1795865500000,
    hash: 'b44cdbc5d17de23d31ba00074ca3f0201ab054e801bbedf37fd2caa94b408cd5',
    statements: [
      `-- Parts of a day, data by hour, and selections of the user's own.
ALTER TABLE "longtail"."slice" ADD COLUMN "part" text DEFAULT '' NOT NULL;`,
      `ALTER TABLE "longtail"."fact" ADD COLUMN "hour" timestamp with time zone;`,
      `DROP INDEX "longtail"."slice_version";`,
      `DROP INDEX "longtail"."slice_one_complete";`,
      `DROP INDEX "longtail"."slice_one_open";`,
      `CREATE UNIQUE INDEX "slice_version" ON "longtail"."slice" USING btree ("property_id","search_type","dataset","date","part","filter_key","aggregation_type","version");`,
      `CREATE UNIQUE INDEX "slice_one_complete" ON "longtail"."slice" USING btree ("property_id","search_type","dataset","date","part","filter_key","aggregation_type") WHERE status = 'complete';`,
      `CREATE UNIQUE INDEX "slice_one_open" ON "longtail"."slice" USING btree ("property_id","search_type","dataset","date","part","filter_key","aggregation_type") WHERE status = 'open';`,
      `CREATE TABLE "longtail"."not_served" (
	"property_id" bigint NOT NULL,
	"search_type" text NOT NULL,
	"dataset" text NOT NULL,
	"reason" text NOT NULL,
	"refused_at" timestamp with time zone NOT NULL,
	CONSTRAINT "not_served_property_id_search_type_dataset_pk" PRIMARY KEY("property_id","search_type","dataset")
);`,
      `ALTER TABLE "longtail"."not_served" ADD CONSTRAINT "not_served_property_id_property_id_fk" FOREIGN KEY ("property_id") REFERENCES "longtail"."property"("id") ON DELETE no action ON UPDATE no action;`,
      `-- View search_analytics: a column more, at its end, wherever its owner has moved it. Replacing a view resets its options.
DO $$
DECLARE
  home text;
  reads_as_reader bool;
BEGIN
  SELECT n.nspname, coalesce('security_invoker=true' = ANY (c.reloptions), false) INTO home, reads_as_reader
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relname = 'search_analytics' AND c.relkind = 'v' AND pg_has_role(c.relowner, 'USAGE')
    AND EXISTS (
      SELECT FROM pg_depend d JOIN pg_rewrite w ON w.oid = d.objid
      WHERE w.ev_class = c.oid AND d.refobjid = 'longtail.fact'::regclass
    )
  ORDER BY n.nspname = 'public' DESC LIMIT 1;
  IF home IS NULL THEN
    RETURN;
  END IF;
  EXECUTE format($view$
    CREATE OR REPLACE VIEW %I.search_analytics AS
    select p.site_url, s.search_type, s.dataset, s.date,
      f.page, f.query, f.country, f.device, f.clicks, f.impressions,
      case when f.impressions = 0 then 0 else f.clicks::double precision / f.impressions end as ctr,
      f.position, f.search_appearance,
      s.data_state, f.hour
    from longtail.fact f
    join longtail.slice s on s.id = f.slice_id
    join longtail.property p on p.id = s.property_id
    where s.status = 'complete' and s.filter_key = '' and s.aggregation_type = ''
  $view$, home);
  EXECUTE format('COMMENT ON COLUMN %I.search_analytics.hour IS %L', home,
    'Beginning of the hour, in datasets by hour; null in all others');
  IF reads_as_reader THEN
    EXECUTE format('ALTER VIEW %I.search_analytics SET (security_invoker = true)', home);
  END IF;
END $$;`,
      `CREATE VIEW "public"."search_analytics_filtered" AS (
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
);`,
      `COMMENT ON VIEW public.search_analytics_filtered IS 'Rows of runs with filters or an aggregation of their own, which search_analytics leaves out. ALWAYS filter one dataset, one filter and one aggregation, or sums count clicks more than once.';`,
      `DO $$
BEGIN
  IF current_setting('server_version_num')::int >= 150000 THEN
    ALTER VIEW public.search_analytics_filtered SET (security_invoker = true);
  END IF;
END $$;`,
    ],
  },
  {
    tag: '0005_truth',
    moment: 1795870500000,
    hash: '6c7bcf067f03998ef1ab26c774505f8008c1c0ab77e56ed3843130f6bb550623',
    statements: [
      `-- Rows whose key a slice has in another row are no longer counted but dropped, so the column has another name.
ALTER TABLE longtail.slice RENAME COLUMN duplicate_rows TO duplicates_dropped;`,
      `-- What earlier versions kept twice: of two rows with one key the one with more impressions is the newer. The ledger
-- receives what was dropped as negative figures, and stays the sum of the rows.
WITH ranked AS MATERIALIZED (
  SELECT f.ctid AS place, f.slice_id, row_number() OVER (
    PARTITION BY f.slice_id, f.page, f.query, f.country, f.device, f.search_appearance
    ORDER BY f.impressions DESC, f.clicks DESC, f.position, f.ctid) AS nth
  FROM longtail.fact f JOIN longtail.slice s ON s.id = f.slice_id
  WHERE s.duplicates_dropped > 0 AND s.status = 'complete'
), dropped AS (
  DELETE FROM longtail.fact f USING ranked r
  WHERE f.ctid = r.place AND f.slice_id = r.slice_id AND r.nth > 1
  RETURNING f.slice_id, f.clicks, f.impressions
), sums AS (
  SELECT slice_id, count(*) AS rows, sum(clicks) AS clicks, sum(impressions) AS impressions FROM dropped GROUP BY slice_id
), entry AS (
  INSERT INTO longtail.slice_page (slice_id, segment, start_row, rows, clicks, impressions, last, run_id)
  SELECT s.id, 'duplicates', 0, -d.rows, -d.clicks, -d.impressions, false, s.run_id
  FROM sums d JOIN longtail.slice s ON s.id = d.slice_id
)
UPDATE longtail.slice s
SET rows = s.rows - coalesce(d.rows, 0), clicks = s.clicks - coalesce(d.clicks, 0),
  impressions = s.impressions - coalesce(d.impressions, 0), duplicates_dropped = coalesce(d.rows, 0)
FROM longtail.slice o LEFT JOIN sums d ON d.slice_id = o.id
WHERE s.id = o.id AND o.duplicates_dropped > 0;`,
      `ALTER TABLE "longtail"."property" ADD COLUMN "short_page_at" timestamp with time zone;`,
      `ALTER TABLE "longtail"."slice" ADD COLUMN "doubted" boolean DEFAULT false NOT NULL;`,
      `ALTER TABLE "longtail"."slice" ADD COLUMN "checked_at" timestamp with time zone;`,
      `ALTER TABLE "longtail"."slice" ADD COLUMN "kept_reason" text;`,
      `ALTER TABLE "longtail"."slice_page" ADD COLUMN "short" boolean DEFAULT false NOT NULL;`,
    ],
  },
  {
    tag: '0006_views',
    moment: 1795871000000,
    hash: '966338dfc41f892eaa080a3f5fe83c177ab7c77f2317479c427681b5ebed3faf',
    statements: [
      `CREATE TABLE "longtail"."made_view" (
	"name" text PRIMARY KEY NOT NULL,
	"source" text NOT NULL,
	"definition" text NOT NULL,
	"server" integer NOT NULL
);`,
      `-- The planner expects of each slice the average of all, so that a day's totals, one row a slice, look like a million. Told
-- that slices are small it reads them one by one, which takes less CPU than reading the table even for all of them.
ALTER TABLE longtail.fact ALTER COLUMN slice_id SET (n_distinct = -0.002);`,
      `-- Too small a table to be read in parallel, and with it the rows of its slices.
ALTER TABLE longtail.slice SET (parallel_workers = 2);`,
    ],
  },
];
