-- The triggers on the host's tables: what they call, and how they are put there. The host's roles need to know nothing of Tollgate. The
-- tenant of a schema's triggers comes as TG_ARGV[0]; with a second argument the same trigger also refuses (enforce.sql): one trigger and
-- one count, for each of them costs a single insert about as much as the row itself.

-- Notes it for the collector. One row a tenant and statement. They are called by triggers, who run as the owner.
CREATE OR REPLACE FUNCTION tollgate.note(tenant text, what text, n bigint, made bigint DEFAULT 0, anew boolean DEFAULT false)
RETURNS void LANGUAGE plpgsql AS $$ -- plpgsql keeps its plans
BEGIN
  INSERT INTO tollgate.usage_changes (tenant_id, metric, delta, created, recount) VALUES (tenant, what, n, made, anew);
END $$;

-- n more, taken from the gauge's shares where it is enforced, else noted; so many of them are recorded as events.
CREATE OR REPLACE FUNCTION tollgate.change(tenant text, what text, g integer, n bigint, made bigint DEFAULT 0) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF n <> 0 AND (g IS NULL OR NOT tollgate.take_share(g, n)) THEN
    INSERT INTO tollgate.usage_changes (tenant_id, metric, delta, created) VALUES (tenant, what, n, made);
  ELSIF made > 0 THEN
    INSERT INTO tollgate.usage_changes (tenant_id, metric, created) VALUES (tenant, what, made);
  END IF;
END $$;

CREATE OR REPLACE FUNCTION tollgate.gauge_of(tenant text, what text) RETURNS integer LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT e.id FROM tollgate.enforced_gauges e WHERE e.tenant_id = tenant AND e.metric = what
$$;

-- A table was emptied: its tenant's, or the one of all.
CREATE OR REPLACE FUNCTION tollgate.count_anew(tenant text, what text, g integer) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF EXISTS (SELECT FROM tollgate.enforced_gauges e WHERE e.id = g) THEN
    PERFORM tollgate.fill_shares(g);
  ELSE
    PERFORM tollgate.note(tenant, what, 0, 0, true);
  END IF;
END $$;
CREATE OR REPLACE FUNCTION tollgate.count_all_anew(what text) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM tollgate.fill_shares(e.id) FROM tollgate.enforced_gauges e WHERE e.metric = what ORDER BY e.id;
  PERFORM tollgate.note(t.id, what, 0, 0, true) FROM tollgate.tenants t;
END $$;

-- Notes it once for a tenant and a table. It runs where something is broken, so whatever else fails here is only said.
CREATE OR REPLACE FUNCTION tollgate.let_through(tenant text, tab regclass, problem text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  INSERT INTO tollgate.uncounted (tenant_id, table_name, problem) SELECT tenant, tab::text, problem
  WHERE NOT EXISTS (SELECT FROM tollgate.uncounted l WHERE l.tenant_id = tenant AND l.table_name = tab::text);
  IF FOUND THEN
    RAISE WARNING 'Tollgate could not count a statement on % and let it through: %', tab, problem;
  END IF;
EXCEPTION WHEN OTHERS THEN
  RAISE WARNING 'Tollgate could not count a statement on % and let it through: %; nor note it: %', tab, problem, sqlerrm;
END $$;

-- Nothing counted: because nothing was to be, or because a column is gone?
CREATE OR REPLACE FUNCTION tollgate.missing_column(tenant text, tab regclass, columns text[]) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  SELECT tollgate.let_through(tenant, tab, format('has no column %s', c.col)) FROM unnest(columns) AS c (col)
  WHERE NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = tab AND a.attname = c.col AND NOT a.attisdropped) LIMIT 1
$$;

-- ---- triggers ----

-- A source's triggers on a table, anew. An update matters where rows may begin or end to count.
CREATE OR REPLACE FUNCTION tollgate.add_triggers(tab regclass, s tollgate.usage_sources, VARIADIC args text[])
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  list text := (SELECT string_agg(quote_literal(a), ', ' ORDER BY place) FROM unnest(args) WITH ORDINALITY AS u (a, place)); -- nulls are left out
  trigger record;
BEGIN
  FOR trigger IN SELECT * FROM (VALUES ('insert', 'added', 'REFERENCING NEW TABLE AS new_rows'),
    ('update', 'changed', 'REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows'),
    ('delete', 'changed', 'REFERENCING OLD TABLE AS old_rows'), ('truncate', 'changed', '')) AS t (event, fn, rows)
    WHERE t.event <> 'update' OR s.condition <> '' OR s.value_column IS NOT NULL OR s.tenant_column IS NOT NULL LOOP
    EXECUTE format('CREATE OR REPLACE TRIGGER %I AFTER %s ON %s %s FOR EACH STATEMENT EXECUTE FUNCTION tollgate.%I(%s)',
      format('tollgate_%s_%s', s.id, trigger.event), trigger.event, tab, trigger.rows, format('source_%s_%s', s.id, trigger.fn), list);
  END LOOP;
END $$;

-- Whether a metric has a limit that a table's rows can reach.
CREATE OR REPLACE FUNCTION tollgate.may_refuse(what text) RETURNS boolean LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT EXISTS (SELECT FROM tollgate.usage_limit_keys k WHERE k.metric_type = what AND k.limit_window = 'none')
$$;

CREATE OR REPLACE FUNCTION tollgate.attach_own(s tollgate.usage_sources, tenant text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  tab regclass := tollgate.source_table(s, tenant);
  g integer;
BEGIN
  IF tab IS NULL OR NOT tollgate.may_refuse(s.metric_type) OR NOT (SELECT t.enforced FROM tollgate.tenant_settings t WHERE t.tenant_id = tenant) THEN
    DELETE FROM tollgate.enforced_gauges e WHERE e.tenant_id = tenant AND e.metric = s.metric_type;
  ELSE
    g := tollgate.enforced_gauge(tenant, s.metric_type);
  END IF;
  IF tab IS NOT NULL THEN
    PERFORM tollgate.let_count(tab, s);
    PERFORM tollgate.add_triggers(tab, s, tenant, g::text); -- locks out writers until the commit
  END IF;
  IF g IS NOT NULL THEN
    PERFORM tollgate.fill_shares(g);
  END IF;
END $$;

-- The triggers on a tenant's own tables.
CREATE OR REPLACE FUNCTION tollgate.attach(tenant text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM tollgate.attach_own(s, tenant) FROM (SELECT x FROM tollgate.usage_sources x WHERE x.tenant_column IS NULL ORDER BY x.id) t (s);
END $$;

-- Those on a table that all tenants share.
CREATE OR REPLACE FUNCTION tollgate.attach_shared(s tollgate.usage_sources) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  tab regclass := tollgate.source_table(s, '');
BEGIN
  IF tab IS NOT NULL THEN
    PERFORM tollgate.let_count(tab, s);
    PERFORM tollgate.add_triggers(tab, s, '');
  END IF;
END $$;

-- A new source, or a changed one: the triggers on every table that it has, the shares of the tenants that are enforced, and a count of all.
-- A table that is out of reach or locked is left to the collector, which tries again; one that all share has to be within reach.
CREATE OR REPLACE FUNCTION tollgate.attach_everywhere(s tollgate.usage_sources) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET lock_timeout = '5s' AS $$
DECLARE
  t record;
BEGIN
  IF s.tenant_column IS NOT NULL THEN
    BEGIN
      PERFORM tollgate.attach_shared(s);
    EXCEPTION WHEN insufficient_privilege THEN
      RAISE EXCEPTION '%.% may not have triggers of Tollgate''s: its owner says GRANT TRIGGER ON %.% TO tollgate_owner', quote_ident(s.schema_name),
        quote_ident(s.table_name), quote_ident(s.schema_name), quote_ident(s.table_name) USING ERRCODE = 'TG005', DETAIL = 'table';
    END;
    IF tollgate.may_refuse(s.metric_type) THEN
      PERFORM tollgate.fill_shares(tollgate.enforced_gauge(x.tenant_id, s.metric_type))
      FROM (SELECT n.tenant_id FROM tollgate.tenant_settings n WHERE n.enforced ORDER BY n.tenant_id) x;
    END IF;
  ELSE
    FOR t IN SELECT x.tenant_id FROM tollgate.source_tables() x WHERE x.source = s.id AND x.kind IN ('r', 'p') ORDER BY 1 LOOP
      BEGIN
        PERFORM tollgate.give_rights(t.tenant_id);
        PERFORM tollgate.attach_own(s, t.tenant_id);
      EXCEPTION WHEN insufficient_privilege OR lock_not_available THEN
        NULL;
      END;
    END LOOP;
  END IF;
  PERFORM tollgate.note(x.tenant_id, s.metric_type, 0, 0, true) FROM tollgate.tenant_settings x;
END $$;

-- What a table of Tollgate's own database has of triggers, when its tenant goes.
CREATE OR REPLACE FUNCTION tollgate.detach(tenant text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  t record;
BEGIN
  FOR t IN SELECT g.tgname, g.tgrelid::regclass AS tab FROM tollgate.source_tables() x
    JOIN pg_trigger g ON g.tgrelid = x.tab AND g.tgname LIKE format('tollgate\_%s\_%%', x.source) AND NOT g.tgisinternal
    WHERE x.tenant_id = tenant LOOP
    EXECUTE format('DROP TRIGGER %I ON %s', t.tgname, t.tab);
  END LOOP;
END $$;

-- ---- counting anew ----

-- One gauge of a tenant's; what waits in tollgate.usage_changes for it is part of the count and goes. What can't be counted stays as it was.
-- One statement, one snapshot: changes that it sees are gone with the rows that it counts. Events that they record stay.
CREATE OR REPLACE FUNCTION tollgate.recount_source(s tollgate.usage_sources, tenant text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  tab regclass := tollgate.source_table(s, tenant);
  n bigint := CASE WHEN tab IS NULL AND s.tenant_column IS NULL THEN 0 END;
BEGIN
  IF tab IS NOT NULL THEN
    WITH counted AS MATERIALIZED (SELECT tollgate.count_rows(tab, s.metric_type, tenant) AS n),
      gone AS (DELETE FROM tollgate.usage_changes c USING counted
               WHERE counted.n IS NOT NULL AND c.tenant_id = tenant AND c.metric = s.metric_type AND c.created = 0),
      kept AS (UPDATE tollgate.usage_changes c SET delta = 0, recount = false FROM counted
               WHERE counted.n IS NOT NULL AND c.tenant_id = tenant AND c.metric = s.metric_type AND c.created <> 0)
    SELECT counted.n INTO n FROM counted;
  END IF;
  PERFORM tollgate.put_level(tenant, s.metric_type, n / tollgate.source_scale(s)) WHERE n IS NOT NULL;
END $$;

CREATE OR REPLACE FUNCTION tollgate.recount(tenant text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM tollgate.only_own(tenant);
  PERFORM tollgate.ensure_periods(tenant, now(), now());
  PERFORM FROM public.usage_summary u WHERE u.tenant_id = tenant ORDER BY u.period_start DESC LIMIT 1 FOR UPDATE;
  PERFORM tollgate.recount_source(s, tenant) FROM (SELECT x FROM tollgate.usage_sources x ORDER BY x.id) t (s);
  PERFORM tollgate.show_levels(tenant);
  INSERT INTO tollgate.config_changes (kind, subject) VALUES ('tenant', tenant);
END $$;
GRANT EXECUTE ON FUNCTION tollgate.recount(text) TO tollgate_web, tollgate_collector;
