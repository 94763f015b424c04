-- Each role has the rights that its program uses and no other; tests/sql/rights.txt lists what comes of it. A function that a later
-- file adds is nobody's to call but the owner's until that file grants it.
ALTER DEFAULT PRIVILEGES IN SCHEMA tollgate REVOKE EXECUTE ON FUNCTIONS FROM tollgate_collector;
DO $$
DECLARE
  f record;
  t record;
BEGIN
  FOR f IN SELECT p.oid::regprocedure AS signature FROM pg_proc p
    WHERE p.pronamespace = 'tollgate'::regnamespace AND pg_has_role(p.proowner, 'USAGE') LOOP
    EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC, tollgate_web, tollgate_collector', f.signature);
  END LOOP;
  FOR t IN SELECT c.oid::regclass AS name FROM pg_class c
    WHERE c.relnamespace IN ('public'::regnamespace, 'tollgate'::regnamespace) AND c.relkind IN ('r', 'p', 'v')
      AND (pg_has_role(c.relowner, 'USAGE') OR c.relname IN ('tenants', 'users', 'subscription_tiers', 'tenant_subscriptions')) LOOP
    EXECUTE format('REVOKE ALL ON %s FROM tollgate_web, tollgate_collector', t.name);
  END LOOP;
END $$;

-- Web: reads, under row-level security; whatever it changes, it changes through functions.
GRANT SELECT ON tenant_periods, usage_summary, usage_daily, usage_counts, usage_limit_overrides, usage_event_ids, usage_metrics,
  usage_limit_keys, collector_progress, tollgate.host_tenant, tollgate.host_subscription TO tollgate_web;
GRANT EXECUTE ON FUNCTION tollgate.tenant(), tollgate.day_start(date, text), tollgate.day_of(timestamptz, text),
  tollgate.ensure_periods(text, timestamptz, timestamptz), tollgate.recount(text), tollgate.request_measure(text),
  tollgate.set_subscription(text, text, jsonb), tollgate.operator_tenants(double precision, text, text, int),
  tollgate.operator_tenant_ids(text, int), tollgate.operator_node_steps(interval, int, int),
  tollgate.operator_node_sample(uuid, interval), tollgate.account_by_email(text), tollgate.account_password(bytea, text),
  tollgate.account_renew_hash(bigint, text, text), tollgate.session_open(bytea, bigint), tollgate.session_find(bytea, int, int),
  tollgate.session_close(bytea), tollgate.signin_try(bytea, bytea), tollgate.signin_ok(bytea, bytea) TO tollgate_web;

-- The collector: stores events and what they add up to, and publishes to the limit table. It reads no password and no session.
GRANT SELECT ON usage_metrics, usage_limit_keys, tenant_settings, tenant_periods, usage_limit_overrides, enforced_gauges, enforce_shares,
  tollgate.table_counts TO tollgate_collector;
GRANT SELECT (id) ON tenants TO tollgate_collector;
GRANT SELECT (id, limits) ON subscription_tiers TO tollgate_collector;
GRANT SELECT (tenant_id, current_usage) ON tenant_subscriptions TO tollgate_collector;
GRANT SELECT (id, tenant_id, hash, scopes, expires_at, last_used_at, revoked_at), UPDATE (last_used_at) ON api_keys TO tollgate_collector;
GRANT SELECT, INSERT ON usage_tracking, spool_damage TO tollgate_collector;
GRANT INSERT ON usage_rejected TO tollgate_collector;
GRANT SELECT, UPDATE ON usage_summary TO tollgate_collector;
GRANT UPDATE (changed) ON enforce_shares TO tollgate_collector;
GRANT SELECT, INSERT, UPDATE ON usage_hourly, usage_daily, usage_counts, collector_progress, collector_nodes TO tollgate_collector;
GRANT SELECT, INSERT, DELETE ON usage_event_ids, config_changes TO tollgate_collector;
GRANT SELECT, INSERT, UPDATE, DELETE ON usage_changes, collector_degraded, limit_leases, limit_lease_nodes, node_samples TO tollgate_collector;
GRANT SELECT (created_at), DELETE ON account_sessions TO tollgate_collector;
GRANT SELECT (failed_at), DELETE ON signin_failures TO tollgate_collector;
GRANT EXECUTE ON FUNCTION tollgate.tenant_id_problem(text), tollgate.us(timestamptz), tollgate.day_start(date, text),
  tollgate.day_of(timestamptz, text), tollgate.hour_start(timestamptz, text), tollgate.ensure_periods(text, timestamptz, timestamptz),
  tollgate.ensure_partitions(timestamptz, timestamptz), tollgate.drop_partitions(int), tollgate.attach_new(int), tollgate.recount(text),
  tollgate.expire_limits(), tollgate.put_usage(text[], jsonb[]), tollgate.put_storage(text, bigint), tollgate.turn_days(text, int),
  tollgate.prune_node_samples(), tollgate.batch_open(), tollgate.ingest(uuid, bytea, bigint[], bigint[], bigint[], int),
  tollgate.ingest_fence(uuid, bytea, bigint[], bigint[], bigint[]), tollgate.ingest_reject(), tollgate.ingest_claim(),
  tollgate.ingest_spans(), tollgate.ingest_cap_endpoints(int), tollgate.ingest_rollups(), tollgate.ingest_counts(),
  tollgate.ingest_degraded(uuid, text[], text[], numeric[]), tollgate.ingest_changes(int), tollgate.take_levels(text),
  tollgate.enforced_levels(text), tollgate.table_tenants(text, text, bigint), tollgate.table_lines(text, text, bigint),
  tollgate.used_since(text, text, timestamptz), tollgate.leases_unsettled(uuid, text),
  tollgate.lease(text, text, timestamptz, uuid, numeric, numeric, bigint, numeric) TO tollgate_collector;

-- In a database of Tollgate's own nobody else makes temporary tables. Elsewhere they do no harm: pg_temp stands last in every
-- search_path, and the collector looks whose its staging tables are.
DO $$
BEGIN
  IF (SELECT pg_has_role(d.datdba, 'USAGE') FROM pg_database d WHERE d.datname = current_database()) THEN
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO tollgate_owner, tollgate_collector', current_database());
  END IF;
END $$;
