-- What changes in the host's tables and in the configuration, for the collector. The triggers' functions run as their owner
-- with a fixed search_path: the host's roles need to know nothing of Tollgate. One row a tenant and statement.

-- The tenant of a schema's triggers comes as TG_ARGV[0]. With a second argument the same trigger also refuses (006): one
-- trigger and one count, for each of them costs a single insert about as much as the row itself.
CREATE FUNCTION tollgate.note(tenant text, what text, n bigint, made bigint DEFAULT 0, anew boolean DEFAULT false)
RETURNS void LANGUAGE plpgsql AS $$ -- plpgsql keeps its plans; its callers are the trigger functions, who run as the owner
BEGIN
  INSERT INTO public.usage_changes (tenant_id, metric, delta, created, recount) VALUES (tenant, what, n, made, anew);
END $$;

CREATE FUNCTION tollgate.patients_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  tenant text := TG_ARGV[0];
  first int := pg_backend_pid() % 32;
  delta bigint;
BEGIN
  IF TG_OP = 'INSERT' THEN
    delta := (SELECT count(*) FROM new_rows WHERE status = 'active');
  ELSIF TG_OP = 'DELETE' THEN
    delta := -(SELECT count(*) FROM old_rows WHERE status = 'active');
  ELSIF TG_OP = 'UPDATE' THEN
    delta := (SELECT count(*) FROM new_rows WHERE status = 'active') - (SELECT count(*) FROM old_rows WHERE status = 'active');
  ELSE
    IF TG_NARGS > 1 THEN
      PERFORM tollgate.refill_shares(TG_ARGV[0], 'patients_count');
    END IF;
    PERFORM tollgate.note(TG_ARGV[0], 'patients_count', 0, 0, true);
    RETURN NULL;
  END IF;
  IF delta = 0 THEN
    RETURN NULL;
  END IF;
  IF TG_NARGS > 1 THEN
    -- Far from the limit this one statement is what refusing costs, on the slot that my_slot tries first; all else is in
    -- take_share.
    IF pg_try_advisory_xact_lock(hashtext('tollgate.enforce'), hashtext(tenant) # first) THEN
      WITH taken AS (
        UPDATE enforce_shares s SET free = s.free - delta
        WHERE s.tenant_id = tenant AND s.metric = 'patients_count' AND s.slot = (1 + first)::smallint AND s.free >= delta
          AND s.until > statement_timestamp() RETURNING 1
      )
      INSERT INTO usage_changes (tenant_id, metric, delta) SELECT tenant, 'patients_count', delta FROM taken;
      IF FOUND THEN
        RETURN NULL;
      END IF;
    END IF;
    PERFORM tollgate.take_share(tenant, 'patients_count', delta);
  END IF;
  INSERT INTO usage_changes (tenant_id, metric, delta) VALUES (tenant, 'patients_count', delta);
  RETURN NULL;
END $$;

CREATE FUNCTION tollgate.appointments_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
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
END $$;

CREATE FUNCTION tollgate.users_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  c record;
BEGIN
  -- By tenant, so that two statements over the same tenants take their shares in the same order.
  IF TG_OP = 'INSERT' THEN
    FOR c IN SELECT n.tenant_id::text AS tenant, count(*) AS n FROM new_rows n GROUP BY 1 ORDER BY 1 LOOP
      PERFORM tollgate.users_by(c.tenant, c.n, TG_NARGS > 1);
    END LOOP;
  ELSIF TG_OP = 'DELETE' THEN
    FOR c IN SELECT o.tenant_id::text AS tenant, -count(*) AS n FROM old_rows o GROUP BY 1 ORDER BY 1 LOOP
      PERFORM tollgate.users_by(c.tenant, c.n, TG_NARGS > 1);
    END LOOP;
  ELSIF TG_OP = 'UPDATE' THEN
    FOR c IN SELECT d.tenant, sum(d.n)::bigint AS n FROM (SELECT tenant_id::text AS tenant, 1 AS n FROM new_rows
             UNION ALL SELECT tenant_id::text, -1 FROM old_rows) d GROUP BY 1 HAVING sum(d.n) <> 0 ORDER BY 1 LOOP
      PERFORM tollgate.users_by(c.tenant, c.n, TG_NARGS > 1);
    END LOOP;
  ELSE
    IF TG_NARGS > 1 THEN
      PERFORM tollgate.refill_shares(NULL, 'users_count');
    END IF;
    PERFORM tollgate.note(t.id, 'users_count', 0, 0, true) FROM tenants t;
  END IF;
  RETURN NULL;
END $$;

CREATE FUNCTION tollgate.users_by(tenant text, delta bigint, refuse boolean) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF tenant IS NULL THEN
    RETURN; -- the host's users that belong to nobody
  END IF;
  IF refuse THEN
    PERFORM tollgate.take_share(tenant, 'users_count', delta);
  END IF;
  INSERT INTO public.usage_changes (tenant_id, metric, delta) VALUES (tenant, 'users_count', delta);
END $$;

-- Transition tables need a trigger an event. An UPDATE that can't change a count still fires: PostgreSQL allows no column
-- list beside a transition table.
CREATE FUNCTION tollgate.add_triggers(tab regclass, fn text, tenant text, on_update boolean, refuse boolean)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  call text := format('FOR EACH STATEMENT EXECUTE FUNCTION tollgate.%I(%L%s)', fn, tenant, CASE WHEN refuse THEN ', ''refuse''' ELSE '' END);
BEGIN
  EXECUTE format('CREATE OR REPLACE TRIGGER tollgate_insert AFTER INSERT ON %s REFERENCING NEW TABLE AS new_rows %s', tab, call);
  EXECUTE format('CREATE OR REPLACE TRIGGER tollgate_delete AFTER DELETE ON %s REFERENCING OLD TABLE AS old_rows %s', tab, call);
  EXECUTE format('CREATE OR REPLACE TRIGGER tollgate_truncate AFTER TRUNCATE ON %s %s', tab, call);
  IF on_update THEN
    EXECUTE format('CREATE OR REPLACE TRIGGER tollgate_update AFTER UPDATE ON %s '
                   'REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows %s', tab, call);
  END IF;
END $$;

-- A table in a tenant's schema, quoted; null when there is none.
CREATE FUNCTION tollgate.tenant_table(tenant text, name text) RETURNS regclass
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT c.oid::regclass FROM tenant_settings s JOIN pg_namespace n ON n.nspname = s.schema_name
  JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = name AND c.relkind IN ('r', 'p')
  WHERE s.tenant_id = tenant AND s.schema_name NOT IN ('public', 'tollgate', 'pg_catalog', 'information_schema')
$$;

CREATE FUNCTION tollgate.attach(tenant text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  refuse boolean := (SELECT s.enforced FROM tenant_settings s WHERE s.tenant_id = tenant);
  tab regclass;
BEGIN
  tab := tollgate.tenant_table(tenant, 'patients');
  IF tab IS NOT NULL THEN
    PERFORM tollgate.add_triggers(tab, 'patients_changed', tenant, true, refuse);
    IF refuse THEN
      PERFORM tollgate.fill_shares(tenant, 'patients_count');
    END IF;
  END IF;
  tab := tollgate.tenant_table(tenant, 'appointments');
  IF tab IS NOT NULL THEN
    PERFORM tollgate.add_triggers(tab, 'appointments_changed', tenant, false, false);
  END IF;
END $$;

CREATE FUNCTION tollgate.detach(tenant text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  t record;
BEGIN
  FOR t IN SELECT g.tgname, g.tgrelid::regclass AS tab FROM pg_trigger g
    WHERE g.tgrelid IN (tollgate.tenant_table(tenant, 'patients'), tollgate.tenant_table(tenant, 'appointments'))
      AND g.tgname LIKE 'tollgate\_%' AND NOT g.tgisinternal LOOP
    EXECUTE format('DROP TRIGGER %I ON %s', t.tgname, t.tab);
  END LOOP;
END $$;

-- Counts anew; what waits in usage_changes for these gauges is part of the count and goes.
CREATE FUNCTION tollgate.recount(tenant text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  patients bigint := 0;
  appointments bigint := 0;
  people bigint;
  tab regclass;
BEGIN
  PERFORM tollgate.only_own(tenant);
  PERFORM tollgate.ensure_periods(tenant, now(), now());
  PERFORM FROM usage_summary u WHERE u.tenant_id = tenant ORDER BY u.period_start DESC LIMIT 1 FOR UPDATE;
  -- One statement, one snapshot: deltas that it sees are deleted with the rows that it counts.
  tab := tollgate.tenant_table(tenant, 'patients');
  IF tab IS NOT NULL THEN
    EXECUTE format('WITH gone AS (DELETE FROM usage_changes WHERE tenant_id = $1 AND metric = ''patients_count'') '
                   'SELECT count(*) FROM %s WHERE status = ''active''', tab) INTO patients USING tenant;
  END IF;
  tab := tollgate.tenant_table(tenant, 'appointments');
  IF tab IS NOT NULL THEN
    EXECUTE format('WITH kept AS (UPDATE usage_changes SET delta = 0, recount = false WHERE tenant_id = $1 '
                   'AND metric = ''appointments_count'') SELECT count(*) FROM %s', tab) INTO appointments USING tenant;
  END IF;
  WITH gone AS (DELETE FROM usage_changes c WHERE c.tenant_id = tenant AND c.metric = 'users_count')
  SELECT count(*) INTO people FROM users u WHERE u.tenant_id = tenant;
  UPDATE usage_summary s SET patients_count = patients, users_count = people, appointments_count = appointments, updated_at = now()
  FROM tenant_periods p
  WHERE s.tenant_id = tenant AND p.tenant_id = tenant AND p.period_start = s.period_start
    AND p.starts_at <= now() AND p.ends_at > now();
  UPDATE tenant_subscriptions t
  SET current_usage = t.current_usage || jsonb_build_object('patients_count', patients, 'users_count', people)
  WHERE t.tenant_id = tenant;
  INSERT INTO config_changes (kind, subject) VALUES ('tenant', tenant);
END $$;
GRANT EXECUTE ON FUNCTION tollgate.recount(text) TO tollgate_web;

SELECT tollgate.add_triggers('users', 'users_changed', '', true, false);

-- The effective plain numbers: the tier's, then overrides that are in force.
CREATE FUNCTION tollgate.apply_limits(tenant text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
  UPDATE tenant_subscriptions s SET usage_limits = e.limits
  FROM (SELECT t.tenant_id, r.limits || coalesce((SELECT jsonb_object_agg(o.limit_key, trim_scale(o.max)) FROM usage_limit_overrides o
          WHERE o.tenant_id = t.tenant_id AND o.max IS NOT NULL AND (o.expires_at IS NULL OR o.expires_at > now())), '{}') AS limits
        FROM tenant_subscriptions t JOIN subscription_tiers r ON r.id = t.tier_id WHERE t.tenant_id = tenant) e
  WHERE s.tenant_id = e.tenant_id AND s.usage_limits IS DISTINCT FROM e.limits
$$;

-- Overrides whose time is over: the tier's limits come back into usage_limits. How many tenants.
CREATE FUNCTION tollgate.expire_limits() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  ended text[];
BEGIN
  SELECT array_agg(DISTINCT o.tenant_id::text) INTO ended FROM usage_limit_overrides o
  JOIN tenant_subscriptions s ON s.tenant_id = o.tenant_id JOIN subscription_tiers r ON r.id = s.tier_id
  WHERE o.expires_at <= now() AND o.max IS NOT NULL AND s.usage_limits -> o.limit_key IS DISTINCT FROM r.limits -> o.limit_key;
  PERFORM tollgate.apply_limits(e.id) FROM unnest(ended) AS e (id);
  RETURN coalesce(cardinality(ended), 0);
END $$;

-- For the collectors: what to publish. The collector's own updates of current_usage do not fire these.
CREATE FUNCTION tollgate.config_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  subject text;
BEGIN
  IF TG_ARGV[0] = 'catalogue' THEN
    INSERT INTO config_changes (kind) VALUES ('catalogue');
  ELSIF TG_ARGV[0] = 'key' THEN
    IF TG_OP = 'DELETE' THEN
      INSERT INTO config_changes (kind, subject, hash) VALUES ('key', OLD.id, OLD.hash);
    ELSE
      INSERT INTO config_changes (kind, subject, hash) VALUES ('key', NEW.id, NEW.hash);
      IF TG_OP = 'UPDATE' AND OLD.hash <> NEW.hash THEN
        INSERT INTO config_changes (kind, subject, hash) VALUES ('key', OLD.id, OLD.hash);
      END IF;
    END IF;
  ELSE
    subject := CASE WHEN TG_OP = 'DELETE' THEN to_jsonb(OLD) ELSE to_jsonb(NEW) END ->> TG_ARGV[1];
    INSERT INTO config_changes (kind, subject) VALUES ('tenant', subject);
  END IF;
  RETURN NULL;
END $$;

CREATE TRIGGER tollgate_config AFTER INSERT OR DELETE ON tenants
  FOR EACH ROW EXECUTE FUNCTION tollgate.config_changed('tenant', 'id');
CREATE TRIGGER tollgate_config AFTER INSERT OR DELETE OR UPDATE OF time_zone, anchor_day, state ON tenant_settings
  FOR EACH ROW EXECUTE FUNCTION tollgate.config_changed('tenant', 'tenant_id');
CREATE TRIGGER tollgate_config AFTER INSERT OR DELETE OR UPDATE OF tier_id, usage_limits ON tenant_subscriptions
  FOR EACH ROW EXECUTE FUNCTION tollgate.config_changed('tenant', 'tenant_id');
CREATE TRIGGER tollgate_config AFTER INSERT OR DELETE OR UPDATE ON usage_limit_overrides
  FOR EACH ROW EXECUTE FUNCTION tollgate.config_changed('tenant', 'tenant_id');
CREATE TRIGGER tollgate_config AFTER INSERT OR DELETE OR UPDATE OF tenant_id, hash, scopes, expires_at, revoked_at ON api_keys
  FOR EACH ROW EXECUTE FUNCTION tollgate.config_changed('key');
CREATE TRIGGER tollgate_config AFTER INSERT OR DELETE OR UPDATE ON usage_metrics
  FOR EACH ROW EXECUTE FUNCTION tollgate.config_changed('catalogue');
CREATE TRIGGER tollgate_config AFTER INSERT OR DELETE OR UPDATE ON usage_limit_keys
  FOR EACH ROW EXECUTE FUNCTION tollgate.config_changed('catalogue');

-- Limits follow overrides, the tier of a subscription, and a change of the tier itself.
CREATE FUNCTION tollgate.limits_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  IF TG_TABLE_NAME = 'subscription_tiers' THEN
    PERFORM tollgate.apply_limits(s.tenant_id::text) FROM tenant_subscriptions s WHERE s.tier_id = NEW.id;
  ELSIF TG_OP = 'DELETE' THEN
    PERFORM tollgate.apply_limits(OLD.tenant_id::text);
  ELSE
    PERFORM tollgate.apply_limits(NEW.tenant_id::text);
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER tollgate_limits AFTER INSERT OR DELETE OR UPDATE ON usage_limit_overrides
  FOR EACH ROW EXECUTE FUNCTION tollgate.limits_changed();
CREATE TRIGGER tollgate_limits AFTER INSERT OR UPDATE OF tier_id ON tenant_subscriptions
  FOR EACH ROW EXECUTE FUNCTION tollgate.limits_changed();
CREATE TRIGGER tollgate_limits AFTER UPDATE OF limits ON subscription_tiers
  FOR EACH ROW EXECUTE FUNCTION tollgate.limits_changed();
