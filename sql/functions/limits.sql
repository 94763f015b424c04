-- The limits of a subscription: the tier's numbers with the tenant's overrides.

-- The effective plain numbers: the tier's, then overrides that are in force. Null without a subscription or a tier.
CREATE OR REPLACE FUNCTION tollgate.effective_limits(tenant text) RETURNS jsonb LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT r.limits || coalesce((
    SELECT jsonb_object_agg(o.limit_key, trim_scale(o.max)) FROM tollgate.usage_limit_overrides o
    WHERE o.tenant_id = tenant AND o.max IS NOT NULL AND (o.expires_at IS NULL OR o.expires_at > now())), '{}')
  FROM tollgate.subscriptions t JOIN tollgate.tiers r ON r.id = t.tier_id WHERE t.tenant_id = tenant
$$;

-- Sets the number of a tenant's override; null removes it. A mode of its own stays, which the host knows nothing of.
CREATE OR REPLACE FUNCTION tollgate.put_override(tenant text, k text, number numeric, by_host boolean DEFAULT false) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF number IS NOT NULL THEN
    INSERT INTO tollgate.usage_limit_overrides AS o (tenant_id, limit_key, max, from_host) VALUES (tenant, k, number, by_host)
    ON CONFLICT (tenant_id, limit_key) DO UPDATE SET max = excluded.max, from_host = excluded.from_host, expires_at = NULL,
      reason = NULL, updated_at = now();
  ELSE
    UPDATE tollgate.usage_limit_overrides o SET max = NULL, from_host = false, expires_at = NULL, updated_at = now()
    WHERE o.tenant_id = tenant AND o.limit_key = k AND o.mode IS NOT NULL;
    DELETE FROM tollgate.usage_limit_overrides o WHERE o.tenant_id = tenant AND o.limit_key = k AND o.mode IS NULL;
  END IF;
END $$;

-- The effective plain numbers: the tier's, then overrides that are in force.
CREATE OR REPLACE FUNCTION tollgate.apply_limits(tenant text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT tollgate.put_limits(tenant, e.limits) FROM tollgate.effective_limits(tenant) e (limits) WHERE e.limits IS NOT NULL
$$;

-- The host's own numbers win. Where its usage_limits say something else than `before`: a number that is not the tier's becomes
-- the tenant's override, a number that is the tier's removes it, and so does what is no number (null, a text, a key that is
-- gone). Negative is unlimited. An override of the same number stays as it is, with the time when it ends.
CREATE OR REPLACE FUNCTION tollgate.keep_limits(tenant text, before jsonb, after jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  c record;
BEGIN
  FOR c IN
    SELECT k.limit_key, CASE WHEN n.own IS DISTINCT FROM (r.limits -> k.limit_key) AND jsonb_typeof(n.own) = 'number'
                             THEN CASE WHEN n.own::numeric < 0 THEN -1 ELSE trim_scale(round(n.own::numeric, 6)) END END AS number
    FROM tollgate.subscriptions s
    LEFT JOIN tollgate.tiers r ON r.id = s.tier_id
    CROSS JOIN tollgate.usage_limit_keys k
    CROSS JOIN LATERAL (SELECT after -> k.limit_key AS own) n
    WHERE s.tenant_id = tenant AND n.own IS DISTINCT FROM (before -> k.limit_key)
    ORDER BY k.limit_key
  LOOP
    PERFORM tollgate.put_override(tenant, c.limit_key, c.number, true)
    WHERE c.number IS DISTINCT FROM (SELECT o.max FROM tollgate.usage_limit_overrides o
                                     WHERE o.tenant_id = tenant AND o.limit_key = c.limit_key);
  END LOOP;
END $$;

-- What stood in the host's subscription before Tollgate knew of it.
CREATE OR REPLACE FUNCTION tollgate.keep_found_limits(tenant text) RETURNS void LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  SELECT tollgate.keep_limits(tenant, coalesce(tollgate.effective_limits(tenant), '{}'), coalesce(s.usage_limits, '{}'))
  FROM tollgate.subscriptions s WHERE s.tenant_id = tenant
$$;

-- Overrides whose time is over go, and by the triggers the tier's limits hold again. How many.
CREATE OR REPLACE FUNCTION tollgate.expire_limits() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  ended bigint;
BEGIN
  DELETE FROM tollgate.usage_limit_overrides o WHERE o.expires_at <= now();
  GET DIAGNOSTICS ended = ROW_COUNT;
  RETURN ended;
END $$;
GRANT EXECUTE ON FUNCTION tollgate.expire_limits() TO tollgate_collector;

-- Limits follow overrides and a change of the tier.
CREATE OR REPLACE FUNCTION tollgate.limits_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF TG_TABLE_NAME = 'tiers' THEN
    PERFORM tollgate.apply_limits(s.tenant_id) -- but of those whose own numbers have not been read yet: catch_up does
    FROM (SELECT x.tenant_id FROM tollgate.subscriptions x WHERE x.tier_id = NEW.id
          AND NOT EXISTS (SELECT FROM tollgate.uncounted l WHERE l.tenant_id = x.tenant_id) ORDER BY x.tenant_id) s;
  ELSIF TG_OP = 'DELETE' THEN
    PERFORM tollgate.apply_limits(OLD.tenant_id);
  ELSE
    PERFORM tollgate.apply_limits(NEW.tenant_id);
  END IF;
  RETURN NULL;
END $$;

-- A tier's mode: for the limit table, and for what the database itself enforces.
CREATE OR REPLACE FUNCTION tollgate.tier_mode_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  tier text := CASE TG_OP WHEN 'DELETE' THEN OLD.tier_id ELSE NEW.tier_id END;
BEGIN
  INSERT INTO tollgate.config_changes (kind, subject)
  SELECT 'tenant', concat(s.tenant_id) FROM tollgate.subscriptions s WHERE s.tier_id = tier ORDER BY s.tenant_id;
  PERFORM tollgate.move_limit(g.id)
  FROM (SELECT e.id FROM tollgate.enforced_gauges e JOIN tollgate.subscriptions s ON s.tenant_id = e.tenant_id
        WHERE s.tier_id = tier ORDER BY e.tenant_id, e.metric) g;
  RETURN NULL;
END $$;

-- The mode that holds for a tenant's limit: its override's while that is in force and has one, else the tier's, else hard. Nothing is
-- set here, so that PostgreSQL reads it as part of the statement that asks.
CREATE OR REPLACE FUNCTION tollgate.limit_mode(tenant text, tier text, k text)
RETURNS TABLE (mode text, grace_percent int, grace_until timestamptz, source text) LANGUAGE sql STABLE AS $$
  SELECT coalesce(o.mode, m.mode, 'hard'),
         CASE WHEN o.mode IS NOT NULL THEN o.grace_percent ELSE coalesce(m.grace_percent, 0) END,
         CASE WHEN o.mode IS NOT NULL THEN o.grace_until ELSE m.grace_until END,
         CASE WHEN o.mode IS NOT NULL THEN 'override' ELSE 'tier' END
  FROM (SELECT 1) AS one
  LEFT JOIN tollgate.usage_limit_overrides o ON o.tenant_id = tenant AND o.limit_key = k AND (o.expires_at IS NULL OR o.expires_at > statement_timestamp())
  LEFT JOIN tollgate.tier_limit_modes m ON m.tier_id = tier AND m.limit_key = k
$$;

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
  IF NOT EXISTS (SELECT FROM tollgate.tenants t WHERE t.id = tenant) THEN
    RAISE EXCEPTION 'no such tenant' USING ERRCODE = 'TG004', DETAIL = 'tenant_id';
  END IF;
  IF tier IS NOT NULL THEN
    IF NOT EXISTS (SELECT FROM tollgate.tiers r WHERE r.id = tier) THEN
      RAISE EXCEPTION 'no such tier: %', left(tier, 100) USING ERRCODE = 'TG002', DETAIL = 'tier_id';
    END IF;
    PERFORM tollgate.put_tier(tenant, tier);
  ELSIF NOT EXISTS (SELECT FROM tollgate.subscriptions s WHERE s.tenant_id = tenant) THEN
    RAISE EXCEPTION 'the tenant has no subscription: name a tier' USING ERRCODE = 'TG002', DETAIL = 'tier_id';
  END IF;
  IF limits IS NOT NULL AND jsonb_typeof(limits) <> 'object' THEN
    RAISE EXCEPTION 'usage_limits is an object' USING ERRCODE = 'TG003', DETAIL = 'usage_limits';
  END IF;
  FOR k, v IN SELECT * FROM jsonb_each(coalesce(limits, '{}')) ORDER BY 1 LOOP
    IF NOT EXISTS (SELECT FROM tollgate.usage_limit_keys l WHERE l.limit_key = k) THEN
      RAISE EXCEPTION 'no such limit: %', left(k, 100) USING ERRCODE = 'TG001', DETAIL = left(k, 100);
    ELSIF jsonb_typeof(v) = 'null' THEN
      PERFORM tollgate.put_override(tenant, k, NULL);
    ELSE
      IF jsonb_typeof(v) <> 'number' THEN
        RAISE EXCEPTION '% is a number, or null for the tier''s', k USING ERRCODE = 'TG003', DETAIL = k;
      ELSIF (v::numeric < 0 AND v::numeric <> -1) OR v::numeric > 1000000000000 OR scale(trim_scale(v::numeric)) > 6 THEN
        RAISE EXCEPTION '% is -1 (unlimited), or 0 to 1000000000000 with at most six decimals', k
          USING ERRCODE = 'TG003', DETAIL = k;
      END IF;
      PERFORM tollgate.put_override(tenant, k, v::numeric);
    END IF;
  END LOOP;
  PERFORM tollgate.apply_limits(tenant);
  SELECT jsonb_build_object('tenant_id', s.tenant_id, 'tier_id', s.tier_id, 'usage_limits', s.usage_limits,
                            'current_usage', s.current_usage) INTO answer
  FROM tollgate.subscriptions s WHERE s.tenant_id = tenant;
  RETURN answer;
END $$;
GRANT EXECUTE ON FUNCTION tollgate.set_subscription(text, text, jsonb) TO tollgate_web;
