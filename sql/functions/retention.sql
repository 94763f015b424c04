-- What would grow for ever is removed when it is too old, in slices: lib/store/retention.c calls these. tollgate.removed says how far.

-- Removes some of the aggregates ('hourly' or 'counts') of times more than `keep` ago, tenant by tenant; 1: there may be more. A round a day
-- goes through all tenants; where it stands is kept in the table, so that another collector, or a later start, goes on from there.
CREATE OR REPLACE FUNCTION tollgate.remove_old(p_what text, keep interval) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  most CONSTANT int := 5000; -- rows of a slice
  tenants CONSTANT int := 100;
  cutoff timestamptz := date_trunc('day', now() AT TIME ZONE 'UTC' - keep) AT TIME ZONE 'UTC';
  statement text := CASE p_what
    WHEN 'hourly' THEN 'DELETE FROM tollgate.usage_hourly WHERE ctid = ANY (ARRAY('
      'SELECT ctid FROM tollgate.usage_hourly WHERE tenant_id = $1 AND hour < $2 LIMIT $3))'
    WHEN 'counts' THEN 'DELETE FROM tollgate.usage_counts WHERE ctid = ANY (ARRAY('
      'SELECT ctid FROM tollgate.usage_counts WHERE tenant_id = $1 AND window_start < $2::date LIMIT $3))' END;
  r tollgate.removed;
  t record;
  n bigint := 0;
  seen int := 0;
  rows bigint;
BEGIN
  IF keep < (CASE p_what WHEN 'hourly' THEN interval '1 month' ELSE interval '100 days' END) THEN
    RAISE EXCEPTION '% are kept longer', p_what USING ERRCODE = 'TG003', DETAIL = 'keep';
  END IF;
  INSERT INTO tollgate.removed AS d (what, before, after) VALUES (p_what, cutoff, '')
  ON CONFLICT (what) DO UPDATE SET before = excluded.before, after = '' WHERE d.before < excluded.before;
  SELECT * INTO r FROM tollgate.removed d WHERE d.what = p_what FOR UPDATE;
  IF r.after IS NULL THEN
    RETURN 0; -- today's round is done
  END IF;
  FOR t IN SELECT x.id FROM tollgate.tenants x WHERE x.id > r.after ORDER BY x.id LIMIT tenants LOOP
    EXECUTE statement USING t.id, r.before, most - n;
    GET DIAGNOSTICS rows = ROW_COUNT;
    n := n + rows;
    EXIT WHEN n >= most;
    r.after := t.id;
    seen := seen + 1;
  END LOOP;
  UPDATE tollgate.removed d SET after = CASE WHEN n >= most OR seen = tenants THEN r.after END WHERE d.what = p_what;
  RETURN (n >= most OR seen = tenants)::int;
END $$;
GRANT EXECUTE ON FUNCTION tollgate.remove_old(text, interval) TO tollgate_collector;

-- Removes some of the events that were rejected more than keep_days ago; how many. They are counted: nobody has replayed or removed them.
CREATE OR REPLACE FUNCTION tollgate.remove_rejected(keep_days int) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  cutoff timestamptz := now() - make_interval(days => keep_days);
  n bigint;
BEGIN
  IF keep_days < 1 THEN
    RAISE EXCEPTION 'at least one day is kept' USING ERRCODE = 'TG003', DETAIL = 'keep_days';
  END IF;
  DELETE FROM tollgate.usage_rejected WHERE ctid = ANY (ARRAY(SELECT r.ctid FROM tollgate.usage_rejected r WHERE r.rejected_at < cutoff LIMIT 5000));
  GET DIAGNOSTICS n = ROW_COUNT;
  IF n > 0 THEN
    INSERT INTO tollgate.removed AS d (what, before, removed) VALUES ('rejected', cutoff, n)
    ON CONFLICT (what) DO UPDATE SET before = excluded.before, removed = d.removed + excluded.removed;
  END IF;
  RETURN n;
END $$;
GRANT EXECUTE ON FUNCTION tollgate.remove_rejected(int) TO tollgate_collector;
