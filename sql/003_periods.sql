-- Days, periods and partitions. PostgreSQL alone does time-zone arithmetic.

-- The first instant of a local day. Midnight may be missing (a clock goes forward over it: the instant it does so), or
-- come twice (it goes back over it: the first one).
CREATE FUNCTION tollgate.day_start(day date, zone text) RETURNS timestamptz LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT CASE WHEN e.early < e.plain AND e.early AT TIME ZONE zone = day::timestamp THEN e.early ELSE e.plain END
  FROM (SELECT p.plain, (day::timestamp - ((p.plain - interval '3 hours') AT TIME ZONE zone
                         - (p.plain - interval '3 hours') AT TIME ZONE 'UTC')) AT TIME ZONE 'UTC' AS early
        FROM (SELECT day::timestamp AT TIME ZONE zone AS plain) p) e
$$;

-- The local day that holds an instant, by day_start: days never overlap, whatever the clock on the wall does.
CREATE FUNCTION tollgate.day_of(at timestamptz, zone text) RETURNS date LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT CASE WHEN at >= tollgate.day_start(d + 1, zone) THEN d + 1 WHEN at < tollgate.day_start(d, zone) THEN d - 1 ELSE d END
  FROM (SELECT (at AT TIME ZONE zone)::date AS d) x
$$;

-- The anchor day of the month that holds `day`: clamped to the month, each month on its own.
CREATE FUNCTION tollgate.anchor_in(day date, anchor int) RETURNS date LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT m + least(anchor, extract(day FROM (m + interval '1 month' - interval '1 day'))::int) - 1
  FROM (SELECT date_trunc('month', day::timestamp)::date AS m) x
$$;

CREATE FUNCTION tollgate.anchor_after(day date, anchor int) RETURNS date LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT CASE WHEN tollgate.anchor_in(day, anchor) > day THEN tollgate.anchor_in(day, anchor)
              ELSE tollgate.anchor_in((date_trunc('month', day::timestamp) + interval '1 month')::date, anchor) END
$$;

CREATE FUNCTION tollgate.period_of(zone text, anchor int, at timestamptz, OUT period_start date, OUT period_end date,
  OUT starts_at timestamptz, OUT ends_at timestamptz, OUT billing_period text) LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
  day date := tollgate.day_of(at, zone);
  next_start date;
BEGIN
  next_start := tollgate.anchor_after(day, anchor);
  period_start := tollgate.anchor_in(day, anchor);
  IF period_start > day THEN
    period_start := tollgate.anchor_in((date_trunc('month', day::timestamp) - interval '1 day')::date, anchor);
  END IF;
  period_end := next_start - 1;
  starts_at := tollgate.day_start(period_start, zone);
  ends_at := tollgate.day_start(next_start, zone);
  billing_period := to_char(period_start, 'YYYY-MM');
END $$;

-- Rows of tenant_periods without a gap over the span, and a summary for each that has begun. What stands is left as it is:
-- a changed zone or anchor acts from the next period, which begins where the last one ends.
CREATE FUNCTION tollgate.ensure_periods(tenant text, from_at timestamptz, to_at timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  zone text;
  anchor int;
  p record;
  q record;
  next_start date;
BEGIN
  PERFORM tollgate.only_own(tenant);
  SELECT min(starts_at) AS first, max(ends_at) AS last INTO p FROM tenant_periods WHERE tenant_id = tenant;
  IF p.first IS NULL OR p.first > from_at OR p.last <= to_at THEN
    SELECT s.time_zone, s.anchor_day INTO zone, anchor FROM tenant_settings s WHERE s.tenant_id = tenant FOR UPDATE;
    IF NOT FOUND THEN
      RETURN;
    END IF;
    SELECT * INTO p FROM tenant_periods WHERE tenant_id = tenant ORDER BY starts_at LIMIT 1;
    IF NOT FOUND THEN
      q := tollgate.period_of(zone, anchor, from_at);
      INSERT INTO tenant_periods VALUES
        (tenant, q.period_start, q.period_end, q.starts_at, q.ends_at, zone, q.billing_period);
      SELECT * INTO p FROM tenant_periods WHERE tenant_id = tenant;
    END IF;
    WHILE p.starts_at > from_at LOOP
      q := tollgate.period_of(p.time_zone, extract(day FROM p.period_start)::int, p.starts_at - interval '1 microsecond');
      IF anchor >= extract(day FROM p.period_start) THEN -- the stored start may be a clamped one
        q := tollgate.period_of(p.time_zone, anchor, p.starts_at - interval '1 microsecond');
      END IF;
      INSERT INTO tenant_periods VALUES
        (tenant, q.period_start, p.period_start - 1, q.starts_at, p.starts_at, p.time_zone, q.billing_period);
      SELECT * INTO p FROM tenant_periods WHERE tenant_id = tenant ORDER BY starts_at LIMIT 1;
    END LOOP;
    SELECT * INTO p FROM tenant_periods WHERE tenant_id = tenant ORDER BY starts_at DESC LIMIT 1;
    WHILE p.ends_at <= to_at LOOP
      next_start := tollgate.anchor_after(p.period_end + 1, anchor);
      INSERT INTO tenant_periods VALUES
        (tenant, p.period_end + 1, next_start - 1, p.ends_at, tollgate.day_start(next_start, zone), zone,
         to_char(p.period_end + 1, 'YYYY-MM'));
      SELECT * INTO p FROM tenant_periods WHERE tenant_id = tenant ORDER BY starts_at DESC LIMIT 1;
    END LOOP;
  END IF;
  -- Zero counters; the newest period goes on with the gauges as they are.
  INSERT INTO usage_summary (tenant_id, period_start, period_end, patients_count, users_count, storage_used_gb,
                             appointments_count, storage_bytes)
  SELECT tenant, t.period_start, t.period_end, coalesce(l.patients_count, 0), coalesce(l.users_count, 0),
         coalesce(l.storage_used_gb, 0), coalesce(l.appointments_count, 0), coalesce(l.storage_bytes, 0)
  FROM tenant_periods t
  LEFT JOIN LATERAL (SELECT * FROM usage_summary u WHERE u.tenant_id = tenant AND u.period_start < t.period_start
                     ORDER BY u.period_start DESC LIMIT 1) l ON true
  WHERE t.tenant_id = tenant AND t.starts_at <= now() AND t.ends_at > from_at
    AND NOT EXISTS (SELECT FROM usage_summary u WHERE u.tenant_id = tenant AND u.period_start = t.period_start)
  ORDER BY t.period_start
  ON CONFLICT DO NOTHING;
END $$;

-- Periods that have not begun follow the new zone and anchor.
CREATE FUNCTION tollgate.settings_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  -- The view reads a file a zone, 0.1 s and more: one that another tenant has was looked up already.
  IF NOT EXISTS (SELECT FROM tenant_settings s WHERE s.time_zone = NEW.time_zone AND s.tenant_id <> NEW.tenant_id)
     AND NOT EXISTS (SELECT FROM pg_timezone_names WHERE name = NEW.time_zone) THEN
    RAISE EXCEPTION 'no such time zone: %', NEW.time_zone USING ERRCODE = 'TG003', DETAIL = 'time_zone',
      HINT = 'Use an IANA name such as Europe/Berlin.';
  END IF;
  IF TG_OP = 'UPDATE' THEN
    DELETE FROM tenant_periods WHERE tenant_id = NEW.tenant_id AND starts_at > now();
  END IF;
  RETURN NULL;
END $$;
CREATE TRIGGER settings_changed AFTER INSERT OR UPDATE OF time_zone, anchor_day ON tenant_settings
  FOR EACH ROW EXECUTE FUNCTION tollgate.settings_changed();

-- Monthly partitions, UTC, that cover the span.
CREATE FUNCTION tollgate.ensure_partitions(from_at timestamptz, to_at timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  month timestamp := date_trunc('month', from_at AT TIME ZONE 'UTC');
  name text;
BEGIN
  WHILE month <= to_at AT TIME ZONE 'UTC' LOOP
    name := 'usage_tracking_' || to_char(month, 'YYYY_MM');
    IF to_regclass('public.' || name) IS NULL THEN
      PERFORM pg_advisory_xact_lock(hashtext('tollgate.partitions'));
      IF to_regclass('public.' || name) IS NULL THEN
        EXECUTE format('CREATE TABLE public.%I PARTITION OF public.usage_tracking FOR VALUES FROM (%L) TO (%L)', name,
                       month AT TIME ZONE 'UTC', (month + interval '1 month') AT TIME ZONE 'UTC');
        PERFORM tollgate.secure(format('public.%I', name)::regclass);
      END IF;
    END IF;
    month := month + interval '1 month';
  END LOOP;
END $$;

-- Drops the partitions that ended more than keep_months ago; how many.
CREATE FUNCTION tollgate.drop_partitions(keep_months int) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  name text;
  dropped int := 0;
BEGIN
  IF keep_months < 1 THEN
    RAISE EXCEPTION 'at least one month is kept' USING ERRCODE = 'TG003', DETAIL = 'keep_months';
  END IF;
  FOR name IN
    SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'public.usage_tracking'::regclass AND c.relname ~ '^usage_tracking_\d{4}_\d{2}$'
      AND to_date(right(c.relname, 7), 'YYYY_MM') < date_trunc('month', now() AT TIME ZONE 'UTC') - make_interval(months => keep_months)
    ORDER BY 1
  LOOP
    EXECUTE format('DROP TABLE public.%I', name);
    dropped := dropped + 1;
  END LOOP;
  RETURN dropped;
END $$;
GRANT EXECUTE ON FUNCTION tollgate.day_start(date, text), tollgate.day_of(timestamptz, text), tollgate.anchor_in(date, int),
  tollgate.anchor_after(date, int), tollgate.period_of(text, int, timestamptz),
  tollgate.ensure_periods(text, timestamptz, timestamptz) TO tollgate_web;

SELECT tollgate.ensure_partitions(now() - interval '1 month', now() + interval '3 months');
