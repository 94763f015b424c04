-- What an operator sets: limits of a tenant and of a tier, their modes, and the list of what is in force. Whatever is wrong is said here, so
-- that every program says it alike.

-- The limit that a word names. A metric's name gives its main limit when that is asked for.
CREATE OR REPLACE FUNCTION tollgate.known_limit(word text, main boolean DEFAULT false) RETURNS tollgate.usage_limit_keys
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  k tollgate.usage_limit_keys;
  names text;
BEGIN
  SELECT * INTO k FROM tollgate.usage_limit_keys l WHERE l.limit_key = word;
  IF NOT FOUND AND main THEN
    SELECT l.* INTO k FROM tollgate.usage_metrics m JOIN tollgate.usage_limit_keys l ON l.limit_key = m.limit_key WHERE m.metric_type = word;
  END IF;
  IF k.limit_key IS NULL THEN
    SELECT string_agg(l.limit_key, ', ' ORDER BY l.limit_key) INTO names FROM tollgate.usage_limit_keys l WHERE l.metric_type = word;
    IF names IS NOT NULL THEN
      RAISE EXCEPTION '"%" is a metric; its limits are: %', left(word, 100), names USING ERRCODE = 'TG001', DETAIL = left(word, 100);
    END IF;
    RAISE EXCEPTION 'there is no limit "%"; `tollgate metric list` shows the limits', left(word, 100)
      USING ERRCODE = 'TG001', DETAIL = left(word, 100);
  END IF;
  RETURN k;
END $$;

CREATE OR REPLACE FUNCTION tollgate.limit_number(word text) RETURNS numeric LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF word IN ('unlimited', '-1') THEN
    RETURN -1;
  ELSIF word IS NOT NULL AND (word !~ '^[0-9]{1,13}([.][0-9]{1,6})?$' OR word::numeric > 1000000000000) THEN
    RAISE EXCEPTION '"%" is not a number of a limit; write 0 to 1000000000000 with at most six decimals, or unlimited', left(word, 100)
      USING ERRCODE = 'TG003', DETAIL = 'number';
  END IF;
  RETURN word::numeric;
END $$;

-- The instant that a word names. A day counts to its end, in this zone; 30d is so many days from now.
CREATE OR REPLACE FUNCTION tollgate.limit_time(word text, zone text, option text) RETURNS timestamptz
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  at timestamptz;
BEGIN
  BEGIN
    at := CASE WHEN word ~ '^[0-9]{1,5}d$' THEN now() + left(word, -1)::int * interval '1 day'
               WHEN word ~ '^\d{4}-\d{2}-\d{2}$' THEN tollgate.day_start(word::date + 1, zone)
               WHEN word ~ '^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}' THEN word::timestamptz END;
  EXCEPTION WHEN data_exception THEN
    at := NULL;
  END;
  IF word IS NOT NULL AND at IS NULL THEN
    RAISE EXCEPTION '% is "%"; write a day such as 2027-01-31, a time such as 2027-01-31T18:00:00Z, or a number of days such as 30d',
      option, left(word, 100) USING ERRCODE = 'TG003', DETAIL = option;
  ELSIF at <= now() THEN
    RAISE EXCEPTION '% is %, which has passed; name a time to come', option, word USING ERRCODE = 'TG003', DETAIL = option;
  END IF;
  RETURN at;
END $$;

-- The mode that the words ask for; a grace that is named needs no --mode. Null: none is asked for.
CREATE OR REPLACE FUNCTION tollgate.asked_mode(word text, percent text, until text) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  graced boolean := percent IS NOT NULL OR until IS NOT NULL;
BEGIN
  IF word NOT IN ('hard', 'soft', 'grace') THEN
    RAISE EXCEPTION '--mode is "%"; it is hard (refuses), soft (admits and says so) or grace (admits some more, or until a day)',
      left(word, 100) USING ERRCODE = 'TG003', DETAIL = 'mode';
  ELSIF word = 'grace' AND NOT graced THEN
    RAISE EXCEPTION '--mode grace needs --grace-percent or --grace-until' USING ERRCODE = 'TG003', DETAIL = 'mode';
  ELSIF word <> 'grace' AND graced THEN
    RAISE EXCEPTION '--grace-percent and --grace-until go with --mode grace, not with %', word USING ERRCODE = 'TG003', DETAIL = 'mode';
  ELSIF percent !~ '^[0-9]{1,4}$' OR percent::int > 1000 THEN
    RAISE EXCEPTION '--grace-percent is "%"; it is a whole number from 0 to 1000', left(percent, 100)
      USING ERRCODE = 'TG003', DETAIL = 'grace_percent';
  END IF;
  RETURN CASE WHEN graced THEN 'grace' ELSE word END;
END $$;

CREATE OR REPLACE FUNCTION tollgate.zone_of(tenant text) RETURNS text LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF NOT EXISTS (SELECT FROM tollgate.tenants t WHERE t.id = tenant) THEN
    RAISE EXCEPTION 'there is no tenant "%"; `tollgate tenant list` shows them', left(tenant, 255) USING ERRCODE = 'TG004', DETAIL = 'tenant_id';
  ELSIF NOT EXISTS (SELECT FROM tollgate.subscriptions s WHERE s.tenant_id = tenant) THEN
    RAISE EXCEPTION 'tenant "%" has no plan, so all of its calls are refused; give it one: tollgate tenant change ID --tier TIER',
      left(tenant, 255) USING ERRCODE = 'TG002', DETAIL = 'tier_id';
  END IF;
  RETURN coalesce((SELECT s.time_zone FROM tollgate.tenant_settings s WHERE s.tenant_id = tenant), 'UTC');
END $$;

-- A tenant's own limit. What is null stays as it is.
CREATE OR REPLACE FUNCTION tollgate.set_tenant_limit(tenant text, word text, number text, mode_word text, percent text, until text,
  expires text, why text) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  zone text := tollgate.zone_of(tenant);
  k text := (tollgate.known_limit(word)).limit_key;
  new_mode text := tollgate.asked_mode(mode_word, percent, until);
  held tollgate.usage_limit_overrides;
BEGIN
  INSERT INTO tollgate.usage_limit_overrides AS o (tenant_id, limit_key, max, mode, grace_percent, grace_until, expires_at, reason)
  VALUES (tenant, k, tollgate.limit_number(number), new_mode, coalesce(percent::int, 0), tollgate.limit_time(until, zone, '--grace-until'),
          tollgate.limit_time(expires, zone, '--expires'), nullif(why, ''))
  ON CONFLICT (tenant_id, limit_key) DO UPDATE SET max = coalesce(excluded.max, o.max), mode = coalesce(excluded.mode, o.mode),
    grace_percent = CASE WHEN new_mode IS NULL THEN o.grace_percent ELSE excluded.grace_percent END,
    grace_until = CASE WHEN new_mode IS NULL THEN o.grace_until ELSE excluded.grace_until END,
    expires_at = coalesce(excluded.expires_at, o.expires_at), reason = CASE WHEN why IS NULL THEN o.reason ELSE excluded.reason END,
    from_host = o.from_host AND excluded.max IS NULL, updated_at = now()
  RETURNING * INTO held;
  IF held.max IS NULL AND held.mode IS NULL THEN
    RAISE EXCEPTION 'say what the limit is: a number, --mode, or both' USING ERRCODE = 'TG003', DETAIL = 'number';
  END IF;
END $$;

-- A tier's limit, for all tenants on it without a limit of their own. What is null stays as it is.
CREATE OR REPLACE FUNCTION tollgate.set_tier_limit(tier text, word text, number text, mode_word text, percent text, until text, why text)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  k text := (tollgate.known_limit(word)).limit_key;
  new_max numeric := tollgate.limit_number(number);
  new_mode text := tollgate.asked_mode(mode_word, percent, until);
BEGIN
  IF NOT EXISTS (SELECT FROM tollgate.tiers r WHERE r.id = tier) THEN
    RAISE EXCEPTION 'there is no tier "%"; `tollgate tier list` shows them', left(tier, 100) USING ERRCODE = 'TG002', DETAIL = 'tier_id';
  ELSIF number IS NULL AND new_mode IS NULL AND why IS NULL THEN
    RAISE EXCEPTION 'say what the limit is: a number, --mode, or both' USING ERRCODE = 'TG003', DETAIL = 'number';
  END IF;
  IF new_max IS NOT NULL THEN
    PERFORM tollgate.put_tier_limit(tier, k, new_max);
  END IF;
  IF new_mode IS NOT NULL OR why IS NOT NULL THEN
    INSERT INTO tollgate.tier_limit_modes AS m (tier_id, limit_key, mode, grace_percent, grace_until, reason)
    VALUES (tier, k, coalesce(new_mode, 'hard'), coalesce(percent::int, 0), tollgate.limit_time(until, 'UTC', '--grace-until'), nullif(why, ''))
    ON CONFLICT (tier_id, limit_key) DO UPDATE SET mode = CASE WHEN new_mode IS NULL THEN m.mode ELSE excluded.mode END,
      grace_percent = CASE WHEN new_mode IS NULL THEN m.grace_percent ELSE excluded.grace_percent END,
      grace_until = CASE WHEN new_mode IS NULL THEN m.grace_until ELSE excluded.grace_until END,
      reason = CASE WHEN why IS NULL THEN m.reason ELSE excluded.reason END, updated_at = now();
  END IF;
END $$;

-- The tenant's own limit, or the tier's, goes.
CREATE OR REPLACE FUNCTION tollgate.remove_tenant_limit(tenant text, word text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  k text := (tollgate.known_limit(word)).limit_key;
BEGIN
  PERFORM tollgate.zone_of(tenant);
  DELETE FROM tollgate.usage_limit_overrides o WHERE o.tenant_id = tenant AND o.limit_key = k;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'tenant "%" has no limit % of its own; `tollgate limit list --tenant ID` shows where its limits come from', tenant, k
      USING ERRCODE = 'TG001', DETAIL = k;
  END IF;
END $$;

CREATE OR REPLACE FUNCTION tollgate.remove_tier_limit(tier text, word text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  k text := (tollgate.known_limit(word)).limit_key;
  gone bigint;
  more bigint;
BEGIN
  SELECT count(tollgate.put_tier_limit(tier, k, NULL)) INTO gone FROM tollgate.tiers r WHERE r.id = tier AND r.limits ? k;
  DELETE FROM tollgate.tier_limit_modes m WHERE m.tier_id = tier AND m.limit_key = k;
  GET DIAGNOSTICS more = ROW_COUNT;
  IF gone + more = 0 THEN
    RAISE EXCEPTION 'tier "%" does not limit %; `tollgate tier list` shows what the tiers limit', left(tier, 100), k
      USING ERRCODE = 'TG001', DETAIL = k;
  END IF;
END $$;

-- What is used of a metric in the window that is now; of a minute nothing is kept. Null: nothing is known.
CREATE OR REPLACE FUNCTION tollgate.used_now(tenant text, metric text, a_window text) RETURNS numeric
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN a_window IN ('hour', 'day', 'week', 'period') THEN tollgate.used_in(tenant, metric, a_window, now())
    WHEN a_window = 'none' THEN coalesce((SELECT l.level FROM tollgate.usage_levels l WHERE l.tenant_id = tenant AND l.metric_type = metric), 0) END
$$;

-- The limits of a tenant as they hold now, those that nobody set included; `one`: of this one alone. max: what may be used, -1 unlimited, null
-- not set; plan: the part of it that credits do not add; credits: what they add now, of which credits_left is not used, the first until
-- credits_until; source: whose number it is (tier, override, host), none where nobody set one.
CREATE OR REPLACE FUNCTION tollgate.tenant_limits(tenant text, one text DEFAULT NULL)
RETURNS TABLE (limit_key text, metric_type text, limit_window text, label text, max numeric, plan numeric, source text, tier_max numeric,
  mode text, grace_percent int, grace_until timestamptz, mode_source text, expires_at timestamptz, reason text, used numeric,
  credits numeric, credits_left numeric, credits_until timestamptz)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT k.limit_key, k.metric_type, k.limit_window, k.label, CASE WHEN n.own >= 0 THEN n.own + coalesce(g.added, 0) ELSE n.own END, n.own,
    CASE WHEN o.max IS NOT NULL THEN CASE WHEN o.from_host THEN 'host' ELSE 'override' END WHEN n.own IS NULL THEN 'none' ELSE 'tier' END,
    n.tiers, m.mode, m.grace_percent, m.grace_until, m.source, o.expires_at,
    CASE WHEN o.tenant_id IS NULL THEN t.reason ELSE o.reason END, u.used, coalesce(g.added, 0), coalesce(g.remains, 0), g.until
  FROM tollgate.subscriptions s
  LEFT JOIN tollgate.tiers r ON r.id = s.tier_id
  CROSS JOIN tollgate.usage_limit_keys k
  LEFT JOIN tollgate.usage_limit_overrides o ON o.tenant_id = s.tenant_id AND o.limit_key = k.limit_key
    AND (o.expires_at IS NULL OR o.expires_at > now())
  LEFT JOIN tollgate.tier_limit_modes t ON t.tier_id = s.tier_id AND t.limit_key = k.limit_key
  CROSS JOIN LATERAL tollgate.limit_mode(s.tenant_id, s.tier_id, k.limit_key) m
  CROSS JOIN LATERAL (
    SELECT CASE WHEN jsonb_typeof(x.now) = 'number' THEN greatest((x.now)::numeric, -1) END AS own,
           CASE WHEN jsonb_typeof(x.tiers) = 'number' THEN greatest((x.tiers)::numeric, -1) END AS tiers
    FROM (SELECT s.usage_limits -> k.limit_key AS now, r.limits -> k.limit_key AS tiers) x) n
  CROSS JOIN LATERAL (SELECT tollgate.used_now(tenant, k.metric_type, k.limit_window) AS used) u
  LEFT JOIN LATERAL (SELECT * FROM tollgate.credit_now(tenant, k.limit_key, u.used)) g ON EXISTS (
    SELECT FROM tollgate.usage_credits c WHERE c.tenant_id = s.tenant_id AND c.limit_key = k.limit_key)
  WHERE s.tenant_id = tenant AND (one IS NULL OR k.limit_key = one)
  ORDER BY k.metric_type, k.limit_key
$$;

-- The same of the tenant that is set.
CREATE OR REPLACE FUNCTION tollgate.own_limits()
RETURNS TABLE (limit_key text, metric_type text, limit_window text, label text, max numeric, plan numeric, source text, tier_max numeric,
  mode text, grace_percent int, grace_until timestamptz, mode_source text, expires_at timestamptz, reason text, used numeric,
  credits numeric, credits_left numeric, credits_until timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT * FROM tollgate.tenant_limits(tollgate.tenant())
$$;
GRANT EXECUTE ON FUNCTION tollgate.own_limits() TO tollgate_web;

-- Who of a tier's tenants (or this tenant) uses more than a limit: for a change that is then taken back (--dry-run).
CREATE OR REPLACE FUNCTION tollgate.over_limit(word text, tier text, tenant text)
RETURNS TABLE (tenant_id text, limit_key text, used numeric, max numeric, mode text) LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT s.tenant_id, l.limit_key, l.used, l.max, l.mode
  FROM tollgate.subscriptions s
  CROSS JOIN LATERAL tollgate.tenant_limits(s.tenant_id, word) l
  WHERE (s.tenant_id = tenant OR s.tier_id = tier) AND l.max >= 0 AND l.used > l.max
  ORDER BY l.used - l.max DESC, s.tenant_id
$$;

-- What `tollgate limit list` shows: of one tenant every limit that is set, of one tier what it limits, of neither all that departs from the
-- tiers' numbers.
CREATE OR REPLACE FUNCTION tollgate.listed_limits(tenant text, tier text)
RETURNS TABLE (kind text, id text, limit_key text, max numeric, used numeric, source text, mode text, grace_percent int,
  grace_until timestamptz, expires_at timestamptz, reason text) LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF tenant IS NOT NULL THEN
    PERFORM tollgate.zone_of(tenant);
    RETURN QUERY SELECT 'tenant', tenant, l.limit_key, trim_scale(l.max), trim_scale(l.used), l.source, l.mode, nullif(l.grace_percent, 0), l.grace_until,
      l.expires_at, l.reason FROM tollgate.tenant_limits(tenant) l WHERE l.max IS NOT NULL;
    RETURN QUERY SELECT 'tenant', tenant, c.limit_key, trim_scale(c.amount), trim_scale(c.taken), 'credit ' || c.id, NULL::text, NULL::int,
      NULL::timestamptz, c.expires_at, c.reason FROM tollgate.open_credits(tenant) c;
  ELSIF tier IS NOT NULL THEN
    IF NOT EXISTS (SELECT FROM tollgate.tiers r WHERE r.id = tier) THEN
      RAISE EXCEPTION 'there is no tier "%"; `tollgate tier list` shows them', left(tier, 100) USING ERRCODE = 'TG002', DETAIL = 'tier_id';
    END IF;
    RETURN QUERY SELECT 'tier', tier, k.limit_key::text, CASE WHEN jsonb_typeof(r.limits -> k.limit_key) = 'number' THEN (r.limits ->> k.limit_key)::numeric END,
      NULL::numeric, 'tier', coalesce(m.mode, 'hard'), nullif(m.grace_percent, 0), m.grace_until, NULL::timestamptz, m.reason
    FROM tollgate.tiers r CROSS JOIN tollgate.usage_limit_keys k
    LEFT JOIN tollgate.tier_limit_modes m ON m.tier_id = r.id AND m.limit_key = k.limit_key
    WHERE r.id = tier AND (m.tier_id IS NOT NULL OR r.limits ? k.limit_key) ORDER BY k.limit_key;
  ELSE
    RETURN QUERY SELECT 'tier', m.tier_id, m.limit_key::text,
      CASE WHEN jsonb_typeof(r.limits -> m.limit_key) = 'number' THEN (r.limits ->> m.limit_key)::numeric END, NULL::numeric, 'tier', m.mode,
      nullif(m.grace_percent, 0), m.grace_until, NULL::timestamptz, m.reason
    FROM tollgate.tier_limit_modes m JOIN tollgate.tiers r ON r.id = m.tier_id ORDER BY m.tier_id, m.limit_key;
    RETURN QUERY SELECT 'tenant', o.tenant_id::text, l.limit_key, trim_scale(l.max), trim_scale(l.used), l.source, l.mode, nullif(l.grace_percent, 0),
      l.grace_until, l.expires_at, l.reason
    FROM tollgate.usage_limit_overrides o CROSS JOIN LATERAL tollgate.tenant_limits(o.tenant_id, o.limit_key) l ORDER BY o.tenant_id, o.limit_key;
    RETURN QUERY SELECT 'tenant', t.tenant_id::text, c.limit_key, trim_scale(c.amount), trim_scale(c.taken), 'credit ' || c.id, NULL::text, NULL::int,
      NULL::timestamptz, c.expires_at, c.reason
    FROM (SELECT DISTINCT x.tenant_id FROM tollgate.usage_credits x WHERE x.expires_at > now()) t CROSS JOIN LATERAL tollgate.open_credits(t.tenant_id) c
    ORDER BY t.tenant_id, c.limit_key, c.expires_at;
  END IF;
END $$;
