-- The host's tenants, tiers and subscriptions are copied into tollgate.tenants, tiers and subscriptions, which everything else reads, in the
-- transaction that changes them. Their triggers fail no statement of the host's: what can't be copied is noted (let_through) and
-- copied later, from the rows as they are then (catch_up).

-- A value of the host's as text, by its type's output alone, so that no cast of the host's runs; without the blanks that fill char(n).
CREATE OR REPLACE FUNCTION tollgate.plain(value anyelement) RETURNS text LANGUAGE sql STABLE AS $$
  SELECT CASE WHEN value IS NULL THEN NULL
              WHEN pg_catalog.pg_typeof(value) OPERATOR(pg_catalog.=) 'pg_catalog.bpchar'::pg_catalog.regtype
              THEN pg_catalog.rtrim(pg_catalog.concat(value)) ELSE pg_catalog.concat(value) END
$$;

CREATE OR REPLACE FUNCTION tollgate.is_clinic() RETURNS boolean LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS
  $$ SELECT h.preset = 'clinic' FROM tollgate.host h $$;

CREATE OR REPLACE FUNCTION tollgate.take_tenant(tenant text, called text) RETURNS void LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  INSERT INTO tollgate.tenants AS t (id, name) VALUES (tenant, coalesce(called, tenant))
  ON CONFLICT (id) DO UPDATE SET name = excluded.name WHERE t.name <> excluded.name
$$;

CREATE OR REPLACE FUNCTION tollgate.take_tier(tier text, called text, numbers jsonb) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
  INSERT INTO tollgate.tiers AS t (id, name, limits) VALUES (tier, coalesce(called, tier), coalesce(numbers, '{}'))
  ON CONFLICT (id) DO UPDATE SET name = excluded.name, limits = excluded.limits WHERE (t.name, t.limits) <> (excluded.name, excluded.limits)
$$;

-- The host's numbers win where they are not those that are known of this subscription. One without a tenant waits for it.
CREATE OR REPLACE FUNCTION tollgate.take_subscription(tenant text, tier text, numbers jsonb, usage jsonb) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  known jsonb := (SELECT s.usage_limits FROM tollgate.subscriptions s WHERE s.tenant_id = tenant FOR UPDATE);
BEGIN
  INSERT INTO tollgate.subscriptions AS s (tenant_id, tier_id, usage_limits, current_usage)
  SELECT t.id, tier, coalesce(numbers, '{}'), coalesce(usage, '{}') FROM tollgate.tenants t WHERE t.id = tenant
  ON CONFLICT (tenant_id) DO UPDATE SET tier_id = excluded.tier_id, usage_limits = excluded.usage_limits, updated_at = now();
  PERFORM tollgate.keep_limits(tenant, coalesce(known, '{}'), coalesce(numbers, '{}'));
  PERFORM tollgate.apply_limits(tenant);
END $$;

-- Of a mapped table the tenant's id, name, plan, state and schema, for `x.` or whatever stands before a column's name.
CREATE OR REPLACE FUNCTION tollgate.mapped_columns(x text) RETURNS text LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT string_agg(CASE WHEN h.mapping ? k.key THEN format('tollgate.plain(%s%I)', x, h.mapping ->> k.key) ELSE 'NULL::text' END, ', ' ORDER BY k.n)
  FROM tollgate.host h, (VALUES (1, 'id'), (2, 'name'), (3, 'plan'), (4, 'state'), (5, 'schema')) AS k (n, key)
$$;

-- A tenant as a mapped table has it. A plan that Tollgate knows nothing of yet comes without limits.
CREATE OR REPLACE FUNCTION tollgate.take_mapped(tenant text, called text, plan text, standing text, place text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  m jsonb := (SELECT h.mapping FROM tollgate.host h);
  wanted text := CASE WHEN m ? 'state' THEN CASE WHEN m -> 'suspended' ? standing THEN 'suspended' ELSE 'active' END END;
BEGIN
  PERFORM tollgate.take_tenant(tenant, called);
  PERFORM tollgate.provision(tenant);
  UPDATE tollgate.tenant_settings s SET state = coalesce(wanted, s.state), schema_name = CASE WHEN m ? 'schema' THEN coalesce(place, '') ELSE s.schema_name END,
    updated_at = now()
  WHERE s.tenant_id = tenant AND (s.state <> wanted OR m ? 'schema' AND s.schema_name <> coalesce(place, ''));
  IF plan IS NOT NULL THEN
    INSERT INTO tollgate.tiers (id, name) VALUES (plan, plan) ON CONFLICT DO NOTHING;
    PERFORM tollgate.put_tier(tenant, plan)
    WHERE plan IS DISTINCT FROM (SELECT s.tier_id FROM tollgate.subscriptions s WHERE s.tenant_id = tenant);
    PERFORM tollgate.apply_limits(tenant);
  ELSIF m ? 'plan' THEN
    DELETE FROM tollgate.subscriptions s WHERE s.tenant_id = tenant;
  END IF;
END $$;

-- The tenants of a mapped table that `condition` names, with `$1` for `given`; how many.
CREATE OR REPLACE FUNCTION tollgate.take_all_mapped(condition text, given text DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  m jsonb := (SELECT h.mapping FROM tollgate.host h);
  n bigint;
BEGIN
  EXECUTE format('SELECT count(tollgate.take_mapped(%s)) FROM %s x WHERE %s', tollgate.mapped_columns('x.'), m ->> 'table',
                 format(condition, m ->> 'id', m ->> 'type')) INTO n USING given;
  RETURN n;
END $$;

-- A collector's batch holds a tenant's row here and then the host's, and who deletes the host's comes the other way: where the two meet,
-- the host's statement tries again, and the batch is what gives way.
CREATE OR REPLACE FUNCTION tollgate.host_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  before text;
  after text := '';
  tab text := CASE TG_ARGV[0] WHEN 'mapped' THEN 'tenants' ELSE TG_ARGV[0] END; -- of ours
  deadlocks int := 0;
BEGIN
  LOOP
    BEGIN
      IF TG_OP = 'TRUNCATE' THEN
        EXECUTE format('DELETE FROM tollgate.%I', tab);
        RETURN NULL;
      ELSIF TG_ARGV[0] = 'mapped' THEN
        EXECUTE format('SELECT tollgate.plain(($1).%1$I), tollgate.plain(($2).%1$I)', TG_ARGV[1]) INTO before, after USING OLD, NEW;
      ELSIF TG_ARGV[0] = 'subscriptions' THEN
        before := tollgate.plain(OLD.tenant_id);
        after := tollgate.plain(NEW.tenant_id);
      ELSE
        before := tollgate.plain(OLD.id);
        after := tollgate.plain(NEW.id);
      END IF;
      IF tab = 'tenants' AND before <> after THEN
        UPDATE tollgate.tenants SET id = after WHERE id = before;
      ELSIF TG_OP = 'DELETE' OR before <> after THEN
        EXECUTE format('DELETE FROM tollgate.%I WHERE %I = $1', tab, CASE tab WHEN 'subscriptions' THEN 'tenant_id' ELSE 'id' END) USING before;
      END IF;
      IF TG_OP = 'DELETE' THEN
        NULL;
      ELSIF TG_ARGV[0] = 'mapped' THEN
        EXECUTE format('SELECT tollgate.take_mapped(%s)', tollgate.mapped_columns('($1).')) USING NEW;
      ELSIF TG_ARGV[0] = 'tenants' THEN
        PERFORM tollgate.take_tenant(after, tollgate.plain(NEW.name));
      ELSIF TG_ARGV[0] = 'tiers' THEN
        PERFORM tollgate.take_tier(after, tollgate.plain(NEW.name), tollgate.plain(NEW.limits)::jsonb);
      ELSE
        PERFORM tollgate.take_subscription(after, tollgate.plain(NEW.tier_id), tollgate.plain(NEW.usage_limits)::jsonb,
                                           tollgate.plain(NEW.current_usage)::jsonb);
      END IF;
      RETURN NULL;
    EXCEPTION
      WHEN deadlock_detected THEN
        deadlocks := deadlocks + 1;
        IF deadlocks = 3 THEN
          RAISE;
        END IF;
      WHEN transaction_rollback THEN
        RAISE;
      WHEN OTHERS THEN
        PERFORM tollgate.let_through(CASE TG_ARGV[0] WHEN 'tiers' THEN '' ELSE coalesce(after, before, '') END, TG_RELID, sqlerrm);
        RETURN NULL;
    END;
  END LOOP;
END $$;

CREATE OR REPLACE FUNCTION tollgate.copy_tiers() RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF tollgate.is_clinic() THEN
    PERFORM tollgate.take_tier(tollgate.plain(r.id), tollgate.plain(r.name), tollgate.plain(r.limits)::jsonb) FROM public.subscription_tiers r;
    DELETE FROM tollgate.tiers x WHERE NOT EXISTS (SELECT FROM public.subscription_tiers r WHERE tollgate.plain(r.id) = x.id);
  END IF;
END $$;

-- A tenant with its subscription as the host has them now. Where row-level security may hide it from here, it stays.
CREATE OR REPLACE FUNCTION tollgate.copy_tenant(tenant text) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF NOT tollgate.is_clinic() THEN
    IF tollgate.take_all_mapped('x.%1$I = $1::pg_catalog.%2$I', tenant) = 0 THEN
      DELETE FROM tollgate.tenants t WHERE t.id = tenant
        AND NOT row_security_active((SELECT h.mapping ->> 'table' FROM tollgate.host h));
    END IF;
    RETURN;
  END IF;
  PERFORM tollgate.take_tenant(tenant, tollgate.plain(t.name)) FROM public.tenants t WHERE t.id = tenant;
  IF NOT FOUND THEN
    DELETE FROM tollgate.tenants t WHERE t.id = tenant AND NOT row_security_active('public.tenants');
    RETURN;
  END IF;
  PERFORM tollgate.take_subscription(tenant, tollgate.plain(s.tier_id), tollgate.plain(s.usage_limits)::jsonb,
                                     tollgate.plain(s.current_usage)::jsonb) FROM public.tenant_subscriptions s WHERE s.tenant_id = tenant;
  IF NOT FOUND THEN
    DELETE FROM tollgate.subscriptions s WHERE s.tenant_id = tenant AND NOT row_security_active('public.tenant_subscriptions');
  END IF;
END $$;

-- What came past the triggers (a restore, replication): of at most `most` tenants. What can't be copied is noted.
CREATE OR REPLACE FUNCTION tollgate.copy_missing(most int) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  tenant text;
BEGIN
  IF NOT tollgate.is_clinic() THEN
    PERFORM tollgate.take_all_mapped('NOT EXISTS (SELECT FROM tollgate.tenants t WHERE t.id = tollgate.plain(x.%1$I))');
    RETURN;
  END IF;
  FOR tenant IN SELECT m.id FROM (
      SELECT tollgate.plain(t.id) AS id FROM public.tenants t WHERE NOT EXISTS (SELECT FROM tollgate.tenants x WHERE x.id = t.id)
      UNION
      SELECT x.id FROM public.tenant_subscriptions s JOIN tollgate.tenants x ON x.id = s.tenant_id
      WHERE NOT EXISTS (SELECT FROM tollgate.subscriptions y WHERE y.tenant_id = x.id)) m
    WHERE NOT EXISTS (SELECT FROM tollgate.uncounted l WHERE l.tenant_id = m.id) ORDER BY 1 LIMIT most LOOP
    BEGIN
      PERFORM tollgate.copy_tenant(tenant);
    EXCEPTION WHEN OTHERS THEN
      PERFORM tollgate.let_through(tenant, 'public.tenant_subscriptions', sqlerrm);
    END;
  END LOOP;
END $$;

-- Makes a trigger that is not there as it is wanted, and whether it did. `what` is written as PostgreSQL shows it, so that a trigger which
-- is there already is left alone: making it anew would hold up whoever writes to the table.
CREATE OR REPLACE FUNCTION tollgate.want_trigger(tab regclass, name text, what text) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
  wanted text := format('TRIGGER %s AFTER %s', name, what);
BEGIN
  IF EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = tab AND g.tgname = name AND pg_get_triggerdef(g.oid) = 'CREATE ' || wanted) THEN
    RETURN false;
  END IF;
  EXECUTE 'CREATE OR REPLACE ' || wanted;
  RETURN true;
END $$;

-- What the command line changes of tenants and tiers: in the host's table where that is the clinic's, from which a trigger copies it, else
-- in Tollgate's own. Each returns whether there was such a row.
CREATE OR REPLACE FUNCTION tollgate.create_tenant(tenant text, called text) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF tollgate.is_clinic() THEN
    INSERT INTO public.tenants (id, name) VALUES (tenant, called);
  ELSE
    INSERT INTO tollgate.tenants (id, name) VALUES (tenant, called);
  END IF;
END $$;

CREATE OR REPLACE FUNCTION tollgate.rename_tenant(tenant text, called text) RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF tollgate.is_clinic() THEN
    UPDATE public.tenants t SET name = called WHERE t.id = tenant;
  ELSE
    UPDATE tollgate.tenants t SET name = called WHERE t.id = tenant;
  END IF;
  RETURN FOUND;
END $$;

CREATE OR REPLACE FUNCTION tollgate.remove_tenant(tenant text) RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF tollgate.is_clinic() THEN
    DELETE FROM public.tenants t WHERE t.id = tenant;
  ELSE
    DELETE FROM tollgate.tenants t WHERE t.id = tenant;
  END IF;
  RETURN FOUND;
END $$;

CREATE OR REPLACE FUNCTION tollgate.create_tier(tier text, called text) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF tollgate.is_clinic() THEN
    INSERT INTO public.subscription_tiers (id, name) VALUES (tier, called);
  ELSE
    INSERT INTO tollgate.tiers (id, name) VALUES (tier, called);
  END IF;
END $$;

-- A null name stays as it is.
CREATE OR REPLACE FUNCTION tollgate.rename_tier(tier text, called text) RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF tollgate.is_clinic() THEN
    UPDATE public.subscription_tiers r SET name = coalesce(called, r.name) WHERE r.id = tier;
  ELSE
    UPDATE tollgate.tiers r SET name = coalesce(called, r.name) WHERE r.id = tier;
  END IF;
  RETURN FOUND;
END $$;

-- The number of a tier's limit; null takes it away. False: no such tier, or no such limit.
CREATE OR REPLACE FUNCTION tollgate.put_tier_limit(tier text, k text, number numeric) RETURNS boolean
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  held jsonb := (SELECT r.limits - k FROM tollgate.tiers r JOIN tollgate.usage_limit_keys x ON x.limit_key = k WHERE r.id = tier)
    || CASE WHEN number IS NULL THEN '{}' ELSE jsonb_build_object(k, trim_scale(number)) END;
BEGIN
  IF tollgate.is_clinic() THEN
    UPDATE public.subscription_tiers r SET limits = held WHERE r.id = tier AND held IS NOT NULL;
  ELSE
    UPDATE tollgate.tiers r SET limits = held WHERE r.id = tier AND held IS NOT NULL;
  END IF;
  RETURN FOUND;
END $$;

CREATE OR REPLACE FUNCTION tollgate.remove_tier(tier text) RETURNS boolean LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF tollgate.is_clinic() THEN
    DELETE FROM public.subscription_tiers r WHERE r.id = tier;
    RETURN FOUND;
  ELSIF EXISTS (SELECT FROM tollgate.subscriptions s WHERE s.tier_id = tier) THEN
    RAISE EXCEPTION 'tenants are on this tier' USING ERRCODE = 'foreign_key_violation';
  END IF;
  DELETE FROM tollgate.tiers r WHERE r.id = tier;
  RETURN FOUND;
END $$;
