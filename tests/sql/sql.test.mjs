// sql.test.mjs: schema, row-level security, periods, triggers, migrations and adoption on a PostgreSQL of its own
import { test, before, after } from 'node:test';
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync, writeFileSync, appendFileSync } from 'node:fs';
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
    INSERT INTO tenants VALUES ('acme', 'Acme'), ('Odd "name"', 'Odd');
    INSERT INTO users (tenant_id, mail) VALUES ('acme', 'x');
    INSERT INTO subscription_tiers VALUES ('s', 'S', '{"max_patients":3}');
    INSERT INTO tenant_subscriptions (tenant_id, tier_id) VALUES ('acme', 's');
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
  const r = tollgate('host', 'adopt', '--yes', '--enforce');
  assert.equal(r.status, 0, r.err);
  assert.equal(psql('host', columns), before);
  assert.equal(psql('host', "SELECT patients_count, users_count FROM usage_summary WHERE tenant_id = 'acme'"), '2|1');
  psql('host', `DO $$BEGIN INSERT INTO acme.patients (status) VALUES ('active'), ('active'); ASSERT false;
    EXCEPTION WHEN SQLSTATE 'TG429' THEN NULL; END$$`);
  assert.equal(tollgate('host', 'enforce', 'acme', 'off').status, 0);
  psql('host', "INSERT INTO acme.patients (status) VALUES ('active'), ('active')");
});
test('the demo loads and its rows, rollups, counts and summaries agree', () => {
  psql('postgres', 'CREATE DATABASE demo');
  assert.equal(tollgate('demo', 'migrate', '--new').status, 0);
  const r = tollgate('demo', 'demo');
  assert.equal(r.status, 0, r.err);
  assert.equal(psql('demo', 'SELECT count(*) >= 8 FROM tenants'), 't');
  assert.equal(psql('demo', `WITH r AS (SELECT u.tenant_id, u.metric_type, tollgate.day_of(u.recorded_at, p.time_zone) AS day, sum(metric_value) AS v
      FROM usage_tracking u JOIN tenant_periods p ON p.tenant_id = u.tenant_id AND u.recorded_at >= p.starts_at AND u.recorded_at < p.ends_at
      GROUP BY 1, 2, 3), d AS (SELECT tenant_id, metric_type, day, sum(total) AS v FROM usage_daily GROUP BY 1, 2, 3)
    SELECT count(*) FROM r LEFT JOIN d USING (tenant_id, metric_type, day) WHERE r.v IS DISTINCT FROM d.v`), '0');
  assert.equal(psql('demo', `SELECT count(*) FROM usage_summary s JOIN usage_counts c ON c.tenant_id = s.tenant_id AND c.limit_window = 'period'
    AND c.window_start = s.period_start AND c.metric_type = 'api_call' WHERE s.api_calls_count <> c.used`), '0');
  assert.equal(psql('demo', "SELECT round(max(percent)) FROM tollgate.operator_tenants(NULL, NULL, 'Oakfield', 1)"), '85');
  assert.equal(tollgate('demo', 'demo').status, 3);
});
test('a newer database is refused by name', () => {
  psql('main', "INSERT INTO tollgate.schema_migrations VALUES (999, '999_future.sql', 'x')");
  const r = tollgate('main', 'migrate');
  assert.equal(r.status, 3);
  assert.match(r.err, /999_future\.sql/);
  psql('main', 'DELETE FROM tollgate.schema_migrations WHERE version = 999');
});
test('a changed file is refused by name', () => {
  appendFileSync(join(files, 'sql/003_periods.sql'), '\n-- changed\n');
  const r = tollgate('main', 'migrate');
  assert.equal(r.status, 3);
  assert.match(r.err, /003_periods\.sql was changed/);
});
