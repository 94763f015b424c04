-- The operator's lists. Callers check that it is an operator who asks.

-- Percent of a limit; the rule of limit.c.
CREATE OR REPLACE FUNCTION tollgate.percent(used numeric, max numeric) RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT CASE WHEN max IS NULL OR max < 0 THEN 0 WHEN max = 0 THEN CASE WHEN used > 0 THEN 100 ELSE 0 END
              ELSE (used / max * 100)::double precision END
$$;

-- What a tenant uses of a metric now: a gauge's level, or what is counted in the window.
CREATE OR REPLACE FUNCTION tollgate.used_of(p_tenant text, p_metric text, p_window text) RETURNS numeric
LANGUAGE sql STABLE AS $$ -- without a search_path of its own, so that it becomes part of the statement that asks
  SELECT coalesce(CASE
    WHEN p_window <> 'none' THEN tollgate.used_in(p_tenant, p_metric, p_window, now())
    ELSE (SELECT l.level FROM tollgate.usage_levels l WHERE l.tenant_id = p_tenant AND l.metric_type = p_metric) END, 0)
$$;

-- The operator's list: a limit that is not a number, or is larger than a double holds, is none and breaks no list. A row for each limit of a
-- tenant, the one with the highest percentage first, as the gates are told it (tollgate.feed_limits); one without a limit_key when there is none.
DROP FUNCTION IF EXISTS tollgate.operator_tenants(double precision, text, text, int);
CREATE OR REPLACE FUNCTION tollgate.operator_tenants(after_percent double precision, after_id text, search text, n int)
RETURNS TABLE (tenant_id text, name text, tier_id text, tier_name text, state text, percent double precision, limit_key text, limit_label text,
  gauge boolean, unenforced boolean, used numeric, max bigint, expires bigint, after_expiry bigint, mode text, grace_percent int, grace_until bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  WITH page AS MATERIALIZED (
    SELECT t.id, t.name, s.tier_id, r.name AS tier_name,
      CASE WHEN c.state = 'suspended' THEN c.state WHEN s.tenant_id IS NULL THEN 'no_subscription' ELSE 'active' END AS state,
      coalesce(h.percent, 0) AS percent, coalesce(c.enforced, false) AS enforced
    FROM tollgate.tenants t
    LEFT JOIN tollgate.tenant_settings c ON c.tenant_id = t.id
    LEFT JOIN tollgate.subscriptions s ON s.tenant_id = t.id
    LEFT JOIN tollgate.tiers r ON r.id = s.tier_id
    LEFT JOIN LATERAL (
      SELECT max(tollgate.percent(tollgate.used_of(t.id, k.metric_type, k.limit_window), m.max)) AS percent
      FROM tollgate.usage_limit_keys k
      CROSS JOIN LATERAL (SELECT CASE WHEN jsonb_typeof(s.usage_limits -> k.limit_key) = 'number'
        THEN least((s.usage_limits ->> k.limit_key)::numeric, 1000000000000000000) END AS max) m
      WHERE k.limit_window <> 'minute' AND m.max >= 0) h ON true
    WHERE (coalesce(search, '') = '' OR t.id ILIKE '%' || replace(replace(replace(search, '\', '\\'), '%', '\%'), '_', '\_') || '%'
           OR t.name ILIKE '%' || replace(replace(replace(search, '\', '\\'), '%', '\%'), '_', '\_') || '%')
      AND (after_percent IS NULL OR coalesce(h.percent, 0) < after_percent
           OR (coalesce(h.percent, 0) = after_percent AND t.id > coalesce(after_id, '')))
    ORDER BY coalesce(h.percent, 0) DESC, t.id LIMIT least(greatest(n, 1), 1001)
  )
  SELECT p.id, p.name, p.tier_id, p.tier_name, p.state, p.percent, l.limit_key, l.label, coalesce(l.gauge, false),
    coalesce(l.derived AND NOT p.enforced, false), l.used, l.max, l.expires, l.after_expiry, l.mode, l.grace_percent, l.grace_until
  FROM page p
  LEFT JOIN LATERAL (
    SELECT f.*, k.label, m.kind = 'gauge' AS gauge, EXISTS (SELECT FROM tollgate.usage_sources o WHERE o.metric_type = m.metric_type) AS derived,
      tollgate.used_of(p.id, k.metric_type, k.limit_window) AS used
    FROM tollgate.feed_limits(p.id, '', 1) f JOIN tollgate.usage_limit_keys k ON k.limit_key = f.limit_key
    JOIN tollgate.usage_metrics m ON m.metric_type = k.metric_type
    WHERE k.limit_window <> 'minute') l ON true
  ORDER BY p.percent DESC, p.id, tollgate.percent(l.used, l.max / 1000000.0) DESC, l.limit_key
$$;
GRANT EXECUTE ON FUNCTION tollgate.operator_tenants(double precision, text, text, int) TO tollgate_web;

CREATE OR REPLACE FUNCTION tollgate.operator_tenant_ids(after_id text, n int)
RETURNS TABLE (tenant_id text, name text, tier_id text, state text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT t.id, t.name, s.tier_id, coalesce(c.state, 'active') FROM tollgate.tenants t
  LEFT JOIN tollgate.tenant_settings c ON c.tenant_id = t.id LEFT JOIN tollgate.subscriptions s ON s.tenant_id = t.id
  WHERE after_id IS NULL OR t.id > after_id ORDER BY t.id LIMIT least(greatest(n, 1), 1001)
$$;
GRANT EXECUTE ON FUNCTION tollgate.operator_tenant_ids(text, int) TO tollgate_web;
