-- Takes all of Tollgate's out of an adopted database and leaves the rest as it was. Run by `tollgate leave` as a superuser or the role that
-- adopted, in one transaction. The roles stay: they are the cluster's, and other databases may have them.
DO $$
DECLARE
  roles CONSTANT oid[] := ARRAY(SELECT r.oid FROM pg_catalog.pg_roles r
                                WHERE r.rolname IN ('tollgate_owner', 'tollgate_web', 'tollgate_collector', 'tollgate_counter'));
  x record;
BEGIN
  IF pg_catalog.to_regclass('tollgate.host') IS NULL THEN
    RAISE EXCEPTION 'this database has nothing of Tollgate''s';
  ELSIF (SELECT h.preset FROM tollgate.host h) = 'clinic' AND pg_catalog.to_regprocedure('tollgate.grant_schema(text)') IS NULL THEN
    RAISE EXCEPTION 'this database is Tollgate''s own, with its tenants: it can be dropped, not left';
  END IF;
  FOR x IN SELECT g.tgname, g.tgrelid::pg_catalog.regclass AS tab FROM pg_catalog.pg_trigger g
    JOIN pg_catalog.pg_proc p ON p.oid = g.tgfoid AND p.pronamespace = 'tollgate'::pg_catalog.regnamespace
    JOIN pg_catalog.pg_class c ON c.oid = g.tgrelid AND c.relnamespace <> 'tollgate'::pg_catalog.regnamespace
    WHERE NOT g.tgisinternal ORDER BY 2, 1 LOOP
    EXECUTE pg_catalog.format('DROP TRIGGER %I ON %s', x.tgname, x.tab);
  END LOOP;
  EXECUTE 'DROP SCHEMA tollgate CASCADE';
  FOR x IN SELECT c.oid::pg_catalog.regclass AS tab FROM pg_catalog.pg_class c
    WHERE c.relnamespace = 'public'::pg_catalog.regnamespace AND c.relname IN ('usage_tracking', 'usage_summary')
      AND c.relowner = 'tollgate_owner'::pg_catalog.regrole LOOP
    EXECUTE pg_catalog.format('DROP TABLE %s', x.tab);
  END LOOP;
  FOR x IN
    -- Whoever gave a right takes it back: first what tollgate_owner passed on.
    SELECT DISTINCT pg_catalog.format('%s FROM %I CASCADE', t.what, r.rolname) AS rights, a.grantor = ANY (roles) AS passed_on FROM (
      SELECT 'ALL ON TABLE ' || c.oid::pg_catalog.regclass AS what, c.relacl AS acl FROM pg_catalog.pg_class c WHERE c.relkind <> 'S'
      UNION ALL SELECT 'ALL ON SEQUENCE ' || c.oid::pg_catalog.regclass, c.relacl FROM pg_catalog.pg_class c WHERE c.relkind = 'S'
      UNION ALL SELECT pg_catalog.format('ALL (%I) ON TABLE %s', a.attname, a.attrelid::pg_catalog.regclass), a.attacl
                FROM pg_catalog.pg_attribute a WHERE NOT a.attisdropped
      UNION ALL SELECT 'ALL ON SCHEMA ' || n.oid::pg_catalog.regnamespace, n.nspacl FROM pg_catalog.pg_namespace n
      UNION ALL SELECT pg_catalog.format('ALL ON DATABASE %I', d.datname), d.datacl FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()) t
    CROSS JOIN LATERAL pg_catalog.aclexplode(t.acl) a JOIN pg_catalog.pg_roles r ON r.oid = a.grantee WHERE a.grantee = ANY (roles) ORDER BY 2 DESC, 1 LOOP
    IF x.passed_on THEN
      SET LOCAL ROLE tollgate_owner;
    END IF;
    EXECUTE 'REVOKE ' || x.rights;
    SET LOCAL ROLE none;
  END LOOP;
  ALTER DEFAULT PRIVILEGES FOR ROLE tollgate_owner GRANT EXECUTE ON FUNCTIONS TO PUBLIC;
END $$;
