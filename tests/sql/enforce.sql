-- What the refusing triggers let in: bulk, a status turned back, deletion, rollback, users, plans, modes and their times.
CREATE SCHEMA e1 AUTHORIZATION tollgate_owner;
SET ROLE tollgate_owner;
INSERT INTO tenants (id, name) VALUES ('e1', 'E1'), ('e2', 'E2');
INSERT INTO subscription_tiers (id, name, limits) VALUES ('et', 'T', '{"max_patients":10,"max_users":2}');
CREATE TABLE e1.patients (id int, status text DEFAULT 'active');
SELECT tollgate.attach('e1'), tollgate.set_subscription('e1', 'et', NULL), tollgate.set_subscription('e2', 'et', NULL);
SELECT tollgate.enforce('e1', true);
CREATE FUNCTION pg_temp.refused(statement text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
  why text;
  detail text;
BEGIN
  EXECUTE statement;
  RETURN 'let in';
EXCEPTION WHEN SQLSTATE 'TG429' THEN
  GET STACKED DIAGNOSTICS why = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL;
  RETURN why || '. ' || detail;
END $$;
CREATE FUNCTION pg_temp.add(n int) RETURNS text LANGUAGE sql AS $$
  SELECT pg_temp.refused(format('INSERT INTO e1.patients SELECT i FROM generate_series(1, %s) i', n)) $$;
CREATE FUNCTION pg_temp.remains() RETURNS bigint LANGUAGE sql AS
  $$ SELECT sum(free) FROM tollgate.enforce_shares s JOIN tollgate.enforced_gauges g ON g.id = s.gauge
     WHERE g.tenant_id = 'e1' AND g.metric = 'patients_count' $$;
DO $$
DECLARE
  answer text;
BEGIN
  answer := pg_temp.add(11);
  ASSERT answer = 'the plan allows 10 patients. Tenant e1 has 0 of 10 patients, 11 more would be 11.', answer;
  ASSERT pg_temp.add(10) = 'let in' AND pg_temp.remains() = 0, 'the whole plan in one statement';
  ASSERT pg_temp.add(1) <> 'let in', 'one more';
  UPDATE e1.patients SET status = 'left' WHERE id <= 4;
  ASSERT pg_temp.add(4) = 'let in', 'those who left make room';
  ASSERT pg_temp.refused('UPDATE e1.patients SET status = ''active'' WHERE status = ''left''') <> 'let in', 'a status turned back';
  INSERT INTO e1.patients VALUES (99, 'left');
  DELETE FROM e1.patients WHERE status = 'active' AND id <= 2;
  ASSERT pg_temp.remains() = 2, 'deletion frees';
  BEGIN
    INSERT INTO e1.patients VALUES (100);
    RAISE EXCEPTION 'back' USING ERRCODE = 'TG000';
  EXCEPTION WHEN SQLSTATE 'TG000' THEN
    ASSERT pg_temp.remains() = 2, 'a rollback gives back';
  END;

  PERFORM tollgate.set_subscription('e1', NULL, '{"max_patients":5}');
  ASSERT pg_temp.remains() = -3 AND pg_temp.add(1) <> 'let in', 'a plan below what is used';
  DELETE FROM e1.patients WHERE id = 5;
  ASSERT pg_temp.remains() = -2 AND pg_temp.add(1) <> 'let in', 'what is freed above the plan stays closed';
  DELETE FROM e1.patients WHERE status = 'active';
  ASSERT pg_temp.remains() = 5 AND pg_temp.add(6) <> 'let in' AND pg_temp.add(5) = 'let in', 'below the plan again';
  TRUNCATE e1.patients;
  ASSERT pg_temp.remains() = 5, 'a truncate frees all';

  UPDATE tollgate.usage_limit_overrides SET mode = 'soft' WHERE tenant_id = 'e1';
  ASSERT pg_temp.add(50) = 'let in', 'soft lets in';
  UPDATE tollgate.usage_limit_overrides SET mode = 'hard' WHERE tenant_id = 'e1';
  ASSERT pg_temp.add(1) <> 'let in' AND pg_temp.remains() = -45, 'hard again';
  TRUNCATE e1.patients;
  UPDATE tollgate.usage_limit_overrides SET mode = 'grace', grace_percent = 50 WHERE tenant_id = 'e1';
  ASSERT pg_temp.add(8) <> 'let in' AND pg_temp.add(7) = 'let in', 'a grace of 50 percent of 5 is 2';
  UPDATE tollgate.usage_limit_overrides SET grace_until = now() + interval '1 hour' WHERE tenant_id = 'e1';
  ASSERT pg_temp.add(20) = 'let in', 'a grace until a date';
  TRUNCATE e1.patients;

  ASSERT pg_temp.refused('INSERT INTO users (tenant_id, email) SELECT ''e1'', i FROM generate_series(1, 3) i') LIKE 'the plan allows 2 users%', 'users';
  INSERT INTO users (tenant_id, email) SELECT t, i FROM (VALUES ('e1'), ('e2')) v (t), generate_series(1, 2) i;
  ASSERT pg_temp.refused('INSERT INTO users (tenant_id, email) VALUES (''e2'', ''c'')') = 'let in', 'e2 is not enforced';
  ASSERT pg_temp.refused('UPDATE users SET tenant_id = ''e1'' WHERE tenant_id = ''e2''') <> 'let in', 'users that move in';

  PERFORM tollgate.enforce('e2', true);
  ASSERT pg_temp.refused('INSERT INTO users (tenant_id, email) VALUES (''e2'', ''d'')') <> 'let in', 'e2 is enforced and over its plan';
  PERFORM tollgate.enforce('e1', false);
  ASSERT pg_temp.add(100) = 'let in', 'off';
  ASSERT pg_temp.refused('INSERT INTO users (tenant_id, email) VALUES (''e2'', ''d'')') <> 'let in', 'another tenant stays on';
  PERFORM tollgate.enforce('e2', false);
  ASSERT pg_temp.refused('INSERT INTO users (tenant_id, email) VALUES (''e2'', ''d'')') = 'let in', 'all off';
  ASSERT (SELECT sum(delta) FROM tollgate.usage_changes WHERE tenant_id = 'e2' AND metric = 'users_count') = 4, 'counted by notes before and after';
  ASSERT (SELECT bool_or(recount) FROM tollgate.usage_changes WHERE tenant_id = 'e2'), 'and anew for what the shares had';
END $$;
-- Whoever inserts chooses the search_path, but not what the trigger calls as its owner.
RESET ROLE;
CREATE SCHEMA hostile;
CREATE FUNCTION hostile.taken(bigint, bigint) RETURNS bigint LANGUAGE plpgsql AS
  $$ BEGIN RAISE EXCEPTION 'called as %', current_user; END $$;
CREATE FUNCTION hostile.taken(bigint, integer) RETURNS bigint LANGUAGE plpgsql AS
  $$ BEGIN RAISE EXCEPTION 'called as %', current_user; END $$;
CREATE FUNCTION hostile.alike(text, text) RETURNS boolean LANGUAGE plpgsql AS
  $$ BEGIN RAISE EXCEPTION 'called as %', current_user; END $$;
CREATE FUNCTION hostile.more(bigint, bigint) RETURNS boolean LANGUAGE plpgsql AS
  $$ BEGIN RAISE EXCEPTION 'called as %', current_user; END $$;
CREATE FUNCTION hostile.count(OUT answer bigint) LANGUAGE plpgsql AS
  $$ BEGIN RAISE EXCEPTION 'called as %', current_user; END $$;
CREATE OPERATOR hostile.- (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = hostile.taken);
CREATE OPERATOR hostile.- (LEFTARG = bigint, RIGHTARG = integer, FUNCTION = hostile.taken);
CREATE OPERATOR hostile.= (LEFTARG = text, RIGHTARG = text, FUNCTION = hostile.alike);
CREATE OPERATOR hostile.>= (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = hostile.more);
CREATE OPERATOR hostile.<> (LEFTARG = bigint, RIGHTARG = bigint, FUNCTION = hostile.more);
GRANT USAGE ON SCHEMA hostile TO PUBLIC;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA hostile TO PUBLIC;
TRUNCATE e1.patients;
UPDATE tollgate.usage_limit_overrides SET mode = 'hard', max = 1000 WHERE tenant_id = 'e1'; -- so that each slot has a share
SELECT tollgate.enforce('e1', true);
SET search_path = hostile, pg_catalog, public;
INSERT INTO e1.patients SELECT generate_series(1, 3);
INSERT INTO e1.patients VALUES (4);
DO $$ BEGIN INSERT INTO e1.patients SELECT generate_series(1, 998); ASSERT false; EXCEPTION WHEN SQLSTATE 'TG429' THEN NULL; END $$;
DELETE FROM e1.patients;
RESET search_path;
DROP SCHEMA hostile CASCADE;
SET ROLE tollgate_owner;
-- An override and a grace end by themselves, in statements of their own.
TRUNCATE e1.patients;
SELECT tollgate.enforce('e1', true);
UPDATE tollgate.usage_limit_overrides SET mode = 'hard', max = 20, expires_at = clock_timestamp() + interval '0.5 s' WHERE tenant_id = 'e1';
INSERT INTO e1.patients SELECT i FROM generate_series(1, 9) i;
SELECT pg_sleep(0.6);
DO $$
BEGIN
  ASSERT pg_temp.add(2) LIKE 'the plan allows 10 patients. Tenant e1 has 9%', 'the tier''s limit when the override is over';
  ASSERT pg_temp.add(1) = 'let in', 'the tenth';
  DELETE FROM tenants WHERE id IN ('e1', 'e2');
  ASSERT NOT EXISTS (SELECT FROM tollgate.enforced_gauges WHERE tenant_id IN ('e1', 'e2')), 'gauges go with the tenant';
  ASSERT NOT EXISTS (SELECT FROM tollgate.enforce_shares), 'and shares with the gauge';
END $$;
-- A statement over many enforced tenants takes no more locks than PostgreSQL has room for.
INSERT INTO tenants (id, name) SELECT 'many' || i, 'M' FROM generate_series(1, 2000) i;
SELECT tollgate.fill_shares(tollgate.enforced_gauge('many' || i, 'users_count')) FROM generate_series(1, 2000) i;
ANALYZE tollgate.enforced_gauges, tollgate.enforce_shares; -- for the sum below
BEGIN;
INSERT INTO users (tenant_id, email) SELECT 'many' || i, n FROM generate_series(1, 2000) i, generate_series(1, 2) n;
DO $$
BEGIN
  ASSERT (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()) BETWEEN 1 AND 1024, 'locks';
  ASSERT (SELECT sum(1000000000000000 - s.free) FROM (SELECT sum(free) AS free FROM tollgate.enforce_shares s JOIN tollgate.enforced_gauges g ON g.id = s.gauge
          WHERE g.tenant_id LIKE 'many%' GROUP BY s.gauge) s) = 4000, 'and all are counted';
END $$;
ROLLBACK;
DELETE FROM tenants WHERE id LIKE 'many%';
