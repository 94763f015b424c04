-- Looks at a mapping (the setting tollgate.mapping) and gives tollgate_owner its rights on the host's table of tenants. Run by
-- `tollgate adopt --map` as the role that adopts, in the transaction that makes the rest. What is wrong with the mapping is said as a sentence.
DO $$
DECLARE
  m jsonb := pg_catalog.current_setting('tollgate.mapping');
  tab regclass := coalesce(pg_catalog.to_regclass(m ->> 'table'), pg_catalog.to_regclass('public.' || (m ->> 'table')));
  k record;
  columns text;
  id_type text;
BEGIN
  IF pg_catalog.to_regnamespace('tollgate') IS NOT NULL THEN
    RAISE EXCEPTION 'this database has a schema tollgate already';
  ELSIF tab IS NULL OR (SELECT c.relkind NOT IN ('r', 'p') FROM pg_catalog.pg_class c WHERE c.oid = tab) THEN
    RAISE EXCEPTION 'the mapping says that tenants are in %, and there is no such table', m ->> 'table';
  END IF;
  SELECT pg_catalog.string_agg(a.attname, ', ' ORDER BY a.attnum) INTO columns FROM pg_catalog.pg_attribute a
  WHERE a.attrelid = tab AND a.attnum > 0 AND NOT a.attisdropped;
  FOR k IN SELECT * FROM pg_catalog.jsonb_each_text(m) j WHERE j.key IN ('id', 'name', 'plan', 'state', 'schema') LOOP
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = tab AND a.attname = k.value AND a.attnum > 0 AND NOT a.attisdropped) THEN
      RAISE EXCEPTION 'the mapping says that a tenant''s % is in the column %, and % has no such column: it has %', k.key, k.value, tab, columns;
    END IF;
  END LOOP;
  SELECT pg_catalog.format_type(a.atttypid, NULL) INTO id_type FROM pg_catalog.pg_attribute a WHERE a.attrelid = tab AND a.attname = m ->> 'id';
  IF id_type NOT IN ('text', 'character varying', 'character', 'uuid', 'smallint', 'integer', 'bigint') THEN
    RAISE EXCEPTION 'the column % of % is of type %: a tenant''s id is a text, a uuid or an integer', m ->> 'id', tab, id_type;
  ELSIF NOT EXISTS (SELECT FROM pg_catalog.pg_index i JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
                    WHERE i.indrelid = tab AND i.indisunique AND i.indpred IS NULL AND i.indnkeyatts = 1 AND a.attname = m ->> 'id') THEN
    RAISE EXCEPTION 'the column % of % is neither a primary key nor unique: two tenants could have one id', m ->> 'id', tab;
  ELSIF m ->> 'pattern' NOT LIKE '%{id}%' THEN
    RAISE EXCEPTION 'the pattern of schemas, %, lacks {id}: all tenants would have one schema', m ->> 'pattern';
  END IF;
  EXECUTE pg_catalog.format('GRANT USAGE ON SCHEMA %s TO tollgate_owner',
                            (SELECT c.relnamespace::pg_catalog.regnamespace FROM pg_catalog.pg_class c WHERE c.oid = tab));
  EXECUTE pg_catalog.format('GRANT TRIGGER, SELECT (%s) ON %s TO tollgate_owner', (SELECT pg_catalog.string_agg(DISTINCT pg_catalog.quote_ident(j.value), ', ')
    FROM pg_catalog.jsonb_each_text(m) j WHERE j.key IN ('id', 'name', 'plan', 'state', 'schema')), tab);
  PERFORM pg_catalog.set_config('tollgate.mapping', (m || pg_catalog.jsonb_build_object(
    'type', (SELECT t.typname FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid WHERE a.attrelid = tab AND a.attname = m ->> 'id'),
    'table', (SELECT pg_catalog.format('%I.%I', n.nspname, c.relname) FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
              WHERE c.oid = tab)))::text, true);
END $$;
