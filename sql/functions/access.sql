-- Who may what. All is in schema tollgate but usage_tracking and usage_summary, which the specification names and a host may read: they
-- are in public. Each role has the rights that its program uses and no other; tests/sql/rights.txt lists what comes of it. A function is
-- nobody's to call but the owner's until it is granted beside its definition: `tollgate migrate` takes back all that was granted before it
-- applies these files, in the same transaction. This file is the first to run.
GRANT USAGE ON SCHEMA tollgate TO tollgate_web, tollgate_collector, tollgate_counter;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

-- The tenant of this transaction; '' when none is set, which is no tenant's id.
CREATE OR REPLACE FUNCTION tollgate.tenant() RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS
  $$ SELECT coalesce(current_setting('tollgate.tenant_id', true), '') $$;
GRANT EXECUTE ON FUNCTION tollgate.tenant() TO tollgate_web;

-- Functions that take a tenant and may be called by web: its own tenant only. Web is also who logs in as a member of it.
CREATE OR REPLACE FUNCTION tollgate.only_own(tenant text) RETURNS void LANGUAGE plpgsql STABLE AS $$
BEGIN
  IF tenant IS DISTINCT FROM tollgate.tenant() AND pg_has_role(session_user, 'tollgate_web', 'MEMBER')
    AND NOT pg_has_role(session_user, 'tollgate_owner', 'MEMBER') THEN
    RAISE EXCEPTION 'another tenant is set' USING ERRCODE = 'insufficient_privilege';
  END IF;
END $$;

-- Row-level security of one table: also of the partitions that are made later.
CREATE OR REPLACE FUNCTION tollgate.secure(tab regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', tab);
  EXECUTE format('CREATE POLICY everything ON %s TO tollgate_owner, tollgate_collector USING (true) WITH CHECK (true)', tab);
END $$;

-- Row-level security is forced on every table with a tenant: web sees the tenant that is set, owner and collector every one. Tables
-- that web has no business with have the first policy alone. The shares of enforced gauges name no tenant, and row-level security
-- would cost each insert of the host's.
DO $$
DECLARE
  t record;
BEGIN
  FOR t IN SELECT x.name, x.tenants FROM (VALUES ('tollgate.tenant_settings', true), ('tollgate.tenant_periods', true),
    ('public.usage_tracking', true), ('public.usage_summary', true), ('tollgate.usage_hourly', true), ('tollgate.usage_daily', true),
    ('tollgate.usage_counts', true), ('tollgate.usage_levels', true), ('tollgate.usage_counts_hourly', true), ('tollgate.usage_refusals', true), ('tollgate.usage_distinct', false), ('tollgate.usage_changes', true), ('tollgate.usage_event_ids', true),
    ('tollgate.usage_rejected', true), ('tollgate.collector_degraded', true), ('tollgate.usage_limit_overrides', true), ('tollgate.usage_credits', true),
    ('tollgate.usage_credit_windows', true),
    ('tollgate.api_keys', true), ('tollgate.accounts', true), ('tollgate.account_sessions', false), ('tollgate.signin_failures', false),
    ('tollgate.config_changes', false), ('tollgate.limit_leases', false), ('tollgate.limit_lease_nodes', false),
    ('tollgate.node_samples', false), ('tollgate.enforced_gauges', false), ('tollgate.uncounted', false),
    ('tollgate.tenants', false), ('tollgate.subscriptions', false)) AS x (name, tenants)
    WHERE NOT EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = x.name::regclass) LOOP
    PERFORM tollgate.secure(t.name::regclass);
    IF t.tenants THEN
      EXECUTE format('CREATE POLICY own_tenant ON %s TO tollgate_web USING (tenant_id = tollgate.tenant()) '
                     'WITH CHECK (tenant_id = tollgate.tenant())', t.name::regclass);
    END IF;
  END LOOP;
END $$;

-- Every program looks whether the database has the functions that it was built for.
GRANT SELECT ON tollgate.schema_migrations TO tollgate_web, tollgate_collector;

-- Web: reads, under row-level security; whatever it changes, it changes through functions.
GRANT SELECT ON tollgate.tenant_periods, public.usage_summary, tollgate.usage_daily, tollgate.usage_counts, tollgate.usage_levels, tollgate.usage_counts_hourly, tollgate.usage_refusals, tollgate.usage_limit_overrides, tollgate.usage_event_ids, tollgate.usage_metrics,
  tollgate.usage_limit_keys TO tollgate_web;
GRANT SELECT (metric_type) ON tollgate.usage_sources TO tollgate_web;

-- The collector: stores events and what they add up to, and publishes to the limit table. It reads no password and no session.
GRANT SELECT ON tollgate.usage_metrics, tollgate.usage_sources, tollgate.usage_limit_keys, tollgate.tenant_settings, tollgate.tenant_periods, tollgate.usage_limit_overrides, tollgate.enforced_gauges, tollgate.enforce_shares
  TO tollgate_collector;
GRANT SELECT (id) ON tollgate.tenants TO tollgate_collector;
GRANT SELECT (id, limits) ON tollgate.tiers TO tollgate_collector;
GRANT SELECT (tenant_id, current_usage) ON tollgate.subscriptions TO tollgate_collector;
GRANT SELECT (id, tenant_id, hash, scopes, expires_at, last_used_at, revoked_at), UPDATE (last_used_at) ON tollgate.api_keys TO tollgate_collector;
GRANT SELECT, INSERT ON public.usage_tracking, tollgate.spool_damage TO tollgate_collector;
GRANT USAGE ON SEQUENCE public.usage_tracking_id_seq TO tollgate_collector;
GRANT INSERT ON tollgate.usage_rejected, tollgate.node_rollbacks TO tollgate_collector;
GRANT DELETE ON tollgate.collector_progress TO tollgate_collector;
GRANT SELECT, UPDATE ON public.usage_summary TO tollgate_collector;
GRANT UPDATE (changed) ON tollgate.enforce_shares TO tollgate_collector;
GRANT SELECT, INSERT, UPDATE ON tollgate.usage_hourly, tollgate.usage_daily, tollgate.usage_counts, tollgate.usage_levels, tollgate.collector_progress, tollgate.collector_nodes TO tollgate_collector;
GRANT SELECT, INSERT, UPDATE, DELETE ON tollgate.usage_counts_hourly TO tollgate_collector;
GRANT SELECT, INSERT, DELETE ON tollgate.usage_event_ids, tollgate.config_changes TO tollgate_collector;
GRANT SELECT, INSERT, UPDATE, DELETE ON tollgate.usage_changes, tollgate.collector_degraded, tollgate.limit_leases, tollgate.limit_lease_nodes, tollgate.node_samples TO tollgate_collector;
-- Rows are removed in slices that are named by ctid (lib/store/retention.c).
GRANT SELECT (ctid, created_at), DELETE ON tollgate.account_sessions TO tollgate_collector;
GRANT SELECT, INSERT, DELETE ON tollgate.usage_distinct TO tollgate_collector;
GRANT SELECT (ctid, hour), DELETE ON tollgate.usage_refusals TO tollgate_collector;
GRANT SELECT (ctid, failed_at), DELETE ON tollgate.signin_failures TO tollgate_collector;

-- The counter: counts rows and writes the host's subscriptions, where it has those of the specification.
DO $$
BEGIN
  IF (SELECT preset = 'clinic' FROM tollgate.host) THEN
    GRANT SELECT (tenant_id, tier_id, usage_limits, current_usage), INSERT (tenant_id, tier_id), UPDATE (tier_id, usage_limits, current_usage)
      ON public.tenant_subscriptions TO tollgate_counter;
  END IF;
END $$;

-- In a database of Tollgate's own nobody else makes temporary tables. Elsewhere they do no harm: pg_temp stands last in every
-- search_path, and the collector looks whose its staging tables are.
DO $$
BEGIN
  IF (SELECT pg_has_role(d.datdba, 'USAGE') FROM pg_database d WHERE d.datname = current_database()) THEN
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO tollgate_owner, tollgate_collector', current_database());
  END IF;
END $$;
