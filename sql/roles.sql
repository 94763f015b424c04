-- Tollgate's roles, run by the cluster's superuser before the first migration and again when Tollgate is upgraded; what is there
-- already stays. Passwords and pg_hba.conf are the operator's: the roles come without a password (peer over the unix socket, or
-- ALTER ROLE … PASSWORD).
--   tollgate_owner      owns what Tollgate adds; `tollgate migrate` and the command line
--   tollgate_web        the web program: row-level security, sees only the tenant that is set
--   tollgate_collector  the collector: every tenant, by policy
--   tollgate_counter    nobody signs in as it: counting the rows of tenants' tables runs as it
DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['tollgate_owner', 'tollgate_web', 'tollgate_collector'] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
      EXECUTE format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS', name);
    END IF;
  END LOOP;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'tollgate_counter') THEN
    CREATE ROLE tollgate_counter NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS;
  END IF;
  -- tollgate_owner makes the functions that run as tollgate_counter.
  IF NOT pg_has_role('tollgate_owner', 'tollgate_counter', 'MEMBER') THEN
    GRANT tollgate_counter TO tollgate_owner;
  END IF;
END $$;
