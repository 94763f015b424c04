-- Brings the tables of a database that ran migrations 001 to 019, or any later one of the old numbering, to those of
-- schema/001_schema.sql. `tollgate migrate` runs it once, in the transaction that applies the functions afterwards.
-- tests/sql/upgrade.test.mjs compares what comes of it with a new database.
DELETE FROM tollgate.schema_migrations;

-- The triggers that stood on the host's tables, whose owner alone may drop them: who runs this.
SET LOCAL ROLE none;
DO $$
DECLARE
  t record;
BEGIN
  FOR t IN SELECT g.tgname, g.tgrelid::pg_catalog.regclass AS tab FROM pg_catalog.pg_trigger g
    WHERE g.tgrelid IN ('public.tenants'::regclass, 'public.subscription_tiers'::regclass, 'public.tenant_subscriptions'::regclass)
      AND g.tgname LIKE 'tollgate\_%' AND NOT g.tgisinternal LOOP
    EXECUTE pg_catalog.format('DROP TRIGGER %I ON %s', t.tgname, t.tab);
  END LOOP;
END $$;
SET LOCAL ROLE tollgate_owner;

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
ALTER TABLE public.api_keys DROP CONSTRAINT IF EXISTS api_keys_scopes_check;
ALTER TABLE public.api_keys ADD CONSTRAINT api_keys_scopes_check CHECK (scopes <@ ARRAY['call', 'track', 'read', 'admin', 'metrics']
  AND (tenant_id IS NULL OR NOT 'metrics' = ANY (scopes)));
UPDATE public.api_keys SET scopes = scopes || ARRAY['metrics']
WHERE tenant_id IS NULL AND scopes @> ARRAY['call', 'track', 'read', 'admin'] AND NOT 'metrics' = ANY (scopes);

-- How far things were removed; 026 remembered it of rows. A database that dropped some before has rollups that are older than its partitions.
CREATE TABLE IF NOT EXISTS tollgate.removed (
  what     text PRIMARY KEY CHECK (what IN ('rows', 'hourly', 'counts', 'rejected')),
  before   timestamptz NOT NULL,
  after    text,
  removed  bigint NOT NULL DEFAULT 0
);
DO $$
BEGIN
  IF to_regclass('tollgate.rows_dropped') IS NOT NULL THEN
    INSERT INTO tollgate.removed (what, before) SELECT 'rows', d.before FROM tollgate.rows_dropped d;
    DROP TABLE tollgate.rows_dropped;
  END IF;
END $$;
INSERT INTO tollgate.removed (what, before)
SELECT 'rows', p.starts FROM (
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

-- Schemas as PostgreSQL cuts their names, each of one tenant.
UPDATE public.tenant_settings s SET schema_name = CASE f.place WHEN 1 THEN f.cut ELSE '' END
FROM (SELECT x.tenant_id, x.schema_name::name::text AS cut, row_number() OVER (PARTITION BY x.schema_name::name ORDER BY x.tenant_id) AS place
      FROM public.tenant_settings x WHERE x.schema_name NOT IN ('', 'public')) f
WHERE s.tenant_id = f.tenant_id AND (f.place > 1 OR s.schema_name <> f.cut);
CREATE UNIQUE INDEX IF NOT EXISTS idx_tenant_settings_schema ON public.tenant_settings (schema_name) WHERE schema_name NOT IN ('', 'public');

-- An override may be any number that JSON carries. What the host's subscriptions say otherwise than their tier and overrides was the
-- host's to say.
ALTER TABLE public.usage_limit_overrides ALTER COLUMN max TYPE numeric;
INSERT INTO public.usage_limit_overrides AS o (tenant_id, limit_key, max)
SELECT s.tenant_id, k.limit_key, CASE WHEN n.own < 0 THEN -1 ELSE trim_scale(round(n.own, 6)) END
FROM public.tenant_subscriptions s
JOIN public.usage_limit_keys k ON jsonb_typeof(s.usage_limits -> k.limit_key) = 'number'
LEFT JOIN public.subscription_tiers r ON r.id = s.tier_id
LEFT JOIN public.usage_limit_overrides v ON v.tenant_id = s.tenant_id AND v.limit_key = k.limit_key
CROSS JOIN LATERAL (SELECT (s.usage_limits ->> k.limit_key)::numeric AS own) n
WHERE s.usage_limits -> k.limit_key IS DISTINCT FROM r.limits -> k.limit_key AND n.own IS DISTINCT FROM v.max
ON CONFLICT (tenant_id, limit_key) DO UPDATE SET max = excluded.max, expires_at = NULL, updated_at = now();

CREATE TABLE IF NOT EXISTS tollgate.uncounted (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant_id  text NOT NULL,
  table_name text NOT NULL,
  problem    text NOT NULL,
  made_at    timestamptz NOT NULL DEFAULT now()
);

-- All but usage_tracking and usage_summary goes from public to tollgate: with its indexes, sequences, policies, triggers and rights.
-- What stands above this runs with the triggers' old functions, which know these tables in public.
DO $$
DECLARE
  name text;
BEGIN
  FOREACH name IN ARRAY ARRAY['usage_metrics', 'usage_limit_keys', 'tenant_settings', 'tenant_periods', 'usage_hourly', 'usage_daily',
    'usage_counts', 'usage_changes', 'usage_event_ids', 'usage_rejected', 'collector_progress', 'collector_degraded', 'collector_nodes',
    'spool_damage', 'usage_limit_overrides', 'api_keys', 'accounts', 'account_sessions', 'signin_failures', 'config_changes',
    'enforced_gauges', 'enforce_shares', 'limit_leases', 'limit_lease_nodes', 'node_samples'] LOOP
    EXECUTE format('ALTER TABLE public.%I SET SCHEMA tollgate', name);
  END LOOP;
END $$;

-- Tenants, tiers and subscriptions of Tollgate's own, with the host's rows. All tables but the two that stayed in public refer to them.
CREATE TABLE tollgate.tenants (
  id         text PRIMARY KEY,
  name       text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE tollgate.tiers (
  id     text PRIMARY KEY,
  name   text NOT NULL,
  limits jsonb NOT NULL DEFAULT '{}'
);
CREATE TABLE tollgate.subscriptions (
  tenant_id     text PRIMARY KEY REFERENCES tollgate.tenants (id) ON DELETE CASCADE,
  tier_id       text,
  usage_limits  jsonb NOT NULL DEFAULT '{}',
  current_usage jsonb NOT NULL DEFAULT '{}',
  created_at    timestamptz NOT NULL DEFAULT now(),
  updated_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX idx_subscriptions_tier ON tollgate.subscriptions (tier_id);
INSERT INTO tollgate.tenants (id, name) SELECT t.id::text, coalesce(t.name::text, t.id::text) FROM public.tenants t;
INSERT INTO tollgate.tiers (id, name, limits) SELECT r.id::text, coalesce(r.name::text, r.id::text), coalesce(r.limits, '{}')
FROM public.subscription_tiers r;
INSERT INTO tollgate.subscriptions (tenant_id, tier_id, usage_limits, current_usage)
SELECT s.tenant_id::text, s.tier_id::text, coalesce(s.usage_limits, '{}'), coalesce(s.current_usage, '{}')
FROM public.tenant_subscriptions s JOIN tollgate.tenants t ON t.id = s.tenant_id::text;
DO $$
DECLARE
  c record;
BEGIN
  FOR c IN SELECT k.conname, k.conrelid::regclass AS tab FROM pg_constraint k JOIN pg_class t ON t.oid = k.conrelid
    WHERE k.confrelid = 'public.tenants'::regclass AND t.relnamespace = 'tollgate'::regnamespace LOOP
    EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I, ADD CONSTRAINT %2$I FOREIGN KEY (tenant_id) REFERENCES tollgate.tenants (id) ON DELETE CASCADE',
                   c.tab, c.conname);
  END LOOP;
END $$;

-- These were tollgate_counter's, and the views had the host's types.
DROP VIEW IF EXISTS tollgate.host_tenant, tollgate.host_subscription;
DROP FUNCTION IF EXISTS tollgate.put_usage(text[], jsonb[]), tollgate.put_limits(text, jsonb), tollgate.put_tier(text, text);

-- Has the database gone back in time, and which segments are settled.
ALTER TABLE tollgate.collector_nodes ADD COLUMN IF NOT EXISTS commits bigint NOT NULL DEFAULT 0,
  ADD COLUMN IF NOT EXISTS settled_below bigint NOT NULL DEFAULT 0;
CREATE TABLE IF NOT EXISTS tollgate.node_rollbacks (
  node           uuid NOT NULL,
  found_at       timestamptz NOT NULL DEFAULT now(),
  cause          text NOT NULL,
  commits_known  bigint NOT NULL,  -- of the node, as it remembered them
  commits_held   bigint NOT NULL,  -- as the database had them
  known_at       timestamptz,      -- when the last of the known ones was acknowledged
  segments_again bigint NOT NULL,  -- read again from where the database stood
  bytes_again    bigint NOT NULL,
  segments_gone  bigint NOT NULL,  -- removed before: what they held beyond the database's position can't come back
  bytes_gone     bigint NOT NULL,
  seen_at        timestamptz,      -- tollgate doctor --seen
  PRIMARY KEY (node, found_at)
);

-- Metrics have an aggregation, and limits may be of an hour and a week. What was added before 'aggregation' was there is as its kind.
ALTER TABLE tollgate.usage_metrics ADD COLUMN IF NOT EXISTS aggregation text, ADD COLUMN IF NOT EXISTS field text,
  ADD COLUMN IF NOT EXISTS plural text, ADD COLUMN IF NOT EXISTS decimals smallint;
-- No UPDATE: it would run the trigger's old function.
ALTER TABLE tollgate.usage_metrics ALTER COLUMN aggregation TYPE text USING coalesce(aggregation, CASE kind WHEN 'gauge' THEN 'level' ELSE 'sum' END),
  ALTER COLUMN plural TYPE text USING coalesce(plural, unit),
  ALTER COLUMN decimals TYPE smallint USING coalesce(decimals, CASE metric_type WHEN 'storage_used_gb' THEN 2 ELSE 0 END);
ALTER TABLE tollgate.usage_metrics ALTER COLUMN aggregation SET NOT NULL, ALTER COLUMN plural SET NOT NULL, ALTER COLUMN decimals SET NOT NULL,
  DROP CONSTRAINT IF EXISTS usage_metrics_kind_check, DROP CONSTRAINT IF EXISTS usage_metrics_limit_window_check,
  DROP CONSTRAINT IF EXISTS usage_metrics_check, DROP CONSTRAINT IF EXISTS usage_metrics_aggregation_check,
  DROP CONSTRAINT IF EXISTS usage_metrics_decimals_check, DROP CONSTRAINT IF EXISTS usage_metrics_kind,
  DROP CONSTRAINT IF EXISTS usage_metrics_window, DROP CONSTRAINT IF EXISTS usage_metrics_field;
ALTER TABLE tollgate.usage_metrics
  ADD CONSTRAINT usage_metrics_kind_check CHECK (kind IN ('counter', 'gauge', 'observed')),
  ADD CONSTRAINT usage_metrics_limit_window_check CHECK (limit_window IN ('none', 'minute', 'hour', 'day', 'week', 'period')),
  ADD CONSTRAINT usage_metrics_aggregation_check CHECK (aggregation IN ('count', 'sum', 'level', 'max', 'unique')),
  ADD CONSTRAINT usage_metrics_decimals_check CHECK (decimals BETWEEN 0 AND 6),
  ADD CONSTRAINT usage_metrics_kind CHECK (kind = CASE aggregation WHEN 'level' THEN 'gauge' WHEN 'max' THEN 'observed'
    WHEN 'unique' THEN 'observed' ELSE 'counter' END),
  ADD CONSTRAINT usage_metrics_window CHECK ((kind <> 'gauge' OR limit_window = 'none') AND (kind <> 'observed' OR limit_window <> 'minute')),
  ADD CONSTRAINT usage_metrics_field CHECK (CASE aggregation WHEN 'unique' THEN field IS NOT NULL WHEN 'max' THEN true ELSE field IS NULL END);
ALTER TABLE tollgate.usage_limit_keys DROP CONSTRAINT IF EXISTS usage_limit_keys_limit_window_check;
ALTER TABLE tollgate.usage_limit_keys
  ADD CONSTRAINT usage_limit_keys_limit_window_check CHECK (limit_window IN ('none', 'minute', 'hour', 'day', 'week', 'period'));
ALTER TABLE tollgate.usage_counts DROP CONSTRAINT IF EXISTS usage_counts_limit_window_check;
ALTER TABLE tollgate.usage_counts ADD CONSTRAINT usage_counts_limit_window_check CHECK (limit_window IN ('day', 'week', 'period'));
CREATE TABLE IF NOT EXISTS tollgate.usage_counts_hourly (
  tenant_id    varchar(255) NOT NULL REFERENCES tollgate.tenants (id) ON DELETE CASCADE,
  metric_type  varchar(100) NOT NULL,
  hour         timestamptz NOT NULL,     -- by tollgate.hour_start
  used         numeric(26,6) NOT NULL DEFAULT 0,
  xid          xid8 NOT NULL DEFAULT pg_current_xact_id(),
  PRIMARY KEY (tenant_id, metric_type, hour)
);
CREATE INDEX IF NOT EXISTS idx_usage_counts_hourly_xid ON tollgate.usage_counts_hourly (xid);

-- Refusals are counted by tenant, limit and hour.
CREATE TABLE IF NOT EXISTS tollgate.usage_refusals (
  tenant_id   varchar(255) NOT NULL REFERENCES tollgate.tenants (id) ON DELETE CASCADE,
  hour        timestamptz NOT NULL,   -- by tollgate.hour_start
  limit_key   varchar(100) NOT NULL,  -- no foreign key: what a limit that is gone refused stays to be read
  limit_table bigint NOT NULL,        -- the number of the limit table that counted
  refused     bigint NOT NULL,
  PRIMARY KEY (tenant_id, hour, limit_key, limit_table)
);
CREATE INDEX IF NOT EXISTS idx_usage_refusals_hour ON tollgate.usage_refusals (hour);

-- What metrics of aggregation unique have seen.
CREATE TABLE IF NOT EXISTS tollgate.usage_distinct (
  tenant_id    varchar(255) NOT NULL REFERENCES tollgate.tenants (id) ON DELETE CASCADE,
  metric_type  varchar(100) NOT NULL,
  limit_window text NOT NULL CHECK (limit_window IN ('hour', 'day', 'week', 'period')),
  window_start timestamptz NOT NULL,  -- the hour, or midnight UTC of the date that names the window
  hash         bigint NOT NULL,
  PRIMARY KEY (tenant_id, metric_type, limit_window, window_start, hash)
);
CREATE INDEX IF NOT EXISTS idx_usage_distinct_start ON tollgate.usage_distinct (limit_window, window_start);

-- What is now of each gauge.
CREATE TABLE IF NOT EXISTS tollgate.usage_levels (
  tenant_id   varchar(255) NOT NULL REFERENCES tollgate.tenants (id) ON DELETE CASCADE,
  metric_type varchar(100) NOT NULL REFERENCES tollgate.usage_metrics (metric_type) ON DELETE CASCADE,
  level       numeric(26,6) NOT NULL DEFAULT 0,
  recorded_at timestamptz NOT NULL,
  set_at      timestamptz,
  updated_at  timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, metric_type)
);

-- Where gauges come from. What counted patients, users and appointments goes with its triggers; sql/presets/clinic.sql and triggers.sql put
-- the new ones in their place, in the same transaction.
CREATE TABLE IF NOT EXISTS tollgate.usage_sources (
  id            integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  metric_type   varchar(100) NOT NULL UNIQUE REFERENCES tollgate.usage_metrics (metric_type) ON DELETE CASCADE,
  schema_name   text NOT NULL,
  table_name    text NOT NULL,
  tenant_column text,
  columns       jsonb NOT NULL DEFAULT '{}',
  condition     text NOT NULL DEFAULT '',
  value_column  text,
  records       varchar(100) REFERENCES tollgate.usage_metrics (metric_type) ON DELETE SET NULL,
  CHECK ((schema_name = '{schema}') = (tenant_column IS NULL))
);
DO $$
DECLARE
  f record;
  t record;
BEGIN
  FOR t IN SELECT g.tgname, g.tgrelid::regclass AS tab FROM pg_trigger g WHERE NOT g.tgisinternal
    AND g.tgrelid IN ('tollgate.usage_metrics'::regclass, 'tollgate.usage_limit_keys'::regclass) LOOP -- their function knows tables in public
    EXECUTE format('DROP TRIGGER %I ON %s', t.tgname, t.tab);
  END LOOP;
  FOR f IN SELECT p.oid::regprocedure AS name FROM pg_proc p WHERE p.pronamespace = 'tollgate'::regnamespace
    AND p.proname ~ '^(patients|users|appointments)_(changed|added)$' LOOP
    EXECUTE format('DROP FUNCTION %s CASCADE', f.name);
  END LOOP;
END $$;
INSERT INTO tollgate.usage_metrics (metric_type, kind, aggregation, unit, plural, decimals, label, limit_window, derived)
VALUES ('appointments_count', 'gauge', 'level', 'appointments', 'appointments', 0, 'Appointments kept', 'none', true) ON CONFLICT DO NOTHING;
INSERT INTO tollgate.usage_levels (tenant_id, metric_type, level, recorded_at, set_at)
SELECT s.tenant_id, v.metric, v.level, s.updated_at, s.updated_at
FROM (SELECT DISTINCT ON (u.tenant_id) u.* FROM public.usage_summary u ORDER BY u.tenant_id, u.period_start DESC) s
CROSS JOIN LATERAL (VALUES ('patients_count', s.patients_count::numeric), ('users_count', s.users_count), ('appointments_count', s.appointments_count),
                           ('storage_used_gb', s.storage_used_gb)) AS v (metric, level)
JOIN tollgate.usage_metrics m ON m.metric_type = v.metric
ON CONFLICT DO NOTHING;

-- A limit's mode is the tenant's or the tier's; who set a number, and why.
ALTER TABLE tollgate.usage_limit_overrides ALTER COLUMN mode DROP NOT NULL, ALTER COLUMN mode DROP DEFAULT,
  ADD COLUMN IF NOT EXISTS reason text, ADD COLUMN IF NOT EXISTS from_host boolean NOT NULL DEFAULT false;
ALTER TABLE tollgate.usage_limit_overrides -- no UPDATE: it would run the triggers' old functions
  ALTER COLUMN mode TYPE text USING CASE WHEN mode <> 'hard' OR grace_percent > 0 OR max IS NULL THEN mode END;
CREATE TABLE IF NOT EXISTS tollgate.tier_limit_modes (
  tier_id       text NOT NULL REFERENCES tollgate.tiers (id) ON DELETE CASCADE,
  limit_key     varchar(100) NOT NULL REFERENCES tollgate.usage_limit_keys (limit_key) ON DELETE CASCADE,
  mode          text NOT NULL DEFAULT 'hard' CHECK (mode IN ('hard', 'soft', 'grace')),
  grace_percent integer NOT NULL DEFAULT 0 CHECK (grace_percent BETWEEN 0 AND 1000),
  grace_until   timestamptz,
  reason        text,
  updated_at    timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tier_id, limit_key)
);

-- What a tenant was granted beyond its plan (sql/functions/credits.sql).
CREATE TABLE IF NOT EXISTS tollgate.usage_credits (
  tenant_id   varchar(255) NOT NULL REFERENCES tollgate.tenants (id) ON DELETE CASCADE,
  id          bigint GENERATED ALWAYS AS IDENTITY,
  limit_key   varchar(100) NOT NULL REFERENCES tollgate.usage_limit_keys (limit_key) ON DELETE CASCADE,
  amount      numeric(26,6) NOT NULL CHECK (amount > 0),
  granted_at  timestamptz NOT NULL DEFAULT now(),
  expires_at  timestamptz NOT NULL,      -- the end of a day in the tenant's zone
  reason      text,
  used_at_end numeric(26,6),             -- what its window had used when it ended within one
  look_at     timestamptz NOT NULL DEFAULT now(), -- when the collector is to look next
  PRIMARY KEY (tenant_id, id)
);
CREATE INDEX IF NOT EXISTS idx_usage_credits_look ON tollgate.usage_credits (look_at);
CREATE TABLE IF NOT EXISTS tollgate.usage_credit_windows (
  tenant_id varchar(255) NOT NULL REFERENCES tollgate.tenants (id) ON DELETE CASCADE,
  limit_key varchar(100) NOT NULL REFERENCES tollgate.usage_limit_keys (limit_key) ON DELETE CASCADE,
  starts_at timestamptz NOT NULL,
  ends_at   timestamptz NOT NULL,
  plan      numeric NOT NULL,            -- that the window had; -1 unlimited
  used      numeric(26,6) NOT NULL,
  PRIMARY KEY (tenant_id, limit_key, starts_at)
);

-- Of which limit table a count of calls without a record is.
ALTER TABLE tollgate.collector_degraded ADD COLUMN IF NOT EXISTS limit_table bigint NOT NULL DEFAULT 0;

-- Limits of a minute that bind one key of a tenant's, beside the tenant's own (sql/functions/key_limits.sql).
CREATE TABLE IF NOT EXISTS tollgate.key_limits (
  key_id        text NOT NULL REFERENCES tollgate.api_keys (id) ON DELETE CASCADE,
  limit_key     varchar(100) NOT NULL REFERENCES tollgate.usage_limit_keys (limit_key) ON DELETE CASCADE,
  max           numeric NOT NULL CHECK (max >= 0),
  mode          text NOT NULL DEFAULT 'hard' CHECK (mode IN ('hard', 'soft', 'grace')),
  grace_percent integer NOT NULL DEFAULT 0 CHECK (grace_percent BETWEEN 0 AND 1000),
  grace_until   timestamptz,
  expires_at    timestamptz,
  reason        text,
  updated_at    timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (key_id, limit_key)
);
