-- Parts of a day, data by hour, and selections of the user's own.
ALTER TABLE "longtail"."slice" ADD COLUMN "part" text DEFAULT '' NOT NULL;
--> statement-breakpoint
ALTER TABLE "longtail"."fact" ADD COLUMN "hour" timestamp with time zone;
--> statement-breakpoint
DROP INDEX "longtail"."slice_version";
--> statement-breakpoint
DROP INDEX "longtail"."slice_one_complete";
--> statement-breakpoint
DROP INDEX "longtail"."slice_one_open";
--> statement-breakpoint
CREATE UNIQUE INDEX "slice_version" ON "longtail"."slice" USING btree ("property_id","search_type","dataset","date","part","filter_key","aggregation_type","version");
--> statement-breakpoint
CREATE UNIQUE INDEX "slice_one_complete" ON "longtail"."slice" USING btree ("property_id","search_type","dataset","date","part","filter_key","aggregation_type") WHERE status = 'complete';
--> statement-breakpoint
CREATE UNIQUE INDEX "slice_one_open" ON "longtail"."slice" USING btree ("property_id","search_type","dataset","date","part","filter_key","aggregation_type") WHERE status = 'open';
--> statement-breakpoint
CREATE TABLE "longtail"."not_served" (
	"property_id" bigint NOT NULL,
	"search_type" text NOT NULL,
	"dataset" text NOT NULL,
	"reason" text NOT NULL,
	"refused_at" timestamp with time zone NOT NULL,
	CONSTRAINT "not_served_property_id_search_type_dataset_pk" PRIMARY KEY("property_id","search_type","dataset")
);
--> statement-breakpoint
ALTER TABLE "longtail"."not_served" ADD CONSTRAINT "not_served_property_id_property_id_fk" FOREIGN KEY ("property_id") REFERENCES "longtail"."property"("id") ON DELETE no action ON UPDATE no action;
--> statement-breakpoint
-- View search_analytics: a column more, at its end, wherever its owner has moved it. Replacing a view resets its options.
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
END $$;
--> statement-breakpoint
CREATE VIEW "public"."search_analytics_filtered" AS (
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
);
--> statement-breakpoint
COMMENT ON VIEW public.search_analytics_filtered IS 'Rows of runs with filters or an aggregation of their own, which search_analytics leaves out. ALWAYS filter one dataset, one filter and one aggregation, or sums count clicks more than once.';
--> statement-breakpoint
DO $$
BEGIN
  IF current_setting('server_version_num')::int >= 150000 THEN
    ALTER VIEW public.search_analytics_filtered SET (security_invoker = true);
  END IF;
END $$;
