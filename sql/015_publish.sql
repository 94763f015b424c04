-- What the collector reads to fill and follow the limit table (lib/store/publish.c), as it wants it: times in microseconds
-- since 1970, lists as text.

CREATE FUNCTION tollgate.us(at timestamptz) RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE AS
  $$ SELECT (extract(epoch FROM at) * 1000000)::bigint $$;

-- Tenants as table_tenants gives them. limits: a line each, "key max expires tier mode grace_percent grace_until": max holds
-- until `expires`, from there on the tier's does; "-" for never.
CREATE FUNCTION tollgate.table_lines(one text, after text, most bigint)
RETURNS TABLE (tenant_id text, tier_id text, state text, limits text, days text, day_offsets text, periods text, period_offsets text,
  patients bigint, users bigint, appointments bigint, storage_gb numeric)
LANGUAGE sql STABLE AS $$
  SELECT t.tenant_id, coalesce(t.tier_id, ''), t.state,
    (SELECT string_agg(concat_ws(' ', k.limit_key,
       CASE WHEN o.expires_at <= now() THEN f.tier ELSE f.plain END,
       CASE WHEN o.max IS NOT NULL AND o.expires_at > now() THEN tollgate.us(o.expires_at)::text ELSE '-' END,
       f.tier, coalesce(o.mode, 'hard'), coalesce(o.grace_percent, 0), coalesce(tollgate.us(o.grace_until)::text, '-')), E'\n')
     FROM public.usage_limit_keys k
     LEFT JOIN public.usage_limit_overrides o ON o.tenant_id = t.tenant_id AND o.limit_key = k.limit_key
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

-- Counts with the bounds of their windows; ends_us: of a period, of a day 0. used in millionths. A day's zone is that of the
-- period it lies in.
CREATE VIEW tollgate.table_counts WITH (security_invoker = true) AS
  SELECT c.tenant_id, c.metric_type, c.limit_window, c.window_start, p.ends_at AS period_ends_at, c.xid,
    CASE c.limit_window WHEN 'day' THEN tollgate.us(tollgate.day_start(c.window_start, p.time_zone))
                        ELSE tollgate.us(p.starts_at) END AS starts_us,
    CASE c.limit_window WHEN 'day' THEN 0 ELSE tollgate.us(p.ends_at) END AS ends_us,
    least(c.used * 1000000, 9e18)::bigint AS used
  FROM public.usage_counts c
  JOIN public.tenant_periods p ON p.tenant_id = c.tenant_id AND
    CASE c.limit_window WHEN 'day' THEN c.window_start BETWEEN p.period_start AND p.period_end
                        ELSE c.window_start = p.period_start END;
GRANT SELECT ON tollgate.table_counts TO tollgate_collector;
