-- Tenants that the host inserts, and schemas that it makes, after Tollgate came: they appear by themselves.

-- PostgreSQL cuts a schema's name at 63 bytes, at a character's end. So the schema of a tenant with a longer id is the cut one,
-- and one schema is one tenant's: '' is a tenant's whose name for it another tenant has.
CREATE OR REPLACE FUNCTION tollgate.schema_of(tenant text) RETURNS text LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN EXISTS (SELECT FROM tollgate.tenant_settings s WHERE s.schema_name = w.place AND s.tenant_id <> tenant)
              THEN '' ELSE w.place END
  FROM (SELECT CASE h.preset WHEN 'clinic' THEN tenant ELSE coalesce(replace(h.mapping ->> 'pattern', '{id}', tenant), '') END::name::text AS place
        FROM tollgate.host h) w
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
  SELECT x.tenant_id, x.tab::text, min(tollgate.table_problem(x.tab, x.metric))
  FROM tollgate.source_tables() x JOIN tollgate.usage_sources s ON s.id = x.source
  JOIN pg_class c ON c.oid = x.tab CROSS JOIN LATERAL unnest(tollgate.source_columns(s)) AS n (col)
  LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped AND a.attname = n.col
  WHERE x.tenant_id <> '' AND x.kind IN ('r', 'p')
    AND (a.attnum IS NULL OR c.relrowsecurity OR NOT has_schema_privilege('tollgate_counter', c.relnamespace, 'USAGE')
         OR NOT has_column_privilege('tollgate_counter', c.oid, a.attnum, 'SELECT'))
    AND EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = c.oid AND g.tgname = format('tollgate_%s_insert', s.id))
    AND NOT EXISTS (SELECT FROM tollgate.uncounted l WHERE l.tenant_id = x.tenant_id AND l.table_name = x.tab::text)
    AND tollgate.table_problem(x.tab, x.metric) IS NOT NULL
  GROUP BY 1, 2
$$;

-- The rights to count a tenant's tables: in an adopted database tollgate.grant_schema (adopt) gives them.
CREATE OR REPLACE FUNCTION tollgate.give_rights(tenant text) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF to_regprocedure('tollgate.grant_schema(text)') IS NOT NULL THEN
    EXECUTE 'SELECT tollgate.grant_schema($1)' USING tenant;
  END IF;
  PERFORM tollgate.let_count(t.tab, t.s) FROM (SELECT s, tollgate.source_table(s, tenant) AS tab FROM tollgate.usage_sources s WHERE s.tenant_column IS NULL) t
  WHERE t.tab IS NOT NULL;
END $$;

-- A tenant whose statements were let through: its limits, triggers, shares and counts anew. An error says that it can't be yet.
-- Making the triggers anew waits for who writes there and holds off others, so that no statement is missed.
CREATE OR REPLACE FUNCTION tollgate.catch_up(tenant text) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  problem text;
  metrics text[];
BEGIN
  PERFORM tollgate.give_rights(tenant);
  SELECT string_agg(tollgate.table_problem(x.tab, x.metric), '; '), array_agg(x.metric) FILTER (WHERE x.tenant_id = '') INTO problem, metrics
  FROM tollgate.uncounted l JOIN tollgate.source_tables() x ON x.tab::text = l.table_name AND x.tenant_id IN (l.tenant_id, '')
  WHERE l.tenant_id = tenant;
  IF problem IS NOT NULL THEN
    RAISE EXCEPTION '%', problem;
  END IF;
  PERFORM tollgate.attach_shared(s) FROM (SELECT x FROM tollgate.usage_sources x WHERE x.metric_type = ANY (metrics) ORDER BY x.id) t (s);
  PERFORM tollgate.copy_tiers();
  PERFORM tollgate.copy_tenant(tenant);
  PERFORM tollgate.apply_limits(tenant);
  IF tenant = '' THEN
    PERFORM tollgate.count_all_anew(m) FROM unnest(metrics) m ORDER BY m;
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
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '1s' SET jit = off AS $$
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
  FOR tenant IN SELECT DISTINCT x.tenant_id FROM tollgate.source_tables() x
    WHERE x.tenant_id <> '' AND x.kind IN ('r', 'p')
      AND NOT EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = x.tab AND g.tgname = format('tollgate_%s_insert', x.source))
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
