-- Who may what. Tables are in public, functions and security-barrier views in schema tollgate. Row-level security is
-- forced on every table with a tenant: web sees the tenant that is set, owner and collector every one.
-- Run as tollgate_owner; later files grant their own functions.
CREATE SCHEMA IF NOT EXISTS tollgate;
GRANT USAGE ON SCHEMA tollgate TO tollgate_web, tollgate_collector;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES IN SCHEMA tollgate GRANT EXECUTE ON FUNCTIONS TO tollgate_collector;

-- The tenant of this transaction; '' when none is set, which is no tenant's id.
CREATE FUNCTION tollgate.tenant() RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS
  $$ SELECT coalesce(current_setting('tollgate.tenant_id', true), '') $$;
GRANT EXECUTE ON FUNCTION tollgate.tenant() TO tollgate_web;

-- Row-level security of one table: also of the partitions that are made later.
CREATE FUNCTION tollgate.secure(tab regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', tab);
  EXECUTE format('CREATE POLICY everything ON %s TO tollgate_owner, tollgate_collector USING (true) WITH CHECK (true)', tab);
END $$;

DO $$
DECLARE
  tab text;
BEGIN
  FOREACH tab IN ARRAY ARRAY['tenant_settings', 'tenant_periods', 'usage_tracking', 'usage_summary', 'usage_hourly',
    'usage_daily', 'usage_counts', 'usage_changes', 'usage_event_ids', 'usage_rejected', 'collector_degraded',
    'usage_limit_overrides', 'api_keys', 'accounts'] LOOP
    PERFORM tollgate.secure(tab::regclass);
    EXECUTE format('CREATE POLICY own_tenant ON %I TO tollgate_web USING (tenant_id = tollgate.tenant()) '
                   'WITH CHECK (tenant_id = tollgate.tenant())', tab);
  END LOOP;
  -- No tenant of their own: web reaches these through functions alone.
  PERFORM tollgate.secure('account_sessions'), tollgate.secure('signin_failures'), tollgate.secure('config_changes');
END $$;

GRANT SELECT ON tenant_settings, tenant_periods, usage_tracking, usage_summary, usage_hourly, usage_daily, usage_counts,
  usage_limit_overrides, usage_event_ids, usage_metrics, usage_limit_keys, collector_nodes TO tollgate_web;
GRANT SELECT, INSERT, UPDATE ON api_keys TO tollgate_web;
GRANT SELECT (id, tenant_id, email, role, created_at, signed_in_at) ON accounts TO tollgate_web;

GRANT SELECT ON tenants, users, subscription_tiers, tenant_subscriptions, usage_metrics, usage_limit_keys, tenant_settings,
  usage_limit_overrides, api_keys, accounts TO tollgate_collector;
GRANT UPDATE (current_usage) ON tenant_subscriptions TO tollgate_collector;
GRANT UPDATE (last_used_at) ON api_keys TO tollgate_collector;
GRANT SELECT, INSERT, UPDATE, DELETE ON tenant_periods, usage_tracking, usage_summary, usage_hourly, usage_daily, usage_counts,
  usage_changes, usage_event_ids, usage_rejected, collector_progress, collector_degraded, collector_nodes, spool_damage,
  config_changes TO tollgate_collector;
GRANT SELECT, DELETE ON account_sessions, signin_failures TO tollgate_collector;

-- Functions that take a tenant and may be called by web: its own tenant only. Web is also who logs in as a member of it.
CREATE FUNCTION tollgate.only_own(tenant text) RETURNS void LANGUAGE plpgsql STABLE AS $$
BEGIN
  IF tenant IS DISTINCT FROM tollgate.tenant() AND pg_has_role(session_user, 'tollgate_web', 'MEMBER')
    AND NOT pg_has_role(session_user, 'tollgate_owner', 'MEMBER') THEN
    RAISE EXCEPTION 'another tenant is set' USING ERRCODE = 'insufficient_privilege';
  END IF;
END $$;
GRANT EXECUTE ON FUNCTION tollgate.only_own(text) TO tollgate_web;
