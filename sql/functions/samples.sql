-- What the operator's status page shows over a day: each node's counters, once a minute.

-- What grew from one sample to the next; `same`: they count on from each other.
CREATE OR REPLACE FUNCTION tollgate.grown(now bigint, before bigint, same boolean) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
  $$ SELECT CASE WHEN same IS NULL THEN 0 WHEN same THEN greatest(now - before, 0) ELSE now END $$;

-- Every node seen in the last `steps` of `step`, the last `most` that were; of each all steps, ascending, the one that runs now
-- last. A step without a sample has samples 0. A node's first sample of all is where counting begins: nothing grew before it.
CREATE OR REPLACE FUNCTION tollgate.operator_node_steps(step interval, steps int, most int)
RETURNS TABLE (node uuid, host text, started_at timestamptz, seen_at timestamptz, starts_at timestamptz, samples bigint,
  admitted bigint, passed bigint, refused bigint, latency bigint[], batches bigint, rows bigint, rejected bigint, degraded bigint,
  lag_seconds double precision, spool_events bigint, spool_bytes bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET jit = off AS $$
  WITH span AS (
    SELECT date_bin(step, now(), '2000-01-01Z') - step * (steps - 1) AS first
  ), nodes AS (
    SELECT n.node, n.host, n.started_at, n.seen_at FROM tollgate.collector_nodes n, span WHERE n.seen_at >= span.first
    ORDER BY n.seen_at DESC, n.node LIMIT least(greatest(most, 1), 100)
  ), seen AS MATERIALIZED (
    SELECT s.node, s.sampled_at, s.table_id, s.collecting_since, s.lag_seconds, s.spool_events, s.spool_bytes,
           date_bin(step, s.sampled_at, '2000-01-01Z') AS starts
    FROM nodes n CROSS JOIN span JOIN tollgate.node_samples s ON s.node = n.node AND s.sampled_at >= coalesce(
      (SELECT max(x.sampled_at) FROM tollgate.node_samples x WHERE x.node = n.node AND x.sampled_at < span.first), span.first)
  ), ends AS ( -- the last of each step and of whatever counted, and each node's first
    SELECT e.node, e.starts, max(e.sampled_at) AS sampled_at FROM seen e GROUP BY e.node, e.starts, e.table_id, e.collecting_since
    UNION
    SELECT e.node, min(e.starts), min(e.sampled_at) FROM seen e GROUP BY 1
  ), pairs AS (
    SELECT e.starts, a, b, a.table_id = b.table_id AS same_table, a.collecting_since = b.collecting_since AS same_collector
    FROM (SELECT x.*, lag(x.sampled_at) OVER (PARTITION BY x.node ORDER BY x.sampled_at) AS before FROM ends x) e
    JOIN tollgate.node_samples a ON a.node = e.node AND a.sampled_at = e.sampled_at
    LEFT JOIN tollgate.node_samples b ON b.node = e.node AND b.sampled_at = e.before
  ), growth AS (
    SELECT (p.a).node, p.starts,
      sum(tollgate.grown((p.a).admitted, (p.b).admitted, same_table))::bigint AS admitted,
      sum(tollgate.grown((p.a).passed, (p.b).passed, same_table))::bigint AS passed,
      sum(tollgate.grown((p.a).refused, (p.b).refused, same_table))::bigint AS refused,
      sum(tollgate.grown((p.a).batches, (p.b).batches, same_collector))::bigint AS batches,
      sum(tollgate.grown((p.a).rows, (p.b).rows, same_collector))::bigint AS rows,
      sum(tollgate.grown((p.a).rejected, (p.b).rejected, same_collector))::bigint AS rejected,
      sum(tollgate.grown((p.a).degraded, (p.b).degraded, same_collector))::bigint AS degraded
    FROM pairs p GROUP BY 1, 2
  ), buckets AS (
    SELECT c.node, c.starts, array_agg(c.calls ORDER BY c.bucket) AS latency FROM (
      SELECT (p.a).node, p.starts, l.bucket, sum(tollgate.grown(l.calls, (p.b).latency[l.bucket], same_table))::bigint AS calls
      FROM pairs p CROSS JOIN unnest((p.a).latency) WITH ORDINALITY AS l (calls, bucket) GROUP BY 1, 2, 3) c
    GROUP BY 1, 2
  ), worst AS (
    SELECT e.node, e.starts, count(*) AS samples, max(e.lag_seconds) AS lag_seconds, max(e.spool_events) AS spool_events,
           max(e.spool_bytes) AS spool_bytes FROM seen e GROUP BY 1, 2
  )
  SELECT n.node, n.host, n.started_at, n.seen_at, g.at, coalesce(w.samples, 0), r.admitted, r.passed, r.refused, l.latency, r.batches,
         r.rows, r.rejected, r.degraded, w.lag_seconds, w.spool_events, w.spool_bytes
  FROM nodes n CROSS JOIN span CROSS JOIN generate_series(span.first, now(), step) AS g (at)
  LEFT JOIN worst w ON w.node = n.node AND w.starts = g.at LEFT JOIN growth r ON r.node = n.node AND r.starts = g.at
  LEFT JOIN buckets l ON l.node = n.node AND l.starts = g.at
  ORDER BY n.seen_at DESC, n.node, g.at
$$;
GRANT EXECUTE ON FUNCTION tollgate.operator_node_steps(interval, int, int) TO tollgate_web;

-- A node's newest sample that is at least `age` old: what "now" is compared with.
CREATE OR REPLACE FUNCTION tollgate.operator_node_sample(node uuid, age interval)
RETURNS TABLE (age_seconds double precision, table_id bigint, admitted bigint, passed bigint, refused bigint, latency bigint[])
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT extract(epoch FROM now() - s.taken_at)::double precision, s.table_id, s.admitted, s.passed, s.refused, s.latency
  FROM tollgate.node_samples s WHERE s.node = operator_node_sample.node AND s.taken_at <= now() - age AND s.sampled_at > now() - interval '1 hour'
  ORDER BY s.sampled_at DESC LIMIT 1
$$;
GRANT EXECUTE ON FUNCTION tollgate.operator_node_sample(uuid, interval) TO tollgate_web;

