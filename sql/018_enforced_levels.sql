-- tollgate enforce anew: a statement that it guards writes one row more instead of two. max - sum(free) of the shares is also
-- the count, so nothing goes to usage_changes where a gauge is enforced, and a flag tells the collectors which to look at.
-- Shares are found by two integers. What 006 says of shares, the reserve and closed slots holds.
CREATE TABLE enforced_gauges (
  id        integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- the second argument of a tenant's triggers
  tenant_id varchar(255) NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
  metric    text NOT NULL, -- patients_count or users_count
  UNIQUE (tenant_id, metric)
);
INSERT INTO enforced_gauges (tenant_id, metric) SELECT s.tenant_id, s.metric FROM enforce_shares s WHERE s.slot = 0;

-- The arguments: the tenant, and the gauge where patients are enforced; '' for users. Nulls are left out.
CREATE FUNCTION tollgate.add_triggers(tab regclass, on_insert text, fn text, on_update boolean, VARIADIC args text[])
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  list text := (SELECT string_agg(quote_literal(a), ', ' ORDER BY place) FROM unnest(args) WITH ORDINALITY AS u (a, place));
  call text := format('FOR EACH STATEMENT EXECUTE FUNCTION tollgate.%I(%s)', fn, list);
BEGIN
  EXECUTE format('CREATE OR REPLACE TRIGGER tollgate_insert AFTER INSERT ON %s REFERENCING NEW TABLE AS new_rows '
                 'FOR EACH STATEMENT EXECUTE FUNCTION tollgate.%I(%s)', tab, on_insert, list);
  EXECUTE format('CREATE OR REPLACE TRIGGER tollgate_delete AFTER DELETE ON %s REFERENCING OLD TABLE AS old_rows %s', tab, call);
  EXECUTE format('CREATE OR REPLACE TRIGGER tollgate_truncate AFTER TRUNCATE ON %s %s', tab, call);
  IF on_update THEN
    EXECUTE format('CREATE OR REPLACE TRIGGER tollgate_update AFTER UPDATE ON %s '
                   'REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows %s', tab, call);
  END IF;
END $$;

CREATE FUNCTION tollgate.patients_by(tenant text, g integer, delta bigint) RETURNS void
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
  IF delta <> 0 AND (g IS NULL OR NOT tollgate.take_share(g, delta)) THEN
    INSERT INTO usage_changes (tenant_id, metric, delta) VALUES (tenant, 'patients_count', delta);
  END IF;
END $$;

-- An insert where patients are enforced. Far from the limit this is all that it pays, so take_share's first steps stand here once
-- more. SET search_path would be another twentieth of a single insert: everything is named with its schema instead.
CREATE FUNCTION tollgate.patients_added() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
  g integer := TG_ARGV[1];
  mine integer := 1 OPERATOR(pg_catalog.+) (pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.%) 32);
  delta bigint := (SELECT pg_catalog.count(*) FROM new_rows WHERE status OPERATOR(pg_catalog.=) 'active');
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

CREATE FUNCTION tollgate.users_by(tenant text, delta bigint) RETURNS void
LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
  g integer := (SELECT e.id FROM enforced_gauges e WHERE e.tenant_id = tenant AND e.metric = 'users_count');
BEGIN
  IF tenant IS NOT NULL AND (g IS NULL OR NOT tollgate.take_share(g, delta)) THEN -- null: the host's users that belong to nobody
    INSERT INTO usage_changes (tenant_id, metric, delta) VALUES (tenant, 'users_count', delta);
  END IF;
END $$;

-- The same for users, where a statement adds those of one tenant, as most do.
CREATE FUNCTION tollgate.users_added() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
  mine integer := 1 OPERATOR(pg_catalog.+) (pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.%) 32);
  g integer;
  c record;
BEGIN
  SELECT pg_catalog.count(u.tenant_id) AS n, pg_catalog.min(u.tenant_id) AS first, pg_catalog.max(u.tenant_id) AS last
  INTO c FROM new_rows u;
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
  FOR c IN SELECT u.tenant_id::text AS tenant, pg_catalog.count(*) AS n FROM new_rows u GROUP BY 1 ORDER BY 1 LOOP
    PERFORM tollgate.users_by(c.tenant, c.n);
  END LOOP;
  RETURN NULL;
END $$;

-- The triggers first: that waits for who writes there and holds off the others, so nobody is at the shares that move.
DO $$
DECLARE
  t record;
  g integer;
BEGIN
  FOR t IN SELECT x.tgrelid::regclass AS tab,
      convert_from(substring(x.tgargs FROM 1 FOR position('\x00'::bytea IN x.tgargs) - 1), getdatabaseencoding()) AS tenant
    FROM pg_trigger x
    WHERE x.tgfoid = 'tollgate.patients_changed'::regproc AND x.tgname = 'tollgate_insert' AND x.tgnargs = 2 ORDER BY 1 LOOP
    g := (SELECT e.id FROM enforced_gauges e WHERE e.tenant_id = t.tenant AND e.metric = 'patients_count');
    PERFORM tollgate.add_triggers(t.tab, CASE WHEN g IS NULL THEN 'patients_changed' ELSE 'patients_added' END, 'patients_changed',
                                  true, t.tenant, g::text);
  END LOOP;
  PERFORM tollgate.add_triggers('users', 'users_added', 'users_changed', true, '');
END $$;

CREATE TEMP TABLE moving ON COMMIT DROP AS
  SELECT e.id AS gauge, s.slot::integer, s.free, s.max, s.until FROM enforce_shares s
  JOIN enforced_gauges e ON e.tenant_id = s.tenant_id AND e.metric = s.metric;
DROP TABLE enforce_shares;
CREATE TABLE enforce_shares (
  gauge   integer NOT NULL REFERENCES enforced_gauges (id) ON DELETE CASCADE,
  slot    integer NOT NULL,     -- 0 to 32
  free    bigint NOT NULL,      -- of slot 0: below 0 when more is used than the plan has
  max     bigint NOT NULL,      -- of slot 0: the limit with its grace; unlimited is 10^15
  until   timestamptz NOT NULL, -- from here on max is another: an override or a grace ends; of a closed slot: -infinity
  changed boolean NOT NULL,     -- since a collector last took the count from here
  PRIMARY KEY (gauge, slot)
) WITH (fillfactor = 50);  -- room for updates in place
CREATE INDEX idx_enforce_shares_changed ON enforce_shares (gauge) WHERE changed;
INSERT INTO enforce_shares (gauge, slot, free, max, until, changed) SELECT gauge, slot, free, max, until, true FROM moving;
SELECT tollgate.secure('enforced_gauges'); -- the shares name no tenant, and row-level security would cost each insert
GRANT SELECT ON enforced_gauges, enforce_shares TO tollgate_collector;
GRANT UPDATE (changed) ON enforce_shares TO tollgate_collector;

DROP FUNCTION tollgate.add_triggers(regclass, text, text, boolean, boolean), tollgate.my_slot(text),
  tollgate.gather_shares(text, text, boolean), tollgate.move_limit(text, text), tollgate.take_share(text, text, bigint),
  tollgate.fill_shares(text, text), tollgate.refill_shares(text, text), tollgate.refuse(text, text, bigint, bigint, bigint),
  tollgate.users_by(text, bigint, boolean);

-- What lies in the shares goes into the reserve, which the caller has locked: that of slots at rest, or of all, waiting for
-- the transactions that are at them.
CREATE FUNCTION tollgate.gather_shares(g integer, waiting boolean) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
  slots integer[];
  total bigint;
BEGIN
  IF waiting THEN
    PERFORM FROM public.enforce_shares s WHERE s.gauge = g ORDER BY s.slot FOR UPDATE;
  END IF;
  SELECT array_agg(l.slot) INTO slots FROM (
    SELECT s.slot FROM public.enforce_shares s WHERE s.gauge = g AND s.slot > 0 AND s.free <> 0 FOR UPDATE SKIP LOCKED) l;
  WITH emptied AS (SELECT s.free FROM public.enforce_shares s WHERE s.gauge = g AND s.slot = ANY (slots))
  UPDATE public.enforce_shares s
  SET free = CASE s.slot WHEN 0 THEN s.free + (SELECT coalesce(sum(e.free), 0) FROM emptied e) ELSE 0 END
  WHERE s.gauge = g AND (s.slot = 0 OR s.slot = ANY (slots));
  SELECT s.free INTO total FROM public.enforce_shares s WHERE s.gauge = g AND s.slot = 0;
  RETURN total;
END $$;

-- A plan that changed, or an override whose time is over: the reserve moves, nothing is counted.
CREATE FUNCTION tollgate.move_limit(g integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  now_max record;
  remains bigint;
BEGIN
  PERFORM tollgate.gather_shares(g, true);
  SELECT m.* INTO now_max FROM public.enforced_gauges e, tollgate.enforced_max(e.tenant_id, e.metric) m WHERE e.id = g;
  SELECT s.free + now_max.most - s.max INTO remains FROM public.enforce_shares s WHERE s.gauge = g AND s.slot = 0;
  UPDATE public.enforce_shares s SET free = tollgate.first_share(remains, s.slot), max = now_max.most,
    until = CASE WHEN s.slot > 0 AND remains < 0 THEN '-infinity' ELSE now_max.holds END
  WHERE s.gauge = g;
END $$;

CREATE FUNCTION tollgate.refuse(g integer, most bigint, remains bigint, n bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  e public.enforced_gauges;
  noun text;
BEGIN
  SELECT * INTO e FROM public.enforced_gauges x WHERE x.id = g;
  noun := CASE e.metric WHEN 'patients_count' THEN 'patients' ELSE 'users' END;
  RAISE EXCEPTION 'the plan allows % %', most, noun USING ERRCODE = 'TG429',
    DETAIL = format('Tenant %s has %s of %s %s, %s more would be %s.', e.tenant_id, most - remains, most, noun, n,
                    most - remains + n),
    HINT = format('%s can be added. Remove %s, or ask for a larger plan.', greatest(remains, 0), noun);
END $$;

-- Another slot that no transaction is at. All taken: one to wait for.
CREATE FUNCTION tollgate.other_slot(g integer, first integer) RETURNS integer LANGUAGE plpgsql AS $$
BEGIN
  FOR slot IN first + 1 .. first + 31 LOOP
    IF pg_try_advisory_xact_lock(hashtext('tollgate.enforce'), g << 6 | 1 + slot % 32 & 1023) THEN
      RETURN 1 + slot % 32;
    END IF;
  END LOOP;
  RETURN first;
END $$;

-- take_share where the slot's share does not do.
CREATE FUNCTION tollgate.take_reserve(g integer, mine integer, n bigint) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  reserve public.enforce_shares;
  remains bigint;
  share bigint;
BEGIN
  SELECT * INTO reserve FROM public.enforce_shares s WHERE s.gauge = g AND s.slot = 0 FOR UPDATE;
  IF NOT FOUND THEN
    RETURN false;
  END IF;
  IF reserve.until <= statement_timestamp() THEN
    PERFORM tollgate.move_limit(g);
    SELECT * INTO reserve FROM public.enforce_shares s WHERE s.gauge = g AND s.slot = 0;
  END IF;
  remains := reserve.free - n;
  IF remains >= 0 OR n < 0 THEN
    share := greatest(remains / 16, 0);
    UPDATE public.enforce_shares s SET until = reserve.until, changed = true,
      free = CASE s.slot WHEN 0 THEN remains - share WHEN mine THEN s.free + share ELSE s.free END
    WHERE s.gauge = g
      AND (s.slot = 0 OR (s.slot = mine AND share > 0) OR (reserve.free < 0 AND remains >= 0)); -- the last: all slots open
    RETURN true;
  END IF;
  remains := tollgate.gather_shares(g, false) - n;
  IF remains < 0 THEN
    remains := tollgate.gather_shares(g, true) - n;
  END IF;
  IF remains < 0 THEN
    PERFORM tollgate.refuse(g, reserve.max, remains + n, n);
  END IF;
  UPDATE public.enforce_shares s SET free = remains, changed = true WHERE s.gauge = g AND s.slot = 0;
  RETURN true;
END $$;

-- n more, or -n fewer; raises TG429 when the plan has no room. False: the gauge is not enforced, n is to be counted by the
-- caller, a trigger function that runs as the owner. A slot is kept to the end of the transaction, by one of 1,024 locks: a
-- transaction over many tenants does not fill PostgreSQL's lock table, and who finds a slot's lock taken for another goes to the
-- next. Far from the limit the first UPDATE is all that refusing and counting write.
CREATE FUNCTION tollgate.take_share(g integer, n bigint) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  mine integer := 1 + pg_backend_pid() % 32;
BEGIN
  IF NOT pg_try_advisory_xact_lock(hashtext('tollgate.enforce'), g << 6 | mine & 1023) THEN
    mine := tollgate.other_slot(g, mine);
  END IF;
  UPDATE public.enforce_shares s SET free = s.free - n, changed = true
  WHERE s.gauge = g AND s.slot = mine AND s.free >= n AND s.until > statement_timestamp();
  IF FOUND THEN
    RETURN true;
  END IF;
  RETURN tollgate.take_reserve(g, mine, n);
END $$;

-- Counts anew; the caller holds off writers of the table.
CREATE FUNCTION tollgate.fill_shares(g integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  e public.enforced_gauges;
  tab regclass;
  used bigint := 0;
BEGIN
  SELECT * INTO e FROM public.enforced_gauges x WHERE x.id = g;
  IF e.metric = 'users_count' THEN
    SELECT count(*) INTO used FROM public.users u WHERE u.tenant_id = e.tenant_id;
  ELSE
    tab := tollgate.tenant_table(e.tenant_id, 'patients');
    IF tab IS NOT NULL THEN
      EXECUTE format('SELECT count(*) FROM %s WHERE status = ''active''', tab) INTO used;
    END IF;
  END IF;
  PERFORM FROM public.enforce_shares s WHERE s.gauge = g ORDER BY s.slot FOR UPDATE;
  INSERT INTO public.enforce_shares AS s (gauge, slot, free, max, until, changed)
  SELECT g, i, tollgate.first_share(m.most - used, i), m.most,
    CASE WHEN i > 0 AND m.most < used THEN '-infinity' ELSE m.holds END, true
  FROM generate_series(0, 32) i, tollgate.enforced_max(e.tenant_id, e.metric) m
  ON CONFLICT (gauge, slot) DO UPDATE SET free = excluded.free, max = excluded.max, until = excluded.until, changed = true;
END $$;

CREATE FUNCTION tollgate.enforced_gauge(tenant text, what text) RETURNS integer LANGUAGE sql AS $$
  INSERT INTO public.enforced_gauges (tenant_id, metric) VALUES (tenant, what)
  ON CONFLICT (tenant_id, metric) DO UPDATE SET metric = excluded.metric RETURNING id
$$;

CREATE OR REPLACE FUNCTION tollgate.patients_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  g integer := TG_ARGV[1]; -- null: nothing is enforced
  delta bigint;
BEGIN
  IF TG_OP = 'INSERT' THEN
    delta := (SELECT count(*) FROM new_rows WHERE status = 'active');
  ELSIF TG_OP = 'DELETE' THEN
    delta := -(SELECT count(*) FROM old_rows WHERE status = 'active');
  ELSIF TG_OP = 'UPDATE' THEN
    delta := (SELECT count(*) FROM new_rows WHERE status = 'active') - (SELECT count(*) FROM old_rows WHERE status = 'active');
  ELSIF EXISTS (SELECT FROM enforced_gauges e WHERE e.id = g) THEN
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
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  c record;
BEGIN
  IF TG_OP = 'DELETE' THEN
    FOR c IN SELECT o.tenant_id::text AS tenant, -count(*) AS n FROM old_rows o GROUP BY 1 ORDER BY 1 LOOP
      PERFORM tollgate.users_by(c.tenant, c.n);
    END LOOP;
  ELSIF TG_OP = 'UPDATE' THEN
    FOR c IN SELECT d.tenant, sum(d.n)::bigint AS n FROM (SELECT tenant_id::text AS tenant, 1 AS n FROM new_rows
             UNION ALL SELECT tenant_id::text, -1 FROM old_rows) d GROUP BY 1 HAVING sum(d.n) <> 0 ORDER BY 1 LOOP
      PERFORM tollgate.users_by(c.tenant, c.n);
    END LOOP;
  ELSE
    PERFORM tollgate.fill_shares(e.id) FROM enforced_gauges e WHERE e.metric = 'users_count' ORDER BY e.id;
    PERFORM tollgate.note(t.id, 'users_count', 0, 0, true) FROM tenants t;
  END IF;
  RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION tollgate.attach(tenant text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  refuse boolean := (SELECT s.enforced FROM tenant_settings s WHERE s.tenant_id = tenant);
  tab regclass := tollgate.tenant_table(tenant, 'patients');
  g integer;
BEGIN
  IF tab IS NULL OR NOT refuse THEN
    DELETE FROM enforced_gauges e WHERE e.tenant_id = tenant AND e.metric = 'patients_count';
  ELSE
    g := tollgate.enforced_gauge(tenant, 'patients_count');
  END IF;
  IF tab IS NOT NULL THEN
    PERFORM tollgate.add_triggers(tab, CASE WHEN g IS NULL THEN 'patients_changed' ELSE 'patients_added' END, 'patients_changed',
                                  true, tenant, g::text);
  END IF;
  IF g IS NOT NULL THEN
    PERFORM tollgate.fill_shares(g);
  END IF;
  tab := tollgate.tenant_table(tenant, 'appointments');
  IF tab IS NOT NULL THEN
    PERFORM tollgate.add_triggers(tab, 'appointments_changed', 'appointments_changed', false, tenant);
  END IF;
END $$;

-- On: the counts are taken while nobody writes there. Off: the shares go, and triggers note what changes from a new count on.
CREATE OR REPLACE FUNCTION tollgate.enforce(tenant text, enabled boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  UPDATE tenant_settings s SET enforced = enabled, updated_at = now() WHERE s.tenant_id = tenant;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'no such tenant' USING ERRCODE = 'TG004', DETAIL = 'tenant_id';
  END IF;
  IF enabled THEN
    PERFORM tollgate.add_triggers('users', 'users_added', 'users_changed', true, ''); -- locks out writers until the commit
    PERFORM tollgate.fill_shares(tollgate.enforced_gauge(tenant, 'users_count'));
  ELSE
    DELETE FROM enforced_gauges e WHERE e.tenant_id = tenant AND e.metric = 'users_count';
    PERFORM tollgate.note(tenant, 'users_count', 0, 0, true);
  END IF;
  PERFORM tollgate.attach(tenant);
END $$;

CREATE OR REPLACE FUNCTION tollgate.enforced_limits_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  PERFORM tollgate.move_limit(g.id) FROM (SELECT e.id FROM enforced_gauges e
    WHERE e.tenant_id = CASE TG_OP WHEN 'DELETE' THEN OLD.tenant_id ELSE NEW.tenant_id END ORDER BY e.metric) g;
  RETURN NULL;
END $$;

-- What the shares say is used, of both gauges; null: not enforced. A share at rest counts as looked at: whoever changes it from
-- now on flags it again. Holding its lock meanwhile sends sessions to other slots.
CREATE FUNCTION tollgate.take_levels(tenant text, OUT patients bigint, OUT people bigint) LANGUAGE plpgsql AS $$
BEGIN
  UPDATE public.enforce_shares s SET changed = false
  FROM (SELECT x.gauge, x.slot FROM public.enforced_gauges e JOIN public.enforce_shares x ON x.gauge = e.id AND x.changed
        WHERE e.tenant_id = tenant -- CASE: the lock is tried for this tenant's rows alone, however the join is done
          AND CASE WHEN x.gauge = e.id THEN pg_try_advisory_xact_lock(hashtext('tollgate.enforce'), x.gauge << 6 | x.slot & 1023) END
        FOR UPDATE OF x SKIP LOCKED) r
  WHERE s.gauge = r.gauge AND s.slot = r.slot;
  SELECT max(l.used) FILTER (WHERE l.metric = 'patients_count'), max(l.used) FILTER (WHERE l.metric = 'users_count')
  INTO patients, people FROM tollgate.enforced_levels(tenant) l;
END $$;

CREATE FUNCTION tollgate.enforced_levels(tenant text) RETURNS TABLE (metric text, most bigint, used bigint, changed boolean)
LANGUAGE sql STABLE AS $$
  SELECT e.metric, max(s.max) FILTER (WHERE s.slot = 0), (max(s.max) FILTER (WHERE s.slot = 0) - sum(s.free))::bigint, bool_or(s.changed)
  FROM public.enforced_gauges e JOIN public.enforce_shares s ON s.gauge = e.id WHERE e.tenant_id = tenant GROUP BY e.metric
$$;

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
    PERFORM FROM public.tenant_subscriptions t WHERE t.tenant_id = c.tenant_id FOR NO KEY UPDATE;
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
    UPDATE public.tenant_subscriptions t SET current_usage = t.current_usage || jsonb_build_object(
      'patients_count', s.patients_count, 'users_count', s.users_count, 'storage_used_gb', trim_scale(s.storage_used_gb))
    WHERE t.tenant_id = c.tenant_id;
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

-- Gauges against the host's tables, with what waits in usage_changes: one statement, one snapshot. An enforced gauge's shares must
-- agree too; what they say, the summary has unless a collector has still to look.
CREATE OR REPLACE FUNCTION tollgate.reconcile_gauges(tenant text) RETURNS TABLE (metric text, stored numeric, counted numeric)
LANGUAGE plpgsql STABLE AS $$
DECLARE
  patients regclass := tollgate.tenant_table(tenant, 'patients');
  appointments regclass := tollgate.tenant_table(tenant, 'appointments');
BEGIN
  RETURN QUERY EXECUTE format(
    'SELECT v.metric, k.stored, v.counted FROM public.usage_summary s '
    'JOIN public.tenant_periods p ON p.tenant_id = s.tenant_id AND p.period_start = s.period_start '
    'CROSS JOIN LATERAL (VALUES (''patients_count'', s.patients_count::numeric, %s::numeric), '
    '(''appointments_count'', s.appointments_count, %s), '
    '(''users_count'', s.users_count, (SELECT count(*) FROM public.users u WHERE u.tenant_id = $1))) '
    '  AS v (metric, stored, counted) '
    'LEFT JOIN tollgate.enforced_levels($1) l ON l.metric = v.metric '
    'LEFT JOIN LATERAL (SELECT sum(c.delta) AS delta, bool_or(c.recount) AS anew FROM public.usage_changes c '
    '  WHERE c.tenant_id = $1 AND c.metric = v.metric AND l.used IS NULL) w ON true '
    'CROSS JOIN LATERAL (SELECT CASE WHEN l.changed OR l.used <> v.counted THEN l.used '
    '                                ELSE v.stored + coalesce(w.delta, 0) END) k (stored) '
    'WHERE s.tenant_id = $1 AND p.starts_at <= now() AND p.ends_at > now() AND w.anew IS NOT true AND k.stored <> v.counted',
    CASE WHEN patients IS NULL THEN '0' ELSE format('(SELECT count(*) FROM %s WHERE status = ''active'')', patients) END,
    CASE WHEN appointments IS NULL THEN '0' ELSE format('(SELECT count(*) FROM %s)', appointments) END) USING tenant;
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
        UPDATE public.tenant_subscriptions s
        SET current_usage = s.current_usage || jsonb_build_object(d.metric, trim_scale(coalesce(d.counted, 0))) WHERE s.tenant_id = tenant;
    END CASE;
  END LOOP;
  IF gauges > 0 THEN
    PERFORM tollgate.recount(tenant);
  END IF;
  RETURN mended;
END $$;
