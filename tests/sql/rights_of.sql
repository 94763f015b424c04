-- What each of Tollgate's roles may do, a line each: what tests/sql/rights.txt holds. The owner of a thing may everything and is not
-- listed, neither is what any role may by default.
WITH roles AS (
  SELECT r.oid, r.rolname FROM pg_roles r WHERE r.rolname IN ('tollgate_web', 'tollgate_collector', 'tollgate_counter')
), relations AS (
  SELECT c.oid, c.oid::regclass::text AS name FROM pg_class c
  WHERE c.relnamespace IN ('public'::regnamespace, 'tollgate'::regnamespace) AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition
), lines AS (
  SELECT r.rolname, 1 AS place, t.name || ': ' || string_agg(p.what, ', ' ORDER BY p.n) AS line
  FROM roles r CROSS JOIN relations t
  CROSS JOIN (VALUES (1, 'SELECT'), (2, 'INSERT'), (3, 'UPDATE'), (4, 'DELETE'), (5, 'TRUNCATE'), (6, 'REFERENCES'), (7, 'TRIGGER')) AS p (n, what)
  WHERE has_table_privilege(r.oid, t.oid, p.what) GROUP BY r.rolname, t.name
  UNION ALL
  SELECT r.rolname, 2, t.name || ': ' || p.what || ' (' || string_agg(a.attname, ', ' ORDER BY a.attnum) || ')'
  FROM roles r CROSS JOIN relations t JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
  CROSS JOIN (VALUES ('SELECT'), ('INSERT'), ('UPDATE'), ('REFERENCES')) AS p (what)
  WHERE has_column_privilege(r.oid, t.oid, a.attnum, p.what) AND NOT has_table_privilege(r.oid, t.oid, p.what)
  GROUP BY r.rolname, t.name, p.what
  UNION ALL
  SELECT r.rolname, 3, 'sequence ' || s.oid::regclass FROM roles r CROSS JOIN pg_class s
  WHERE s.relkind = 'S' AND s.relnamespace IN ('public'::regnamespace, 'tollgate'::regnamespace)
    AND has_sequence_privilege(r.oid, s.oid, 'USAGE, SELECT, UPDATE')
  UNION ALL
  SELECT r.rolname, 4, 'calls ' || p.oid::regprocedure || CASE WHEN p.prosecdef THEN ' as ' || p.proowner::regrole ELSE '' END
  FROM roles r CROSS JOIN pg_proc p WHERE p.pronamespace = 'tollgate'::regnamespace AND has_function_privilege(r.oid, p.oid, 'EXECUTE')
  UNION ALL
  SELECT r.rolname, 5, 'schema ' || n.nspname || ': ' || string_agg(p.what, ', ' ORDER BY p.what)
  FROM roles r CROSS JOIN pg_namespace n CROSS JOIN (VALUES ('CREATE'), ('USAGE')) AS p (what)
  WHERE n.nspname IN ('public', 'tollgate') AND has_schema_privilege(r.oid, n.oid, p.what) GROUP BY r.rolname, n.nspname
  UNION ALL
  SELECT r.rolname, 6, 'member of ' || m.roleid::regrole FROM roles r JOIN pg_auth_members m ON m.member = r.oid
  UNION ALL
  SELECT r.rolname, 7, 'creates temporary tables' FROM roles r WHERE has_database_privilege(r.oid, current_database(), 'TEMPORARY')
)
SELECT rolname || ' ' || line FROM lines ORDER BY rolname COLLATE "C", place, line COLLATE "C";
