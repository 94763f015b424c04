-- What limits refused, by tenant, limit and hour.

-- What the limit table with this number has counted, [tenant, limit key, hour in microseconds since 1970, refusals] each: as it stands, so that
-- putting it twice changes nothing.
CREATE OR REPLACE FUNCTION tollgate.put_refusals(p_table bigint, list jsonb) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  INSERT INTO tollgate.usage_refusals AS r (tenant_id, hour, limit_key, limit_table, refused)
  SELECT t.id, 'epoch'::timestamptz + make_interval(secs => (x.e ->> 2)::bigint / 1000000), x.e ->> 1, p_table, (x.e ->> 3)::bigint
  FROM jsonb_array_elements(list) AS x (e) JOIN tollgate.tenants t ON t.id = x.e ->> 0 ORDER BY 1, 2, 3
  ON CONFLICT (tenant_id, hour, limit_key, limit_table) DO UPDATE SET refused = excluded.refused WHERE r.refused < excluded.refused
$$;
GRANT EXECUTE ON FUNCTION tollgate.put_refusals(bigint, jsonb) TO tollgate_collector;

-- Refusals of the last 24 hours of the named tenants, for the operator's list.
CREATE OR REPLACE FUNCTION tollgate.operator_refusals(tenants text[]) RETURNS TABLE (tenant_id text, refused bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT r.tenant_id::text, sum(r.refused)::bigint FROM tollgate.usage_refusals r
  WHERE r.tenant_id = ANY (tenants) AND r.hour > now() - interval '24 hours' GROUP BY 1
$$;
GRANT EXECUTE ON FUNCTION tollgate.operator_refusals(text[]) TO tollgate_web;
