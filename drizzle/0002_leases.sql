CREATE TABLE "longtail"."lease" (
	"resource" text COLLATE "C" NOT NULL,
	"holder" text COLLATE "C" NOT NULL,
	"party" text COLLATE "C" NOT NULL,
	"presence" text,
	"renewed_at" timestamp with time zone NOT NULL,
	"expires_at" timestamp with time zone NOT NULL,
	CONSTRAINT "lease_resource_holder_pk" PRIMARY KEY("resource","holder")
);
--> statement-breakpoint
CREATE INDEX "lease_holder" ON "longtail"."lease" USING btree ("holder");