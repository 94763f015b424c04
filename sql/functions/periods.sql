-- Days and periods. PostgreSQL alone does time-zone arithmetic.

-- The first instant of a local day. Midnight may be missing (a clock goes forward over it: the instant it does so), or
-- come twice (it goes back over it: the first one).
CREATE OR REPLACE FUNCTION tollgate.day_start(day date, zone text) RETURNS timestamptz LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT CASE WHEN e.early < e.plain AND e.early AT TIME ZONE zone = day::timestamp THEN e.early ELSE e.plain END
  FROM (SELECT p.plain, (day::timestamp - ((p.plain - interval '3 hours') AT TIME ZONE zone
                         - (p.plain - interval '3 hours') AT TIME ZONE 'UTC')) AT TIME ZONE 'UTC' AS early
        FROM (SELECT day::timestamp AT TIME ZONE zone AS plain) p) e
$$;
GRANT EXECUTE ON FUNCTION tollgate.day_start(date, text) TO tollgate_web, tollgate_collector;

-- The local day that holds an instant, by day_start: days never overlap, whatever the clock on the wall does.
-- One expression, so that the planner takes it in place of a call: batches ask for a day of each tenant.
CREATE OR REPLACE FUNCTION tollgate.day_of(at timestamptz, zone text) RETURNS date LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT (at AT TIME ZONE zone)::date + CASE WHEN at >= tollgate.day_start((at AT TIME ZONE zone)::date + 1, zone) THEN 1
                                             WHEN at < tollgate.day_start((at AT TIME ZONE zone)::date, zone) THEN -1 ELSE 0 END
$$;
GRANT EXECUTE ON FUNCTION tollgate.day_of(timestamptz, text) TO tollgate_web, tollgate_collector;

-- The first instant of the hour that holds `at`. Hours are counted from the day's first instant, as the gates do: an hour that a clock goes
-- through twice is two, and where a clock changes by half an hour, the last of that day is a short one. A day that does not begin at midnight
-- begins whole hours from it, which makes no difference here.
CREATE OR REPLACE FUNCTION tollgate.hour_start(at timestamptz, zone text) RETURNS timestamptz LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT date_bin('1 hour', at, date_trunc('day', at AT TIME ZONE zone) AT TIME ZONE zone)
$$;
GRANT EXECUTE ON FUNCTION tollgate.hour_start(timestamptz, text) TO tollgate_web, tollgate_collector;

-- The Monday of a day's week.
CREATE OR REPLACE FUNCTION tollgate.week_start(day date) RETURNS date LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
  $$ SELECT day - extract(isodow FROM day)::int + 1 $$;
GRANT EXECUTE ON FUNCTION tollgate.week_start(date) TO tollgate_web, tollgate_collector;

-- What is used of a counter, or observed, in the hour, day, week or period that holds `at`.
CREATE OR REPLACE FUNCTION tollgate.used_in(p_tenant text, p_metric text, p_window text, at timestamptz) RETURNS numeric
LANGUAGE sql STABLE AS $$
  SELECT coalesce((
    SELECT CASE p_window
      WHEN 'hour' THEN (SELECT h.used FROM tollgate.usage_counts_hourly h WHERE h.tenant_id = p_tenant AND h.metric_type = p_metric
                        AND h.hour = tollgate.hour_start(at, p.time_zone))
      ELSE (SELECT c.used FROM tollgate.usage_counts c WHERE c.tenant_id = p_tenant AND c.metric_type = p_metric AND c.limit_window = p_window
            AND c.window_start = CASE p_window WHEN 'day' THEN p.today WHEN 'week' THEN tollgate.week_start(p.today) ELSE p.period_start END) END
    FROM (SELECT x.time_zone, x.period_start, tollgate.day_of(at, x.time_zone) AS today FROM tollgate.tenant_periods x
          WHERE x.tenant_id = p_tenant AND x.starts_at <= at AND x.ends_at > at OFFSET 0) p), 0)
$$;
GRANT EXECUTE ON FUNCTION tollgate.used_in(text, text, text, timestamptz) TO tollgate_web, tollgate_collector;

-- The anchor day of the month that holds `day`: clamped to the month, each month on its own.
CREATE OR REPLACE FUNCTION tollgate.anchor_in(day date, anchor int) RETURNS date LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT m + least(anchor, extract(day FROM (m + interval '1 month' - interval '1 day'))::int) - 1
  FROM (SELECT date_trunc('month', day::timestamp)::date AS m) x
$$;

CREATE OR REPLACE FUNCTION tollgate.anchor_after(day date, anchor int) RETURNS date LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT CASE WHEN tollgate.anchor_in(day, anchor) > day THEN tollgate.anchor_in(day, anchor)
              ELSE tollgate.anchor_in((date_trunc('month', day::timestamp) + interval '1 month')::date, anchor) END
$$;

CREATE OR REPLACE FUNCTION tollgate.period_of(zone text, anchor int, at timestamptz, OUT period_start date, OUT period_end date,
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

-- Rows of tollgate.tenant_periods without a gap over the span, and a summary for each that has begun. What stands is left as it is:
-- a changed zone or anchor acts from the next period, which begins where the last one ends.
CREATE OR REPLACE FUNCTION tollgate.ensure_periods(tenant text, from_at timestamptz, to_at timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  zone text;
  anchor int;
  p record;
  q record;
  next_start date;
BEGIN
  PERFORM tollgate.only_own(tenant);
  SELECT min(starts_at) AS first, max(ends_at) AS last INTO p FROM tollgate.tenant_periods WHERE tenant_id = tenant;
  IF p.first IS NULL OR p.first > from_at OR p.last <= to_at THEN
    SELECT s.time_zone, s.anchor_day INTO zone, anchor FROM tollgate.tenant_settings s WHERE s.tenant_id = tenant FOR UPDATE;
    IF NOT FOUND THEN
      RETURN;
    END IF;
    SELECT * INTO p FROM tollgate.tenant_periods WHERE tenant_id = tenant ORDER BY starts_at LIMIT 1;
    IF NOT FOUND THEN
      q := tollgate.period_of(zone, anchor, from_at);
      INSERT INTO tollgate.tenant_periods VALUES
        (tenant, q.period_start, q.period_end, q.starts_at, q.ends_at, zone, q.billing_period);
      SELECT * INTO p FROM tollgate.tenant_periods WHERE tenant_id = tenant;
    END IF;
    WHILE p.starts_at > from_at LOOP
      q := tollgate.period_of(p.time_zone, extract(day FROM p.period_start)::int, p.starts_at - interval '1 microsecond');
      IF anchor >= extract(day FROM p.period_start) THEN -- the stored start may be a clamped one
        q := tollgate.period_of(p.time_zone, anchor, p.starts_at - interval '1 microsecond');
      END IF;
      INSERT INTO tollgate.tenant_periods VALUES
        (tenant, q.period_start, p.period_start - 1, q.starts_at, p.starts_at, p.time_zone, q.billing_period);
      SELECT * INTO p FROM tollgate.tenant_periods WHERE tenant_id = tenant ORDER BY starts_at LIMIT 1;
    END LOOP;
    SELECT * INTO p FROM tollgate.tenant_periods WHERE tenant_id = tenant ORDER BY starts_at DESC LIMIT 1;
    WHILE p.ends_at <= to_at LOOP
      next_start := tollgate.anchor_after(p.period_end + 1, anchor);
      INSERT INTO tollgate.tenant_periods VALUES
        (tenant, p.period_end + 1, next_start - 1, p.ends_at, tollgate.day_start(next_start, zone), zone,
         to_char(p.period_end + 1, 'YYYY-MM'));
      SELECT * INTO p FROM tollgate.tenant_periods WHERE tenant_id = tenant ORDER BY starts_at DESC LIMIT 1;
    END LOOP;
  END IF;
  PERFORM tollgate.add_summaries(tenant, from_at);
END $$;
GRANT EXECUTE ON FUNCTION tollgate.ensure_periods(text, timestamptz, timestamptz) TO tollgate_web, tollgate_collector;

-- Periods that have not begun follow the new zone and anchor.
CREATE OR REPLACE FUNCTION tollgate.settings_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  -- The view reads a file a zone, 0.1 s and more: one that another tenant has was looked up already.
  IF NOT EXISTS (SELECT FROM tollgate.tenant_settings s WHERE s.time_zone = NEW.time_zone AND s.tenant_id <> NEW.tenant_id)
     AND NOT EXISTS (SELECT FROM pg_timezone_names WHERE name = NEW.time_zone) THEN
    RAISE EXCEPTION 'no such time zone: %', NEW.time_zone USING ERRCODE = 'TG003', DETAIL = 'time_zone',
      HINT = 'Use an IANA name such as Europe/Berlin.';
  END IF;
  IF TG_OP = 'UPDATE' THEN
    DELETE FROM tollgate.tenant_periods WHERE tenant_id = NEW.tenant_id AND starts_at > now();
  END IF;
  RETURN NULL;
END $$;

-- At a tenant's midnight: today's calls start anew in current_usage; the new period's row stands before its first event.
-- Of the next `most` tenants behind `after`; returns the last of them, NULL when there are no more.
CREATE OR REPLACE FUNCTION tollgate.rollover(after text, most integer) RETURNS text LANGUAGE plpgsql
SET enable_hashjoin = off SET enable_mergejoin = off -- a page finds its rows by index, see feed_tenants
AS $$
DECLARE
  r record;
  last text;
  n integer;
  turned text[];
  usages jsonb[];
BEGIN
  SELECT max(x.tenant_id), count(*) INTO last, n FROM (
    SELECT t.tenant_id FROM tollgate.tenant_settings t WHERE t.tenant_id > after ORDER BY t.tenant_id LIMIT most) x;
  FOR r IN SELECT t.tenant_id FROM tollgate.tenant_settings t
    WHERE t.tenant_id > after AND t.tenant_id <= last
      AND ((SELECT 1 FROM tollgate.tenant_periods p WHERE p.tenant_id = t.tenant_id -- NOT EXISTS would hash all tenants' periods
            AND p.starts_at > now() + interval '35 days' LIMIT 1) IS NULL
        OR (SELECT 1 FROM tollgate.tenant_periods p JOIN public.usage_summary u ON u.tenant_id = p.tenant_id
            AND u.period_start = p.period_start
            WHERE p.tenant_id = t.tenant_id AND p.starts_at <= now() AND p.ends_at > now() LIMIT 1) IS NULL)
    ORDER BY t.tenant_id LOOP
    PERFORM tollgate.ensure_periods(r.tenant_id, now(), now() + interval '70 days');
    -- Events of a clock that runs ahead were counted before the summary's row was there.
    UPDATE public.usage_summary u SET api_calls_count = floor(c.calls), file_uploads_count = floor(c.uploads)
    FROM tollgate.tenant_periods p, LATERAL (
      SELECT coalesce(sum(used) FILTER (WHERE metric_type = 'api_call'), 0) AS calls,
             coalesce(sum(used) FILTER (WHERE metric_type = 'file_upload'), 0) AS uploads
      FROM tollgate.usage_counts k WHERE k.tenant_id = p.tenant_id AND k.limit_window = 'period'
        AND k.window_start = p.period_start) c
    WHERE p.tenant_id = r.tenant_id AND p.starts_at <= now() AND p.ends_at > now() AND u.tenant_id = p.tenant_id
      AND u.period_start = p.period_start AND (u.api_calls_count, u.file_uploads_count) <> (floor(c.calls), floor(c.uploads));
  END LOOP;
  WITH page AS MATERIALIZED (
    SELECT p.tenant_id, p.time_zone FROM tollgate.tenant_periods p
    WHERE p.tenant_id > after AND p.tenant_id <= last AND p.starts_at <= now() AND p.ends_at > now()
  ), days AS MATERIALIZED ( -- once a zone: tenants are many, zones are few
    SELECT z.zone, tollgate.day_of(now(), z.zone) AS today FROM (SELECT DISTINCT time_zone AS zone FROM page) z
  )
  SELECT array_agg(t.tenant_id), array_agg(jsonb_build_object('api_calls_today', t.calls)) INTO turned, usages
  FROM (SELECT p.tenant_id, floor(coalesce(c.used, 0)) AS calls FROM page p JOIN days d ON d.zone = p.time_zone
        LEFT JOIN tollgate.usage_counts c ON c.tenant_id = p.tenant_id AND c.metric_type = 'api_call'
          AND c.limit_window = 'day' AND c.window_start = d.today) t
  JOIN tollgate.subscriptions s ON s.tenant_id = t.tenant_id
  WHERE s.current_usage -> 'api_calls_today' IS DISTINCT FROM to_jsonb(t.calls);
  IF turned IS NOT NULL THEN
    PERFORM tollgate.put_usage(turned, usages);
  END IF;
  RETURN CASE WHEN n = most THEN last END;
END $$;
GRANT EXECUTE ON FUNCTION tollgate.rollover(text, int) TO tollgate_collector;
