// become.test.mjs: whoever owns a tenant's table, or may make objects beside it, puts code there in each way that PostgreSQL has. Then
// everything of Tollgate's that reads or writes that table is run. The code says as whom it ran by a sequence, which no rollback
// takes back.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { attempt, patients, sql, start, stop, tollgate } from './lib.mjs';

before(start);
after(stop);

// trap.spring notes when it runs as one of Tollgate's powerful roles or a superuser, and else tries to become one of them.
const trap = `
  DROP SCHEMA IF EXISTS trap CASCADE; CREATE SCHEMA trap AUTHORIZATION clinic; GRANT USAGE ON SCHEMA trap TO PUBLIC; SET ROLE clinic;
  CREATE SEQUENCE trap.sprung; CREATE SEQUENCE trap.ran; CREATE SEQUENCE trap.escaped;
  GRANT USAGE ON ALL SEQUENCES IN SCHEMA trap TO PUBLIC;
  CREATE FUNCTION trap.spring() RETURNS boolean LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $f$
  DECLARE
    try text;
  BEGIN
    IF current_user IN ('tollgate_owner', 'tollgate_collector', 'tollgate_web')
       OR (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) THEN
      PERFORM pg_catalog.nextval('trap.sprung');
    ELSIF current_user = 'tollgate_counter' THEN
      PERFORM pg_catalog.nextval('trap.ran');
      FOREACH try IN ARRAY ARRAY['SET ROLE tollgate_owner', 'RESET ROLE', 'SET SESSION AUTHORIZATION tollgate_owner',
        'SELECT password_hash FROM tollgate.accounts', 'SELECT hash FROM tollgate.api_keys', 'SELECT name FROM b.patients', 'SELECT email FROM public.users',
        'UPDATE tollgate.tenant_settings SET state = ''active''', 'INSERT INTO tollgate.usage_changes (tenant_id, metric) VALUES (''b'', ''users_count'')',
        'CREATE FUNCTION tollgate.mine() RETURNS int LANGUAGE sql AS ''SELECT 1''', 'GRANT tollgate_owner TO clinic',
        'SELECT tollgate.set_subscription(''b'', ''t'', ''{"max_users":1}'')', 'SELECT pg_catalog.pg_read_file(''postgresql.conf'')',
        'COPY pg_catalog.pg_class TO PROGRAM ''true'''] LOOP
        BEGIN
          EXECUTE try;
          PERFORM pg_catalog.nextval('trap.escaped');
          RAISE WARNING 'escaped: %', try;
        EXCEPTION WHEN OTHERS THEN NULL;
        END;
      END LOOP;
      BEGIN
        PERFORM pg_catalog.set_config('search_path', 'trap, pg_catalog', false);
        CREATE TEMP TABLE batch (ordinal bigint);
      EXCEPTION WHEN OTHERS THEN NULL;
      END;
    END IF;
    RETURN true;
  END $f$;
  CREATE FUNCTION trap.sprung(anyelement) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN trap.spring(); END';
  CREATE FUNCTION trap.number() RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT trap.spring()::int';
  CREATE FUNCTION trap.row() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM trap.spring(); IF TG_WHEN = ''BEFORE'' AND TG_LEVEL = ''ROW'' THEN RETURN coalesce(NEW, OLD); END IF; RETURN NULL; END';
  CREATE FUNCTION trap.now() RETURNS timestamptz LANGUAGE sql AS 'SELECT CASE WHEN trap.spring() THEN pg_catalog.now() END';
  CREATE FUNCTION trap.count() RETURNS bigint LANGUAGE sql AS 'SELECT trap.spring()::int::bigint';
  CREATE FUNCTION trap.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS 'SELECT CASE WHEN trap.spring() THEN pg_catalog.now() END';
  GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA trap TO PUBLIC;
  RESET ROLE;`;

// Operators that fit better than PostgreSQL's own, in a schema: of the types that Tollgate's own tables have.
const operators = (schema) => [['=', 'varchar', 'text'], ['=', 'varchar', 'varchar'], ['=', 'text', 'varchar'], ['<>', 'varchar', 'varchar'],
  ['>=', 'bigint', 'integer'], ['<=', 'bigint', 'integer'], ['-', 'bigint', 'integer'], ['+', 'date', 'bigint'], ['||', 'varchar', 'text'], ['->', 'jsonb', 'varchar']]
  .map(([name, left, right], i) => `
  CREATE FUNCTION ${schema}.evil_${i} (l ${left}, r ${right}) RETURNS ${['=', '<>', '>=', '<='].includes(name) ? 'boolean' : name === '->' ? 'jsonb' : left}
    LANGUAGE plpgsql AS $f$BEGIN PERFORM trap.spring(); RETURN (SELECT l OPERATOR(pg_catalog.${name}) r); END$f$;
  CREATE OPERATOR ${schema}.${name} (LEFTARG = ${left}, RIGHTARG = ${right}, FUNCTION = ${schema}.evil_${i});`).join('\n');

const enumeration = "CREATE TYPE trap.st AS ENUM ('active', 'left'); CREATE FUNCTION trap.st_text(trap.st) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT CASE WHEN trap.spring() THEN ''active'' END'; GRANT USAGE ON TYPE trap.st TO PUBLIC;";
const table = (columns, more = '') => `DROP TABLE a.patients; CREATE TABLE a.patients (id bigint GENERATED ALWAYS AS IDENTITY, name text, ${columns}) ${more}`;
const ofType = "status trap.st DEFAULT 'active'";

// What clinic does; `as`: who else does something, before or after.
const tricks = {
  'a policy': 'ALTER TABLE a.patients ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON a.patients USING (trap.spring())',
  'a policy that is forced': 'ALTER TABLE a.patients ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY; CREATE POLICY p ON a.patients USING (trap.sprung(status))',
  'a policy of a partition': `${table("status text DEFAULT 'active'", 'PARTITION BY LIST (status)')}; CREATE TABLE a.p1 PARTITION OF a.patients DEFAULT;
    ALTER TABLE a.p1 ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON a.p1 USING (trap.spring())`,
  'an operator of public for an enum': { as: [['clinic', `${enumeration} ${table(ofType)}`], ['maker', `CREATE FUNCTION public.st_eq(trap.st, trap.st) RETURNS boolean LANGUAGE sql
    AS 'SELECT trap.spring()'; CREATE OPERATOR public.= (LEFTARG = trap.st, RIGHTARG = trap.st, FUNCTION = public.st_eq)`]] },
  'an implicit cast of an enum to text': `${enumeration} CREATE CAST (trap.st AS text) WITH FUNCTION trap.st_text(trap.st) AS IMPLICIT; ${table(ofType)}`,
  'an assignment cast of an enum to text': `${enumeration} CREATE CAST (trap.st AS text) WITH FUNCTION trap.st_text(trap.st) AS ASSIGNMENT; ${table(ofType)}`,
  'an implicit cast of an enum to varchar': `${enumeration} CREATE FUNCTION trap.st_varchar(trap.st) RETURNS varchar LANGUAGE sql AS 'SELECT CASE WHEN trap.spring() THEN ''active'' END';
    CREATE CAST (trap.st AS varchar) WITH FUNCTION trap.st_varchar(trap.st) AS IMPLICIT; ${table(ofType)}`,
  'a domain with a check': `CREATE DOMAIN trap.dom AS text CHECK (trap.sprung(VALUE)); ${table("status trap.dom DEFAULT 'active'")}`,
  'a composite type': `CREATE TYPE trap.comp AS (x text); CREATE FUNCTION trap.comp_eq(trap.comp, text) RETURNS boolean LANGUAGE sql AS 'SELECT trap.spring()';
    CREATE OPERATOR trap.= (LEFTARG = trap.comp, RIGHTARG = text, FUNCTION = trap.comp_eq); ${table('status trap.comp')}`,
  'a collation': `CREATE COLLATION trap.coll (provider = icu, locale = 'und-u-ks-level2', deterministic = false); ${table("status text COLLATE trap.coll DEFAULT 'active'")}`,
  'an index over an expression': 'CREATE INDEX ON a.patients ((trap.number()))',
  'an index over the status': 'CREATE INDEX ON a.patients ((trap.sprung(status)))',
  'an index with a condition': 'CREATE INDEX ON a.patients (id) WHERE trap.spring()',
  'statistics of an expression': 'CREATE STATISTICS a.s ON (trap.sprung(status)), (trap.sprung(name)) FROM a.patients; ANALYZE a.patients',
  'a check': 'ALTER TABLE a.patients ADD CHECK (trap.spring()), ADD CHECK (trap.sprung(status))',
  'a generated column': 'ALTER TABLE a.patients ADD generated boolean GENERATED ALWAYS AS (trap.sprung(status)) STORED',
  'a default': 'ALTER TABLE a.patients ADD made timestamptz DEFAULT trap.now()',
  'triggers': 'CREATE TRIGGER t1 BEFORE INSERT OR UPDATE OR DELETE ON a.patients FOR EACH ROW EXECUTE FUNCTION trap.row(); CREATE TRIGGER a_first AFTER INSERT ON a.patients FOR EACH STATEMENT EXECUTE FUNCTION trap.row(); CREATE CONSTRAINT TRIGGER t3 AFTER INSERT ON a.patients DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION trap.row()',
  'a rule': 'CREATE RULE r AS ON INSERT TO a.patients DO ALSO SELECT trap.spring()',
  'a view in its place': "ALTER TABLE a.patients RENAME TO real; CREATE VIEW a.patients AS SELECT * FROM a.real WHERE trap.spring(); GRANT SELECT ON a.patients TO PUBLIC",
  'a materialized view in its place': 'ALTER TABLE a.patients RENAME TO real; CREATE MATERIALIZED VIEW a.patients AS SELECT * FROM a.real WHERE trap.spring(); GRANT SELECT ON a.patients TO PUBLIC',
  'a partition key of an expression': `${table("status text DEFAULT 'active'", 'PARTITION BY RANGE ((trap.sprung(status)::int))')}; CREATE TABLE a.p1 PARTITION OF a.patients DEFAULT`,
  'a partition with a check': `${table("status text DEFAULT 'active'", 'PARTITION BY LIST (status)')}; CREATE TABLE a.p1 PARTITION OF a.patients FOR VALUES IN ('active');
    ALTER TABLE a.p1 ADD CHECK (trap.spring()); CREATE INDEX ON a.p1 ((trap.number())); CREATE TABLE a.p2 PARTITION OF a.patients DEFAULT`,
  'a child by inheritance': "CREATE TABLE a.child (CHECK (trap.spring())) INHERITS (a.patients); CREATE INDEX ON a.child ((trap.number())); INSERT INTO a.child (id, name) VALUES (7, 'x')",
  'operators of public': { as: [['maker', operators('public')]] },
  'functions of public': { as: [['maker', `CREATE FUNCTION public.count() RETURNS bigint LANGUAGE sql AS 'SELECT trap.count()'; CREATE FUNCTION public.floor(bigint) RETURNS numeric LANGUAGE sql AS 'SELECT trap.count()::numeric';
    CREATE FUNCTION public.greatest(bigint, bigint) RETURNS bigint LANGUAGE sql AS 'SELECT trap.count()'; CREATE FUNCTION public.jsonb_build_object(text, bigint) RETURNS jsonb LANGUAGE sql AS 'SELECT to_jsonb(trap.count())';
    CREATE FUNCTION public.hashtext(varchar) RETURNS int LANGUAGE sql AS 'SELECT trap.number()'; CREATE FUNCTION public.left(varchar, int) RETURNS text LANGUAGE sql AS 'SELECT trap.number()::text'`]] },
  'types of pg_temp': { temp: `CREATE DOMAIN pg_temp.text AS pg_catalog.text CHECK (trap.sprung(VALUE)); CREATE DOMAIN pg_temp.bytea AS pg_catalog.bytea CHECK (trap.sprung(VALUE));
    CREATE DOMAIN pg_temp.jsonb AS pg_catalog.jsonb CHECK (trap.sprung(VALUE)); CREATE DOMAIN pg_temp.timestamptz AS pg_catalog.timestamptz CHECK (trap.sprung(VALUE)); CREATE DOMAIN pg_temp.record AS pg_catalog.text CHECK (trap.sprung(VALUE));` },
  'tables of pg_temp': { temp: ['usage_changes', 'enforce_shares', 'enforced_gauges', 'tenant_settings', 'usage_summary', 'config_changes', 'tenant_periods', 'usage_metrics']
    .map((t) => `CREATE TEMP TABLE ${t} (tenant_id text, metric text, id int, delta bigint, free bigint, changed boolean, gauge int, slot int, until timestamptz); CREATE TRIGGER t BEFORE INSERT OR UPDATE ON pg_temp.${t} FOR EACH STATEMENT EXECUTE FUNCTION trap.row();`).join(' ') },
  'a schema in search_path': { temp: 'SET search_path = trap, public, pg_catalog;', as: [['clinic', operators('trap')]] },
};

const users = "INSERT INTO public.users (tenant_id, email) VALUES ('a', 'x@example.com'); INSERT INTO public.users (tenant_id, email) VALUES ('a', 'y'), ('b', 'z');";
const hosts = {
  'a trigger of tenant_subscriptions': 'CREATE TRIGGER t BEFORE INSERT OR UPDATE ON tenant_subscriptions FOR EACH ROW EXECUTE FUNCTION trap.row(); CREATE TRIGGER t2 AFTER UPDATE ON tenant_subscriptions FOR EACH STATEMENT EXECUTE FUNCTION trap.row()',
  'a trigger of tenant_subscriptions at the commit': 'CREATE CONSTRAINT TRIGGER t AFTER INSERT OR UPDATE ON tenant_subscriptions DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION trap.row()',
  'triggers of users and tenants': 'CREATE TRIGGER t BEFORE INSERT OR UPDATE ON users FOR EACH ROW EXECUTE FUNCTION trap.row(); CREATE TRIGGER t BEFORE INSERT OR UPDATE ON tenants FOR EACH ROW EXECUTE FUNCTION trap.row()',
  'a policy of users': 'ALTER TABLE users ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON users USING (trap.spring()); CREATE POLICY q ON users FOR INSERT WITH CHECK (true)',
  'an index of users over an expression': 'CREATE INDEX ON users ((trap.number()))',
  'a domain as usage_limits': `CREATE DOMAIN trap.doc AS jsonb CHECK (trap.sprung(VALUE)); ALTER TABLE tenant_subscriptions RENAME usage_limits TO earlier; ALTER TABLE tenant_subscriptions ADD usage_limits trap.doc DEFAULT '{}';
    UPDATE tenant_subscriptions SET tier_id = tier_id, usage_limits = '{"max_patients": 77}'`,
  'an enum as the tenant of users': `CREATE TYPE trap.tid AS ENUM ('a', 'b'); CREATE FUNCTION trap.tid_text(trap.tid) RETURNS text LANGUAGE sql AS 'SELECT CASE WHEN trap.spring() THEN ''a'' END';
    CREATE CAST (trap.tid AS text) WITH FUNCTION trap.tid_text(trap.tid) AS IMPLICIT; ALTER TABLE users DROP CONSTRAINT users_tenant_id_fkey, ALTER tenant_id TYPE trap.tid USING 'a'`,
};

// What the programs set at each transaction (lib/store/db.c).
const program = 'SET search_path = pg_catalog, pg_temp; ';

// Everything of Tollgate's that touches a tenant's table, users or subscriptions, each in a session of its role's.
function everything(database, temp = '') {
  const steps = [
    ['clinic', `${temp} INSERT INTO a.patients (name) VALUES ('x'); INSERT INTO a.patients (name) SELECT 'y' FROM generate_series(1, 3); UPDATE a.patients SET name = 'z'; UPDATE a.patients SET status = 'left' WHERE name = 'x'; DELETE FROM a.patients WHERE name = 'x';`],
    ['app', `${temp} ${users}`],
    ['tollgate_collector', "SELECT tollgate.attach_new(50); SELECT tollgate.recount('a'); SELECT tollgate.expire_limits(); SELECT tollgate.rollover('', 100); SELECT tollgate.feed_limits(NULL, '', 100)"],
    ['tollgate_collector', 'BEGIN; SELECT tollgate.batch_open(); SELECT tollgate.ingest_changes(100); COMMIT; BEGIN; SELECT tollgate.batch_open(); SELECT tollgate.ingest_changes(100); COMMIT;'],
    ['tollgate_web', `BEGIN; SELECT set_config('tollgate.tenant_id', 'a', true); SELECT tollgate.recount('a'); SELECT name FROM tollgate.host_tenant; COMMIT; BEGIN; SELECT set_config('tollgate.tenant_id', 'a', true);
      SELECT tollgate.set_subscription('a', 't', '{"max_patients":90}'); SELECT tollgate.request_measure('a'); COMMIT; SELECT * FROM tollgate.operator_tenants(NULL, NULL, NULL, 10)`],
    ['tollgate_owner', "SELECT tollgate.set_subscription('a', NULL, '{\"max_patients\":80}'); UPDATE public.subscription_tiers SET limits = limits || '{\"max_users\":70}' WHERE id = 't';"],
    ['tollgate_owner', "SELECT tollgate.enforce('a', true)"],
    ['tollgate_owner', "SELECT * FROM tollgate.reconcile_gauges('a'); SELECT tollgate.repair('a')"],
    ['clinic', `${temp} INSERT INTO a.patients (name) VALUES ('x'); INSERT INTO a.patients (name) SELECT 'y' FROM generate_series(1, 3); DELETE FROM a.patients WHERE name = 'x'; TRUNCATE a.patients;`],
    ['app', `${temp} ${users}`],
    ['tollgate_collector', 'BEGIN; SELECT tollgate.batch_open(); SELECT tollgate.ingest_changes(100); COMMIT;'],
    ['tollgate_owner', "SELECT tollgate.enforce('a', false)"],
  ];
  return steps.map(([role, text]) => attempt(database, role, role.startsWith('tollgate') ? program + text : text).err).join('');
}
const noted = (database) => sql(database, "SELECT string_agg(sequencename, ' ' ORDER BY 1) FROM pg_sequences WHERE schemaname = 'trap' AND last_value IS NOT NULL");
function clean(database) {
  for (const kind of ['VIEW', 'MATERIALIZED VIEW', 'TABLE']) attempt(database, 'clinic', `DROP ${kind} a.patients CASCADE`);
  sql(database, `DROP TABLE IF EXISTS a.real; DELETE FROM users; ${trap} SET ROLE clinic; ${patients}; RESET ROLE;`);
  if (database === 'own') sql(database, 'GRANT TRIGGER, SELECT ON a.patients TO tollgate_owner');
  sql(database, "SELECT tollgate.attach_new(50)", 'tollgate_collector');
}

for (const database of ['own', 'host'])
  for (const [name, trick] of Object.entries(tricks))
    test(`${name} does not make its maker one of Tollgate's roles (${database})`, () => {
      clean(database);
      const steps = typeof trick === 'string' ? [['clinic', trick]] : trick.as ?? [];
      for (const [role, text] of steps) sql(database, text, role);
      if (database === 'own') attempt(database, 'clinic', 'GRANT TRIGGER, SELECT ON a.patients TO tollgate_owner; GRANT SELECT ON a.patients TO tollgate_counter; GRANT USAGE ON SCHEMA a TO tollgate_counter');
      const said = everything(database, trick.temp);
      sql(database, 'DROP OWNED BY maker CASCADE; GRANT CREATE ON SCHEMA public TO maker');
      assert.doesNotMatch(noted(database), /sprung|escaped/, said);
    });
for (const [name, trick] of Object.entries(hosts))
  test(`${name} does not make the host's owner one of Tollgate's roles`, () => {
    clean('host');
    sql('host', 'CREATE DATABASE spare TEMPLATE host');
    try {
      sql('spare', `GRANT USAGE, CREATE ON SCHEMA trap TO host_owner; GRANT CREATE ON SCHEMA public TO host_owner`);
      sql('spare', trick, 'host_owner');
      const said = everything('spare');
      assert.doesNotMatch(noted('spare'), /sprung|escaped/, said);
    } finally {
      sql('postgres', 'DROP DATABASE spare');
    }
  });
test('a function in place of the column that is gone does not make its maker one of Tollgate\'s roles', () => {
  clean('host');
  sql('host', "SELECT tollgate.enforce('a', true)");
  sql('host', `CREATE FUNCTION trap.status(record) RETURNS text LANGUAGE plpgsql AS 'BEGIN PERFORM trap.spring(); RETURN ''active''; END';
    CREATE FUNCTION trap.tenant_id(record) RETURNS text LANGUAGE plpgsql AS 'BEGIN PERFORM trap.spring(); RETURN ''a''; END';
    ALTER TABLE a.patients DROP COLUMN status; SET search_path = trap, public, pg_catalog; INSERT INTO a.patients (name) VALUES ('x');
    INSERT INTO a.patients (name) SELECT 'y' FROM generate_series(1, 3); UPDATE a.patients SET name = 'z'; DELETE FROM a.patients WHERE name = 'z'`, 'clinic');
  sql('host', 'SELECT tollgate.attach_new(50)', 'tollgate_collector');
  assert.doesNotMatch(noted('host'), /sprung|escaped/);
  sql('host', "SELECT tollgate.enforce('a', false)");
});
test('the trap does spring: an index over an expression runs as tollgate_counter', () => {
  clean('host');
  sql('host', tricks['an index over an expression'], 'clinic');
  everything('host');
  assert.equal(noted('host'), 'ran');
});
test('a count by tollgate_counter undoes what the table\'s code did in the session', () => {
  clean('host');
  sql('host', tricks['an index over an expression'], 'clinic');
  assert.equal(sql('host', "SET search_path = public; SELECT tollgate.recount('a'); SHOW search_path; SELECT to_regclass('pg_temp.batch') IS NULL", 'tollgate_collector'), 'public\nt');
  assert.equal(sql('host', "SELECT patients_count FROM usage_summary WHERE tenant_id = 'a'"), '1');
});
