-- Brings the tables of a database that ran migrations 001 to 019, or any later one of the old numbering, to those of
-- schema/001_schema.sql. `tollgate migrate` runs it once, in the transaction that applies the functions afterwards.
-- tests/sql/upgrade.test.mjs compares what comes of it with a new database.
DELETE FROM tollgate.schema_migrations;

-- 021: counting runs as tollgate_counter, which needs the rights on tenants' tables that are the owner's to give.
DO $$
DECLARE
  t record;
BEGIN
  FOR t IN SELECT n.nspname, n.nspowner, c.relname, c.relowner FROM public.tenant_settings s
    JOIN pg_catalog.pg_namespace n ON n.nspname = s.schema_name
    JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid AND c.relname IN ('patients', 'appointments') AND c.relkind IN ('r', 'p')
    WHERE n.nspname NOT IN ('public', 'tollgate', 'pg_catalog', 'information_schema') LOOP
    IF pg_catalog.pg_has_role(t.nspowner, 'USAGE') THEN
      EXECUTE pg_catalog.format('GRANT USAGE ON SCHEMA %I TO tollgate_counter', t.nspname);
    END IF;
    IF pg_catalog.pg_has_role(t.relowner, 'USAGE') THEN
      EXECUTE pg_catalog.format('GRANT SELECT (%s) ON %I.%I TO tollgate_counter',
                                CASE t.relname WHEN 'patients' THEN 'status' ELSE 'tableoid' END, t.nspname, t.relname);
    END IF;
  END LOOP;
END $$;

-- 022: a new function is nobody's to call.
ALTER DEFAULT PRIVILEGES IN SCHEMA tollgate REVOKE EXECUTE ON FUNCTIONS FROM tollgate_collector;

-- 023: Prometheus has a key that may do nothing else. Those that had every scope keep every one.
ALTER TABLE api_keys DROP CONSTRAINT IF EXISTS api_keys_scopes_check;
ALTER TABLE api_keys ADD CONSTRAINT api_keys_scopes_check CHECK (scopes <@ ARRAY['call', 'track', 'read', 'admin', 'metrics']
  AND (tenant_id IS NULL OR NOT 'metrics' = ANY (scopes)));
UPDATE api_keys SET scopes = scopes || ARRAY['metrics']
WHERE tenant_id IS NULL AND scopes @> ARRAY['call', 'track', 'read', 'admin'] AND NOT 'metrics' = ANY (scopes);

-- 026: how far rows were dropped. A database that dropped some before has rollups that are older than its partitions.
CREATE TABLE IF NOT EXISTS tollgate.rows_dropped (
  only_one    boolean PRIMARY KEY DEFAULT true CHECK (only_one),
  before      timestamptz NOT NULL
);
INSERT INTO tollgate.rows_dropped (before)
SELECT p.starts FROM (
  SELECT min(to_timestamp(right(c.relname, 7), 'YYYY_MM')::timestamp AT TIME ZONE 'UTC') AS starts
  FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
  WHERE i.inhparent = 'public.usage_tracking'::regclass AND c.relname ~ '^usage_tracking_\d{4}_\d{2}$') p
WHERE EXISTS (SELECT FROM public.usage_hourly h WHERE h.hour < p.starts)
ON CONFLICT DO NOTHING;

-- A sequence in place of the identity column, from the same number on.
DO $$
DECLARE
  next bigint;
BEGIN
  IF (SELECT a.attidentity FROM pg_attribute a WHERE a.attrelid = 'public.usage_tracking'::regclass AND a.attname = 'id') <> '' THEN
    next := nextval('public.usage_tracking_id_seq');
    ALTER TABLE public.usage_tracking ALTER COLUMN id DROP IDENTITY;
    CREATE SEQUENCE public.usage_tracking_id_seq OWNED BY public.usage_tracking.id;
    PERFORM setval('public.usage_tracking_id_seq', next, false);
    ALTER TABLE public.usage_tracking ALTER COLUMN id SET DEFAULT nextval('public.usage_tracking_id_seq');
  END IF;
END $$;
