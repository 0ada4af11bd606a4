-- Rows have no key of their own. In a database whose tables are published (FOR ALL TABLES), PostgreSQL deletes none of
-- them unless it is told what names a row. COPY costs the same; a deletion is written whole where wal_level is logical.
ALTER TABLE longtail.fact REPLICA IDENTITY FULL;
--> statement-breakpoint
-- What default privileges gave when the tables and the view were made, nobody asked for: a hosted database names
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
END $$;
--> statement-breakpoint
-- The view reads with its reader's own rights, where the server can do that (PostgreSQL 15). Who was given the view is
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
END $$;
