-- What of the host's Tollgate does not take, and why: tenants by their id, and tables that it can't count. `tollgate doctor` shows it.
-- An id is written as JSON, so that a control character in it does nothing to the screen.
CREATE FUNCTION tollgate.left_out() RETURNS TABLE (what text, problem text)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT 'tenant ' || to_jsonb(t.id::text)::text, 'has an id that ' || tollgate.tenant_id_problem(t.id::text)
  FROM public.tenants t WHERE tollgate.tenant_id_problem(t.id::text) IS NOT NULL
  UNION ALL
  SELECT c.oid::regclass::text, tollgate.table_problem(c.oid, c.relname || '_count')
  FROM public.tenant_settings s JOIN pg_namespace n ON n.nspname = s.schema_name
  JOIN pg_class c ON c.relnamespace = n.oid AND c.relname IN ('patients', 'appointments') AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
  WHERE n.nspname NOT IN ('public', 'tollgate', 'pg_catalog', 'information_schema')
    AND tollgate.table_problem(c.oid, c.relname || '_count') IS NOT NULL
  UNION ALL
  SELECT 'public.users', tollgate.table_problem('public.users', 'users_count')
  WHERE tollgate.table_problem('public.users', 'users_count') IS NOT NULL
$$;
