-- The rights on the tenants' tables of an adopted database, given by the role that runs this: the one that adopts, who may give them.
-- tollgate_owner may put its triggers there, tollgate_counter may read what is counted, and neither may anything else. The same for
-- schemas to come: the collector asks, this function gives. Only a schema that is named as a tenant of the host's, cut at 63 bytes as
-- PostgreSQL cuts names, and the tables that sources name.
CREATE OR REPLACE FUNCTION tollgate.grant_schema(tenant text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  place name := tenant;
  t record;
BEGIN
  IF place IN ('public', 'tollgate', 'information_schema') OR place LIKE 'pg\_%' OR to_regnamespace(quote_ident(place)) IS NULL
     OR NOT EXISTS (SELECT FROM public.tenants x WHERE x.id = tenant) THEN
    RETURN;
  END IF;
  EXECUTE format('GRANT USAGE ON SCHEMA %I TO tollgate_owner, tollgate_counter', place);
  FOR t IN SELECT c.oid::regclass AS name, string_agg(DISTINCT quote_ident(a.attname), ', ') AS cols
    FROM tollgate.usage_sources s JOIN pg_class c ON c.relnamespace = to_regnamespace(quote_ident(place)) AND c.relname = s.table_name AND c.relkind IN ('r', 'p')
    JOIN pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped
      AND (s.columns ? a.attname OR s.columns = '{}' AND a.attname = 'tableoid')
    WHERE s.tenant_column IS NULL GROUP BY c.oid LOOP
    EXECUTE format('REVOKE SELECT ON %s FROM tollgate_owner', t.name);
    EXECUTE format('GRANT TRIGGER ON %s TO tollgate_owner', t.name);
    EXECUTE format('GRANT SELECT (%s) ON %s TO tollgate_counter', t.cols, t.name);
  END LOOP;
END $$;
REVOKE ALL ON FUNCTION tollgate.grant_schema(text) FROM PUBLIC, tollgate_collector;
GRANT EXECUTE ON FUNCTION tollgate.grant_schema(text) TO tollgate_owner;
SELECT pg_catalog.count(tollgate.grant_schema(s.tenant_id)) FROM tollgate.tenant_settings s;
SELECT pg_catalog.count(tollgate.grant_schema(t.id)) FROM pg_catalog.pg_namespace n JOIN public.tenants t ON t.id::pg_catalog.text::pg_catalog.name OPERATOR(pg_catalog.=) n.nspname;
