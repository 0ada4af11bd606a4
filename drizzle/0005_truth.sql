-- Rows whose key a slice has in another row are no longer counted but dropped, so the column has another name.
ALTER TABLE longtail.slice RENAME COLUMN duplicate_rows TO duplicates_dropped;
--> statement-breakpoint
-- What earlier versions kept twice: of two rows with one key the one with more impressions is the newer. The ledger
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
WHERE s.id = o.id AND o.duplicates_dropped > 0;
--> statement-breakpoint
ALTER TABLE "longtail"."property" ADD COLUMN "short_page_at" timestamp with time zone;
--> statement-breakpoint
ALTER TABLE "longtail"."slice" ADD COLUMN "doubted" boolean DEFAULT false NOT NULL;
--> statement-breakpoint
ALTER TABLE "longtail"."slice" ADD COLUMN "checked_at" timestamp with time zone;
--> statement-breakpoint
ALTER TABLE "longtail"."slice" ADD COLUMN "kept_reason" text;
--> statement-breakpoint
ALTER TABLE "longtail"."slice_page" ADD COLUMN "short" boolean DEFAULT false NOT NULL;
