-- Metrics that are observed: the largest value in a window (max), and how many distinct values of a field there were (unique).
--
-- Distinct values are counted by the smallest hashes of a window's: up to 10,000 all are kept, and their number is exact; beyond that the
-- 10,001st tells how close they lie, and so how many there are, within about 1 % (one standard error). Whatever order they come in, the same
-- are kept: what is counted as it comes equals what is counted again from the rows.

-- What an event of the metric is worth to max; null: nothing.
CREATE OR REPLACE FUNCTION tollgate.observed_value(field text, value numeric, metadata jsonb) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT CASE WHEN field IS NULL THEN value
              WHEN jsonb_typeof(metadata -> field) = 'number' AND (metadata ->> field)::numeric BETWEEN 0 AND 1000000000000
              THEN round((metadata ->> field)::numeric, 6) END
$$;
GRANT EXECUTE ON FUNCTION tollgate.observed_value(text, numeric, jsonb) TO tollgate_collector;

-- Of what an event of the metric has in the field; null: nothing. A text and a number are different values.
CREATE OR REPLACE FUNCTION tollgate.observed_hash(field text, metadata jsonb) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT CASE WHEN jsonb_typeof(metadata -> field) <> 'null'
              THEN ('x' || left(md5((metadata -> field)::text), 16))::bit(64)::bigint END
$$;
GRANT EXECUTE ON FUNCTION tollgate.observed_hash(text, jsonb) TO tollgate_collector;

-- How many values there are when `last` is the 10,001st hash.
CREATE OR REPLACE FUNCTION tollgate.distinct_estimate(last bigint) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
  $$ SELECT greatest(10001, round(10000 / ((last::numeric + 9223372036854775809) / 18446744073709551616))) $$;
GRANT EXECUTE ON FUNCTION tollgate.distinct_estimate(bigint) TO tollgate_collector;

-- How many the hashes are of, which are distinct and ascending.
CREATE OR REPLACE FUNCTION tollgate.distinct_of(hashes bigint[]) RETURNS numeric LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT CASE WHEN cardinality(hashes) > 10000 THEN tollgate.distinct_estimate(hashes[10001]) ELSE coalesce(cardinality(hashes), 0) END
$$;
GRANT EXECUTE ON FUNCTION tollgate.distinct_of(bigint[]) TO tollgate_collector;

-- Adds hashes to a window of which `held` is known already; how many there are then. The window's row is locked by the caller. Where nothing
-- is kept of a window any more, or it was set right by tollgate.repair, its rows are read once.
CREATE OR REPLACE FUNCTION tollgate.distinct_add(p_tenant text, p_metric text, p_field text, p_window text, p_start timestamptz,
  p_from timestamptz, p_to timestamptz, p_held numeric, p_hashes bigint[]) RETURNS numeric LANGUAGE plpgsql AS $$
DECLARE
  kept bigint := least(p_held, 10001);
  last bigint;
  added bigint;
BEGIN
  IF p_held > 0 AND NOT EXISTS (SELECT FROM tollgate.usage_distinct d WHERE d.tenant_id = p_tenant AND d.metric_type = p_metric
                                AND d.limit_window = p_window AND d.window_start = p_start) THEN
    kept := 0;
    p_hashes := ARRAY(SELECT DISTINCT x.hash FROM (
      SELECT tollgate.observed_hash(p_field, u.metadata) AS hash FROM public.usage_tracking u WHERE u.tenant_id = p_tenant
        AND u.metric_type = p_metric AND u.recorded_at >= p_from AND u.recorded_at < p_to
      UNION ALL SELECT unnest(p_hashes)) x WHERE x.hash IS NOT NULL ORDER BY 1 LIMIT 10001);
  END IF;
  IF kept = 10001 THEN
    SELECT d.hash INTO last FROM tollgate.usage_distinct d WHERE d.tenant_id = p_tenant AND d.metric_type = p_metric
      AND d.limit_window = p_window AND d.window_start = p_start ORDER BY d.hash DESC LIMIT 1;
  END IF;
  INSERT INTO tollgate.usage_distinct (tenant_id, metric_type, limit_window, window_start, hash)
  SELECT p_tenant, p_metric, p_window, p_start, h FROM unnest(p_hashes) h WHERE last IS NULL OR h < last ORDER BY h ON CONFLICT DO NOTHING;
  GET DIAGNOSTICS added = ROW_COUNT;
  kept := kept + added;
  IF kept > 10001 THEN
    DELETE FROM tollgate.usage_distinct d WHERE d.tenant_id = p_tenant AND d.metric_type = p_metric AND d.limit_window = p_window
      AND d.window_start = p_start AND d.hash = ANY (ARRAY(SELECT x.hash FROM tollgate.usage_distinct x WHERE x.tenant_id = p_tenant
        AND x.metric_type = p_metric AND x.limit_window = p_window AND x.window_start = p_start ORDER BY x.hash DESC LIMIT kept - 10001));
    kept := 10001;
  END IF;
  IF kept < 10001 THEN
    RETURN greatest(kept, CASE WHEN p_held > 10000 THEN p_held END); -- of what was removed nothing can be read any more
  END IF;
  SELECT d.hash INTO last FROM tollgate.usage_distinct d WHERE d.tenant_id = p_tenant AND d.metric_type = p_metric
    AND d.limit_window = p_window AND d.window_start = p_start ORDER BY d.hash DESC LIMIT 1;
  RETURN tollgate.distinct_estimate(last);
END $$;
GRANT EXECUTE ON FUNCTION tollgate.distinct_add(text, text, text, text, timestamptz, timestamptz, timestamptz, numeric, bigint[]) TO tollgate_collector;

-- What a batch brings to each window of the metrics that are observed, whose rows in the aggregates it has written, with 0, and so locked.
CREATE OR REPLACE FUNCTION tollgate.ingest_observed() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  w record;
  held numeric;
  now_used numeric;
BEGIN
  FOR w IN
    WITH seen AS (
      SELECT b.tenant_id, b.metric_type, m.aggregation, m.field, s.hour, s.day, s.period_start, s.time_zone,
             CASE m.aggregation WHEN 'max' THEN tollgate.observed_value(m.field, b.value, coalesce(b.metadata, '{}')::jsonb) END AS value,
             CASE m.aggregation WHEN 'unique' THEN tollgate.observed_hash(m.field, coalesce(b.metadata, '{}')::jsonb) END AS hash
      FROM pg_temp.batch b JOIN tollgate.usage_metrics m ON m.metric_type = b.metric_type AND m.kind = 'observed'
      JOIN pg_temp.batch_spans s ON s.tenant_id = b.tenant_id AND s.quarter = b.quarter
    ), windows AS (
      SELECT x.tenant_id, x.metric_type, x.aggregation, x.field, v.name, v.start, min(x.time_zone) AS zone, max(x.value) AS value,
             array_agg(DISTINCT x.hash) FILTER (WHERE x.hash IS NOT NULL) AS hashes
      FROM seen x CROSS JOIN LATERAL (VALUES ('hour', x.hour), ('day', x.day::timestamp AT TIME ZONE 'UTC'),
        ('week', CASE WHEN EXISTS (SELECT FROM tollgate.usage_limit_keys k WHERE k.metric_type = x.metric_type AND k.limit_window = 'week')
                      THEN tollgate.week_start(x.day)::timestamp AT TIME ZONE 'UTC' END),
        ('period', x.period_start::timestamp AT TIME ZONE 'UTC')) AS v (name, start)
      WHERE v.start IS NOT NULL AND (x.value IS NOT NULL OR x.hash IS NOT NULL)
      GROUP BY 1, 2, 3, 4, 5, 6
    ), dated AS (
      SELECT x.*, (x.start AT TIME ZONE 'UTC')::date AS date FROM windows x
    )
    SELECT x.*, CASE x.name WHEN 'hour' THEN x.start WHEN 'period' THEN p.starts_at ELSE tollgate.day_start(x.date, x.zone) END AS from_at,
      CASE x.name WHEN 'hour' THEN least(x.start + interval '1 hour', tollgate.day_start(tollgate.day_of(x.start, x.zone) + 1, x.zone))
        WHEN 'day' THEN tollgate.day_start(x.date + 1, x.zone) WHEN 'week' THEN tollgate.day_start(x.date + 7, x.zone) ELSE p.ends_at END AS to_at
    FROM dated x LEFT JOIN tollgate.tenant_periods p ON x.name = 'period' AND p.tenant_id = x.tenant_id AND p.period_start = x.date
    ORDER BY x.tenant_id, x.metric_type, x.name, x.start
  LOOP
    IF w.name = 'hour' THEN
      SELECT h.total INTO held FROM tollgate.usage_hourly h WHERE h.tenant_id = w.tenant_id AND h.metric_type = w.metric_type
        AND h.hour = w.start AND h.method = '' AND h.endpoint = '';
    ELSE
      SELECT c.used INTO held FROM tollgate.usage_counts c WHERE c.tenant_id = w.tenant_id AND c.metric_type = w.metric_type
        AND c.limit_window = w.name AND c.window_start = w.date;
    END IF;
    now_used := CASE w.aggregation WHEN 'max' THEN greatest(held, w.value)
      ELSE tollgate.distinct_add(w.tenant_id, w.metric_type, w.field, w.name, w.start, w.from_at, w.to_at, held, w.hashes) END;
    CONTINUE WHEN now_used = held;
    IF w.name = 'hour' THEN
      UPDATE tollgate.usage_hourly h SET total = now_used WHERE h.tenant_id = w.tenant_id AND h.metric_type = w.metric_type
        AND h.hour = w.start AND h.method = '' AND h.endpoint = '';
      UPDATE tollgate.usage_counts_hourly h SET used = now_used WHERE h.tenant_id = w.tenant_id AND h.metric_type = w.metric_type AND h.hour = w.start;
      UPDATE pg_temp.batch_hours h SET used = now_used WHERE h.tenant_id = w.tenant_id AND h.metric_type = w.metric_type AND h.hour = w.start;
      CONTINUE;
    END IF;
    UPDATE tollgate.usage_counts c SET used = now_used WHERE c.tenant_id = w.tenant_id AND c.metric_type = w.metric_type
      AND c.limit_window = w.name AND c.window_start = w.date;
    UPDATE pg_temp.batch_totals t SET used = now_used WHERE t.tenant_id = w.tenant_id AND t.metric_type = w.metric_type
      AND t.limit_window = w.name AND t.window_start = w.date;
    IF w.name = 'day' THEN
      UPDATE tollgate.usage_daily d SET total = now_used WHERE d.tenant_id = w.tenant_id AND d.metric_type = w.metric_type
        AND d.day = w.date AND d.method = '' AND d.endpoint = '';
    END IF;
  END LOOP;
END $$;
GRANT EXECUTE ON FUNCTION tollgate.ingest_observed() TO tollgate_collector;

-- Differences of the counts of metrics that are observed, which don't follow from the days.
CREATE OR REPLACE FUNCTION tollgate.reconcile_observed(p_tenant text)
RETURNS TABLE (tenant_id text, metric text, at text, limit_window text, stored numeric, counted numeric)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET work_mem = '64MB' SET jit = off AS $$
  WITH kept AS MATERIALIZED (
    SELECT k.tenant_id, greatest(k.day, r.before::date) AS first FROM tollgate.reconcile_kept(p_tenant) k
    LEFT JOIN tollgate.removed r ON r.what = 'counts'
    WHERE EXISTS (SELECT FROM tollgate.usage_metrics m WHERE m.kind = 'observed')
  ), metrics AS MATERIALIZED (
    SELECT m.metric_type::text, m.aggregation, m.field, coalesce(bool_or(k.limit_window = 'hour'), false) AS hours,
           coalesce(bool_or(k.limit_window = 'week'), false) AS weeks
    FROM tollgate.usage_metrics m LEFT JOIN tollgate.usage_limit_keys k ON k.metric_type = m.metric_type WHERE m.kind = 'observed' GROUP BY 1, 2, 3
  ), seen AS (
    SELECT u.tenant_id::text, m.metric_type, m.aggregation, p.period_start, tollgate.day_of(u.recorded_at, p.time_zone) AS day,
           tollgate.hour_start(u.recorded_at, p.time_zone) AS hour,
           CASE m.aggregation WHEN 'max' THEN tollgate.observed_value(m.field, u.metric_value, u.metadata) END AS value,
           CASE m.aggregation WHEN 'unique' THEN tollgate.observed_hash(m.field, u.metadata) END AS hash
    FROM kept k JOIN public.usage_tracking u ON u.tenant_id = k.tenant_id JOIN metrics m ON m.metric_type = u.metric_type
    JOIN tollgate.tenant_periods p ON p.tenant_id = u.tenant_id AND p.starts_at <= u.recorded_at AND p.ends_at > u.recorded_at
  ), counts AS (
    SELECT x.tenant_id, x.metric_type, w.name, w.start,
           coalesce(CASE x.aggregation WHEN 'max' THEN greatest(max(x.value), 0)
             ELSE tollgate.distinct_of(array_agg(DISTINCT x.hash) FILTER (WHERE x.hash IS NOT NULL)) END, 0) AS used
    FROM seen x CROSS JOIN LATERAL (VALUES ('day', x.day::text), ('week', tollgate.week_start(x.day)::text), ('period', x.period_start::text),
      ('hour', x.hour::text)) AS w (name, start)
    GROUP BY x.tenant_id, x.metric_type, x.aggregation, w.name, w.start
  ), stored_counts AS (
    SELECT c.tenant_id::text, m.metric_type, c.limit_window AS name, c.window_start::text AS start, c.used
    FROM tollgate.usage_counts c JOIN kept k ON k.tenant_id = c.tenant_id JOIN metrics m ON m.metric_type = c.metric_type
    UNION ALL
    SELECT h.tenant_id, m.metric_type, 'hour', h.hour::text, h.used
    FROM tollgate.usage_counts_hourly h JOIN kept k ON k.tenant_id = h.tenant_id JOIN metrics m ON m.metric_type = h.metric_type
  )
  SELECT b.tenant_id, b.metric_type, b.start, b.name, b.stored, b.counted
  FROM (SELECT coalesce(s.tenant_id, c.tenant_id) AS tenant_id, coalesce(s.metric_type, c.metric_type) AS metric_type,
               coalesce(s.start, c.start) AS start, coalesce(s.name, c.name) AS name, s.used AS stored, c.used AS counted
        FROM stored_counts s FULL JOIN counts c ON c.tenant_id = s.tenant_id AND c.metric_type = s.metric_type AND c.name = s.name AND c.start = s.start) b
  JOIN kept k ON k.tenant_id = b.tenant_id JOIN metrics m ON m.metric_type = b.metric_type
  WHERE coalesce(b.stored, 0) <> coalesce(b.counted, 0)
    AND CASE b.name WHEN 'hour' THEN m.hours AND b.start::timestamptz > now() - interval '20 hours'
                    ELSE (m.weeks OR b.name <> 'week') AND b.start::date >= k.first END
$$;
