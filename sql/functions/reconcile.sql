-- Rows against aggregates, and gauges against the tables. Days are compared in spans, all tenants at once: one reading of the rows in the order that they lie in, and each
-- quarter of an hour is placed in its hour and day once a time zone. Counts and summaries follow from the days. Everything here is
-- read in the caller's snapshot: a transaction that is REPEATABLE READ, or one statement.
DROP FUNCTION IF EXISTS tollgate.reconcile(text);

-- Tenants with rows: the first local day of which no row can have been removed with its partition, its first instant, a row that lies in no
-- period (null: none does), and the last row. Rows before the first period and behind the last are in the zone of that period.
DROP FUNCTION IF EXISTS tollgate.reconcile_kept(text);
CREATE OR REPLACE FUNCTION tollgate.reconcile_kept(p_tenant text)
RETURNS TABLE (tenant_id text, day date, starts timestamptz, outside timestamptz, last timestamptz)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT t.id, k.day, s.starts, CASE WHEN u.last >= b.ends THEN u.last
                                     WHEN b.starts IS NULL OR u.first < b.starts AND s.starts < b.starts THEN u.first END, u.last
  FROM tollgate.tenants t
  CROSS JOIN LATERAL (SELECT min(x.recorded_at) AS first, max(x.recorded_at) AS last FROM public.usage_tracking x WHERE x.tenant_id = t.id) u
  LEFT JOIN tollgate.removed d ON d.what = 'rows'
  CROSS JOIN LATERAL (SELECT greatest(u.first, d.before) AS at) c
  CROSS JOIN LATERAL (SELECT min(p.starts_at) AS starts, max(p.ends_at) AS ends,
    coalesce((array_agg(p.time_zone ORDER BY p.starts_at <= c.at DESC, abs(extract(epoch FROM p.starts_at - c.at))))[1], 'UTC') AS zone
    FROM tollgate.tenant_periods p WHERE p.tenant_id = t.id) b
  CROSS JOIN LATERAL (SELECT tollgate.day_of(c.at, b.zone) AS day) f
  CROSS JOIN LATERAL (SELECT CASE WHEN d.before > tollgate.day_start(f.day, b.zone) THEN f.day + 1 ELSE f.day END AS day) k
  CROSS JOIN LATERAL (SELECT tollgate.day_start(k.day, b.zone) AS starts) s
  WHERE (p_tenant IS NULL OR t.id = p_tenant) AND u.first IS NOT NULL
$$;

-- Differences of tollgate.usage_hourly and tollgate.usage_daily in the local days from p_first to p_last, of one tenant or, null, of all.
CREATE OR REPLACE FUNCTION tollgate.reconcile_days(p_tenant text, p_first date, p_last date)
RETURNS TABLE (tenant_id text, aggregate text, metric text, at text, method text, endpoint text,
  stored numeric, counted numeric, stored_events bigint, counted_events bigint)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp
SET work_mem = '64MB' SET jit = off SET enable_mergejoin = off SET enable_nestloop = off AS $$
DECLARE
  whose text := CASE WHEN p_tenant IS NULL THEN 'IS NOT NULL' ELSE '= ' || quote_literal(p_tenant) END;
BEGIN
  RETURN QUERY EXECUTE format($sql$
  WITH kept AS MATERIALIZED (
    SELECT * FROM tollgate.reconcile_kept(%2$L)
  ), periods AS MATERIALIZED ( -- the part of each period that is compared; the first and the last have no end outwards
    SELECT p.tenant_id, p.time_zone AS zone,
           greatest(k.starts, tollgate.day_start($1, p.time_zone), CASE WHEN NOT p.is_first THEN p.starts_at END) AS from_at,
           least(tollgate.day_start($2 + 1, p.time_zone), CASE WHEN NOT p.is_last THEN p.ends_at END) AS to_at
    FROM (SELECT x.*, x.starts_at = min(x.starts_at) OVER w AS is_first, x.starts_at = max(x.starts_at) OVER w AS is_last
          FROM tollgate.tenant_periods x WHERE x.tenant_id %1$s WINDOW w AS (PARTITION BY x.tenant_id)) p
    JOIN kept k ON k.tenant_id = p.tenant_id
    WHERE (p.is_last OR p.period_end >= $1 - 2) AND (p.is_first OR p.period_start <= $2 + 2)
  ), spans AS MATERIALIZED (
    SELECT * FROM periods p WHERE p.from_at < p.to_at
  ), quarters AS MATERIALIZED ( -- no zone's day begins within one
    SELECT z.zone, d.day, q.quarter, date_bin('1 hour', q.quarter, d.starts) AS hour -- tollgate.hour_start
    FROM (SELECT DISTINCT s.zone FROM spans s) z
    CROSS JOIN LATERAL (SELECT $1 + i AS day, tollgate.day_start($1 + i, z.zone) AS starts, tollgate.day_start($1 + i + 1, z.zone) AS ends
                        FROM generate_series(0, $2 - $1) i) d
    CROSS JOIN LATERAL generate_series(d.starts, d.ends - interval '1 second', interval '15 minutes') q (quarter)
    LIMIT %8$s -- there are no more, and the planner shall know it
  ), counters AS (
    SELECT u.tenant_id, u.metric_type, q.hour, q.day,
      CASE WHEN u.metric_type = 'api_call' AND jsonb_typeof(u.metadata -> 'method') = 'string' THEN u.metadata ->> 'method' ELSE '' END AS method,
      CASE WHEN u.metric_type = 'api_call' AND jsonb_typeof(u.metadata -> 'normalized') = 'string' THEN u.metadata ->> 'normalized' ELSE '' END AS endpoint,
      sum(u.metric_value) AS total, count(*) AS events
    FROM public.usage_tracking u
    JOIN spans s ON s.tenant_id = u.tenant_id AND u.recorded_at >= s.from_at AND u.recorded_at < s.to_at
    JOIN quarters q ON q.zone = s.zone AND q.quarter = date_bin('15 minutes', u.recorded_at, '2000-01-01Z')
    WHERE %3$s AND NOT u.metric_type = ANY (%4$L) AND NOT u.metric_type = ANY (%9$L) GROUP BY 1, 2, 3, 4, 5, 6
  ), observed AS ( -- the largest, or how many distinct ones, in an hour and in a day
    SELECT u.tenant_id, u.metric_type, m.aggregation, q.hour, q.day,
      CASE m.aggregation WHEN 'max' THEN tollgate.observed_value(m.field, u.metric_value, u.metadata) END AS value,
      CASE m.aggregation WHEN 'unique' THEN tollgate.observed_hash(m.field, u.metadata) END AS hash
    FROM public.usage_tracking u JOIN tollgate.usage_metrics m ON m.metric_type = u.metric_type
    JOIN spans s ON s.tenant_id = u.tenant_id AND u.recorded_at >= s.from_at AND u.recorded_at < s.to_at
    JOIN quarters q ON q.zone = s.zone AND q.quarter = date_bin('15 minutes', u.recorded_at, '2000-01-01Z')
    WHERE %3$s AND u.metric_type = ANY (%9$L)
  ), gauge_runs AS ( -- an absolute level begins a run, changes are added to it; before the first one stands what the day before ended with
    SELECT u.tenant_id, u.metric_type, q.hour, q.day, u.recorded_at, u.id, u.metric_value, min(q.day) OVER g AS first_day,
      count(*) FILTER (WHERE u.metadata -> 'delta' IS DISTINCT FROM 'true') OVER (g ORDER BY u.recorded_at, u.id) AS run
    FROM public.usage_tracking u
    JOIN spans s ON s.tenant_id = u.tenant_id AND u.recorded_at >= s.from_at AND u.recorded_at < s.to_at
    JOIN quarters q ON q.zone = s.zone AND q.quarter = date_bin('15 minutes', u.recorded_at, '2000-01-01Z')
    WHERE %3$s AND u.metric_type = ANY (%4$L)
    WINDOW g AS (PARTITION BY u.tenant_id, u.metric_type)
  ), gauges AS ( -- an hour's and a day's last level
    SELECT g.tenant_id, g.metric_type, g.hour, g.day, g.recorded_at, g.id,
      CASE g.run WHEN 0 THEN coalesce((SELECT d.total FROM tollgate.usage_daily d WHERE d.tenant_id = g.tenant_id AND d.metric_type = g.metric_type
        AND d.day < g.first_day ORDER BY d.day DESC LIMIT 1), 0) ELSE 0 END
        + sum(g.metric_value) OVER (PARTITION BY g.tenant_id, g.metric_type, g.run ORDER BY g.recorded_at, g.id) AS metric_value
    FROM gauge_runs g
  ), stored_daily AS MATERIALIZED (
    SELECT d.* FROM tollgate.usage_daily d JOIN kept k ON k.tenant_id = d.tenant_id AND d.day >= k.day
    WHERE d.day BETWEEN $1 AND $2 AND d.tenant_id %1$s
  ), others AS MATERIALIZED ( -- days on which endpoints were put together
    SELECT d.tenant_id, d.day FROM stored_daily d WHERE d.metric_type = 'api_call' AND d.method = '' AND d.endpoint = '(other)'
  ), named AS MATERIALIZED (
    SELECT d.tenant_id, d.day, d.method, d.endpoint FROM stored_daily d JOIN others o ON o.tenant_id = d.tenant_id AND o.day = d.day
    WHERE d.metric_type = 'api_call'
  ), counted AS MATERIALIZED ( -- what was put together when it was counted stays so
    SELECT c.tenant_id, c.metric_type, c.hour, c.day, CASE WHEN x.other THEN '' ELSE c.method END AS method,
           CASE WHEN x.other THEN '(other)' ELSE c.endpoint END AS endpoint, c.total, c.events
    FROM counters c
    LEFT JOIN others o ON c.metric_type = 'api_call' AND o.tenant_id = c.tenant_id AND o.day = c.day
    LEFT JOIN named n ON n.tenant_id = o.tenant_id AND n.day = o.day AND n.method = c.method AND n.endpoint = c.endpoint
    CROSS JOIN LATERAL (SELECT o.tenant_id IS NOT NULL AND n.tenant_id IS NULL AS other) x
  ), hourly AS (
    SELECT c.tenant_id, c.metric_type, c.hour, c.method, c.endpoint, sum(c.total) AS total, sum(c.events)::bigint AS events
    FROM counted c GROUP BY 1, 2, 3, 4, 5
    UNION ALL
    SELECT g.tenant_id, g.metric_type, g.hour, '', '', (array_agg(g.metric_value ORDER BY g.recorded_at DESC, g.id DESC))[1], count(*)
    FROM gauges g GROUP BY 1, 2, 3
    UNION ALL
    SELECT o.tenant_id, o.metric_type, o.hour, '', '', coalesce(CASE o.aggregation WHEN 'max' THEN greatest(max(o.value), 0)
      ELSE tollgate.distinct_of(array_agg(DISTINCT o.hash) FILTER (WHERE o.hash IS NOT NULL)) END, 0), count(*)
    FROM observed o GROUP BY o.tenant_id, o.metric_type, o.hour, o.aggregation
  ), daily AS (
    SELECT c.tenant_id, c.metric_type, c.day, c.method, c.endpoint, sum(c.total) AS total, sum(c.events)::bigint AS events
    FROM counted c GROUP BY 1, 2, 3, 4, 5
    UNION ALL
    SELECT g.tenant_id, g.metric_type, g.day, '', '', (array_agg(g.metric_value ORDER BY g.recorded_at DESC, g.id DESC))[1], count(*)
    FROM gauges g GROUP BY 1, 2, 3
    UNION ALL
    SELECT o.tenant_id, o.metric_type, o.day, '', '', coalesce(CASE o.aggregation WHEN 'max' THEN greatest(max(o.value), 0)
      ELSE tollgate.distinct_of(array_agg(DISTINCT o.hash) FILTER (WHERE o.hash IS NOT NULL)) END, 0), count(*)
    FROM observed o GROUP BY o.tenant_id, o.metric_type, o.day, o.aggregation
  ), stored_hourly AS (
    SELECT h.* FROM tollgate.usage_hourly h JOIN spans s ON s.tenant_id = h.tenant_id AND h.hour >= s.from_at AND h.hour < s.to_at
    WHERE h.hour >= %5$L AND h.hour < %6$L AND h.hour >= %7$L AND h.tenant_id %1$s
  )
  SELECT coalesce(h.tenant_id, c.tenant_id)::text, 'hourly', coalesce(h.metric_type, c.metric_type)::text, coalesce(h.hour, c.hour)::text,
         coalesce(h.method, c.method), coalesce(h.endpoint, c.endpoint), h.total, c.total, h.events, c.events
  FROM stored_hourly h FULL JOIN (SELECT * FROM hourly x WHERE x.hour >= %7$L) c
    ON c.tenant_id = h.tenant_id AND c.metric_type = h.metric_type AND c.hour = h.hour AND c.method = h.method AND c.endpoint = h.endpoint
  WHERE h.total IS DISTINCT FROM c.total OR h.events IS DISTINCT FROM c.events
  UNION ALL
  SELECT coalesce(d.tenant_id, c.tenant_id)::text, 'daily', coalesce(d.metric_type, c.metric_type)::text, coalesce(d.day, c.day)::text,
         coalesce(d.method, c.method), coalesce(d.endpoint, c.endpoint), d.total, c.total, d.events, c.events
  FROM stored_daily d FULL JOIN daily c
    ON c.tenant_id = d.tenant_id AND c.metric_type = d.metric_type AND c.day = d.day AND c.method = d.method AND c.endpoint = d.endpoint
  WHERE d.total IS DISTINCT FROM c.total OR d.events IS DISTINCT FROM c.events
  $sql$,
    whose, p_tenant,
    format('u.recorded_at >= %L AND u.recorded_at < %L', (p_first - 1)::timestamp AT TIME ZONE 'UTC', (p_last + 2)::timestamp AT TIME ZONE 'UTC') || ' AND u.tenant_id ' || whose,
    ARRAY(SELECT m.metric_type::text FROM tollgate.usage_metrics m WHERE m.kind = 'gauge'),
    (p_first - 1)::timestamp AT TIME ZONE 'UTC', (p_last + 2)::timestamp AT TIME ZONE 'UTC',
    coalesce((SELECT r.before FROM tollgate.removed r WHERE r.what = 'hourly'), '-infinity'),
    (p_last - p_first + 1) * 120 * (SELECT count(DISTINCT p.time_zone) FROM tollgate.tenant_periods p),
    ARRAY(SELECT m.metric_type::text FROM tollgate.usage_metrics m WHERE m.kind = 'observed')) USING p_first, p_last;
END $$;

-- Differences of tollgate.usage_counts_hourly, of the hours that all of its writers count.
CREATE OR REPLACE FUNCTION tollgate.reconcile_hours(p_tenant text)
RETURNS TABLE (tenant_id text, metric text, hour timestamptz, stored numeric, counted numeric)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET work_mem = '64MB' SET jit = off AS $$
  WITH hourly AS MATERIALIZED (
    SELECT DISTINCT k.metric_type::text FROM tollgate.usage_limit_keys k JOIN tollgate.usage_metrics m ON m.metric_type = k.metric_type
    WHERE k.limit_window = 'hour' AND m.kind = 'counter'
  ), counts AS (
    SELECT u.tenant_id, u.metric_type, tollgate.hour_start(u.quarter, p.time_zone) AS hour, sum(u.total) AS total
    FROM (SELECT x.tenant_id::text, x.metric_type::text, date_bin('15 minutes', x.recorded_at, '2000-01-01Z') AS quarter, sum(x.metric_value) AS total
          FROM public.usage_tracking x JOIN hourly h ON h.metric_type = x.metric_type
          WHERE x.recorded_at > now() - interval '1 day' AND (p_tenant IS NULL OR x.tenant_id = p_tenant) GROUP BY 1, 2, 3) u
    JOIN tollgate.tenant_periods p ON p.tenant_id = u.tenant_id AND p.starts_at <= u.quarter AND p.ends_at > u.quarter
    GROUP BY 1, 2, 3
  ), stored_hours AS (
    SELECT s.* FROM tollgate.usage_counts_hourly s JOIN hourly h ON h.metric_type = s.metric_type WHERE p_tenant IS NULL OR s.tenant_id = p_tenant
  )
  SELECT coalesce(s.tenant_id, c.tenant_id)::text, coalesce(s.metric_type, c.metric_type)::text, coalesce(s.hour, c.hour), s.used, c.total
  FROM stored_hours s FULL JOIN counts c ON c.tenant_id = s.tenant_id AND c.metric_type = s.metric_type AND c.hour = s.hour
  WHERE coalesce(s.hour, c.hour) > now() - interval '20 hours' AND coalesce(s.used, 0) <> coalesce(c.total, 0)
$$;

-- Differences of what follows from the days: tollgate.usage_counts, usage_summary, current_usage, and tenants whose rows lie outside of all periods. Days
-- count as tollgate.usage_daily says, changed by p_deltas: what reconcile_days found to be missing there of a counter's day.
CREATE OR REPLACE FUNCTION tollgate.reconcile_totals(p_tenant text, p_tenants text[], p_metrics text[], p_days date[], p_deltas numeric[])
RETURNS TABLE (tenant_id text, aggregate text, metric text, at text, method text, endpoint text,
  stored numeric, counted numeric, stored_events bigint, counted_events bigint)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
SET work_mem = '64MB' SET jit = off SET enable_mergejoin = off SET enable_nestloop = off AS $$
  WITH kept AS MATERIALIZED (
    SELECT k.*, greatest(k.day, r.before::date) AS counts_day, coalesce(r.before::date, '-infinity') AS counts_from FROM tollgate.reconcile_kept(p_tenant) k
    LEFT JOIN tollgate.removed r ON r.what = 'counts'
  ), weekly AS MATERIALIZED ( -- a limit a week makes that its metric's weeks are counted
    SELECT DISTINCT k.metric_type::text FROM tollgate.usage_limit_keys k WHERE k.limit_window = 'week'
  ), period_days AS MATERIALIZED ( -- the days of each period that is compared
    SELECT p.tenant_id, p.period_start, p.period_start + i AS day FROM tollgate.tenant_periods p
    JOIN kept k ON k.tenant_id = p.tenant_id AND p.period_end >= k.day
    CROSS JOIN LATERAL generate_series(0, p.period_end - p.period_start) i
  ), days AS MATERIALIZED (
    SELECT x.tenant_id, x.metric_type, x.day, sum(x.total) AS total FROM (
      SELECT d.tenant_id::text, d.metric_type::text, d.day, d.total FROM tollgate.usage_daily d
      WHERE (p_tenant IS NULL OR d.tenant_id = p_tenant)
        AND NOT d.metric_type = ANY (ARRAY(SELECT m.metric_type FROM tollgate.usage_metrics m WHERE m.kind <> 'counter'))
      UNION ALL
      SELECT * FROM unnest(p_tenants, p_metrics, p_days, p_deltas)) x
    GROUP BY 1, 2, 3
  ), periods AS MATERIALIZED (
    SELECT d.tenant_id, d.metric_type, p.period_start, sum(d.total) AS total FROM days d
    JOIN period_days p ON p.tenant_id = d.tenant_id AND p.day = d.day GROUP BY 1, 2, 3
  ), counts AS (
    SELECT d.tenant_id, d.metric_type, 'day' AS w, d.day AS start, d.total FROM days d
    JOIN kept k ON k.tenant_id = d.tenant_id AND d.day >= k.counts_day
    UNION ALL
    SELECT p.tenant_id, p.metric_type, 'period', p.period_start, p.total FROM periods p
    JOIN kept k ON k.tenant_id = p.tenant_id AND p.period_start >= k.counts_from
    UNION ALL
    SELECT d.tenant_id, d.metric_type, 'week', tollgate.week_start(d.day), sum(d.total) FROM days d
    JOIN kept k ON k.tenant_id = d.tenant_id AND tollgate.week_start(d.day) >= k.counts_from AND d.day >= k.day
    JOIN weekly w ON w.metric_type = d.metric_type GROUP BY 1, 2, 4
  ), stored_counts AS (
    SELECT u.* FROM tollgate.usage_counts u JOIN kept k ON k.tenant_id = u.tenant_id
    WHERE u.limit_window = 'day' AND u.window_start >= k.counts_day
    UNION ALL
    SELECT u.* FROM tollgate.usage_counts u
    JOIN (SELECT DISTINCT p.tenant_id, p.period_start FROM period_days p) p ON p.tenant_id = u.tenant_id AND p.period_start = u.window_start
    JOIN kept k ON k.tenant_id = u.tenant_id AND u.window_start >= k.counts_from
    WHERE u.limit_window = 'period'
    UNION ALL
    SELECT u.* FROM tollgate.usage_counts u JOIN kept k ON k.tenant_id = u.tenant_id AND u.window_start >= greatest(k.counts_from, tollgate.week_start(k.day))
    JOIN weekly w ON w.metric_type = u.metric_type
    WHERE u.limit_window = 'week'
  ), now_in AS MATERIALIZED (
    SELECT p.tenant_id, p.period_start, tollgate.day_of(now(), p.time_zone) AS today FROM tollgate.tenant_periods p
    WHERE (p_tenant IS NULL OR p.tenant_id = p_tenant) AND p.starts_at <= now() AND p.ends_at > now()
  )
  SELECT coalesce(u.tenant_id, c.tenant_id)::text, 'counts', coalesce(u.metric_type, c.metric_type)::text, coalesce(u.window_start, c.start)::text,
         coalesce(u.limit_window, c.w), '', u.used, c.total, NULL::bigint, NULL::bigint
  FROM stored_counts u FULL JOIN counts c
    ON c.tenant_id = u.tenant_id AND c.metric_type = u.metric_type AND c.w = u.limit_window AND c.start = u.window_start
  WHERE coalesce(u.used, 0) <> coalesce(c.total, 0)
    AND NOT coalesce(u.metric_type, c.metric_type) = ANY (ARRAY(SELECT m.metric_type FROM tollgate.usage_metrics m WHERE m.kind = 'observed'))
  UNION ALL
  SELECT o.tenant_id, 'counts', o.metric, o.at, o.limit_window, '', o.stored, o.counted, NULL, NULL FROM tollgate.reconcile_observed(p_tenant) o
  UNION ALL
  SELECT h.tenant_id, 'counts', h.metric, h.hour::text, 'hour', '', h.stored, h.counted, NULL, NULL FROM tollgate.reconcile_hours(p_tenant) h
  UNION ALL
  SELECT p.tenant_id::text, 'summary', v.metric, p.period_start::text, '', '', v.stored, v.counted, NULL, NULL
  FROM (SELECT DISTINCT x.tenant_id, x.period_start FROM period_days x) p
  LEFT JOIN public.usage_summary s ON s.tenant_id = p.tenant_id AND s.period_start = p.period_start
  LEFT JOIN periods a ON a.tenant_id = p.tenant_id AND a.period_start = p.period_start AND a.metric_type = 'api_call'
  LEFT JOIN periods f ON f.tenant_id = p.tenant_id AND f.period_start = p.period_start AND f.metric_type = 'file_upload'
  CROSS JOIN LATERAL (VALUES ('api_calls_count', s.api_calls_count::numeric, floor(coalesce(a.total, 0))),
                             ('file_uploads_count', s.file_uploads_count, floor(coalesce(f.total, 0)))) AS v (metric, stored, counted)
  WHERE coalesce(v.stored, 0) <> v.counted
  UNION ALL
  SELECT s.tenant_id::text, 'current_usage', v.metric, '', '', '', v.stored, v.counted, NULL, NULL
  FROM tollgate.subscriptions s
  JOIN now_in n ON n.tenant_id = s.tenant_id
  LEFT JOIN days d ON d.tenant_id = s.tenant_id AND d.metric_type = 'api_call' AND d.day = n.today
  CROSS JOIN LATERAL (
    SELECT l.metric_type::text, (s.current_usage ->> l.metric_type)::numeric, l.level FROM tollgate.usage_levels l
    JOIN tollgate.usage_metrics m ON m.metric_type = l.metric_type AND m.derived
    WHERE l.tenant_id = s.tenant_id AND EXISTS (SELECT FROM tollgate.usage_limit_keys k WHERE k.metric_type = l.metric_type AND k.limit_window = 'none')
    UNION ALL
    SELECT 'api_calls_today', (s.current_usage ->> 'api_calls_today')::numeric, floor(coalesce(d.total, 0))) AS v (metric, stored, counted)
  WHERE coalesce(v.stored, 0) <> coalesce(v.counted, 0)
  UNION ALL
  SELECT l.tenant_id::text, 'levels', l.metric_type::text, '', '', '', l.level, d.total, NULL, NULL
  FROM tollgate.usage_levels l JOIN tollgate.usage_metrics m ON m.metric_type = l.metric_type AND NOT m.derived
  CROSS JOIN LATERAL (SELECT x.total FROM tollgate.usage_daily x WHERE x.tenant_id = l.tenant_id AND x.metric_type = l.metric_type
    ORDER BY x.day DESC LIMIT 1) d
  WHERE (p_tenant IS NULL OR l.tenant_id = p_tenant) AND d.total <> l.level
  UNION ALL
  SELECT k.tenant_id, 'periods', '', k.outside::text, '', '', NULL, NULL, NULL, NULL FROM kept k WHERE k.outside IS NOT NULL
$$;

-- The local days that are compared, of one tenant or, null, of all; null when there are no rows.
CREATE OR REPLACE FUNCTION tollgate.reconcile_range(p_tenant text, OUT first date, OUT last date)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT min(k.day), greatest(max(k.day), (max(k.last) AT TIME ZONE 'UTC')::date + 1, current_date + 1) FROM tollgate.reconcile_kept(p_tenant) k
$$;

-- Every difference of a tenant, of its gauges alone none.
CREATE OR REPLACE FUNCTION tollgate.reconcile(tenant text) RETURNS TABLE (aggregate text, metric text, at text, method text, endpoint text,
  stored numeric, counted numeric, stored_events bigint, counted_events bigint)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  WITH days AS MATERIALIZED (
    SELECT d.* FROM tollgate.reconcile_range(tenant) r CROSS JOIN LATERAL tollgate.reconcile_days(tenant, r.first, r.last) d
    WHERE r.first IS NOT NULL
  ), deltas AS (
    SELECT array_agg(d.tenant_id) AS tenants, array_agg(d.metric) AS metrics, array_agg(d.at::date) AS days,
           array_agg(coalesce(d.counted, 0) - coalesce(d.stored, 0)) AS deltas
    FROM days d LEFT JOIN tollgate.usage_metrics m ON m.metric_type = d.metric
    WHERE d.aggregate = 'daily' AND coalesce(m.kind, 'counter') = 'counter'
  )
  SELECT d.aggregate, d.metric, d.at, d.method, d.endpoint, d.stored, d.counted, d.stored_events, d.counted_events FROM days d
  UNION ALL
  SELECT t.aggregate, t.metric, t.at, t.method, t.endpoint, t.stored, t.counted, t.stored_events, t.counted_events
  FROM deltas x CROSS JOIN LATERAL tollgate.reconcile_totals(tenant, x.tenants, x.metrics, x.days, x.deltas) t
$$;

-- Gauges against the host's tables, with what waits in tollgate.usage_changes: one statement, one snapshot. An enforced gauge's shares must
-- agree too; what they say, the level is unless a collector has still to look. What can't be counted is not compared.
CREATE OR REPLACE FUNCTION tollgate.reconcile_gauges(tenant text) RETURNS TABLE (metric text, stored numeric, counted numeric)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  WITH counted AS MATERIALIZED (
    SELECT s.metric_type::text AS metric, tollgate.source_scale(s) AS scale,
           CASE WHEN t.tab IS NOT NULL THEN tollgate.count_rows(t.tab, s.metric_type, tenant) WHEN s.tenant_column IS NULL THEN 0 END AS n
    FROM tollgate.usage_sources s CROSS JOIN LATERAL (SELECT tollgate.source_table(s, tenant) AS tab) t
  )
  SELECT n.metric, k.stored, n.n / n.scale FROM counted n
  LEFT JOIN tollgate.usage_levels v ON v.tenant_id = tenant AND v.metric_type = n.metric
  LEFT JOIN tollgate.shown_levels(tenant) f ON f.metric = n.metric
  LEFT JOIN tollgate.enforced_levels(tenant) l ON l.metric = n.metric
  LEFT JOIN LATERAL (SELECT sum(c.delta) AS delta, bool_or(c.recount) AS anew FROM tollgate.usage_changes c
    WHERE c.tenant_id = tenant AND c.metric = n.metric AND l.used IS NULL) w ON true
  CROSS JOIN LATERAL (SELECT coalesce(v.level, 0) AS level, coalesce(w.delta, 0) / n.scale AS waits) x
  CROSS JOIN LATERAL (SELECT CASE WHEN l.changed OR l.used <> n.n THEN l.used / n.scale
                                  WHEN (x.level + x.waits) * n.scale <> n.n THEN x.level + x.waits ELSE coalesce(f.level, x.level) + x.waits END) k (stored)
  WHERE w.anew IS NOT true AND k.stored * n.scale <> n.n
$$;

-- Makes a tenant's aggregates say what its rows say, in one transaction. Collectors wait at tollgate.usage_hourly, the first of their aggregates, so
-- nothing is counted meanwhile. Before that, as a collector does, the periods, and the shares of an enforced tenant, which are counted anew.
CREATE OR REPLACE FUNCTION tollgate.repair(tenant text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  d record;
  gauges bigint := (SELECT count(*) FROM tollgate.reconcile_gauges(tenant));
  repaired bigint := gauges;
BEGIN
  IF gauges > 0 AND (SELECT s.enforced FROM tollgate.tenant_settings s WHERE s.tenant_id = tenant) THEN
    PERFORM tollgate.enforce(tenant, true);
  END IF;
  PERFORM tollgate.ensure_periods(tenant, least(k.starts, k.outside), greatest(now(), k.outside))
  FROM tollgate.reconcile_kept(tenant) k WHERE k.outside IS NOT NULL;
  LOCK TABLE tollgate.usage_hourly IN SHARE ROW EXCLUSIVE MODE;
  FOR d IN SELECT * FROM tollgate.reconcile(tenant) LOOP
    repaired := repaired + 1;
    -- What is kept of distinct values is read again from the rows at the next one.
    DELETE FROM tollgate.usage_distinct x WHERE x.tenant_id = tenant AND x.metric_type = d.metric AND d.aggregate IN ('hourly', 'daily', 'counts');
    CASE d.aggregate
      WHEN 'hourly' THEN
        DELETE FROM tollgate.usage_hourly h WHERE h.tenant_id = tenant AND h.metric_type = d.metric AND h.hour = d.at::timestamptz
          AND h.method = d.method AND h.endpoint = d.endpoint;
        INSERT INTO tollgate.usage_hourly (tenant_id, metric_type, hour, method, endpoint, total, events)
        SELECT tenant, d.metric, d.at::timestamptz, d.method, d.endpoint, d.counted, d.counted_events WHERE d.counted IS NOT NULL;
      WHEN 'daily' THEN
        DELETE FROM tollgate.usage_daily h WHERE h.tenant_id = tenant AND h.metric_type = d.metric AND h.day = d.at::date
          AND h.method = d.method AND h.endpoint = d.endpoint;
        INSERT INTO tollgate.usage_daily (tenant_id, metric_type, day, method, endpoint, total, events)
        SELECT tenant, d.metric, d.at::date, d.method, d.endpoint, d.counted, d.counted_events WHERE d.counted IS NOT NULL;
      WHEN 'counts' THEN
        IF d.method = 'hour' THEN
          INSERT INTO tollgate.usage_counts_hourly AS c (tenant_id, metric_type, hour, used)
          VALUES (tenant, d.metric, d.at::timestamptz, coalesce(d.counted, 0))
          ON CONFLICT (tenant_id, metric_type, hour) DO UPDATE SET used = excluded.used, xid = pg_current_xact_id();
          CONTINUE;
        END IF;
        INSERT INTO tollgate.usage_counts AS c (tenant_id, metric_type, limit_window, window_start, used)
        VALUES (tenant, d.metric, d.method, d.at::date, coalesce(d.counted, 0))
        ON CONFLICT (tenant_id, metric_type, limit_window, window_start) DO UPDATE SET used = excluded.used, xid = pg_current_xact_id();
      WHEN 'summary' THEN
        UPDATE public.usage_summary s SET updated_at = now(),
          api_calls_count = CASE d.metric WHEN 'api_calls_count' THEN d.counted ELSE s.api_calls_count END,
          file_uploads_count = CASE d.metric WHEN 'file_uploads_count' THEN d.counted ELSE s.file_uploads_count END
        WHERE s.tenant_id = tenant AND s.period_start = d.at::date;
      WHEN 'periods', 'levels' THEN -- those were made before, these follow when the days are right
        NULL;
      ELSE
        PERFORM tollgate.put_usage(ARRAY[tenant], ARRAY[jsonb_build_object(d.metric, trim_scale(coalesce(d.counted, 0)))]);
    END CASE;
  END LOOP;
  UPDATE tollgate.usage_levels l SET level = y.level, updated_at = now()
  FROM (SELECT DISTINCT ON (x.metric_type) x.metric_type AS metric, x.total AS level FROM tollgate.usage_daily x JOIN tollgate.usage_metrics m
          ON m.metric_type = x.metric_type AND m.kind = 'gauge' AND NOT m.derived
        WHERE x.tenant_id = repair.tenant ORDER BY x.metric_type, x.day DESC) y
  WHERE l.tenant_id = repair.tenant AND l.metric_type = y.metric AND l.level <> y.level;
  IF FOUND THEN
    INSERT INTO tollgate.config_changes (kind, subject) VALUES ('tenant', tenant);
  END IF;
  IF gauges > 0 THEN
    PERFORM tollgate.recount(tenant);
  END IF;
  RETURN repaired;
END $$;
