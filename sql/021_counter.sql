-- Counting runs as tollgate_counter. The owner of a tenant's table may put code of his own there that PostgreSQL runs as whoever reads
-- the table: in a policy, in an index or a CHECK over an expression, in an operator or a cast of a type of his own. As
-- tollgate_counter that code owns nothing and can read nothing but a status and the tenants' ids, and what it did is undone before
-- the count is returned. Triggers read the rows of a statement, where no such code stands, and compare them as text by a type's
-- output alone: concat() calls no cast, and trailing blanks do not count.
-- Rows of tenant_subscriptions are written as tollgate_counter too, since a trigger that the host has there runs as the writer.

-- Why Tollgate does not count a table, as part of a sentence; null when it does.
CREATE FUNCTION tollgate.table_problem(tab regclass, what text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  WITH RECURSIVE below AS (
    SELECT tab::oid AS oid UNION SELECT i.inhrelid FROM below b JOIN pg_inherits i ON i.inhparent = b.oid
  )
  SELECT CASE
    WHEN c.relkind NOT IN ('r', 'p') THEN 'is not a table'
    WHEN c.relrowsecurity THEN 'has row-level security, which hides rows from the count'
    WHEN EXISTS (SELECT FROM below b JOIN pg_class x ON x.oid = b.oid WHERE x.relkind NOT IN ('r', 'p'))
      THEN 'has a part that is not a table of this database'
    WHEN a.attnum IS NULL THEN format('has no column %s', n.col)
    WHEN NOT has_schema_privilege('tollgate_counter', c.relnamespace, 'USAGE')
      OR NOT has_column_privilege('tollgate_counter', c.oid, a.attnum, 'SELECT')
      THEN format('may not be read by tollgate_counter: GRANT USAGE ON SCHEMA %s, SELECT (%s) ON %s TO it', c.relnamespace::regnamespace,
                  n.col, tab)
  END
  FROM pg_class c
  CROSS JOIN LATERAL (SELECT CASE what WHEN 'patients_count' THEN 'status' WHEN 'users_count' THEN 'tenant_id'
                                       ELSE 'tableoid' END AS col) n
  LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = n.col AND NOT a.attisdropped
  WHERE c.oid = tab
$$;

-- The rows that count in a table of a tenant's, or the tenant's in users; null when they can't be counted. Of the calling
-- statement's snapshot. The error at the end is what undoes whatever code of others did meanwhile.
CREATE FUNCTION tollgate.count_rows(tab regclass, what text, tenant text) RETURNS bigint
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  problem text := tollgate.table_problem(tab, what);
  n bigint;
BEGIN
  IF problem IS NULL THEN
    EXECUTE format(CASE what WHEN 'patients_count' THEN 'SELECT count(*) FROM %s WHERE rtrim(concat(status)) = ''active'''
                             WHEN 'users_count' THEN 'SELECT count(*) FROM %s WHERE tenant_id = $1'
                             ELSE 'SELECT count(tableoid) FROM %s' END, tab) INTO n USING tenant;
    RAISE EXCEPTION USING ERRCODE = 'TG000', MESSAGE = 'counted';
  END IF;
  RAISE WARNING '% %', tab, problem;
  RETURN NULL;
EXCEPTION
  WHEN SQLSTATE 'TG000' THEN
    RETURN n;
  WHEN OTHERS THEN
    RAISE WARNING '% can''t be counted: %', tab, sqlerrm;
    RETURN NULL;
END $$;

-- The right to count a table, where it is ours to give. In an adopted database tollgate.grant_schema gives it.
CREATE FUNCTION tollgate.let_count(tab regclass, what text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  c record;
BEGIN
  SELECT x.relowner, n.oid AS schema, n.nspname, n.nspowner INTO c FROM pg_class x JOIN pg_namespace n ON n.oid = x.relnamespace
  WHERE x.oid = tab;
  IF pg_has_role(c.nspowner, 'USAGE') AND NOT has_schema_privilege('tollgate_counter', c.schema, 'USAGE') THEN
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO tollgate_counter', c.nspname);
  END IF;
  IF pg_has_role(c.relowner, 'USAGE') THEN
    EXECUTE format('GRANT SELECT (%s) ON %s TO tollgate_counter',
                   CASE what WHEN 'patients_count' THEN 'status' ELSE 'tableoid' END, tab);
  END IF;
END $$;

-- After a write to tenant_subscriptions: the host's triggers there that wait for the commit run now, as tollgate_counter and not as
-- whoever commits, and a search_path that one of them set ends here.
CREATE FUNCTION tollgate.end_write() RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  c record;
BEGIN
  FOR c IN SELECT format('%I.%I', n.nspname, t.conname) AS name, t.condeferred FROM pg_constraint t JOIN pg_namespace n ON n.oid = t.connamespace
    WHERE t.conrelid = 'public.tenant_subscriptions'::regclass AND t.contype = 't' AND t.condeferrable ORDER BY 1 LOOP
    EXECUTE format('SET CONSTRAINTS %s IMMEDIATE', c.name);
    IF c.condeferred THEN
      EXECUTE format('SET CONSTRAINTS %s DEFERRED', c.name);
    END IF;
  END LOOP;
  PERFORM set_config('search_path', 'pg_catalog, pg_temp', true);
END $$;

-- What the subscriptions of these tenants show; how many changed. By id: collectors and changes of plans take them in one order.
CREATE FUNCTION tollgate.put_usage(tenants text[], usages jsonb[]) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  n bigint;
BEGIN
  PERFORM FROM public.tenant_subscriptions s WHERE s.tenant_id = ANY (tenants) ORDER BY s.tenant_id FOR NO KEY UPDATE;
  UPDATE public.tenant_subscriptions s SET current_usage = s.current_usage || u.usage
  FROM unnest(tenants, usages) AS u (tenant, usage)
  WHERE s.tenant_id = u.tenant AND s.current_usage IS DISTINCT FROM s.current_usage || u.usage;
  GET DIAGNOSTICS n = ROW_COUNT;
  PERFORM tollgate.end_write();
  RETURN n;
END $$;

CREATE FUNCTION tollgate.put_limits(tenant text, limits jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  UPDATE public.tenant_subscriptions s SET usage_limits = limits WHERE s.tenant_id = tenant AND s.usage_limits IS DISTINCT FROM limits;
  PERFORM tollgate.end_write();
END $$;

CREATE FUNCTION tollgate.put_tier(tenant text, tier text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  INSERT INTO public.tenant_subscriptions AS s (tenant_id, tier_id) VALUES (tenant, tier)
  ON CONFLICT (tenant_id) DO UPDATE SET tier_id = excluded.tier_id;
  PERFORM tollgate.end_write();
END $$;

GRANT SELECT (tenant_id) ON users TO tollgate_counter;
GRANT SELECT (tenant_id, tier_id, usage_limits, current_usage), INSERT (tenant_id, tier_id), UPDATE (tier_id, usage_limits, current_usage)
  ON tenant_subscriptions TO tollgate_counter;
GRANT USAGE, CREATE ON SCHEMA tollgate TO tollgate_counter;
GRANT EXECUTE ON FUNCTION tollgate.table_problem(regclass, text), tollgate.end_write() TO tollgate_counter;
ALTER FUNCTION tollgate.count_rows(regclass, text, text) OWNER TO tollgate_counter;
ALTER FUNCTION tollgate.put_usage(text[], jsonb[]) OWNER TO tollgate_counter;
ALTER FUNCTION tollgate.put_limits(text, jsonb) OWNER TO tollgate_counter;
ALTER FUNCTION tollgate.put_tier(text, text) OWNER TO tollgate_counter;
REVOKE CREATE ON SCHEMA tollgate FROM tollgate_counter;

DO $$
DECLARE
  s record;
BEGIN
  FOR s IN SELECT x.tenant_id FROM public.tenant_settings x LOOP
    PERFORM tollgate.let_count(tollgate.tenant_table(s.tenant_id, 'patients'), 'patients_count'),
            tollgate.let_count(tollgate.tenant_table(s.tenant_id, 'appointments'), 'appointments_count');
  END LOOP;
END $$;

-- A tenant's id stands in headers (X-Tenant-ID), in which a comma parts values and blanks at the ends are cut off. So an id has 1 to
-- 255 bytes of UTF-8, no control character, no comma, and no white space at its ends. What is wrong with one, as part of a
-- sentence; null when nothing is. A tenant of the host's whose id is not so is left out: it has no settings, its calls are refused.
CREATE FUNCTION tollgate.tenant_id_problem(id text) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS $$
  SELECT CASE
    WHEN id IS NULL OR id OPERATOR(pg_catalog.=) '' THEN 'is empty'
    WHEN pg_catalog.octet_length(pg_catalog.convert_to(id, 'UTF8')) OPERATOR(pg_catalog.>) 255 THEN 'is longer than 255 bytes'
    WHEN id OPERATOR(pg_catalog.~) '[\u0001-\u001f\u007f-\u009f]' THEN 'holds a control character'
    WHEN id OPERATOR(pg_catalog.~) ',' THEN 'holds a comma'
    WHEN id OPERATOR(pg_catalog.~) '^[ \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]|[ \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]$'
      THEN 'begins or ends with white space'
  END
$$;
GRANT EXECUTE ON FUNCTION tollgate.tenant_id_problem(text) TO tollgate_collector;

-- An insert where patients are enforced. Far from the limit this is all that it pays, so take_share's first steps stand here once
-- more. SET search_path would be another twentieth of a single insert: every name, operator and type that is looked up is written
-- with its schema instead.
CREATE OR REPLACE FUNCTION tollgate.patients_added() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
  g integer := TG_ARGV[1];
  mine integer := 1 OPERATOR(pg_catalog.+) (pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.%) 32);
  delta bigint := (SELECT pg_catalog.count(*) FROM new_rows WHERE pg_catalog.rtrim(pg_catalog.concat(status)) OPERATOR(pg_catalog.=) 'active');
BEGIN
  IF pg_catalog.pg_try_advisory_xact_lock(pg_catalog.hashtext('tollgate.enforce'),
       g OPERATOR(pg_catalog.<<) 6 OPERATOR(pg_catalog.|) mine OPERATOR(pg_catalog.&) 1023) THEN
    UPDATE public.enforce_shares s SET free = s.free OPERATOR(pg_catalog.-) delta, changed = true
    WHERE s.gauge OPERATOR(pg_catalog.=) g AND s.slot OPERATOR(pg_catalog.=) mine AND s.free OPERATOR(pg_catalog.>=) delta
      AND s.until OPERATOR(pg_catalog.>) pg_catalog.statement_timestamp();
    IF FOUND THEN
      RETURN NULL;
    END IF;
  END IF;
  PERFORM tollgate.patients_by(TG_ARGV[0], g, delta);
  RETURN NULL;
END $$;

-- The same for users, where a statement adds those of one tenant, as most do.
CREATE OR REPLACE FUNCTION tollgate.users_added() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
  mine integer := 1 OPERATOR(pg_catalog.+) (pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.%) 32);
  g integer;
  c pg_catalog.record;
BEGIN
  SELECT pg_catalog.count(*) AS n, pg_catalog.min(x.tenant) AS first, pg_catalog.max(x.tenant) AS last
  INTO c FROM (SELECT pg_catalog.rtrim(pg_catalog.concat(u.tenant_id)) AS tenant FROM new_rows u WHERE u.tenant_id IS NOT NULL) x;
  IF c.first OPERATOR(pg_catalog.=) c.last THEN
    g := (SELECT e.id FROM public.enforced_gauges e
          WHERE e.tenant_id OPERATOR(pg_catalog.=) c.first AND e.metric OPERATOR(pg_catalog.=) 'users_count');
    IF g IS NULL THEN
      INSERT INTO public.usage_changes (tenant_id, metric, delta) VALUES (c.first, 'users_count', c.n);
      RETURN NULL;
    ELSIF pg_catalog.pg_try_advisory_xact_lock(pg_catalog.hashtext('tollgate.enforce'),
            g OPERATOR(pg_catalog.<<) 6 OPERATOR(pg_catalog.|) mine OPERATOR(pg_catalog.&) 1023) THEN
      UPDATE public.enforce_shares s SET free = s.free OPERATOR(pg_catalog.-) c.n, changed = true
      WHERE s.gauge OPERATOR(pg_catalog.=) g AND s.slot OPERATOR(pg_catalog.=) mine AND s.free OPERATOR(pg_catalog.>=) c.n
        AND s.until OPERATOR(pg_catalog.>) pg_catalog.statement_timestamp();
      IF FOUND THEN
        RETURN NULL;
      END IF;
    END IF;
  END IF;
  -- By tenant, so that two statements over the same tenants take their shares in the same order.
  FOR c IN SELECT pg_catalog.rtrim(pg_catalog.concat(u.tenant_id)) AS tenant, pg_catalog.count(*) AS n FROM new_rows u
           WHERE u.tenant_id IS NOT NULL GROUP BY 1 ORDER BY 1 LOOP
    PERFORM tollgate.users_by(c.tenant, c.n);
  END LOOP;
  RETURN NULL;
END $$;

-- Counts anew; the caller holds off writers of the table.
CREATE OR REPLACE FUNCTION tollgate.fill_shares(g integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  e public.enforced_gauges;
  tab regclass;
  counted bigint := 0;
  used bigint;
BEGIN
  SELECT * INTO e FROM public.enforced_gauges x WHERE x.id = g;
  IF e.metric = 'users_count' THEN
    counted := tollgate.count_rows('public.users', e.metric, e.tenant_id);
  ELSE
    tab := tollgate.tenant_table(e.tenant_id, 'patients');
    IF tab IS NOT NULL THEN
      counted := tollgate.count_rows(tab, e.metric, e.tenant_id);
    END IF;
  END IF;
  used := coalesce(counted, ( -- what can't be counted is what it was
    SELECT CASE e.metric WHEN 'users_count' THEN u.users_count ELSE u.patients_count END FROM public.usage_summary u
    WHERE u.tenant_id = e.tenant_id ORDER BY u.period_start DESC LIMIT 1), 0);
  PERFORM FROM public.enforce_shares s WHERE s.gauge = g ORDER BY s.slot FOR UPDATE;
  INSERT INTO public.enforce_shares AS s (gauge, slot, free, max, until, changed)
  SELECT g, i, tollgate.first_share(m.most - used, i), m.most,
    CASE WHEN i > 0 AND m.most < used THEN '-infinity' ELSE m.holds END, true
  FROM generate_series(0, 32) i, tollgate.enforced_max(e.tenant_id, e.metric) m
  ON CONFLICT (gauge, slot) DO UPDATE SET free = excluded.free, max = excluded.max, until = excluded.until, changed = true;
END $$;

-- Enforcing begins with a count: what can't be counted is said.
CREATE FUNCTION tollgate.only_countable(tenant text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  tab regclass := tollgate.tenant_table(tenant, 'patients');
  problem text := 'public.users ' || tollgate.table_problem('public.users', 'users_count');
BEGIN
  IF tab IS NOT NULL THEN
    PERFORM tollgate.let_count(tab, 'patients_count');
    problem := coalesce(problem, tab || ' ' || tollgate.table_problem(tab, 'patients_count'));
  END IF;
  IF problem IS NOT NULL THEN
    RAISE EXCEPTION '%', problem USING ERRCODE = 'TG005', DETAIL = 'table';
  END IF;
END $$;

-- The staging tables, empty at each transaction's end; behind a pooler they are left for the session's next user.
-- Their text has the database's collation: with another one no index of the tables that it is compared with
-- would serve, and each batch would read those from end to end.
CREATE OR REPLACE FUNCTION tollgate.batch_open() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF to_regclass('pg_temp.batch') IS NOT NULL THEN
    -- A table by this name that another role made in this session could have triggers of that role's.
    IF EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.relnamespace = pg_catalog.pg_my_temp_schema() AND c.relname ~ '^batch'
               AND c.relowner <> (SELECT r.oid FROM pg_catalog.pg_roles r WHERE r.rolname = current_user)) THEN
      RAISE EXCEPTION 'a temporary table batch of another role stands in this session' USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    RETURN;
  END IF;
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
    metadata    text
  ) ON COMMIT DELETE ROWS;
  CREATE TEMP TABLE batch_spans (
    tenant_id text, quarter timestamptz, hour timestamptz, day date, time_zone text, period_start date,
    billing_period text
  ) ON COMMIT DELETE ROWS;
  CREATE TEMP TABLE batch_sums (
    tenant_id text, metric_type text, counter boolean, hour timestamptz, day date, time_zone text,
    period_start date, method text, endpoint text, total numeric, uncounted numeric, events bigint
  ) ON COMMIT DELETE ROWS;
  CREATE TEMP TABLE batch_totals (
    tenant_id text, metric_type text, limit_window text, window_start date, used numeric
  ) ON COMMIT DELETE ROWS;
END $$;

-- Counts of days and periods, the summary and what the host's subscription row shows.
CREATE OR REPLACE FUNCTION tollgate.ingest_counts() RETURNS void LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
  WITH added AS (
    SELECT tenant_id, metric_type, 'day' AS limit_window, day AS window_start, sum(total) AS total
    FROM pg_temp.batch_sums WHERE counter GROUP BY 1, 2, 4
    UNION ALL
    SELECT tenant_id, metric_type, 'period', period_start, sum(total) FROM pg_temp.batch_sums WHERE counter GROUP BY 1, 2, 4
  ), put AS (
    INSERT INTO public.usage_counts AS c (tenant_id, metric_type, limit_window, window_start, used)
    SELECT * FROM added ORDER BY 1, 2, 3, 4
    ON CONFLICT (tenant_id, metric_type, limit_window, window_start)
    DO UPDATE SET used = c.used + excluded.used, xid = pg_current_xact_id()
    RETURNING c.tenant_id, c.metric_type, c.limit_window, c.window_start, c.used
  )
  INSERT INTO pg_temp.batch_totals SELECT * FROM put;

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

-- Adds what usage_changes brings to the summary and current_usage, takes the level of an enforced gauge from its shares, and puts
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
      DELETE FROM public.usage_changes u USING (
        SELECT tenant_id, id FROM public.usage_changes ORDER BY tenant_id, id LIMIT p_max FOR UPDATE SKIP LOCKED) x
      WHERE u.tenant_id = x.tenant_id AND u.id = x.id RETURNING u.tenant_id, u.id, u.metric, u.delta, u.created, u.recount
    ), enforced AS (
      SELECT e.tenant_id FROM public.enforced_gauges e
      WHERE e.id IN (SELECT h.gauge FROM public.enforce_shares h WHERE h.changed) LIMIT p_max
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
    CONTINUE WHEN NOT EXISTS (SELECT FROM public.tenants t WHERE t.id = c.tenant_id);
    IF c.measure THEN
      tenant_id := c.tenant_id;
      RETURN NEXT;
    END IF;
    PERFORM tollgate.ensure_periods(c.tenant_id, now(), now());
    SELECT u.* INTO before FROM public.usage_summary u JOIN public.tenant_periods p
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
    WHERE EXISTS (SELECT FROM public.usage_metrics m WHERE m.metric_type = g.metric);
    SELECT count(*) INTO place FROM pg_temp.batch;
    -- Every node's limit table learns the new levels from here.
    INSERT INTO public.config_changes (kind, subject) VALUES ('tenant', c.tenant_id);
  END LOOP;
END $$;

-- At a tenant's midnight: today's calls start anew in current_usage; the new period's row stands before its first event.
-- Of the next `most` tenants behind `after`; returns the last of them, NULL when there are no more.
CREATE OR REPLACE FUNCTION tollgate.turn_days(after text, most integer) RETURNS text LANGUAGE plpgsql
SET enable_hashjoin = off SET enable_mergejoin = off -- a page finds its rows by index, see table_tenants
AS $$
DECLARE
  r record;
  last text;
  n integer;
  turned text[];
  usages jsonb[];
BEGIN
  SELECT max(x.tenant_id), count(*) INTO last, n FROM (
    SELECT t.tenant_id FROM public.tenant_settings t WHERE t.tenant_id > after ORDER BY t.tenant_id LIMIT most) x;
  FOR r IN SELECT t.tenant_id FROM public.tenant_settings t
    WHERE t.tenant_id > after AND t.tenant_id <= last
      AND ((SELECT 1 FROM public.tenant_periods p WHERE p.tenant_id = t.tenant_id -- NOT EXISTS would hash all tenants' periods
            AND p.starts_at > now() + interval '35 days' LIMIT 1) IS NULL
        OR (SELECT 1 FROM public.tenant_periods p JOIN public.usage_summary u ON u.tenant_id = p.tenant_id
            AND u.period_start = p.period_start
            WHERE p.tenant_id = t.tenant_id AND p.starts_at <= now() AND p.ends_at > now() LIMIT 1) IS NULL)
    ORDER BY t.tenant_id LOOP
    PERFORM tollgate.ensure_periods(r.tenant_id, now(), now() + interval '70 days');
    -- Events of a clock that runs ahead were counted before the summary's row was there.
    UPDATE public.usage_summary u SET api_calls_count = floor(c.calls), file_uploads_count = floor(c.uploads)
    FROM public.tenant_periods p, LATERAL (
      SELECT coalesce(sum(used) FILTER (WHERE metric_type = 'api_call'), 0) AS calls,
             coalesce(sum(used) FILTER (WHERE metric_type = 'file_upload'), 0) AS uploads
      FROM public.usage_counts k WHERE k.tenant_id = p.tenant_id AND k.limit_window = 'period'
        AND k.window_start = p.period_start) c
    WHERE p.tenant_id = r.tenant_id AND p.starts_at <= now() AND p.ends_at > now() AND u.tenant_id = p.tenant_id
      AND u.period_start = p.period_start AND (u.api_calls_count, u.file_uploads_count) <> (floor(c.calls), floor(c.uploads));
  END LOOP;
  WITH page AS MATERIALIZED (
    SELECT p.tenant_id, p.time_zone FROM public.tenant_periods p
    WHERE p.tenant_id > after AND p.tenant_id <= last AND p.starts_at <= now() AND p.ends_at > now()
  ), days AS MATERIALIZED ( -- once a zone: tenants are many, zones are few
    SELECT z.zone, tollgate.day_of(now(), z.zone) AS today FROM (SELECT DISTINCT time_zone AS zone FROM page) z
  )
  SELECT array_agg(t.tenant_id), array_agg(jsonb_build_object('api_calls_today', t.calls)) INTO turned, usages
  FROM (SELECT p.tenant_id, floor(coalesce(c.used, 0)) AS calls FROM page p JOIN days d ON d.zone = p.time_zone
        LEFT JOIN public.usage_counts c ON c.tenant_id = p.tenant_id AND c.metric_type = 'api_call'
          AND c.limit_window = 'day' AND c.window_start = d.today) t
  JOIN public.tenant_subscriptions s ON s.tenant_id = t.tenant_id
  WHERE s.current_usage -> 'api_calls_today' IS DISTINCT FROM to_jsonb(t.calls);
  IF turned IS NOT NULL THEN
    PERFORM tollgate.put_usage(turned, usages);
  END IF;
  RETURN CASE WHEN n = most THEN last END;
END $$;

-- Gauges against the host's tables, with what waits in usage_changes: one statement, one snapshot. An enforced gauge's shares must
-- agree too; what they say, the summary has unless a collector has still to look. What can't be counted is not compared.
CREATE OR REPLACE FUNCTION tollgate.reconcile_gauges(tenant text) RETURNS TABLE (metric text, stored numeric, counted numeric)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  patients regclass := tollgate.tenant_table(tenant, 'patients');
  appointments regclass := tollgate.tenant_table(tenant, 'appointments');
BEGIN
  RETURN QUERY
  WITH counted AS MATERIALIZED (
    SELECT CASE WHEN patients IS NULL THEN 0 ELSE tollgate.count_rows(patients, 'patients_count', tenant) END AS patients,
           CASE WHEN appointments IS NULL THEN 0 ELSE tollgate.count_rows(appointments, 'appointments_count', tenant) END AS appointments,
           tollgate.count_rows('public.users', 'users_count', tenant) AS people
  )
  SELECT v.metric, k.stored, v.counted FROM public.usage_summary s
  JOIN public.tenant_periods p ON p.tenant_id = s.tenant_id AND p.period_start = s.period_start
  CROSS JOIN counted n
  CROSS JOIN LATERAL (VALUES ('patients_count', s.patients_count::numeric, n.patients::numeric),
    ('appointments_count', s.appointments_count, n.appointments), ('users_count', s.users_count, n.people)) AS v (metric, stored, counted)
  LEFT JOIN tollgate.enforced_levels(tenant) l ON l.metric = v.metric
  LEFT JOIN LATERAL (SELECT sum(c.delta) AS delta, bool_or(c.recount) AS anew FROM public.usage_changes c
    WHERE c.tenant_id = tenant AND c.metric = v.metric AND l.used IS NULL) w ON true
  CROSS JOIN LATERAL (SELECT CASE WHEN l.changed OR l.used <> v.counted THEN l.used ELSE v.stored + coalesce(w.delta, 0) END) k (stored)
  WHERE s.tenant_id = tenant AND p.starts_at <= now() AND p.ends_at > now() AND w.anew IS NOT true AND k.stored <> v.counted;
END $$;

-- One transaction a tenant. Collectors wait at usage_hourly, their first book, so nothing is counted meanwhile. Before that, as a
-- collector does, the shares of an enforced tenant, which are counted anew.
CREATE OR REPLACE FUNCTION tollgate.repair(tenant text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  d record;
  gauges bigint := (SELECT count(*) FROM tollgate.reconcile_gauges(tenant));
  mended bigint := gauges;
BEGIN
  IF gauges > 0 AND (SELECT s.enforced FROM public.tenant_settings s WHERE s.tenant_id = tenant) THEN
    PERFORM tollgate.enforce(tenant, true);
  END IF;
  LOCK TABLE public.usage_hourly IN SHARE ROW EXCLUSIVE MODE;
  FOR d IN SELECT * FROM tollgate.reconcile(tenant) LOOP
    mended := mended + 1;
    CASE d.book
      WHEN 'hourly' THEN
        DELETE FROM public.usage_hourly h WHERE h.tenant_id = tenant AND h.metric_type = d.metric AND h.hour = d.at::timestamptz
          AND h.method = d.method AND h.endpoint = d.endpoint;
        INSERT INTO public.usage_hourly (tenant_id, metric_type, hour, method, endpoint, total, events)
        SELECT tenant, d.metric, d.at::timestamptz, d.method, d.endpoint, d.counted, d.counted_events WHERE d.counted IS NOT NULL;
      WHEN 'daily' THEN
        DELETE FROM public.usage_daily h WHERE h.tenant_id = tenant AND h.metric_type = d.metric AND h.day = d.at::date
          AND h.method = d.method AND h.endpoint = d.endpoint;
        INSERT INTO public.usage_daily (tenant_id, metric_type, day, method, endpoint, total, events)
        SELECT tenant, d.metric, d.at::date, d.method, d.endpoint, d.counted, d.counted_events WHERE d.counted IS NOT NULL;
      WHEN 'counts' THEN
        INSERT INTO public.usage_counts AS c (tenant_id, metric_type, limit_window, window_start, used)
        VALUES (tenant, d.metric, d.method, d.at::date, coalesce(d.counted, 0))
        ON CONFLICT (tenant_id, metric_type, limit_window, window_start) DO UPDATE SET used = excluded.used, xid = pg_current_xact_id();
      WHEN 'summary' THEN
        UPDATE public.usage_summary s SET updated_at = now(),
          api_calls_count = CASE d.metric WHEN 'api_calls_count' THEN d.counted ELSE s.api_calls_count END,
          file_uploads_count = CASE d.metric WHEN 'file_uploads_count' THEN d.counted ELSE s.file_uploads_count END
        WHERE s.tenant_id = tenant AND s.period_start = d.at::date;
      ELSE
        PERFORM tollgate.put_usage(ARRAY[tenant], ARRAY[jsonb_build_object(d.metric, trim_scale(coalesce(d.counted, 0)))]);
    END CASE;
  END LOOP;
  IF gauges > 0 THEN
    PERFORM tollgate.recount(tenant);
  END IF;
  RETURN mended;
END $$;

CREATE OR REPLACE FUNCTION tollgate.appointments_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  n bigint := 0;
BEGIN
  CASE TG_OP
    WHEN 'INSERT' THEN
      SELECT count(*) INTO n FROM new_rows;
      PERFORM tollgate.note(TG_ARGV[0], 'appointments_count', n, n) WHERE n > 0;
    WHEN 'DELETE' THEN
      SELECT count(*) INTO n FROM old_rows;
      PERFORM tollgate.note(TG_ARGV[0], 'appointments_count', -n) WHERE n > 0;
    ELSE
      PERFORM tollgate.note(TG_ARGV[0], 'appointments_count', 0, 0, true);
  END CASE;
  RETURN NULL;
END $$;

-- Counts anew; what waits in usage_changes for these gauges is part of the count and goes. What can't be counted stays as it was.
CREATE OR REPLACE FUNCTION tollgate.recount(tenant text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  patients bigint := 0;
  appointments bigint := 0;
  people bigint;
  tab regclass;
BEGIN
  PERFORM tollgate.only_own(tenant);
  PERFORM tollgate.ensure_periods(tenant, now(), now());
  PERFORM FROM public.usage_summary u WHERE u.tenant_id = tenant ORDER BY u.period_start DESC LIMIT 1 FOR UPDATE;
  -- One statement, one snapshot: deltas that it sees are deleted with the rows that it counts.
  tab := tollgate.tenant_table(tenant, 'patients');
  IF tab IS NOT NULL THEN
    WITH counted AS MATERIALIZED (SELECT tollgate.count_rows(tab, 'patients_count', tenant) AS n),
      gone AS (DELETE FROM public.usage_changes c USING counted
               WHERE counted.n IS NOT NULL AND c.tenant_id = tenant AND c.metric = 'patients_count')
    SELECT counted.n INTO patients FROM counted;
  END IF;
  tab := tollgate.tenant_table(tenant, 'appointments');
  IF tab IS NOT NULL THEN
    WITH counted AS MATERIALIZED (SELECT tollgate.count_rows(tab, 'appointments_count', tenant) AS n),
      kept AS (UPDATE public.usage_changes c SET delta = 0, recount = false FROM counted
               WHERE counted.n IS NOT NULL AND c.tenant_id = tenant AND c.metric = 'appointments_count')
    SELECT counted.n INTO appointments FROM counted;
  END IF;
  WITH counted AS MATERIALIZED (SELECT tollgate.count_rows('public.users', 'users_count', tenant) AS n),
    gone AS (DELETE FROM public.usage_changes c USING counted
             WHERE counted.n IS NOT NULL AND c.tenant_id = tenant AND c.metric = 'users_count')
  SELECT counted.n INTO people FROM counted;
  UPDATE public.usage_summary s SET patients_count = coalesce(patients, s.patients_count), users_count = coalesce(people, s.users_count),
    appointments_count = coalesce(appointments, s.appointments_count), updated_at = now()
  FROM public.tenant_periods p
  WHERE s.tenant_id = tenant AND p.tenant_id = tenant AND p.period_start = s.period_start
    AND p.starts_at <= now() AND p.ends_at > now();
  PERFORM tollgate.put_usage(ARRAY[tenant],
                             ARRAY[jsonb_strip_nulls(jsonb_build_object('patients_count', patients, 'users_count', people))]);
  INSERT INTO public.config_changes (kind, subject) VALUES ('tenant', tenant);
END $$;

-- The effective plain numbers: the tier's, then overrides that are in force.
CREATE OR REPLACE FUNCTION tollgate.apply_limits(tenant text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT tollgate.put_limits(tenant, e.limits)
  FROM (SELECT t.usage_limits, r.limits || coalesce((
          SELECT jsonb_object_agg(o.limit_key, trim_scale(o.max)) FROM public.usage_limit_overrides o
          WHERE o.tenant_id = t.tenant_id AND o.max IS NOT NULL AND (o.expires_at IS NULL OR o.expires_at > now())), '{}') AS limits
        FROM public.tenant_subscriptions t JOIN public.subscription_tiers r ON r.id = t.tier_id WHERE t.tenant_id = tenant) e
  WHERE e.usage_limits IS DISTINCT FROM e.limits
$$;

-- Overrides whose time is over: the tier's limits come back into usage_limits. How many tenants.
CREATE OR REPLACE FUNCTION tollgate.expire_limits() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  ended text[];
BEGIN
  SELECT array_agg(DISTINCT o.tenant_id::text) INTO ended FROM public.usage_limit_overrides o
  JOIN public.tenant_subscriptions s ON s.tenant_id = o.tenant_id JOIN public.subscription_tiers r ON r.id = s.tier_id
  WHERE o.expires_at <= now() AND o.max IS NOT NULL AND s.usage_limits -> o.limit_key IS DISTINCT FROM r.limits -> o.limit_key;
  PERFORM tollgate.apply_limits(e.id) FROM unnest(ended) AS e (id);
  RETURN coalesce(cardinality(ended), 0);
END $$;

-- For the collectors: what to publish. The collector's own updates of current_usage do not fire these.
CREATE OR REPLACE FUNCTION tollgate.config_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  subject text;
BEGIN
  IF TG_ARGV[0] = 'catalogue' THEN
    INSERT INTO public.config_changes (kind) VALUES ('catalogue');
  ELSIF TG_ARGV[0] = 'key' THEN
    IF TG_OP = 'DELETE' THEN
      INSERT INTO public.config_changes (kind, subject, hash) VALUES ('key', OLD.id, OLD.hash);
    ELSE
      INSERT INTO public.config_changes (kind, subject, hash) VALUES ('key', NEW.id, NEW.hash);
      IF TG_OP = 'UPDATE' AND OLD.hash <> NEW.hash THEN
        INSERT INTO public.config_changes (kind, subject, hash) VALUES ('key', OLD.id, OLD.hash);
      END IF;
    END IF;
  ELSE
    IF TG_ARGV[1] = 'id' THEN
      subject := CASE WHEN TG_OP = 'DELETE' THEN concat(OLD.id) ELSE concat(NEW.id) END;
    ELSE
      subject := CASE WHEN TG_OP = 'DELETE' THEN concat(OLD.tenant_id) ELSE concat(NEW.tenant_id) END;
    END IF;
    INSERT INTO public.config_changes (kind, subject) VALUES ('tenant', subject);
  END IF;
  RETURN NULL;
END $$;

-- PUT: the tier, and overrides by key; null removes an override. Of the tenant that is set: for an operator's request web
-- sets the tenant that its path names.
CREATE OR REPLACE FUNCTION tollgate.set_subscription(tenant text, tier text, limits jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  k text;
  v jsonb;
  answer jsonb;
BEGIN
  PERFORM tollgate.only_own(tenant);
  IF NOT EXISTS (SELECT FROM public.tenants t WHERE t.id = tenant) THEN
    RAISE EXCEPTION 'no such tenant' USING ERRCODE = 'TG004', DETAIL = 'tenant_id';
  END IF;
  IF tier IS NOT NULL THEN
    IF NOT EXISTS (SELECT FROM public.subscription_tiers r WHERE r.id = tier) THEN
      RAISE EXCEPTION 'no such tier: %', left(tier, 100) USING ERRCODE = 'TG002', DETAIL = 'tier_id';
    END IF;
    PERFORM tollgate.put_tier(tenant, tier);
  ELSIF NOT EXISTS (SELECT FROM public.tenant_subscriptions s WHERE s.tenant_id = tenant) THEN
    RAISE EXCEPTION 'the tenant has no subscription: name a tier' USING ERRCODE = 'TG002', DETAIL = 'tier_id';
  END IF;
  IF limits IS NOT NULL AND jsonb_typeof(limits) <> 'object' THEN
    RAISE EXCEPTION 'usage_limits is an object' USING ERRCODE = 'TG003', DETAIL = 'usage_limits';
  END IF;
  FOR k, v IN SELECT * FROM jsonb_each(coalesce(limits, '{}')) ORDER BY 1 LOOP
    IF NOT EXISTS (SELECT FROM public.usage_limit_keys l WHERE l.limit_key = k) THEN
      RAISE EXCEPTION 'no such limit: %', left(k, 100) USING ERRCODE = 'TG001', DETAIL = left(k, 100);
    ELSIF jsonb_typeof(v) = 'null' THEN
      UPDATE public.usage_limit_overrides o SET max = NULL, expires_at = NULL, updated_at = now()
      WHERE o.tenant_id = tenant AND o.limit_key = k AND (o.mode <> 'hard' OR o.grace_percent > 0);
      DELETE FROM public.usage_limit_overrides o WHERE o.tenant_id = tenant AND o.limit_key = k AND o.mode = 'hard';
    ELSE
      IF jsonb_typeof(v) <> 'number' THEN
        RAISE EXCEPTION '% is a number, or null for the tier''s', k USING ERRCODE = 'TG003', DETAIL = k;
      ELSIF (v::numeric < 0 AND v::numeric <> -1) OR v::numeric > 1000000000000 OR scale(trim_scale(v::numeric)) > 6 THEN
        RAISE EXCEPTION '% is -1 (unlimited), or 0 to 1000000000000 with at most six decimals', k
          USING ERRCODE = 'TG003', DETAIL = k;
      END IF;
      INSERT INTO public.usage_limit_overrides AS o (tenant_id, limit_key, max) VALUES (tenant, k, v::numeric)
      ON CONFLICT (tenant_id, limit_key) DO UPDATE SET max = excluded.max, expires_at = NULL, updated_at = now();
    END IF;
  END LOOP;
  PERFORM tollgate.apply_limits(tenant);
  SELECT jsonb_build_object('tenant_id', s.tenant_id, 'tier_id', s.tier_id, 'usage_limits', s.usage_limits,
                            'current_usage', s.current_usage) INTO answer
  FROM public.tenant_subscriptions s WHERE s.tenant_id = tenant;
  RETURN answer;
END $$;

-- What the limit table is filled from. days: starts of yesterday, today and the seven days ahead; periods: of the last one,
-- this one and the two ahead, then the end. overrides: by key max, mode, grace_percent, grace_until and expires_at
-- (microseconds), and the tier's own limit for when max expires. By id, at most `most` behind `after`; or `one` alone.
CREATE OR REPLACE FUNCTION tollgate.table_tenants(one text DEFAULT NULL, after text DEFAULT '', most bigint DEFAULT NULL)
RETURNS TABLE (tenant_id text, tier_id text, state text,
  usage_limits jsonb, overrides jsonb, days timestamptz[], day_offsets int[], periods timestamptz[], period_offsets int[],
  patients bigint, users bigint, appointments bigint, storage bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
-- A page finds its rows by index, whatever share of all the planner takes `most` for.
SET enable_hashjoin = off SET enable_mergejoin = off AS $$
  WITH page AS MATERIALIZED (
    SELECT x.tenant_id AS id, x.state, coalesce(
      (SELECT p.time_zone FROM public.tenant_periods p WHERE p.tenant_id = x.tenant_id AND p.starts_at <= now() AND p.ends_at > now()
       LIMIT 1), x.time_zone) AS zone
    FROM ((SELECT * FROM public.tenant_settings c WHERE c.tenant_id = one AND tollgate.tenant_id_problem(one) IS NULL) UNION ALL
          (SELECT * FROM public.tenant_settings c WHERE one IS NULL AND c.tenant_id > after
             AND tollgate.tenant_id_problem(c.tenant_id) IS NULL ORDER BY c.tenant_id LIMIT most)) x
  ), zone_days AS MATERIALIZED ( -- once a zone: tenants are many, zones are few
    SELECT e.zone, array_agg(e.at ORDER BY e.at, e.i) AS days,
           array_agg(extract(epoch FROM e.at AT TIME ZONE e.zone - e.at AT TIME ZONE 'UTC')::int ORDER BY e.at, e.i) AS offsets
    FROM (SELECT i, w.zone, tollgate.day_start(w.today + i, w.zone) AS at
          FROM (SELECT z.zone, tollgate.day_of(now(), z.zone) AS today FROM (SELECT DISTINCT zone FROM page) z OFFSET 0) w,
               generate_series(-1, 7) i) e
    GROUP BY e.zone
  )
  SELECT t.id, coalesce(s.tier_id, ''),
    CASE WHEN t.state = 'suspended' THEN 'suspended' WHEN s.tenant_id IS NULL THEN 'no_subscription' ELSE 'active' END,
    coalesce(s.usage_limits, '{}'), coalesce(o.overrides, '{}'), d.days, d.offsets, p.periods, p.offsets,
    coalesce(g.patients_count, 0), coalesce(g.users_count, 0), coalesce(g.appointments_count, 0), coalesce(g.storage_bytes, 0)
  FROM page t
  JOIN zone_days d ON d.zone = t.zone
  LEFT JOIN public.tenant_subscriptions s ON s.tenant_id = t.id
  LEFT JOIN public.subscription_tiers r ON r.id = s.tier_id
  LEFT JOIN LATERAL (SELECT * FROM public.usage_summary u WHERE u.tenant_id = t.id ORDER BY u.period_start DESC LIMIT 1) g ON true
  LEFT JOIN LATERAL (
    SELECT jsonb_object_agg(v.limit_key, jsonb_build_object('max', v.max, 'mode', v.mode, 'grace_percent', v.grace_percent,
      'grace_until', (extract(epoch FROM v.grace_until) * 1000000)::bigint,
      'expires_at', (extract(epoch FROM v.expires_at) * 1000000)::bigint, 'tier_max', r.limits -> v.limit_key)) AS overrides
    FROM public.usage_limit_overrides v WHERE v.tenant_id = t.id) o ON true
  LEFT JOIN LATERAL (
    SELECT array_agg(b.at ORDER BY b.at) AS periods,
           array_agg(extract(epoch FROM b.at AT TIME ZONE b.zone - b.at AT TIME ZONE 'UTC')::int ORDER BY b.at) AS offsets
    FROM (
      SELECT x.starts_at AS at, x.time_zone AS zone FROM (
        (SELECT * FROM public.tenant_periods a WHERE a.tenant_id = t.id AND a.ends_at <= now() ORDER BY a.starts_at DESC LIMIT 1)
        UNION ALL
        (SELECT * FROM public.tenant_periods a WHERE a.tenant_id = t.id AND a.ends_at > now() ORDER BY a.starts_at LIMIT 3)) x
      UNION ALL
      (SELECT x.ends_at, x.time_zone FROM (SELECT * FROM public.tenant_periods a WHERE a.tenant_id = t.id AND a.ends_at > now()
        ORDER BY a.starts_at LIMIT 3) x ORDER BY x.ends_at DESC LIMIT 1)) b) p ON true
  ORDER BY t.id
$$;

-- Settings and periods of one tenant, if it has none. At once, so that its first call is counted.
CREATE OR REPLACE FUNCTION tollgate.welcome(tenant text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  INSERT INTO public.tenant_settings (tenant_id, schema_name) SELECT tenant, tenant FROM public.tenants t
  WHERE t.id = tenant AND tollgate.tenant_id_problem(tenant) IS NULL ON CONFLICT DO NOTHING;
  IF FOUND THEN
    PERFORM tollgate.ensure_periods(tenant, now(), now() + interval '65 days');
  END IF;
END $$;

-- At the commit: who inserts a tenant may give it settings of its own in the same transaction, or delete it again.
CREATE OR REPLACE FUNCTION tollgate.tenant_added() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM tollgate.welcome(rtrim(concat(NEW.id)));
  RETURN NULL;
END $$;

-- The collector's regular work: tenants that came past the trigger (a restore, replication), and tables that lack the triggers
-- of a gauge, because they were made later or anew. At most `most` of each; the others next time. In an adopted database
-- tollgate.grant_schema (adopt) first gives the rights that adopt gave for the schemas it found. A tenant whose tables are
-- out of reach or locked does not hold up the others; one such is returned.
CREATE OR REPLACE FUNCTION tollgate.attach_new(most int) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '1s' AS $$
DECLARE
  tenant text;
  left_out text;
BEGIN
  PERFORM tollgate.welcome(t.id::text) FROM (SELECT t.id FROM public.tenants t
    WHERE tollgate.tenant_id_problem(t.id) IS NULL AND NOT EXISTS (SELECT FROM public.tenant_settings s WHERE s.tenant_id = t.id) ORDER BY t.id LIMIT most) t;
  FOR tenant IN SELECT DISTINCT s.tenant_id FROM public.tenant_settings s
    JOIN pg_namespace n ON n.nspname = s.schema_name
    JOIN pg_class c ON c.relnamespace = n.oid AND c.relname IN ('patients', 'appointments') AND c.relkind IN ('r', 'p')
    WHERE s.schema_name NOT IN ('public', 'tollgate', 'pg_catalog', 'information_schema')
      AND NOT EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = c.oid AND g.tgname = 'tollgate_insert')
    ORDER BY 1 LIMIT most LOOP
    BEGIN
      IF to_regprocedure('tollgate.grant_schema(text)') IS NOT NULL THEN
        EXECUTE 'SELECT tollgate.grant_schema($1)' USING tenant;
      END IF;
      PERFORM tollgate.attach(tenant);
      PERFORM tollgate.recount(tenant);
    EXCEPTION WHEN insufficient_privilege OR lock_not_available OR undefined_column THEN
      left_out := tenant;
    END;
  END LOOP;
  RETURN left_out;
END $$;

CREATE OR REPLACE FUNCTION tollgate.users_by(tenant text, delta bigint) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  g integer := (SELECT e.id FROM public.enforced_gauges e WHERE e.tenant_id = tenant AND e.metric = 'users_count');
BEGIN
  IF g IS NULL OR NOT tollgate.take_share(g, delta) THEN
    INSERT INTO public.usage_changes (tenant_id, metric, delta) VALUES (tenant, 'users_count', delta);
  END IF;
END $$;

CREATE OR REPLACE FUNCTION tollgate.patients_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  g integer := TG_ARGV[1]; -- null: nothing is enforced
  delta bigint;
BEGIN
  IF TG_OP = 'INSERT' THEN
    delta := (SELECT count(*) FROM new_rows WHERE rtrim(concat(status)) = 'active');
  ELSIF TG_OP = 'DELETE' THEN
    delta := -(SELECT count(*) FROM old_rows WHERE rtrim(concat(status)) = 'active');
  ELSIF TG_OP = 'UPDATE' THEN
    delta := (SELECT count(*) FROM new_rows WHERE rtrim(concat(status)) = 'active')
             - (SELECT count(*) FROM old_rows WHERE rtrim(concat(status)) = 'active');
  ELSIF EXISTS (SELECT FROM public.enforced_gauges e WHERE e.id = g) THEN
    PERFORM tollgate.fill_shares(g);
    RETURN NULL;
  ELSE
    PERFORM tollgate.note(TG_ARGV[0], 'patients_count', 0, 0, true);
    RETURN NULL;
  END IF;
  PERFORM tollgate.patients_by(TG_ARGV[0], g, delta);
  RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION tollgate.users_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  c record;
BEGIN
  -- By tenant, so that two statements over the same tenants take their shares in the same order.
  IF TG_OP = 'DELETE' THEN
    FOR c IN SELECT rtrim(concat(o.tenant_id)) AS tenant, -count(*) AS n FROM old_rows o WHERE o.tenant_id IS NOT NULL
             GROUP BY 1 ORDER BY 1 LOOP
      PERFORM tollgate.users_by(c.tenant, c.n);
    END LOOP;
  ELSIF TG_OP = 'UPDATE' THEN
    FOR c IN SELECT d.tenant, sum(d.n)::bigint AS n
             FROM (SELECT rtrim(concat(x.tenant_id)) AS tenant, 1 AS n FROM new_rows x WHERE x.tenant_id IS NOT NULL
                   UNION ALL SELECT rtrim(concat(x.tenant_id)), -1 FROM old_rows x WHERE x.tenant_id IS NOT NULL) d
             GROUP BY 1 HAVING sum(d.n) <> 0 ORDER BY 1 LOOP
      PERFORM tollgate.users_by(c.tenant, c.n);
    END LOOP;
  ELSE
    PERFORM tollgate.fill_shares(e.id) FROM public.enforced_gauges e WHERE e.metric = 'users_count' ORDER BY e.id;
    PERFORM tollgate.note(t.id, 'users_count', 0, 0, true) FROM public.tenants t;
  END IF;
  RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION tollgate.attach(tenant text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  refuse boolean := (SELECT s.enforced FROM public.tenant_settings s WHERE s.tenant_id = tenant);
  tab regclass := tollgate.tenant_table(tenant, 'patients');
  g integer;
BEGIN
  IF tab IS NULL OR NOT refuse THEN
    DELETE FROM public.enforced_gauges e WHERE e.tenant_id = tenant AND e.metric = 'patients_count';
  ELSE
    g := tollgate.enforced_gauge(tenant, 'patients_count');
  END IF;
  IF tab IS NOT NULL THEN
    PERFORM tollgate.let_count(tab, 'patients_count');
    PERFORM tollgate.add_triggers(tab, CASE WHEN g IS NULL THEN 'patients_changed' ELSE 'patients_added' END, 'patients_changed',
                                  true, tenant, g::text);
  END IF;
  IF g IS NOT NULL THEN
    PERFORM tollgate.fill_shares(g);
  END IF;
  tab := tollgate.tenant_table(tenant, 'appointments');
  IF tab IS NOT NULL THEN
    PERFORM tollgate.let_count(tab, 'appointments_count');
    PERFORM tollgate.add_triggers(tab, 'appointments_changed', 'appointments_changed', false, tenant);
  END IF;
END $$;

-- On: the counts are taken while nobody writes there. Off: the shares go, and triggers note what changes from a new count on.
CREATE OR REPLACE FUNCTION tollgate.enforce(tenant text, enabled boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  UPDATE public.tenant_settings s SET enforced = enabled, updated_at = now() WHERE s.tenant_id = tenant;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'no such tenant' USING ERRCODE = 'TG004', DETAIL = 'tenant_id';
  END IF;
  IF enabled THEN
    PERFORM tollgate.only_countable(tenant);
    PERFORM tollgate.add_triggers('public.users', 'users_added', 'users_changed', true, ''); -- locks out writers until the commit
    PERFORM tollgate.fill_shares(tollgate.enforced_gauge(tenant, 'users_count'));
  ELSE
    DELETE FROM public.enforced_gauges e WHERE e.tenant_id = tenant AND e.metric = 'users_count';
    PERFORM tollgate.note(tenant, 'users_count', 0, 0, true);
  END IF;
  PERFORM tollgate.attach(tenant);
END $$;

-- Whatever a limit is made of: the subscription's numbers, an override's mode and times.
CREATE OR REPLACE FUNCTION tollgate.enforced_limits_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM tollgate.move_limit(g.id) FROM (SELECT e.id FROM public.enforced_gauges e
    WHERE e.tenant_id = CASE TG_OP WHEN 'DELETE' THEN concat(OLD.tenant_id) ELSE concat(NEW.tenant_id) END ORDER BY e.metric) g;
  RETURN NULL;
END $$;

-- Limits follow overrides, the tier of a subscription, and a change of the tier itself.
CREATE OR REPLACE FUNCTION tollgate.limits_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF TG_TABLE_NAME = 'subscription_tiers' THEN
    PERFORM tollgate.apply_limits(concat(s.tenant_id))
    FROM (SELECT x.tenant_id FROM public.tenant_subscriptions x WHERE x.tier_id = NEW.id ORDER BY x.tenant_id) s;
  ELSIF TG_OP = 'DELETE' THEN
    PERFORM tollgate.apply_limits(concat(OLD.tenant_id));
  ELSE
    PERFORM tollgate.apply_limits(concat(NEW.tenant_id));
  END IF;
  RETURN NULL;
END $$;
