-- tollgate enforce: the database refuses a patient or a user beyond the plan (SQLSTATE TG429).
-- What is left of a limit is cut in shares: slot 0 is the reserve, the others belong to the sessions whose process number
-- falls on them. Far from the limit a session takes from its own share and waits for nobody; when that is used up it takes
-- a sixteenth of the reserve; near the limit the reserve is the one row that all lock, and what lies in other shares is
-- gathered, so the limit is exact. The sum of the shares is always max - used. Two sessions that both hold a share in long
-- transactions and both run out may deadlock: PostgreSQL ends one of them (40P01), and it may try again.
CREATE TABLE enforce_shares (
  tenant_id varchar(255) NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
  metric    text NOT NULL CHECK (metric IN ('patients_count', 'users_count')),
  slot      smallint NOT NULL CHECK (slot BETWEEN 0 AND 16),
  free      bigint NOT NULL,  -- of slot 0: below 0 when more is used than the plan has
  max       bigint NOT NULL,  -- of slot 0: the limit; unlimited is 10^15
  PRIMARY KEY (tenant_id, metric, slot)
) WITH (fillfactor = 20);  -- room for updates in place
SELECT tollgate.secure('enforce_shares');

CREATE FUNCTION tollgate.enforced_max(tenant text, what text) RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT CASE WHEN coalesce(v.max, -1) < 0 THEN 1000000000000000 ELSE floor(v.max) END::bigint
  FROM (SELECT (SELECT (s.usage_limits ->> m.limit_key)::numeric FROM tenant_subscriptions s, usage_metrics m
                WHERE s.tenant_id = tenant AND m.metric_type = what) AS max) v
$$;

-- Everything back into the reserve, which is locked with all shares until the transaction ends.
CREATE FUNCTION tollgate.gather_shares(tenant text, what text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  total bigint;
BEGIN
  PERFORM FROM enforce_shares s WHERE s.tenant_id = tenant AND s.metric = what ORDER BY s.slot FOR UPDATE;
  SELECT sum(s.free) INTO total FROM enforce_shares s WHERE s.tenant_id = tenant AND s.metric = what;
  UPDATE enforce_shares s SET free = CASE s.slot WHEN 0 THEN total ELSE 0 END
  WHERE s.tenant_id = tenant AND s.metric = what AND (s.slot = 0 OR s.free <> 0);
  RETURN total;
END $$;

CREATE FUNCTION tollgate.take_share(tenant text, what text, n bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  mine smallint := 1 + pg_backend_pid() % 16;
  reserve enforce_shares;
  remains bigint;
  total bigint;
  noun text := CASE what WHEN 'patients_count' THEN 'patients' ELSE 'users' END;
BEGIN
  UPDATE enforce_shares s SET free = s.free - n
  WHERE s.tenant_id = tenant AND s.metric = what AND s.slot = mine AND s.free >= n
    AND NOT EXISTS (SELECT FROM enforce_shares r WHERE r.tenant_id = tenant AND r.metric = what AND r.slot = 0 AND r.free < 0);
  IF FOUND THEN
    RETURN;
  END IF;
  SELECT * INTO reserve FROM enforce_shares s WHERE s.tenant_id = tenant AND s.metric = what AND s.slot = 0 FOR UPDATE;
  IF NOT FOUND THEN
    RETURN; -- not enforced
  END IF;
  IF reserve.free >= n THEN
    remains := reserve.free - n;
    UPDATE enforce_shares s SET free = CASE s.slot WHEN 0 THEN remains - remains / 16 ELSE s.free + remains / 16 END
    WHERE s.tenant_id = tenant AND s.metric = what AND (s.slot = 0 OR (s.slot = mine AND remains >= 16));
    RETURN;
  END IF;
  total := tollgate.gather_shares(tenant, what);
  IF total < n THEN
    RAISE EXCEPTION 'the plan allows % %', reserve.max, noun USING ERRCODE = 'TG429',
      DETAIL = format('Tenant %s has %s of %s %s, %s more would be %s.', tenant, reserve.max - total, reserve.max, noun, n,
                      reserve.max - total + n),
      HINT = format('%s can be added. Remove %s, or ask for a larger plan.', greatest(total, 0), noun);
  END IF;
  UPDATE enforce_shares s SET free = total - n WHERE s.tenant_id = tenant AND s.metric = what AND s.slot = 0;
END $$;

CREATE FUNCTION tollgate.give_share(tenant text, what text, n bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  UPDATE public.enforce_shares s SET free = s.free + n
  WHERE s.tenant_id = tenant AND s.metric = what AND s.slot = 1 + pg_backend_pid() % 16;
END $$;

CREATE FUNCTION tollgate.move_share(tenant text, what text, n bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF n > 0 THEN
    PERFORM tollgate.take_share(tenant, what, n);
  ELSIF n < 0 THEN
    PERFORM tollgate.give_share(tenant, what, -n);
  END IF;
END $$;

-- Counts anew; the caller holds off writers of the table.
CREATE FUNCTION tollgate.fill_shares(tenant text, what text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  most bigint := tollgate.enforced_max(tenant, what);
  used bigint := 0;
  tab regclass;
BEGIN
  IF what = 'users_count' THEN
    SELECT count(*) INTO used FROM users u WHERE u.tenant_id = tenant;
  ELSE
    tab := tollgate.tenant_table(tenant, 'patients');
    IF tab IS NOT NULL THEN
      EXECUTE format('SELECT count(*) FROM %s WHERE status = ''active''', tab) INTO used;
    END IF;
  END IF;
  PERFORM FROM enforce_shares s WHERE s.tenant_id = tenant AND s.metric = what ORDER BY s.slot FOR UPDATE;
  INSERT INTO enforce_shares AS s (tenant_id, metric, slot, free, max)
  SELECT tenant, what, i, CASE i WHEN 0 THEN most - used ELSE 0 END, most FROM generate_series(0, 16) i
  ON CONFLICT (tenant_id, metric, slot) DO UPDATE SET free = excluded.free, max = excluded.max;
END $$;

CREATE FUNCTION tollgate.patients_enforced() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    PERFORM tollgate.move_share(TG_ARGV[0], 'patients_count', (SELECT count(*) FROM new_rows WHERE status = 'active'));
  ELSIF TG_OP = 'DELETE' THEN
    PERFORM tollgate.move_share(TG_ARGV[0], 'patients_count', -(SELECT count(*) FROM old_rows WHERE status = 'active'));
  ELSIF TG_OP = 'UPDATE' THEN
    PERFORM tollgate.move_share(TG_ARGV[0], 'patients_count', (SELECT count(*) FROM new_rows WHERE status = 'active')
                                                              - (SELECT count(*) FROM old_rows WHERE status = 'active'));
  ELSIF EXISTS (SELECT FROM enforce_shares s WHERE s.tenant_id = TG_ARGV[0] AND s.metric = 'patients_count') THEN
    PERFORM tollgate.fill_shares(TG_ARGV[0], 'patients_count');
  END IF;
  RETURN NULL;
END $$;

CREATE FUNCTION tollgate.users_enforced() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    PERFORM tollgate.move_share(c.tenant_id, 'users_count', c.n)
    FROM (SELECT tenant_id::text, count(*) AS n FROM new_rows GROUP BY 1 ORDER BY 1) c;
  ELSIF TG_OP = 'DELETE' THEN
    PERFORM tollgate.move_share(c.tenant_id, 'users_count', -c.n)
    FROM (SELECT tenant_id::text, count(*) AS n FROM old_rows GROUP BY 1 ORDER BY 1) c;
  ELSIF TG_OP = 'UPDATE' THEN
    PERFORM tollgate.move_share(c.tenant_id, 'users_count', c.n)
    FROM (SELECT d.tenant_id, sum(d.n)::bigint AS n FROM (SELECT tenant_id::text, 1 AS n FROM new_rows
          UNION ALL SELECT tenant_id::text, -1 FROM old_rows) d GROUP BY 1 ORDER BY 1) c;
  ELSE
    PERFORM tollgate.fill_shares(s.tenant_id::text, 'users_count') FROM enforce_shares s WHERE s.metric = 'users_count' AND s.slot = 0;
  END IF;
  RETURN NULL;
END $$;

CREATE FUNCTION tollgate.add_limit_triggers(tab regclass, fn text, arg text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  call text := format('FOR EACH STATEMENT EXECUTE FUNCTION tollgate.%I(%s)', fn, CASE WHEN arg IS NULL THEN '' ELSE quote_literal(arg) END);
BEGIN
  EXECUTE format('CREATE OR REPLACE TRIGGER tollgate_limit_insert AFTER INSERT ON %s REFERENCING NEW TABLE AS new_rows %s', tab, call);
  EXECUTE format('CREATE OR REPLACE TRIGGER tollgate_limit_delete AFTER DELETE ON %s REFERENCING OLD TABLE AS old_rows %s', tab, call);
  EXECUTE format('CREATE OR REPLACE TRIGGER tollgate_limit_truncate AFTER TRUNCATE ON %s %s', tab, call);
  EXECUTE format('CREATE OR REPLACE TRIGGER tollgate_limit_update AFTER UPDATE ON %s '
                 'REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows %s', tab, call);
END $$;

-- On: triggers on the tenant's patients and on users, counts taken while nobody writes there. Off: the shares go, and the
-- triggers where we may drop them; one that stays finds no shares and lets everything pass.
CREATE FUNCTION tollgate.enforce(tenant text, enabled boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  patients regclass := tollgate.tenant_table(tenant, 'patients');
  name text;
BEGIN
  UPDATE tenant_settings s SET enforced = enabled, updated_at = now() WHERE s.tenant_id = tenant;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'no such tenant' USING ERRCODE = 'TG004', DETAIL = 'tenant_id';
  END IF;
  IF NOT enabled THEN
    DELETE FROM enforce_shares s WHERE s.tenant_id = tenant;
    IF patients IS NOT NULL THEN
      BEGIN
        FOREACH name IN ARRAY ARRAY['insert', 'update', 'delete', 'truncate'] LOOP
          EXECUTE format('DROP TRIGGER IF EXISTS tollgate_limit_%s ON %s', name, patients);
        END LOOP;
      EXCEPTION WHEN insufficient_privilege THEN
        NULL;
      END;
    END IF;
    RETURN;
  END IF;
  PERFORM tollgate.add_limit_triggers('users', 'users_enforced', NULL); -- locks out writers until the commit
  PERFORM tollgate.fill_shares(tenant, 'users_count');
  IF patients IS NOT NULL THEN
    PERFORM tollgate.add_limit_triggers(patients, 'patients_enforced', tenant);
    PERFORM tollgate.fill_shares(tenant, 'patients_count');
  END IF;
END $$;

-- A changed plan moves the reserve; nothing is counted.
CREATE FUNCTION tollgate.enforced_limits_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  m text;
  most bigint;
BEGIN
  FOR m IN SELECT s.metric FROM enforce_shares s WHERE s.tenant_id = NEW.tenant_id AND s.slot = 0 ORDER BY 1 LOOP
    most := tollgate.enforced_max(NEW.tenant_id::text, m);
    PERFORM tollgate.gather_shares(NEW.tenant_id::text, m);
    UPDATE enforce_shares s SET free = s.free + most - s.max, max = most
    WHERE s.tenant_id = NEW.tenant_id AND s.metric = m AND s.slot = 0 AND s.max <> most;
  END LOOP;
  RETURN NULL;
END $$;
CREATE TRIGGER tollgate_enforced AFTER UPDATE OF usage_limits ON tenant_subscriptions
  FOR EACH ROW EXECUTE FUNCTION tollgate.enforced_limits_changed();
