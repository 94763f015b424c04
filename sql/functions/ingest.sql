-- What the collector does with a batch. lib/store/ingest.c fills pg_temp.batch by COPY and calls tollgate.ingest in the
-- same transaction, so rows, rollups, ids and positions are committed together or not at all.
-- Locks are taken in one order everywhere: node, ids, hourly, daily, counts, summary, subscriptions; each by key.

-- The staging tables, empty at each transaction's end; behind a pooler they are left for the session's next user.
-- Their text has the database's collation: with another one no index of the tables that it is compared with
-- would serve, and each batch would read those from end to end.
CREATE OR REPLACE FUNCTION tollgate.batch_open() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF to_regclass('pg_temp.batch_hours') IS NOT NULL THEN
    -- A table by this name that another role made in this session could have triggers of that role's.
    IF EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.relnamespace = pg_catalog.pg_my_temp_schema() AND c.relname ~ '^batch'
               AND c.relowner <> (SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname = current_user)) THEN
      RAISE EXCEPTION 'a temporary table batch of another role stands in this session' USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    RETURN;
  END IF;
  DROP TABLE IF EXISTS pg_temp.batch, pg_temp.batch_spans, pg_temp.batch_sums, pg_temp.batch_totals; -- of an earlier version
  CREATE TEMP TABLE batch (
    ordinal     bigint,
    tenant_id   text,
    metric_type text,
    value       numeric,
    recorded_at timestamptz,
    appended_at timestamptz,
    quarter     timestamptz,  -- recorded_at cut to 15 minutes: no zone's day begins within one
    source      text,
    event_id    text,  -- '' is none
    method      text,
    endpoint    text,
    key_id      text,
    uncounted   boolean,      -- the node's limit table does not hold it yet
    metadata    text,
    delta       boolean NOT NULL DEFAULT false -- of a gauge: value is a change of its level
  ) ON COMMIT DELETE ROWS;
  CREATE TEMP TABLE batch_spans (
    tenant_id text, quarter timestamptz, hour timestamptz, day date, time_zone text, period_start date,
    billing_period text
  ) ON COMMIT DELETE ROWS;
  CREATE TEMP TABLE batch_sums (
    tenant_id text, metric_type text, counter boolean, observed boolean, hour timestamptz, day date, time_zone text,
    period_start date, method text, endpoint text, total numeric, uncounted numeric, events bigint
  ) ON COMMIT DELETE ROWS;
  CREATE TEMP TABLE batch_levels ( -- each gauge of the batch; level: where it stood before
    tenant_id text, metric_type text, until timestamptz, first timestamptz, level numeric, recorded_at timestamptz, set_at timestamptz
  ) ON COMMIT DELETE ROWS;
  CREATE TEMP TABLE batch_steps ( -- levels after each of their events
    tenant_id text, metric_type text, recorded_at timestamptz, place bigint, hour timestamptz, day date, level numeric, delta boolean
  ) ON COMMIT DELETE ROWS;
  CREATE TEMP TABLE batch_totals (
    tenant_id text, metric_type text, limit_window text, window_start date, used numeric
  ) ON COMMIT DELETE ROWS;
  CREATE TEMP TABLE batch_hours ( -- counts of hours
    tenant_id text, metric_type text, hour timestamptz, used numeric, added numeric, uncounted numeric
  ) ON COMMIT DELETE ROWS;
END $$;
GRANT EXECUTE ON FUNCTION tollgate.batch_open() TO tollgate_collector;

-- How far a segment is stored: the largest bigint when it is settled, 0 when nothing of it is.
CREATE OR REPLACE FUNCTION tollgate.segment_position(p_node uuid, p_segment bigint) RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce(
    (SELECT p.position FROM tollgate.collector_progress p WHERE p.node = p_node AND p.segment = p_segment),
    (SELECT CASE WHEN p_segment < n.settled_below THEN 9223372036854775807 END FROM tollgate.collector_nodes n WHERE n.node = p_node),
    0)
$$;
GRANT EXECUTE ON FUNCTION tollgate.segment_position(uuid, bigint) TO tollgate_web, tollgate_collector;

-- Holds the node for this transaction and moves its positions, if they are where the batch began; the number of this commit. Without a
-- token the caller is not the node's collector: the number stays, and 0 is returned.
-- TG011: another collector has started with this node's id since (a copied image); 40001: the positions have moved.
DROP FUNCTION IF EXISTS tollgate.ingest_fence(uuid, bytea, bigint[], bigint[], bigint[]);
CREATE OR REPLACE FUNCTION tollgate.ingest_fence(p_node uuid, p_token bytea, p_segments bigint[], p_from bigint[], p_to bigint[])
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  held record;
BEGIN
  INSERT INTO tollgate.collector_nodes (node, token) VALUES (p_node, coalesce(p_token, '\x')) ON CONFLICT DO NOTHING;
  UPDATE tollgate.collector_nodes n SET commits = n.commits + (p_token IS NOT NULL)::int WHERE n.node = p_node
  RETURNING n.token, CASE WHEN p_token IS NULL THEN 0 ELSE n.commits END AS number INTO held;
  IF p_token IS NOT NULL AND held.token <> p_token THEN
    RAISE EXCEPTION 'node % was started elsewhere since', p_node USING ERRCODE = 'TG011';
  END IF;
  IF EXISTS (SELECT FROM unnest(p_segments, p_from) AS s (segment, position)
             WHERE tollgate.segment_position(p_node, s.segment) <> s.position) THEN
    RAISE EXCEPTION 'positions of node % have moved', p_node USING ERRCODE = 'serialization_failure';
  END IF;
  INSERT INTO tollgate.collector_progress (node, segment, position)
  SELECT p_node, s.segment, s.position FROM unnest(p_segments, p_to) AS s (segment, position) ORDER BY s.segment
  ON CONFLICT (node, segment) DO UPDATE SET position = excluded.position, updated_at = now();
  RETURN held.number;
END $$;
GRANT EXECUTE ON FUNCTION tollgate.ingest_fence(uuid, bytea, bigint[], bigint[], bigint[]) TO tollgate_collector;

-- p_settled are stored to their end and will get no more: their rows go. Below p_below those in p_open are not: each has a row, so
-- that everything else there is settled. A row whose segment was not seen for a time goes, too. The number of this commit.
CREATE OR REPLACE FUNCTION tollgate.settle_segments(p_node uuid, p_token bytea, p_below bigint, p_settled bigint[], p_open bigint[])
RETURNS bigint LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  held record;
BEGIN
  SELECT n.token, n.settled_below, n.commits INTO held FROM tollgate.collector_nodes n WHERE n.node = p_node FOR UPDATE;
  IF held.token IS DISTINCT FROM p_token THEN
    RAISE EXCEPTION 'node % was started elsewhere since', p_node USING ERRCODE = 'TG011';
  END IF;
  INSERT INTO tollgate.collector_progress (node, segment, position)
  SELECT p_node, o.segment, 0 FROM unnest(p_open) AS o (segment) WHERE o.segment >= held.settled_below ON CONFLICT DO NOTHING;
  DELETE FROM tollgate.collector_progress p WHERE p.node = p_node AND (p.segment = ANY (p_settled)
    OR p.segment < p_below AND p.updated_at < now() - interval '40 days' AND p.segment <> ALL (p_open));
  UPDATE tollgate.collector_nodes n SET settled_below = greatest(n.settled_below, p_below), commits = n.commits + 1 WHERE n.node = p_node;
  RETURN held.commits + 1;
END $$;
GRANT EXECUTE ON FUNCTION tollgate.settle_segments(uuid, bytea, bigint, bigint[], bigint[]) TO tollgate_collector;

-- Takes out of the batch what cannot be stored, and says why.
CREATE OR REPLACE FUNCTION tollgate.ingest_reject() RETURNS TABLE (ordinal bigint, reason text) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  tenants text[];
  metrics text[];
BEGIN
  SELECT array_agg(d.tenant_id) INTO tenants FROM (SELECT DISTINCT tenant_id FROM pg_temp.batch) d
  WHERE (SELECT t.id FROM tollgate.tenants t WHERE t.id = d.tenant_id) IS NULL;
  SELECT array_agg(d.metric_type) INTO metrics FROM (SELECT DISTINCT metric_type FROM pg_temp.batch) d
  WHERE (SELECT m.metric_type FROM tollgate.usage_metrics m WHERE m.metric_type = d.metric_type) IS NULL;
  RETURN QUERY
  WITH wrong AS (
    SELECT b.ordinal, CASE
      WHEN b.tenant_id = ANY (tenants) THEN 'tenant_unknown'
      WHEN b.metric_type = ANY (metrics) THEN 'metric_unknown'
      WHEN b.recorded_at < '2000-01-01Z' OR b.recorded_at > now() + interval '400 days' THEN 'time_range'
      WHEN b.event_id <> '' AND b.appended_at < now() - interval '35 days' THEN 'id_expired' END AS reason
    FROM pg_temp.batch b
  ), gone AS (
    DELETE FROM pg_temp.batch b USING wrong w WHERE w.reason IS NOT NULL AND b.ordinal = w.ordinal
    RETURNING w.ordinal, w.reason
  )
  SELECT g.ordinal, g.reason FROM gone g;
END $$;
GRANT EXECUTE ON FUNCTION tollgate.ingest_reject() TO tollgate_collector;

-- Claims the ids of events that carry one; those claimed before, here or by another batch, leave the batch.
CREATE OR REPLACE FUNCTION tollgate.ingest_claim() RETURNS bigint LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  duplicates bigint;
BEGIN
  IF NOT EXISTS (SELECT FROM pg_temp.batch WHERE event_id <> '') THEN
    RETURN 0;
  END IF;
  WITH first AS (
    SELECT DISTINCT ON (tenant_id, source, event_id) tenant_id, source, event_id, ordinal, appended_at
    FROM pg_temp.batch WHERE event_id <> '' ORDER BY tenant_id, source, event_id, ordinal
  ), claimed AS (
    INSERT INTO tollgate.usage_event_ids AS u (tenant_id, source, event_id, accepted_at)
    SELECT tenant_id, source, event_id, appended_at FROM first ORDER BY tenant_id, source, event_id
    ON CONFLICT DO NOTHING RETURNING u.tenant_id, u.source, u.event_id
  ), kept AS (
    SELECT f.ordinal FROM first f JOIN claimed c
      ON c.tenant_id = f.tenant_id AND c.source = f.source AND c.event_id = f.event_id
  ), gone AS (
    DELETE FROM pg_temp.batch b WHERE b.event_id <> '' AND NOT EXISTS (SELECT FROM kept k WHERE k.ordinal = b.ordinal)
    RETURNING 1
  )
  SELECT count(*) INTO duplicates FROM gone;
  RETURN duplicates;
END $$;
GRANT EXECUTE ON FUNCTION tollgate.ingest_claim() TO tollgate_collector;

-- Day, hour and period of each quarter of an hour in the batch; makes partitions and periods that are missing.
CREATE OR REPLACE FUNCTION tollgate.ingest_spans() RETURNS void LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  r record;
BEGIN
  FOR r IN SELECT DISTINCT date_trunc('month', quarter, 'UTC') AS month FROM pg_temp.batch LOOP
    IF to_regclass('public.usage_tracking_' || to_char(r.month AT TIME ZONE 'UTC', 'YYYY_MM')) IS NULL THEN
      PERFORM tollgate.ensure_partitions(r.month, r.month);
    END IF;
  END LOOP;
  FOR r IN
    SELECT d.tenant_id, min(d.quarter) AS first, max(d.quarter) AS last
    FROM (SELECT DISTINCT tenant_id, quarter FROM pg_temp.batch) d
    WHERE coalesce((SELECT p.ends_at <= d.quarter OR p.starts_at <= now() AND NOT EXISTS (
                      SELECT FROM public.usage_summary u WHERE u.tenant_id = p.tenant_id AND u.period_start = p.period_start)
                    FROM tollgate.tenant_periods p WHERE p.tenant_id = d.tenant_id
                    AND p.starts_at <= d.quarter ORDER BY p.starts_at DESC LIMIT 1), true)
    GROUP BY d.tenant_id ORDER BY d.tenant_id
  LOOP
    PERFORM tollgate.ensure_periods(r.tenant_id, r.first, r.last);
  END LOOP;
  INSERT INTO pg_temp.batch_spans
  SELECT d.tenant_id, d.quarter, tollgate.hour_start(d.quarter, p.time_zone), tollgate.day_of(d.quarter, p.time_zone),
         p.time_zone, p.period_start, p.billing_period
  FROM (SELECT DISTINCT tenant_id, quarter FROM pg_temp.batch) d
  CROSS JOIN LATERAL (SELECT * FROM tollgate.tenant_periods p WHERE p.tenant_id = d.tenant_id AND p.starts_at <= d.quarter
                      ORDER BY p.starts_at DESC LIMIT 1) p;
END $$;
GRANT EXECUTE ON FUNCTION tollgate.ingest_spans() TO tollgate_collector;

-- Endpoints beyond `most` a tenant and day become one: clients can't grow the rollups.
-- A batch may bring as many new endpoints as rows, and the planner expects a few: no loop over all pairs.
CREATE OR REPLACE FUNCTION tollgate.ingest_cap_endpoints(most integer) RETURNS void LANGUAGE plpgsql SET enable_nestloop = off AS $$
BEGIN
  WITH new AS (
    SELECT DISTINCT s.tenant_id, s.day, s.method, s.endpoint FROM pg_temp.batch_sums s
    WHERE s.metric_type = 'api_call' AND s.endpoint NOT IN ('', '(other)')
      AND (SELECT 1 FROM tollgate.usage_daily d WHERE d.tenant_id = s.tenant_id AND d.metric_type = 'api_call'
           AND d.day = s.day AND d.method = s.method AND d.endpoint = s.endpoint) IS NULL
  ), known AS (
    SELECT n.tenant_id, n.day, (SELECT count(*) FROM tollgate.usage_daily d WHERE d.tenant_id = n.tenant_id
           AND d.metric_type = 'api_call' AND d.day = n.day) AS held
    FROM (SELECT DISTINCT tenant_id, day FROM new) n
  ), placed AS (
    SELECT n.*, k.held + row_number() OVER (PARTITION BY n.tenant_id, n.day ORDER BY n.method, n.endpoint) AS place
    FROM new n JOIN known k USING (tenant_id, day)
  )
  UPDATE pg_temp.batch_sums s SET method = '', endpoint = '(other)' FROM placed p
  WHERE p.place > most AND s.tenant_id = p.tenant_id AND s.day = p.day AND s.method = p.method
    AND s.endpoint = p.endpoint AND s.metric_type = 'api_call';
END $$;
GRANT EXECUTE ON FUNCTION tollgate.ingest_cap_endpoints(int) TO tollgate_collector;

-- Gauges of the batch, held until the end, in the state before it. A gauge that has no level yet goes on from what its days say.
CREATE OR REPLACE FUNCTION tollgate.ingest_hold_levels() RETURNS void LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
  INSERT INTO pg_temp.batch_levels (tenant_id, metric_type, until)
  SELECT b.tenant_id, b.metric_type, max(b.recorded_at) FROM pg_temp.batch b
  WHERE b.metric_type IN (SELECT m.metric_type FROM tollgate.usage_metrics m WHERE m.kind = 'gauge') GROUP BY 1, 2;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  INSERT INTO tollgate.usage_levels AS l (tenant_id, metric_type, level, recorded_at, set_at)
  SELECT b.tenant_id, b.metric_type, coalesce(d.total, 0), coalesce(u.at, '2000-01-01Z'), u.at FROM pg_temp.batch_levels b
  LEFT JOIN LATERAL (SELECT d.total FROM tollgate.usage_daily d WHERE d.tenant_id = b.tenant_id AND d.metric_type = b.metric_type
    ORDER BY d.day DESC LIMIT 1) d ON true
  LEFT JOIN LATERAL (SELECT u.recorded_at AS at FROM public.usage_tracking u WHERE d.total IS NOT NULL AND u.tenant_id = b.tenant_id
    AND u.metric_type = b.metric_type ORDER BY u.recorded_at DESC LIMIT 1) u ON true
  WHERE NOT EXISTS (SELECT FROM tollgate.usage_levels x WHERE x.tenant_id = b.tenant_id AND x.metric_type = b.metric_type)
    AND EXISTS (SELECT FROM tollgate.tenants t WHERE t.id = b.tenant_id)
  ORDER BY 1, 2 ON CONFLICT DO NOTHING;
  UPDATE pg_temp.batch_levels b SET level = h.level, recorded_at = h.recorded_at, set_at = h.set_at
  FROM (SELECT l.* FROM tollgate.usage_levels l JOIN pg_temp.batch_levels x ON x.tenant_id = l.tenant_id AND x.metric_type = l.metric_type
        ORDER BY l.tenant_id, l.metric_type FOR UPDATE OF l) h
  WHERE b.tenant_id = h.tenant_id AND b.metric_type = h.metric_type;
END $$;
GRANT EXECUTE ON FUNCTION tollgate.ingest_hold_levels() TO tollgate_collector;

-- Levels after each event: an absolute one is what it says, a change adds to the one before. Where all of the batch's events are newer than
-- the level, they alone are looked at; where one is older, all rows from its day on are.
CREATE OR REPLACE FUNCTION tollgate.ingest_steps() RETURNS void LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
  UPDATE pg_temp.batch_levels l SET first = b.first
  FROM (SELECT tenant_id, metric_type, min(recorded_at) AS first FROM pg_temp.batch GROUP BY 1, 2) b
  WHERE l.tenant_id = b.tenant_id AND l.metric_type = b.metric_type;
  WITH events AS (
    SELECT b.tenant_id, b.metric_type, b.recorded_at, b.ordinal AS place, s.hour, s.day, b.value, b.delta, l.level AS before
    FROM pg_temp.batch_levels l JOIN pg_temp.batch b ON b.tenant_id = l.tenant_id AND b.metric_type = l.metric_type
    JOIN pg_temp.batch_spans s ON s.tenant_id = b.tenant_id AND s.quarter = b.quarter
    WHERE l.first >= l.recorded_at
    UNION ALL
    SELECT u.tenant_id, u.metric_type, u.recorded_at, u.id, tollgate.hour_start(u.recorded_at, p.time_zone),
      tollgate.day_of(u.recorded_at, p.time_zone), u.metric_value, coalesce(u.metadata -> 'delta' = 'true', false), coalesce(d.total, 0)
    FROM pg_temp.batch_levels l
    CROSS JOIN LATERAL (SELECT x.day, x.time_zone FROM pg_temp.batch_spans x WHERE x.tenant_id = l.tenant_id AND x.quarter <= l.first
      ORDER BY x.quarter DESC LIMIT 1) f
    LEFT JOIN LATERAL (SELECT d.total FROM tollgate.usage_daily d WHERE d.tenant_id = l.tenant_id AND d.metric_type = l.metric_type
      AND d.day < f.day ORDER BY d.day DESC LIMIT 1) d ON true
    JOIN public.usage_tracking u ON u.tenant_id = l.tenant_id AND u.metric_type = l.metric_type
      AND u.recorded_at >= tollgate.day_start(f.day, f.time_zone)
    CROSS JOIN LATERAL (SELECT p.time_zone FROM tollgate.tenant_periods p WHERE p.tenant_id = u.tenant_id AND p.starts_at <= u.recorded_at
      ORDER BY p.starts_at DESC LIMIT 1) p
    WHERE l.first < l.recorded_at
  ), runs AS ( -- a run begins with an absolute level
    SELECT e.*, count(*) FILTER (WHERE NOT e.delta) OVER (PARTITION BY e.tenant_id, e.metric_type ORDER BY e.recorded_at, e.place) AS run
    FROM events e
  )
  INSERT INTO pg_temp.batch_steps
  SELECT r.tenant_id, r.metric_type, r.recorded_at, r.place, r.hour, r.day,
    CASE r.run WHEN 0 THEN r.before ELSE 0 END
      + sum(r.value) OVER (PARTITION BY r.tenant_id, r.metric_type, r.run ORDER BY r.recorded_at, r.place), r.delta
  FROM runs r;
END $$;
GRANT EXECUTE ON FUNCTION tollgate.ingest_steps() TO tollgate_collector;

-- A gauge's total is its last level in the hour and the day, by the rows' own time; what is now is the last of all.
CREATE OR REPLACE FUNCTION tollgate.ingest_levels() RETURNS void LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
  PERFORM tollgate.ingest_steps();
  UPDATE tollgate.usage_hourly h SET total = s.level
  FROM (SELECT DISTINCT ON (tenant_id, metric_type, hour) * FROM pg_temp.batch_steps
        ORDER BY tenant_id, metric_type, hour, recorded_at DESC, place DESC) s
  WHERE h.tenant_id = s.tenant_id AND h.metric_type = s.metric_type AND h.hour = s.hour AND h.total <> s.level;
  UPDATE tollgate.usage_daily d SET total = s.level
  FROM (SELECT DISTINCT ON (tenant_id, metric_type, day) * FROM pg_temp.batch_steps
        ORDER BY tenant_id, metric_type, day, recorded_at DESC, place DESC) s
  WHERE d.tenant_id = s.tenant_id AND d.metric_type = s.metric_type AND d.day = s.day AND d.total <> s.level;
  UPDATE tollgate.usage_levels l SET level = s.level, recorded_at = greatest(l.recorded_at, s.recorded_at),
    set_at = greatest(l.set_at, s.set_at), updated_at = now()
  FROM (SELECT DISTINCT ON (x.tenant_id, x.metric_type) x.*, max(x.recorded_at) FILTER (WHERE NOT x.delta)
          OVER (PARTITION BY x.tenant_id, x.metric_type) AS set_at
        FROM pg_temp.batch_steps x ORDER BY x.tenant_id, x.metric_type, x.recorded_at DESC, x.place DESC) s
  WHERE l.tenant_id = s.tenant_id AND l.metric_type = s.metric_type;
  -- Every node's limit table learns the new levels from here.
  INSERT INTO tollgate.config_changes (kind, subject)
  SELECT DISTINCT 'tenant', s.tenant_id FROM pg_temp.batch_steps s
  WHERE NOT (SELECT m.derived FROM tollgate.usage_metrics m WHERE m.metric_type = s.metric_type);
END $$;
GRANT EXECUTE ON FUNCTION tollgate.ingest_levels() TO tollgate_collector;

CREATE OR REPLACE FUNCTION tollgate.ingest_rollups() RETURNS void LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
  INSERT INTO tollgate.usage_hourly AS h (tenant_id, metric_type, hour, method, endpoint, total, events)
  SELECT tenant_id, metric_type, hour, method, endpoint, sum(total), sum(events) FROM pg_temp.batch_sums
  GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5
  ON CONFLICT (tenant_id, metric_type, hour, method, endpoint)
  DO UPDATE SET total = h.total + excluded.total, events = h.events + excluded.events;
  INSERT INTO tollgate.usage_daily AS d (tenant_id, metric_type, day, method, endpoint, total, events)
  SELECT tenant_id, metric_type, day, method, endpoint, sum(total), sum(events) FROM pg_temp.batch_sums
  GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5
  ON CONFLICT (tenant_id, metric_type, day, method, endpoint)
  DO UPDATE SET total = d.total + excluded.total, events = d.events + excluded.events;

  IF EXISTS (SELECT FROM pg_temp.batch_levels) THEN
    PERFORM tollgate.ingest_levels();
  END IF;
END $$;
GRANT EXECUTE ON FUNCTION tollgate.ingest_rollups() TO tollgate_collector;

-- Counts of windows that are long past are removed (tollgate.remove_old). Where late events come to one, it begins with what usage_daily
-- says of it, which holds this batch already.
CREATE OR REPLACE FUNCTION tollgate.ingest_old_counts() RETURNS void LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
  INSERT INTO tollgate.usage_counts (tenant_id, metric_type, limit_window, window_start, used)
  SELECT w.tenant_id, w.metric_type, w.limit_window, w.first, sum(d.total) - w.added
  FROM (
    SELECT s.tenant_id, s.metric_type, 'day' AS limit_window, s.day AS first, s.day AS last, sum(s.total) AS added
    FROM pg_temp.batch_sums s WHERE s.counter AND s.day < current_date - 60 GROUP BY 1, 2, 4, 5
    UNION ALL
    SELECT s.tenant_id, s.metric_type, 'period', s.period_start, p.period_end, sum(s.total)
    FROM pg_temp.batch_sums s JOIN tollgate.tenant_periods p ON p.tenant_id = s.tenant_id AND p.period_start = s.period_start
    WHERE s.counter AND s.period_start < current_date - 60 GROUP BY 1, 2, 4, 5
    UNION ALL
    SELECT s.tenant_id, s.metric_type, 'week', tollgate.week_start(s.day), tollgate.week_start(s.day) + 6, sum(s.total)
    FROM pg_temp.batch_sums s
    WHERE s.counter AND s.day < current_date - 60
      AND EXISTS (SELECT FROM tollgate.usage_limit_keys k WHERE k.metric_type = s.metric_type AND k.limit_window = 'week') GROUP BY 1, 2, 4, 5) w
  JOIN tollgate.usage_daily d ON d.tenant_id = w.tenant_id AND d.metric_type = w.metric_type AND d.day BETWEEN w.first AND w.last
  GROUP BY w.tenant_id, w.metric_type, w.limit_window, w.first, w.added ORDER BY 1, 2, 3, 4
  ON CONFLICT DO NOTHING;
END $$;
GRANT EXECUTE ON FUNCTION tollgate.ingest_old_counts() TO tollgate_collector;

-- Counts of the hours of metrics that have a limit an hour. Two days are kept; what comes later than that is in tollgate.usage_hourly alone.
CREATE OR REPLACE FUNCTION tollgate.ingest_hours() RETURNS void LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
  INSERT INTO pg_temp.batch_hours (tenant_id, metric_type, hour, used, added, uncounted)
  SELECT s.tenant_id, s.metric_type, s.hour, 0, sum(s.total), sum(s.uncounted) FROM pg_temp.batch_sums s
  WHERE (s.counter OR s.observed) AND s.hour > now() - interval '1 day'
    AND s.metric_type = ANY (ARRAY(SELECT k.metric_type FROM tollgate.usage_limit_keys k WHERE k.limit_window = 'hour')) GROUP BY 1, 2, 3;
  WITH put AS (
    INSERT INTO tollgate.usage_counts_hourly AS c (tenant_id, metric_type, hour, used)
    SELECT tenant_id, metric_type, hour, added FROM pg_temp.batch_hours ORDER BY 1, 2, 3
    ON CONFLICT (tenant_id, metric_type, hour) DO UPDATE SET used = c.used + excluded.used, xid = pg_current_xact_id()
    RETURNING c.tenant_id, c.metric_type, c.hour, c.used
  )
  UPDATE pg_temp.batch_hours b SET used = p.used FROM put p
  WHERE b.tenant_id = p.tenant_id AND b.metric_type = p.metric_type AND b.hour = p.hour;
  DELETE FROM tollgate.usage_counts_hourly c
  USING (SELECT tenant_id, metric_type, max(hour) AS hour FROM pg_temp.batch_hours WHERE used = added GROUP BY 1, 2) b -- a new hour
  WHERE c.tenant_id = b.tenant_id AND c.metric_type = b.metric_type AND c.hour < b.hour - interval '2 days';
END $$;
GRANT EXECUTE ON FUNCTION tollgate.ingest_hours() TO tollgate_collector;

-- Counts of hours, days, weeks and periods, the summary and what the host's subscription row shows.
CREATE OR REPLACE FUNCTION tollgate.ingest_counts() RETURNS void LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
  IF EXISTS (SELECT FROM pg_temp.batch_sums WHERE counter AND day < current_date - 60) THEN
    PERFORM tollgate.ingest_old_counts();
  END IF;
  PERFORM tollgate.ingest_hours();
  WITH added AS (
    SELECT tenant_id, metric_type, 'day' AS limit_window, day AS window_start, sum(total) AS total
    FROM pg_temp.batch_sums WHERE counter OR observed GROUP BY 1, 2, 4
    UNION ALL
    SELECT tenant_id, metric_type, 'period', period_start, sum(total) FROM pg_temp.batch_sums WHERE counter OR observed GROUP BY 1, 2, 4
    UNION ALL
    SELECT tenant_id, metric_type, 'week', tollgate.week_start(day), sum(total) FROM pg_temp.batch_sums
    WHERE (counter OR observed) AND metric_type = ANY (ARRAY(SELECT k.metric_type FROM tollgate.usage_limit_keys k WHERE k.limit_window = 'week')) GROUP BY 1, 2, 4
  ), put AS (
    INSERT INTO tollgate.usage_counts AS c (tenant_id, metric_type, limit_window, window_start, used)
    SELECT * FROM added ORDER BY 1, 2, 3, 4
    ON CONFLICT (tenant_id, metric_type, limit_window, window_start)
    DO UPDATE SET used = c.used + excluded.used, xid = pg_current_xact_id()
    RETURNING c.tenant_id, c.metric_type, c.limit_window, c.window_start, c.used
  )
  INSERT INTO pg_temp.batch_totals SELECT * FROM put;
  IF EXISTS (SELECT FROM pg_temp.batch_sums WHERE observed) THEN
    PERFORM tollgate.ingest_observed();
  END IF;

  UPDATE public.usage_summary s SET api_calls_count = coalesce(t.calls, s.api_calls_count),
    file_uploads_count = coalesce(t.uploads, s.file_uploads_count), updated_at = now()
  FROM (SELECT tenant_id, window_start, floor(sum(used) FILTER (WHERE metric_type = 'api_call')) AS calls,
               floor(sum(used) FILTER (WHERE metric_type = 'file_upload')) AS uploads
        FROM pg_temp.batch_totals WHERE limit_window = 'period' AND metric_type IN ('api_call', 'file_upload')
        GROUP BY 1, 2) t
  WHERE s.tenant_id = t.tenant_id AND s.period_start = t.window_start;

  PERFORM tollgate.put_usage(array_agg(u.tenant_id), array_agg(u.usage))
  FROM (SELECT t.tenant_id, jsonb_build_object('api_calls_today', floor(t.used)) AS usage FROM pg_temp.batch_totals t
        WHERE t.limit_window = 'day' AND t.metric_type = 'api_call'
          AND t.window_start = (SELECT tollgate.day_of(now(), b.time_zone) FROM pg_temp.batch_spans b
                                WHERE b.tenant_id = t.tenant_id AND b.day = t.window_start LIMIT 1)) u;
END $$;
GRANT EXECUTE ON FUNCTION tollgate.ingest_counts() TO tollgate_collector;

-- The whole of it, for what stands in pg_temp.batch. What it returns:
--   kind 'total': a counter's day or hour (reason), any window of a metric that is observed: day_at its first instant (µs), total its count
--   now, added by this batch, uncounted of that
--   kind 'level': a posted gauge: total its level now, day_at when the newest event in it was recorded, added when its last absolute level was,
--     uncounted when the newest of the batch was, duplicates included (all in µs)
--   kind 'rejected': ordinal and reason; the caller stores the bytes
--   kind 'batch': total = rows stored, added = duplicates, day_at = the node's commit with this one (0: not counted)
CREATE OR REPLACE FUNCTION tollgate.ingest(p_node uuid, p_token bytea, p_segments bigint[], p_from bigint[], p_to bigint[],
                                p_endpoints integer)
RETURNS TABLE (kind text, ordinal bigint, reason text, tenant_id text, metric_type text, day_at bigint,
               total numeric, added numeric, uncounted numeric) LANGUAGE plpgsql
-- The staging tables have no statistics: a hash of the few spans keeps the batch's order and sorts nothing.
SET enable_mergejoin = off SET work_mem = '32MB' SET jit = off AS $$
#variable_conflict use_column
DECLARE
  duplicates bigint;
  stored bigint;
  commit_number bigint;
BEGIN
  commit_number := tollgate.ingest_fence(p_node, p_token, p_segments, p_from, p_to);
  RETURN QUERY SELECT 'rejected', r.ordinal, r.reason, NULL::text, NULL::text, NULL::bigint, NULL::numeric, NULL::numeric,
    NULL::numeric FROM tollgate.ingest_reject() r;
  PERFORM tollgate.ingest_hold_levels();
  duplicates := tollgate.ingest_claim();
  PERFORM tollgate.ingest_spans();

  INSERT INTO public.usage_tracking (tenant_id, metric_type, metric_value, recorded_at, billing_period, metadata, ingested_at)
  SELECT b.tenant_id, b.metric_type, b.value, b.recorded_at, s.billing_period, coalesce(b.metadata, '{}')::jsonb
    || CASE WHEN b.delta THEN '{"delta":true}' WHEN l.tenant_id IS NOT NULL AND b.metadata LIKE '%"delta"%' THEN '{"delta":false}' ELSE '{}' END::jsonb,
    b.appended_at
  FROM pg_temp.batch b LEFT JOIN pg_temp.batch_levels l ON l.tenant_id = b.tenant_id AND l.metric_type = b.metric_type JOIN pg_temp.batch_spans s ON s.tenant_id = b.tenant_id AND s.quarter = b.quarter;
  GET DIAGNOSTICS stored = ROW_COUNT;
  IF stored <> (SELECT count(*) FROM pg_temp.batch) THEN
    RAISE EXCEPTION 'a batch of % rows stored %', (SELECT count(*) FROM pg_temp.batch), stored;
  END IF;

  INSERT INTO pg_temp.batch_sums
  SELECT b.tenant_id, b.metric_type, m.kind = 'counter', m.kind = 'observed', s.hour, s.day, s.time_zone, s.period_start, b.method,
         b.endpoint, CASE m.kind WHEN 'observed' THEN 0 ELSE b.total END, b.uncounted, b.events
  FROM (SELECT tenant_id, metric_type, quarter, method, endpoint, sum(value) AS total,
               coalesce(sum(value) FILTER (WHERE uncounted), 0) AS uncounted, count(*) AS events
        FROM pg_temp.batch GROUP BY 1, 2, 3, 4, 5) b
  JOIN pg_temp.batch_spans s ON s.tenant_id = b.tenant_id AND s.quarter = b.quarter
  CROSS JOIN LATERAL (SELECT x.kind FROM tollgate.usage_metrics x WHERE x.metric_type = b.metric_type OFFSET 0) m;
  PERFORM tollgate.ingest_cap_endpoints(p_endpoints);
  PERFORM tollgate.ingest_rollups();
  PERFORM tollgate.ingest_counts();

  UPDATE tollgate.api_keys k SET last_used_at = u.at
  FROM (SELECT key_id, max(recorded_at) AS at FROM pg_temp.batch WHERE key_id <> '' GROUP BY key_id) u
  WHERE k.id = u.key_id AND (k.last_used_at IS NULL OR k.last_used_at < u.at - interval '30 seconds');

  RETURN QUERY SELECT 'batch', NULL::bigint, NULL::text, NULL::text, NULL::text, commit_number, stored::numeric,
    duplicates::numeric, NULL::numeric;
  RETURN QUERY
  SELECT 'level', NULL::bigint, NULL::text, l.tenant_id::text, l.metric_type::text, tollgate.us(l.recorded_at), l.level,
    coalesce(tollgate.us(l.set_at), 0)::numeric, tollgate.us(b.until)::numeric
  FROM pg_temp.batch_levels b JOIN tollgate.usage_levels l ON l.tenant_id = b.tenant_id AND l.metric_type = b.metric_type
  WHERE NOT (SELECT m.derived FROM tollgate.usage_metrics m WHERE m.metric_type = l.metric_type);
  RETURN QUERY
  SELECT 'total', NULL::bigint, 'hour', h.tenant_id, h.metric_type, (extract(epoch FROM h.hour) * 1000000)::bigint, h.used, h.added, h.uncounted
  FROM pg_temp.batch_hours h;
  RETURN QUERY
  SELECT 'total', NULL::bigint, t.limit_window, t.tenant_id, t.metric_type, (extract(epoch FROM CASE t.limit_window
      WHEN 'period' THEN (SELECT p.starts_at FROM tollgate.tenant_periods p WHERE p.tenant_id = t.tenant_id AND p.period_start = t.window_start)
      ELSE tollgate.day_start(t.window_start, z.time_zone) END) * 1000000)::bigint, t.used, 0::numeric, 0::numeric
  FROM pg_temp.batch_totals t
  JOIN (SELECT tenant_id, metric_type, min(time_zone) AS time_zone FROM pg_temp.batch_sums WHERE observed GROUP BY 1, 2) z
    ON z.tenant_id = t.tenant_id AND z.metric_type = t.metric_type;
  RETURN QUERY
  SELECT 'total', NULL::bigint, 'day', s.tenant_id, s.metric_type,
         (extract(epoch FROM tollgate.day_start(s.day, s.time_zone)) * 1000000)::bigint, t.used, s.total, s.uncounted
  FROM (SELECT tenant_id, metric_type, day, min(time_zone) AS time_zone, sum(total) AS total, sum(uncounted) AS uncounted
        FROM pg_temp.batch_sums WHERE counter GROUP BY 1, 2, 3) s
  JOIN pg_temp.batch_totals t ON t.tenant_id = s.tenant_id AND t.metric_type = s.metric_type AND t.limit_window = 'day'
    AND t.window_start = s.day;
END $$;
GRANT EXECUTE ON FUNCTION tollgate.ingest(uuid, bytea, bigint[], bigint[], bigint[], int) TO tollgate_collector;

-- What the gates admitted while the spool could not be written, as limit table p_table says: the counts that are not recorded yet become
-- one event each in pg_temp.batch. That table counted them already.
CREATE OR REPLACE FUNCTION tollgate.ingest_degraded(p_node uuid, p_table bigint, p_tenants text[], p_metrics text[], p_totals numeric[])
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  found bigint;
BEGIN
  WITH seen AS (
    SELECT s.tenant, s.metric, s.total, s.total - coalesce(d.recorded, 0) AS more
    FROM unnest(p_tenants, p_metrics, p_totals) AS s (tenant, metric, total)
    JOIN tollgate.tenants t ON t.id = s.tenant
    LEFT JOIN tollgate.collector_degraded d ON d.tenant_id = s.tenant AND d.node = p_node AND d.metric_type = s.metric
      AND d.limit_table IN (0, p_table)
    WHERE s.total > coalesce(d.recorded, 0)
  ), kept AS (
    INSERT INTO tollgate.collector_degraded AS d (tenant_id, node, metric_type, recorded, limit_table)
    SELECT tenant, p_node, metric, total, p_table FROM seen ORDER BY tenant, metric
    ON CONFLICT (tenant_id, node, metric_type) DO UPDATE SET recorded = excluded.recorded, limit_table = excluded.limit_table
  )
  INSERT INTO pg_temp.batch
  SELECT row_number() OVER (ORDER BY tenant, metric), tenant, metric, more, now(), now(), date_bin('15 minutes', now(), '2000-01-01Z'),
         '', '', '', '', '', false, '{"degraded":true}' FROM seen;
  GET DIAGNOSTICS found = ROW_COUNT;
  RETURN found;
END $$;
GRANT EXECUTE ON FUNCTION tollgate.ingest_degraded(uuid, bigint, text[], text[], numeric[]) TO tollgate_collector;
