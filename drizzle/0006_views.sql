-- The parts of a day, and what was dropped from it: in a database that has them already, nothing happens.
ALTER TABLE longtail.slice ADD COLUMN IF NOT EXISTS part text DEFAULT '' NOT NULL;
--> statement-breakpoint
ALTER TABLE longtail.slice ADD COLUMN IF NOT EXISTS duplicates_dropped integer DEFAULT 0 NOT NULL;
--> statement-breakpoint
CREATE TABLE "longtail"."made_view" (
	"name" text PRIMARY KEY NOT NULL,
	"source" text NOT NULL,
	"definition" text NOT NULL,
	"server" integer NOT NULL
);
