-- What the collector reads to fill the limit table and to keep it up to date (lib/store/feed.c), typed as the table has it: times
-- are microseconds since 1970, amounts are millionths in 64 bits, and -1 is unlimited. A limit beyond them is the most that they hold; a
-- count stops below that, so that no count reaches such a limit.

DROP FUNCTION IF EXISTS tollgate.table_lines(text, text, bigint);
DROP FUNCTION IF EXISTS tollgate.table_tenants(text, text, bigint);

CREATE OR REPLACE FUNCTION tollgate.us(at timestamptz) RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE AS
  $$ SELECT (extract(epoch FROM at) * 1000000)::bigint $$;
GRANT EXECUTE ON FUNCTION tollgate.us(timestamptz) TO tollgate_collector;

-- A number of a plan; anything else is no limit.
CREATE OR REPLACE FUNCTION tollgate.millionths(v jsonb) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT CASE WHEN jsonb_typeof(v) IS DISTINCT FROM 'number' OR v::numeric < 0 THEN -1
              WHEN v::numeric > 9223372036854.775807 THEN 9223372036854775807 ELSE round(v::numeric * 1000000)::bigint END
$$;

-- The tenants of a page by id: at most `most` behind `after`, or `one` alone.
CREATE OR REPLACE FUNCTION tollgate.feed_page(one text, after text, most bigint) RETURNS TABLE (tenant_id text, state text, time_zone text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT x.tenant_id, x.state, x.time_zone
  FROM ((SELECT * FROM tollgate.tenant_settings c WHERE c.tenant_id = one AND tollgate.tenant_id_problem(one) IS NULL) UNION ALL
        (SELECT * FROM tollgate.tenant_settings c WHERE one IS NULL AND c.tenant_id > after
           AND tollgate.tenant_id_problem(c.tenant_id) IS NULL ORDER BY c.tenant_id LIMIT most)) x
$$;
GRANT EXECUTE ON FUNCTION tollgate.feed_page(text, text, bigint) TO tollgate_collector;

-- days: the starts of yesterday, today and the seven days ahead. periods: the starts of the last one, this one and the two ahead, then
-- the end; weeks: the last one, this one, the next one and its end. The offsets are the zone's at these instants, in seconds.
DROP FUNCTION IF EXISTS tollgate.feed_tenants(text, text, bigint);
CREATE OR REPLACE FUNCTION tollgate.feed_tenants(one text, after text, most bigint)
RETURNS TABLE (tenant_id text, tier_id text, state text, days bigint[], day_offsets int[], periods bigint[], period_offsets int[],
  weeks bigint[], week_offsets int[])
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
-- A page finds its rows by index, whatever share of all the planner takes `most` for.
SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
  WITH page AS MATERIALIZED (
    SELECT x.tenant_id AS id, x.state, coalesce(
      (SELECT p.time_zone FROM tollgate.tenant_periods p WHERE p.tenant_id = x.tenant_id AND p.starts_at <= now() AND p.ends_at > now()
       LIMIT 1), x.time_zone) AS zone
    FROM tollgate.feed_page(one, after, most) x
  ), zone_today AS MATERIALIZED ( -- once a zone: tenants are many, zones are few
    SELECT z.zone, tollgate.day_of(now(), z.zone) AS today FROM (SELECT DISTINCT zone FROM page) z
  ), zone_days AS MATERIALIZED (
    SELECT e.zone, array_agg(tollgate.us(e.at) ORDER BY e.at, e.i) AS days,
           array_agg(extract(epoch FROM e.at AT TIME ZONE e.zone - e.at AT TIME ZONE 'UTC')::int ORDER BY e.at, e.i) AS offsets
    FROM (SELECT i, w.zone, tollgate.day_start(w.today + i, w.zone) AS at FROM zone_today w, generate_series(-1, 7) i) e
    GROUP BY e.zone
  ), zone_weeks AS MATERIALIZED (
    SELECT e.zone, array_agg(tollgate.us(e.at) ORDER BY e.at) AS weeks,
           array_agg(extract(epoch FROM e.at AT TIME ZONE e.zone - e.at AT TIME ZONE 'UTC')::int ORDER BY e.at) AS offsets
    FROM (SELECT w.zone, tollgate.day_start(tollgate.week_start(w.today) + 7 * i, w.zone) AS at FROM zone_today w, generate_series(-1, 2) i) e
    GROUP BY e.zone
  )
  SELECT t.id, coalesce(s.tier_id, ''),
    CASE WHEN t.state = 'suspended' THEN 'suspended' WHEN s.tenant_id IS NULL THEN 'no_subscription' ELSE 'active' END,
    d.days, d.offsets, p.periods, p.offsets, w.weeks, w.offsets
  FROM page t
  JOIN zone_days d ON d.zone = t.zone
  JOIN zone_weeks w ON w.zone = t.zone
  LEFT JOIN tollgate.subscriptions s ON s.tenant_id = t.id
  LEFT JOIN LATERAL (
    SELECT array_agg(tollgate.us(b.at) ORDER BY b.at) AS periods,
           array_agg(extract(epoch FROM b.at AT TIME ZONE b.zone - b.at AT TIME ZONE 'UTC')::int ORDER BY b.at) AS offsets
    FROM (
      SELECT x.starts_at AS at, x.time_zone AS zone FROM (
        (SELECT * FROM tollgate.tenant_periods a WHERE a.tenant_id = t.id AND a.ends_at <= now() ORDER BY a.starts_at DESC LIMIT 1)
        UNION ALL
        (SELECT * FROM tollgate.tenant_periods a WHERE a.tenant_id = t.id AND a.ends_at > now() ORDER BY a.starts_at LIMIT 3)) x
      UNION ALL
      (SELECT x.ends_at, x.time_zone FROM (SELECT * FROM tollgate.tenant_periods a WHERE a.tenant_id = t.id AND a.ends_at > now()
        ORDER BY a.starts_at LIMIT 3) x ORDER BY x.ends_at DESC LIMIT 1)) b) p ON true
  ORDER BY t.id
$$;
GRANT EXECUTE ON FUNCTION tollgate.feed_tenants(text, text, bigint) TO tollgate_collector;

-- A row for each gauge that a tenant of the page has a level of, at most as large as the table holds. recorded: when the newest event in it was;
-- since: when it was last set, or 0.
DROP FUNCTION IF EXISTS tollgate.feed_levels(text, text, bigint);
CREATE OR REPLACE FUNCTION tollgate.feed_levels(one text, after text, most bigint)
RETURNS TABLE (tenant_id text, metric_type text, level bigint, recorded bigint, since bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
  SELECT t.tenant_id, l.metric_type::text, least(greatest(l.level * 1000000, -9000000000000000000), 9000000000000000000)::bigint,
    tollgate.us(l.recorded_at), coalesce(tollgate.us(l.set_at), 0)
  FROM tollgate.feed_page(one, after, most) t JOIN tollgate.usage_levels l ON l.tenant_id = t.tenant_id ORDER BY t.tenant_id
$$;
GRANT EXECUTE ON FUNCTION tollgate.feed_levels(text, text, bigint) TO tollgate_collector;

-- A row for each limit that a tenant of the page has. max holds until `expires`, from there on `after_expiry` does, which is the tier's;
-- NULL: it does not expire.
CREATE OR REPLACE FUNCTION tollgate.feed_limits(one text, after text, most bigint)
RETURNS TABLE (tenant_id text, limit_key text, max bigint, expires bigint, after_expiry bigint, mode text, grace_percent int,
  grace_until bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
  SELECT f.* FROM (
    SELECT t.tenant_id, k.limit_key::text,
      tollgate.millionths(CASE WHEN o.expires_at <= now() THEN r.limits ELSE s.usage_limits END -> k.limit_key) AS max,
      CASE WHEN o.max IS NOT NULL AND o.expires_at > now() THEN tollgate.us(o.expires_at) END,
      tollgate.millionths(r.limits -> k.limit_key) AS after_expiry, m.mode, m.grace_percent, tollgate.us(m.grace_until)
    FROM tollgate.feed_page(one, after, most) t
    JOIN tollgate.subscriptions s ON s.tenant_id = t.tenant_id
    LEFT JOIN tollgate.tiers r ON r.id = s.tier_id
    CROSS JOIN LATERAL (
      SELECT jsonb_object_keys(CASE jsonb_typeof(s.usage_limits) WHEN 'object' THEN s.usage_limits ELSE '{}' END)
      UNION SELECT v.limit_key FROM tollgate.usage_limit_overrides v WHERE v.tenant_id = t.tenant_id) n (limit_key)
    JOIN tollgate.usage_limit_keys k ON k.limit_key = n.limit_key
    LEFT JOIN tollgate.usage_limit_overrides o ON o.tenant_id = t.tenant_id AND o.limit_key = k.limit_key
    CROSS JOIN LATERAL tollgate.limit_mode(t.tenant_id, s.tier_id, k.limit_key) m) f
  WHERE f.max >= 0 OR f.after_expiry >= 0
  ORDER BY f.tenant_id
$$;
GRANT EXECUTE ON FUNCTION tollgate.feed_limits(text, text, bigint) TO tollgate_collector;

-- Counts of the windows that may still decide something: hours of the last three, as the limit table holds them, days from the day before
-- yesterday on, and weeks and periods that end after that; of metrics that have such a limit, and of days where a metric has one of a
-- day, a week or a period: days tell what other nodes add. Each is found by its key, however much history there is. ends: of a week and a
-- period, else 0. By tenant and metric, a metric's days before its other windows.
DROP FUNCTION IF EXISTS tollgate.feed_counts(text, text, bigint);
CREATE OR REPLACE FUNCTION tollgate.feed_counts(one text, after text, most bigint)
RETURNS TABLE (tenant_id text, metric_type text, limit_window text, starts bigint, ends bigint, used bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_hashjoin = off SET enable_mergejoin = off SET jit = off AS $$
  WITH page AS MATERIALIZED (
    SELECT * FROM tollgate.feed_page(one, after, most)
  ), metrics AS MATERIALIZED (
    SELECT k.metric_type, bool_or(k.limit_window IN ('day', 'week', 'period')) AS whole_days, bool_or(k.limit_window = 'week') AS weeks,
           bool_or(k.limit_window = 'hour') AS hours
    FROM tollgate.usage_limit_keys k WHERE k.limit_window IN ('hour', 'day', 'week', 'period') GROUP BY 1
  ), counts AS (
    SELECT t.tenant_id, m.metric_type, c.limit_window,
      CASE c.limit_window WHEN 'day' THEN tollgate.day_start(c.window_start, p.time_zone) ELSE p.starts_at END AS starts,
      CASE c.limit_window WHEN 'period' THEN p.ends_at END AS ends, c.used
    FROM page t
    CROSS JOIN metrics m
    JOIN tollgate.tenant_periods p ON p.tenant_id = t.tenant_id AND p.ends_at > now() - interval '2 days' AND p.starts_at < now() + interval '2 days'
    CROSS JOIN LATERAL (
      SELECT * FROM tollgate.usage_counts d WHERE d.tenant_id = t.tenant_id AND d.metric_type = m.metric_type AND d.limit_window = 'day'
        AND d.window_start BETWEEN greatest(p.period_start, current_date - 2) AND p.period_end
      UNION ALL
      SELECT * FROM tollgate.usage_counts d WHERE d.tenant_id = t.tenant_id AND d.metric_type = m.metric_type AND d.limit_window = 'period'
        AND d.window_start = p.period_start) c
    WHERE m.whole_days
    UNION ALL
    SELECT t.tenant_id, m.metric_type, 'week', tollgate.day_start(c.window_start, z.zone), tollgate.day_start(c.window_start + 7, z.zone), c.used
    FROM page t
    CROSS JOIN metrics m
    CROSS JOIN LATERAL (SELECT coalesce(
      (SELECT p.time_zone FROM tollgate.tenant_periods p WHERE p.tenant_id = t.tenant_id AND p.starts_at <= now() AND p.ends_at > now()
       LIMIT 1), t.time_zone) AS zone) z
    JOIN tollgate.usage_counts c ON c.tenant_id = t.tenant_id AND c.metric_type = m.metric_type AND c.limit_window = 'week'
      AND c.window_start BETWEEN tollgate.week_start(current_date - 9) AND current_date + 8
    WHERE m.weeks
    UNION ALL
    SELECT t.tenant_id, m.metric_type, 'hour', c.hour, NULL, c.used
    FROM page t
    CROSS JOIN metrics m
    JOIN tollgate.usage_counts_hourly c ON c.tenant_id = t.tenant_id AND c.metric_type = m.metric_type AND c.hour > now() - interval '3 hours'
    WHERE m.hours
  )
  SELECT c.tenant_id, c.metric_type::text, c.limit_window, tollgate.us(c.starts), coalesce(tollgate.us(c.ends), 0),
    least(c.used * 1000000, 9000000000000000000)::bigint
  FROM counts c ORDER BY c.tenant_id, c.metric_type, c.limit_window <> 'day', c.limit_window
$$;
GRANT EXECUTE ON FUNCTION tollgate.feed_counts(text, text, bigint) TO tollgate_collector;
