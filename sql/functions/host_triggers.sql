-- What changes in the host's tables, for the collector. The triggers' functions run as their owner with a fixed search_path: the host's
-- roles need to know nothing of Tollgate. One row a tenant and statement.

-- The tenant of a schema's triggers comes as TG_ARGV[0]. With a second argument the same trigger also refuses (006): one
-- trigger and one count, for each of them costs a single insert about as much as the row itself.
CREATE OR REPLACE FUNCTION tollgate.note(tenant text, what text, n bigint, made bigint DEFAULT 0, anew boolean DEFAULT false)
RETURNS void LANGUAGE plpgsql AS $$ -- plpgsql keeps its plans; its callers are the trigger functions, who run as the owner
BEGIN
  INSERT INTO tollgate.usage_changes (tenant_id, metric, delta, created, recount) VALUES (tenant, what, n, made, anew);
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

CREATE OR REPLACE FUNCTION tollgate.patients_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  g integer := TG_ARGV[1]; -- null: nothing is enforced
  delta bigint;
BEGIN
  IF TG_OP = 'INSERT' THEN
    delta := (SELECT count(*) FROM new_rows n WHERE rtrim(concat(n.status)) = 'active');
  ELSIF TG_OP = 'DELETE' THEN
    delta := -(SELECT count(*) FROM old_rows o WHERE rtrim(concat(o.status)) = 'active');
  ELSIF TG_OP = 'UPDATE' THEN
    delta := (SELECT count(*) FROM new_rows n WHERE rtrim(concat(n.status)) = 'active')
             - (SELECT count(*) FROM old_rows o WHERE rtrim(concat(o.status)) = 'active');
  ELSIF EXISTS (SELECT FROM tollgate.enforced_gauges e WHERE e.id = g) THEN
    PERFORM tollgate.fill_shares(g);
    RETURN NULL;
  ELSE
    PERFORM tollgate.note(TG_ARGV[0], 'patients_count', 0, 0, true);
    RETURN NULL;
  END IF;
  PERFORM tollgate.patients_by(TG_ARGV[0], g, delta);
  RETURN NULL;
EXCEPTION
  WHEN SQLSTATE 'TG429' OR transaction_rollback THEN
    RAISE;
  WHEN OTHERS THEN
    PERFORM tollgate.let_through(TG_ARGV[0], TG_RELID, sqlerrm);
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION tollgate.patients_by(tenant text, g integer, delta bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF delta <> 0 AND (g IS NULL OR NOT tollgate.take_share(g, delta)) THEN
    INSERT INTO tollgate.usage_changes (tenant_id, metric, delta) VALUES (tenant, 'patients_count', delta);
  END IF;
END $$;

-- An insert where patients are enforced. Far from the limit the first UPDATE is all that it pays, so take_share's first steps stand
-- here once more, without the subtransaction that catching an error costs. SET search_path would be another twentieth of a single
-- insert: every name, operator and type that is looked up is written with its schema instead. Where the table has lost its status,
-- the name means the variable and nothing is active; the second look says so. It must not be n.status, which would call a function of
-- that name where there is no such column. (tg_active is a variable because PL/pgSQL hands
-- variables over to a plan that is made anew only if there was one in it before.)
CREATE OR REPLACE FUNCTION tollgate.patients_added() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
#variable_conflict use_column
DECLARE
  status pg_catalog.text;
  tg_active CONSTANT pg_catalog.text := 'active';
  g integer := TG_ARGV[1];
  mine integer := 1 OPERATOR(pg_catalog.+) (pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.%) 32);
  delta bigint := (SELECT pg_catalog.count(*) FROM new_rows
                   WHERE pg_catalog.rtrim(pg_catalog.concat(status)) OPERATOR(pg_catalog.=) tg_active);
BEGIN
  IF delta OPERATOR(pg_catalog.>) 0 AND pg_catalog.pg_try_advisory_xact_lock(pg_catalog.hashtext('tollgate.enforce'),
       g OPERATOR(pg_catalog.<<) 6 OPERATOR(pg_catalog.|) mine OPERATOR(pg_catalog.&) 1023) THEN
    UPDATE tollgate.enforce_shares s SET free = s.free OPERATOR(pg_catalog.-) delta, changed = true
    WHERE s.gauge OPERATOR(pg_catalog.=) g AND s.slot OPERATOR(pg_catalog.=) mine AND s.free OPERATOR(pg_catalog.>=) delta
      AND s.until OPERATOR(pg_catalog.>) pg_catalog.statement_timestamp();
    IF FOUND THEN
      RETURN NULL;
    END IF;
  END IF;
  BEGIN
    IF delta OPERATOR(pg_catalog.=) 0 AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a
         WHERE a.attrelid OPERATOR(pg_catalog.=) TG_RELID AND a.attname OPERATOR(pg_catalog.=) 'status' AND NOT a.attisdropped) THEN
      PERFORM tollgate.let_through(TG_ARGV[0], TG_RELID, 'has no column status');
    END IF;
    PERFORM tollgate.patients_by(TG_ARGV[0], g, delta);
  EXCEPTION
    WHEN SQLSTATE 'TG429' OR transaction_rollback THEN
      RAISE;
    WHEN OTHERS THEN
      PERFORM tollgate.let_through(TG_ARGV[0], TG_RELID, sqlerrm);
  END;
  RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION tollgate.appointments_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  n bigint := 0;
BEGIN
  CASE TG_OP
    WHEN 'INSERT' THEN
      SELECT count(*) INTO n FROM new_rows;
      PERFORM tollgate.note(TG_ARGV[0], 'appointments_count', n, n) WHERE n > 0;
    WHEN 'DELETE' THEN
      SELECT count(*) INTO n FROM old_rows;
      PERFORM tollgate.note(TG_ARGV[0], 'appointments_count', -n) WHERE n > 0;
    ELSE
      PERFORM tollgate.note(TG_ARGV[0], 'appointments_count', 0, 0, true);
  END CASE;
  RETURN NULL;
EXCEPTION
  WHEN transaction_rollback THEN
    RAISE;
  WHEN OTHERS THEN
    PERFORM tollgate.let_through(TG_ARGV[0], TG_RELID, sqlerrm);
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION tollgate.users_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  tenant_id text; -- of a table that has lost the column
  c record;
BEGIN
  -- By tenant, so that two statements over the same tenants take their shares in the same order.
  IF TG_OP = 'DELETE' THEN
    FOR c IN SELECT rtrim(concat(o.tenant_id)) AS tenant, -count(*) AS n FROM old_rows o WHERE o.tenant_id IS NOT NULL
             GROUP BY 1 ORDER BY 1 LOOP
      PERFORM tollgate.users_by(c.tenant, c.n);
    END LOOP;
  ELSIF TG_OP = 'UPDATE' THEN
    FOR c IN SELECT d.tenant, sum(d.n)::bigint AS n
             FROM (SELECT rtrim(concat(x.tenant_id)) AS tenant, 1 AS n FROM new_rows x WHERE x.tenant_id IS NOT NULL
                   UNION ALL SELECT rtrim(concat(x.tenant_id)), -1 FROM old_rows x WHERE x.tenant_id IS NOT NULL) d
             GROUP BY 1 HAVING sum(d.n) <> 0 ORDER BY 1 LOOP
      PERFORM tollgate.users_by(c.tenant, c.n);
    END LOOP;
  ELSE
    PERFORM tollgate.fill_shares(e.id) FROM tollgate.enforced_gauges e WHERE e.metric = 'users_count' ORDER BY e.id;
    PERFORM tollgate.note(t.id, 'users_count', 0, 0, true) FROM tollgate.tenants t;
  END IF;
  RETURN NULL;
EXCEPTION
  WHEN SQLSTATE 'TG429' OR transaction_rollback THEN
    RAISE;
  WHEN OTHERS THEN
    IF TG_OP = 'TRUNCATE' THEN
      PERFORM tollgate.let_through('', TG_RELID, sqlerrm);
    ELSE
      PERFORM tollgate.let_through(t.tenant, TG_RELID, sqlerrm)
      FROM (SELECT DISTINCT rtrim(concat(tenant_id)) AS tenant FROM old_rows) t;
    END IF;
    IF TG_OP = 'UPDATE' THEN
      PERFORM tollgate.let_through(t.tenant, TG_RELID, sqlerrm)
      FROM (SELECT DISTINCT rtrim(concat(tenant_id)) AS tenant FROM new_rows) t;
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION tollgate.users_by(tenant text, delta bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  g integer := (SELECT e.id FROM tollgate.enforced_gauges e WHERE e.tenant_id = tenant AND e.metric = 'users_count');
BEGIN
  IF g IS NULL OR NOT tollgate.take_share(g, delta) THEN
    INSERT INTO tollgate.usage_changes (tenant_id, metric, delta) VALUES (tenant, 'users_count', delta);
  END IF;
END $$;

-- The same for users, where a statement adds those of one tenant, as most do.
CREATE OR REPLACE FUNCTION tollgate.users_added() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
#variable_conflict use_column
DECLARE
  tenant_id pg_catalog.text;
  tg_none CONSTANT pg_catalog.text := '';
  mine integer := 1 OPERATOR(pg_catalog.+) (pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.%) 32);
  g integer;
  c pg_catalog.record;
BEGIN
  SELECT pg_catalog.count(*) AS n, pg_catalog.min(x.tenant) AS first, pg_catalog.max(x.tenant) AS last
  INTO c FROM (SELECT pg_catalog.rtrim(pg_catalog.concat(tenant_id)) AS tenant FROM new_rows WHERE tenant_id IS NOT NULL) x
  WHERE x.tenant OPERATOR(pg_catalog.<>) tg_none;
  IF c.first OPERATOR(pg_catalog.=) c.last THEN
    g := (SELECT e.id FROM tollgate.enforced_gauges e
          WHERE e.tenant_id OPERATOR(pg_catalog.=) c.first AND e.metric OPERATOR(pg_catalog.=) 'users_count');
    IF g IS NOT NULL AND pg_catalog.pg_try_advisory_xact_lock(pg_catalog.hashtext('tollgate.enforce'),
         g OPERATOR(pg_catalog.<<) 6 OPERATOR(pg_catalog.|) mine OPERATOR(pg_catalog.&) 1023) THEN
      UPDATE tollgate.enforce_shares s SET free = s.free OPERATOR(pg_catalog.-) c.n, changed = true
      WHERE s.gauge OPERATOR(pg_catalog.=) g AND s.slot OPERATOR(pg_catalog.=) mine AND s.free OPERATOR(pg_catalog.>=) c.n
        AND s.until OPERATOR(pg_catalog.>) pg_catalog.statement_timestamp();
      IF FOUND THEN
        RETURN NULL;
      END IF;
    END IF;
  END IF;
  BEGIN
    IF c.n OPERATOR(pg_catalog.=) 0 AND NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a
         WHERE a.attrelid OPERATOR(pg_catalog.=) TG_RELID AND a.attname OPERATOR(pg_catalog.=) 'tenant_id' AND NOT a.attisdropped) THEN
      PERFORM tollgate.let_through('', TG_RELID, 'has no column tenant_id');
    ELSIF c.first OPERATOR(pg_catalog.=) c.last AND g IS NULL THEN
      INSERT INTO tollgate.usage_changes (tenant_id, metric, delta) VALUES (c.first, 'users_count', c.n);
      RETURN NULL;
    END IF;
    -- By tenant, so that two statements over the same tenants take their shares in the same order.
    FOR c IN SELECT pg_catalog.rtrim(pg_catalog.concat(tenant_id)) AS tenant, pg_catalog.count(*) AS n FROM new_rows
             WHERE tenant_id IS NOT NULL AND tg_none IS NOT NULL GROUP BY 1 ORDER BY 1 LOOP
      PERFORM tollgate.users_by(c.tenant, c.n);
    END LOOP;
  EXCEPTION
    WHEN SQLSTATE 'TG429' OR transaction_rollback THEN
      RAISE;
    WHEN OTHERS THEN
      PERFORM tollgate.let_through(t.tenant, TG_RELID, sqlerrm)
      FROM (SELECT DISTINCT pg_catalog.rtrim(pg_catalog.concat(tenant_id)) AS tenant FROM new_rows) t;
  END;
  RETURN NULL;
END $$;

-- The arguments: the tenant, and the gauge where patients are enforced; '' for users. Nulls are left out.
CREATE OR REPLACE FUNCTION tollgate.add_triggers(tab regclass, on_insert text, fn text, on_update boolean, VARIADIC args text[])
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  list text := (SELECT string_agg(quote_literal(a), ', ' ORDER BY place) FROM unnest(args) WITH ORDINALITY AS u (a, place));
  call text := format('FOR EACH STATEMENT EXECUTE FUNCTION tollgate.%I(%s)', fn, list);
BEGIN
  EXECUTE format('CREATE OR REPLACE TRIGGER tollgate_insert AFTER INSERT ON %s REFERENCING NEW TABLE AS new_rows '
                 'FOR EACH STATEMENT EXECUTE FUNCTION tollgate.%I(%s)', tab, on_insert, list);
  EXECUTE format('CREATE OR REPLACE TRIGGER tollgate_delete AFTER DELETE ON %s REFERENCING OLD TABLE AS old_rows %s', tab, call);
  EXECUTE format('CREATE OR REPLACE TRIGGER tollgate_truncate AFTER TRUNCATE ON %s %s', tab, call);
  IF on_update THEN
    EXECUTE format('CREATE OR REPLACE TRIGGER tollgate_update AFTER UPDATE ON %s '
                   'REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows %s', tab, call);
  END IF;
END $$;

-- A table in a tenant's schema, quoted; null when there is none.
CREATE OR REPLACE FUNCTION tollgate.tenant_table(tenant text, name text) RETURNS regclass
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT c.oid::regclass FROM tollgate.tenant_settings s JOIN pg_namespace n ON n.nspname = s.schema_name
  JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = name AND c.relkind IN ('r', 'p')
  WHERE s.tenant_id = tenant AND s.schema_name NOT IN ('public', 'tollgate', 'pg_catalog', 'information_schema')
$$;

CREATE OR REPLACE FUNCTION tollgate.attach(tenant text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  refuse boolean := (SELECT s.enforced FROM tollgate.tenant_settings s WHERE s.tenant_id = tenant);
  tab regclass := tollgate.tenant_table(tenant, 'patients');
  g integer;
BEGIN
  IF tab IS NULL OR NOT refuse THEN
    DELETE FROM tollgate.enforced_gauges e WHERE e.tenant_id = tenant AND e.metric = 'patients_count';
  ELSE
    g := tollgate.enforced_gauge(tenant, 'patients_count');
  END IF;
  IF tab IS NOT NULL THEN
    PERFORM tollgate.let_count(tab, 'patients_count');
    PERFORM tollgate.add_triggers(tab, CASE WHEN g IS NULL THEN 'patients_changed' ELSE 'patients_added' END, 'patients_changed',
                                  true, tenant, g::text);
  END IF;
  IF g IS NOT NULL THEN
    PERFORM tollgate.fill_shares(g);
  END IF;
  tab := tollgate.tenant_table(tenant, 'appointments');
  IF tab IS NOT NULL THEN
    PERFORM tollgate.let_count(tab, 'appointments_count');
    PERFORM tollgate.add_triggers(tab, 'appointments_changed', 'appointments_changed', false, tenant);
  END IF;
END $$;

CREATE OR REPLACE FUNCTION tollgate.detach(tenant text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  t record;
BEGIN
  FOR t IN SELECT g.tgname, g.tgrelid::regclass AS tab FROM pg_trigger g
    WHERE g.tgrelid IN (tollgate.tenant_table(tenant, 'patients'), tollgate.tenant_table(tenant, 'appointments'))
      AND g.tgname LIKE 'tollgate\_%' AND NOT g.tgisinternal LOOP
    EXECUTE format('DROP TRIGGER %I ON %s', t.tgname, t.tab);
  END LOOP;
END $$;

-- Counts anew; what waits in tollgate.usage_changes for these gauges is part of the count and goes. What can't be counted stays as it was.
CREATE OR REPLACE FUNCTION tollgate.recount(tenant text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  patients bigint := 0;
  appointments bigint := 0;
  people bigint;
  tab regclass;
BEGIN
  PERFORM tollgate.only_own(tenant);
  PERFORM tollgate.ensure_periods(tenant, now(), now());
  PERFORM FROM public.usage_summary u WHERE u.tenant_id = tenant ORDER BY u.period_start DESC LIMIT 1 FOR UPDATE;
  -- One statement, one snapshot: deltas that it sees are deleted with the rows that it counts.
  tab := tollgate.tenant_table(tenant, 'patients');
  IF tab IS NOT NULL THEN
    WITH counted AS MATERIALIZED (SELECT tollgate.count_rows(tab, 'patients_count', tenant) AS n),
      gone AS (DELETE FROM tollgate.usage_changes c USING counted
               WHERE counted.n IS NOT NULL AND c.tenant_id = tenant AND c.metric = 'patients_count')
    SELECT counted.n INTO patients FROM counted;
  END IF;
  tab := tollgate.tenant_table(tenant, 'appointments');
  IF tab IS NOT NULL THEN
    WITH counted AS MATERIALIZED (SELECT tollgate.count_rows(tab, 'appointments_count', tenant) AS n),
      kept AS (UPDATE tollgate.usage_changes c SET delta = 0, recount = false FROM counted
               WHERE counted.n IS NOT NULL AND c.tenant_id = tenant AND c.metric = 'appointments_count')
    SELECT counted.n INTO appointments FROM counted;
  END IF;
  WITH counted AS MATERIALIZED (SELECT tollgate.count_rows('public.users', 'users_count', tenant) AS n),
    gone AS (DELETE FROM tollgate.usage_changes c USING counted
             WHERE counted.n IS NOT NULL AND c.tenant_id = tenant AND c.metric = 'users_count')
  SELECT counted.n INTO people FROM counted;
  UPDATE public.usage_summary s SET patients_count = coalesce(patients, s.patients_count), users_count = coalesce(people, s.users_count),
    appointments_count = coalesce(appointments, s.appointments_count), updated_at = now()
  FROM tollgate.tenant_periods p
  WHERE s.tenant_id = tenant AND p.tenant_id = tenant AND p.period_start = s.period_start
    AND p.starts_at <= now() AND p.ends_at > now();
  PERFORM tollgate.put_usage(ARRAY[tenant],
                             ARRAY[jsonb_strip_nulls(jsonb_build_object('patients_count', patients, 'users_count', people))]);
  INSERT INTO tollgate.config_changes (kind, subject) VALUES ('tenant', tenant);
END $$;
GRANT EXECUTE ON FUNCTION tollgate.recount(text) TO tollgate_web, tollgate_collector;
