-- The catalogue of metrics and limits: what a row says that it does not name, and what a new limit begins with.

-- A row may name its aggregation or its kind, and need not say how amounts are shown.
CREATE OR REPLACE FUNCTION tollgate.metric_shape() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  NEW.aggregation := coalesce(NEW.aggregation, CASE NEW.kind WHEN 'gauge' THEN 'level' ELSE 'sum' END);
  NEW.kind := coalesce(NEW.kind, CASE NEW.aggregation WHEN 'level' THEN 'gauge' WHEN 'max' THEN 'observed' WHEN 'unique' THEN 'observed'
                                 ELSE 'counter' END);
  NEW.plural := coalesce(NEW.plural, NEW.unit);
  NEW.decimals := coalesce(NEW.decimals, 0);
  RETURN NEW;
END $$;

-- A limit an hour or a week begins with what was counted before it was made. Collectors wait at tollgate.usage_hourly, the first of their
-- aggregates, so nothing is counted meanwhile that would be in neither.
CREATE OR REPLACE FUNCTION tollgate.limit_added() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF NEW.limit_window NOT IN ('hour', 'week') THEN
    RETURN NULL;
  END IF;
  LOCK TABLE tollgate.usage_hourly IN SHARE ROW EXCLUSIVE MODE;
  IF NEW.limit_window = 'hour' THEN
    INSERT INTO tollgate.usage_counts_hourly (tenant_id, metric_type, hour, used)
    SELECT t.id, NEW.metric_type, h.hour, sum(h.total) FROM tollgate.tenants t
    JOIN tollgate.usage_hourly h ON h.tenant_id = t.id AND h.metric_type = NEW.metric_type AND h.hour > now() - interval '1 day'
    GROUP BY t.id, h.hour ON CONFLICT DO NOTHING;
  ELSIF (SELECT m.kind FROM tollgate.usage_metrics m WHERE m.metric_type = NEW.metric_type) = 'observed' THEN -- what the rows say
    INSERT INTO tollgate.usage_counts (tenant_id, metric_type, limit_window, window_start, used)
    SELECT o.tenant_id, o.metric, 'week', o.at::date, o.counted FROM tollgate.reconcile_observed(NULL) o
    WHERE o.metric = NEW.metric_type AND o.limit_window = 'week' AND o.at::date >= tollgate.week_start(current_date - 8) ON CONFLICT DO NOTHING;
  ELSE
    INSERT INTO tollgate.usage_counts (tenant_id, metric_type, limit_window, window_start, used)
    SELECT t.id, NEW.metric_type, 'week', tollgate.week_start(d.day), sum(d.total) FROM tollgate.tenants t
    JOIN tollgate.usage_daily d ON d.tenant_id = t.id AND d.metric_type = NEW.metric_type AND d.day >= tollgate.week_start(current_date - 8)
    GROUP BY t.id, tollgate.week_start(d.day) ON CONFLICT DO NOTHING;
  END IF;
  RETURN NULL;
END $$;
