-- Sources: where a gauge comes from. A row of tollgate.usage_sources names a table and says which of its rows count; the functions that
-- its triggers call, tollgate.source_<id>_…, are made from that row here. What they read of a row is read as text, which calls nothing but
-- PostgreSQL's own output of a type, and becomes a built-in type again: so no type, cast or operator of the host's runs in them.

-- A table in a tenant's schema, quoted; null when there is none.
CREATE OR REPLACE FUNCTION tollgate.tenant_table(tenant text, name text) RETURNS regclass
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT c.oid::regclass FROM tollgate.tenant_settings s JOIN pg_namespace n ON n.nspname = s.schema_name
  JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = name AND c.relkind IN ('r', 'p')
  WHERE s.tenant_id = tenant AND s.schema_name NOT IN ('public', 'tollgate', 'pg_catalog', 'information_schema')
$$;

-- Where a tenant's rows of a source are: in its own schema, or in the table that all share. Null: there is no such table.
CREATE OR REPLACE FUNCTION tollgate.source_table(s tollgate.usage_sources, tenant text) RETURNS regclass
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN s.tenant_column IS NULL THEN tollgate.tenant_table(tenant, s.table_name)
              ELSE (SELECT c.oid::regclass FROM pg_namespace n JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = s.table_name
                    WHERE n.nspname = s.schema_name AND c.relkind IN ('r', 'p')) END
$$;

-- Every table that a source has, whatever kind of relation stands in its place; tenant_id is '' where all tenants share it.
CREATE OR REPLACE FUNCTION tollgate.source_tables() RETURNS TABLE (tenant_id text, source integer, metric text, tab regclass, kind "char")
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT t.tenant_id::text, s.id, s.metric_type::text, c.oid::regclass, c.relkind
  FROM tollgate.usage_sources s CROSS JOIN tollgate.tenant_settings t
  JOIN pg_namespace n ON n.nspname = t.schema_name JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = s.table_name
  WHERE s.tenant_column IS NULL AND t.schema_name NOT IN ('public', 'tollgate', 'pg_catalog', 'information_schema')
    AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
  UNION ALL
  SELECT '', s.id, s.metric_type::text, c.oid::regclass, c.relkind
  FROM tollgate.usage_sources s JOIN pg_namespace n ON n.nspname = s.schema_name
  JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = s.table_name AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
  WHERE s.tenant_column IS NOT NULL
$$;

-- What is read of its table; which table a row is in where nothing else is.
CREATE OR REPLACE FUNCTION tollgate.source_columns(s tollgate.usage_sources) RETURNS text[]
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce(array_agg(x.col ORDER BY x.col), '{tableoid}')
  FROM (SELECT k FROM jsonb_object_keys(s.columns) k UNION SELECT s.tenant_column WHERE s.tenant_column IS NOT NULL) AS x (col)
$$;

-- Counts are rows; a sum is in millionths, as amounts are everywhere.
CREATE OR REPLACE FUNCTION tollgate.source_scale(s tollgate.usage_sources) RETURNS numeric LANGUAGE sql IMMUTABLE AS $$
  SELECT CASE WHEN s.value_column IS NULL THEN 1 ELSE 1000000 END::numeric
$$;
GRANT EXECUTE ON FUNCTION tollgate.source_scale(tollgate.usage_sources) TO tollgate_collector;

-- ---- what is generated ----

-- A column of the row `x` as its built-in type ('x.' or nothing stands before the name).
CREATE OR REPLACE FUNCTION tollgate.source_value(s tollgate.usage_sources, col text, x text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT format('(CASE WHEN %1$s%2$I IS NULL THEN NULL ELSE pg_catalog.concat(%1$s%2$I) END)', x, col)
         || CASE s.columns ->> col WHEN 'text' THEN '' ELSE format('::pg_catalog.%I', s.columns ->> col) END
$$;

-- Which rows count, behind another condition, and what they add up to.
CREATE OR REPLACE FUNCTION tollgate.source_filter(s tollgate.usage_sources, x text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE s.condition WHEN '' THEN '' ELSE format(' AND tollgate.%I(%s)', 'source_' || s.id || '_counts',
    (SELECT string_agg(tollgate.source_value(s, k, x), ', ' ORDER BY k COLLATE "C") FROM jsonb_object_keys(s.columns) k)) END
$$;
CREATE OR REPLACE FUNCTION tollgate.source_sum(s tollgate.usage_sources, x text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN s.value_column IS NULL THEN 'pg_catalog.count(*)'
    ELSE format('COALESCE((pg_catalog.sum(pg_catalog.round(%s::pg_catalog.numeric, 6)) OPERATOR(pg_catalog.*) 1000000::pg_catalog.numeric)::pg_catalog.int8, 0)',
                tollgate.source_value(s, s.value_column, x)) END
$$;

-- A statement that counts what a tenant has in a table, in the units of source_scale; who counts runs it as tollgate_counter.
CREATE OR REPLACE FUNCTION tollgate.source_count(tab regclass, what text, tenant text) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT format('SELECT %s FROM %s x WHERE true%s%s',
                CASE WHEN tollgate.source_columns(s) = '{tableoid}' THEN 'count(x.tableoid)' ELSE tollgate.source_sum(s, 'x.') END,
                tab, tollgate.source_filter(s, 'x.'),
                CASE WHEN s.tenant_column IS NULL THEN '' ELSE format(' AND x.%I = %L', s.tenant_column, tenant) END)
  FROM tollgate.usage_sources s WHERE s.metric_type = what
$$;
GRANT EXECUTE ON FUNCTION tollgate.source_count(regclass, text, text) TO tollgate_counter;

-- Whether a checked condition can raise no error, whatever the columns hold: of texts, compared and trimmed.
CREATE OR REPLACE FUNCTION tollgate.never_fails(columns jsonb, expression text) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT NOT EXISTS (SELECT FROM jsonb_each_text(columns) t WHERE t.value NOT IN ('text', 'varchar', 'bpchar'))
    AND NOT EXISTS (SELECT FROM regexp_matches(expression, '\{([A-Z]+)', 'g') n (node) WHERE n.node[1] NOT IN
      ('OPEXPR', 'FUNCEXPR', 'SCALARARRAYOPEXPR', 'BOOLEXPR', 'NULLTEST', 'VAR', 'CONST', 'RELABELTYPE', 'ARRAYEXPR', 'BOOLEANTEST', 'COALESCEEXPR'))
    AND NOT EXISTS (SELECT FROM regexp_matches(expression, ':(?:op)?funcid (\d+)', 'g') f (id) JOIN pg_proc p ON p.oid = f.id[1]::oid
      WHERE p.proname NOT IN ('texteq', 'textne', 'text_lt', 'text_le', 'text_gt', 'text_ge', 'bpchareq', 'bpcharne', 'rtrim', 'ltrim', 'btrim', 'lower',
                              'upper', 'rtrim1', 'ltrim1', 'btrim1', 'booleq', 'boolne', 'text'))
$$;

-- Has PostgreSQL read a condition over columns of these types, and says what is wrong with it: a view tells what it names, without running
-- anything, and then the predicate of an index takes neither subqueries nor anything that may change by itself. The condition as
-- PostgreSQL understood it, the columns that it uses, and whether it can fail.
CREATE OR REPLACE FUNCTION tollgate.check_condition(columns jsonb, condition text, OUT checked text, OUT used text[], OUT fails boolean)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  strange text;
BEGIN
  IF strpos(condition, ';') > 0 THEN
    RAISE EXCEPTION 'the condition can''t be used: it has a semicolon' USING ERRCODE = 'TG003', DETAIL = 'condition';
  END IF;
  EXECUTE format('CREATE TABLE tollgate.source_check (%s)',
                 (SELECT string_agg(format('%I pg_catalog.%I', t.key, t.value), ', ') FROM jsonb_each_text(columns) t));
  EXECUTE format(E'CREATE VIEW tollgate.source_check_names AS SELECT 1 AS one FROM tollgate.source_check WHERE (%s\n)', condition);
  SELECT string_agg(DISTINCT pg_describe_object(d.refclassid, d.refobjid, 0), ', ') INTO strange
  FROM pg_rewrite r JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
  WHERE r.ev_class = 'tollgate.source_check_names'::regclass AND NOT (d.refclassid = 'pg_class'::regclass
    AND d.refobjid IN ('tollgate.source_check_names'::regclass, 'tollgate.source_check'::regclass));
  DROP VIEW tollgate.source_check_names;
  IF strange IS NOT NULL THEN
    RAISE EXCEPTION 'the condition can''t be used: it names %, and it may name only columns of the table and what is built into PostgreSQL', strange
      USING ERRCODE = 'TG003', DETAIL = 'condition';
  END IF;
  EXECUTE format(E'CREATE INDEX source_check_index ON tollgate.source_check ((0)) WHERE (%s\n)', condition);
  SELECT coalesce(pg_get_expr(i.indpred, i.indrelid), 'true'), NOT tollgate.never_fails(columns, coalesce(i.indpred::text, '')) INTO checked, fails
  FROM pg_index i WHERE i.indexrelid = 'tollgate.source_check_index'::regclass;
  SELECT array_agg(DISTINCT a.attname::text) INTO used FROM pg_depend d JOIN pg_attribute a ON a.attrelid = d.refobjid AND a.attnum = d.refobjsubid
  WHERE d.classid = 'pg_class'::regclass AND d.objid = 'tollgate.source_check_index'::regclass AND d.refobjid = 'tollgate.source_check'::regclass;
  DROP TABLE tollgate.source_check;
EXCEPTION
  WHEN syntax_error_or_access_rule_violation OR feature_not_supported OR data_exception OR invalid_object_definition THEN
    RAISE EXCEPTION 'the condition can''t be used: %',
      replace(replace(sqlerrm, 'index predicate', 'a condition'), 'must be marked IMMUTABLE', 'must be immutable: their answer may not change by itself')
      USING ERRCODE = 'TG003', DETAIL = 'condition';
END $$;

-- The function that an insert calls. Far from the limit the first UPDATE is all that an enforced one pays, so take_share's first steps stand
-- here once more, without the subtransaction that catching an error costs. SET search_path would be another twentieth of a single
-- insert: every name, operator and type that is looked up is written with its schema instead. Where the table has lost a column,
-- the name means a variable and nothing counts; a second look says so. It must not be written with the row's name, which would call a
-- function of that name where there is no such column. (tg_some is a variable because PL/pgSQL hands variables over to a plan that is
-- made anew only if there was one in it before.)
--   %1$s the source's number   %2$s the metric   %3$s variables for the columns   %4$s what rows add up to   %5$s which rows count
--   %6$s columns, as a list of texts   %7$s catches an error, or nothing   %8$s notes what is recorded   %9$s the tenant of a row
--   %10$s how many events are recorded
CREATE OR REPLACE FUNCTION tollgate.source_added(shared boolean) RETURNS text LANGUAGE sql IMMUTABLE AS $outer$
  SELECT CASE WHEN NOT shared THEN $tollgate$
CREATE OR REPLACE FUNCTION tollgate.source_%1$s_added() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $body$
#variable_conflict use_column
DECLARE
  tg_gauge CONSTANT pg_catalog.int4 := TG_ARGV[1]; -- null: nothing is enforced
  tg_slot CONSTANT pg_catalog.int4 := 1 OPERATOR(pg_catalog.+) (pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.%%) 32);
  tg_n pg_catalog.int8;
BEGIN
  DECLARE
%3$s    tg_some CONSTANT pg_catalog.bool := true;
  BEGIN
    tg_n := (SELECT %4$s FROM new_rows WHERE tg_some%5$s);
%7$s  END;
  IF tg_n OPERATOR(pg_catalog.>) 0 AND tg_gauge IS NOT NULL AND pg_catalog.pg_try_advisory_xact_lock(pg_catalog.hashtext('tollgate.enforce'),
       tg_gauge OPERATOR(pg_catalog.<<) 6 OPERATOR(pg_catalog.|) tg_slot OPERATOR(pg_catalog.&) 1023) THEN
    UPDATE tollgate.enforce_shares s SET free = s.free OPERATOR(pg_catalog.-) tg_n, changed = true
    WHERE s.gauge OPERATOR(pg_catalog.=) tg_gauge AND s.slot OPERATOR(pg_catalog.=) tg_slot AND s.free OPERATOR(pg_catalog.>=) tg_n
      AND s.until OPERATOR(pg_catalog.>) pg_catalog.statement_timestamp();
    IF FOUND THEN
%8$s      RETURN NULL;
    END IF;
  END IF;
  BEGIN
    IF tg_n OPERATOR(pg_catalog.=) 0 THEN
      PERFORM tollgate.missing_column(TG_ARGV[0], TG_RELID, ARRAY[%6$s]::pg_catalog.text[]);
    ELSE
      PERFORM tollgate.change(TG_ARGV[0], '%2$s', tg_gauge, tg_n, %10$s);
    END IF;
  EXCEPTION
    WHEN SQLSTATE 'TG429' OR transaction_rollback THEN
      RAISE;
    WHEN OTHERS THEN
      PERFORM tollgate.let_through(TG_ARGV[0], TG_RELID, sqlerrm);
  END;
  RETURN NULL;
END $body$
$tollgate$ ELSE $tollgate$
CREATE OR REPLACE FUNCTION tollgate.source_%1$s_added() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $body$
#variable_conflict use_column
DECLARE
  tg_slot CONSTANT pg_catalog.int4 := 1 OPERATOR(pg_catalog.+) (pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.%%) 32);
  tg_gauge pg_catalog.int4;
  tg_row pg_catalog.record;
BEGIN
  DECLARE
%3$s    tg_none CONSTANT pg_catalog.text := '';
  BEGIN
    SELECT pg_catalog.count(*) AS rows, %4$s AS n, pg_catalog.min(%9$s) AS first, pg_catalog.max(%9$s) AS last INTO tg_row
    FROM new_rows WHERE %9$s OPERATOR(pg_catalog.<>) tg_none%5$s;
%7$s  END;
  IF tg_row.first OPERATOR(pg_catalog.=) tg_row.last THEN
    tg_gauge := (SELECT e.id FROM tollgate.enforced_gauges e
                 WHERE e.tenant_id OPERATOR(pg_catalog.=) tg_row.first AND e.metric OPERATOR(pg_catalog.=) '%2$s');
    IF tg_row.n OPERATOR(pg_catalog.>) 0 AND tg_gauge IS NOT NULL AND pg_catalog.pg_try_advisory_xact_lock(pg_catalog.hashtext('tollgate.enforce'),
         tg_gauge OPERATOR(pg_catalog.<<) 6 OPERATOR(pg_catalog.|) tg_slot OPERATOR(pg_catalog.&) 1023) THEN
      UPDATE tollgate.enforce_shares s SET free = s.free OPERATOR(pg_catalog.-) tg_row.n, changed = true
      WHERE s.gauge OPERATOR(pg_catalog.=) tg_gauge AND s.slot OPERATOR(pg_catalog.=) tg_slot AND s.free OPERATOR(pg_catalog.>=) tg_row.n
        AND s.until OPERATOR(pg_catalog.>) pg_catalog.statement_timestamp();
      IF FOUND THEN
%8$s        RETURN NULL;
      END IF;
    END IF;
  END IF;
  DECLARE
%3$s    tg_none CONSTANT pg_catalog.text := '';
  BEGIN
    IF tg_row.rows OPERATOR(pg_catalog.=) 0 THEN
      PERFORM tollgate.missing_column('', TG_RELID, ARRAY[%6$s]::pg_catalog.text[]);
    ELSIF tg_row.first OPERATOR(pg_catalog.=) tg_row.last THEN
      PERFORM tollgate.change(tg_row.first, '%2$s', tg_gauge, tg_row.n, %10$s);
    ELSE
      -- By tenant, so that two statements over the same tenants take their shares in the same order.
      FOR tg_row IN SELECT %9$s AS tenant, %4$s AS n FROM new_rows WHERE %9$s OPERATOR(pg_catalog.<>) tg_none%5$s GROUP BY 1 ORDER BY 1 LOOP
        PERFORM tollgate.change(tg_row.tenant, '%2$s', tollgate.gauge_of(tg_row.tenant, '%2$s'), tg_row.n, %10$s);
      END LOOP;
    END IF;
  EXCEPTION
    WHEN SQLSTATE 'TG429' OR transaction_rollback THEN
      RAISE;
    WHEN OTHERS THEN
      PERFORM tollgate.let_through(t.tenant, TG_RELID, sqlerrm) FROM (SELECT DISTINCT %9$s AS tenant FROM new_rows) t;
  END;
  RETURN NULL;
END $body$
$tollgate$ END
$outer$;

-- The function that the other statements call, in the same terms.
CREATE OR REPLACE FUNCTION tollgate.source_changed(shared boolean) RETURNS text LANGUAGE sql IMMUTABLE AS $outer$
  SELECT CASE WHEN NOT shared THEN $tollgate$
CREATE OR REPLACE FUNCTION tollgate.source_%1$s_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
DECLARE
  n bigint;
BEGIN
  IF TG_OP = 'TRUNCATE' THEN
    PERFORM tollgate.count_anew(TG_ARGV[0], '%2$s', TG_ARGV[1]::integer);
    RETURN NULL;
  ELSIF TG_OP = 'DELETE' THEN
    n := -(SELECT %4$s FROM old_rows x WHERE true%5$s);
  ELSE
    n := (SELECT %4$s FROM new_rows x WHERE true%5$s) - (SELECT %4$s FROM old_rows x WHERE true%5$s);
  END IF;
  PERFORM tollgate.change(TG_ARGV[0], '%2$s', TG_ARGV[1]::integer, n);
  RETURN NULL;
EXCEPTION
  WHEN SQLSTATE 'TG429' OR transaction_rollback THEN
    RAISE;
  WHEN OTHERS THEN
    PERFORM tollgate.let_through(TG_ARGV[0], TG_RELID, sqlerrm);
    RETURN NULL;
END $body$
$tollgate$ ELSE $tollgate$
CREATE OR REPLACE FUNCTION tollgate.source_%1$s_changed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $body$
#variable_conflict use_column
DECLARE
%3$s  tg_row record;
BEGIN
  -- By tenant, so that two statements over the same tenants take their shares in the same order.
  IF TG_OP = 'DELETE' THEN
    FOR tg_row IN SELECT %6$s AS tenant, -%4$s AS n FROM old_rows x WHERE %6$s <> ''%5$s GROUP BY 1 ORDER BY 1 LOOP
      PERFORM tollgate.change(tg_row.tenant, '%2$s', tollgate.gauge_of(tg_row.tenant, '%2$s'), tg_row.n);
    END LOOP;
  ELSIF TG_OP = 'UPDATE' THEN
    FOR tg_row IN SELECT d.tenant, sum(d.n)::bigint AS n
                  FROM (SELECT %6$s AS tenant, %4$s AS n FROM new_rows x WHERE %6$s <> ''%5$s GROUP BY 1
                        UNION ALL SELECT %6$s, -%4$s FROM old_rows x WHERE %6$s <> ''%5$s GROUP BY 1) d
                  GROUP BY 1 HAVING sum(d.n) <> 0 ORDER BY 1 LOOP
      PERFORM tollgate.change(tg_row.tenant, '%2$s', tollgate.gauge_of(tg_row.tenant, '%2$s'), tg_row.n);
    END LOOP;
  ELSE
    PERFORM tollgate.count_all_anew('%2$s');
  END IF;
  RETURN NULL;
EXCEPTION
  WHEN SQLSTATE 'TG429' OR transaction_rollback THEN
    RAISE;
  WHEN OTHERS THEN
    IF TG_OP = 'TRUNCATE' THEN
      PERFORM tollgate.let_through('', TG_RELID, sqlerrm);
    ELSE
      PERFORM tollgate.let_through(t.tenant, TG_RELID, sqlerrm) FROM (SELECT DISTINCT %7$s AS tenant FROM old_rows) t;
    END IF;
    IF TG_OP = 'UPDATE' THEN
      PERFORM tollgate.let_through(t.tenant, TG_RELID, sqlerrm) FROM (SELECT DISTINCT %7$s AS tenant FROM new_rows) t;
    END IF;
    RETURN NULL;
END $body$
$tollgate$ END
$outer$;

-- An error in counting a statement's rows, where one is possible: it is noted, and the statement goes through.
CREATE OR REPLACE FUNCTION tollgate.source_catch(s tollgate.usage_sources) RETURNS text LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT format(E'  EXCEPTION\n    WHEN transaction_rollback THEN\n      RAISE;\n    WHEN OTHERS THEN\n      PERFORM tollgate.let_through(%s, TG_RELID, sqlerrm)%s;\n      RETURN NULL;\n',
    CASE WHEN s.tenant_column IS NULL THEN 'TG_ARGV[0]' ELSE 't.tenant' END,
    CASE WHEN s.tenant_column IS NOT NULL THEN format(' FROM (SELECT DISTINCT pg_catalog.rtrim(pg_catalog.concat(%I)) AS tenant FROM new_rows) t', s.tenant_column) ELSE '' END)
$$;

-- Makes a source's functions anew.
CREATE OR REPLACE FUNCTION tollgate.generate(s tollgate.usage_sources) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  shared boolean := s.tenant_column IS NOT NULL;
  whose text := format('pg_catalog.rtrim(pg_catalog.concat(%I))', coalesce(s.tenant_column, ''));
  rows text := CASE WHEN s.records IS NULL THEN '0' WHEN s.tenant_column IS NULL THEN 'tg_n' ELSE 'tg_row.n' END;
  lost text := (SELECT coalesce(string_agg(format(E'    %I pg_catalog.text;\n', c), '' ORDER BY c), '') FROM unnest(tollgate.source_columns(s)) c WHERE c <> 'tableoid');
  checked text;
  failing boolean := s.value_column IS NOT NULL;
BEGIN
  PERFORM tollgate.drop_functions(format('^source_%s_counts$', s.id));
  IF s.condition <> '' THEN
    SELECT c.checked, failing OR c.fails INTO checked, failing FROM tollgate.check_condition(s.columns, s.condition) c;
    EXECUTE format('CREATE FUNCTION tollgate.source_%s_counts(%s) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE BEGIN ATOMIC SELECT %s; END',
      s.id, (SELECT string_agg(format('%I pg_catalog.%I', t.key, t.value), ', ' ORDER BY t.key COLLATE "C") FROM jsonb_each_text(s.columns) t), checked);
    EXECUTE format('GRANT EXECUTE ON FUNCTION tollgate.source_%s_counts TO tollgate_counter', s.id);
  END IF;
  EXECUTE format(tollgate.source_added(shared), s.id, s.metric_type, lost, tollgate.source_sum(s, ''), tollgate.source_filter(s, ''),
    (SELECT string_agg(quote_literal(c), ', ') FROM unnest(tollgate.source_columns(s)) c),
    CASE WHEN failing THEN tollgate.source_catch(s) ELSE '' END,
    CASE WHEN s.records IS NULL THEN '' ELSE format(E'      PERFORM tollgate.change(%s, %L, NULL, 0, %s);\n',
      CASE WHEN shared THEN 'tg_row.first' ELSE 'TG_ARGV[0]' END, s.metric_type, rows) END, whose, rows);
  EXECUTE format(tollgate.source_changed(shared), s.id, s.metric_type, lost, tollgate.source_sum(s, 'x.'), tollgate.source_filter(s, 'x.'),
    format('rtrim(concat(x.%I))', coalesce(s.tenant_column, '')), whose);
END $$;

-- Functions of Tollgate's by a pattern of their names, with the triggers that call them: on tables of others, too, where DROP TRIGGER would
-- be their owner's alone to say.
CREATE OR REPLACE FUNCTION tollgate.drop_functions(pattern text) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  f record;
BEGIN
  FOR f IN SELECT p.oid::regprocedure AS name FROM pg_proc p WHERE p.pronamespace = 'tollgate'::regnamespace AND p.proname ~ pattern LOOP
    EXECUTE format('DROP FUNCTION %s CASCADE', f.name);
  END LOOP;
END $$;

-- ---- making, changing and removing one ----

-- A column's type where it is built into PostgreSQL, a domain's underlying one, and else text.
CREATE OR REPLACE FUNCTION tollgate.plain_type(type oid) RETURNS text LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE WHEN t.typtype = 'd' THEN tollgate.plain_type(t.typbasetype)
              WHEN t.typtype = 'b' AND t.oid < 16384 AND t.typnamespace = 'pg_catalog'::regnamespace THEN t.typname::text
              ELSE 'text' END FROM pg_type t WHERE t.oid = type
$$;
CREATE OR REPLACE FUNCTION tollgate.columns_of(tab regclass) RETURNS jsonb LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce(jsonb_object_agg(a.attname, tollgate.plain_type(a.atttypid)), '{}') FROM pg_attribute a
  WHERE a.attrelid = tab AND a.attnum > 0 AND NOT a.attisdropped
$$;

-- The columns that a source needs, of those that its table has; says which it has not.
CREATE OR REPLACE FUNCTION tollgate.needed_columns(s tollgate.usage_sources, tab regclass) RETURNS jsonb
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  known jsonb := tollgate.columns_of(tab);
  used text[] := '{}';
  col text;
BEGIN
  FOREACH col IN ARRAY ARRAY[s.tenant_column, s.value_column] LOOP
    IF NOT known ? col THEN
      RAISE EXCEPTION 'the table % has no column %', tab, col USING ERRCODE = 'TG003', DETAIL = 'column';
    END IF;
  END LOOP;
  IF s.value_column IS NOT NULL AND known ->> s.value_column NOT IN ('int2', 'int4', 'int8', 'numeric', 'float4', 'float8') THEN
    RAISE EXCEPTION 'the column % of % is no number, so it can''t be summed', s.value_column, tab USING ERRCODE = 'TG003', DETAIL = 'column';
  END IF;
  IF s.condition <> '' THEN
    used := coalesce((SELECT c.used FROM tollgate.check_condition(known, s.condition) c), '{}');
  END IF;
  RETURN (SELECT coalesce(jsonb_object_agg(k, known -> k), '{}') FROM jsonb_object_keys(known) k WHERE k = s.value_column OR k = ANY (used));
END $$;

-- A table that tells what columns a source's tables have: the shared one, or that of the first tenant that has one.
CREATE OR REPLACE FUNCTION tollgate.sample_table(s tollgate.usage_sources) RETURNS regclass
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  tab regclass := tollgate.source_table(s, '');
BEGIN
  IF s.tenant_column IS NULL THEN
    tab := (SELECT c.oid FROM tollgate.tenant_settings t JOIN pg_namespace n ON n.nspname = t.schema_name
            JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = s.table_name AND c.relkind IN ('r', 'p')
            WHERE t.schema_name NOT IN ('public', 'tollgate', 'pg_catalog', 'information_schema') ORDER BY t.tenant_id LIMIT 1);
  END IF;
  IF tab IS NULL AND s.tenant_column IS NULL THEN
    RAISE EXCEPTION 'no tenant''s schema has a table %: make the first one, then this metric', s.table_name USING ERRCODE = 'TG003', DETAIL = 'table';
  ELSIF tab IS NULL THEN
    RAISE EXCEPTION 'there is no table %.%', s.schema_name, s.table_name USING ERRCODE = 'TG003', DETAIL = 'table';
  END IF;
  RETURN tab;
END $$;

-- Sets what a gauge is counted from: the first time, or another condition, column or counter. Values of it are no longer taken from
-- clients, and neither are those of the counter.
CREATE OR REPLACE FUNCTION tollgate.set_source(metric text, place text, name text, tenant_column text, condition text, value_column text,
                                               records text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
DECLARE
  s tollgate.usage_sources;
  kind text := (SELECT m.kind FROM tollgate.usage_metrics m WHERE m.metric_type = metric);
BEGIN
  IF kind IS DISTINCT FROM 'gauge' THEN
    RAISE EXCEPTION '% is not a gauge, and only a gauge is counted from a table', metric USING ERRCODE = 'TG003', DETAIL = 'metric';
  ELSIF records IS NOT NULL AND (value_column IS NOT NULL OR NOT EXISTS (SELECT FROM tollgate.usage_metrics m WHERE m.metric_type = records AND m.kind = 'counter')) THEN
    RAISE EXCEPTION 'a counter that new rows record is another metric''s type, and the rows are counted, not summed' USING ERRCODE = 'TG003', DETAIL = 'records';
  END IF;
  s := ROW(0, metric, place, name, tenant_column, '{}', coalesce(condition, ''), value_column, records)::tollgate.usage_sources;
  s.columns := tollgate.needed_columns(s, tollgate.sample_table(s));
  INSERT INTO tollgate.usage_sources AS u (metric_type, schema_name, table_name, tenant_column, columns, condition, value_column, records)
  VALUES (metric, place, name, tenant_column, s.columns, s.condition, value_column, records)
  ON CONFLICT (metric_type) DO UPDATE SET columns = excluded.columns, condition = excluded.condition,
    value_column = excluded.value_column, records = excluded.records
  RETURNING u.* INTO s;
  UPDATE tollgate.usage_metrics m SET derived = true WHERE m.metric_type IN (metric, records) AND NOT m.derived;
  PERFORM tollgate.generate(s);
  PERFORM tollgate.attach_everywhere(s);
END $$;

-- What stands in place of null is as it was; '' takes it away.
CREATE OR REPLACE FUNCTION tollgate.change_source(metric text, condition text, value_column text, records text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_variable
BEGIN
  PERFORM tollgate.set_source(metric, s.schema_name, s.table_name, s.tenant_column, coalesce(condition, s.condition),
                              nullif(coalesce(value_column, s.value_column), ''), nullif(coalesce(records, s.records), ''))
  FROM tollgate.usage_sources s WHERE s.metric_type = metric;
  IF NOT FOUND THEN
    RAISE EXCEPTION '% is not counted from a table', metric USING ERRCODE = 'TG003', DETAIL = 'metric';
  END IF;
END $$;

-- "{schema}.projects" or public.projects, taken apart; with quotes as PostgreSQL has them.
CREATE OR REPLACE FUNCTION tollgate.source_place(source text, tenant_column text, OUT place text, OUT name text)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  own boolean := starts_with(source, '{schema}.');
  parts text[] := parse_ident(CASE WHEN own THEN 'own.' || substr(source, 10) ELSE source END);
BEGIN
  IF cardinality(parts) <> 2 THEN
    RAISE EXCEPTION 'the table % is written as {schema}.NAME, or as SCHEMA.NAME', source USING ERRCODE = 'TG003', DETAIL = 'table';
  ELSIF own <> (tenant_column IS NULL) THEN
    RAISE EXCEPTION 'a table that all tenants share has a column with the tenant''s id (--tenant-column), and one in a tenant''s schema has none'
      USING ERRCODE = 'TG003', DETAIL = 'tenant_column';
  END IF;
  place := CASE WHEN own THEN '{schema}' ELSE parts[1] END;
  name := parts[2];
END $$;

-- A source as a person reads it.
CREATE OR REPLACE FUNCTION tollgate.source_text(s tollgate.usage_sources) RETURNS text LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT concat(coalesce('sum of ' || quote_ident(s.value_column) || ' in ', 'rows of '),
    CASE WHEN s.tenant_column IS NULL THEN s.schema_name ELSE quote_ident(s.schema_name) END, '.', quote_ident(s.table_name),
    ' by ' || quote_ident(s.tenant_column), CASE WHEN s.condition <> '' THEN ' where ' || s.condition END, ', records ' || s.records)
$$;

-- A metric that is counted from a table goes with its triggers, its limits and everything that was recorded of it.
CREATE OR REPLACE FUNCTION tollgate.remove_source(metric text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  source integer := (SELECT s.id FROM tollgate.usage_sources s WHERE s.metric_type = metric);
BEGIN
  PERFORM tollgate.drop_functions(format('^source_%s_', source));
  DELETE FROM tollgate.enforced_gauges e WHERE e.metric = remove_source.metric;
  DELETE FROM tollgate.usage_changes c WHERE c.metric = remove_source.metric;
  DELETE FROM public.usage_tracking u WHERE u.metric_type = metric;
  DELETE FROM tollgate.usage_hourly h WHERE h.metric_type = metric;
  DELETE FROM tollgate.usage_daily d WHERE d.metric_type = metric;
  DELETE FROM tollgate.usage_metrics m WHERE m.metric_type = metric;
END $$;
