-- Limits of a minute that bind one key, beside its tenant's: what one program may do. A gate holds to them (lib/meter/limit_table/keys.c).

-- For the collector, as tollgate.feed_limits.
CREATE OR REPLACE FUNCTION tollgate.feed_key_limits(one text, after text, most bigint)
RETURNS TABLE (tenant_id text, key_id text, limit_key text, max bigint, expires bigint, mode text, grace_percent int, grace_until bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT t.tenant_id, k.id, l.limit_key::text, tollgate.millionths(to_jsonb(l.max)), tollgate.us(l.expires_at), l.mode, l.grace_percent,
    tollgate.us(l.grace_until)
  FROM tollgate.feed_page(one, after, most) t
  JOIN tollgate.api_keys k ON k.tenant_id = t.tenant_id AND k.revoked_at IS NULL
  JOIN tollgate.key_limits l ON l.key_id = k.id AND (l.expires_at IS NULL OR l.expires_at > now())
  ORDER BY t.tenant_id, k.id, l.limit_key
$$;
GRANT EXECUTE ON FUNCTION tollgate.feed_key_limits(text, text, bigint) TO tollgate_collector;

CREATE OR REPLACE FUNCTION tollgate.key_limits_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  INSERT INTO tollgate.config_changes (kind, subject)
  SELECT 'tenant', k.tenant_id FROM tollgate.api_keys k WHERE k.id = CASE TG_OP WHEN 'DELETE' THEN OLD.key_id ELSE NEW.key_id END;
  RETURN NULL;
END $$;

-- The tenant of a key that may have limits.
CREATE OR REPLACE FUNCTION tollgate.limited_key(key text) RETURNS text LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  k tollgate.api_keys;
BEGIN
  SELECT * INTO k FROM tollgate.api_keys x WHERE x.id = key;
  IF k.id IS NULL THEN
    RAISE EXCEPTION 'there is no key "%"; `tollgate key list` shows them', left(key, 100) USING ERRCODE = 'TG004', DETAIL = 'key';
  ELSIF k.tenant_id IS NULL THEN
    RAISE EXCEPTION 'key % is an operator''s, which no limit binds', key USING ERRCODE = 'TG003', DETAIL = 'key';
  ELSIF k.revoked_at IS NOT NULL THEN
    RAISE EXCEPTION 'key % is revoked', key USING ERRCODE = 'TG003', DETAIL = 'key';
  END IF;
  RETURN k.tenant_id;
END $$;

-- A key's limit. What is null stays as it is.
CREATE OR REPLACE FUNCTION tollgate.set_key_limit(key text, word text, number text, mode_word text, percent text, until text, expires text,
  why text) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  tenant text := tollgate.limited_key(key);
  zone text := tollgate.zone_of(tenant);
  l tollgate.usage_limit_keys := tollgate.known_limit(word);
  new_mode text := tollgate.asked_mode(mode_word, percent, until);
  new_max numeric := tollgate.limit_number(number);
BEGIN
  IF l.limit_window <> 'minute' THEN
    RAISE EXCEPTION 'a key''s limit is of a minute, and % is not; of a minute: %', l.limit_key,
      (SELECT string_agg(x.limit_key, ', ' ORDER BY x.limit_key) FROM tollgate.usage_limit_keys x WHERE x.limit_window = 'minute')
      USING ERRCODE = 'TG003', DETAIL = l.limit_key;
  ELSIF new_max < 0 THEN
    RAISE EXCEPTION 'a key without a limit of its own is bound by its tenant''s alone: tollgate limit remove --key ID LIMIT'
      USING ERRCODE = 'TG003', DETAIL = 'number';
  END IF;
  UPDATE tollgate.key_limits o SET max = coalesce(new_max, o.max), mode = coalesce(new_mode, o.mode),
    grace_percent = CASE WHEN new_mode IS NULL THEN o.grace_percent ELSE coalesce(percent::int, 0) END,
    grace_until = CASE WHEN new_mode IS NULL THEN o.grace_until ELSE tollgate.limit_time(until, zone, '--grace-until') END,
    expires_at = coalesce(tollgate.limit_time(expires, zone, '--expires'), o.expires_at),
    reason = CASE WHEN why IS NULL THEN o.reason ELSE nullif(why, '') END, updated_at = now()
  WHERE o.key_id = key AND o.limit_key = l.limit_key AND (o.expires_at IS NULL OR o.expires_at > now());
  IF FOUND THEN
    RETURN;
  ELSIF new_max IS NULL THEN
    RAISE EXCEPTION 'say how much the key may use: a number' USING ERRCODE = 'TG003', DETAIL = 'number';
  END IF;
  PERFORM FROM tollgate.tenant_settings s WHERE s.tenant_id = tenant FOR UPDATE;
  IF (SELECT count(*) FROM tollgate.feed_key_limits(tenant, '', 1)) >= 32 THEN -- LIMIT_KEY_LIMITS
    RAISE EXCEPTION 'tenant "%" has 32 limits of single keys, and the limit table has room for no more; remove one: tollgate limit remove --key ID LIMIT',
      tenant USING ERRCODE = 'TG003', DETAIL = 'key';
  END IF;
  INSERT INTO tollgate.key_limits AS o (key_id, limit_key, max, mode, grace_percent, grace_until, expires_at, reason)
  VALUES (key, l.limit_key, new_max, coalesce(new_mode, 'hard'), coalesce(percent::int, 0), tollgate.limit_time(until, zone, '--grace-until'),
          tollgate.limit_time(expires, zone, '--expires'), nullif(why, ''))
  ON CONFLICT (key_id, limit_key) DO UPDATE SET max = excluded.max, mode = excluded.mode, grace_percent = excluded.grace_percent,
    grace_until = excluded.grace_until, expires_at = excluded.expires_at, reason = excluded.reason, updated_at = now(); -- of one that has ended
END $$;

CREATE OR REPLACE FUNCTION tollgate.remove_key_limit(key text, word text) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  k text := (tollgate.known_limit(word)).limit_key;
BEGIN
  PERFORM tollgate.limited_key(key);
  DELETE FROM tollgate.key_limits o WHERE o.key_id = key AND o.limit_key = k;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'key % has no limit % of its own', key, k USING ERRCODE = 'TG001', DETAIL = k;
  END IF;
END $$;

-- What `tollgate limit list` shows of keys: of one key, of a tenant's, or of all (both null).
CREATE OR REPLACE FUNCTION tollgate.listed_key_limits(key text, tenant text)
RETURNS TABLE (kind text, id text, limit_key text, max numeric, used numeric, source text, mode text, grace_percent int,
  grace_until timestamptz, expires_at timestamptz, reason text) LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT 'key', l.key_id, l.limit_key::text, trim_scale(l.max), NULL::numeric, 'key', l.mode, nullif(l.grace_percent, 0), l.grace_until, l.expires_at,
    l.reason
  FROM tollgate.key_limits l JOIN tollgate.api_keys k ON k.id = l.key_id AND k.revoked_at IS NULL
  WHERE (key IS NULL OR l.key_id = key) AND (tenant IS NULL OR k.tenant_id = tenant) AND (l.expires_at IS NULL OR l.expires_at > now())
  ORDER BY k.tenant_id, l.key_id, l.limit_key
$$;
