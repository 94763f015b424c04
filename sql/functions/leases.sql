-- Near the end of a hard limit its rest is handed out to the nodes in shares (limits.lease_percent; docs/gate.md, "Several
-- nodes"), so that all together never pass it.
--
-- A node that reached the leased part spends nothing there without a share. It is settled once all that it admitted before is
-- committed. When every node that is alive has settled, what is used is the base, and ceiling - base is handed out: the sum of
-- the shares and the base never pass the ceiling. Another ceiling begins a new epoch: all settle anew.

-- What is used in the limit's window that starts at p_starts.
CREATE OR REPLACE FUNCTION tollgate.used_since(p_tenant text, p_key text, p_starts timestamptz) RETURNS numeric LANGUAGE sql STABLE AS $$
  SELECT coalesce((
    SELECT tollgate.used_in(p_tenant, k.metric_type, k.limit_window, p_starts) FROM tollgate.usage_limit_keys k WHERE k.limit_key = p_key), 0)
$$;
GRANT EXECUTE ON FUNCTION tollgate.used_since(text, text, timestamptz) TO tollgate_collector;

-- The leases of one tenant, or of all, in which this node has not settled.
CREATE OR REPLACE FUNCTION tollgate.leases_unsettled(p_node uuid, p_tenant text DEFAULT NULL)
RETURNS TABLE (tenant_id text, limit_key text, starts_at timestamptz) LANGUAGE sql STABLE AS $$
  SELECT l.tenant_id, l.limit_key, l.starts_at FROM tollgate.limit_leases l
  WHERE (p_tenant IS NULL OR l.tenant_id = p_tenant)
    AND NOT EXISTS (SELECT FROM tollgate.limit_lease_nodes n WHERE n.tenant_id = l.tenant_id AND n.limit_key = l.limit_key
                    AND n.starts_at = l.starts_at AND n.node = p_node AND n.epoch = l.epoch)
  ORDER BY 1, 2, 3
$$;
GRANT EXECUTE ON FUNCTION tollgate.leases_unsettled(uuid, text) TO tollgate_collector;

-- One step of a node. p_settled: the epoch in which it has settled, 0 when in none; p_back: what it gives back of its share.
-- granted: what is its own from now on; waiting: how many nodes have yet to settle.
CREATE OR REPLACE FUNCTION tollgate.lease(p_tenant text, p_key text, p_starts timestamptz, p_node uuid, p_ceiling numeric,
  p_unleased numeric, p_settled bigint, p_back numeric, OUT epoch bigint, OUT granted numeric, OUT waiting bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  lease tollgate.limit_leases;
  used numeric;
  alive bigint;
  free numeric;
  share numeric;
BEGIN
  INSERT INTO tollgate.limit_leases (tenant_id, limit_key, starts_at, ceiling) VALUES (p_tenant, p_key, p_starts, p_ceiling)
  ON CONFLICT DO NOTHING;
  IF FOUND THEN
    INSERT INTO tollgate.config_changes (kind, subject) VALUES ('lease', p_tenant);
  END IF;
  SELECT * INTO lease FROM tollgate.limit_leases l
  WHERE l.tenant_id = p_tenant AND l.limit_key = p_key AND l.starts_at = p_starts FOR UPDATE;
  IF lease.ceiling <> p_ceiling THEN
    UPDATE tollgate.limit_leases l SET epoch = l.epoch + 1, ceiling = p_ceiling, base = NULL
    WHERE l.tenant_id = p_tenant AND l.limit_key = p_key AND l.starts_at = p_starts RETURNING * INTO lease;
    INSERT INTO tollgate.config_changes (kind, subject) VALUES ('lease', p_tenant);
  END IF;
  epoch := lease.epoch;
  granted := 0;
  used := tollgate.used_since(p_tenant, p_key, p_starts);
  IF p_settled = lease.epoch AND used >= p_unleased THEN
    INSERT INTO tollgate.limit_lease_nodes AS n (tenant_id, limit_key, starts_at, node, epoch)
    VALUES (p_tenant, p_key, p_starts, p_node, lease.epoch)
    ON CONFLICT (tenant_id, limit_key, starts_at, node) DO UPDATE SET epoch = excluded.epoch,
      granted = CASE WHEN n.epoch = excluded.epoch THEN n.granted - p_back ELSE 0 END;
  END IF;
  SELECT count(*), count(*) FILTER (WHERE n.epoch IS DISTINCT FROM lease.epoch) INTO alive, waiting
  FROM tollgate.collector_nodes c
  LEFT JOIN tollgate.limit_lease_nodes n ON n.node = c.node AND n.tenant_id = p_tenant AND n.limit_key = p_key
    AND n.starts_at = p_starts
  WHERE c.seen_at > now() - interval '6 seconds' OR c.node = p_node;
  IF waiting > 0 OR p_back > 0 THEN
    RETURN;
  END IF;
  IF lease.base IS NULL THEN
    lease.base := used;
    UPDATE tollgate.limit_leases l SET base = used WHERE l.tenant_id = p_tenant AND l.limit_key = p_key AND l.starts_at = p_starts;
  END IF;
  SELECT p_ceiling - greatest(lease.base + sum(n.granted), used) INTO free FROM tollgate.limit_lease_nodes n
  WHERE n.tenant_id = p_tenant AND n.limit_key = p_key AND n.starts_at = p_starts AND n.epoch = lease.epoch;
  -- A share of what is free, in whole units, and the last unit to whoever comes first.
  share := greatest(least(greatest(floor(free / alive), 1), free), 0);
  UPDATE tollgate.limit_lease_nodes n SET granted = n.granted + share
  WHERE n.tenant_id = p_tenant AND n.limit_key = p_key AND n.starts_at = p_starts AND n.node = p_node;
  granted := share;
END $$;
GRANT EXECUTE ON FUNCTION tollgate.lease(text, text, timestamptz, uuid, numeric, numeric, bigint, numeric) TO tollgate_collector;
