-- Usage before the first row that is kept is final: its rollups are all that is left of it. How far rows were dropped is remembered, because
-- a late event makes a new partition for a month whose other rows are gone.
CREATE TABLE tollgate.rows_dropped (
  only_one    boolean PRIMARY KEY DEFAULT true CHECK (only_one),
  before      timestamptz NOT NULL -- rows of earlier times may have been dropped
);
-- A database that dropped rows before this file came has rollups that are older than its partitions.
INSERT INTO tollgate.rows_dropped (before)
SELECT p.starts FROM (
  SELECT min(to_timestamp(right(c.relname, 7), 'YYYY_MM')::timestamp AT TIME ZONE 'UTC') AS starts
  FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
  WHERE i.inhparent = 'public.usage_tracking'::regclass AND c.relname ~ '^usage_tracking_\d{4}_\d{2}$') p
WHERE EXISTS (SELECT FROM public.usage_hourly h WHERE h.hour < p.starts);

CREATE OR REPLACE FUNCTION tollgate.drop_partitions(keep_months int) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  oldest timestamptz := (date_trunc('month', now() AT TIME ZONE 'UTC') - make_interval(months => keep_months)) AT TIME ZONE 'UTC';
  name text;
  dropped int := 0;
BEGIN
  IF keep_months < 1 THEN
    RAISE EXCEPTION 'at least one month is kept' USING ERRCODE = 'TG003', DETAIL = 'keep_months';
  END IF;
  FOR name IN
    SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'public.usage_tracking'::regclass AND c.relname ~ '^usage_tracking_\d{4}_\d{2}$'
      AND to_date(right(c.relname, 7), 'YYYY_MM') < oldest AT TIME ZONE 'UTC'
    ORDER BY 1
  LOOP
    EXECUTE format('DROP TABLE public.%I', name);
    dropped := dropped + 1;
  END LOOP;
  IF dropped > 0 THEN
    INSERT INTO tollgate.rows_dropped AS d (before) VALUES (oldest)
    ON CONFLICT (only_one) DO UPDATE SET before = greatest(d.before, excluded.before);
  END IF;
  RETURN dropped;
END $$;

-- The first local day of which no row can have been dropped with its partition; null when the tenant has no rows.
CREATE OR REPLACE FUNCTION tollgate.first_kept_day(tenant text) RETURNS date LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN f.dropped > tollgate.day_start(f.day, f.zone) THEN f.day + 1 ELSE f.day END
  FROM (
    SELECT tollgate.day_of(r.at, z.zone) AS day, z.zone, r.dropped
    FROM (SELECT greatest(u.first, d.before) AS at, d.before AS dropped
          FROM (SELECT min(x.recorded_at) AS first FROM public.usage_tracking x WHERE x.tenant_id = tenant) u
          LEFT JOIN tollgate.rows_dropped d ON true WHERE u.first IS NOT NULL) r
    CROSS JOIN LATERAL (SELECT p.time_zone AS zone FROM public.tenant_periods p WHERE p.tenant_id = tenant
                        AND p.starts_at <= r.at ORDER BY p.starts_at DESC LIMIT 1) z) f
$$;

-- The operator's list: a limit that is not a number, or is larger than a double holds, is none and breaks no list.
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
    SELECT k.limit_key, k.label, v.used, m.max, tollgate.percent(v.used, m.max) AS percent
    FROM public.usage_limit_keys k
    CROSS JOIN LATERAL (SELECT CASE WHEN jsonb_typeof(s.usage_limits -> k.limit_key) = 'number'
      THEN least((s.usage_limits ->> k.limit_key)::numeric, 1000000000000000000) END AS max) m
    LEFT JOIN LATERAL (SELECT * FROM public.usage_summary u WHERE u.tenant_id = t.id ORDER BY u.period_start DESC LIMIT 1) g ON true
    LEFT JOIN LATERAL (SELECT p.period_start, tollgate.day_of(now(), p.time_zone) AS day FROM public.tenant_periods p
      WHERE p.tenant_id = t.id AND p.starts_at <= now() AND p.ends_at > now()) p ON true
    CROSS JOIN LATERAL (SELECT CASE k.metric_type WHEN 'patients_count' THEN g.patients_count WHEN 'users_count' THEN g.users_count
      WHEN 'storage_used_gb' THEN g.storage_used_gb ELSE (SELECT u.used FROM public.usage_counts u WHERE u.tenant_id = t.id
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

-- The most that an enforced gauge may reach, and until when that holds. A limit that is not a number is none, so that the host's own
-- change of its subscriptions never fails for it.
CREATE OR REPLACE FUNCTION tollgate.enforced_max(tenant text, what text, OUT most bigint, OUT holds timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN p.max IS NULL OR p.max < 0 OR p.mode = 'soft' OR (p.mode = 'grace' AND p.grace_until > statement_timestamp())
              THEN 1000000000000000
              ELSE least(floor(p.max * CASE p.mode WHEN 'grace' THEN 1 + p.grace_percent / 100.0 ELSE 1 END), 1000000000000000) END::bigint,
         least(CASE WHEN p.expires_at > statement_timestamp() THEN p.expires_at END,
               CASE WHEN p.mode = 'grace' AND p.grace_until > statement_timestamp() THEN p.grace_until END, 'infinity')
  FROM (SELECT 1) AS one
  LEFT JOIN (
    SELECT o.mode, o.grace_percent, o.grace_until, CASE WHEN o.max IS NOT NULL THEN o.expires_at END AS expires_at,
           CASE WHEN jsonb_typeof(l.limits -> m.limit_key) = 'number' THEN (l.limits ->> m.limit_key)::numeric END AS max
    FROM public.usage_metrics m
    JOIN public.tenant_subscriptions s ON s.tenant_id = tenant
    LEFT JOIN public.subscription_tiers r ON r.id = s.tier_id
    LEFT JOIN public.usage_limit_overrides o ON o.tenant_id = s.tenant_id AND o.limit_key = m.limit_key
    CROSS JOIN LATERAL (SELECT CASE WHEN o.max IS NOT NULL AND o.expires_at <= statement_timestamp() THEN r.limits
                                    ELSE s.usage_limits END AS limits) l
    WHERE m.metric_type = what) p ON true
$$;
