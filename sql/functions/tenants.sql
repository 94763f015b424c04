-- Tenants that the host inserts, and schemas that it makes, after Tollgate came: they appear by themselves.

-- PostgreSQL cuts a schema's name at 63 bytes, at a character's end. So the schema of a tenant with a longer id is the cut one,
-- and one schema is one tenant's: '' is a tenant's whose name for it another tenant has.
CREATE OR REPLACE FUNCTION tollgate.schema_of(tenant text) RETURNS text LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN EXISTS (SELECT FROM tollgate.tenant_settings s WHERE s.schema_name = tenant::name::text AND s.tenant_id <> tenant)
              THEN '' ELSE tenant::name::text END
$$;

-- Settings and periods of one tenant, if it has none. At once, so that its first call is counted.
CREATE OR REPLACE FUNCTION tollgate.provision(tenant text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  INSERT INTO tollgate.tenant_settings (tenant_id, schema_name) SELECT tenant, tollgate.schema_of(tenant) FROM tollgate.tenants t
  WHERE t.id = tenant AND tollgate.tenant_id_problem(tenant) IS NULL ON CONFLICT DO NOTHING;
  IF FOUND THEN
    PERFORM tollgate.ensure_periods(tenant, now(), now() + interval '65 days');
  END IF;
END $$;

-- At the commit: who inserts a tenant may give it settings of its own in the same transaction, or delete it again.
CREATE OR REPLACE FUNCTION tollgate.tenant_added() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM tollgate.provision(NEW.id);
  RETURN NULL;
EXCEPTION
  WHEN transaction_rollback THEN
    RAISE;
  WHEN OTHERS THEN
    PERFORM tollgate.let_through(NEW.id, TG_RELID, sqlerrm);
    RETURN NULL;
END $$;

-- Tables that have their triggers and can't be counted now, though no trigger has failed: noted, so that they are counted anew once
-- they can be. Of all tenants in one statement, so table_problem is asked about those alone.
CREATE OR REPLACE FUNCTION tollgate.note_uncountable() RETURNS void LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  INSERT INTO tollgate.uncounted (tenant_id, table_name, problem)
  SELECT s.tenant_id, c.oid::regclass::text, tollgate.table_problem(c.oid, c.relname || '_count')
  FROM tollgate.tenant_settings s JOIN pg_namespace n ON n.nspname = s.schema_name
  JOIN pg_class c ON c.relnamespace = n.oid AND c.relname IN ('patients', 'appointments') AND c.relkind IN ('r', 'p')
  LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped
    AND a.attname = CASE c.relname WHEN 'patients' THEN 'status' ELSE 'tableoid' END
  WHERE s.schema_name NOT IN ('public', 'tollgate', 'pg_catalog', 'information_schema')
    AND (a.attnum IS NULL OR c.relrowsecurity OR NOT has_schema_privilege('tollgate_counter', n.oid, 'USAGE')
         OR NOT has_column_privilege('tollgate_counter', c.oid, a.attnum, 'SELECT'))
    AND EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = c.oid AND g.tgname = 'tollgate_insert')
    AND NOT EXISTS (SELECT FROM tollgate.uncounted l WHERE l.tenant_id = s.tenant_id AND l.table_name = c.oid::regclass::text)
    AND tollgate.table_problem(c.oid, c.relname || '_count') IS NOT NULL
$$;

-- The rights to count a tenant's tables: in an adopted database tollgate.grant_schema (adopt) gives them.
CREATE OR REPLACE FUNCTION tollgate.give_rights(tenant text) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF to_regprocedure('tollgate.grant_schema(text)') IS NOT NULL THEN
    EXECUTE 'SELECT tollgate.grant_schema($1)' USING tenant;
  END IF;
  PERFORM tollgate.let_count(tollgate.tenant_table(tenant, t.name), t.name || '_count')
  FROM (VALUES ('patients'), ('appointments')) AS t (name);
END $$;

-- A tenant whose statements were let through: its limits, triggers, shares and counts anew. An error says that it can't be yet.
-- Making the triggers anew waits for who writes there and holds off others, so that no statement is missed.
CREATE OR REPLACE FUNCTION tollgate.catch_up(tenant text) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  problem text;
BEGIN
  PERFORM tollgate.give_rights(tenant);
  SELECT string_agg(tollgate.table_problem(to_regclass(l.table_name), k.what || '_count'), '; ') INTO problem
  FROM tollgate.uncounted l CROSS JOIN LATERAL (SELECT substring(l.table_name FROM '(patients|appointments|users)$') AS what) k
  WHERE l.tenant_id = tenant AND k.what IS NOT NULL;
  IF problem IS NOT NULL THEN
    RAISE EXCEPTION '%', problem;
  END IF;
  IF EXISTS (SELECT FROM tollgate.uncounted l WHERE l.tenant_id = tenant AND l.table_name = 'public.users') THEN
    PERFORM tollgate.add_triggers('public.users', 'users_added', 'users_changed', true, '');
  END IF;
  PERFORM tollgate.copy_tiers();
  PERFORM tollgate.copy_tenant(tenant);
  PERFORM tollgate.apply_limits(tenant);
  IF tenant = '' AND EXISTS (SELECT FROM tollgate.uncounted l WHERE l.tenant_id = '' AND l.table_name = 'public.users') THEN
    PERFORM tollgate.fill_shares(e.id) FROM tollgate.enforced_gauges e WHERE e.metric = 'users_count' ORDER BY e.id;
    PERFORM tollgate.note(s.tenant_id, 'users_count', 0, 0, true) FROM tollgate.tenant_settings s;
  ELSIF (SELECT s.enforced FROM tollgate.tenant_settings s WHERE s.tenant_id = tenant) THEN
    PERFORM tollgate.enforce(tenant, true);
  ELSE
    PERFORM tollgate.attach(tenant);
  END IF;
  IF tenant <> '' THEN
    PERFORM tollgate.recount(tenant);
  END IF;
  DELETE FROM tollgate.uncounted l WHERE l.tenant_id = tenant;
END $$;

-- The collector's regular work: tenants that came past the trigger (a restore, replication), tables that lack the triggers of a
-- gauge, because they were made later or anew, and what was let through. At most `most` of each; the others next time. A tenant
-- whose tables are out of reach or locked does not hold up the others; one such is returned.
CREATE OR REPLACE FUNCTION tollgate.attach_new(most int) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '1s' AS $$
DECLARE
  tenant text;
  left_out text;
BEGIN
  PERFORM tollgate.copy_missing(most);
  PERFORM tollgate.provision(t.id) FROM (SELECT t.id FROM tollgate.tenants t
    WHERE tollgate.tenant_id_problem(t.id) IS NULL AND NOT EXISTS (SELECT FROM tollgate.tenant_settings s WHERE s.tenant_id = t.id) ORDER BY t.id LIMIT most) t;
  UPDATE tollgate.tenant_settings s SET schema_name = tollgate.schema_of(s.tenant_id) -- whose schema's name is free again
  FROM (SELECT min(x.tenant_id) AS tenant_id FROM tollgate.tenant_settings x WHERE x.schema_name = '' GROUP BY x.tenant_id::name) f
  WHERE s.tenant_id = f.tenant_id AND tollgate.schema_of(s.tenant_id) <> '';
  FOR tenant IN SELECT DISTINCT s.tenant_id FROM tollgate.tenant_settings s
    JOIN pg_namespace n ON n.nspname = s.schema_name
    JOIN pg_class c ON c.relnamespace = n.oid AND c.relname IN ('patients', 'appointments') AND c.relkind IN ('r', 'p')
    WHERE s.schema_name NOT IN ('public', 'tollgate', 'pg_catalog', 'information_schema')
      AND NOT EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = c.oid AND g.tgname = 'tollgate_insert')
    ORDER BY 1 LIMIT most LOOP
    BEGIN
      PERFORM tollgate.give_rights(tenant);
      PERFORM tollgate.attach(tenant);
      PERFORM tollgate.recount(tenant);
    EXCEPTION WHEN insufficient_privilege OR lock_not_available OR undefined_column THEN
      left_out := tenant;
    END;
  END LOOP;
  PERFORM tollgate.note_uncountable();
  FOR tenant IN SELECT l.tenant_id FROM tollgate.uncounted l GROUP BY 1 ORDER BY random() LIMIT most LOOP
    BEGIN
      PERFORM tollgate.catch_up(tenant);
    EXCEPTION WHEN OTHERS THEN
      NULL; -- doctor shows it for as long as it stands
    END;
  END LOOP;
  RETURN left_out;
END $$;
GRANT EXECUTE ON FUNCTION tollgate.attach_new(int) TO tollgate_collector;
