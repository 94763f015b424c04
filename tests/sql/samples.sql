-- Samples of the nodes: what grew is told right across new tables, new collectors and gaps; who may; pruning.
SET ROLE tollgate_owner;
INSERT INTO tollgate.collector_nodes (node, token, host, seen_at) VALUES
  ('00000000-0000-0000-0000-0000000000a1', '\x', 'one', now()), ('00000000-0000-0000-0000-0000000000a2', '\x', 'two', now() - interval '1 minute'),
  ('00000000-0000-0000-0000-0000000000a3', '\x', 'long gone', now() - interval '2 days');
-- Minute, counted by table t and collector c, n calls in all: half of them in the third bucket, half in the fourth.
CREATE FUNCTION pg_temp.put(at timestamptz, t bigint, c int, n bigint, lag float8 DEFAULT 0) RETURNS void LANGUAGE sql AS $$
  INSERT INTO tollgate.node_samples VALUES ('00000000-0000-0000-0000-0000000000a1', date_trunc('minute', at), at, t, n, n * 2, n / 10,
    ARRAY[0, 0, n / 2, n - n / 2] || array_fill(0::bigint, ARRAY[12]), '2026-01-01Z'::timestamptz + make_interval(secs => c),
    n, n, 0, 0, lag, n, n * 100)
  ON CONFLICT (node, sampled_at) DO UPDATE SET admitted = excluded.admitted, passed = excluded.passed, refused = excluded.refused,
    latency = excluded.latency, batches = excluded.batches, rows = excluded.rows, taken_at = excluded.taken_at $$;
DO $$
DECLARE
  step interval := '15 minutes';
  now_starts timestamptz := date_bin(step, now(), '2000-01-01Z');
BEGIN
  PERFORM pg_temp.put(now_starts - step * 6 + interval '1 minute', 1, 1, 1000);          -- the first of all: where counting begins
  PERFORM pg_temp.put(now_starts - step * 6 + interval '2 minutes', 1, 1, 1010, 3);
  PERFORM pg_temp.put(now_starts - step * 6 + interval '2 minutes 9 seconds', 1, 1, 1020, 3); -- the same minute again
  PERFORM pg_temp.put(now_starts - step * 6 + interval '3 minutes', 1, 1, 1040, 1);
  PERFORM pg_temp.put(now_starts - step * 4 + interval '1 minute', 1, 1, 1100);          -- behind a gap
  PERFORM pg_temp.put(now_starts - step * 3 + interval '1 minute', 2, 1, 1200);          -- another table, which counted more than the last had
  PERFORM pg_temp.put(now_starts - step * 3 + interval '2 minutes', 3, 1, 7);            -- and another
  PERFORM pg_temp.put(now_starts - step * 2 + interval '1 minute', 3, 2, 12);            -- another collector
END $$;
RESET ROLE;
SET SESSION AUTHORIZATION tollgate_web;
DO $$
DECLARE
  answer text;
  t record;
BEGIN
  SELECT string_agg(format('%s:%s/%s/%s/%s/%s', s.place, s.samples, s.admitted, s.latency[4], s.rows, s.lag_seconds), ' ' ORDER BY s.place)
  INTO answer FROM (SELECT x.*, row_number() OVER (ORDER BY starts_at) - 8 AS place FROM tollgate.operator_node_steps('15 minutes', 8, 20) x
                    WHERE host = 'one') s;
  ASSERT answer = '-7:0//// -6:3/40/20/40/3 -5:0//// -4:1/60/30/60/0 -3:2/1207/604/100/0 -2:1/5/2/12/0 -1:0//// 0:0////', answer;
  ASSERT (SELECT string_agg(DISTINCT host, ',') FROM tollgate.operator_node_steps('15 minutes', 8, 20) WHERE host IN ('one', 'two', 'long gone'))
    = 'one,two', 'nodes seen in that time, with samples or without';
  ASSERT (SELECT count(*) FROM tollgate.operator_node_steps('15 minutes', 96, 1)) = 96, 'the nodes last seen, so many as asked for';
  ASSERT (SELECT admitted FROM tollgate.operator_node_sample('00000000-0000-0000-0000-0000000000a1', '0 s')) = 12, 'the newest';
  ASSERT (SELECT count(*) FROM tollgate.operator_node_sample('00000000-0000-0000-0000-0000000000a1', '2 hours')) = 0, 'none that is too old';
  FOR t IN SELECT * FROM (VALUES ('SELECT * FROM tollgate.node_samples'), ('DELETE FROM tollgate.node_samples')) x (q) LOOP
    BEGIN
      EXECUTE t.q;
      ASSERT false, t.q || ' is out of reach';
    EXCEPTION WHEN insufficient_privilege THEN NULL;
    END;
  END LOOP;
END $$;
RESET SESSION AUTHORIZATION;
DO $$
BEGIN
  ASSERT (SELECT relrowsecurity AND relforcerowsecurity FROM pg_class WHERE oid = 'tollgate.node_samples'::regclass), 'row-level security is forced';
END $$;
SET SESSION AUTHORIZATION tollgate_collector;
DO $$
BEGIN
  BEGIN
    PERFORM tollgate.operator_node_steps('15 minutes', 8, 20);
    ASSERT false, 'the page''s functions are web''s alone';
  EXCEPTION WHEN insufficient_privilege THEN NULL;
  END;
END $$;
