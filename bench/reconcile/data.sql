-- Thirteen months of :rows rows of :tenants tenants, in the order of their time as collectors write them, with the aggregates that belong
-- to them. What triggers would bring along is written beside them, and indexes are made at the end, so that it takes minutes.
SET search_path = public;
SET session_replication_role = replica;
SET maintenance_work_mem = '512MB';
SET work_mem = '256MB';
SET jit = off;
INSERT INTO subscription_tiers VALUES ('bench', 'Bench', '{"api_calls_per_day": 1000000}') ON CONFLICT DO NOTHING;
INSERT INTO tenants (id, name) SELECT 'f' || i, 'Tenant ' || i FROM generate_series(0, :tenants - 1) i;
INSERT INTO tollgate.tenant_settings (tenant_id, schema_name, time_zone)
SELECT id, id, (ARRAY['UTC', 'America/Sao_Paulo', 'Asia/Kolkata', 'Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe'])
  [1 + right(id, 1)::int % 6] FROM tenants;
INSERT INTO tenant_subscriptions (tenant_id, tier_id, usage_limits) SELECT id, 'bench', '{"api_calls_per_day": 1000000}' FROM tenants;
INSERT INTO tollgate.tiers (id, name, limits) SELECT id, name, limits FROM subscription_tiers WHERE id = 'bench';
INSERT INTO tollgate.tenants (id, name) SELECT id, name FROM tenants;
INSERT INTO tollgate.subscriptions (tenant_id, tier_id, usage_limits) SELECT tenant_id, tier_id, usage_limits FROM tenant_subscriptions;
SELECT tollgate.ensure_partitions(now() - interval '13 months', now() + interval '3 months') \g /dev/null
SELECT tollgate.ensure_periods(id, now() - interval '396 days', now() + interval '65 days') FROM tenants \g /dev/null
ANALYZE tenants, tollgate.tenant_settings, tollgate.tenant_periods;

DROP INDEX idx_usage_tracking_tenant, idx_usage_tracking_recorded, idx_usage_tracking_period;
ALTER TABLE usage_tracking DROP CONSTRAINT usage_tracking_pkey;
ALTER TABLE tollgate.usage_hourly DROP CONSTRAINT usage_hourly_pkey;
ALTER TABLE tollgate.usage_daily DROP CONSTRAINT usage_daily_pkey;
CREATE TEMP TABLE calls (pick int, metric text, metadata jsonb);
INSERT INTO calls SELECT i, 'api_call', jsonb_build_object('method', (ARRAY['GET', 'POST'])[1 + i % 2], 'endpoint',
  '/api/thing' || i % 9 || '/17', 'normalized', '/api/thing' || i % 9 || '/:id', 'key', 'bench001') FROM generate_series(0, 85) i;
INSERT INTO calls SELECT i, 'file_upload', '{"rule": "POST /api/files"}' FROM generate_series(86, 93) i;
INSERT INTO calls SELECT i, 'appointment_created', '{}' FROM generate_series(94, 97) i;
INSERT INTO calls SELECT i, 'patients_count', '{}' FROM generate_series(98, 99) i;
CREATE UNIQUE INDEX ON calls (pick);
ANALYZE calls;
INSERT INTO usage_tracking (tenant_id, metric_type, metric_value, recorded_at, billing_period, metadata, ingested_at)
SELECT r.tenant, c.metric, CASE c.metric WHEN 'patients_count' THEN r.n % 500 ELSE 1 END, r.at, to_char(r.at, 'YYYY-MM'), c.metadata, r.at
FROM (SELECT n, 'f' || abs(hashint8(n) % :tenants) AS tenant, abs(hashint8(n + 7) % 100) AS pick,
        now() - interval '395 days' + n * (interval '394.9 days' / :rows) AS at FROM generate_series(0::bigint, :rows - 1) n) r
JOIN calls c USING (pick);
ALTER TABLE usage_tracking ADD PRIMARY KEY (tenant_id, recorded_at, id);
CREATE INDEX idx_usage_tracking_tenant ON usage_tracking (tenant_id);
CREATE INDEX idx_usage_tracking_recorded ON usage_tracking (recorded_at);
CREATE INDEX idx_usage_tracking_period ON usage_tracking (billing_period);
ANALYZE usage_tracking;

CREATE TEMP TABLE quarters AS
SELECT z.zone, q.quarter, tollgate.hour_start(q.quarter, z.zone) AS hour, (q.quarter AT TIME ZONE z.zone)::date AS day
FROM (SELECT DISTINCT time_zone AS zone FROM tollgate.tenant_settings) z, generate_series(date_trunc('day', now() - interval '396 days'),
  now() + interval '1 hour', interval '15 minutes') q (quarter);
ANALYZE quarters;
CREATE TEMP TABLE levels AS
SELECT u.tenant_id, u.metric_type, q.hour, q.day, CASE u.metric_type WHEN 'api_call' THEN u.metadata ->> 'method' ELSE '' END AS method,
       CASE u.metric_type WHEN 'api_call' THEN u.metadata ->> 'normalized' ELSE '' END AS endpoint, count(*) AS events,
       sum(u.metric_value) AS total, max(u.recorded_at) AS last
FROM usage_tracking u JOIN tollgate.tenant_settings s ON s.tenant_id = u.tenant_id
JOIN quarters q ON q.zone = s.time_zone AND q.quarter = date_bin('15 minutes', u.recorded_at, '2000-01-01Z') GROUP BY 1, 2, 3, 4, 5, 6;
UPDATE levels l SET total = u.metric_value FROM usage_tracking u
WHERE l.metric_type = 'patients_count' AND u.tenant_id = l.tenant_id AND u.recorded_at = l.last AND u.metric_type = l.metric_type;
INSERT INTO tollgate.usage_hourly (tenant_id, metric_type, hour, method, endpoint, total, events)
SELECT tenant_id, metric_type, hour, method, endpoint, total, events FROM levels ORDER BY hour;
INSERT INTO tollgate.usage_daily (tenant_id, metric_type, day, method, endpoint, total, events)
SELECT tenant_id, metric_type, day, method, endpoint,
  CASE metric_type WHEN 'patients_count' THEN (array_agg(total ORDER BY last DESC))[1] ELSE sum(total) END, sum(events)
FROM levels GROUP BY 1, 2, 3, 4, 5 ORDER BY day;
DROP TABLE levels;
ALTER TABLE tollgate.usage_hourly ADD PRIMARY KEY (tenant_id, metric_type, hour, method, endpoint);
ALTER TABLE tollgate.usage_daily ADD PRIMARY KEY (tenant_id, metric_type, day, method, endpoint);
INSERT INTO tollgate.usage_counts (tenant_id, metric_type, limit_window, window_start, used)
SELECT tenant_id, metric_type, 'day', day, sum(total) FROM tollgate.usage_daily WHERE metric_type <> 'patients_count' GROUP BY 1, 2, 4
UNION ALL
SELECT u.tenant_id, u.metric_type, 'period', p.period_start, sum(u.total)
FROM tollgate.usage_daily u JOIN tollgate.tenant_periods p ON p.tenant_id = u.tenant_id AND u.day BETWEEN p.period_start AND p.period_end
WHERE u.metric_type <> 'patients_count' GROUP BY 1, 2, 4;
UPDATE usage_summary s SET (api_calls_count, file_uploads_count) =
  (SELECT coalesce(sum(c.used) FILTER (WHERE c.metric_type = 'api_call'), 0), coalesce(sum(c.used) FILTER (WHERE c.metric_type = 'file_upload'), 0)
   FROM tollgate.usage_counts c WHERE c.tenant_id = s.tenant_id AND c.limit_window = 'period' AND c.window_start = s.period_start);
UPDATE tollgate.subscriptions t SET current_usage = jsonb_build_object('patients_count', 0, 'users_count', 0, 'storage_used_gb', 0,
  'api_calls_today', coalesce((SELECT c.used FROM tollgate.usage_counts c WHERE c.tenant_id = t.tenant_id AND c.metric_type = 'api_call'
    AND c.limit_window = 'day' AND c.window_start = tollgate.day_of(now(), s.time_zone)), 0)::bigint)
FROM tollgate.tenant_settings s WHERE s.tenant_id = t.tenant_id;
ANALYZE;
