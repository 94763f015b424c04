-- Whoever changes the subscriptions of several tenants takes them in the order of their ids: a tier's change under traffic met a
-- batch in a deadlock, and PostgreSQL ended the change.

CREATE OR REPLACE FUNCTION tollgate.limits_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  IF TG_TABLE_NAME = 'subscription_tiers' THEN
    PERFORM tollgate.apply_limits(s.tenant_id::text)
    FROM (SELECT x.tenant_id FROM tenant_subscriptions x WHERE x.tier_id = NEW.id ORDER BY x.tenant_id) s;
  ELSIF TG_OP = 'DELETE' THEN
    PERFORM tollgate.apply_limits(OLD.tenant_id::text);
  ELSE
    PERFORM tollgate.apply_limits(NEW.tenant_id::text);
  END IF;
  RETURN NULL;
END $$;

-- Counts of days and periods, the summary and what the host's subscription row shows.
CREATE OR REPLACE FUNCTION tollgate.ingest_counts() RETURNS void LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
  WITH added AS (
    SELECT tenant_id, metric_type, 'day' AS limit_window, day AS window_start, sum(total) AS total
    FROM pg_temp.batch_sums WHERE counter GROUP BY 1, 2, 4
    UNION ALL
    SELECT tenant_id, metric_type, 'period', period_start, sum(total) FROM pg_temp.batch_sums WHERE counter GROUP BY 1, 2, 4
  ), put AS (
    INSERT INTO public.usage_counts AS c (tenant_id, metric_type, limit_window, window_start, used)
    SELECT * FROM added ORDER BY 1, 2, 3, 4
    ON CONFLICT (tenant_id, metric_type, limit_window, window_start)
    DO UPDATE SET used = c.used + excluded.used, xid = pg_current_xact_id()
    RETURNING c.tenant_id, c.metric_type, c.limit_window, c.window_start, c.used
  )
  INSERT INTO pg_temp.batch_totals SELECT * FROM put;

  UPDATE public.usage_summary s SET api_calls_count = coalesce(t.calls, s.api_calls_count),
    file_uploads_count = coalesce(t.uploads, s.file_uploads_count), updated_at = now()
  FROM (SELECT tenant_id, window_start, floor(sum(used) FILTER (WHERE metric_type = 'api_call')) AS calls,
               floor(sum(used) FILTER (WHERE metric_type = 'file_upload')) AS uploads
        FROM pg_temp.batch_totals WHERE limit_window = 'period' AND metric_type IN ('api_call', 'file_upload')
        GROUP BY 1, 2) t
  WHERE s.tenant_id = t.tenant_id AND s.period_start = t.window_start;

  PERFORM FROM public.tenant_subscriptions s
  WHERE s.tenant_id IN (SELECT t.tenant_id FROM pg_temp.batch_totals t WHERE t.limit_window = 'day' AND t.metric_type = 'api_call')
  ORDER BY s.tenant_id FOR NO KEY UPDATE;
  UPDATE public.tenant_subscriptions s
  SET current_usage = s.current_usage || jsonb_build_object('api_calls_today', floor(t.used))
  FROM pg_temp.batch_totals t
  WHERE t.limit_window = 'day' AND t.metric_type = 'api_call' AND s.tenant_id = t.tenant_id
    AND t.window_start = (SELECT tollgate.day_of(now(), b.time_zone) FROM pg_temp.batch_spans b
                          WHERE b.tenant_id = t.tenant_id AND b.day = t.window_start LIMIT 1);
END $$;
