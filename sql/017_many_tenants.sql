-- What took as long as there are tenants or keys, while changes waited for it (bench/change, 100,000 and 1,000,000).

-- Compared with text, char(8) used no index: each batch and each changed key read all keys.
ALTER TABLE api_keys ALTER COLUMN id TYPE text, ADD CHECK (length(id) = 8);

-- By pages instead of all tenants at once.
DROP FUNCTION tollgate.turn_days();
-- At a tenant's midnight: today's calls start anew in current_usage; the new period's row stands before its first event.
-- Of the next `most` tenants behind `after`; returns the last of them, NULL when there are no more.
CREATE FUNCTION tollgate.turn_days(after text, most integer) RETURNS text LANGUAGE plpgsql
SET enable_hashjoin = off SET enable_mergejoin = off -- a page finds its rows by index, see table_tenants
AS $$
DECLARE
  r record;
  last text;
  n integer;
BEGIN
  SELECT max(x.tenant_id), count(*) INTO last, n FROM (
    SELECT t.tenant_id FROM public.tenant_settings t WHERE t.tenant_id > after ORDER BY t.tenant_id LIMIT most) x;
  FOR r IN SELECT t.tenant_id FROM public.tenant_settings t
    WHERE t.tenant_id > after AND t.tenant_id <= last
      AND ((SELECT 1 FROM public.tenant_periods p WHERE p.tenant_id = t.tenant_id -- NOT EXISTS would hash all tenants' periods
            AND p.starts_at > now() + interval '35 days' LIMIT 1) IS NULL
        OR (SELECT 1 FROM public.tenant_periods p JOIN public.usage_summary u ON u.tenant_id = p.tenant_id
            AND u.period_start = p.period_start
            WHERE p.tenant_id = t.tenant_id AND p.starts_at <= now() AND p.ends_at > now() LIMIT 1) IS NULL)
    ORDER BY t.tenant_id LOOP
    PERFORM tollgate.ensure_periods(r.tenant_id, now(), now() + interval '70 days');
    -- Events of a clock that runs ahead were counted before the summary's row was there.
    UPDATE public.usage_summary u SET api_calls_count = floor(c.calls), file_uploads_count = floor(c.uploads)
    FROM public.tenant_periods p, LATERAL (
      SELECT coalesce(sum(used) FILTER (WHERE metric_type = 'api_call'), 0) AS calls,
             coalesce(sum(used) FILTER (WHERE metric_type = 'file_upload'), 0) AS uploads
      FROM public.usage_counts k WHERE k.tenant_id = p.tenant_id AND k.limit_window = 'period'
        AND k.window_start = p.period_start) c
    WHERE p.tenant_id = r.tenant_id AND p.starts_at <= now() AND p.ends_at > now() AND u.tenant_id = p.tenant_id
      AND u.period_start = p.period_start AND (u.api_calls_count, u.file_uploads_count) <> (floor(c.calls), floor(c.uploads));
  END LOOP;
  WITH page AS MATERIALIZED (
    SELECT p.tenant_id, p.time_zone FROM public.tenant_periods p
    WHERE p.tenant_id > after AND p.tenant_id <= last AND p.starts_at <= now() AND p.ends_at > now()
  ), days AS MATERIALIZED ( -- once a zone: tenants are many, zones are few
    SELECT z.zone, tollgate.day_of(now(), z.zone) AS today FROM (SELECT DISTINCT time_zone AS zone FROM page) z
  )
  UPDATE public.tenant_subscriptions s SET current_usage = s.current_usage || jsonb_build_object('api_calls_today', t.calls)
  FROM (SELECT p.tenant_id, floor(coalesce(c.used, 0)) AS calls FROM page p JOIN days d ON d.zone = p.time_zone
        LEFT JOIN public.usage_counts c ON c.tenant_id = p.tenant_id AND c.metric_type = 'api_call'
          AND c.limit_window = 'day' AND c.window_start = d.today) t
  WHERE s.tenant_id = t.tenant_id AND s.current_usage -> 'api_calls_today' IS DISTINCT FROM to_jsonb(t.calls);
  RETURN CASE WHEN n = most THEN last END;
END $$;
