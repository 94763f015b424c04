-- Statement-level triggers: one row a tenant and statement, in bulk too.
CREATE SCHEMA c1 AUTHORIZATION tollgate_owner;
SET ROLE tollgate_owner;
INSERT INTO tenants (id, name) VALUES ('c1', 'C1'), ('c2', 'C2');
INSERT INTO subscription_tiers (id, name, limits) VALUES ('ct', 'T', '{"max_patients":10}');
CREATE TABLE c1.patients (id int, status text);
CREATE TABLE c1.appointments (id int);
SELECT tollgate.attach('c1'), tollgate.attach('c2');
CREATE FUNCTION pg_temp.noted(OUT answer text) LANGUAGE sql AS $$
  WITH gone AS (DELETE FROM tollgate.usage_changes WHERE tenant_id IN ('c1', 'c2') RETURNING *)
  SELECT coalesce(string_agg(format('%s %s %s %s %s', tenant_id, metric, delta, created, recount), '; ' ORDER BY tenant_id, id), '') FROM gone
$$;
DO $$
BEGIN
  PERFORM pg_temp.noted();
  INSERT INTO c1.patients SELECT i, CASE WHEN i % 4 = 0 THEN 'left' ELSE 'active' END FROM generate_series(1, 100) i;
  ASSERT pg_temp.noted() = 'c1 patients_count 75 0 f', 'an insert in bulk';
  UPDATE c1.patients SET status = 'active' WHERE id <= 40;
  ASSERT pg_temp.noted() = 'c1 patients_count 10 0 f', 'a status turned back to active';
  UPDATE c1.patients SET id = id;
  ASSERT pg_temp.noted() = '', 'an update that changes no count';
  DELETE FROM c1.patients WHERE id <= 10;
  ASSERT pg_temp.noted() = 'c1 patients_count -10 0 f', 'a delete';
  TRUNCATE c1.patients;
  ASSERT pg_temp.noted() = 'c1 patients_count 0 0 t', 'a truncate asks for a recount';
  INSERT INTO c1.appointments SELECT generate_series(1, 5);
  ASSERT pg_temp.noted() = 'c1 appointments_count 5 5 f', 'new appointments are events';
  DELETE FROM c1.appointments WHERE id < 3;
  ASSERT pg_temp.noted() = 'c1 appointments_count -2 0 f', 'deleted ones are none';
  INSERT INTO users (tenant_id, email) VALUES ('c1', 'a'), ('c1', 'b'), ('c2', 'c');
  ASSERT pg_temp.noted() = 'c1 users_count 2 0 f; c2 users_count 1 0 f', 'users by tenant';
  UPDATE users SET tenant_id = 'c2' WHERE email = 'a' AND tenant_id = 'c1';
  ASSERT pg_temp.noted() = 'c1 users_count -1 0 f; c2 users_count 1 0 f', 'a user that moves';
  DELETE FROM tollgate.config_changes;
  PERFORM tollgate.set_subscription('c1', 'ct', '{"max_users":4}');
  ASSERT EXISTS (SELECT FROM tollgate.config_changes WHERE kind = 'tenant' AND subject = 'c1'), 'a plan is published';
  ASSERT (SELECT usage_limits FROM tenant_subscriptions WHERE tenant_id = 'c1') = '{"max_patients":10,"max_users":4}', 'limits';
  DELETE FROM tollgate.config_changes;
  UPDATE tenant_subscriptions SET current_usage = '{"x":1}' WHERE tenant_id = 'c1';
  ASSERT NOT EXISTS (SELECT FROM tollgate.config_changes), 'current_usage is not published';
  UPDATE subscription_tiers SET limits = '{"max_patients":20}' WHERE id = 'ct';
  ASSERT (SELECT usage_limits FROM tenant_subscriptions WHERE tenant_id = 'c1') = '{"max_patients":20,"max_users":4}', 'a changed tier';
  PERFORM tollgate.set_subscription('c1', NULL, '{"max_users":null}');
  ASSERT (SELECT usage_limits FROM tenant_subscriptions WHERE tenant_id = 'c1') = '{"max_patients":20}', 'null removes an override';
END $$;
INSERT INTO tollgate.usage_limit_overrides (tenant_id, limit_key, max, expires_at) VALUES ('c1', 'max_patients', 30, clock_timestamp() + interval '0.3 s');
DO $$ BEGIN ASSERT (SELECT usage_limits FROM tenant_subscriptions WHERE tenant_id = 'c1') = '{"max_patients":30}', 'until it expires'; END $$;
SELECT pg_sleep(0.4);
DO $$
BEGIN
  DELETE FROM tollgate.config_changes;
  ASSERT tollgate.expire_limits() = 1 AND tollgate.expire_limits() = 0, 'once';
  ASSERT (SELECT usage_limits FROM tenant_subscriptions WHERE tenant_id = 'c1') = '{"max_patients":20}', 'the tier''s limit again';
  ASSERT EXISTS (SELECT FROM tollgate.config_changes WHERE kind = 'tenant' AND subject = 'c1'), 'and published';
END $$;
