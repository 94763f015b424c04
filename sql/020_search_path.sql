-- A name without a schema is looked for in search_path, and an operator or a function in public that fits its arguments better than
-- PostgreSQL's own is taken instead. So whoever may make objects in public could put code of his own into every function here,
-- which run as tollgate_owner. From now on they look in pg_catalog alone, pg_temp last, and every table is named with its schema.
-- tests/sql/rights.test.mjs holds all functions to that. The functions do what they did.

-- Rows of tenant_periods without a gap over the span, and a summary for each that has begun. What stands is left as it is:
-- a changed zone or anchor acts from the next period, which begins where the last one ends.
CREATE OR REPLACE FUNCTION tollgate.ensure_periods(tenant text, from_at timestamptz, to_at timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  zone text;
  anchor int;
  p record;
  q record;
  next_start date;
BEGIN
  PERFORM tollgate.only_own(tenant);
  SELECT min(starts_at) AS first, max(ends_at) AS last INTO p FROM public.tenant_periods WHERE tenant_id = tenant;
  IF p.first IS NULL OR p.first > from_at OR p.last <= to_at THEN
    SELECT s.time_zone, s.anchor_day INTO zone, anchor FROM public.tenant_settings s WHERE s.tenant_id = tenant FOR UPDATE;
    IF NOT FOUND THEN
      RETURN;
    END IF;
    SELECT * INTO p FROM public.tenant_periods WHERE tenant_id = tenant ORDER BY starts_at LIMIT 1;
    IF NOT FOUND THEN
      q := tollgate.period_of(zone, anchor, from_at);
      INSERT INTO public.tenant_periods VALUES
        (tenant, q.period_start, q.period_end, q.starts_at, q.ends_at, zone, q.billing_period);
      SELECT * INTO p FROM public.tenant_periods WHERE tenant_id = tenant;
    END IF;
    WHILE p.starts_at > from_at LOOP
      q := tollgate.period_of(p.time_zone, extract(day FROM p.period_start)::int, p.starts_at - interval '1 microsecond');
      IF anchor >= extract(day FROM p.period_start) THEN -- the stored start may be a clamped one
        q := tollgate.period_of(p.time_zone, anchor, p.starts_at - interval '1 microsecond');
      END IF;
      INSERT INTO public.tenant_periods VALUES
        (tenant, q.period_start, p.period_start - 1, q.starts_at, p.starts_at, p.time_zone, q.billing_period);
      SELECT * INTO p FROM public.tenant_periods WHERE tenant_id = tenant ORDER BY starts_at LIMIT 1;
    END LOOP;
    SELECT * INTO p FROM public.tenant_periods WHERE tenant_id = tenant ORDER BY starts_at DESC LIMIT 1;
    WHILE p.ends_at <= to_at LOOP
      next_start := tollgate.anchor_after(p.period_end + 1, anchor);
      INSERT INTO public.tenant_periods VALUES
        (tenant, p.period_end + 1, next_start - 1, p.ends_at, tollgate.day_start(next_start, zone), zone,
         to_char(p.period_end + 1, 'YYYY-MM'));
      SELECT * INTO p FROM public.tenant_periods WHERE tenant_id = tenant ORDER BY starts_at DESC LIMIT 1;
    END LOOP;
  END IF;
  -- Zero counters; the newest period goes on with the gauges as they are.
  INSERT INTO public.usage_summary (tenant_id, period_start, period_end, patients_count, users_count, storage_used_gb,
                             appointments_count, storage_bytes)
  SELECT tenant, t.period_start, t.period_end, coalesce(l.patients_count, 0), coalesce(l.users_count, 0),
         coalesce(l.storage_used_gb, 0), coalesce(l.appointments_count, 0), coalesce(l.storage_bytes, 0)
  FROM public.tenant_periods t
  LEFT JOIN LATERAL (SELECT * FROM public.usage_summary u WHERE u.tenant_id = tenant AND u.period_start < t.period_start
                     ORDER BY u.period_start DESC LIMIT 1) l ON true
  WHERE t.tenant_id = tenant AND t.starts_at <= now() AND t.ends_at > from_at
    AND NOT EXISTS (SELECT FROM public.usage_summary u WHERE u.tenant_id = tenant AND u.period_start = t.period_start)
  ORDER BY t.period_start
  ON CONFLICT DO NOTHING;
END $$;

-- Periods that have not begun follow the new zone and anchor.
CREATE OR REPLACE FUNCTION tollgate.settings_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  -- The view reads a file a zone, 0.1 s and more: one that another tenant has was looked up already.
  IF NOT EXISTS (SELECT FROM public.tenant_settings s WHERE s.time_zone = NEW.time_zone AND s.tenant_id <> NEW.tenant_id)
     AND NOT EXISTS (SELECT FROM pg_timezone_names WHERE name = NEW.time_zone) THEN
    RAISE EXCEPTION 'no such time zone: %', NEW.time_zone USING ERRCODE = 'TG003', DETAIL = 'time_zone',
      HINT = 'Use an IANA name such as Europe/Berlin.';
  END IF;
  IF TG_OP = 'UPDATE' THEN
    DELETE FROM public.tenant_periods WHERE tenant_id = NEW.tenant_id AND starts_at > now();
  END IF;
  RETURN NULL;
END $$;

-- Monthly partitions, UTC, that cover the span.
CREATE OR REPLACE FUNCTION tollgate.ensure_partitions(from_at timestamptz, to_at timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  month timestamp := date_trunc('month', from_at AT TIME ZONE 'UTC');
  name text;
BEGIN
  WHILE month <= to_at AT TIME ZONE 'UTC' LOOP
    name := 'usage_tracking_' || to_char(month, 'YYYY_MM');
    IF to_regclass('public.' || name) IS NULL THEN
      PERFORM pg_advisory_xact_lock(hashtext('tollgate.partitions'));
      IF to_regclass('public.' || name) IS NULL THEN
        EXECUTE format('CREATE TABLE public.%I PARTITION OF public.usage_tracking FOR VALUES FROM (%L) TO (%L)', name,
                       month AT TIME ZONE 'UTC', (month + interval '1 month') AT TIME ZONE 'UTC');
        PERFORM tollgate.secure(format('public.%I', name)::regclass);
      END IF;
    END IF;
    month := month + interval '1 month';
  END LOOP;
END $$;

-- Drops the partitions that ended more than keep_months ago; how many.
CREATE OR REPLACE FUNCTION tollgate.drop_partitions(keep_months int) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  name text;
  dropped int := 0;
BEGIN
  IF keep_months < 1 THEN
    RAISE EXCEPTION 'at least one month is kept' USING ERRCODE = 'TG003', DETAIL = 'keep_months';
  END IF;
  FOR name IN
    SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'public.usage_tracking'::regclass AND c.relname ~ '^usage_tracking_\d{4}_\d{2}$'
      AND to_date(right(c.relname, 7), 'YYYY_MM') < date_trunc('month', now() AT TIME ZONE 'UTC') - make_interval(months => keep_months)
    ORDER BY 1
  LOOP
    EXECUTE format('DROP TABLE public.%I', name);
    dropped := dropped + 1;
  END LOOP;
  RETURN dropped;
END $$;

-- A table in a tenant's schema, quoted; null when there is none.
CREATE OR REPLACE FUNCTION tollgate.tenant_table(tenant text, name text) RETURNS regclass
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT c.oid::regclass FROM public.tenant_settings s JOIN pg_namespace n ON n.nspname = s.schema_name
  JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = name AND c.relkind IN ('r', 'p')
  WHERE s.tenant_id = tenant AND s.schema_name NOT IN ('public', 'tollgate', 'pg_catalog', 'information_schema')
$$;

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

-- What the table lets in now, by the rules of limit.c, and until when that holds.
CREATE OR REPLACE FUNCTION tollgate.enforced_max(tenant text, what text, OUT most bigint, OUT holds timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN p.max IS NULL OR p.max < 0 OR p.mode = 'soft' OR (p.mode = 'grace' AND p.grace_until > statement_timestamp())
              THEN 1000000000000000
              ELSE floor(p.max * CASE p.mode WHEN 'grace' THEN 1 + p.grace_percent / 100.0 ELSE 1 END) END::bigint,
         least(CASE WHEN p.expires_at > statement_timestamp() THEN p.expires_at END,
               CASE WHEN p.mode = 'grace' AND p.grace_until > statement_timestamp() THEN p.grace_until END, 'infinity')
  FROM (SELECT 1) AS one
  LEFT JOIN (
    SELECT o.mode, o.grace_percent, o.grace_until, CASE WHEN o.max IS NOT NULL THEN o.expires_at END AS expires_at,
           (CASE WHEN o.max IS NOT NULL AND o.expires_at <= statement_timestamp() THEN r.limits ELSE s.usage_limits END
            ->> m.limit_key)::numeric AS max
    FROM public.usage_metrics m
    JOIN public.tenant_subscriptions s ON s.tenant_id = tenant
    LEFT JOIN public.subscription_tiers r ON r.id = s.tier_id
    LEFT JOIN public.usage_limit_overrides o ON o.tenant_id = s.tenant_id AND o.limit_key = m.limit_key
    WHERE m.metric_type = what) p ON true
$$;

-- The operator's list: every limit of each tenant as percent, the highest first. Callers check that it is an operator.
CREATE OR REPLACE FUNCTION tollgate.operator_tenants(after_percent double precision, after_id text, search text, n int)
RETURNS TABLE (tenant_id text, name text, tier_id text, tier_name text, state text, percent double precision, limit_key text,
  used numeric, max numeric, limit_label text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT t.id, t.name, s.tier_id, r.name, coalesce(c.state, 'active'), coalesce(h.percent, 0), h.limit_key, h.used, h.max, h.label
  FROM public.tenants t
  LEFT JOIN public.tenant_settings c ON c.tenant_id = t.id
  LEFT JOIN public.tenant_subscriptions s ON s.tenant_id = t.id
  LEFT JOIN public.subscription_tiers r ON r.id = s.tier_id
  LEFT JOIN LATERAL (
    SELECT k.limit_key, k.label, v.used, (s.usage_limits ->> k.limit_key)::numeric AS max,
           tollgate.percent(v.used, (s.usage_limits ->> k.limit_key)::numeric) AS percent
    FROM public.usage_limit_keys k
    LEFT JOIN LATERAL (SELECT * FROM public.usage_summary u WHERE u.tenant_id = t.id ORDER BY u.period_start DESC LIMIT 1) g ON true
    LEFT JOIN LATERAL (SELECT p.period_start, tollgate.day_of(now(), p.time_zone) AS day FROM public.tenant_periods p
      WHERE p.tenant_id = t.id AND p.starts_at <= now() AND p.ends_at > now()) p ON true
    CROSS JOIN LATERAL (SELECT CASE k.metric_type WHEN 'patients_count' THEN g.patients_count WHEN 'users_count' THEN g.users_count
      WHEN 'storage_used_gb' THEN g.storage_used_gb ELSE (SELECT u.used FROM public.usage_counts u WHERE u.tenant_id = t.id
        AND u.metric_type = k.metric_type AND u.limit_window = k.limit_window
        AND u.window_start = CASE k.limit_window WHEN 'day' THEN p.day ELSE p.period_start END) END AS used) w
    CROSS JOIN LATERAL (SELECT coalesce(w.used, 0) AS used) v
    WHERE k.limit_window <> 'minute' AND s.usage_limits ? k.limit_key
    ORDER BY percent DESC, k.limit_key LIMIT 1) h ON true
  WHERE (coalesce(search, '') = '' OR t.id ILIKE '%' || replace(replace(replace(search, '\', '\\'), '%', '\%'), '_', '\_') || '%'
         OR t.name ILIKE '%' || replace(replace(replace(search, '\', '\\'), '%', '\%'), '_', '\_') || '%')
    AND (after_percent IS NULL OR coalesce(h.percent, 0) < after_percent
         OR (coalesce(h.percent, 0) = after_percent AND t.id > coalesce(after_id, '')))
  ORDER BY coalesce(h.percent, 0) DESC, t.id LIMIT least(greatest(n, 1), 1001)
$$;

CREATE OR REPLACE FUNCTION tollgate.operator_tenant_ids(after_id text, n int)
RETURNS TABLE (tenant_id text, name text, tier_id text, state text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT t.id, t.name, s.tier_id, coalesce(c.state, 'active') FROM public.tenants t
  LEFT JOIN public.tenant_settings c ON c.tenant_id = t.id LEFT JOIN public.tenant_subscriptions s ON s.tenant_id = t.id
  WHERE after_id IS NULL OR t.id > after_id ORDER BY t.id LIMIT least(greatest(n, 1), 1001)
$$;

CREATE OR REPLACE FUNCTION tollgate.account_by_email(email text) RETURNS TABLE (id bigint, tenant_id text, role text, password_hash text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT a.id, a.tenant_id, a.role, a.password_hash FROM public.accounts a WHERE a.email = lower(account_by_email.email)
$$;

CREATE OR REPLACE FUNCTION tollgate.session_open(token_hash bytea, account bigint) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  INSERT INTO public.account_sessions (token_hash, account_id) VALUES (session_open.token_hash, account);
  UPDATE public.accounts SET signed_in_at = now() WHERE id = account;
$$;

-- seen_at is touched at most once a minute; an expired session is deleted and not found.
CREATE OR REPLACE FUNCTION tollgate.session_find(token_hash bytea, idle_s int, absolute_s int)
RETURNS TABLE (account_id bigint, email text, role text, tenant_id text, created_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  hash bytea := session_find.token_hash;
  s public.account_sessions;
BEGIN
  SELECT * INTO s FROM public.account_sessions x WHERE x.token_hash = hash;
  IF NOT FOUND THEN
    RETURN;
  ELSIF s.seen_at < now() - make_interval(secs => idle_s) OR s.created_at < now() - make_interval(secs => absolute_s) THEN
    DELETE FROM public.account_sessions x WHERE x.token_hash = hash;
    RETURN;
  ELSIF s.seen_at < now() - interval '1 minute' THEN
    UPDATE public.account_sessions x SET seen_at = now() WHERE x.token_hash = hash;
  END IF;
  RETURN QUERY SELECT a.id, a.email, a.role, a.tenant_id::text, s.created_at FROM public.accounts a WHERE a.id = s.account_id;
END $$;

CREATE OR REPLACE FUNCTION tollgate.session_close(token_hash bytea) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
  $$ DELETE FROM public.account_sessions s WHERE s.token_hash = session_close.token_hash $$;

CREATE OR REPLACE FUNCTION tollgate.session_close_all(account bigint) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
  $$ DELETE FROM public.account_sessions s WHERE s.account_id = account $$;

-- A try to sign in, counted as failed until signin_ok, in one step, so that tries at the same time are all counted.
-- Returns the seconds to wait, 0: go on. An account from one address has four tries free, then waits 2, 4, 8 … seconds from the
-- last one, at most 15 minutes; an address has a hundred, for neighbours share it. Forgotten after a day.
CREATE OR REPLACE FUNCTION tollgate.signin_try(account bytea, address bytea) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  tried record;
  wait int := 0;
  f public.signin_failures;
BEGIN
  FOR tried IN SELECT * FROM (VALUES (1, account, 4), (2, address, 100)) AS v (n, subject, free) ORDER BY n LOOP
    INSERT INTO public.signin_failures AS x (subject, failures, failed_at) VALUES (tried.subject, 0, now())
    ON CONFLICT (subject) DO UPDATE SET failures = CASE WHEN x.failed_at < now() - interval '1 day' THEN 0 ELSE x.failures END
    RETURNING * INTO f;
    IF f.failures > tried.free THEN
      wait := greatest(wait, ceil(extract(epoch FROM f.failed_at - clock_timestamp())
                                  + least(900, power(2, least(f.failures - tried.free, 20))))::int);
    END IF;
  END LOOP;
  IF wait <= 0 THEN
    UPDATE public.signin_failures SET failures = least(failures + 1, 1000), failed_at = clock_timestamp()
    WHERE subject IN (account, address);
  END IF;
  RETURN greatest(wait, 0);
END $$;

-- It was the right password: the account's count ends, the address gets its try back.
CREATE OR REPLACE FUNCTION tollgate.signin_ok(account bytea, address bytea) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  DELETE FROM public.signin_failures WHERE subject = account;
  UPDATE public.signin_failures SET failures = greatest(failures - 1, 0) WHERE subject = address;
$$;

-- A new password of whoever's session this is; all sessions of the account end with it.
CREATE OR REPLACE FUNCTION tollgate.account_password(token_hash bytea, password_hash text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  account bigint := (SELECT s.account_id FROM public.account_sessions s WHERE s.token_hash = account_password.token_hash);
BEGIN
  UPDATE public.accounts SET password_hash = account_password.password_hash WHERE id = account;
  DELETE FROM public.account_sessions s WHERE s.account_id = account;
END $$;

-- The same password at another cost; the old hash has to stand there still, so that no newer password is undone.
CREATE OR REPLACE FUNCTION tollgate.account_renew_hash(account bigint, old_hash text, new_hash text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
  $$ UPDATE public.accounts SET password_hash = new_hash WHERE id = account AND password_hash = old_hash $$;

-- Every node seen in the last `steps` of `step`, the last `most` that were; of each all steps, ascending, the one that runs now
-- last. A step without a sample has samples 0. A node's first sample of all is where counting begins: nothing grew before it.
CREATE OR REPLACE FUNCTION tollgate.operator_node_steps(step interval, steps int, most int)
RETURNS TABLE (node uuid, host text, started_at timestamptz, seen_at timestamptz, starts_at timestamptz, samples bigint,
  admitted bigint, passed bigint, refused bigint, latency bigint[], batches bigint, rows bigint, rejected bigint, degraded bigint,
  lag_seconds double precision, spool_events bigint, spool_bytes bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS $$
  WITH span AS (
    SELECT date_bin(step, now(), '2000-01-01Z') - step * (steps - 1) AS first
  ), nodes AS (
    SELECT n.node, n.host, n.started_at, n.seen_at FROM public.collector_nodes n, span WHERE n.seen_at >= span.first
    ORDER BY n.seen_at DESC, n.node LIMIT least(greatest(most, 1), 100)
  ), seen AS MATERIALIZED (
    SELECT s.node, s.sampled_at, s.table_id, s.collecting_since, s.lag_seconds, s.spool_events, s.spool_bytes,
           date_bin(step, s.sampled_at, '2000-01-01Z') AS starts
    FROM nodes n CROSS JOIN span JOIN public.node_samples s ON s.node = n.node AND s.sampled_at >= coalesce(
      (SELECT max(x.sampled_at) FROM public.node_samples x WHERE x.node = n.node AND x.sampled_at < span.first), span.first)
  ), ends AS ( -- the last of each step and of whatever counted, and each node's first
    SELECT e.node, e.starts, max(e.sampled_at) AS sampled_at FROM seen e GROUP BY e.node, e.starts, e.table_id, e.collecting_since
    UNION
    SELECT e.node, min(e.starts), min(e.sampled_at) FROM seen e GROUP BY 1
  ), pairs AS (
    SELECT e.starts, a, b, a.table_id = b.table_id AS same_table, a.collecting_since = b.collecting_since AS same_collector
    FROM (SELECT x.*, lag(x.sampled_at) OVER (PARTITION BY x.node ORDER BY x.sampled_at) AS before FROM ends x) e
    JOIN public.node_samples a ON a.node = e.node AND a.sampled_at = e.sampled_at
    LEFT JOIN public.node_samples b ON b.node = e.node AND b.sampled_at = e.before
  ), growth AS (
    SELECT (p.a).node, p.starts,
      sum(tollgate.grown((p.a).admitted, (p.b).admitted, same_table))::bigint AS admitted,
      sum(tollgate.grown((p.a).passed, (p.b).passed, same_table))::bigint AS passed,
      sum(tollgate.grown((p.a).refused, (p.b).refused, same_table))::bigint AS refused,
      sum(tollgate.grown((p.a).batches, (p.b).batches, same_collector))::bigint AS batches,
      sum(tollgate.grown((p.a).rows, (p.b).rows, same_collector))::bigint AS rows,
      sum(tollgate.grown((p.a).rejected, (p.b).rejected, same_collector))::bigint AS rejected,
      sum(tollgate.grown((p.a).degraded, (p.b).degraded, same_collector))::bigint AS degraded
    FROM pairs p GROUP BY 1, 2
  ), buckets AS (
    SELECT c.node, c.starts, array_agg(c.calls ORDER BY c.bucket) AS latency FROM (
      SELECT (p.a).node, p.starts, l.bucket, sum(tollgate.grown(l.calls, (p.b).latency[l.bucket], same_table))::bigint AS calls
      FROM pairs p CROSS JOIN unnest((p.a).latency) WITH ORDINALITY AS l (calls, bucket) GROUP BY 1, 2, 3) c
    GROUP BY 1, 2
  ), worst AS (
    SELECT e.node, e.starts, count(*) AS samples, max(e.lag_seconds) AS lag_seconds, max(e.spool_events) AS spool_events,
           max(e.spool_bytes) AS spool_bytes FROM seen e GROUP BY 1, 2
  )
  SELECT n.node, n.host, n.started_at, n.seen_at, g.at, coalesce(w.samples, 0), r.admitted, r.passed, r.refused, l.latency, r.batches,
         r.rows, r.rejected, r.degraded, w.lag_seconds, w.spool_events, w.spool_bytes
  FROM nodes n CROSS JOIN span CROSS JOIN generate_series(span.first, now(), step) AS g (at)
  LEFT JOIN worst w ON w.node = n.node AND w.starts = g.at LEFT JOIN growth r ON r.node = n.node AND r.starts = g.at
  LEFT JOIN buckets l ON l.node = n.node AND l.starts = g.at
  ORDER BY n.seen_at DESC, n.node, g.at
$$;

-- A node's newest sample that is at least `age` old: what "now" is compared with.
CREATE OR REPLACE FUNCTION tollgate.operator_node_sample(node uuid, age interval)
RETURNS TABLE (age_seconds double precision, table_id bigint, admitted bigint, passed bigint, refused bigint, latency bigint[])
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT extract(epoch FROM now() - s.taken_at)::double precision, s.table_id, s.admitted, s.passed, s.refused, s.latency
  FROM public.node_samples s WHERE s.node = operator_node_sample.node AND s.taken_at <= now() - age AND s.sampled_at > now() - interval '1 hour'
  ORDER BY s.sampled_at DESC LIMIT 1
$$;

CREATE OR REPLACE FUNCTION tollgate.patients_by(tenant text, g integer, delta bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF delta <> 0 AND (g IS NULL OR NOT tollgate.take_share(g, delta)) THEN
    INSERT INTO public.usage_changes (tenant_id, metric, delta) VALUES (tenant, 'patients_count', delta);
  END IF;
END $$;
