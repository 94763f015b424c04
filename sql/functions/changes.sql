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

-- Adds what tollgate.usage_changes brings to the summary and current_usage, takes the level of an enforced gauge from its shares, and puts
-- a row a changed gauge and one a new appointment into pg_temp.batch, for tollgate.ingest in the same transaction. Returns the
-- tenants whose storage is to be measured.
CREATE OR REPLACE FUNCTION tollgate.ingest_changes(p_max integer) RETURNS TABLE (tenant_id text) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  c record;
  s public.usage_summary;
  before public.usage_summary;
  held record;
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
      coalesce(sum(delta) FILTER (WHERE metric = 'patients_count'), 0) AS patients,
      coalesce(sum(delta) FILTER (WHERE metric = 'users_count'), 0) AS users,
      coalesce(sum(delta) FILTER (WHERE metric = 'appointments_count'), 0) AS appointments,
      coalesce(sum(created) FILTER (WHERE metric = 'appointments_count'), 0) AS created,
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
    SELECT u.* INTO before FROM public.usage_summary u JOIN tollgate.tenant_periods p
      ON p.tenant_id = u.tenant_id AND p.period_start = u.period_start
    WHERE u.tenant_id = c.tenant_id AND p.starts_at <= now() AND p.ends_at > now() FOR UPDATE OF u;
    CONTINUE WHEN NOT FOUND;
    -- Before the shares, as a plan's change does: so none of the two waits for the other.
    PERFORM tollgate.put_usage(ARRAY[c.tenant_id], ARRAY['{}'::jsonb]); -- changes nothing, but holds the row
    SELECT * INTO held FROM tollgate.take_levels(c.tenant_id);
    CONTINUE WHEN NOT c.noted AND coalesce(held.patients, before.patients_count) = before.patients_count
      AND coalesce(held.people, before.users_count) = before.users_count;
    IF c.recount THEN
      PERFORM tollgate.recount(c.tenant_id);
    END IF;
    UPDATE public.usage_summary u SET
      patients_count = coalesce(held.patients, greatest(0, u.patients_count + CASE WHEN c.recount THEN 0 ELSE c.patients END)),
      users_count = coalesce(held.people, greatest(0, u.users_count + CASE WHEN c.recount THEN 0 ELSE c.users END)),
      appointments_count = greatest(0, u.appointments_count + CASE WHEN c.recount THEN 0 ELSE c.appointments END),
      storage_bytes = greatest(0, coalesce(c.level, u.storage_bytes) + c.bytes),
      storage_used_gb = round(greatest(0, coalesce(c.level, u.storage_bytes) + c.bytes) / 1e9, 6),
      updated_at = now()
    WHERE u.tenant_id = before.tenant_id AND u.id = before.id RETURNING u.* INTO s;
    PERFORM tollgate.put_usage(ARRAY[c.tenant_id], ARRAY[jsonb_build_object('patients_count', s.patients_count,
      'users_count', s.users_count, 'storage_used_gb', trim_scale(s.storage_used_gb))]);
    INSERT INTO pg_temp.batch
    SELECT place + row_number() OVER (), c.tenant_id, g.metric, g.level, now(), now(),
           date_bin('15 minutes', now(), '2000-01-01Z'), '', '', '', '', '', true, g.metadata
    FROM (
      SELECT v.metric, v.level, v.metadata FROM (VALUES
        ('patients_count', s.patients_count::numeric, s.patients_count - before.patients_count, '{}'),
        ('users_count', s.users_count, s.users_count - before.users_count, '{}'),
        ('storage_used_gb', s.storage_used_gb, s.storage_bytes - before.storage_bytes,
         jsonb_build_object('bytes', s.storage_bytes)::text)) AS v (metric, level, change, metadata)
      WHERE v.change <> 0
      UNION ALL
      SELECT 'appointment_created', 1, '{}' FROM generate_series(1, c.created)) g
    WHERE EXISTS (SELECT FROM tollgate.usage_metrics m WHERE m.metric_type = g.metric);
    SELECT count(*) INTO place FROM pg_temp.batch;
    -- Every node's limit table learns the new levels from here.
    INSERT INTO tollgate.config_changes (kind, subject) VALUES ('tenant', c.tenant_id);
  END LOOP;
END $$;
GRANT EXECUTE ON FUNCTION tollgate.ingest_changes(int) TO tollgate_collector;
