-- The books against the rows. tollgate.reconcile compares, in one statement and so in one snapshot; tollgate.repair makes
-- the books say what the rows say. Both for the owner alone: the command line.

-- The first local day of which no row can have been dropped with its partition; null when the tenant has no rows.
CREATE OR REPLACE FUNCTION tollgate.first_kept_day(tenant text) RETURNS date LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN f.dropped > tollgate.day_start(f.day, f.zone) THEN f.day + 1 ELSE f.day END
  FROM (
    SELECT tollgate.day_of(r.at, z.zone) AS day, z.zone, r.dropped
    FROM (SELECT greatest(u.first, d.before) AS at, d.before AS dropped
          FROM (SELECT min(x.recorded_at) AS first FROM public.usage_tracking x WHERE x.tenant_id = tenant) u
          LEFT JOIN tollgate.rows_dropped d ON true WHERE u.first IS NOT NULL) r
    CROSS JOIN LATERAL (SELECT p.time_zone AS zone FROM tollgate.tenant_periods p WHERE p.tenant_id = tenant
                        AND p.starts_at <= r.at ORDER BY p.starts_at DESC LIMIT 1) z) f
$$;

-- Every difference: which book ('hourly', 'daily', 'counts', 'summary', 'current_usage'), its key, what it says and what it should.
CREATE OR REPLACE FUNCTION tollgate.reconcile(tenant text) RETURNS TABLE (book text, metric text, at text, method text, endpoint text,
  stored numeric, counted numeric, stored_events bigint, counted_events bigint) LANGUAGE sql STABLE AS $$
  WITH kept AS MATERIALIZED (
    SELECT f.day, tollgate.day_start(f.day, p.time_zone) AS at FROM (SELECT tollgate.first_kept_day(tenant) AS day) f
    JOIN tollgate.tenant_periods p ON p.tenant_id = tenant AND f.day BETWEEN p.period_start AND p.period_end
  ), quarters AS MATERIALIZED (
    SELECT u.metric_type, date_bin('15 minutes', u.recorded_at, '2000-01-01Z') AS quarter,
      CASE WHEN u.metric_type = 'api_call' AND jsonb_typeof(u.metadata -> 'method') = 'string' THEN u.metadata ->> 'method' ELSE '' END AS method,
      CASE WHEN u.metric_type = 'api_call' AND jsonb_typeof(u.metadata -> 'normalized') = 'string' THEN u.metadata ->> 'normalized' ELSE '' END AS endpoint,
      sum(u.metric_value) AS total, count(*) AS events, (array_agg(u.metric_value ORDER BY u.recorded_at DESC, u.id DESC))[1] AS level
    FROM public.usage_tracking u WHERE u.tenant_id = tenant AND u.recorded_at >= (SELECT k.at FROM kept k)
    GROUP BY 1, 2, 3, 4
  ), placed AS MATERIALIZED (
    SELECT q.*, tollgate.hour_start(q.quarter, p.time_zone) AS hour, tollgate.day_of(q.quarter, p.time_zone) AS day, p.period_start,
           coalesce(m.kind, 'counter') = 'counter' AS counter
    FROM quarters q LEFT JOIN tollgate.usage_metrics m ON m.metric_type = q.metric_type
    CROSS JOIN LATERAL (SELECT * FROM tollgate.tenant_periods p WHERE p.tenant_id = tenant AND p.starts_at <= q.quarter
                        ORDER BY p.starts_at DESC LIMIT 1) p
  ), capped AS MATERIALIZED ( -- what was put together as (other) when it was counted stays so
    SELECT x.metric_type, x.quarter, x.hour, x.day, x.period_start, x.counter, x.total, x.events, x.level,
           CASE WHEN x.other THEN '' ELSE x.method END AS method, CASE WHEN x.other THEN '(other)' ELSE x.endpoint END AS endpoint
    FROM (SELECT p.*, p.metric_type = 'api_call'
        AND EXISTS (SELECT FROM tollgate.usage_daily d WHERE d.tenant_id = tenant AND d.metric_type = 'api_call' AND d.day = p.day
                    AND d.method = '' AND d.endpoint = '(other)')
        AND NOT EXISTS (SELECT FROM tollgate.usage_daily d WHERE d.tenant_id = tenant AND d.metric_type = 'api_call' AND d.day = p.day
                        AND d.method = p.method AND d.endpoint = p.endpoint) AS other FROM placed p) x
  ), hourly AS (
    SELECT c.metric_type, c.hour, c.method, c.endpoint, sum(c.events)::bigint AS events,
           CASE WHEN bool_and(c.counter) THEN sum(c.total) ELSE (array_agg(c.level ORDER BY c.quarter DESC))[1] END AS total
    FROM capped c GROUP BY 1, 2, 3, 4
  ), daily AS MATERIALIZED (
    SELECT c.metric_type, c.day, c.method, c.endpoint, sum(c.events)::bigint AS events, bool_and(c.counter) AS counter,
           CASE WHEN bool_and(c.counter) THEN sum(c.total) ELSE (array_agg(c.level ORDER BY c.quarter DESC))[1] END AS total
    FROM capped c GROUP BY 1, 2, 3, 4
  ), periods AS MATERIALIZED ( -- days before the first kept one are final
    SELECT x.metric_type, p.period_start, sum(x.total) AS total FROM (
      SELECT d.metric_type, d.day, d.total FROM daily d WHERE d.counter
      UNION ALL
      SELECT d.metric_type, d.day, d.total FROM tollgate.usage_daily d JOIN tollgate.usage_metrics m USING (metric_type)
      WHERE d.tenant_id = tenant AND m.kind = 'counter' AND d.day < (SELECT k.day FROM kept k)) x
    JOIN tollgate.tenant_periods p ON p.tenant_id = tenant AND x.day BETWEEN p.period_start AND p.period_end
    WHERE p.period_end >= (SELECT k.day FROM kept k) GROUP BY 1, 2
  ), counts AS MATERIALIZED (
    SELECT d.metric_type, 'day' AS w, d.day AS start, sum(d.total) AS total FROM daily d WHERE d.counter GROUP BY 1, 3
    UNION ALL SELECT p.metric_type, 'period', p.period_start, p.total FROM periods p
  ), now_in AS (
    SELECT p.* FROM tollgate.tenant_periods p WHERE p.tenant_id = tenant AND p.starts_at <= now() AND p.ends_at > now()
  ), usage AS (
    SELECT s.current_usage, g.* FROM public.tenant_subscriptions s JOIN now_in n ON true
    JOIN public.usage_summary g ON g.tenant_id = tenant AND g.period_start = n.period_start WHERE s.tenant_id = tenant
  )
  SELECT 'hourly', coalesce(h.metric_type, c.metric_type), coalesce(h.hour, c.hour)::text, coalesce(h.method, c.method),
         coalesce(h.endpoint, c.endpoint), h.total, c.total, h.events, c.events
  FROM (SELECT * FROM tollgate.usage_hourly h WHERE h.tenant_id = tenant AND h.hour >= (SELECT k.at FROM kept k)) h
  FULL JOIN hourly c ON (c.metric_type, c.hour, c.method, c.endpoint) = (h.metric_type::text, h.hour, h.method, h.endpoint)
  WHERE (h.total, h.events) IS DISTINCT FROM (c.total, c.events)
  UNION ALL
  SELECT 'daily', coalesce(d.metric_type, c.metric_type), coalesce(d.day, c.day)::text, coalesce(d.method, c.method),
         coalesce(d.endpoint, c.endpoint), d.total, c.total, d.events, c.events
  FROM (SELECT * FROM tollgate.usage_daily d WHERE d.tenant_id = tenant AND d.day >= (SELECT k.day FROM kept k)) d
  FULL JOIN daily c ON (c.metric_type, c.day, c.method, c.endpoint) = (d.metric_type::text, d.day, d.method, d.endpoint)
  WHERE (d.total, d.events) IS DISTINCT FROM (c.total, c.events)
  UNION ALL
  SELECT 'counts', coalesce(u.metric_type, c.metric_type), coalesce(u.window_start, c.start)::text, coalesce(u.limit_window, c.w), '',
         u.used, c.total, NULL, NULL
  FROM (SELECT * FROM tollgate.usage_counts u WHERE u.tenant_id = tenant AND (u.limit_window = 'day' AND u.window_start >= (SELECT k.day FROM kept k)
          OR u.limit_window = 'period' AND u.window_start IN (SELECT p.period_start FROM tollgate.tenant_periods p
             WHERE p.tenant_id = tenant AND p.period_end >= (SELECT k.day FROM kept k)))) u
  FULL JOIN counts c ON (c.metric_type, c.w, c.start) = (u.metric_type::text, u.limit_window, u.window_start)
  WHERE coalesce(u.used, 0) <> coalesce(c.total, 0)
  UNION ALL
  SELECT 'summary', m.metric, s.period_start::text, '', '', m.stored, m.counted, NULL, NULL
  FROM public.usage_summary s
  CROSS JOIN LATERAL (VALUES
    ('api_calls_count', s.api_calls_count::numeric,
     floor(coalesce((SELECT p.total FROM periods p WHERE p.metric_type = 'api_call' AND p.period_start = s.period_start), 0))),
    ('file_uploads_count', s.file_uploads_count,
     floor(coalesce((SELECT p.total FROM periods p WHERE p.metric_type = 'file_upload' AND p.period_start = s.period_start), 0)))
  ) AS m (metric, stored, counted)
  WHERE s.tenant_id = tenant AND s.period_end >= (SELECT k.day FROM kept k) AND m.stored <> m.counted
  UNION ALL
  SELECT 'current_usage', m.metric, '', '', '', m.stored, m.counted, NULL, NULL FROM usage u
  CROSS JOIN LATERAL (VALUES
    ('patients_count', (u.current_usage ->> 'patients_count')::numeric, u.patients_count::numeric),
    ('users_count', (u.current_usage ->> 'users_count')::numeric, u.users_count),
    ('storage_used_gb', (u.current_usage ->> 'storage_used_gb')::numeric, u.storage_used_gb),
    ('api_calls_today', (u.current_usage ->> 'api_calls_today')::numeric, floor(coalesce((SELECT sum(c.total) FROM counts c, now_in n
      WHERE c.w = 'day' AND c.metric_type = 'api_call' AND c.start = tollgate.day_of(now(), n.time_zone)), 0)))
  ) AS m (metric, stored, counted)
  WHERE coalesce(m.stored, 0) <> coalesce(m.counted, 0)
$$;

-- Gauges against the host's tables, with what waits in tollgate.usage_changes: one statement, one snapshot. An enforced gauge's shares must
-- agree too; what they say, the summary has unless a collector has still to look. What can't be counted is not compared.
CREATE OR REPLACE FUNCTION tollgate.reconcile_gauges(tenant text) RETURNS TABLE (metric text, stored numeric, counted numeric)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  patients regclass := tollgate.tenant_table(tenant, 'patients');
  appointments regclass := tollgate.tenant_table(tenant, 'appointments');
BEGIN
  RETURN QUERY
  WITH counted AS MATERIALIZED (
    SELECT CASE WHEN patients IS NULL THEN 0 ELSE tollgate.count_rows(patients, 'patients_count', tenant) END AS patients,
           CASE WHEN appointments IS NULL THEN 0 ELSE tollgate.count_rows(appointments, 'appointments_count', tenant) END AS appointments,
           tollgate.count_rows('public.users', 'users_count', tenant) AS people
  )
  SELECT v.metric, k.stored, v.counted FROM public.usage_summary s
  JOIN tollgate.tenant_periods p ON p.tenant_id = s.tenant_id AND p.period_start = s.period_start
  CROSS JOIN counted n
  CROSS JOIN LATERAL (VALUES ('patients_count', s.patients_count::numeric, n.patients::numeric),
    ('appointments_count', s.appointments_count, n.appointments), ('users_count', s.users_count, n.people)) AS v (metric, stored, counted)
  LEFT JOIN tollgate.enforced_levels(tenant) l ON l.metric = v.metric
  LEFT JOIN LATERAL (SELECT sum(c.delta) AS delta, bool_or(c.recount) AS anew FROM tollgate.usage_changes c
    WHERE c.tenant_id = tenant AND c.metric = v.metric AND l.used IS NULL) w ON true
  CROSS JOIN LATERAL (SELECT CASE WHEN l.changed OR l.used <> v.counted THEN l.used ELSE v.stored + coalesce(w.delta, 0) END) k (stored)
  WHERE s.tenant_id = tenant AND p.starts_at <= now() AND p.ends_at > now() AND w.anew IS NOT true AND k.stored <> v.counted;
END $$;

-- One transaction a tenant. Collectors wait at tollgate.usage_hourly, their first book, so nothing is counted meanwhile. Before that, as a
-- collector does, the shares of an enforced tenant, which are counted anew.
CREATE OR REPLACE FUNCTION tollgate.repair(tenant text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  d record;
  gauges bigint := (SELECT count(*) FROM tollgate.reconcile_gauges(tenant));
  mended bigint := gauges;
BEGIN
  IF gauges > 0 AND (SELECT s.enforced FROM tollgate.tenant_settings s WHERE s.tenant_id = tenant) THEN
    PERFORM tollgate.enforce(tenant, true);
  END IF;
  LOCK TABLE tollgate.usage_hourly IN SHARE ROW EXCLUSIVE MODE;
  FOR d IN SELECT * FROM tollgate.reconcile(tenant) LOOP
    mended := mended + 1;
    CASE d.book
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
        INSERT INTO tollgate.usage_counts AS c (tenant_id, metric_type, limit_window, window_start, used)
        VALUES (tenant, d.metric, d.method, d.at::date, coalesce(d.counted, 0))
        ON CONFLICT (tenant_id, metric_type, limit_window, window_start) DO UPDATE SET used = excluded.used, xid = pg_current_xact_id();
      WHEN 'summary' THEN
        UPDATE public.usage_summary s SET updated_at = now(),
          api_calls_count = CASE d.metric WHEN 'api_calls_count' THEN d.counted ELSE s.api_calls_count END,
          file_uploads_count = CASE d.metric WHEN 'file_uploads_count' THEN d.counted ELSE s.file_uploads_count END
        WHERE s.tenant_id = tenant AND s.period_start = d.at::date;
      ELSE
        PERFORM tollgate.put_usage(ARRAY[tenant], ARRAY[jsonb_build_object(d.metric, trim_scale(coalesce(d.counted, 0)))]);
    END CASE;
  END LOOP;
  IF gauges > 0 THEN
    PERFORM tollgate.recount(tenant);
  END IF;
  RETURN mended;
END $$;
