-- The months of usage_tracking.

-- Monthly partitions, UTC, that cover the span.
CREATE OR REPLACE FUNCTION tollgate.ensure_partitions(from_at timestamptz, to_at timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  month timestamp := date_trunc('month', from_at AT TIME ZONE 'UTC');
  name text;
BEGIN
  WHILE month <= to_at AT TIME ZONE 'UTC' LOOP
    name := 'public.usage_tracking_' || to_char(month, 'YYYY_MM');
    IF to_regclass(name) IS NULL THEN
      PERFORM pg_advisory_xact_lock(hashtext('tollgate.partitions'));
      IF to_regclass(name) IS NULL THEN
        EXECUTE format('CREATE TABLE %s PARTITION OF public.usage_tracking FOR VALUES FROM (%L) TO (%L)', name,
                       month AT TIME ZONE 'UTC', (month + interval '1 month') AT TIME ZONE 'UTC');
        PERFORM tollgate.secure(name::regclass);
      END IF;
    END IF;
    month := month + interval '1 month';
  END LOOP;
END $$;
GRANT EXECUTE ON FUNCTION tollgate.ensure_partitions(timestamptz, timestamptz) TO tollgate_collector;

-- Drops the oldest partition of those that ended more than keep_months ago; how many it dropped. What is behind the retention is final
-- from now on, whether there were rows or not: a late event may still bring one.
CREATE OR REPLACE FUNCTION tollgate.drop_partitions(keep_months int) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '2s' AS $$
DECLARE
  oldest timestamptz := (date_trunc('month', now() AT TIME ZONE 'UTC') - make_interval(months => keep_months)) AT TIME ZONE 'UTC';
  name text;
BEGIN
  IF keep_months < 1 THEN
    RAISE EXCEPTION 'at least one month is kept' USING ERRCODE = 'TG003', DETAIL = 'keep_months';
  END IF;
  INSERT INTO tollgate.removed AS d (what, before) VALUES ('rows', oldest)
  ON CONFLICT (what) DO UPDATE SET before = excluded.before WHERE d.before < excluded.before;
  SELECT c.oid::regclass::text INTO name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
  WHERE i.inhparent = 'public.usage_tracking'::regclass AND c.relname ~ '^usage_tracking_\d{4}_\d{2}$'
    AND to_date(right(c.relname, 7), 'YYYY_MM') < oldest AT TIME ZONE 'UTC'
  ORDER BY c.relname LIMIT 1;
  IF name IS NULL THEN
    RETURN 0;
  END IF;
  EXECUTE format('DROP TABLE %s', name);
  RETURN 1;
END $$;
GRANT EXECUTE ON FUNCTION tollgate.drop_partitions(int) TO tollgate_collector;

SELECT tollgate.ensure_partitions(now() - interval '1 month', now() + interval '3 months')
WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_inherits i WHERE i.inhparent = 'public.usage_tracking'::regclass);
