// rights.test.mjs: what each role may do stands in rights.txt, and what it must not do is refused, in a database of Tollgate's own and
// in an adopted one.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { attempt, root, sql, start, stop } from './lib.mjs';

before(start);
after(stop);

const listing = readFileSync(join(root, 'tests/sql/rights_of.sql'), 'utf8');
const lines = (text) => text.trim().split('\n');
test('each role has the rights that rights.txt lists; a new one is written there', () => {
  const listed = lines(readFileSync(join(root, 'tests/sql/rights.txt'), 'utf8'));
  assert.deepEqual(lines(sql('own', listing)), listed);
});
test('in an adopted database a role has no right that it lacks elsewhere but temporary tables', () => {
  const listed = new Set(lines(sql('own', listing)));
  assert.deepEqual(lines(sql('host', listing)).filter((line) => !listed.has(line)),
    ['tollgate_counter creates temporary tables', 'tollgate_web creates temporary tables']);
});

// Without SET search_path, since that costs an insert too much: each name, operator and type is written with its schema there.
const qualified = ['tollgate.source_1_added()', 'tollgate.source_2_added()', 'tollgate.source_3_added()'];
for (const database of ['own', 'host']) {
  test(`a function that runs as another role looks in pg_catalog alone (${database})`, () => {
    assert.equal(sql(database, `SELECT string_agg(p.oid::regprocedure::text, ', ' ORDER BY p.proname) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
      WHERE n.nspname = 'tollgate' AND p.prosecdef AND NOT coalesce(p.proconfig, '{}') @> ARRAY['search_path=pg_catalog, pg_temp']`), qualified.join(', '));
  });
  test(`no function is everybody's to call (${database})`, () => {
    assert.equal(sql(database, `SELECT string_agg(p.oid::regprocedure::text, ', ') FROM pg_proc p WHERE p.pronamespace = 'tollgate'::regnamespace
      AND (p.proacl IS NULL OR EXISTS (SELECT FROM aclexplode(p.proacl) a WHERE a.grantee = 0))`), '');
  });
  test(`every table with a tenant forces row-level security and has a policy (${database})`, () => {
    assert.equal(sql(database, `SELECT string_agg(c.oid::regclass::text, ', ') FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
      WHERE c.relkind IN ('r', 'p') AND c.relowner = 'tollgate_owner'::regrole AND c.relname NOT IN ('users', 'tenant_subscriptions')
      AND NOT (c.relrowsecurity AND c.relforcerowsecurity AND EXISTS (SELECT FROM pg_policy p WHERE p.polrelid = c.oid))`), '');
  });
  test(`tollgate_counter owns its functions and nothing else (${database})`, () => {
    assert.equal(sql(database, `SELECT string_agg(pg_describe_object(d.classid, d.objid, 0), ', ' ORDER BY pg_describe_object(d.classid, d.objid, 0)) FROM pg_shdepend d
      WHERE d.refobjid = 'tollgate_counter'::regrole AND d.deptype = 'o'`), ['count_rows(regclass,text,text)', 'host_limits(text,jsonb)', 'host_tier(text,text)',
      'host_usage(text[],jsonb[])'].map((f) => `function tollgate.${f}`).join(', '));
  });
}
test('the functions without search_path name everything with its schema', () => {
  const source = sql('own', `SELECT string_agg(prosrc, '') FROM pg_proc WHERE oid = ANY (ARRAY['${qualified.join("', '")}']::regprocedure[])`);
  const code = source.replace(/--.*$|^#variable_conflict use_column$/gm, '').replace(/'[^']*'/g, "''");
  // Functions, types after :: or in a declaration, and operators between two things.
  assert.deepEqual(code.match(/(?<![\w.])(?!IF\b|IN\b|AND\b|EXISTS\b|WHERE\b|FILTER\b|VALUES\b|INTO\b|FROM\b|SELECT\b|OPERATOR\b|usage_changes\b)[a-zA-Z_]+\s*\((?!pg_catalog\.[^\w])/g) ?? [], []);
  assert.deepEqual(code.match(/::(?!pg_catalog\.)\w+/g) ?? [], []);
  assert.deepEqual(code.match(/^\s+\w+ (?!integer|bigint|pg_catalog\.)[a-z]+( :=|;)/gm) ?? [], []);
  assert.deepEqual(code.replace(/OPERATOR\(pg_catalog\.[^)]+\)/g, '').replace(/:=|SET \w+ =|, changed =|count\(\*\)/g, '').match(/[-+*\/<>=~!@#%^&|]+/g) ?? [], []);
});

// Each [role, what it tries]. A line that is refused names no row and changes none; `none` is refused by showing nothing.
const secrets = ['SELECT password_hash FROM tollgate.accounts', 'SELECT hash FROM tollgate.api_keys', 'SELECT token_hash FROM tollgate.account_sessions',
  'SELECT token FROM tollgate.collector_nodes', 'SELECT name FROM b.patients', 'SELECT email FROM public.users', 'SELECT subject FROM tollgate.signin_failures'];
const becoming = ['SET ROLE tollgate_owner', 'SET ROLE tollgate_counter', 'SET SESSION AUTHORIZATION tollgate_owner', 'GRANT tollgate_owner TO CURRENT_USER', 'ALTER ROLE tollgate_owner SUPERUSER',
  'CREATE ROLE other LOGIN', 'SET session_replication_role = replica', 'ALTER TABLE tollgate.accounts DISABLE ROW LEVEL SECURITY', 'ALTER TABLE tollgate.accounts OWNER TO CURRENT_USER',
  'CREATE POLICY all_of_it ON tollgate.accounts USING (true)', 'CREATE FUNCTION tollgate.tenant() RETURNS text LANGUAGE sql AS $$SELECT NULL$$', 'CREATE OR REPLACE FUNCTION tollgate.only_own(tenant text) RETURNS void LANGUAGE sql AS $$$$',
  'DROP FUNCTION tollgate.only_own(text)', 'ALTER FUNCTION tollgate.recount(text) RESET ALL', 'CREATE TABLE tollgate.t (x int)', 'DROP TABLE public.usage_tracking', 'TRUNCATE tollgate.usage_changes',
  'CREATE TRIGGER t AFTER INSERT ON tollgate.usage_changes FOR EACH ROW EXECUTE FUNCTION tollgate.source_2_added()', "COPY pg_class TO PROGRAM 'true'", "COPY pg_class TO '/tmp/tollgate-rights'",
  "SELECT pg_read_file('postgresql.conf')", "SELECT pg_ls_dir('.')", "SELECT lo_import('/etc/passwd')", "SELECT lo_export(1, '/tmp/x')", 'CREATE EXTENSION dblink', "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE c AS '/lib/x86_64-linux-gnu/libc.so.6', 'getpid'",
  "SET log_min_messages = fatal", "SELECT pg_rotate_logfile()", 'LOAD \'/lib/x86_64-linux-gnu/libm.so.6\'', 'DROP SCHEMA tollgate CASCADE', 'ALTER DATABASE own SET search_path = a',
  "UPDATE tollgate.accounts SET role = 'operator', tenant_id = NULL", "UPDATE tollgate.api_keys SET revoked_at = NULL", "INSERT INTO tollgate.api_keys (id, name, hash, scopes) VALUES ('abcdefgh', 'k', sha256('x'), '{admin}')",
  "INSERT INTO tollgate.account_sessions (token_hash, account_id) VALUES (sha256('x'), 1)", "UPDATE tollgate.tenant_settings SET state = 'active'", "UPDATE public.tenant_subscriptions SET usage_limits = '{}'",
  "UPDATE tollgate.usage_limit_overrides SET max = -1", "UPDATE tollgate.enforce_shares SET free = 1000000", "INSERT INTO public.subscription_tiers (id, name) VALUES ('x', 'x')", "UPDATE tollgate.usage_metrics SET derived = false",
  "DELETE FROM public.tenants", "SELECT tollgate.enforce('a', false)", "SELECT tollgate.count_rows('b.patients', 'patients_count', 'b')", "SELECT tollgate.put_limits('a', '{}')", "SELECT tollgate.put_tier('a', 't')", "SELECT tollgate.host_limits('a', '{}')", 'SELECT name FROM tollgate.tenants', "UPDATE tollgate.subscriptions SET usage_limits = '{}'", "DELETE FROM tollgate.tenants", "UPDATE tollgate.tiers SET limits = '{}'",
  "SELECT tollgate.apply_limits('a')", "SELECT tollgate.attach('a')", "SELECT tollgate.detach('b')", "SELECT tollgate.grant_schema('b')", "SELECT tollgate.provision('a')", "SELECT tollgate.enforced_max('a', 'users_count')", "SELECT tollgate.tenant_table('b', 'patients')",
  "SELECT tollgate.secure('tollgate.accounts')", "SELECT tollgate.repair('a')", "SELECT tollgate.set_source('users_count', 'public', 'users', 'tenant_id', '', NULL, NULL)", "SELECT tollgate.remove_source('users_count')", "SELECT tollgate.fill_shares(1)", "SELECT tollgate.note('a', 'users_count', -1000)"];
const asAnother = ["SELECT set_config('tollgate.tenant_id', 'a', false)"];
const ofWeb = ["SELECT tollgate.recount('b')", "SELECT tollgate.set_subscription('b', 't', NULL)", "SELECT tollgate.ensure_periods('b', now(), now())", "SELECT tollgate.request_measure('b')",
  'SELECT * FROM tollgate.tenant_settings', 'SELECT * FROM public.usage_tracking', 'SELECT * FROM tollgate.usage_hourly', 'INSERT INTO tollgate.usage_daily DEFAULT VALUES', "UPDATE public.usage_summary SET users_count = 0", 'DELETE FROM tollgate.usage_counts',
  'SELECT tollgate.attach_new(1)', "SELECT tollgate.put_usage('{b}', '{\"{}\"}')", "SELECT tollgate.drop_partitions(1)", "SELECT tollgate.feed_tenants(NULL, NULL, 9)"];
const ofCollector = ["SELECT tollgate.account_by_email('o@example.com')", "SELECT tollgate.session_open('x', 1)", "SELECT tollgate.session_find('x', 1, 1)", "SELECT tollgate.account_password('x', 'y')", "SELECT tollgate.account_renew_hash(1, 'x', 'y')",
  "SELECT tollgate.set_subscription('a', 't', NULL)", 'UPDATE public.usage_tracking SET metric_value = 0', 'DELETE FROM public.usage_tracking', 'SELECT * FROM tollgate.usage_rejected', 'SELECT name FROM public.tenants', "UPDATE tollgate.api_keys SET scopes = '{admin}'",
  'SELECT tenant_id FROM public.users'];
const ofHost = ["SELECT tollgate.recount('b')", "SELECT tollgate.set_subscription('b', 't', NULL)", "SELECT tollgate.account_by_email('o@example.com')", 'SELECT * FROM public.usage_summary', 'SELECT * FROM tollgate.host_subscription',
  "SELECT tollgate.signin_ok('x', 'y')", "SELECT tollgate.put_usage('{b}', '{\"{}\"}')", "SELECT tollgate.ingest_reject()", "SELECT tollgate.tenant()", 'SELECT * FROM tollgate.usage_metrics', 'SELECT position FROM tollgate.collector_progress'];
const key = "SELECT id FROM tollgate.api_keys WHERE tenant_id <> 'a'"; // what the collector may, the collector alone
const may = { // role: what of the above it may
  tollgate_web: [], tollgate_collector: [secrets[1], secrets[3]], clinic: [], app: [secrets[5]], maker: [], anyone: [],
};
const tries = { tollgate_web: [...secrets, ...becoming, ...ofWeb, key], tollgate_collector: [...secrets, ...becoming, ...ofCollector],
  clinic: [...secrets, ...becoming, ...ofHost, key], app: [...secrets, ...becoming, ...ofHost, key], maker: [...secrets, ...becoming, ...ofHost, key], anyone: [...secrets, ...becoming, ...ofHost, key] };
const state = (database) => sql(database, `SELECT md5(string_agg(x::text, '' ORDER BY x::text)) FROM (SELECT to_jsonb(a) AS x FROM tollgate.accounts a UNION ALL SELECT to_jsonb(k) FROM tollgate.api_keys k
  UNION ALL SELECT to_jsonb(s) FROM tollgate.tenant_settings s UNION ALL SELECT to_jsonb(s) FROM tenant_subscriptions s UNION ALL SELECT to_jsonb(s) FROM tollgate.account_sessions s UNION ALL SELECT to_jsonb(p) - 'oid' FROM pg_roles p
  UNION ALL SELECT to_jsonb(m) FROM tollgate.usage_metrics m UNION ALL SELECT to_jsonb(t) FROM subscription_tiers t UNION ALL SELECT to_jsonb(e) FROM tollgate.usage_changes e UNION ALL SELECT to_jsonb(p.prosrc) FROM pg_proc p WHERE pronamespace = 'tollgate'::regnamespace) x`);

for (const database of ['own', 'host'])
  for (const [role, statements] of Object.entries(tries))
    test(`${role} is refused ${statements.length - may[role].length} things that it tries (${database})`, () => {
      const before = state(database);
      const got = statements.filter((text) => !may[role].includes(text)).filter((text) => {
        const r = attempt(database, role, `BEGIN; ${asAnother}; ${text}; ROLLBACK;`);
        return r.status === 0 || !/permission denied|must be|must have|not allowed|another tenant is set|function tollgate.grant_schema\(unknown\) does not exist/.test(r.err);
      });
      assert.deepEqual(got, []);
      assert.equal(state(database), before);
    });
test('tollgate_counter can\'t sign in', () => {
  assert.match(attempt('own', 'tollgate_counter', 'SELECT 1').err, /not permitted to log in/);
});
