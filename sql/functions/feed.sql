-- What the collector reads to fill and follow the limit table (lib/store/publish.c), as it wants it: times in microseconds
-- since 1970, lists as text.

CREATE OR REPLACE FUNCTION tollgate.us(at timestamptz) RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE AS
  $$ SELECT (extract(epoch FROM at) * 1000000)::bigint $$;
GRANT EXECUTE ON FUNCTION tollgate.us(timestamptz) TO tollgate_collector;

-- What the limit table is filled from. days: starts of yesterday, today and the seven days ahead; periods: of the last one,
-- this one and the two ahead, then the end. overrides: by key max, mode, grace_percent, grace_until and expires_at
-- (microseconds), and the tier's own limit for when max expires. By id, at most `most` behind `after`; or `one` alone.
CREATE OR REPLACE FUNCTION tollgate.table_tenants(one text DEFAULT NULL, after text DEFAULT '', most bigint DEFAULT NULL)
RETURNS TABLE (tenant_id text, tier_id text, state text,
  usage_limits jsonb, overrides jsonb, days timestamptz[], day_offsets int[], periods timestamptz[], period_offsets int[],
  patients bigint, users bigint, appointments bigint, storage bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
-- A page finds its rows by index, whatever share of all the planner takes `most` for.
SET enable_hashjoin = off SET enable_mergejoin = off AS $$
  WITH page AS MATERIALIZED (
    SELECT x.tenant_id AS id, x.state, coalesce(
      (SELECT p.time_zone FROM tollgate.tenant_periods p WHERE p.tenant_id = x.tenant_id AND p.starts_at <= now() AND p.ends_at > now()
       LIMIT 1), x.time_zone) AS zone
    FROM ((SELECT * FROM tollgate.tenant_settings c WHERE c.tenant_id = one AND tollgate.tenant_id_problem(one) IS NULL) UNION ALL
          (SELECT * FROM tollgate.tenant_settings c WHERE one IS NULL AND c.tenant_id > after
             AND tollgate.tenant_id_problem(c.tenant_id) IS NULL ORDER BY c.tenant_id LIMIT most)) x
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
  LEFT JOIN public.tenant_subscriptions s ON s.tenant_id = t.id
  LEFT JOIN public.subscription_tiers r ON r.id = s.tier_id
  LEFT JOIN LATERAL (SELECT * FROM public.usage_summary u WHERE u.tenant_id = t.id ORDER BY u.period_start DESC LIMIT 1) g ON true
  LEFT JOIN LATERAL (
    SELECT jsonb_object_agg(v.limit_key, jsonb_build_object('max', v.max, 'mode', v.mode, 'grace_percent', v.grace_percent,
      'grace_until', (extract(epoch FROM v.grace_until) * 1000000)::bigint,
      'expires_at', (extract(epoch FROM v.expires_at) * 1000000)::bigint, 'tier_max', r.limits -> v.limit_key)) AS overrides
    FROM tollgate.usage_limit_overrides v WHERE v.tenant_id = t.id) o ON true
  LEFT JOIN LATERAL (
    SELECT array_agg(b.at ORDER BY b.at) AS periods,
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
GRANT EXECUTE ON FUNCTION tollgate.table_tenants(text, text, bigint) TO tollgate_collector;

-- Tenants as table_tenants gives them. limits: a line each, "key max expires tier mode grace_percent grace_until": max holds
-- until `expires`, from there on the tier's does; "-" for never.
CREATE OR REPLACE FUNCTION tollgate.table_lines(one text, after text, most bigint)
RETURNS TABLE (tenant_id text, tier_id text, state text, limits text, days text, day_offsets text, periods text, period_offsets text,
  patients bigint, users bigint, appointments bigint, storage_gb numeric)
LANGUAGE sql STABLE AS $$
  SELECT t.tenant_id, coalesce(t.tier_id, ''), t.state,
    (SELECT string_agg(concat_ws(' ', k.limit_key,
       CASE WHEN o.expires_at <= now() THEN f.tier ELSE f.plain END,
       CASE WHEN o.max IS NOT NULL AND o.expires_at > now() THEN tollgate.us(o.expires_at)::text ELSE '-' END,
       f.tier, coalesce(o.mode, 'hard'), coalesce(o.grace_percent, 0), coalesce(tollgate.us(o.grace_until)::text, '-')), E'\n')
     FROM tollgate.usage_limit_keys k
     LEFT JOIN tollgate.usage_limit_overrides o ON o.tenant_id = t.tenant_id AND o.limit_key = k.limit_key
     LEFT JOIN public.subscription_tiers s ON s.id = t.tier_id
     CROSS JOIN LATERAL (SELECT
       CASE jsonb_typeof(t.usage_limits -> k.limit_key) WHEN 'number' THEN t.usage_limits ->> k.limit_key ELSE '-1' END AS plain,
       CASE jsonb_typeof(s.limits -> k.limit_key) WHEN 'number' THEN s.limits ->> k.limit_key ELSE '-1' END AS tier) f),
    (SELECT string_agg(tollgate.us(u.at)::text, ',' ORDER BY u.place) FROM unnest(t.days) WITH ORDINALITY AS u (at, place)),
    array_to_string(t.day_offsets, ','),
    (SELECT string_agg(tollgate.us(u.at)::text, ',' ORDER BY u.place) FROM unnest(t.periods) WITH ORDINALITY AS u (at, place)),
    array_to_string(t.period_offsets, ','),
    t.patients, t.users, t.appointments, t.storage / 1e9
  FROM tollgate.table_tenants(one, after, most) t
$$;
GRANT EXECUTE ON FUNCTION tollgate.table_lines(text, text, bigint) TO tollgate_collector;
