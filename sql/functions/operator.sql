-- The operator's lists. Callers check that it is an operator who asks.

-- Percent of a limit; the rule of limit.c.
CREATE OR REPLACE FUNCTION tollgate.percent(used numeric, max numeric) RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT CASE WHEN max IS NULL OR max < 0 THEN 0 WHEN max = 0 THEN CASE WHEN used > 0 THEN 100 ELSE 0 END
              ELSE (used / max * 100)::double precision END
$$;

-- The operator's list: a limit that is not a number, or is larger than a double holds, is none and breaks no list.
CREATE OR REPLACE FUNCTION tollgate.operator_tenants(after_percent double precision, after_id text, search text, n int)
RETURNS TABLE (tenant_id text, name text, tier_id text, tier_name text, state text, percent double precision, limit_key text,
  used numeric, max numeric, limit_label text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT t.id, t.name, s.tier_id, r.name, coalesce(c.state, 'active'), coalesce(h.percent, 0), h.limit_key, h.used, h.max, h.label
  FROM tollgate.tenants t
  LEFT JOIN tollgate.tenant_settings c ON c.tenant_id = t.id
  LEFT JOIN tollgate.subscriptions s ON s.tenant_id = t.id
  LEFT JOIN tollgate.tiers r ON r.id = s.tier_id
  LEFT JOIN LATERAL (
    SELECT k.limit_key, k.label, v.used, m.max, tollgate.percent(v.used, m.max) AS percent
    FROM tollgate.usage_limit_keys k
    CROSS JOIN LATERAL (SELECT CASE WHEN jsonb_typeof(s.usage_limits -> k.limit_key) = 'number'
      THEN least((s.usage_limits ->> k.limit_key)::numeric, 1000000000000000000) END AS max) m
    LEFT JOIN LATERAL (SELECT p.period_start, tollgate.day_of(now(), p.time_zone) AS day FROM tollgate.tenant_periods p
      WHERE p.tenant_id = t.id AND p.starts_at <= now() AND p.ends_at > now()) p ON true
    CROSS JOIN LATERAL (SELECT CASE
      WHEN k.limit_window = 'none' THEN (SELECT l.level FROM tollgate.usage_levels l WHERE l.tenant_id = t.id AND l.metric_type = k.metric_type)
      WHEN k.limit_window IN ('hour', 'week') THEN tollgate.used_in(t.id, k.metric_type, k.limit_window, now())
      ELSE (SELECT u.used FROM tollgate.usage_counts u WHERE u.tenant_id = t.id
        AND u.metric_type = k.metric_type AND u.limit_window = k.limit_window
        AND u.window_start = CASE k.limit_window WHEN 'day' THEN p.day ELSE p.period_start END) END AS used) w
    CROSS JOIN LATERAL (SELECT coalesce(w.used, 0) AS used) v
    WHERE k.limit_window <> 'minute' AND m.max IS NOT NULL
    ORDER BY percent DESC, k.limit_key LIMIT 1) h ON true
  WHERE (coalesce(search, '') = '' OR t.id ILIKE '%' || replace(replace(replace(search, '\', '\\'), '%', '\%'), '_', '\_') || '%'
         OR t.name ILIKE '%' || replace(replace(replace(search, '\', '\\'), '%', '\%'), '_', '\_') || '%')
    AND (after_percent IS NULL OR coalesce(h.percent, 0) < after_percent
         OR (coalesce(h.percent, 0) = after_percent AND t.id > coalesce(after_id, '')))
  ORDER BY coalesce(h.percent, 0) DESC, t.id LIMIT least(greatest(n, 1), 1001)
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
