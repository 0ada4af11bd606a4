-- The schema itself is made before the first migration, with the table that records them: a user who may not make
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
);
--> statement-breakpoint
CREATE TABLE "longtail"."day_total" (
	"property_id" bigint NOT NULL,
	"search_type" text NOT NULL,
	"date" date NOT NULL,
	"clicks" bigint NOT NULL,
	"impressions" bigint NOT NULL,
	"fetched_at" timestamp with time zone NOT NULL,
	CONSTRAINT "day_total_property_id_search_type_date_pk" PRIMARY KEY("property_id","search_type","date")
);
--> statement-breakpoint
CREATE TABLE "longtail"."fact" (
	"slice_id" bigint NOT NULL,
	"page" text COLLATE "C",
	"query" text COLLATE "C",
	"country" text COLLATE "C",
	"device" text COLLATE "C",
	"search_appearance" text COLLATE "C",
	"clicks" bigint NOT NULL,
	"impressions" bigint NOT NULL,
	"position" double precision
);
--> statement-breakpoint
CREATE TABLE "longtail"."property" (
	"id" bigint PRIMARY KEY GENERATED ALWAYS AS IDENTITY (sequence name "longtail"."property_id_seq" INCREMENT BY 1 MINVALUE 1 MAXVALUE 9223372036854775807 START WITH 1 CACHE 1),
	"site_url" text COLLATE "C" NOT NULL,
	"epoch" bigint NOT NULL,
	"created_at" timestamp with time zone DEFAULT now() NOT NULL,
	CONSTRAINT "property_site_url_unique" UNIQUE("site_url")
);
--> statement-breakpoint
CREATE TABLE "longtail"."quota_lease" (
	"lease_id" text NOT NULL,
	"scope" text NOT NULL,
	"run_id" bigint NOT NULL,
	"tokens" integer NOT NULL,
	"settled_tokens" integer DEFAULT 0 NOT NULL,
	"granted_at" timestamp with time zone DEFAULT now() NOT NULL,
	"settled_at" timestamp with time zone,
	CONSTRAINT "quota_lease_lease_id_scope_pk" PRIMARY KEY("lease_id","scope")
);
--> statement-breakpoint
CREATE TABLE "longtail"."run" (
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
);
--> statement-breakpoint
CREATE TABLE "longtail"."slice" (
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
);
--> statement-breakpoint
CREATE TABLE "longtail"."slice_page" (
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
);
--> statement-breakpoint
ALTER TABLE "longtail"."calendar" ADD CONSTRAINT "calendar_property_id_property_id_fk" FOREIGN KEY ("property_id") REFERENCES "longtail"."property"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "longtail"."day_total" ADD CONSTRAINT "day_total_property_id_property_id_fk" FOREIGN KEY ("property_id") REFERENCES "longtail"."property"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "longtail"."run" ADD CONSTRAINT "run_property_id_property_id_fk" FOREIGN KEY ("property_id") REFERENCES "longtail"."property"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "longtail"."slice" ADD CONSTRAINT "slice_property_id_property_id_fk" FOREIGN KEY ("property_id") REFERENCES "longtail"."property"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "longtail"."slice" ADD CONSTRAINT "slice_run_id_run_id_fk" FOREIGN KEY ("run_id") REFERENCES "longtail"."run"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
ALTER TABLE "longtail"."slice_page" ADD CONSTRAINT "slice_page_slice" FOREIGN KEY ("slice_id") REFERENCES "longtail"."slice"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "fact_slice" ON "longtail"."fact" USING btree ("slice_id");--> statement-breakpoint
CREATE INDEX "quota_lease_scope" ON "longtail"."quota_lease" USING btree ("scope","granted_at");--> statement-breakpoint
CREATE INDEX "run_property" ON "longtail"."run" USING btree ("property_id","started_at");--> statement-breakpoint
CREATE UNIQUE INDEX "slice_version" ON "longtail"."slice" USING btree ("property_id","search_type","dataset","date","filter_key","aggregation_type","version");--> statement-breakpoint
CREATE UNIQUE INDEX "slice_one_complete" ON "longtail"."slice" USING btree ("property_id","search_type","dataset","date","filter_key","aggregation_type") WHERE status = 'complete';--> statement-breakpoint
CREATE UNIQUE INDEX "slice_one_open" ON "longtail"."slice" USING btree ("property_id","search_type","dataset","date","filter_key","aggregation_type") WHERE status = 'open';--> statement-breakpoint
CREATE INDEX "slice_to_clean" ON "longtail"."slice" USING btree ("property_id") WHERE has_facts and status in ('superseded', 'failed', 'abandoned');--> statement-breakpoint
CREATE VIEW "public"."search_analytics" AS (
  select p.site_url, s.search_type, s.dataset, s.date,
    f.page, f.query, f.country, f.device, f.clicks, f.impressions,
    case when f.impressions = 0 then 0 else f.clicks::double precision / f.impressions end as ctr,
    f.position, f.search_appearance,
    s.data_state
  from longtail.fact f
  join longtail.slice s on s.id = f.slice_id
  join longtail.property p on p.id = s.property_id
  where s.status = 'complete' and s.filter_key = '' and s.aggregation_type = ''
);