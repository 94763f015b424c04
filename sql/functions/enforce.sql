-- tollgate enforce: the database refuses a row beyond the plan (SQLSTATE TG429), of a metric that is counted from a table and has a limit.
-- What is left of a limit is cut in shares: slot 0 is the reserve, at first a half; each other slot belongs to one transaction
-- at a time. Far from the limit a transaction takes from its slot's share and waits for nobody; when that is used up it takes
-- a sixteenth of the reserve. Near the limit the reserve is the one row that all lock, and what lies in other shares is gathered, so the
-- limit is exact. The sum of the shares is always max - used, so it is also the count: nothing goes to tollgate.usage_changes where a gauge is
-- enforced, and a flag tells the collectors which to look at. While the reserve is below 0 the slots are empty and closed: what is
-- freed then goes to the reserve. docs/operating.md says what a transaction may run into.

-- The most that an enforced gauge may reach, and until when that holds. A limit that is not a number is none, so that the host's own
-- change of its subscriptions never fails for it. Both are in the units of source_scale; no limit is 10^15 rows, or 10^12 of a sum.
CREATE OR REPLACE FUNCTION tollgate.enforced_max(tenant text, what text, OUT most bigint, OUT holds timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN p.max IS NULL OR p.max < 0 OR p.mode = 'soft' OR (p.mode = 'grace' AND p.grace_until > statement_timestamp())
              THEN u.none
              ELSE least(floor((p.max + p.credits) * u.scale * CASE p.mode WHEN 'grace' THEN 1 + p.grace_percent / 100.0 ELSE 1 END), u.none) END::bigint,
         least(CASE WHEN p.expires_at > statement_timestamp() THEN p.expires_at END,
               CASE WHEN p.mode = 'grace' AND p.grace_until > statement_timestamp() THEN p.grace_until END, p.credits_end, 'infinity')
  FROM (SELECT coalesce(max(tollgate.source_scale(s)), 1) AS scale, CASE max(tollgate.source_scale(s)) WHEN 1000000 THEN 1e18 ELSE 1e15 END AS none
        FROM tollgate.usage_sources s WHERE s.metric_type = what) AS u
  LEFT JOIN (
    SELECT e.mode, e.grace_percent, e.grace_until, o.expires_at, g.credits, g.credits_end,
           CASE WHEN jsonb_typeof(l.limits -> m.limit_key) = 'number' THEN (l.limits ->> m.limit_key)::numeric END AS max
    FROM tollgate.usage_metrics m
    JOIN tollgate.subscriptions s ON s.tenant_id = tenant
    LEFT JOIN tollgate.tiers r ON r.id = s.tier_id
    LEFT JOIN tollgate.usage_limit_overrides o ON o.tenant_id = s.tenant_id AND o.limit_key = m.limit_key
    CROSS JOIN LATERAL (SELECT CASE WHEN o.max IS NOT NULL AND o.expires_at <= statement_timestamp() THEN r.limits
                                    ELSE s.usage_limits END AS limits) l
    CROSS JOIN LATERAL tollgate.limit_mode(tenant, s.tier_id, m.limit_key) e
    CROSS JOIN LATERAL (SELECT coalesce(sum(c.amount), 0) AS credits, min(c.expires_at) AS credits_end FROM tollgate.usage_credits c
      WHERE c.tenant_id = tenant AND c.limit_key = m.limit_key AND c.expires_at > statement_timestamp()) g
    WHERE m.metric_type = what) p ON true
$$;

-- How what remains is cut when it is counted or a plan changes: nobody has to wait for the reserve to begin.
CREATE OR REPLACE FUNCTION tollgate.first_share(remains bigint, slot int) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE slot WHEN 0 THEN remains - 32 * greatest(remains / 64, 0) ELSE greatest(remains / 64, 0) END
$$;

-- What lies in the shares goes into the reserve, which the caller has locked: that of slots at rest, or of all, waiting for
-- the transactions that are at them.
CREATE OR REPLACE FUNCTION tollgate.gather_shares(g integer, waiting boolean) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  slots integer[];
  total bigint;
BEGIN
  IF waiting THEN
    PERFORM FROM tollgate.enforce_shares s WHERE s.gauge = g ORDER BY s.slot FOR UPDATE;
  END IF;
  SELECT array_agg(l.slot) INTO slots FROM (
    SELECT s.slot FROM tollgate.enforce_shares s WHERE s.gauge = g AND s.slot > 0 AND s.free <> 0 FOR UPDATE SKIP LOCKED) l;
  WITH emptied AS (SELECT s.free FROM tollgate.enforce_shares s WHERE s.gauge = g AND s.slot = ANY (slots))
  UPDATE tollgate.enforce_shares s
  SET free = CASE s.slot WHEN 0 THEN s.free + (SELECT coalesce(sum(e.free), 0) FROM emptied e) ELSE 0 END
  WHERE s.gauge = g AND (s.slot = 0 OR s.slot = ANY (slots));
  SELECT s.free INTO total FROM tollgate.enforce_shares s WHERE s.gauge = g AND s.slot = 0;
  RETURN total;
END $$;

-- A plan that changed, or an override whose time is over: the reserve moves, nothing is counted.
CREATE OR REPLACE FUNCTION tollgate.move_limit(g integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  now_max record;
  remains bigint;
BEGIN
  PERFORM tollgate.gather_shares(g, true);
  SELECT m.* INTO now_max FROM tollgate.enforced_gauges e, tollgate.enforced_max(e.tenant_id, e.metric) m WHERE e.id = g;
  SELECT s.free + now_max.most - s.max INTO remains FROM tollgate.enforce_shares s WHERE s.gauge = g AND s.slot = 0;
  UPDATE tollgate.enforce_shares s SET free = tollgate.first_share(remains, s.slot), max = now_max.most,
    until = CASE WHEN s.slot > 0 AND remains < 0 THEN '-infinity' ELSE now_max.holds END
  WHERE s.gauge = g;
END $$;

CREATE OR REPLACE FUNCTION tollgate.refuse(g integer, most bigint, remains bigint, n bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  e record;
BEGIN
  SELECT x.tenant_id, m.unit, tollgate.source_scale(s) AS scale INTO e
  FROM tollgate.enforced_gauges x JOIN tollgate.usage_metrics m ON m.metric_type = x.metric
  JOIN tollgate.usage_sources s ON s.metric_type = x.metric WHERE x.id = g;
  RAISE EXCEPTION 'the plan allows % %', trim_scale(most / e.scale), e.unit USING ERRCODE = 'TG429',
    DETAIL = format('Tenant %s has %s of %s %s, %s more would be %s.', e.tenant_id, trim_scale((most - remains) / e.scale),
                    trim_scale(most / e.scale), e.unit, trim_scale(n / e.scale), trim_scale((most - remains + n) / e.scale)),
    HINT = format('%s can be added. Remove %s, or ask for a larger plan.', trim_scale(greatest(remains, 0) / e.scale), e.unit);
END $$;

-- Another slot that no transaction is at. All taken: one to wait for.
CREATE OR REPLACE FUNCTION tollgate.other_slot(g integer, first integer) RETURNS integer LANGUAGE plpgsql AS $$
BEGIN
  FOR slot IN first + 1 .. first + 31 LOOP
    IF pg_try_advisory_xact_lock(hashtext('tollgate.enforce'), g << 6 | 1 + slot % 32 & 1023) THEN
      RETURN 1 + slot % 32;
    END IF;
  END LOOP;
  RETURN first;
END $$;

-- take_share where the slot's share does not do.
CREATE OR REPLACE FUNCTION tollgate.take_reserve(g integer, mine integer, n bigint) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  reserve tollgate.enforce_shares;
  remains bigint;
  share bigint;
BEGIN
  SELECT * INTO reserve FROM tollgate.enforce_shares s WHERE s.gauge = g AND s.slot = 0 FOR UPDATE;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  IF reserve.until <= statement_timestamp() THEN
    PERFORM tollgate.move_limit(g);
    SELECT * INTO reserve FROM tollgate.enforce_shares s WHERE s.gauge = g AND s.slot = 0;
  END IF;
  remains := reserve.free - n;
  IF remains >= 0 OR n < 0 THEN
    share := greatest(remains / 16, 0);
    UPDATE tollgate.enforce_shares s SET until = reserve.until, changed = true,
      free = CASE s.slot WHEN 0 THEN remains - share WHEN mine THEN s.free + share ELSE s.free END
    WHERE s.gauge = g
      AND (s.slot = 0 OR (s.slot = mine AND share > 0) OR (reserve.free < 0 AND remains >= 0)); -- the last: all slots open
    RETURN true;
  END IF;
  remains := tollgate.gather_shares(g, false) - n;
  IF remains < 0 THEN
    remains := tollgate.gather_shares(g, true) - n;
  END IF;
  IF remains < 0 THEN
    PERFORM tollgate.refuse(g, reserve.max, remains + n, n);
  END IF;
  UPDATE tollgate.enforce_shares s SET free = remains, changed = true WHERE s.gauge = g AND s.slot = 0;
  RETURN true;
END $$;

-- n more, or -n fewer; raises TG429 when the plan has no room. False: the gauge is not enforced, n is to be counted by the
-- caller, a trigger function that runs as the owner. A slot is kept to the end of the transaction, by one of 1,024 locks: a
-- transaction over many tenants does not fill PostgreSQL's lock table, and who finds a slot's lock taken for another goes to the
-- next. Far from the limit the first UPDATE is all that refusing and counting write.
CREATE OR REPLACE FUNCTION tollgate.take_share(g integer, n bigint) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  mine integer := 1 + pg_backend_pid() % 32;
BEGIN
  IF NOT pg_try_advisory_xact_lock(hashtext('tollgate.enforce'), g << 6 | mine & 1023) THEN
    mine := tollgate.other_slot(g, mine);
  END IF;
  UPDATE tollgate.enforce_shares s SET free = s.free - n, changed = true
  WHERE s.gauge = g AND s.slot = mine AND s.free >= n AND s.until > statement_timestamp();
  IF FOUND THEN
    RETURN true;
  END IF;
  RETURN tollgate.take_reserve(g, mine, n);
END $$;

-- Counts anew; the caller holds off writers of the table.
CREATE OR REPLACE FUNCTION tollgate.fill_shares(g integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  e tollgate.enforced_gauges;
  source tollgate.usage_sources;
  tab regclass;
  used bigint;
BEGIN
  SELECT * INTO e FROM tollgate.enforced_gauges x WHERE x.id = g;
  SELECT * INTO source FROM tollgate.usage_sources s WHERE s.metric_type = e.metric;
  tab := tollgate.source_table(source, e.tenant_id);
  IF tab IS NOT NULL THEN
    used := tollgate.count_rows(tab, e.metric, e.tenant_id);
  END IF;
  used := coalesce(used, ( -- what can't be counted is what it was
    SELECT l.level * tollgate.source_scale(source) FROM tollgate.usage_levels l WHERE l.tenant_id = e.tenant_id AND l.metric_type = e.metric), 0);
  PERFORM FROM tollgate.enforce_shares s WHERE s.gauge = g ORDER BY s.slot FOR UPDATE;
  INSERT INTO tollgate.enforce_shares AS s (gauge, slot, free, max, until, changed)
  SELECT g, i, tollgate.first_share(m.most - used, i), m.most,
    CASE WHEN i > 0 AND m.most < used THEN '-infinity' ELSE m.holds END, true
  FROM generate_series(0, 32) i, tollgate.enforced_max(e.tenant_id, e.metric) m
  ON CONFLICT (gauge, slot) DO UPDATE SET free = excluded.free, max = excluded.max, until = excluded.until, changed = true;
END $$;

CREATE OR REPLACE FUNCTION tollgate.enforced_gauge(tenant text, what text) RETURNS integer LANGUAGE sql AS $$
  INSERT INTO tollgate.enforced_gauges (tenant_id, metric) VALUES (tenant, what)
  ON CONFLICT (tenant_id, metric) DO UPDATE SET metric = excluded.metric RETURNING id
$$;

-- On: the counts are taken while nobody writes there. Off: the shares go, and triggers note what changes from a new count on.
CREATE OR REPLACE FUNCTION tollgate.enforce(tenant text, enabled boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  shared tollgate.usage_sources;
  metrics text[];
BEGIN
  UPDATE tollgate.tenant_settings s SET enforced = enabled, updated_at = now() WHERE s.tenant_id = tenant;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'no such tenant' USING ERRCODE = 'TG004', DETAIL = 'tenant_id';
  END IF;
  IF enabled THEN
    PERFORM tollgate.only_countable(tenant);
    FOR shared IN SELECT * FROM tollgate.usage_sources s WHERE s.tenant_column IS NOT NULL AND tollgate.may_refuse(s.metric_type) ORDER BY s.id LOOP
      PERFORM tollgate.attach_shared(shared); -- locks out writers until the commit
      PERFORM tollgate.fill_shares(tollgate.enforced_gauge(tenant, shared.metric_type));
    END LOOP;
  ELSE
    WITH off AS (
      DELETE FROM tollgate.enforced_gauges e USING tollgate.usage_sources s
      WHERE e.tenant_id = tenant AND s.metric_type = e.metric AND s.tenant_column IS NOT NULL RETURNING e.metric)
    SELECT array_agg(o.metric) INTO metrics FROM off o;
    PERFORM tollgate.note(tenant, m, 0, 0, true) FROM unnest(metrics) m;
  END IF;
  PERFORM tollgate.attach(tenant);
END $$;

-- On where that can be; why it can't.
CREATE OR REPLACE FUNCTION tollgate.try_enforce(tenant text) RETURNS text LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM tollgate.enforce(tenant, true);
  RETURN '';
EXCEPTION WHEN SQLSTATE 'TG005' OR insufficient_privilege THEN
  RETURN sqlerrm;
END $$;

-- Whatever a limit is made of: the subscription's numbers, an override's mode and times.
CREATE OR REPLACE FUNCTION tollgate.enforced_limits_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  tenant text := CASE TG_OP WHEN 'DELETE' THEN OLD.tenant_id ELSE NEW.tenant_id END;
BEGIN
  PERFORM tollgate.move_limit(g.id)
  FROM (SELECT e.id FROM tollgate.enforced_gauges e WHERE e.tenant_id = tenant ORDER BY e.metric) g;
  RETURN NULL;
END $$;

-- What the shares of a tenant's enforced gauges say is used. A share at rest counts as looked at: whoever changes it from now on flags it
-- again. Holding its lock meanwhile sends sessions to other slots.
DROP FUNCTION IF EXISTS tollgate.take_levels(text);
CREATE OR REPLACE FUNCTION tollgate.take_levels(tenant text) RETURNS TABLE (metric text, level numeric) LANGUAGE plpgsql AS $$
BEGIN
  UPDATE tollgate.enforce_shares s SET changed = false
  FROM (SELECT x.gauge, x.slot FROM tollgate.enforced_gauges e JOIN tollgate.enforce_shares x ON x.gauge = e.id AND x.changed
        WHERE e.tenant_id = tenant -- CASE: the lock is tried for this tenant's rows alone, however the join is done
          AND CASE WHEN x.gauge = e.id THEN pg_try_advisory_xact_lock(hashtext('tollgate.enforce'), x.gauge << 6 | x.slot & 1023) END
        FOR UPDATE OF x SKIP LOCKED) r
  WHERE s.gauge = r.gauge AND s.slot = r.slot;
  RETURN QUERY SELECT l.metric, l.used / tollgate.source_scale(s)
  FROM tollgate.enforced_levels(tenant) l JOIN tollgate.usage_sources s ON s.metric_type = l.metric;
END $$;
GRANT EXECUTE ON FUNCTION tollgate.take_levels(text) TO tollgate_collector;

CREATE OR REPLACE FUNCTION tollgate.enforced_levels(tenant text) RETURNS TABLE (metric text, most bigint, used bigint, changed boolean)
LANGUAGE sql STABLE AS $$
  SELECT e.metric, max(s.max) FILTER (WHERE s.slot = 0), (max(s.max) FILTER (WHERE s.slot = 0) - sum(s.free))::bigint, bool_or(s.changed)
  FROM tollgate.enforced_gauges e JOIN tollgate.enforce_shares s ON s.gauge = e.id WHERE e.tenant_id = tenant GROUP BY e.metric
$$;
GRANT EXECUTE ON FUNCTION tollgate.enforced_levels(text) TO tollgate_collector;

-- Each limit of a metric that is counted from a table, tenant by tenant: whether the database refuses what is beyond it, and if not, why.
CREATE OR REPLACE FUNCTION tollgate.enforcement() RETURNS TABLE (tenant_id text, enforced boolean, metric text, max numeric, used numeric, why text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT t.tenant_id::text, e.metric IS NOT NULL, s.metric_type::text,
         CASE WHEN e.most < CASE WHEN s.value_column IS NULL THEN 1e15 ELSE 1e18 END THEN e.most / tollgate.source_scale(s) END, e.used / tollgate.source_scale(s),
         CASE WHEN e.metric IS NOT NULL THEN NULL WHEN NOT t.enforced THEN 'off for this tenant' WHEN p.tab IS NULL THEN 'there is no table'
              ELSE p.tab || ' ' || coalesce(tollgate.table_problem(p.tab, s.metric_type), 'has no triggers yet') END
  FROM tollgate.tenant_settings t CROSS JOIN tollgate.usage_sources s CROSS JOIN LATERAL (SELECT tollgate.source_table(s, t.tenant_id) AS tab) p
  LEFT JOIN LATERAL tollgate.enforced_levels(t.tenant_id) e ON e.metric = s.metric_type
  WHERE tollgate.may_refuse(s.metric_type)
$$;
