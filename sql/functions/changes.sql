-- What changed in the host's tables and in the storage goes into the summaries, and into the batch as events of its own.

-- Asks the collector to measure a tenant's storage now: a change of storage without a level (created = 0).
CREATE OR REPLACE FUNCTION tollgate.request_measure(p_tenant text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM tollgate.only_own(p_tenant);
  INSERT INTO tollgate.usage_changes (tenant_id, metric, recount)
  SELECT t.id, 'storage_used_gb', true FROM tollgate.tenants t WHERE t.id = p_tenant;
END $$;
GRANT EXECUTE ON FUNCTION tollgate.request_measure(text) TO tollgate_web;

-- A level that was measured (created = 1): counted by the next tollgate.ingest_changes.
CREATE OR REPLACE FUNCTION tollgate.put_storage(p_tenant text, p_bytes bigint) RETURNS void LANGUAGE sql AS $$
  INSERT INTO tollgate.usage_changes (tenant_id, metric, delta, created, recount)
  SELECT t.id, 'storage_used_gb', p_bytes, 1, true FROM tollgate.tenants t WHERE t.id = p_tenant
$$;
GRANT EXECUTE ON FUNCTION tollgate.put_storage(text, bigint) TO tollgate_collector;

-- A gauge that Tollgate counts or measures itself: what it is now.
CREATE OR REPLACE FUNCTION tollgate.put_level(tenant text, what text, now_is numeric) RETURNS void LANGUAGE sql AS $$
  INSERT INTO tollgate.usage_levels AS l (tenant_id, metric_type, level, recorded_at, set_at)
  SELECT tenant, m.metric_type, round(now_is, 6), now(), now() FROM tollgate.usage_metrics m WHERE m.metric_type = what
  ON CONFLICT (tenant_id, metric_type) DO UPDATE SET level = excluded.level, recorded_at = now(), set_at = now(), updated_at = now()
$$;
GRANT EXECUTE ON FUNCTION tollgate.put_level(text, text, numeric) TO tollgate_collector;

-- What sources brought: that of an enforced gauge from its shares (held), of the others by what changed.
CREATE OR REPLACE FUNCTION tollgate.change_levels(tenant text, held jsonb, metrics text[], deltas bigint[], recounted boolean) RETURNS void LANGUAGE sql AS $$
  SELECT count(tollgate.put_level(tenant, s.metric_type, greatest(0, coalesce((held ->> s.metric_type)::numeric,
           coalesce(l.level, 0) + d.delta / tollgate.source_scale(s)))))
  FROM tollgate.usage_sources s
  LEFT JOIN (SELECT x.metric, sum(x.delta) AS delta FROM unnest(metrics, deltas) AS x (metric, delta) GROUP BY 1) d
    ON d.metric = s.metric_type AND d.delta <> 0 AND NOT recounted
  LEFT JOIN tollgate.usage_levels l ON l.tenant_id = tenant AND l.metric_type = s.metric_type
  WHERE held ? s.metric_type OR d.delta IS NOT NULL
$$;
GRANT EXECUTE ON FUNCTION tollgate.change_levels(text, jsonb, text[], bigint[], boolean) TO tollgate_collector;

-- Adds what tollgate.usage_changes brings to the levels, the summary and current_usage, takes the level of an enforced gauge from its
-- shares, and puts a row a changed gauge and one a new row that a source records into pg_temp.batch, for tollgate.ingest in the same
-- transaction. Returns the tenants whose storage is to be measured.
CREATE OR REPLACE FUNCTION tollgate.ingest_changes(p_max integer) RETURNS TABLE (tenant_id text) LANGUAGE plpgsql SET jit = off AS $$
#variable_conflict use_column
DECLARE
  c record;
  was bigint;
  bytes bigint;
  before jsonb;
  held jsonb;
  place bigint := 0;
BEGIN
  FOR c IN
    WITH taken AS (
      DELETE FROM tollgate.usage_changes u USING (
        SELECT tenant_id, id FROM tollgate.usage_changes ORDER BY tenant_id, id LIMIT p_max FOR UPDATE SKIP LOCKED) x
      WHERE u.tenant_id = x.tenant_id AND u.id = x.id RETURNING u.tenant_id, u.id, u.metric, u.delta, u.created, u.recount
    ), enforced AS (
      SELECT e.tenant_id FROM tollgate.enforced_gauges e
      WHERE e.id IN (SELECT h.gauge FROM tollgate.enforce_shares h WHERE h.changed) LIMIT p_max
    )
    SELECT t.tenant_id, bool_or(t.id IS NOT NULL) AS noted,
      array_agg(metric) FILTER (WHERE metric <> 'storage_used_gb') AS metrics, array_agg(delta) FILTER (WHERE metric <> 'storage_used_gb') AS deltas,
      array_agg(created) FILTER (WHERE metric <> 'storage_used_gb') AS created,
      coalesce(bool_or(recount) FILTER (WHERE metric <> 'storage_used_gb'), false) AS recount,
      coalesce(bool_or(recount AND created = 0) FILTER (WHERE metric = 'storage_used_gb'), false) AS measure,
      (array_agg(delta ORDER BY id DESC) FILTER (WHERE metric = 'storage_used_gb' AND recount AND created = 1))[1] AS level,
      coalesce(sum(delta) FILTER (WHERE metric = 'storage_used_gb' AND NOT recount), 0) AS bytes
    FROM (SELECT * FROM taken UNION ALL SELECT e.tenant_id, NULL, NULL, NULL, NULL, NULL FROM enforced e) t
    GROUP BY t.tenant_id ORDER BY t.tenant_id
  LOOP
    CONTINUE WHEN NOT EXISTS (SELECT FROM tollgate.tenants t WHERE t.id = c.tenant_id);
    IF c.measure THEN
      tenant_id := c.tenant_id;
      RETURN NEXT;
    END IF;
    PERFORM tollgate.ensure_periods(c.tenant_id, now(), now());
    SELECT u.storage_bytes INTO was FROM public.usage_summary u JOIN tollgate.tenant_periods p
      ON p.tenant_id = u.tenant_id AND p.period_start = u.period_start
    WHERE u.tenant_id = c.tenant_id AND p.starts_at <= now() AND p.ends_at > now() FOR UPDATE OF u;
    CONTINUE WHEN NOT FOUND;
    -- Before the shares, as a plan's change does: so none of the two waits for the other.
    PERFORM tollgate.put_usage(ARRAY[c.tenant_id], ARRAY['{}'::jsonb]); -- changes nothing, but holds the row
    held := coalesce((SELECT jsonb_object_agg(h.metric, h.level) FROM tollgate.take_levels(c.tenant_id) h), '{}');
    before := coalesce((SELECT jsonb_object_agg(l.metric_type, l.level) FROM tollgate.usage_levels l WHERE l.tenant_id = c.tenant_id), '{}');
    CONTINUE WHEN NOT c.noted AND NOT EXISTS (SELECT FROM jsonb_each(held) h WHERE h.value <> coalesce(before -> h.key, '0'));
    IF c.recount THEN
      PERFORM tollgate.recount(c.tenant_id);
    END IF;
    PERFORM tollgate.change_levels(c.tenant_id, held, c.metrics, c.deltas, c.recount);
    bytes := greatest(0, coalesce(c.level, was) + c.bytes);
    IF bytes <> was OR c.level IS NOT NULL AND NOT before ? 'storage_used_gb' THEN -- a first measure of nothing is a level, too
      UPDATE public.usage_summary u SET storage_bytes = bytes FROM tollgate.tenant_periods p
      WHERE u.tenant_id = c.tenant_id AND p.tenant_id = u.tenant_id AND p.period_start = u.period_start AND p.starts_at <= now() AND p.ends_at > now();
      PERFORM tollgate.put_level(c.tenant_id, 'storage_used_gb', bytes / 1e9);
    END IF;
    PERFORM tollgate.show_levels(c.tenant_id);
    INSERT INTO pg_temp.batch
    SELECT place + row_number() OVER (), c.tenant_id, g.metric, g.level, now(), now(),
           date_bin('15 minutes', now(), '2000-01-01Z'), '', '', '', '', '', true, g.metadata
    FROM (
      SELECT l.metric_type AS metric, l.level, '{}' AS metadata FROM tollgate.usage_levels l JOIN tollgate.usage_sources s ON s.metric_type = l.metric_type
      WHERE l.tenant_id = c.tenant_id AND l.level <> coalesce((before ->> l.metric_type)::numeric, 0)
      UNION ALL
      SELECT 'storage_used_gb', round(bytes / 1e9, 6), jsonb_build_object('bytes', bytes)::text WHERE bytes <> was
      UNION ALL
      SELECT s.records, 1, '{}' FROM (SELECT x.metric, sum(x.n) AS n FROM unnest(c.metrics, c.created) AS x (metric, n) GROUP BY 1) r
      JOIN tollgate.usage_sources s ON s.metric_type = r.metric CROSS JOIN generate_series(1, r.n) WHERE s.records IS NOT NULL) g
    WHERE EXISTS (SELECT FROM tollgate.usage_metrics m WHERE m.metric_type = g.metric);
    SELECT count(*) INTO place FROM pg_temp.batch;
    -- Every node's limit table learns the new levels from here.
    INSERT INTO tollgate.config_changes (kind, subject) VALUES ('tenant', c.tenant_id);
  END LOOP;
END $$;
GRANT EXECUTE ON FUNCTION tollgate.ingest_changes(int) TO tollgate_collector;
