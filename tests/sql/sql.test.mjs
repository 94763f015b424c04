// sql.test.mjs: schema, row-level security, periods, triggers, migrations and adoption on a PostgreSQL of its own
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { appendFileSync, cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, dirname } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
const pg = mkdtempSync(join(tmpdir(), 'tollgate-sql-'));
const files = mkdtempSync(join(tmpdir(), 'tollgate-sqldir-'));

function run(program, args, input) {
  const r = spawnSync(program, args, { cwd: root, input, encoding: 'utf8', timeout: 120000 });
  return { status: r.status, out: r.stdout, err: r.stderr };
}
function psql(database, text) {
  const r = run('psql', ['-qAtX', '-h', pg, '-U', 'postgres', '-d', database, '-v', 'ON_ERROR_STOP=1'], text);
  assert.equal(r.status, 0, r.err);
  return r.out.trim();
}
function tollgate(database, ...args) {
  const conf = join(files, `${database}.conf`);
  writeFileSync(conf, `[paths]\nsql_dir = ${join(files, 'sql')}\n[database]\nowner = host=${pg} user=postgres dbname=${database}\n`);
  return run(join(root, 'build/release/tollgate'), ['--config', conf, ...args], '');
}
const runFile = (name) => {
  const r = run('psql', ['-qAtX', '-h', pg, '-U', 'postgres', '-d', 'main', '-v', 'ON_ERROR_STOP=1', '-f', `tests/sql/${name}`]);
  assert.equal(r.status, 0, r.err);
};

before(() => {
  assert.equal(run('tests/pg.sh', ['start', pg]).status, 0);
  cpSync(join(root, 'sql'), join(files, 'sql'), { recursive: true });
  psql('postgres', 'CREATE DATABASE main; CREATE DATABASE host;');
  const r = tollgate('main', 'migrate', '--new');
  assert.equal(r.status, 0, r.err);
});
after(() => {
  run('tests/pg.sh', ['remove', pg]);
  rmSync(files, { recursive: true });
});

test('migrating again is a no-op', () => {
  const r = tollgate('main', 'migrate');
  assert.equal(r.status, 0);
  assert.doesNotMatch(r.err, /\.sql/);
});
test('days and periods are right in odd zones', () => runFile('periods.sql'));
test('web sees its own tenant in every table and no other', () => runFile('isolation.sql'));
test('samples of the nodes tell what grew, to the page alone, for eight days', () => runFile('samples.sql'));
test('failed sign-ins slow whoever guesses, and fill no table', () => runFile('signin.sql'));
test('changes of the host are noted by statement', () => runFile('changes.sql'));
test('rows beyond the plan are refused by mode, time and what is left', () => runFile('enforce.sql'));
test('concurrent sessions fill a plan exactly', () => {
  const r = run('tests/sql/enforce.sh', [pg]);
  assert.equal(r.status, 0, r.out + r.err);
});
test('adopt lists, refuses without a yes, then adds nothing but its own', () => {
  psql('host', `CREATE TABLE tenants (id varchar(255) PRIMARY KEY, name text, plan text);
    CREATE TABLE users (id serial PRIMARY KEY, tenant_id varchar(255) REFERENCES tenants (id), mail text);
    CREATE TABLE subscription_tiers (id varchar(50) PRIMARY KEY, name text, limits jsonb);
    CREATE TABLE tenant_subscriptions (id serial PRIMARY KEY, tenant_id varchar(255) UNIQUE REFERENCES tenants (id), tier_id varchar(50),
      usage_limits jsonb DEFAULT '{}', current_usage jsonb DEFAULT '{}');
    INSERT INTO tenants VALUES ('acme', 'Acme'), ('Odd "name"', 'Odd'), ('negotiated', 'Negotiated');
    INSERT INTO users (tenant_id, mail) VALUES ('acme', 'x');
    INSERT INTO subscription_tiers VALUES ('s', 'S', '{"max_patients":3}');
    INSERT INTO tenant_subscriptions (tenant_id, tier_id) VALUES ('acme', 's');
    INSERT INTO tenant_subscriptions (tenant_id, tier_id, usage_limits) VALUES ('negotiated', 's', '{"max_patients":9000,"max_users":"many","storage_gb":1e300}');
    CREATE TABLE accounts (number int); CREATE TABLE api_keys (key text);
    CREATE SCHEMA acme; CREATE TABLE acme.patients (id serial, status text); CREATE TABLE acme.appointments (id serial);
    INSERT INTO acme.patients (status) VALUES ('active'), ('active'), ('left');`);
  assert.equal(tollgate('host', 'migrate').status, 3);
  const columns = "SELECT string_agg(c.table_name || c.column_name, ',' ORDER BY 1) FROM information_schema.columns c WHERE table_name IN ('tenants', 'users', 'subscription_tiers', 'tenant_subscriptions', 'patients', 'appointments') AND table_schema IN ('public', 'acme')".replace('ORDER BY 1', 'ORDER BY c.table_name, c.column_name');
  const before = psql('host', columns);
  const dry = tollgate('host', 'adopt', '--dry-run');
  assert.equal(dry.status, 0, dry.err);
  assert.match(dry.out, /Tollgate will add/);
  assert.equal(tollgate('host', 'adopt').status, 3);
  assert.equal(psql('host', "SELECT count(*) FROM pg_namespace WHERE nspname = 'tollgate'"), '0');
  const r = tollgate('host', 'adopt', '--yes');
  assert.equal(r.status, 0, r.err);
  assert.equal(psql('host', columns), before);
  assert.equal(psql('host', "SELECT patients_count, users_count FROM usage_summary WHERE tenant_id = 'acme'"), '2|1');
  assert.equal(psql('host', "SELECT usage_limits ->> 'max_patients' FROM tenant_subscriptions WHERE tenant_id = 'negotiated'"), '9000', 'a negotiated number stays');
  assert.equal(psql('host', "SELECT string_agg(limit_key || ' ' || trim_scale(max), ', ' ORDER BY limit_key) FROM tollgate.usage_limit_overrides"),
    `max_patients 9000, storage_gb 1${'0'.repeat(300)}`);
  psql('host', `DO $$BEGIN INSERT INTO acme.patients (status) VALUES ('active'), ('active'); ASSERT false;
    EXCEPTION WHEN SQLSTATE 'TG429' THEN NULL; END$$`);
  const listed = JSON.parse(tollgate('host', '--json', 'enforce', 'list').out);
  assert.ok(JSON.stringify(listed).includes('patients_count'), 'listed');
  assert.equal(tollgate('host', 'enforce', 'acme', 'off').status, 0);
  psql('host', "INSERT INTO acme.patients (status) VALUES ('active'), ('active')");
});
test('a number that is none, or is too large, in one subscription breaks no list of tenants', () => {
  psql('host', `UPDATE tenant_subscriptions SET usage_limits = '{"max_patients":"many","max_users":1e400,"storage_gb":null}' WHERE tenant_id = 'negotiated'`);
  assert.match(psql('host', "SELECT string_agg(tenant_id, ',' ORDER BY tenant_id) FROM tollgate.operator_tenants(NULL, NULL, '', 100)"), /acme,negotiated/);
});
test('a late event does not make final rollups look wrong: repair leaves what was dropped alone', () => {
  psql('main', `SET ROLE tollgate_owner; INSERT INTO tenants (id, name) VALUES ('late', 'Late') ON CONFLICT DO NOTHING;
    SELECT tollgate.ensure_partitions(now() - interval '8 months', now());
    SELECT tollgate.ensure_periods('late', now() - interval '8 months', now());
    INSERT INTO usage_tracking (tenant_id, metric_type, metric_value, recorded_at, billing_period) SELECT 'late', 'file_upload', 1, at, to_char(at, 'YYYY-MM')
      FROM generate_series(date_trunc('day', now()) - interval '7 months', now(), interval '1 day') AS at;
    INSERT INTO tollgate.usage_hourly (tenant_id, metric_type, hour, total, events) SELECT tenant_id, metric_type, date_trunc('hour', recorded_at), 1, 1 FROM usage_tracking WHERE tenant_id = 'late';
    INSERT INTO tollgate.usage_daily (tenant_id, metric_type, day, total, events) SELECT tenant_id, metric_type, recorded_at::date, 1, 1 FROM usage_tracking WHERE tenant_id = 'late';`);
  const books = "SELECT (SELECT count(*) FROM tollgate.usage_daily WHERE tenant_id = 'late') || ' ' || (SELECT count(*) FROM tollgate.usage_hourly WHERE tenant_id = 'late')";
  const before = psql('main', books);
  for (let i = 0; i < 3; i++) assert.equal(psql('main', 'SELECT tollgate.drop_partitions(3)'), '1');
  while (psql('main', 'SELECT tollgate.drop_partitions(3)') === '1');
  psql('main', `SET ROLE tollgate_owner; SELECT tollgate.ensure_partitions(now() - interval '6 months', now() - interval '6 months');
    INSERT INTO usage_tracking (tenant_id, metric_type, metric_value, recorded_at, billing_period) VALUES ('late', 'file_upload', 1, now() - interval '6 months', 'x')`);
  psql('main', "SET ROLE tollgate_owner; SELECT tollgate.repair('late')");
  assert.equal(psql('main', books), before);
});
test('a hundred days of rollups whose rows were never here survive a late event and a repair', () => {
  psql('main', `SET ROLE tollgate_owner; DELETE FROM tollgate.removed; INSERT INTO tenants (id, name) VALUES ('old', 'Old');
    SELECT tollgate.ensure_periods('old', now() - interval '12 months', now());
    INSERT INTO tollgate.usage_daily (tenant_id, metric_type, day, total, events) SELECT 'old', 'file_upload', current_date - 220 - i, 3, 3 FROM generate_series(0, 153) i;
    INSERT INTO usage_tracking (tenant_id, metric_type, metric_value, recorded_at, billing_period) VALUES ('old', 'file_upload', 1, now(), 'x')`);
  psql('main', 'SELECT tollgate.drop_partitions(6)');
  psql('main', `SET ROLE tollgate_owner; SELECT tollgate.ensure_partitions(now() - interval '250 days', now() - interval '250 days');
    INSERT INTO usage_tracking (tenant_id, metric_type, metric_value, recorded_at, billing_period) VALUES ('old', 'file_upload', 1, now() - interval '250 days', 'x');
    SELECT tollgate.repair('old')`);
  assert.equal(psql('main', "SELECT count(*) || ' ' || sum(total) FROM tollgate.usage_daily WHERE tenant_id = 'old' AND day < current_date - 100"), '154 462.000000');
  assert.equal(psql('main', "SELECT count(*) FROM tollgate.reconcile('old')"), '0');
});
test('rows that a host inserted by hand are found in every aggregate that lacks them, and repaired', () => {
  psql('main', `SET ROLE tollgate_owner; INSERT INTO tenants (id, name) VALUES ('hand', 'Hand'), ('idle', 'Idle');
    UPDATE tollgate.tenant_settings SET time_zone = 'Asia/Kolkata', anchor_day = 15 WHERE tenant_id = 'hand';
    SELECT tollgate.ensure_periods('hand', now(), now());
    SELECT tollgate.ensure_partitions(now() - interval '3 months', now());
    INSERT INTO usage_tracking (tenant_id, metric_type, metric_value, recorded_at, billing_period, metadata) VALUES
      ('hand', 'api_call', 1, now(), 'x', '{"method": "GET", "normalized": "/a/:id"}'), ('hand', 'api_call', 2, now(), 'x', '{"method": 7}'),
      ('hand', 'file_upload', 2.5, now() - interval '70 days', 'x', '{}'),
      ('hand', 'patients_count', 9, now() - interval '1 second', 'x', '{}'), ('hand', 'patients_count', 4, now(), 'x', '{}')`);
  const found = () => psql('main', "SELECT string_agg(DISTINCT aggregate || ' ' || metric, ',' ORDER BY aggregate || ' ' || metric) FROM tollgate.reconcile('hand')");
  assert.equal(found(), 'counts api_call,counts file_upload,daily api_call,daily file_upload,daily patients_count,'
    + 'hourly api_call,hourly file_upload,hourly patients_count,periods ,summary api_calls_count');
  psql('main', "SET ROLE tollgate_owner; SELECT tollgate.repair('hand')");
  assert.equal(found(), '');
  assert.equal(psql('main', `SELECT (SELECT string_agg(metric_type || ' ' || endpoint || ' ' || trim_scale(total) || ' ' || events, ',' ORDER BY metric_type, endpoint) FROM tollgate.usage_daily WHERE tenant_id = 'hand'),
    (SELECT count(*) FROM tollgate.usage_hourly WHERE tenant_id = 'hand'), (SELECT string_agg(trim_scale(used)::text, ',' ORDER BY metric_type, limit_window) FROM tollgate.usage_counts WHERE tenant_id = 'hand'),
    (SELECT sum(api_calls_count) || ' ' || sum(file_uploads_count) FROM usage_summary WHERE tenant_id = 'hand')`),
  'api_call  2 1,api_call /a/:id 1 1,file_upload  2.5 1,patients_count  4 2|4|3,3,2.5,2.5|3 2');
});
test('a tenant and a schema that the host makes later appear by themselves', () => {
  psql('host', `CREATE ROLE tollgate_test_host LOGIN; GRANT CREATE ON DATABASE host TO tollgate_test_host;
    GRANT SELECT, INSERT ON tenants, users, tenant_subscriptions TO tollgate_test_host; GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO tollgate_test_host;
    SET SESSION AUTHORIZATION tollgate_test_host;
    BEGIN; INSERT INTO tenants VALUES ('late', 'Late'), ('later', 'Later'); INSERT INTO tenant_subscriptions (tenant_id, tier_id) VALUES ('late', 's');
    CREATE SCHEMA late; CREATE TABLE late.patients (id serial, status text); INSERT INTO late.patients (status) VALUES ('active'); COMMIT;
    BEGIN; INSERT INTO tenants VALUES ('regretted', 'R'); ROLLBACK;`);
  assert.equal(psql('host', `SELECT string_agg(s.tenant_id || ' ' || s.schema_name || ' ' || (SELECT count(*) > 1 FROM tollgate.tenant_periods p
    WHERE p.tenant_id = s.tenant_id), ',' ORDER BY 1) FROM tollgate.tenant_settings s WHERE s.tenant_id ~ '^(late|regret)'`), 'late late true,later later true');
  assert.equal(psql('host', "SELECT usage_limits FROM tenant_subscriptions WHERE tenant_id = 'late'"), '{"max_patients": 3}');
  const collect = () => psql('host', 'SET SESSION AUTHORIZATION tollgate_collector; SELECT tollgate.attach_new(50)');
  assert.equal(collect(), '');
  assert.equal(psql('host', "SELECT patients_count FROM usage_summary WHERE tenant_id = 'late'"), '1');
  psql('host', `SET SESSION AUTHORIZATION tollgate_test_host; INSERT INTO late.patients (status) VALUES ('active');
    CREATE SCHEMA later; CREATE TABLE later.appointments (id serial); INSERT INTO later.appointments DEFAULT VALUES;`);
  assert.equal(psql('host', "SELECT sum(delta) FROM tollgate.usage_changes WHERE tenant_id = 'late'"), '1');
  assert.equal(collect(), '');
  assert.equal(psql('host', "SELECT appointments_count FROM usage_summary WHERE tenant_id = 'later'"), '1');
  psql('host', `SET SESSION AUTHORIZATION tollgate_test_host; DROP TABLE late.patients; CREATE TABLE late.patients (id serial, status text);`);
  assert.equal(collect(), '');
  assert.equal(psql('host', "SELECT patients_count FROM usage_summary WHERE tenant_id = 'late'"), '0', 'a table made anew');
  assert.equal(tollgate('host', 'enforce', 'late', 'on').status, 0);
  psql('host', `SET SESSION AUTHORIZATION tollgate_test_host; INSERT INTO late.patients (status) SELECT 'active' FROM generate_series(1, 3);
    DO $$BEGIN INSERT INTO late.patients (status) VALUES ('active'); ASSERT false; EXCEPTION WHEN SQLSTATE 'TG429' THEN NULL; END$$`);
  assert.throws(() => psql('host', 'SET SESSION AUTHORIZATION tollgate_collector; SELECT tollgate.grant_schema(\'late\')'), /permission denied/);
  // Tables of a schema that is not named as a tenant stay out of reach.
  psql('host', `CREATE SCHEMA private; CREATE TABLE private.patients (id serial, status text);
    UPDATE tollgate.tenant_settings SET schema_name = 'private' WHERE tenant_id = 'later'`);
  assert.equal(collect(), 'later');
});
test('the tenants of an adopted database are its host\'s', () => {
  for (const args of [['remove', 'late', '--yes'], ['create', 'new'], ['change', 'late', '--name', 'New']]) {
    const r = tollgate('host', 'tenant', ...args);
    assert.deepEqual([r.status, /its host: (remove|create|rename) it there/.test(r.err)], [3, true], r.err);
  }
  assert.equal(tollgate('host', 'tenant', 'change', 'late', '--zone', 'America/Sao_Paulo').status, 0);
  assert.equal(JSON.parse(tollgate('host', '--json', 'tenant', 'show', 'late').out).time_zone, 'America/Sao_Paulo');
  assert.equal(tollgate('host', 'tenant', 'change', 'nobody', '--zone', 'UTC').status, 1);
  psql('host', "DELETE FROM tenant_subscriptions WHERE tenant_id = 'late'; DELETE FROM tenants WHERE id = 'late'");
  assert.equal(psql('host', "SELECT count(*) FROM tollgate.tenant_settings WHERE tenant_id = 'late'"), '0');
  psql('host', "INSERT INTO late.patients (status) VALUES ('active')");
});
test('what adopt added goes with its roles, the host stays', () => {
  psql('host', 'DROP OWNED BY tollgate_owner CASCADE; DROP OWNED BY tollgate_web, tollgate_collector, tollgate_counter CASCADE');
  assert.equal(psql('host', "SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'tollgate%'"), '0');
  assert.equal(psql('host', `SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v')`), '6', 'the host has an api_keys and accounts of its own');
  assert.equal(psql('host', "SELECT count(*) FROM pg_namespace WHERE nspname = 'tollgate'"), '0');
  assert.equal(psql('host', `INSERT INTO tenants VALUES ('after', 'After'); INSERT INTO acme.patients (status) VALUES ('active');
    SELECT count(*) FROM tenants`), '5');
});
test('the demo loads and its rows, rollups, counts and summaries agree', () => {
  psql('postgres', 'CREATE DATABASE demo');
  assert.equal(tollgate('demo', 'migrate', '--new').status, 0);
  const r = tollgate('demo', 'demo');
  assert.equal(r.status, 0, r.err);
  assert.equal(psql('demo', 'SELECT count(*) >= 8 FROM tenants'), 't');
  assert.equal(psql('demo', `WITH r AS (SELECT u.tenant_id, u.metric_type, tollgate.day_of(u.recorded_at, p.time_zone) AS day, sum(metric_value) AS v
      FROM usage_tracking u JOIN tollgate.tenant_periods p ON p.tenant_id = u.tenant_id AND u.recorded_at >= p.starts_at AND u.recorded_at < p.ends_at
      GROUP BY 1, 2, 3), d AS (SELECT tenant_id, metric_type, day, sum(total) AS v FROM tollgate.usage_daily GROUP BY 1, 2, 3)
    SELECT count(*) FROM r LEFT JOIN d USING (tenant_id, metric_type, day) WHERE r.v IS DISTINCT FROM d.v`), '0');
  assert.equal(psql('demo', `SELECT count(*) FROM usage_summary s JOIN tollgate.usage_counts c ON c.tenant_id = s.tenant_id AND c.limit_window = 'period'
    AND c.window_start = s.period_start AND c.metric_type = 'api_call' WHERE s.api_calls_count <> c.used`), '0');
  assert.equal(psql('demo', "SELECT round(max(percent)) FROM tollgate.operator_tenants(NULL, NULL, 'Oakfield', 1)"), '85');
  assert.equal(psql('demo', `WITH d AS (SELECT u.tenant_id, u.day, u.day = tollgate.day_of(now(), s.time_zone) AS today, sum(u.total) AS calls
      FROM tollgate.usage_daily u JOIN tollgate.tenant_settings s USING (tenant_id)
      WHERE u.metric_type = 'api_call' AND u.day > tollgate.day_of(now(), s.time_zone) - 15 GROUP BY 1, 2, 3)
    SELECT count(*) FROM d WHERE today AND calls > 1.5 * (SELECT max(o.calls) FROM d o WHERE o.tenant_id = d.tenant_id AND NOT o.today)`), '0',
  'today is a day like those before it');
  assert.equal(psql('demo', `SELECT count(DISTINCT tenant_id) FILTER (WHERE percent > 80), count(DISTINCT tenant_id) FILTER (WHERE percent >= 100)
    FROM tollgate.operator_tenants(NULL, NULL, NULL, 50)`), '4|2', 'some tenants are near a limit or at it');
  assert.equal(psql('demo', "SELECT round(max(percent)) FROM tollgate.operator_tenants(NULL, NULL, 'Riverside', 1)"), '96');
  assert.equal(tollgate('demo', 'demo').status, 3);
});
test('a newer database is refused by name', () => {
  psql('main', "INSERT INTO tollgate.schema_migrations VALUES (999, '999_future.sql', 'x')");
  const r = tollgate('main', 'migrate');
  assert.equal(r.status, 3);
  assert.match(r.err, /999_future\.sql/);
  psql('main', 'DELETE FROM tollgate.schema_migrations WHERE version = 999');
});
test('a changed file of tables is refused by name', () => {
  cpSync(join(files, 'sql/schema/001_schema.sql'), join(files, 'kept.sql'));
  appendFileSync(join(files, 'sql/schema/001_schema.sql'), '\n-- changed\n');
  const r = tollgate('main', 'migrate');
  assert.equal(r.status, 3);
  assert.match(r.err, /001_schema\.sql was changed/);
  cpSync(join(files, 'kept.sql'), join(files, 'sql/schema/001_schema.sql'));
});
test('functions are applied anew when a file or the database changed, and not one of them without the others', () => {
  const applied = () => psql('main', 'SELECT count(DISTINCT xmin::text) FROM pg_proc WHERE pronamespace = \'tollgate\'::regnamespace') === '1';
  const triggers = () => psql('main', "SELECT string_agg(oid || ' ' || xmin, ',' ORDER BY oid) FROM pg_trigger WHERE NOT tgisinternal");
  const before = triggers();
  const file = join(files, 'sql/functions/operator.sql');
  appendFileSync(file, "\nCREATE OR REPLACE FUNCTION tollgate.added() RETURNS int LANGUAGE sql AS 'SELECT 1';\n");
  let r = tollgate('main', 'migrate');
  assert.deepEqual([r.status, /functions \(/.test(r.err), psql('main', 'SELECT tollgate.added()'), applied()], [0, true, '1', true], r.err);
  assert.equal(triggers(), before, 'triggers that are there stay as they are, so nobody waits');
  cpSync(join(root, 'sql/functions/operator.sql'), file);
  r = tollgate('main', 'migrate');
  assert.match(r.err, /dropped function tollgate\.added\(\), which no file defines/);
  assert.equal(psql('main', "SELECT to_regproc('tollgate.added') IS NULL"), 't');
  psql('main', `CREATE OR REPLACE FUNCTION tollgate.percent(used numeric, max numeric) RETURNS double precision LANGUAGE sql AS 'SELECT 1.0::double precision';
    CREATE FUNCTION tollgate.stray() RETURNS int LANGUAGE sql AS 'SELECT 1'; GRANT EXECUTE ON FUNCTION tollgate.recount(text) TO PUBLIC`);
  r = tollgate('main', 'migrate');
  assert.match(r.err, /the database has others than were applied: tollgate\.percent\(numeric,numeric\), tollgate\.stray\(\)/);
  assert.equal(psql('main', "SELECT tollgate.percent(50, 200), to_regproc('tollgate.stray') IS NULL, has_function_privilege('tollgate_counter', 'tollgate.recount(text)', 'EXECUTE')"), '25|t|f');
  appendFileSync(file, '\nSELECT 1 / 0;\n');
  const proc = psql('main', "SELECT md5(string_agg(xmin::text, ',' ORDER BY oid)) FROM pg_proc");
  r = tollgate('main', 'migrate');
  assert.deepEqual([r.status !== 0, /operator\.sql: .*division by zero/.test(r.err)], [true, true], r.err);
  assert.equal(psql('main', "SELECT md5(string_agg(xmin::text, ',' ORDER BY oid)) FROM pg_proc"), proc);
});
