-- tollgate enforce: the database refuses a patient or a user beyond the plan (SQLSTATE TG429).
-- What is left of a limit is cut in shares: slot 0 is the reserve, at first a half; each other slot belongs to one transaction
-- at a time. Far from the limit a transaction takes from its slot's share and waits for nobody; when that is used up it takes
-- a sixteenth of the reserve. Near the limit the reserve is the one row that all lock, and what lies in other shares is gathered, so the
-- limit is exact. The sum of the shares is always max - used. While the reserve is below 0 the slots are empty and closed:
-- what is freed then goes to the reserve. docs/operating.md says what a transaction may run into.
CREATE TABLE enforce_shares (
  tenant_id varchar(255) NOT NULL REFERENCES tenants (id) ON DELETE CASCADE,
  metric    text NOT NULL CHECK (metric IN ('patients_count', 'users_count')),
  slot      smallint NOT NULL CHECK (slot BETWEEN 0 AND 32),
  free      bigint NOT NULL,  -- of slot 0: below 0 when more is used than the plan has
  max       bigint NOT NULL,  -- of slot 0: the limit with its grace; unlimited is 10^15
  until     timestamptz NOT NULL, -- from here on max is another: an override or a grace ends; of a closed slot: -infinity
  PRIMARY KEY (tenant_id, metric, slot)
) WITH (fillfactor = 10);  -- updates in place, sessions on pages of their own, and so many pages that the index is used
SELECT tollgate.secure('enforce_shares');

-- What the table lets in now, by the rules of limit.c, and until when that holds.
CREATE FUNCTION tollgate.enforced_max(tenant text, what text, OUT most bigint, OUT holds timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT CASE WHEN p.max IS NULL OR p.max < 0 OR p.mode = 'soft' OR (p.mode = 'grace' AND p.grace_until > statement_timestamp())
              THEN 1000000000000000
              ELSE floor(p.max * CASE p.mode WHEN 'grace' THEN 1 + p.grace_percent / 100.0 ELSE 1 END) END::bigint,
         least(CASE WHEN p.expires_at > statement_timestamp() THEN p.expires_at END,
               CASE WHEN p.mode = 'grace' AND p.grace_until > statement_timestamp() THEN p.grace_until END, 'infinity')
  FROM (SELECT 1) AS one
  LEFT JOIN (
    SELECT o.mode, o.grace_percent, o.grace_until, CASE WHEN o.max IS NOT NULL THEN o.expires_at END AS expires_at,
           (CASE WHEN o.max IS NOT NULL AND o.expires_at <= statement_timestamp() THEN r.limits ELSE s.usage_limits END
            ->> m.limit_key)::numeric AS max
    FROM usage_metrics m
    JOIN tenant_subscriptions s ON s.tenant_id = tenant
    LEFT JOIN subscription_tiers r ON r.id = s.tier_id
    LEFT JOIN usage_limit_overrides o ON o.tenant_id = s.tenant_id AND o.limit_key = m.limit_key
    WHERE m.metric_type = what) p ON true
$$;

-- A slot that no other transaction is at; this one keeps it to its end. All taken: one to wait for.
CREATE FUNCTION tollgate.my_slot(tenant text) RETURNS smallint LANGUAGE plpgsql AS $$
DECLARE
  first int := pg_backend_pid();
BEGIN
  FOR i IN 0..31 LOOP
    IF pg_try_advisory_xact_lock(hashtext('tollgate.enforce'), hashtext(tenant) # ((first + i) % 32)) THEN
      RETURN 1 + (first + i) % 32;
    END IF;
  END LOOP;
  RETURN 1 + first % 32;
END $$;

-- What lies in the shares goes into the reserve, which the caller has locked: that of slots at rest, or of all, waiting for
-- the transactions that are at them.
CREATE FUNCTION tollgate.gather_shares(tenant text, what text, waiting boolean) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  slots smallint[];
  total bigint;
BEGIN
  IF waiting THEN
    PERFORM FROM enforce_shares s WHERE s.tenant_id = tenant AND s.metric = what ORDER BY s.slot FOR UPDATE;
  END IF;
  SELECT array_agg(l.slot) INTO slots FROM (SELECT s.slot FROM enforce_shares s
    WHERE s.tenant_id = tenant AND s.metric = what AND s.slot > 0 AND s.free <> 0 FOR UPDATE SKIP LOCKED) l;
  WITH emptied AS (
    SELECT s.free FROM enforce_shares s WHERE s.tenant_id = tenant AND s.metric = what AND s.slot = ANY (slots)
  )
  UPDATE enforce_shares s SET free = CASE s.slot WHEN 0 THEN s.free + (SELECT coalesce(sum(e.free), 0) FROM emptied e) ELSE 0 END
  WHERE s.tenant_id = tenant AND s.metric = what AND (s.slot = 0 OR s.slot = ANY (slots));
  SELECT s.free INTO total FROM enforce_shares s WHERE s.tenant_id = tenant AND s.metric = what AND s.slot = 0;
  RETURN total;
END $$;

-- How what remains is cut when it is counted or a plan changes: nobody has to wait for the reserve to begin.
CREATE FUNCTION tollgate.first_share(remains bigint, slot int) RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE slot WHEN 0 THEN remains - 32 * greatest(remains / 64, 0) ELSE greatest(remains / 64, 0) END
$$;

-- A plan that changed, or an override whose time is over: the reserve moves, nothing is counted.
CREATE FUNCTION tollgate.move_limit(tenant text, what text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  now_max record;
  remains bigint;
BEGIN
  PERFORM tollgate.gather_shares(tenant, what, true);
  SELECT * INTO now_max FROM tollgate.enforced_max(tenant, what);
  SELECT s.free + now_max.most - s.max INTO remains FROM enforce_shares s
  WHERE s.tenant_id = tenant AND s.metric = what AND s.slot = 0;
  UPDATE enforce_shares s SET free = tollgate.first_share(remains, s.slot), max = now_max.most,
    until = CASE WHEN s.slot > 0 AND remains < 0 THEN '-infinity' ELSE now_max.holds END
  WHERE s.tenant_id = tenant AND s.metric = what;
END $$;

CREATE FUNCTION tollgate.refuse(tenant text, what text, most bigint, remains bigint, n bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  noun text := CASE what WHEN 'patients_count' THEN 'patients' ELSE 'users' END;
BEGIN
  RAISE EXCEPTION 'the plan allows % %', most, noun USING ERRCODE = 'TG429',
    DETAIL = format('Tenant %s has %s of %s %s, %s more would be %s.', tenant, most - remains, most, noun, n, most - remains + n),
    HINT = format('%s can be added. Remove %s, or ask for a larger plan.', greatest(remains, 0), noun);
END $$;

-- n more, or -n fewer; raises TG429 when the plan has no room. Without shares nothing is enforced.
CREATE FUNCTION tollgate.take_share(tenant text, what text, n bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  mine smallint := tollgate.my_slot(tenant);
  reserve enforce_shares;
  remains bigint;
  share bigint;
BEGIN
  UPDATE enforce_shares s SET free = s.free - n
  WHERE s.tenant_id = tenant AND s.metric = what AND s.slot = mine AND s.free >= n AND s.until > statement_timestamp();
  IF FOUND THEN
    RETURN;
  END IF;
  SELECT * INTO reserve FROM enforce_shares s WHERE s.tenant_id = tenant AND s.metric = what AND s.slot = 0 FOR UPDATE;
  IF NOT FOUND THEN
    RETURN;
  END IF;
  IF reserve.until <= statement_timestamp() THEN
    PERFORM tollgate.move_limit(tenant, what);
    SELECT * INTO reserve FROM enforce_shares s WHERE s.tenant_id = tenant AND s.metric = what AND s.slot = 0;
  END IF;
  remains := reserve.free - n;
  IF remains >= 0 OR n < 0 THEN
    share := greatest(remains / 16, 0);
    UPDATE enforce_shares s SET until = reserve.until,
      free = CASE s.slot WHEN 0 THEN remains - share WHEN mine THEN s.free + share ELSE s.free END
    WHERE s.tenant_id = tenant AND s.metric = what
      AND (s.slot = 0 OR (s.slot = mine AND share > 0) OR (reserve.free < 0 AND remains >= 0)); -- the last: all slots open
    RETURN;
  END IF;
  remains := tollgate.gather_shares(tenant, what, false) - n;
  IF remains < 0 THEN
    remains := tollgate.gather_shares(tenant, what, true) - n;
  END IF;
  IF remains < 0 THEN
    PERFORM tollgate.refuse(tenant, what, reserve.max, remains + n, n);
  END IF;
  UPDATE enforce_shares s SET free = remains WHERE s.tenant_id = tenant AND s.metric = what AND s.slot = 0;
END $$;

-- Counts anew; the caller holds off writers of the table.
CREATE FUNCTION tollgate.fill_shares(tenant text, what text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
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
  INSERT INTO enforce_shares AS s (tenant_id, metric, slot, free, max, until)
  SELECT tenant, what, i, tollgate.first_share(m.most - used, i), m.most,
    CASE WHEN i > 0 AND m.most < used THEN '-infinity' ELSE m.holds END
  FROM generate_series(0, 32) i, tollgate.enforced_max(tenant, what) m
  ON CONFLICT (tenant_id, metric, slot) DO UPDATE SET free = excluded.free, max = excluded.max, until = excluded.until;
END $$;

-- After a TRUNCATE, which holds off all writers: of one tenant, or of all that have shares.
CREATE FUNCTION tollgate.refill_shares(tenant text, what text) RETURNS void LANGUAGE sql AS $$
  SELECT tollgate.fill_shares(s.tenant_id::text, what) FROM public.enforce_shares s
  WHERE s.metric = what AND s.slot = 0 AND (tenant IS NULL OR s.tenant_id = tenant) ORDER BY s.tenant_id
$$;

-- On: the tenant's triggers and those of users also refuse, counts taken while nobody writes there. Off: the shares go, and
-- the tenant's triggers count only; those of users go on as long as another tenant is enforced.
CREATE FUNCTION tollgate.enforce(tenant text, enabled boolean) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
  UPDATE tenant_settings s SET enforced = enabled, updated_at = now() WHERE s.tenant_id = tenant;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'no such tenant' USING ERRCODE = 'TG004', DETAIL = 'tenant_id';
  END IF;
  DELETE FROM enforce_shares s WHERE s.tenant_id = tenant AND NOT enabled;
  IF enabled OR NOT EXISTS (SELECT FROM enforce_shares s WHERE s.metric = 'users_count') THEN
    PERFORM tollgate.add_triggers('users', 'users_changed', '', true, enabled); -- locks out writers until the commit
  END IF;
  IF enabled THEN
    PERFORM tollgate.fill_shares(tenant, 'users_count');
  END IF;
  PERFORM tollgate.attach(tenant);
END $$;

-- Whatever a limit is made of: the subscription's numbers, an override's mode and times.
CREATE FUNCTION tollgate.enforced_limits_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
  tenant text := CASE TG_OP WHEN 'DELETE' THEN OLD.tenant_id ELSE NEW.tenant_id END;
BEGIN
  PERFORM tollgate.move_limit(tenant, s.metric) FROM (SELECT e.metric FROM enforce_shares e
    WHERE e.tenant_id = tenant AND e.slot = 0 ORDER BY 1) s;
  RETURN NULL;
END $$;
CREATE TRIGGER tollgate_enforced AFTER INSERT OR DELETE OR UPDATE OF usage_limits ON tenant_subscriptions
  FOR EACH ROW EXECUTE FUNCTION tollgate.enforced_limits_changed();
CREATE TRIGGER tollgate_refused AFTER INSERT OR DELETE OR UPDATE ON usage_limit_overrides -- behind tollgate_limits
  FOR EACH ROW EXECUTE FUNCTION tollgate.enforced_limits_changed();
