-- Web sees the tenant that is set in every table with a tenant, and nothing without one.
SET ROLE tollgate_owner;
INSERT INTO tenants (id, name) VALUES ('i1', 'One'), ('i2', 'Two');
INSERT INTO subscription_tiers (id, name, limits) VALUES ('it', 'T', '{"max_users":1}');
SELECT tollgate.ensure_periods(t, now(), now() + interval '40 days'), tollgate.ensure_partitions(now(), now())
FROM unnest(ARRAY['i1', 'i2']) t;
INSERT INTO usage_tracking (tenant_id, metric_type, metric_value, billing_period) VALUES ('i1', 'api_call', 1, '2026-01'), ('i2', 'api_call', 1, '2026-01');
INSERT INTO tollgate.usage_hourly (tenant_id, metric_type, hour) VALUES ('i1', 'api_call', now()), ('i2', 'api_call', now());
INSERT INTO tollgate.usage_daily (tenant_id, metric_type, day) VALUES ('i1', 'api_call', now()), ('i2', 'api_call', now());
INSERT INTO tollgate.usage_counts (tenant_id, metric_type, limit_window, window_start) VALUES ('i1', 'api_call', 'day', now()), ('i2', 'api_call', 'day', now());
INSERT INTO tollgate.usage_limit_overrides (tenant_id, limit_key) VALUES ('i1', 'max_users'), ('i2', 'max_users');
INSERT INTO tollgate.api_keys (id, tenant_id, name, hash, scopes) VALUES ('isolati1', 'i1', 'k', sha256('1'), '{call}'), ('isolati2', 'i2', 'k', sha256('2'), '{call}');
RESET ROLE;
DO $$
DECLARE
  t record;
  n bigint;
BEGIN
  FOR t IN SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND pg_get_userbyid(c.relowner) = 'tollgate_owner'
      AND c.relname NOT IN ('users', 'tenant_subscriptions') LOOP
    ASSERT (SELECT relrowsecurity AND relforcerowsecurity FROM pg_class WHERE oid = format('public.%I', t.relname)::regclass),
      t.relname || ' forces row-level security';
  END LOOP;
END $$;
SET SESSION AUTHORIZATION tollgate_web;
DO $$
DECLARE
  t text;
  n bigint;
BEGIN
  FOREACH t IN ARRAY ARRAY['tollgate.tenant_periods', 'public.usage_summary', 'tollgate.usage_daily', 'tollgate.usage_counts',
    'tollgate.usage_limit_overrides'] LOOP
    PERFORM set_config('tollgate.tenant_id', '', true);
    EXECUTE format('SELECT count(*) FROM %s', t) INTO n;
    ASSERT n = 0, t || ' shows nothing without a tenant';
    PERFORM set_config('tollgate.tenant_id', 'i1', true);
    EXECUTE format('SELECT count(*) FROM %s WHERE tenant_id = ''i1''', t) INTO n;
    ASSERT n > 0, t || ' shows the own tenant';
    EXECUTE format('SELECT count(*) FROM %s WHERE tenant_id <> ''i1''', t) INTO n;
    ASSERT n = 0, t || ' shows no neighbour';
  END LOOP;
  FOREACH t IN ARRAY ARRAY['public.tenants', 'public.users', 'tollgate.account_sessions', 'tollgate.signin_failures', 'tollgate.accounts',
    'tollgate.tenant_settings', 'public.usage_tracking', 'tollgate.usage_hourly', 'tollgate.api_keys'] LOOP
    BEGIN
      EXECUTE format('SELECT * FROM %s', t);
      ASSERT false, t || ' is out of reach';
    EXCEPTION WHEN insufficient_privilege THEN NULL;
    END;
  END LOOP;
  BEGIN
    PERFORM set_config('tollgate.tenant_id', 'i1', true);
    INSERT INTO tollgate.api_keys (id, tenant_id, name, hash, scopes) VALUES ('isolati3', 'i1', 'k', sha256('3'), '{call}');
    ASSERT false, 'web makes no keys';
  EXCEPTION WHEN insufficient_privilege THEN NULL;
  END;
  BEGIN
    PERFORM tollgate.recount('i2');
    ASSERT false, 'a neighbour''s recount is refused';
  EXCEPTION WHEN insufficient_privilege THEN NULL;
  END;
  BEGIN
    PERFORM tollgate.set_subscription('i2', 'it', NULL);
    ASSERT false, 'a neighbour''s plan is refused';
  EXCEPTION WHEN insufficient_privilege THEN NULL;
  END;
  PERFORM set_config('tollgate.tenant_id', '', true);
  BEGIN
    PERFORM tollgate.set_subscription('i1', 'it', NULL);
    ASSERT false, 'a plan without a tenant that is set is refused';
  EXCEPTION WHEN insufficient_privilege THEN NULL;
  END;
  PERFORM set_config('tollgate.tenant_id', 'i1', true);
  ASSERT tollgate.set_subscription('i1', 'it', '{"max_users":3}') -> 'usage_limits' = '{"max_users":3}', 'the own plan, as an operator''s PUT';
  ASSERT (SELECT count(*) FROM tollgate.host_tenant) = 1, 'one host tenant';
END $$;
-- Web by another name: a login of the operator's that is a member of it.
RESET SESSION AUTHORIZATION;
CREATE ROLE tollgate_test_member LOGIN IN ROLE tollgate_web;
SET SESSION AUTHORIZATION tollgate_test_member;
DO $$
BEGIN
  PERFORM set_config('tollgate.tenant_id', 'i1', true);
  PERFORM tollgate.set_subscription('i2', 'it', NULL);
  ASSERT false, 'a neighbour''s plan is refused to a member of web';
EXCEPTION WHEN insufficient_privilege THEN NULL;
END $$;
RESET SESSION AUTHORIZATION;
DROP ROLE tollgate_test_member;
