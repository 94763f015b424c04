-- Tenants that the host inserts, and schemas that it makes, after Tollgate came: they appear by themselves.

-- Settings and periods of one tenant, if it has none. At once, so that its first call is counted.
CREATE OR REPLACE FUNCTION tollgate.welcome(tenant text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  INSERT INTO public.tenant_settings (tenant_id, schema_name) SELECT tenant, tenant FROM public.tenants t
  WHERE t.id = tenant AND tollgate.tenant_id_problem(tenant) IS NULL ON CONFLICT DO NOTHING;
  IF FOUND THEN
    PERFORM tollgate.ensure_periods(tenant, now(), now() + interval '65 days');
  END IF;
END $$;

-- At the commit: who inserts a tenant may give it settings of its own in the same transaction, or delete it again.
CREATE OR REPLACE FUNCTION tollgate.tenant_added() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM tollgate.welcome(rtrim(concat(NEW.id)));
  RETURN NULL;
END $$;

-- The collector's regular work: tenants that came past the trigger (a restore, replication), and tables that lack the triggers
-- of a gauge, because they were made later or anew. At most `most` of each; the others next time. In an adopted database
-- tollgate.grant_schema (adopt) first gives the rights that adopt gave for the schemas it found. A tenant whose tables are
-- out of reach or locked does not hold up the others; one such is returned.
CREATE OR REPLACE FUNCTION tollgate.attach_new(most int) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '1s' AS $$
DECLARE
  tenant text;
  left_out text;
BEGIN
  PERFORM tollgate.welcome(t.id::text) FROM (SELECT t.id FROM public.tenants t
    WHERE tollgate.tenant_id_problem(t.id) IS NULL AND NOT EXISTS (SELECT FROM public.tenant_settings s WHERE s.tenant_id = t.id) ORDER BY t.id LIMIT most) t;
  FOR tenant IN SELECT DISTINCT s.tenant_id FROM public.tenant_settings s
    JOIN pg_namespace n ON n.nspname = s.schema_name
    JOIN pg_class c ON c.relnamespace = n.oid AND c.relname IN ('patients', 'appointments') AND c.relkind IN ('r', 'p')
    WHERE s.schema_name NOT IN ('public', 'tollgate', 'pg_catalog', 'information_schema')
      AND NOT EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = c.oid AND g.tgname = 'tollgate_insert')
    ORDER BY 1 LIMIT most LOOP
    BEGIN
      IF to_regprocedure('tollgate.grant_schema(text)') IS NOT NULL THEN
        EXECUTE 'SELECT tollgate.grant_schema($1)' USING tenant;
      END IF;
      PERFORM tollgate.attach(tenant);
      PERFORM tollgate.recount(tenant);
    EXCEPTION WHEN insufficient_privilege OR lock_not_available OR undefined_column THEN
      left_out := tenant;
    END;
  END LOOP;
  RETURN left_out;
END $$;
GRANT EXECUTE ON FUNCTION tollgate.attach_new(int) TO tollgate_collector;
