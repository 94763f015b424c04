-- Counting runs as tollgate_counter. The owner of a tenant's table may put code of his own there that PostgreSQL runs as whoever reads
-- the table: in a policy, in an index or a CHECK over an expression, in an operator or a cast of a type of his own. As
-- tollgate_counter that code owns nothing and can read nothing but what is counted, and what it did is undone before the count is
-- returned. Triggers read the rows of a statement, where no such code stands, by a type's output alone (sources.sql).
-- Rows of tenant_subscriptions are written as tollgate_counter too, since a trigger that the host has there runs as the writer.

-- Why Tollgate does not count a metric in a table, as part of a sentence; null when it does.
CREATE OR REPLACE FUNCTION tollgate.table_problem(tab regclass, what text) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  WITH RECURSIVE below AS (
    SELECT tab::oid AS oid UNION SELECT i.inhrelid FROM below b JOIN pg_inherits i ON i.inhparent = b.oid
  ), needed AS (
    SELECT n.col, a.attnum FROM tollgate.usage_sources s CROSS JOIN LATERAL unnest(tollgate.source_columns(s)) AS n (col)
    LEFT JOIN pg_attribute a ON a.attrelid = tab AND a.attname = n.col AND NOT a.attisdropped WHERE s.metric_type = what
  )
  SELECT CASE
    WHEN c.relkind NOT IN ('r', 'p') THEN 'is not a table'
    WHEN c.relrowsecurity THEN 'has row-level security, which hides rows from the count'
    WHEN EXISTS (SELECT FROM below b JOIN pg_class x ON x.oid = b.oid WHERE x.relkind NOT IN ('r', 'p'))
      THEN 'has a part that is not a table of this database'
    WHEN EXISTS (SELECT FROM needed n WHERE n.attnum IS NULL)
      THEN (SELECT format('has no column %s', min(n.col)) FROM needed n WHERE n.attnum IS NULL)
    WHEN NOT has_schema_privilege('tollgate_counter', c.relnamespace, 'USAGE')
      OR EXISTS (SELECT FROM needed n WHERE NOT has_column_privilege('tollgate_counter', c.oid, n.attnum, 'SELECT'))
      THEN format('may not be read by tollgate_counter: GRANT USAGE ON SCHEMA %s, SELECT (%s) ON %s TO it', c.relnamespace::regnamespace,
                  (SELECT string_agg(quote_ident(n.col), ', ') FROM needed n), tab)
  END
  FROM pg_class c WHERE c.oid = tab
$$;
GRANT EXECUTE ON FUNCTION tollgate.table_problem(regclass, text) TO tollgate_counter;

-- A tenant's id stands in headers (X-Tenant-ID), in which a comma parts values and blanks at the ends are cut off. So an id has 1 to
-- 255 bytes of UTF-8, no control character, no comma, and no white space at its ends. What is wrong with one, as part of a
-- sentence; null when nothing is. A tenant of the host's whose id is not so is left out: it has no settings, its calls are refused.
CREATE OR REPLACE FUNCTION tollgate.tenant_id_problem(id text) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT CASE
    WHEN id IS NULL OR id OPERATOR(pg_catalog.=) '' THEN 'is empty'
    WHEN pg_catalog.octet_length(pg_catalog.convert_to(id, 'UTF8')) OPERATOR(pg_catalog.>) 255 THEN 'is longer than 255 bytes'
    WHEN id OPERATOR(pg_catalog.~) '[\u0001-\u001f\u007f-\u009f]' THEN 'holds a control character'
    WHEN id OPERATOR(pg_catalog.~) ',' THEN 'holds a comma'
    WHEN id OPERATOR(pg_catalog.~) '^[ \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]|[ \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]$'
      THEN 'begins or ends with white space'
  END
$$;
GRANT EXECUTE ON FUNCTION tollgate.tenant_id_problem(text) TO tollgate_collector;

-- After a write to tenant_subscriptions: the host's triggers there that wait for the commit run now, as tollgate_counter and not as
-- whoever commits, and a search_path that one of them set ends here.
CREATE OR REPLACE FUNCTION tollgate.end_write() RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  c record;
BEGIN
  FOR c IN SELECT format('%I.%I', n.nspname, t.conname) AS name, t.condeferred FROM pg_constraint t JOIN pg_namespace n ON n.oid = t.connamespace
    WHERE t.conrelid = 'public.tenant_subscriptions'::regclass AND t.contype = 't' AND t.condeferrable ORDER BY 1 LOOP
    EXECUTE format('SET CONSTRAINTS %s IMMEDIATE', c.name);
    IF c.condeferred THEN
      EXECUTE format('SET CONSTRAINTS %s DEFERRED', c.name);
    END IF;
  END LOOP;
  PERFORM set_config('search_path', 'pg_catalog, pg_temp', true);
END $$;
GRANT EXECUTE ON FUNCTION tollgate.end_write() TO tollgate_counter;

-- Who may make a function belong to tollgate_counter needs its right to create one here, and only while it does that.
GRANT CREATE ON SCHEMA tollgate TO tollgate_counter;

-- What a tenant has in a table, in the units of source_scale; null when it can't be counted. Of the calling statement's snapshot. The
-- error at the end is what undoes whatever code of others did meanwhile.
CREATE OR REPLACE FUNCTION tollgate.count_rows(tab regclass, what text, tenant text) RETURNS bigint
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  problem text := tollgate.table_problem(tab, what);
  n bigint;
BEGIN
  IF problem IS NULL THEN
    EXECUTE tollgate.source_count(tab, what, tenant) INTO n;
    RAISE EXCEPTION USING ERRCODE = 'TG000', MESSAGE = 'counted';
  END IF;
  RAISE WARNING '% %', tab, problem;
  RETURN NULL;
EXCEPTION
  WHEN SQLSTATE 'TG000' THEN
    RETURN n;
  WHEN OTHERS THEN
    RAISE WARNING '% can''t be counted: %', tab, sqlerrm;
    RETURN NULL;
END $$;

-- What the host's subscriptions of these tenants show; how many changed. By id: collectors and changes of plans take them in one order.
CREATE OR REPLACE FUNCTION tollgate.host_usage(tenants text[], usages jsonb[]) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  n bigint;
BEGIN
  PERFORM FROM public.tenant_subscriptions s WHERE s.tenant_id = ANY (tenants) ORDER BY s.tenant_id FOR NO KEY UPDATE;
  UPDATE public.tenant_subscriptions s SET current_usage = s.current_usage || u.usage
  FROM unnest(tenants, usages) AS u (tenant, usage)
  WHERE s.tenant_id = u.tenant AND s.current_usage IS DISTINCT FROM s.current_usage || u.usage;
  GET DIAGNOSTICS n = ROW_COUNT;
  PERFORM tollgate.end_write();
  RETURN n;
END $$;

CREATE OR REPLACE FUNCTION tollgate.host_limits(tenant text, limits jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  UPDATE public.tenant_subscriptions s SET usage_limits = limits WHERE s.tenant_id = tenant AND s.usage_limits IS DISTINCT FROM limits;
  PERFORM tollgate.end_write();
END $$;

CREATE OR REPLACE FUNCTION tollgate.host_tier(tenant text, tier text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  INSERT INTO public.tenant_subscriptions AS s (tenant_id, tier_id) VALUES (tenant, tier)
  ON CONFLICT (tenant_id) DO UPDATE SET tier_id = excluded.tier_id;
  PERFORM tollgate.end_write();
END $$;

ALTER FUNCTION tollgate.count_rows(regclass, text, text) OWNER TO tollgate_counter;
ALTER FUNCTION tollgate.host_usage(text[], jsonb[]) OWNER TO tollgate_counter;
ALTER FUNCTION tollgate.host_limits(text, jsonb) OWNER TO tollgate_counter;
ALTER FUNCTION tollgate.host_tier(text, text) OWNER TO tollgate_counter;
REVOKE CREATE ON SCHEMA tollgate FROM tollgate_counter;

-- The same in the host's subscriptions and in Tollgate's own: the host's row is locked first, as by a statement of the host's.
CREATE OR REPLACE FUNCTION tollgate.put_usage(tenants text[], usages jsonb[]) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  of_host bigint := 0;
  n bigint;
BEGIN
  IF tollgate.is_clinic() THEN
    of_host := tollgate.host_usage(tenants, usages);
  END IF;
  PERFORM FROM tollgate.subscriptions s WHERE s.tenant_id = ANY (tenants) ORDER BY s.tenant_id FOR NO KEY UPDATE;
  UPDATE tollgate.subscriptions s SET current_usage = s.current_usage || u.usage
  FROM unnest(tenants, usages) AS u (tenant, usage)
  WHERE s.tenant_id = u.tenant AND s.current_usage IS DISTINCT FROM s.current_usage || u.usage;
  GET DIAGNOSTICS n = ROW_COUNT;
  RETURN greatest(n, of_host);
END $$;
GRANT EXECUTE ON FUNCTION tollgate.put_usage(text[], jsonb[]) TO tollgate_collector;

CREATE OR REPLACE FUNCTION tollgate.put_limits(tenant text, limits jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM tollgate.host_limits(tenant, limits) WHERE tollgate.is_clinic();
  UPDATE tollgate.subscriptions s SET usage_limits = limits, updated_at = now()
  WHERE s.tenant_id = tenant AND s.usage_limits IS DISTINCT FROM limits;
END $$;

CREATE OR REPLACE FUNCTION tollgate.put_tier(tenant text, tier text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM tollgate.host_tier(tenant, tier) WHERE tollgate.is_clinic();
  INSERT INTO tollgate.subscriptions AS s (tenant_id, tier_id) VALUES (tenant, tier)
  ON CONFLICT (tenant_id) DO UPDATE SET tier_id = excluded.tier_id, updated_at = now();
END $$;

-- The right to count a table, where it is ours to give. In an adopted database tollgate.grant_schema gives it.
CREATE OR REPLACE FUNCTION tollgate.let_count(tab regclass, s tollgate.usage_sources) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  c record;
BEGIN
  SELECT x.relowner, n.oid AS schema, n.nspname, n.nspowner INTO c FROM pg_class x JOIN pg_namespace n ON n.oid = x.relnamespace
  WHERE x.oid = tab;
  IF pg_has_role(c.nspowner, 'USAGE') AND NOT has_schema_privilege('tollgate_counter', c.schema, 'USAGE') THEN
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO tollgate_counter', c.nspname);
  END IF;
  IF (pg_has_role(c.relowner, 'USAGE') OR has_table_privilege(tab, 'SELECT WITH GRANT OPTION'))
     AND NOT EXISTS (SELECT FROM unnest(tollgate.source_columns(s)) n (col)
                     WHERE NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = tab AND a.attname = n.col AND NOT a.attisdropped)) THEN
    EXECUTE format('GRANT SELECT (%s) ON %s TO tollgate_counter',
                   (SELECT string_agg(quote_ident(n), ', ') FROM unnest(tollgate.source_columns(s)) n), tab);
  END IF;
END $$;

-- Enforcing begins with a count: what can't be counted is said.
CREATE OR REPLACE FUNCTION tollgate.only_countable(tenant text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  problem text;
BEGIN
  PERFORM tollgate.let_count(t.tab, t.s)
  FROM (SELECT s, tollgate.source_table(s, tenant) AS tab FROM tollgate.usage_sources s WHERE tollgate.may_refuse(s.metric_type)) t WHERE t.tab IS NOT NULL;
  SELECT string_agg(t.tab || ' ' || tollgate.table_problem(t.tab, t.metric), '; ') INTO problem
  FROM (SELECT s.metric_type AS metric, tollgate.source_table(s, tenant) AS tab FROM tollgate.usage_sources s
        WHERE tollgate.may_refuse(s.metric_type) ORDER BY s.id) t;
  IF problem IS NOT NULL THEN
    RAISE EXCEPTION '%', problem USING ERRCODE = 'TG005', DETAIL = 'table';
  END IF;
END $$;

-- What of the host's Tollgate does not take, and why: tenants by their id, tables that it can't count or that are gone, and statements
-- that it let through uncounted. `tollgate doctor` shows it. An id is written as JSON, so that a control character in it does nothing to
-- the screen.
CREATE OR REPLACE FUNCTION tollgate.left_out() RETURNS TABLE (what text, problem text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT 'tenant ' || to_jsonb(t.id::text)::text, 'has an id that ' || tollgate.tenant_id_problem(t.id::text)
  FROM tollgate.tenants t WHERE tollgate.tenant_id_problem(t.id::text) IS NOT NULL
  UNION ALL
  SELECT 'tenant ' || to_jsonb(s.tenant_id::text)::text, 'has no schema of its own: PostgreSQL cuts the name at 63 bytes, and so cut it is that of tenant '
    || to_jsonb(o.tenant_id::text)::text
  FROM tollgate.tenant_settings s JOIN tollgate.tenant_settings o ON o.schema_name = s.tenant_id::name::text WHERE s.schema_name = ''
  UNION ALL
  SELECT DISTINCT x.tab::text, p.problem FROM tollgate.source_tables() x CROSS JOIN LATERAL (SELECT tollgate.table_problem(x.tab, x.metric) AS problem) p
  WHERE p.problem IS NOT NULL
  UNION ALL
  SELECT format('%I.%I', s.schema_name, s.table_name), 'is gone: ' || s.metric_type || ' was counted from it, and stays as it was'
  FROM tollgate.usage_sources s WHERE s.tenant_column IS NOT NULL AND NOT EXISTS (SELECT FROM tollgate.source_tables() x WHERE x.source = s.id)
  UNION ALL
  (SELECT DISTINCT ON (l.tenant_id, l.table_name) l.table_name || CASE WHEN l.tenant_id <> '' THEN ' of tenant ' || to_jsonb(l.tenant_id)::text ELSE '' END,
     format('was written at %s without being counted: %s', to_char(l.made_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS "UTC"'), l.problem)
   FROM tollgate.uncounted l ORDER BY l.tenant_id, l.table_name, l.id)
$$;
