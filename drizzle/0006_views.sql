CREATE TABLE "longtail"."made_view" (
	"name" text PRIMARY KEY NOT NULL,
	"source" text NOT NULL,
	"definition" text NOT NULL,
	"server" integer NOT NULL
);
