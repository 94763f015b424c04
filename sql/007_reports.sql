-- What web and pages read and call beyond their own tables.

CREATE VIEW tollgate.host_tenant WITH (security_barrier) AS
  SELECT t.id, t.name, s.time_zone, s.anchor_day, s.state, s.enforced
  FROM tenants t LEFT JOIN tenant_settings s ON s.tenant_id = t.id WHERE t.id = tollgate.tenant();
CREATE VIEW tollgate.host_subscription WITH (security_barrier) AS
  SELECT s.tenant_id, s.tier_id, r.name AS tier_name, s.usage_limits, s.current_usage, r.limits AS tier_limits
  FROM tenant_subscriptions s LEFT JOIN subscription_tiers r ON r.id = s.tier_id WHERE s.tenant_id = tollgate.tenant();
CREATE VIEW tollgate.host_tiers WITH (security_barrier) AS SELECT id, name, limits FROM subscription_tiers;
GRANT SELECT ON tollgate.host_tenant, tollgate.host_subscription, tollgate.host_tiers TO tollgate_web;

-- Percent of a limit; the rule of limit.c.
CREATE FUNCTION tollgate.percent(used numeric, max numeric) RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT CASE WHEN max IS NULL OR max < 0 THEN 0 WHEN max = 0 THEN CASE WHEN used > 0 THEN 100 ELSE 0 END
              ELSE (used / max * 100)::double precision END
$$;
GRANT EXECUTE ON FUNCTION tollgate.percent(numeric, numeric) TO tollgate_web;

-- PUT: the tier, and overrides by key; null removes an override. Of the tenant that is set: for an operator's request web
-- sets the tenant that its path names.
CREATE FUNCTION tollgate.set_subscription(tenant text, tier text, limits jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  k text;
  v jsonb;
  answer jsonb;
BEGIN
  PERFORM tollgate.only_own(tenant);
  IF NOT EXISTS (SELECT FROM tenants t WHERE t.id = tenant) THEN
    RAISE EXCEPTION 'no such tenant' USING ERRCODE = 'TG004', DETAIL = 'tenant_id';
  END IF;
  IF tier IS NOT NULL THEN
    IF NOT EXISTS (SELECT FROM subscription_tiers r WHERE r.id = tier) THEN
      RAISE EXCEPTION 'no such tier: %', left(tier, 100) USING ERRCODE = 'TG002', DETAIL = 'tier_id';
    END IF;
    INSERT INTO tenant_subscriptions AS s (tenant_id, tier_id) VALUES (tenant, tier)
    ON CONFLICT (tenant_id) DO UPDATE SET tier_id = excluded.tier_id;
  ELSIF NOT EXISTS (SELECT FROM tenant_subscriptions s WHERE s.tenant_id = tenant) THEN
    RAISE EXCEPTION 'the tenant has no subscription: name a tier' USING ERRCODE = 'TG002', DETAIL = 'tier_id';
  END IF;
  IF limits IS NOT NULL AND jsonb_typeof(limits) <> 'object' THEN
    RAISE EXCEPTION 'usage_limits is an object' USING ERRCODE = 'TG003', DETAIL = 'usage_limits';
  END IF;
  FOR k, v IN SELECT * FROM jsonb_each(coalesce(limits, '{}')) ORDER BY 1 LOOP
    IF NOT EXISTS (SELECT FROM usage_limit_keys l WHERE l.limit_key = k) THEN
      RAISE EXCEPTION 'no such limit: %', left(k, 100) USING ERRCODE = 'TG001', DETAIL = left(k, 100);
    ELSIF jsonb_typeof(v) = 'null' THEN
      UPDATE usage_limit_overrides o SET max = NULL, expires_at = NULL, updated_at = now()
      WHERE o.tenant_id = tenant AND o.limit_key = k AND (o.mode <> 'hard' OR o.grace_percent > 0);
      DELETE FROM usage_limit_overrides o WHERE o.tenant_id = tenant AND o.limit_key = k AND o.mode = 'hard';
    ELSE
      IF jsonb_typeof(v) <> 'number' THEN
        RAISE EXCEPTION '% is a number, or null for the tier''s', k USING ERRCODE = 'TG003', DETAIL = k;
      ELSIF (v::numeric < 0 AND v::numeric <> -1) OR v::numeric > 1000000000000 OR scale(trim_scale(v::numeric)) > 6 THEN
        RAISE EXCEPTION '% is -1 (unlimited), or 0 to 1000000000000 with at most six decimals', k
          USING ERRCODE = 'TG003', DETAIL = k;
      END IF;
      INSERT INTO usage_limit_overrides AS o (tenant_id, limit_key, max) VALUES (tenant, k, v::numeric)
      ON CONFLICT (tenant_id, limit_key) DO UPDATE SET max = excluded.max, expires_at = NULL, updated_at = now();
    END IF;
  END LOOP;
  PERFORM tollgate.apply_limits(tenant);
  SELECT jsonb_build_object('tenant_id', s.tenant_id, 'tier_id', s.tier_id, 'usage_limits', s.usage_limits,
                            'current_usage', s.current_usage) INTO answer
  FROM tenant_subscriptions s WHERE s.tenant_id = tenant;
  RETURN answer;
END $$;
GRANT EXECUTE ON FUNCTION tollgate.set_subscription(text, text, jsonb) TO tollgate_web;

-- What the limit table is filled from. days: starts of yesterday, today and the seven days ahead; periods: of the last one,
-- this one and the two ahead, then the end. overrides: by key max, mode, grace_percent, grace_until and expires_at
-- (microseconds), and the tier's own limit for when max expires. By id, at most `most` behind `after`; or `one` alone.
CREATE FUNCTION tollgate.table_tenants(one text DEFAULT NULL, after text DEFAULT '', most bigint DEFAULT NULL)
RETURNS TABLE (tenant_id text, tier_id text, state text,
  usage_limits jsonb, overrides jsonb, days timestamptz[], day_offsets int[], periods timestamptz[], period_offsets int[],
  patients bigint, users bigint, appointments bigint, storage bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
-- A page finds its rows by index, whatever share of all the planner takes `most` for.
SET enable_hashjoin = off SET enable_mergejoin = off AS $$
  WITH page AS MATERIALIZED (
    SELECT x.tenant_id AS id, x.state, coalesce(
      (SELECT p.time_zone FROM tenant_periods p WHERE p.tenant_id = x.tenant_id AND p.starts_at <= now() AND p.ends_at > now()
       LIMIT 1), x.time_zone) AS zone
    FROM ((SELECT * FROM tenant_settings c WHERE c.tenant_id = one) UNION ALL
          (SELECT * FROM tenant_settings c WHERE one IS NULL AND c.tenant_id > after ORDER BY c.tenant_id LIMIT most)) x
  ), zone_days AS MATERIALIZED ( -- once a zone: tenants are many, zones are few
    SELECT e.zone, array_agg(e.at ORDER BY e.at, e.i) AS days,
           array_agg(extract(epoch FROM e.at AT TIME ZONE e.zone - e.at AT TIME ZONE 'UTC')::int ORDER BY e.at, e.i) AS offsets
    FROM (SELECT i, w.zone, tollgate.day_start(w.today + i, w.zone) AS at
          FROM (SELECT z.zone, tollgate.day_of(now(), z.zone) AS today FROM (SELECT DISTINCT zone FROM page) z OFFSET 0) w,
               generate_series(-1, 7) i) e
    GROUP BY e.zone
  )
  SELECT t.id, coalesce(s.tier_id, ''),
    CASE WHEN t.state = 'suspended' THEN 'suspended' WHEN s.tenant_id IS NULL THEN 'no_subscription' ELSE 'active' END,
    coalesce(s.usage_limits, '{}'), coalesce(o.overrides, '{}'), d.days, d.offsets, p.periods, p.offsets,
    coalesce(g.patients_count, 0), coalesce(g.users_count, 0), coalesce(g.appointments_count, 0), coalesce(g.storage_bytes, 0)
  FROM page t
  JOIN zone_days d ON d.zone = t.zone
  LEFT JOIN tenant_subscriptions s ON s.tenant_id = t.id
  LEFT JOIN subscription_tiers r ON r.id = s.tier_id
  LEFT JOIN LATERAL (SELECT * FROM usage_summary u WHERE u.tenant_id = t.id ORDER BY u.period_start DESC LIMIT 1) g ON true
  LEFT JOIN LATERAL (
    SELECT jsonb_object_agg(v.limit_key, jsonb_build_object('max', v.max, 'mode', v.mode, 'grace_percent', v.grace_percent,
      'grace_until', (extract(epoch FROM v.grace_until) * 1000000)::bigint,
      'expires_at', (extract(epoch FROM v.expires_at) * 1000000)::bigint, 'tier_max', r.limits -> v.limit_key)) AS overrides
    FROM usage_limit_overrides v WHERE v.tenant_id = t.id) o ON true
  LEFT JOIN LATERAL (
    SELECT array_agg(b.at ORDER BY b.at) AS periods,
           array_agg(extract(epoch FROM b.at AT TIME ZONE b.zone - b.at AT TIME ZONE 'UTC')::int ORDER BY b.at) AS offsets
    FROM (
      SELECT x.starts_at AS at, x.time_zone AS zone FROM (
        (SELECT * FROM tenant_periods a WHERE a.tenant_id = t.id AND a.ends_at <= now() ORDER BY a.starts_at DESC LIMIT 1)
        UNION ALL
        (SELECT * FROM tenant_periods a WHERE a.tenant_id = t.id AND a.ends_at > now() ORDER BY a.starts_at LIMIT 3)) x
      UNION ALL
      (SELECT x.ends_at, x.time_zone FROM (SELECT * FROM tenant_periods a WHERE a.tenant_id = t.id AND a.ends_at > now()
        ORDER BY a.starts_at LIMIT 3) x ORDER BY x.ends_at DESC LIMIT 1)) b) p ON true
  ORDER BY t.id
$$;

-- The operator's list: every limit of each tenant as percent, the highest first. Callers check that it is an operator.
CREATE FUNCTION tollgate.operator_tenants(after_percent double precision, after_id text, search text, n int)
RETURNS TABLE (tenant_id text, name text, tier_id text, tier_name text, state text, percent double precision, limit_key text,
  used numeric, max numeric, limit_label text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT t.id, t.name, s.tier_id, r.name, coalesce(c.state, 'active'), coalesce(h.percent, 0), h.limit_key, h.used, h.max, h.label
  FROM tenants t
  LEFT JOIN tenant_settings c ON c.tenant_id = t.id
  LEFT JOIN tenant_subscriptions s ON s.tenant_id = t.id
  LEFT JOIN subscription_tiers r ON r.id = s.tier_id
  LEFT JOIN LATERAL (
    SELECT k.limit_key, k.label, v.used, (s.usage_limits ->> k.limit_key)::numeric AS max,
           tollgate.percent(v.used, (s.usage_limits ->> k.limit_key)::numeric) AS percent
    FROM usage_limit_keys k
    LEFT JOIN LATERAL (SELECT * FROM usage_summary u WHERE u.tenant_id = t.id ORDER BY u.period_start DESC LIMIT 1) g ON true
    LEFT JOIN LATERAL (SELECT p.period_start, tollgate.day_of(now(), p.time_zone) AS day FROM tenant_periods p
      WHERE p.tenant_id = t.id AND p.starts_at <= now() AND p.ends_at > now()) p ON true
    CROSS JOIN LATERAL (SELECT CASE k.metric_type WHEN 'patients_count' THEN g.patients_count WHEN 'users_count' THEN g.users_count
      WHEN 'storage_used_gb' THEN g.storage_used_gb ELSE (SELECT u.used FROM usage_counts u WHERE u.tenant_id = t.id
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

CREATE FUNCTION tollgate.operator_tenant_ids(after_id text, n int)
RETURNS TABLE (tenant_id text, name text, tier_id text, state text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT t.id, t.name, s.tier_id, coalesce(c.state, 'active') FROM tenants t
  LEFT JOIN tenant_settings c ON c.tenant_id = t.id LEFT JOIN tenant_subscriptions s ON s.tenant_id = t.id
  WHERE after_id IS NULL OR t.id > after_id ORDER BY t.id LIMIT least(greatest(n, 1), 1001)
$$;

CREATE FUNCTION tollgate.account_by_email(email text) RETURNS TABLE (id bigint, tenant_id text, role text, password_hash text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT a.id, a.tenant_id, a.role, a.password_hash FROM accounts a WHERE a.email = lower(account_by_email.email)
$$;

CREATE FUNCTION tollgate.session_open(token_hash bytea, account bigint) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
  INSERT INTO account_sessions (token_hash, account_id) VALUES (session_open.token_hash, account);
  UPDATE accounts SET signed_in_at = now() WHERE id = account;
$$;

-- seen_at is touched at most once a minute; an expired session is deleted and not found.
CREATE FUNCTION tollgate.session_find(token_hash bytea, idle_s int, absolute_s int)
RETURNS TABLE (account_id bigint, email text, role text, tenant_id text, created_at timestamptz)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
  hash bytea := session_find.token_hash;
  s account_sessions;
BEGIN
  SELECT * INTO s FROM account_sessions x WHERE x.token_hash = hash;
  IF NOT FOUND THEN
    RETURN;
  ELSIF s.seen_at < now() - make_interval(secs => idle_s) OR s.created_at < now() - make_interval(secs => absolute_s) THEN
    DELETE FROM account_sessions x WHERE x.token_hash = hash;
    RETURN;
  ELSIF s.seen_at < now() - interval '1 minute' THEN
    UPDATE account_sessions x SET seen_at = now() WHERE x.token_hash = hash;
  END IF;
  RETURN QUERY SELECT a.id, a.email, a.role, a.tenant_id::text, s.created_at FROM accounts a WHERE a.id = s.account_id;
END $$;

CREATE FUNCTION tollgate.session_close(token_hash bytea) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS
  $$ DELETE FROM account_sessions s WHERE s.token_hash = session_close.token_hash $$;
CREATE FUNCTION tollgate.session_close_all(account bigint) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS
  $$ DELETE FROM account_sessions s WHERE s.account_id = account $$;

-- A try to sign in, counted as failed until signin_ok, in one step, so that tries at the same time are all counted.
-- Returns the seconds to wait, 0: go on. An account from one address has four tries free, then waits 2, 4, 8 … seconds from the
-- last one, at most 15 minutes; an address has a hundred, for neighbours share it. Forgotten after a day.
CREATE FUNCTION tollgate.signin_try(account bytea, address bytea) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  tried record;
  wait int := 0;
  f signin_failures;
BEGIN
  FOR tried IN SELECT * FROM (VALUES (1, account, 4), (2, address, 100)) AS v (n, subject, free) ORDER BY n LOOP
    INSERT INTO signin_failures AS x (subject, failures, failed_at) VALUES (tried.subject, 0, now())
    ON CONFLICT (subject) DO UPDATE SET failures = CASE WHEN x.failed_at < now() - interval '1 day' THEN 0 ELSE x.failures END
    RETURNING * INTO f;
    IF f.failures > tried.free THEN
      wait := greatest(wait, ceil(extract(epoch FROM f.failed_at - clock_timestamp())
                                  + least(900, power(2, least(f.failures - tried.free, 20))))::int);
    END IF;
  END LOOP;
  IF wait <= 0 THEN
    UPDATE signin_failures SET failures = least(failures + 1, 1000), failed_at = clock_timestamp()
    WHERE subject IN (account, address);
  END IF;
  RETURN greatest(wait, 0);
END $$;
-- It was the right password: the account's count ends, the address gets its try back.
CREATE FUNCTION tollgate.signin_ok(account bytea, address bytea) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
  DELETE FROM signin_failures WHERE subject = account;
  UPDATE signin_failures SET failures = greatest(failures - 1, 0) WHERE subject = address;
$$;

GRANT EXECUTE ON FUNCTION tollgate.operator_tenants(double precision, text, text, int), tollgate.operator_tenant_ids(text, int),
  tollgate.account_by_email(text), tollgate.session_open(bytea, bigint), tollgate.session_find(bytea, int, int),
  tollgate.session_close(bytea), tollgate.session_close_all(bigint), tollgate.signin_try(bytea, bytea),
  tollgate.signin_ok(bytea, bytea) TO tollgate_web;

-- Secrets are web's alone, and the collector needs no passwords.
REVOKE EXECUTE ON FUNCTION tollgate.account_by_email(text), tollgate.session_open(bytea, bigint),
  tollgate.session_find(bytea, int, int) FROM tollgate_collector;
