-- Thirteen months of use. The last 31 days are rows in usage_tracking and their rollups are sums of those rows, as the
-- collector would have made them; what is older are rollups alone, as after the rows' retention.
CREATE OR REPLACE FUNCTION pg_temp.chance(name text) RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
  $$ SELECT ('x' || left(md5('tollgate-1:' || name), 8))::bit(32)::bigint / 4294967296.0::double precision $$;

SELECT tollgate.ensure_partitions(now() - interval '63 days', now() + interval '3 months');
SELECT tollgate.ensure_periods(id, CASE WHEN calls = 0 THEN now() ELSE now() - interval '395 days' END, now() + interval '65 days')
FROM tollgate.demo_plan;

CREATE TEMP TABLE demo_endpoints (share_from double precision, share_to double precision, method text, path text, endpoint text);
INSERT INTO demo_endpoints VALUES
  (0.00, 0.34, 'GET', '/api/patients', '/api/patients'), (0.34, 0.58, 'GET', '/api/patients/%s', '/api/patients/:id'),
  (0.58, 0.76, 'GET', '/api/appointments', '/api/appointments'), (0.76, 0.84, 'POST', '/api/appointments', '/api/appointments'),
  (0.84, 0.90, 'PUT', '/api/patients/%s', '/api/patients/:id'), (0.90, 0.95, 'POST', '/api/files', '/api/files'),
  (0.95, 0.98, 'GET', '/api/reports/%s', '/api/reports/:id'), (0.98, 1.01, 'DELETE', '/api/appointments/%s', '/api/appointments/:id');

-- A day's calls: weekdays full, Saturday a third, Sunday a tenth; slow growth; some noise. Today is a day like the others, up to now.
CREATE TEMP TABLE demo_days AS
SELECT p.id AS tenant_id, p.zone, d.day::date AS day, d.day::date > tollgate.day_of(now(), p.zone) - 31 AS fresh,
  greatest(1, p.calls * CASE extract(isodow FROM d.day) WHEN 6 THEN 0.33 WHEN 7 THEN 0.1 ELSE 1 END
   * (1 - 0.25 * (tollgate.day_of(now(), p.zone) - d.day::date) / 395.0) * (0.85 + 0.3 * pg_temp.chance(p.id || d.day::date)))::int AS calls
FROM tollgate.demo_plan p
CROSS JOIN LATERAL generate_series(tollgate.day_of(now(), p.zone)::timestamp - interval '394 days',
                                   tollgate.day_of(now(), p.zone)::timestamp, interval '1 day') AS d (day)
WHERE p.calls > 0;
ANALYZE demo_days;
ANALYZE tollgate.tenant_periods;

-- Rows: office hours of the day in the tenant's zone, none in the future.
CREATE TEMP TABLE demo_calls AS
SELECT d.tenant_id, date_trunc('milliseconds', d.starts_at + interval '7 hours' + (pg_temp.chance(d.tenant_id || d.day || i)
         + pg_temp.chance(d.day || d.tenant_id || i)) * interval '6 hours') AS at,
       pg_temp.chance(i || d.tenant_id || d.day) AS pick
FROM (SELECT tenant_id, day, tollgate.day_start(day, zone) AS starts_at, calls FROM demo_days WHERE fresh OFFSET 0) d
CROSS JOIN LATERAL generate_series(1, d.calls) i;
ANALYZE demo_calls;
INSERT INTO public.usage_tracking (tenant_id, metric_type, metric_value, recorded_at, billing_period, metadata, ingested_at)
SELECT c.tenant_id, 'api_call', 1, c.at, p.billing_period,
  jsonb_build_object('endpoint', format(e.path, 1 + (c.pick * 100000)::int % 900), 'method', e.method,
    'timestamp', to_char(c.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'), 'normalized', e.endpoint, 'key', 'demo0001'), c.at
FROM demo_calls c
JOIN demo_endpoints e ON c.pick >= e.share_from AND c.pick < e.share_to
JOIN tollgate.tenant_periods p ON p.tenant_id = c.tenant_id AND c.at >= p.starts_at AND c.at < p.ends_at
WHERE c.at <= now();

-- A POST of a file or an appointment is an event of its own metric too.
INSERT INTO public.usage_tracking (tenant_id, metric_type, metric_value, recorded_at, billing_period, metadata, ingested_at)
SELECT tenant_id, CASE metadata ->> 'normalized' WHEN '/api/files' THEN 'file_upload' ELSE 'appointment_created' END, 1,
  recorded_at, billing_period, CASE metadata ->> 'normalized' WHEN '/api/files'
    THEN jsonb_build_object('endpoint', metadata ->> 'endpoint', 'method', 'POST', 'rule', 'POST /api/files') ELSE '{}' END, ingested_at
FROM public.usage_tracking WHERE metric_type = 'api_call' AND metadata ->> 'method' = 'POST';

ANALYZE public.usage_tracking;
INSERT INTO tollgate.usage_hourly (tenant_id, metric_type, hour, method, endpoint, total, events)
SELECT u.tenant_id, u.metric_type, tollgate.hour_start(u.recorded_at, p.time_zone), x.method, x.endpoint, sum(u.metric_value), count(*)
FROM public.usage_tracking u JOIN tollgate.tenant_periods p ON p.tenant_id = u.tenant_id AND u.recorded_at >= p.starts_at AND u.recorded_at < p.ends_at
CROSS JOIN LATERAL (SELECT CASE u.metric_type WHEN 'api_call' THEN u.metadata ->> 'method' ELSE '' END AS method,
                           CASE u.metric_type WHEN 'api_call' THEN u.metadata ->> 'normalized' ELSE '' END AS endpoint) x
GROUP BY 1, 2, 3, 4, 5;
INSERT INTO tollgate.usage_daily (tenant_id, metric_type, day, method, endpoint, total, events)
SELECT h.tenant_id, h.metric_type, (h.hour AT TIME ZONE d.zone)::date, h.method, h.endpoint, sum(h.total), sum(h.events)
FROM tollgate.usage_hourly h JOIN tollgate.demo_plan d ON d.id = h.tenant_id GROUP BY 1, 2, 3, 4, 5;

-- Older days: shares of the day's calls by endpoint, and by hour of the day.
INSERT INTO tollgate.usage_daily (tenant_id, metric_type, day, method, endpoint, total, events)
SELECT d.tenant_id, m.metric, d.day, m.method, m.endpoint, n.n, n.n
FROM demo_days d
CROSS JOIN LATERAL (
  SELECT 'api_call' AS metric, method, endpoint, share_to - share_from AS share FROM demo_endpoints
  UNION ALL VALUES ('file_upload', '', '', 0.05::double precision), ('appointment_created', '', '', 0.08)) m
CROSS JOIN LATERAL (SELECT floor(d.calls * m.share + pg_temp.chance(d.tenant_id || d.day || m.method || m.endpoint || m.metric))::int AS n) n
WHERE NOT d.fresh AND n.n > 0;
ANALYZE tollgate.usage_daily;
INSERT INTO tollgate.usage_hourly (tenant_id, metric_type, hour, method, endpoint, total, events)
SELECT d.tenant_id, d.metric_type, tollgate.hour_start(tollgate.day_start(d.day, p.zone) + make_interval(hours => h.hour), p.zone),
       d.method, d.endpoint, h.n, h.n
FROM tollgate.usage_daily d JOIN tollgate.demo_plan p ON p.id = d.tenant_id
JOIN demo_days f ON f.tenant_id = d.tenant_id AND f.day = d.day AND NOT f.fresh
CROSS JOIN LATERAL (SELECT 8 + i * 2 AS hour, d.total::int / 5 + CASE WHEN i < d.total::int % 5 THEN 1 ELSE 0 END AS n
                    FROM generate_series(0, 4) i) h
WHERE h.n > 0 ON CONFLICT DO NOTHING;

ANALYZE tollgate.usage_daily;
INSERT INTO tollgate.usage_counts (tenant_id, metric_type, limit_window, window_start, used)
SELECT tenant_id, metric_type, 'day', day, sum(total) FROM tollgate.usage_daily GROUP BY 1, 2, 4
UNION ALL
SELECT u.tenant_id, u.metric_type, 'period', p.period_start, sum(u.total)
FROM tollgate.usage_daily u JOIN tollgate.tenant_periods p ON p.tenant_id = u.tenant_id AND u.day BETWEEN p.period_start AND p.period_end
GROUP BY 1, 2, 4;
ANALYZE tollgate.usage_counts;
UPDATE public.usage_summary s SET
  api_calls_count = coalesce((SELECT used FROM tollgate.usage_counts c WHERE c.tenant_id = s.tenant_id AND c.metric_type = 'api_call'
    AND c.limit_window = 'period' AND c.window_start = s.period_start), 0),
  file_uploads_count = coalesce((SELECT used FROM tollgate.usage_counts c WHERE c.tenant_id = s.tenant_id AND c.metric_type = 'file_upload'
    AND c.limit_window = 'period' AND c.window_start = s.period_start), 0),
  storage_bytes = floor(d.bytes * (1 - 0.04 * (current_date - least(s.period_end, current_date)) / 30.0)),
  storage_used_gb = round(floor(d.bytes * (1 - 0.04 * (current_date - least(s.period_end, current_date)) / 30.0)) / 1e9, 6),
  patients_count = floor(d.patients * (1 - 0.03 * (current_date - least(s.period_end, current_date)) / 30.0)),
  users_count = ceil(d.people * (1 - 0.03 * (current_date - least(s.period_end, current_date)) / 30.0)),
  appointments_count = floor(d.appointments * (1 - 0.05 * (current_date - least(s.period_end, current_date)) / 30.0))
FROM tollgate.demo_plan d WHERE d.id = s.tenant_id;
SELECT tollgate.put_level(d.id, 'storage_used_gb', (SELECT u.storage_used_gb FROM public.usage_summary u WHERE u.tenant_id = d.id
  ORDER BY u.period_start DESC LIMIT 1)) FROM tollgate.demo_plan d ORDER BY d.id;
SELECT tollgate.recount(id) FROM tollgate.demo_plan ORDER BY id;
-- The demo's appointments are counted, not new.
DELETE FROM tollgate.usage_changes;
SELECT tollgate.put_usage(array_agg(d.id), array_agg(jsonb_build_object('api_calls_today', coalesce(c.used, 0)::bigint)))
FROM tollgate.demo_plan d LEFT JOIN tollgate.usage_counts c ON c.tenant_id = d.id AND c.metric_type = 'api_call' AND c.limit_window = 'day'
  AND c.window_start = tollgate.day_of(now(), d.zone);
DROP TABLE tollgate.demo_plan;
