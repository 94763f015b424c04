-- Credits: what a tenant was granted once, beyond its plan. A window's use beyond the plan is taken from the grants that end first among those
-- that were made before the window's end and end behind its start. What is taken is never stored: it follows from the counts of the windows,
-- late events included. tollgate.usage_credit_windows keeps what the counts can't tell later: the plan that a window had, and its count when
-- the counts are removed. A gauge's credits add to its limit until they end.

-- The window that holds an instant.
CREATE OR REPLACE FUNCTION tollgate.window_of(tenant text, a_window text, at timestamptz, OUT starts timestamptz, OUT ends timestamptz)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE a_window WHEN 'period' THEN p.starts_at WHEN 'hour' THEN h.at ELSE tollgate.day_start(d.first, p.time_zone) END,
         CASE a_window WHEN 'period' THEN p.ends_at
           WHEN 'hour' THEN least(h.at + interval '1 hour', tollgate.day_start(d.first + 1, p.time_zone))
           WHEN 'week' THEN tollgate.day_start(d.first + 7, p.time_zone) ELSE tollgate.day_start(d.first + 1, p.time_zone) END
  FROM tollgate.tenant_periods p
  CROSS JOIN LATERAL (SELECT tollgate.day_of(at, p.time_zone) AS day) x
  CROSS JOIN LATERAL (SELECT CASE a_window WHEN 'week' THEN tollgate.week_start(x.day) ELSE x.day END AS first) d
  CROSS JOIN LATERAL (SELECT tollgate.hour_start(at, p.time_zone) AS at) h
  WHERE p.tenant_id = tenant AND p.starts_at <= at AND p.ends_at > at
$$;

-- The plan's number of a limit, without credits: -1 unlimited, null not set.
CREATE OR REPLACE FUNCTION tollgate.plan_of(tenant text, k text) RETURNS numeric LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN jsonb_typeof(s.usage_limits -> k) = 'number' THEN greatest((s.usage_limits ->> k)::numeric, -1) END
  FROM tollgate.subscriptions s WHERE s.tenant_id = tenant
$$;

-- Windows that used more than their plan, from `since` on, with the plan that they had: the current one's is the plan as it is.
CREATE OR REPLACE FUNCTION tollgate.windows_over(tenant text, k text, since timestamptz)
RETURNS TABLE (starts timestamptz, ends timestamptz, used numeric, plan numeric) LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce(c.starts, w.starts_at), coalesce(w.ends_at, (tollgate.window_of(tenant, c.limit_window, c.starts)).ends),
         coalesce(c.used, w.used), coalesce(w.plan, tollgate.plan_of(tenant, k), -1)
  FROM (SELECT to_timestamp(t.starts_us / 1000000.0) AS starts, t.used / 1000000.0 AS used, t.limit_window
        FROM tollgate.usage_limit_keys l
        JOIN tollgate.table_counts t ON t.tenant_id = tenant AND t.metric_type = l.metric_type AND t.limit_window = l.limit_window
        WHERE l.limit_key = k) c
  FULL JOIN (SELECT * FROM tollgate.usage_credit_windows x WHERE x.tenant_id = tenant AND x.limit_key = k) w ON w.starts_at = c.starts
  WHERE coalesce(w.plan, tollgate.plan_of(tenant, k), -1) >= 0 AND coalesce(c.used, w.used) > coalesce(w.plan, tollgate.plan_of(tenant, k), -1)
    AND coalesce(w.ends_at, (tollgate.window_of(tenant, c.limit_window, c.starts)).ends) > since
  ORDER BY 1
$$;

-- What each window took of each grant of a limit. Of a grant that ends within a window no more than what was beyond the plan until then.
CREATE OR REPLACE FUNCTION tollgate.credit_takes(tenant text, k text)
RETURNS TABLE (credit bigint, starts timestamptz, ends timestamptz, taken numeric) LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  credits tollgate.usage_credits[];
  lefts numeric[];
  w record;
  over numeric;
  part numeric;
BEGIN
  SELECT array_agg(c ORDER BY c.expires_at, c.id), array_agg(c.amount ORDER BY c.expires_at, c.id) INTO credits, lefts
  FROM tollgate.usage_credits c WHERE c.tenant_id = tenant AND c.limit_key = k;
  FOR w IN SELECT * FROM tollgate.windows_over(tenant, k, (SELECT min(x.granted_at) FROM unnest(credits) x)) LOOP
    over := 0; -- what was taken so far
    FOR i IN 1 .. cardinality(credits) LOOP
      CONTINUE WHEN credits[i].granted_at >= w.ends OR credits[i].expires_at <= w.starts OR lefts[i] = 0;
      part := w.used - w.plan;
      IF credits[i].expires_at < least(w.ends, now()) THEN
        part := least(part, tollgate.used_until(credits[i], w.starts) - w.plan);
      END IF;
      part := greatest(least(part - over, lefts[i]), 0);
      CONTINUE WHEN part = 0;
      lefts[i] := lefts[i] - part;
      over := over + part;
      credit := credits[i].id;
      starts := w.starts;
      ends := w.ends;
      taken := part;
      RETURN NEXT;
    END LOOP;
  END LOOP;
END $$;

-- What the window that starts at `first` had used when the grant ended: its days until then.
CREATE OR REPLACE FUNCTION tollgate.used_until(c tollgate.usage_credits, first timestamptz) RETURNS numeric
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT greatest(coalesce(c.used_at_end, 0), coalesce((
    SELECT sum(d.used) / 1000000.0 FROM tollgate.usage_limit_keys l
    JOIN tollgate.table_counts d ON d.tenant_id = c.tenant_id AND d.metric_type = l.metric_type AND d.limit_window = 'day'
      AND d.starts_us >= tollgate.us(first) AND d.starts_us < tollgate.us(c.expires_at)
    WHERE l.limit_key = c.limit_key), 0))
$$;

-- What credits add to a limit now, what of it is left, and until when; no row: the tenant has none on it.
CREATE OR REPLACE FUNCTION tollgate.credit_now(tenant text, k text, now_used numeric)
RETURNS TABLE (added numeric, remains numeric, until timestamptz) LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  WITH w AS (
    SELECT x.starts FROM tollgate.usage_limit_keys l CROSS JOIN LATERAL tollgate.window_of(tenant, l.limit_window, now()) x
    WHERE l.limit_key = k AND l.limit_window <> 'none'
  ), takes AS (
    SELECT t.* FROM tollgate.credit_takes(tenant, k) t WHERE EXISTS (SELECT FROM w)
  ), each AS (
    SELECT c.expires_at, CASE WHEN c.expires_at > now()
        THEN c.amount - coalesce((SELECT sum(t.taken) FROM takes t, w WHERE t.credit = c.id AND t.starts < w.starts), 0)
        ELSE coalesce((SELECT sum(t.taken) FROM takes t, w WHERE t.credit = c.id AND t.starts = w.starts), 0) END AS n
    FROM tollgate.usage_credits c WHERE c.tenant_id = tenant AND c.limit_key = k
  )
  SELECT sum(e.n), greatest(sum(e.n) - greatest(coalesce(now_used, 0) - greatest(tollgate.plan_of(tenant, k), 0), 0), 0),
         min(e.expires_at) FILTER (WHERE e.expires_at > now())
  FROM each e WHERE e.n > 0 HAVING count(*) > 0
$$;

-- For the limit table: what was left of the grants when the window before this one began. A grant that ended within one of these two counts to
-- that window's end with what it was used for, and no more.
CREATE OR REPLACE FUNCTION tollgate.feed_credits(one text, after text, most bigint)
RETURNS TABLE (tenant_id text, limit_key text, since bigint, plan bigint, froms bigint[], untils bigint[], lefts bigint[])
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT g.tenant_id, g.limit_key, g.since, g.plan, array_agg(g.granted ORDER BY g.until), array_agg(g.until ORDER BY g.until),
         array_agg(g.remains ORDER BY g.until)
  FROM (
    SELECT t.tenant_id, k.limit_key::text, coalesce(tollgate.us(coalesce(b.starts, a.starts)), 0) AS since,
      (coalesce((SELECT w.plan FROM tollgate.usage_credit_windows w WHERE w.tenant_id = t.tenant_id AND w.limit_key = k.limit_key
                 AND w.starts_at = b.starts), tollgate.plan_of(t.tenant_id, k.limit_key), -1) * 1000000)::bigint AS plan,
      tollgate.us(c.granted_at) AS granted, tollgate.us(coalesce(e.ends, c.expires_at)) AS until,
      (least(CASE WHEN e.ends IS NULL THEN c.amount - p.taken ELSE p.taken_at_end END, 9000000000000) * 1000000)::bigint AS remains
    FROM tollgate.feed_page(one, after, most) t
    JOIN LATERAL (SELECT DISTINCT x.limit_key FROM tollgate.usage_credits x WHERE x.tenant_id = t.tenant_id AND x.expires_at > now() - interval '70 days') h ON true
    JOIN tollgate.usage_limit_keys k ON k.limit_key = h.limit_key
    LEFT JOIN LATERAL tollgate.window_of(t.tenant_id, k.limit_window, now()) a ON k.limit_window <> 'none'
    LEFT JOIN LATERAL tollgate.window_of(t.tenant_id, k.limit_window, a.starts - interval '1 microsecond') b ON true
    JOIN tollgate.usage_credits c ON c.tenant_id = t.tenant_id AND c.limit_key = k.limit_key AND c.expires_at > coalesce(b.starts, a.starts, now())
    -- It ended within a window: that one's end.
    LEFT JOIN LATERAL (SELECT x.ends FROM (VALUES (a.starts, a.ends), (b.starts, b.ends)) x (starts, ends)
      WHERE c.expires_at <= now() AND c.expires_at > x.starts AND c.expires_at < x.ends) e ON true
    CROSS JOIN LATERAL (
      SELECT coalesce(sum(x.taken) FILTER (WHERE x.starts < coalesce(b.starts, a.starts)), 0) AS taken,
             coalesce(sum(x.taken) FILTER (WHERE x.starts >= coalesce(b.starts, a.starts)), 0) AS taken_at_end
      FROM (SELECT * FROM tollgate.credit_takes(t.tenant_id, k.limit_key) y WHERE y.credit = c.id AND k.limit_window <> 'none') x) p) g
  WHERE g.remains > 0
  GROUP BY g.tenant_id, g.limit_key, g.since, g.plan ORDER BY g.tenant_id, g.limit_key
$$;
GRANT EXECUTE ON FUNCTION tollgate.feed_credits(text, text, bigint) TO tollgate_collector;

-- Keeps what can't be told later of one limit's windows that are over, and says when to look again.
CREATE OR REPLACE FUNCTION tollgate.settle_credit(tenant text, k text) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  a_window text := (SELECT l.limit_window FROM tollgate.usage_limit_keys l WHERE l.limit_key = k);
  turns timestamptz := (SELECT w.ends FROM tollgate.window_of(tenant, a_window, now()) w);
BEGIN
  INSERT INTO tollgate.usage_credit_windows AS w (tenant_id, limit_key, starts_at, ends_at, plan, used)
  SELECT tenant, k, c.starts, x.ends, coalesce(tollgate.plan_of(tenant, k), -1), c.used
  FROM (SELECT to_timestamp(t.starts_us / 1000000.0) AS starts, t.used / 1000000.0 AS used FROM tollgate.usage_limit_keys l
        JOIN tollgate.table_counts t ON t.tenant_id = tenant AND t.metric_type = l.metric_type AND t.limit_window = l.limit_window
        WHERE l.limit_key = k) c
  CROSS JOIN LATERAL tollgate.window_of(tenant, a_window, c.starts) x
  WHERE x.ends <= now() AND x.ends > (SELECT min(g.granted_at) FROM tollgate.usage_credits g WHERE g.tenant_id = tenant AND g.limit_key = k)
  ON CONFLICT (tenant_id, limit_key, starts_at) DO UPDATE SET used = excluded.used WHERE w.used <> excluded.used;
  UPDATE tollgate.usage_credits c SET
    used_at_end = CASE WHEN c.expires_at <= now() AND a_window IN ('week', 'period')
                       THEN tollgate.used_until(c, (SELECT w.starts FROM tollgate.window_of(tenant, a_window, c.expires_at - interval '1 microsecond') w)) END,
    look_at = CASE WHEN c.expires_at < now() - interval '40 days' THEN 'infinity'
                   ELSE least(turns, CASE WHEN c.expires_at > now() THEN c.expires_at END, now() + interval '1 hour') END
  WHERE c.tenant_id = tenant AND c.limit_key = k;
  INSERT INTO tollgate.config_changes (kind, subject) VALUES ('tenant', tenant);
END $$;

-- The collector's regular work. How many limits were looked at.
CREATE OR REPLACE FUNCTION tollgate.settle_credits(most int) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  c record;
  n bigint := 0;
BEGIN
  FOR c IN SELECT DISTINCT d.tenant_id, d.limit_key FROM (SELECT x.tenant_id, x.limit_key FROM tollgate.usage_credits x
    WHERE x.look_at <= now() ORDER BY x.look_at LIMIT most FOR UPDATE SKIP LOCKED) d LOOP
    PERFORM tollgate.settle_credit(c.tenant_id, c.limit_key);
    n := n + 1;
  END LOOP;
  RETURN n;
END $$;
GRANT EXECUTE ON FUNCTION tollgate.settle_credits(int) TO tollgate_collector;

-- Grants; the number by which the grant is taken back.
CREATE OR REPLACE FUNCTION tollgate.grant_credit(tenant text, word text, number text, until text, why text) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  zone text := tollgate.zone_of(tenant);
  l tollgate.usage_limit_keys := tollgate.known_limit(word, true);
  ends timestamptz;
  made bigint;
BEGIN
  IF l.limit_window = 'minute' THEN
    RAISE EXCEPTION '% refills by itself within a minute, so nothing is granted on it; raise it for a time: tollgate limit set --expires', l.limit_key
      USING ERRCODE = 'TG003', DETAIL = l.limit_key;
  ELSIF (SELECT m.kind FROM tollgate.usage_metrics m WHERE m.metric_type = l.metric_type) = 'observed' THEN
    RAISE EXCEPTION '% is the largest value, or a number of distinct ones: nothing of it is used up; raise it for a time: tollgate limit set --expires',
      l.limit_key USING ERRCODE = 'TG003', DETAIL = l.limit_key;
  ELSIF coalesce(tollgate.plan_of(tenant, l.limit_key), -1) < 0 THEN
    RAISE EXCEPTION 'tenant "%" has no limit on %, so there is nothing to grant', tenant, l.limit_key USING ERRCODE = 'TG003', DETAIL = l.limit_key;
  ELSIF number !~ '^[0-9]{1,13}([.][0-9]{1,6})?$' OR number::numeric NOT BETWEEN 0.000001 AND 1000000000000 THEN
    RAISE EXCEPTION '"%" is no amount; write a number above 0, with at most six decimals', left(number, 100) USING ERRCODE = 'TG003', DETAIL = 'amount';
  ELSIF until !~ '^([0-9]{1,5}d|\d{4}-\d{2}-\d{2})$' THEN
    RAISE EXCEPTION '--until is "%"; write the last day, such as 2027-01-31, or a number of days such as 30d', left(until, 100)
      USING ERRCODE = 'TG003', DETAIL = 'until';
  END IF;
  ends := tollgate.limit_time(CASE WHEN until LIKE '%d' THEN (tollgate.day_of(now(), zone) + left(until, -1)::int)::text ELSE until END, zone, '--until');
  PERFORM FROM tollgate.tenant_settings s WHERE s.tenant_id = tenant FOR UPDATE;
  IF (SELECT cardinality(f.lefts) FROM tollgate.feed_credits(tenant, '', 1) f WHERE f.limit_key = l.limit_key) >= 4 THEN -- LIMIT_GRANTS
    RAISE EXCEPTION 'tenant "%" has four credits on % that are not used up, and the limit table has room for no more; take one back: tollgate limit remove --tenant ID --credit NUMBER',
      tenant, l.limit_key USING ERRCODE = 'TG003', DETAIL = l.limit_key;
  ELSIF (SELECT count(*) FROM tollgate.feed_credits(tenant, '', 1) f WHERE f.limit_key <> l.limit_key) >= 15 THEN -- LIMIT_CREDITS
    RAISE EXCEPTION 'tenant "%" has credits on fifteen limits, and the limit table has room for no more', tenant USING ERRCODE = 'TG003', DETAIL = l.limit_key;
  END IF;
  INSERT INTO tollgate.usage_credits (tenant_id, limit_key, amount, expires_at, reason)
  VALUES (tenant, l.limit_key, number::numeric, ends, nullif(why, '')) RETURNING id INTO made;
  RETURN made;
END $$;

-- The tenant's credits that may still be used.
CREATE OR REPLACE FUNCTION tollgate.open_credits(tenant text) RETURNS TABLE (limit_key text, id bigint, amount numeric, taken numeric, expires_at timestamptz, reason text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT c.limit_key, c.id, c.amount, t.taken, c.expires_at, c.reason
  FROM tollgate.usage_credits c
  CROSS JOIN LATERAL (SELECT coalesce(sum(x.taken), 0) AS taken FROM tollgate.credit_takes(tenant, c.limit_key) x WHERE x.credit = c.id) t
  WHERE c.tenant_id = tenant AND c.expires_at > now() AND t.taken < c.amount ORDER BY c.limit_key, c.expires_at, c.id
$$;

-- Takes back what is left of a grant: what was used of it stays used.
CREATE OR REPLACE FUNCTION tollgate.take_back_credit(tenant text, number text) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  c tollgate.usage_credits;
  used numeric;
BEGIN
  PERFORM tollgate.zone_of(tenant);
  SELECT * INTO c FROM tollgate.usage_credits x WHERE x.tenant_id = tenant AND x.id::text = number FOR UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'tenant "%" has no credit %; `tollgate limit list --tenant ID` shows them', tenant, left(number, 20)
      USING ERRCODE = 'TG003', DETAIL = 'credit';
  END IF;
  SELECT coalesce(sum(t.taken), 0) INTO used FROM tollgate.credit_takes(tenant, c.limit_key) t WHERE t.credit = c.id;
  IF used = 0 THEN
    DELETE FROM tollgate.usage_credits x WHERE x.tenant_id = tenant AND x.id = c.id;
  ELSE
    UPDATE tollgate.usage_credits x SET amount = used WHERE x.tenant_id = tenant AND x.id = c.id;
  END IF;
END $$;
