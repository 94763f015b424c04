-- What web sees of the host's tables, and what the collector reads of counts. The last file to run: views name functions of the others.
CREATE OR REPLACE VIEW tollgate.host_tenant WITH (security_barrier) AS
  SELECT t.id, t.name, s.time_zone, s.anchor_day, s.state, s.enforced
  FROM tollgate.tenants t LEFT JOIN tollgate.tenant_settings s ON s.tenant_id = t.id WHERE t.id = tollgate.tenant();
CREATE OR REPLACE VIEW tollgate.host_subscription WITH (security_barrier) AS
  SELECT s.tenant_id, s.tier_id, r.name AS tier_name, s.usage_limits, s.current_usage, r.limits AS tier_limits
  FROM tollgate.subscriptions s LEFT JOIN tollgate.tiers r ON r.id = s.tier_id WHERE s.tenant_id = tollgate.tenant();
GRANT SELECT ON tollgate.host_tenant, tollgate.host_subscription TO tollgate_web;
DROP VIEW IF EXISTS tollgate.host_tiers;

-- The limits of the tenant that is set, as the gates are told them: pages and reports say what a gate does.
CREATE OR REPLACE FUNCTION tollgate.told_limits() RETURNS TABLE (limit_key text, max bigint, expires bigint, after_expiry bigint, mode text,
  grace_percent int, grace_until bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT f.limit_key, f.max, f.expires, f.after_expiry, f.mode, f.grace_percent, f.grace_until FROM tollgate.feed_limits(tollgate.tenant(), '', 1) f
$$;
GRANT EXECUTE ON FUNCTION tollgate.told_limits() TO tollgate_web;

-- The two tables of the specification, wherever they are: the programs ask for them here.
CREATE OR REPLACE VIEW tollgate.summaries WITH (security_invoker = true) AS SELECT * FROM public.usage_summary;
CREATE OR REPLACE VIEW tollgate.tracked WITH (security_invoker = true) AS SELECT * FROM public.usage_tracking;
GRANT SELECT ON tollgate.summaries TO tollgate_web;

-- Counts with the bounds of their windows; ends_us: of a week and a period, else 0. used in millionths. The zone of a day and a week is
-- that of the period in which they begin.
CREATE OR REPLACE VIEW tollgate.table_counts WITH (security_invoker = true) AS
  SELECT c.tenant_id, c.metric_type, c.limit_window, c.window_start, p.ends_at AS period_ends_at, c.xid,
    CASE WHEN c.limit_window = 'period' THEN tollgate.us(p.starts_at) ELSE tollgate.us(tollgate.day_start(c.window_start, p.time_zone)) END AS starts_us,
    CASE c.limit_window WHEN 'day' THEN 0 WHEN 'week' THEN tollgate.us(tollgate.day_start(c.window_start + 7, p.time_zone))
                        ELSE tollgate.us(p.ends_at) END AS ends_us,
    least(c.used * 1000000, 9e18)::bigint AS used
  FROM tollgate.usage_counts c
  JOIN tollgate.tenant_periods p ON p.tenant_id = c.tenant_id AND
    CASE WHEN c.limit_window = 'period' THEN c.window_start = p.period_start ELSE c.window_start BETWEEN p.period_start AND p.period_end END
  UNION ALL
  SELECT h.tenant_id, h.metric_type, 'hour', NULL, NULL, h.xid, tollgate.us(h.hour), 0, least(h.used * 1000000, 9e18)::bigint
  FROM tollgate.usage_counts_hourly h;
GRANT SELECT ON tollgate.table_counts TO tollgate_collector;
