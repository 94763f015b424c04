-- Tollgate's three roles, run once a cluster by its superuser; again is a no-op. Passwords and pg_hba.conf are the
-- operator's: the roles come without a password (peer over the unix socket, or ALTER ROLE … PASSWORD).
--   tollgate_owner      owns what Tollgate adds; `tollgate migrate` and the command line
--   tollgate_web        the web program: row-level security, sees only the tenant that is set
--   tollgate_collector  the collector: every tenant, by policy
DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['tollgate_owner', 'tollgate_web', 'tollgate_collector'] LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
      EXECUTE format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS', name);
    END IF;
  END LOOP;
END $$;
