-- What Drizzle's schema cannot say.
DO $$
BEGIN
  -- A schema that somebody else has made for us is his to comment on.
  IF pg_has_role((SELECT nspowner FROM pg_namespace WHERE nspname = 'longtail'), 'USAGE') THEN
    COMMENT ON SCHEMA longtail IS 'Longtail''s own tables. Read public.search_analytics instead: these may change with any version.';
  END IF;
END $$;
--> statement-breakpoint
COMMENT ON VIEW public.search_analytics IS 'Rows of Google Search Console, of days that are complete. ALWAYS filter one dataset (WHERE dataset = ''page+query''): datasets overlap, so that sums over several count every click more than once. dataset names the dimensions of a row; dimensions that it does not name are null. Details sum to less than the totals (dataset ''date''), because Google withholds rare queries. Average positions weighted by impressions.';
--> statement-breakpoint
COMMENT ON COLUMN public.search_analytics.date IS 'Day in Pacific time, as Search Console counts days';
--> statement-breakpoint
COMMENT ON COLUMN public.search_analytics.ctr IS 'clicks / impressions, 0 to 1; 0 where there were no impressions';
--> statement-breakpoint
COMMENT ON COLUMN public.search_analytics.position IS 'Average position of the row, 1 is the top; null where Google gives none (Discover, Google News)';
--> statement-breakpoint
COMMENT ON COLUMN public.search_analytics.data_state IS 'final, or all: Google may still change this day, and it will be fetched again';
--> statement-breakpoint
-- Whole slices are written and deleted at once: by the default fifth of a large table, vacuum would come years late.
ALTER TABLE longtail.fact SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.02);
