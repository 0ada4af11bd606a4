CREATE TABLE "longtail"."made_view" (
	"name" text PRIMARY KEY NOT NULL,
	"source" text NOT NULL,
	"definition" text NOT NULL,
	"server" integer NOT NULL
);
--> statement-breakpoint
-- The planner expects of each slice the average of all, so that a day's totals, one row a slice, look like a million. Told
-- that slices are small it reads them one by one, which takes less CPU than reading the table even for all of them.
ALTER TABLE longtail.fact ALTER COLUMN slice_id SET (n_distinct = -0.002);
--> statement-breakpoint
-- Too small a table to be read in parallel, and with it the rows of its slices.
ALTER TABLE longtail.slice SET (parallel_workers = 2);
