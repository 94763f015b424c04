-- Tollgate's own tables. Names and columns of the specification stay; docs/architecture.md says what departs and why.
-- Every table with a tenant has tenant_id first in its primary key. Functions, views, triggers, policies and rights are in sql/functions,
-- which `tollgate migrate` applies anew whenever they change; a change of a table is a new numbered file beside this one.
--
-- The large tables (usage_tracking, usage_hourly, usage_daily, usage_event_ids) have no identity column and no trigger: they can be
-- distributed by tenant_id one day.

-- Tenants, tiers and subscriptions as everything of Tollgate's reads them. Where the host has such tables, triggers there copy its rows
-- (sql/functions/host_tables.sql).
CREATE TABLE tollgate.tenants (
  id         text PRIMARY KEY,
  name       text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE tollgate.tiers (
  id     text PRIMARY KEY,
  name   text NOT NULL,
  limits jsonb NOT NULL DEFAULT '{}' -- {"storage_gb":50,…}; -1 is unlimited
);
CREATE TABLE tollgate.subscriptions (
  tenant_id     text PRIMARY KEY REFERENCES tollgate.tenants (id) ON DELETE CASCADE,
  tier_id       text,                         -- no foreign key: a host may name a tier before it makes it
  usage_limits  jsonb NOT NULL DEFAULT '{}',  -- the effective plain numbers
  current_usage jsonb NOT NULL DEFAULT '{}',
  created_at    timestamptz NOT NULL DEFAULT now(),
  updated_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX idx_subscriptions_tier ON tollgate.subscriptions (tier_id);

-- The catalogue: a new metric is a row, not code.
CREATE TABLE tollgate.usage_metrics (
  metric_type    varchar(100) PRIMARY KEY,
  kind           text NOT NULL CHECK (kind IN ('counter', 'gauge', 'observed')), -- follows from aggregation, or it from kind (metric_shape)
  unit           text NOT NULL,
  label          text NOT NULL,
  limit_key      varchar(100),           -- its main limit, the one with a bar
  limit_window   text NOT NULL DEFAULT 'period' CHECK (limit_window IN ('none', 'minute', 'hour', 'day', 'week', 'period')),
  derived        boolean NOT NULL DEFAULT false, -- counted or measured by Tollgate: values posted by clients are refused
  created_at     timestamptz NOT NULL DEFAULT now(),
  aggregation    text NOT NULL CHECK (aggregation IN ('count', 'sum', 'level', 'max', 'unique')),
  field          text,                   -- of max and unique: the member of an event's metadata; of max null: its value
  plural         text NOT NULL,          -- of the unit: "1 build", "2 builds"
  decimals       smallint NOT NULL CHECK (decimals BETWEEN 0 AND 6), -- shown behind the point
  CONSTRAINT usage_metrics_kind CHECK (kind = CASE aggregation WHEN 'level' THEN 'gauge' WHEN 'max' THEN 'observed' WHEN 'unique' THEN 'observed'
    ELSE 'counter' END),
  CONSTRAINT usage_metrics_window CHECK ((kind <> 'gauge' OR limit_window = 'none') AND (kind <> 'observed' OR limit_window <> 'minute')),
  CONSTRAINT usage_metrics_field CHECK (CASE aggregation WHEN 'unique' THEN field IS NOT NULL WHEN 'max' THEN true ELSE field IS NULL END)
);

-- Where a gauge comes from: rows of a table in each tenant's schema, or of one that all tenants share. sql/functions/sources.sql makes the
-- functions of the triggers from these rows.
CREATE TABLE tollgate.usage_sources (
  id            integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- in the names of its functions and triggers
  metric_type   varchar(100) NOT NULL UNIQUE REFERENCES tollgate.usage_metrics (metric_type) ON DELETE CASCADE,
  schema_name   text NOT NULL,               -- '{schema}': the tenant's own
  table_name    text NOT NULL,
  tenant_column text,                        -- of a shared table
  columns       jsonb NOT NULL DEFAULT '{}', -- what the condition and the sum read: name and type, one that is built into PostgreSQL
  condition     text NOT NULL DEFAULT '',    -- which rows count; '' is all
  value_column  text,                        -- is summed; null: rows are counted
  records       varchar(100) REFERENCES tollgate.usage_metrics (metric_type) ON DELETE SET NULL, -- a counter: each new row is an event of it
  CHECK ((schema_name = '{schema}') = (tenant_column IS NULL))
);

-- Every limit that a plan may set, the main ones included. The limit table has room for 128 (LIMIT_TABLE_LIMITS).
CREATE TABLE tollgate.usage_limit_keys (
  limit_key    varchar(100) PRIMARY KEY,
  metric_type  varchar(100) NOT NULL REFERENCES tollgate.usage_metrics (metric_type) ON DELETE CASCADE,
  limit_window text NOT NULL CHECK (limit_window IN ('none', 'minute', 'hour', 'day', 'week', 'period')),
  label        text NOT NULL
);

CREATE TABLE tollgate.tenant_settings (
  tenant_id    varchar(255) PRIMARY KEY REFERENCES tollgate.tenants (id) ON DELETE CASCADE,
  time_zone    text NOT NULL DEFAULT 'UTC',        -- IANA name; a change acts from the next period
  anchor_day   smallint NOT NULL DEFAULT 1 CHECK (anchor_day BETWEEN 1 AND 31),
  state        text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'suspended')),
  schema_name  text NOT NULL,                      -- where its own tables are: its id, cut as PostgreSQL cuts names, unless
                                                   -- told; '' where another tenant has that name
  storage_path text,                               -- below storage.dir; its id unless told
  enforced     boolean NOT NULL DEFAULT false,     -- tollgate enforce: triggers refuse rows beyond the plan
  updated_at   timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX idx_tenant_settings_schema ON tollgate.tenant_settings (schema_name) WHERE schema_name NOT IN ('', 'public');

-- Periods as they were and are, so that a later change of zone or anchor moves none of them.
CREATE TABLE tollgate.tenant_periods (
  tenant_id      varchar(255) NOT NULL REFERENCES tollgate.tenants (id) ON DELETE CASCADE,
  period_start   date NOT NULL,
  period_end     date NOT NULL,          -- the last day, inclusive
  starts_at      timestamptz NOT NULL,
  ends_at        timestamptz NOT NULL,   -- the first instant behind it
  time_zone      text NOT NULL,          -- of its days
  billing_period varchar(20) NOT NULL,   -- YYYY-MM of period_start
  PRIMARY KEY (tenant_id, period_start),
  UNIQUE (tenant_id, starts_at),
  CHECK (period_end >= period_start AND ends_at > starts_at)
);

CREATE SEQUENCE public.usage_tracking_id_seq;
CREATE TABLE public.usage_tracking (
  id             bigint NOT NULL DEFAULT nextval('public.usage_tracking_id_seq'),
  tenant_id      varchar(255) NOT NULL REFERENCES public.tenants (id) ON DELETE CASCADE,
  metric_type    varchar(100) NOT NULL,
  metric_value   numeric(20,6) NOT NULL,
  recorded_at    timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
  billing_period varchar(20) NOT NULL,
  metadata       jsonb DEFAULT '{}',
  ingested_at    timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
  PRIMARY KEY (tenant_id, recorded_at, id)
) PARTITION BY RANGE (recorded_at);
ALTER SEQUENCE public.usage_tracking_id_seq OWNED BY public.usage_tracking.id;
CREATE INDEX idx_usage_tracking_tenant ON public.usage_tracking (tenant_id);
CREATE INDEX idx_usage_tracking_recorded ON public.usage_tracking (recorded_at);
CREATE INDEX idx_usage_tracking_period ON public.usage_tracking (billing_period);

CREATE TABLE public.usage_summary (
  id                 bigint GENERATED BY DEFAULT AS IDENTITY,
  tenant_id          varchar(255) NOT NULL REFERENCES public.tenants (id) ON DELETE CASCADE,
  period_start       date NOT NULL,
  period_end         date NOT NULL,
  patients_count     bigint NOT NULL DEFAULT 0,
  users_count        bigint NOT NULL DEFAULT 0,
  storage_used_gb    numeric(20,6) NOT NULL DEFAULT 0,
  api_calls_count    bigint NOT NULL DEFAULT 0,       -- the period's total
  file_uploads_count bigint NOT NULL DEFAULT 0,
  appointments_count bigint NOT NULL DEFAULT 0,
  storage_bytes      bigint NOT NULL DEFAULT 0,
  created_at         timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
  updated_at         timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
  PRIMARY KEY (tenant_id, id),
  UNIQUE (tenant_id, period_start)
);
CREATE INDEX idx_usage_summary_tenant ON public.usage_summary (tenant_id);
CREATE INDEX idx_usage_summary_period ON public.usage_summary (period_start, period_end);

-- Rollups: what charts and reports read. method and endpoint are '' but for api_call.
CREATE TABLE tollgate.usage_hourly (
  tenant_id   varchar(255) NOT NULL REFERENCES tollgate.tenants (id) ON DELETE CASCADE,
  metric_type varchar(100) NOT NULL,
  hour        timestamptz NOT NULL,
  method      text NOT NULL DEFAULT '',
  endpoint    text NOT NULL DEFAULT '',
  total       numeric(26,6) NOT NULL DEFAULT 0, -- a counter's sum, a gauge's last level
  events      bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (tenant_id, metric_type, hour, method, endpoint)
);
CREATE TABLE tollgate.usage_daily (
  tenant_id   varchar(255) NOT NULL REFERENCES tollgate.tenants (id) ON DELETE CASCADE,
  metric_type varchar(100) NOT NULL,
  day         date NOT NULL,           -- in the tenant's zone
  method      text NOT NULL DEFAULT '',
  endpoint    text NOT NULL DEFAULT '',
  total       numeric(26,6) NOT NULL DEFAULT 0,
  events      bigint NOT NULL DEFAULT 0,
  PRIMARY KEY (tenant_id, metric_type, day, method, endpoint)
);

-- A counter's use, or what is observed, in each window that a limit may have: what the limit table is filled from and compared with. Weeks
-- are those of metrics that have a limit a week, by their Monday; hours have a table of their own.
CREATE TABLE tollgate.usage_counts (
  tenant_id    varchar(255) NOT NULL REFERENCES tollgate.tenants (id) ON DELETE CASCADE,
  metric_type  varchar(100) NOT NULL,
  limit_window text NOT NULL CHECK (limit_window IN ('day', 'week', 'period')),
  window_start date NOT NULL,
  used         numeric(26,6) NOT NULL DEFAULT 0,
  xid          xid8 NOT NULL DEFAULT pg_current_xact_id(), -- who changed it last: nodes read what is new since their snapshot
  PRIMARY KEY (tenant_id, metric_type, limit_window, window_start)
);
CREATE INDEX idx_usage_counts_xid ON tollgate.usage_counts (xid);

-- The same of metrics that have a limit an hour; the last two days.
CREATE TABLE tollgate.usage_counts_hourly (
  tenant_id    varchar(255) NOT NULL REFERENCES tollgate.tenants (id) ON DELETE CASCADE,
  metric_type  varchar(100) NOT NULL,
  hour         timestamptz NOT NULL,     -- by tollgate.hour_start
  used         numeric(26,6) NOT NULL DEFAULT 0,
  xid          xid8 NOT NULL DEFAULT pg_current_xact_id(),
  PRIMARY KEY (tenant_id, metric_type, hour)
);
CREATE INDEX idx_usage_counts_hourly_xid ON tollgate.usage_counts_hourly (xid);

-- The smallest hashes of the values that a metric of aggregation unique has seen in a window, at most 10,001 (sql/functions/observed.sql).
CREATE TABLE tollgate.usage_distinct (
  tenant_id    varchar(255) NOT NULL REFERENCES tollgate.tenants (id) ON DELETE CASCADE,
  metric_type  varchar(100) NOT NULL,
  limit_window text NOT NULL CHECK (limit_window IN ('hour', 'day', 'week', 'period')),
  window_start timestamptz NOT NULL,  -- the hour, or midnight UTC of the date that names the window
  hash         bigint NOT NULL,
  PRIMARY KEY (tenant_id, metric_type, limit_window, window_start, hash)
);
CREATE INDEX idx_usage_distinct_start ON tollgate.usage_distinct (limit_window, window_start);

-- What limits refused: each node's limit table counts, its collector puts here what that has, as it stands.
CREATE TABLE tollgate.usage_refusals (
  tenant_id   varchar(255) NOT NULL REFERENCES tollgate.tenants (id) ON DELETE CASCADE,
  hour        timestamptz NOT NULL,   -- by tollgate.hour_start
  limit_key   varchar(100) NOT NULL,  -- no foreign key: what a limit that is gone refused stays to be read
  limit_table bigint NOT NULL,        -- the number of the limit table that counted
  refused     bigint NOT NULL,
  PRIMARY KEY (tenant_id, hour, limit_key, limit_table)
);
CREATE INDEX idx_usage_refusals_hour ON tollgate.usage_refusals (hour);

-- What is now of each gauge: counted, measured or posted. A level that is posted wins over those recorded before it; a change ("delta")
-- is added unless it was recorded before the level that it would change.
CREATE TABLE tollgate.usage_levels (
  tenant_id   varchar(255) NOT NULL REFERENCES tollgate.tenants (id) ON DELETE CASCADE,
  metric_type varchar(100) NOT NULL REFERENCES tollgate.usage_metrics (metric_type) ON DELETE CASCADE,
  level       numeric(26,6) NOT NULL DEFAULT 0,
  recorded_at timestamptz NOT NULL,   -- of the newest row that it holds
  set_at      timestamptz,            -- of the last absolute level among them; null: there are changes alone
  updated_at  timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, metric_type)
);

-- What the database and the measurements bring: filled by triggers, deleted in the transaction that counts it.
-- No foreign key: it would look up and lock the tenant's row at every insert of the host's, all sessions the same one. What
-- a deleted tenant leaves is dropped by whoever counts it.
CREATE TABLE tollgate.usage_changes (
  tenant_id varchar(255) NOT NULL,
  id        bigint GENERATED ALWAYS AS IDENTITY,
  -- A metric with a source, or storage_used_gb. No CHECK: each insert would read its text anew.
  metric    text NOT NULL,
  delta     bigint NOT NULL DEFAULT 0,   -- rows, or millionths of a sum; of storage_used_gb: bytes
  created   bigint NOT NULL DEFAULT 0,   -- new rows: so many events of what the source records
  recount   boolean NOT NULL DEFAULT false, -- the change is not known (TRUNCATE): count anew; of storage: delta is the level
  made_at   timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, id)
);

CREATE TABLE tollgate.usage_event_ids (
  tenant_id   varchar(255) NOT NULL REFERENCES tollgate.tenants (id) ON DELETE CASCADE,
  source      text NOT NULL,
  event_id    text NOT NULL,
  accepted_at timestamptz NOT NULL,
  PRIMARY KEY (tenant_id, source, event_id)
);
CREATE INDEX idx_usage_event_ids_accepted ON tollgate.usage_event_ids (accepted_at);

-- What could not be stored, with its bytes; no foreign key: its tenant may be gone.
CREATE TABLE tollgate.usage_rejected (
  tenant_id   text NOT NULL,
  id          bigint GENERATED ALWAYS AS IDENTITY,
  node        uuid NOT NULL,
  segment     bigint NOT NULL,
  position    bigint NOT NULL,
  reason      text NOT NULL,   -- tenant_unknown, metric_unknown, value_range, metadata, id_expired, …
  metric_type text NOT NULL,
  recorded_at timestamptz,
  record      bytea NOT NULL,
  rejected_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (tenant_id, id)
);

-- How far each segment is committed that is not settled (tollgate.collector_nodes.settled_below). A segment's number is never used again.
CREATE TABLE tollgate.collector_progress (
  node       uuid NOT NULL,
  segment    bigint NOT NULL,
  position   bigint NOT NULL,
  updated_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (node, segment)
);
-- How much of the limit table's degraded counts is recorded.
CREATE TABLE tollgate.collector_degraded (
  tenant_id   varchar(255) NOT NULL REFERENCES tollgate.tenants (id) ON DELETE CASCADE,
  node        uuid NOT NULL,
  metric_type varchar(100) NOT NULL,
  recorded    numeric(26,6) NOT NULL DEFAULT 0,
  limit_table bigint NOT NULL DEFAULT 0, -- of which limit table of the node; one that is made anew counts from 0. 0: of any
  PRIMARY KEY (tenant_id, node, metric_type)
);
CREATE TABLE tollgate.collector_nodes (
  node         uuid PRIMARY KEY,
  token        bytea NOT NULL,      -- of the newest start; a copied spool shows another
  host         text NOT NULL DEFAULT '',
  started_at   timestamptz NOT NULL DEFAULT now(),
  seen_at      timestamptz NOT NULL DEFAULT now(),
  lag_events   bigint NOT NULL DEFAULT 0,
  lag_seconds  double precision NOT NULL DEFAULT 0,
  spool_bytes  bigint NOT NULL DEFAULT 0,
  -- Each commit of the node's collector counts. The node remembers the last one that was acknowledged: a smaller number at a new
  -- connection says that the database went back in time, though system identifier and timeline may be the same.
  commits      bigint NOT NULL DEFAULT 0,
  -- Each segment with a smaller number is stored to its end, but those that have a row in tollgate.collector_progress.
  settled_below bigint NOT NULL DEFAULT 0
);

-- What a node found when the database had gone back in time, for `tollgate doctor`.
CREATE TABLE tollgate.node_rollbacks (
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
CREATE TABLE tollgate.spool_damage (
  node          uuid NOT NULL,
  segment       bigint NOT NULL,
  from_position bigint NOT NULL,
  to_position   bigint NOT NULL,
  found_at      timestamptz NOT NULL DEFAULT now(),
  seen_at       timestamptz,        -- tollgate doctor --seen
  PRIMARY KEY (node, segment, from_position)
);

-- Overrides of a tier's limits; usage_limits of the subscription holds the effective plain numbers.
CREATE TABLE tollgate.usage_limit_overrides (
  tenant_id     varchar(255) NOT NULL REFERENCES tollgate.tenants (id) ON DELETE CASCADE,
  limit_key     varchar(100) NOT NULL REFERENCES tollgate.usage_limit_keys (limit_key) ON DELETE CASCADE,
  max           numeric,                -- null: the tier's; -1 unlimited; else as large as the host's number
  mode          text CHECK (mode IN ('hard', 'soft', 'grace')), -- null: the tier's
  grace_percent integer NOT NULL DEFAULT 0 CHECK (grace_percent BETWEEN 0 AND 1000),
  grace_until   timestamptz,
  expires_at    timestamptz,            -- from here on the tier's number and mode hold again
  updated_at    timestamptz NOT NULL DEFAULT now(),
  reason        text,
  from_host     boolean NOT NULL DEFAULT false, -- the number is one that the host wrote into usage_limits
  PRIMARY KEY (tenant_id, limit_key),
  CHECK (max >= 0 OR max = -1)
);
CREATE INDEX idx_usage_limit_overrides_expires ON tollgate.usage_limit_overrides (expires_at) WHERE expires_at IS NOT NULL;

-- What a tier does beyond a limit; without a row it refuses.
CREATE TABLE tollgate.tier_limit_modes (
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
CREATE TABLE tollgate.usage_credits (
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
CREATE INDEX idx_usage_credits_look ON tollgate.usage_credits (look_at);
CREATE TABLE tollgate.usage_credit_windows (
  tenant_id varchar(255) NOT NULL REFERENCES tollgate.tenants (id) ON DELETE CASCADE,
  limit_key varchar(100) NOT NULL REFERENCES tollgate.usage_limit_keys (limit_key) ON DELETE CASCADE,
  starts_at timestamptz NOT NULL,
  ends_at   timestamptz NOT NULL,
  plan      numeric NOT NULL,            -- that the window had; -1 unlimited
  used      numeric(26,6) NOT NULL,
  PRIMARY KEY (tenant_id, limit_key, starts_at)
);

-- Programs. tenant_id is null of an operator's key.
CREATE TABLE tollgate.api_keys (
  id           text PRIMARY KEY CHECK (length(id) = 8),
  tenant_id    varchar(255) REFERENCES tollgate.tenants (id) ON DELETE CASCADE,
  name         text NOT NULL,
  hash         bytea NOT NULL UNIQUE CHECK (length(hash) = 32), -- BLAKE2b-256 of the whole key
  scopes       text[] NOT NULL,
  created_at   timestamptz NOT NULL DEFAULT now(),
  expires_at   timestamptz,
  last_used_at timestamptz,
  revoked_at   timestamptz,
  CONSTRAINT api_keys_scopes_check CHECK (scopes <@ ARRAY['call', 'track', 'read', 'admin', 'metrics']
    AND (tenant_id IS NULL OR NOT 'metrics' = ANY (scopes))) -- metrics: for Prometheus, an operator's key alone
);
CREATE INDEX idx_api_keys_tenant ON tollgate.api_keys (tenant_id);

-- Limits of a minute that bind one key of a tenant's, beside the tenant's own (sql/functions/key_limits.sql).
CREATE TABLE tollgate.key_limits (
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

-- People. tenant_id is null of an operator.
CREATE TABLE tollgate.accounts (
  id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant_id     varchar(255) REFERENCES tollgate.tenants (id) ON DELETE CASCADE,
  email         text NOT NULL CHECK (email = lower(email)),
  role          text NOT NULL CHECK (role IN ('viewer', 'admin', 'operator')),
  password_hash text NOT NULL,         -- Argon2id, libsodium's text form
  created_at    timestamptz NOT NULL DEFAULT now(),
  signed_in_at  timestamptz,
  UNIQUE (email),
  CHECK ((role = 'operator') = (tenant_id IS NULL))
);
CREATE INDEX idx_accounts_tenant ON tollgate.accounts (tenant_id);

CREATE TABLE tollgate.account_sessions (
  token_hash bytea PRIMARY KEY CHECK (length(token_hash) = 32), -- BLAKE2b-256 of the cookie's value
  account_id bigint NOT NULL REFERENCES tollgate.accounts (id) ON DELETE CASCADE,
  created_at timestamptz NOT NULL DEFAULT now(),
  seen_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX idx_account_sessions_account ON tollgate.account_sessions (account_id);

-- Failed sign-ins, so that guessing is slow. subject: BLAKE2b-256 of "account:<e-mail>|<address>" or "address:<address>".
CREATE TABLE tollgate.signin_failures (
  subject    bytea PRIMARY KEY,
  failures   integer NOT NULL,
  failed_at  timestamptz NOT NULL
);

-- What the collectors of all nodes have to publish: filled by triggers, read by snapshot, pruned after a day.
CREATE TABLE tollgate.config_changes (
  id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  kind      text NOT NULL CHECK (kind IN ('catalogue', 'tenant', 'key', 'lease')),
  subject   text NOT NULL DEFAULT '',  -- tenant's id, or key's id
  hash      bytea,                     -- of a key, so that a deleted one can be dropped
  xid       xid8 NOT NULL DEFAULT pg_current_xact_id(),
  made_at   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX idx_config_changes_xid ON tollgate.config_changes (xid);

-- What is enforced by the database (sql/functions/enforce.sql).
CREATE TABLE tollgate.enforced_gauges (
  id        integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- the second argument of a tenant's triggers
  tenant_id varchar(255) NOT NULL REFERENCES tollgate.tenants (id) ON DELETE CASCADE,
  metric    text NOT NULL, -- with a source and a limit
  UNIQUE (tenant_id, metric)
);
CREATE TABLE tollgate.enforce_shares (
  gauge   integer NOT NULL REFERENCES tollgate.enforced_gauges (id) ON DELETE CASCADE,
  slot    integer NOT NULL,     -- 0 to 32
  free    bigint NOT NULL,      -- rows, or millionths of a sum; of slot 0: below 0 when more is used than the plan has
  max     bigint NOT NULL,      -- of slot 0: the limit with its grace; unlimited is 10^15, of a sum 10^18
  until   timestamptz NOT NULL, -- from here on max is another: an override or a grace ends; of a closed slot: -infinity
  changed boolean NOT NULL,     -- since a collector last took the count from here
  PRIMARY KEY (gauge, slot)
) WITH (fillfactor = 50);  -- room for updates in place
CREATE INDEX idx_enforce_shares_changed ON tollgate.enforce_shares (gauge) WHERE changed;

-- What is left of a hard limit, handed out to the nodes in shares (sql/functions/leases.sql).
CREATE TABLE tollgate.limit_leases (
  tenant_id varchar(255) NOT NULL REFERENCES tollgate.tenants (id) ON DELETE CASCADE,
  limit_key varchar(100) NOT NULL REFERENCES tollgate.usage_limit_keys (limit_key) ON DELETE CASCADE,
  starts_at timestamptz NOT NULL,        -- the window's first instant
  epoch     bigint NOT NULL DEFAULT 1,
  ceiling   numeric(20,6) NOT NULL,
  base      numeric(26,6),               -- null until all have settled
  PRIMARY KEY (tenant_id, limit_key, starts_at)
);
CREATE TABLE tollgate.limit_lease_nodes (
  tenant_id varchar(255) NOT NULL,
  limit_key varchar(100) NOT NULL,
  starts_at timestamptz NOT NULL,
  node      uuid NOT NULL,
  epoch     bigint NOT NULL,             -- in which it has settled
  granted   numeric(26,6) NOT NULL DEFAULT 0,
  PRIMARY KEY (tenant_id, limit_key, starts_at, node),
  FOREIGN KEY (tenant_id, limit_key, starts_at) REFERENCES tollgate.limit_leases ON DELETE CASCADE
);

-- Each node's counters, once a minute. Only the collector writes here.
--
-- Counters are kept as they stand, not as differences: a minute written twice, a collector started anew or minutes without
-- PostgreSQL lose nothing. What grew between two samples is told when they are read: table_id is another when the limit table
-- was made anew, collecting_since when the collector was, and what belongs to them then began at 0.
CREATE TABLE tollgate.node_samples (
  node             uuid NOT NULL REFERENCES tollgate.collector_nodes (node) ON DELETE CASCADE,
  sampled_at       timestamptz NOT NULL,          -- the minute
  taken_at         timestamptz NOT NULL,
  table_id         bigint NOT NULL,               -- which limit table counted the next four
  admitted         bigint NOT NULL,               -- metered calls that passed, degraded ones included
  passed           bigint NOT NULL,               -- not metered: own routes, operators
  refused          bigint NOT NULL,
  latency          bigint[] NOT NULL,             -- calls in each bucket of limit_latency_bounds_us
  collecting_since timestamptz NOT NULL,          -- when the collector that counted the next four started
  batches          bigint NOT NULL,
  rows             bigint NOT NULL,
  rejected         bigint NOT NULL,
  degraded         bigint NOT NULL,
  lag_seconds      double precision NOT NULL,     -- this and the next two: the worst since the sample before
  spool_events     bigint NOT NULL,
  spool_bytes      bigint NOT NULL,
  PRIMARY KEY (node, sampled_at)
);

-- How far back things were removed that can be told from what is left: what is earlier is final and is compared with nothing. It is remembered,
-- because a late event makes a new partition for a month whose other rows are gone.
CREATE TABLE tollgate.removed (
  what     text PRIMARY KEY CHECK (what IN ('rows', 'hourly', 'counts', 'rejected')),
  before   timestamptz NOT NULL,
  after    text,                     -- the tenant up to which this round has removed; null: it is done
  removed  bigint NOT NULL DEFAULT 0 -- how many, where they are counted
);

-- Where a trigger of Tollgate's failed and the host's statement was let through. The collector counts anew and removes the row
-- once that works (attach_new); `tollgate doctor` shows what stands here. No key but the number and no foreign key: a session of
-- the host's that notes something waits for no other.
CREATE TABLE tollgate.uncounted (
  id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  tenant_id  text NOT NULL,  -- '' is all: the table no longer says whose its rows are
  table_name text NOT NULL,  -- the host's, with its schema
  problem    text NOT NULL,
  made_at    timestamptz NOT NULL DEFAULT now()
);

-- The catalogue of every database; sql/presets has what is counted from tables. What an operator changed there stays.
INSERT INTO tollgate.usage_metrics (metric_type, kind, aggregation, unit, plural, decimals, label, limit_key, limit_window, derived) VALUES
  ('storage_used_gb', 'gauge', 'level', 'GB', 'GB', 2, 'Storage', 'storage_gb', 'none', true),
  ('api_call', 'counter', 'sum', 'calls', 'calls', 0, 'API calls', 'api_calls_per_day', 'day', false),
  ('file_upload', 'counter', 'sum', 'files', 'files', 0, 'File uploads', 'file_uploads_per_period', 'period', false)
ON CONFLICT DO NOTHING;
INSERT INTO tollgate.usage_limit_keys (limit_key, metric_type, limit_window, label) VALUES
  ('storage_gb', 'storage_used_gb', 'none', 'Storage'),
  ('api_calls_per_day', 'api_call', 'day', 'API calls a day'),
  ('api_calls_per_minute', 'api_call', 'minute', 'API calls a minute'),
  ('file_uploads_per_period', 'file_upload', 'period', 'File uploads a period')
ON CONFLICT DO NOTHING;
