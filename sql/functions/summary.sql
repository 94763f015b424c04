-- The fixed view: public.usage_summary and current_usage have the columns and keys that the specification names. What is counted elsewhere,
-- by metric, is written there; nothing else is worked out from there but how many bytes a tenant's storage holds.

-- The levels of gauges into the current period's row, and those that Tollgate counts and that have a limit into the subscription's
-- current_usage: a posted level is the service's own, which knows it.
CREATE OR REPLACE FUNCTION tollgate.show_levels(tenant text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  UPDATE public.usage_summary u SET patients_count = coalesce(floor(l.patients), u.patients_count), users_count = coalesce(floor(l.users), u.users_count),
    appointments_count = coalesce(floor(l.appointments), u.appointments_count), storage_used_gb = coalesce(l.storage, u.storage_used_gb), updated_at = now()
  FROM tollgate.tenant_periods p, (
    SELECT max(v.level) FILTER (WHERE v.metric_type = 'patients_count') AS patients, max(v.level) FILTER (WHERE v.metric_type = 'users_count') AS users,
           max(v.level) FILTER (WHERE v.metric_type = 'appointments_count') AS appointments, max(v.level) FILTER (WHERE v.metric_type = 'storage_used_gb') AS storage
    FROM tollgate.usage_levels v WHERE v.tenant_id = tenant) l
  WHERE u.tenant_id = tenant AND p.tenant_id = tenant AND p.period_start = u.period_start AND p.starts_at <= now() AND p.ends_at > now();
  PERFORM tollgate.put_usage(ARRAY[tenant], ARRAY[coalesce((
    SELECT jsonb_object_agg(l.metric_type, trim_scale(l.level)) FROM tollgate.usage_levels l
    JOIN tollgate.usage_metrics m ON m.metric_type = l.metric_type AND m.derived
    WHERE l.tenant_id = tenant AND EXISTS (SELECT FROM tollgate.usage_limit_keys k WHERE k.metric_type = l.metric_type AND k.limit_window = 'none')), '{}')]);
END $$;
GRANT EXECUTE ON FUNCTION tollgate.show_levels(text) TO tollgate_collector;

-- The gauges of the current period's row, for who compares.
CREATE OR REPLACE FUNCTION tollgate.shown_levels(tenant text) RETURNS TABLE (metric text, level numeric)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT v.metric, v.level FROM public.usage_summary s
  JOIN tollgate.tenant_periods p ON p.tenant_id = s.tenant_id AND p.period_start = s.period_start AND p.starts_at <= now() AND p.ends_at > now()
  CROSS JOIN LATERAL (VALUES ('patients_count', s.patients_count::numeric), ('appointments_count', s.appointments_count),
                             ('users_count', s.users_count)) AS v (metric, level)
  WHERE s.tenant_id = tenant
$$;

-- A row for each period that has begun: zero counters; the newest goes on with the gauges as they are.
CREATE OR REPLACE FUNCTION tollgate.add_summaries(tenant text, from_at timestamptz) RETURNS void LANGUAGE sql AS $$
  INSERT INTO public.usage_summary (tenant_id, period_start, period_end, patients_count, users_count, storage_used_gb,
                             appointments_count, storage_bytes)
  SELECT tenant, t.period_start, t.period_end, coalesce(l.patients_count, 0), coalesce(l.users_count, 0),
         coalesce(l.storage_used_gb, 0), coalesce(l.appointments_count, 0), coalesce(l.storage_bytes, 0)
  FROM tollgate.tenant_periods t
  LEFT JOIN LATERAL (SELECT * FROM public.usage_summary u WHERE u.tenant_id = tenant AND u.period_start < t.period_start
                     ORDER BY u.period_start DESC LIMIT 1) l ON true
  WHERE t.tenant_id = tenant AND t.starts_at <= now() AND t.ends_at > from_at
    AND NOT EXISTS (SELECT FROM public.usage_summary u WHERE u.tenant_id = tenant AND u.period_start = t.period_start)
  ORDER BY t.period_start
  ON CONFLICT DO NOTHING
$$;
