// upgrade.test.mjs: a database of each migration from 019 to 026, with data, becomes what a new one is; what is missing for that is said
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { root } from './lib.mjs';

const pg = mkdtempSync(join(tmpdir(), 'tollgate-upgrade-'));
const old = mkdtempSync(join(tmpdir(), 'tollgate-upgradesql-')); // 001_tables.sql to 026_kept.sql as they were

function run(program, args, input = '') {
  const r = spawnSync(program, args, { cwd: root, input, encoding: 'utf8', timeout: 120000 });
  return { status: r.status, out: r.stdout, err: r.stderr };
}
function psql(database, text, role = 'postgres') {
  const r = run('psql', ['-qAtX', '-h', pg, '-U', role, '-d', database, '-v', 'ON_ERROR_STOP=1'], text);
  assert.equal(r.status, 0, r.err);
  return r.out.trim();
}
function tollgate(database, role, ...args) {
  const conf = join(pg, `${database}.conf`);
  writeFileSync(conf, `[paths]\nsql_dir = ${root}/sql\n[database]\nowner = host=${pg} user=${role} dbname=${database}\n`);
  return run(join(root, 'build/release/tollgate'), ['--config', conf, ...args]);
}
const counts = "SELECT tenant_id, patients_count, users_count, appointments_count FROM usage_summary ORDER BY 1";
const usage = "SELECT current_usage ->> 'patients_count' FROM tenant_subscriptions WHERE tenant_id = 'a'";
const rows = `INSERT INTO tenants (id, name) VALUES ('a', 'A'); INSERT INTO users (tenant_id, email) VALUES ('a', 'x'), ('a', 'y');
  INSERT INTO subscription_tiers (id, name, limits) VALUES ('t', 'T', '{"max_patients":5}');`;
const schema = `CREATE SCHEMA a; CREATE TABLE a.patients (id int, status text); CREATE TABLE a.appointments (id int);
  INSERT INTO a.patients VALUES (1, 'active'), (2, 'active'), (3, 'left'); INSERT INTO a.appointments VALUES (1);`;
const use = `INSERT INTO usage_tracking (tenant_id, metric_type, metric_value, recorded_at, billing_period) SELECT 'a', 'file_upload', i, now(), to_char(now(), 'YYYY-MM')
    FROM generate_series(1, 7) i;
  INSERT INTO usage_hourly (tenant_id, metric_type, hour, total, events) VALUES ('a', 'file_upload', '2001-02-03 04:00Z', 5, 5);
  INSERT INTO api_keys (id, tenant_id, name, hash, scopes) VALUES ('keyaaaa1', 'a', 'k', sha256('1'), '{call}'),
    ('operator', NULL, 'o', sha256('2'), '{call,track,read,admin}');
  INSERT INTO accounts (email, tenant_id, role, password_hash) VALUES ('x@example.com', 'a', 'admin', 'HASH');
  SELECT tollgate.enforce('a', true);`;

// As adopt left it: the rights were tollgate_owner's alone.
const adoptBefore = `CREATE OR REPLACE FUNCTION tollgate.grant_schema(tenant text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  EXECUTE format('GRANT USAGE ON SCHEMA %I TO tollgate_owner', tenant);
  EXECUTE format('GRANT SELECT, TRIGGER ON %I.patients, %I.appointments TO tollgate_owner', tenant, tenant);
END $$;
GRANT EXECUTE ON FUNCTION tollgate.grant_schema(text) TO tollgate_owner; SELECT tollgate.grant_schema('a');`;

// The migrations behind `from` up to `to`, as tollgate_owner ran them.
function load(database, from, to) {
  const record = `CREATE SCHEMA IF NOT EXISTS tollgate; CREATE TABLE IF NOT EXISTS tollgate.schema_migrations (version integer PRIMARY KEY,
    name text NOT NULL, checksum text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now());`;
  const files = readdirSync(old).sort().filter((name) => Number(name.slice(0, 3)) > from && Number(name.slice(0, 3)) <= to);
  const text = files.map((name) => `BEGIN;\n\\i ${join(old, name)}\nINSERT INTO tollgate.schema_migrations VALUES (${Number(name.slice(0, 3))}, '${name}', 'x'); COMMIT;\n`);
  psql(database, `SET ROLE tollgate_owner; SET check_function_bodies = off; ${record}\n${text.join('')}`);
}
const roles = () => assert.equal(run('psql', ['-qX', '-h', pg, '-U', 'postgres', '-d', 'postgres', '-v', 'ON_ERROR_STOP=1', '-f', 'sql/roles.sql']).status, 0);

// All that pg_dump tells of the tables, functions and rights but for the order of columns and grants, without the tenant's schema.
function dump(database) {
  const r = run('pg_dump', ['-s', '-h', pg, '-U', 'postgres', '-n', 'public', '-n', 'tollgate', database]);
  assert.equal(r.status, 0, r.err);
  return r.out.split(/\n\n+(?=--\n-- Name)/).slice(1).map((s) => s.replace(/\n--\n-- PostgreSQL database dump complete[^]*/, '').split('\n').map((line) => line.replace(/,$/, '')).sort().join('\n').trim()).sort();
}

before(() => {
  assert.equal(run('tests/pg.sh', ['start', pg]).status, 0);
  assert.equal(run('tar', ['-xzf', 'tests/sql/old/migrations.tar.gz', '-C', old]).status, 0);
  roles();
  psql('postgres', 'CREATE DATABASE own OWNER tollgate_owner');
  psql('postgres', 'CREATE DATABASE host');
  psql('own', 'GRANT ALL ON SCHEMA public TO tollgate_owner; GRANT USAGE ON SCHEMA public TO tollgate_web, tollgate_collector, tollgate_counter');
  psql('own', '\\i sql/host/001_host.sql', 'tollgate_owner');
  load('own', 0, 18);
  psql('postgres', 'CREATE DATABASE below TEMPLATE own OWNER tollgate_owner');
  load('own', 18, 19);
  psql('own', `${rows} ${schema} SELECT tollgate.set_subscription('a', 't', NULL), tollgate.attach('a'), tollgate.recount('a'); ${use}`, 'tollgate_owner');
  psql('host', `CREATE TABLE tenants (id varchar(255) PRIMARY KEY, name text); CREATE TABLE users (id serial PRIMARY KEY, tenant_id varchar(255), email text);
    CREATE TABLE subscription_tiers (id varchar(50) PRIMARY KEY, name text, limits jsonb);
    CREATE TABLE tenant_subscriptions (tenant_id varchar(255) PRIMARY KEY, tier_id varchar(50), usage_limits jsonb DEFAULT '{}', current_usage jsonb DEFAULT '{}');
    ${rows} INSERT INTO tenant_subscriptions (tenant_id, tier_id) VALUES ('a', 't'); ${schema}
    GRANT CREATE ON DATABASE host TO tollgate_owner; GRANT CREATE ON SCHEMA public TO tollgate_owner;
    GRANT SELECT, REFERENCES, TRIGGER ON tenants, users, subscription_tiers, tenant_subscriptions TO tollgate_owner WITH GRANT OPTION;
    GRANT INSERT, UPDATE ON tenant_subscriptions TO tollgate_owner WITH GRANT OPTION`);
  load('host', 0, 19);
  psql('host', adoptBefore);
  psql('host', "SELECT tollgate.welcome('a'), tollgate.attach('a'), tollgate.recount('a'), tollgate.apply_limits('a')", 'tollgate_owner');
  for (let n = 20; n <= 26; n++) {
    psql('postgres', `CREATE DATABASE own${n} TEMPLATE own${n > 20 ? n - 1 : ''} OWNER tollgate_owner`);
    load(`own${n}`, n - 1, n);
  }
  for (const database of ['own', 'host']) assert.equal(psql(database, counts), 'a|2|2|1');
});
after(() => {
  run('tests/pg.sh', ['remove', pg]);
  for (const dir of [pg, old]) rmSync(dir, { recursive: true, force: true });
});

test('without tollgate_counter migrate changes nothing and says what to run', () => {
  psql('postgres', 'ALTER ROLE tollgate_counter RENAME TO somebody');
  const r = tollgate('own', 'tollgate_owner', 'migrate');
  assert.equal(r.status, 3, r.err);
  assert.match(r.err, /not all of Tollgate's roles are there.*as superuser run psql -f .*roles\.sql/);
  assert.equal(psql('own', 'SELECT max(version) FROM tollgate.schema_migrations'), '19');
  psql('postgres', 'ALTER ROLE somebody RENAME TO tollgate_counter');
});
test('a database below 019 is refused with what to do, and not changed', () => {
  const r = tollgate('below', 'tollgate_owner', 'migrate');
  assert.equal(r.status, 3, r.err);
  assert.match(r.err, /at migration 18.*those of migration 19 and later.*run its `tollgate migrate` first/);
  assert.equal(psql('below', 'SELECT max(version) FROM tollgate.schema_migrations'), '18');
});
test('a database of every migration from 019 on becomes what a new one is, with its data', () => {
  psql('postgres', 'CREATE DATABASE new OWNER tollgate_owner');
  const made = tollgate('new', 'postgres', 'migrate', '--new');
  assert.equal(made.status, 0, made.err);
  const wanted = dump('new');
  assert.ok(wanted.length > 200, `${wanted.length} things`);
  for (const database of ['own', ...[20, 21, 22, 23, 24, 25, 26].map((n) => `own${n}`)]) {
    const r = tollgate(database, 'tollgate_owner', 'migrate');
    assert.equal(r.status, 0, r.err);
    assert.deepEqual(dump(database), wanted, database);
    assert.equal(psql(database, `SELECT (SELECT sum(metric_value) || ' of ' || count(*) FROM usage_tracking), (SELECT sum(total) FROM tollgate.usage_hourly), (SELECT string_agg(array_to_string(scopes, ' '), ', ' ORDER BY id) FROM tollgate.api_keys),
      (SELECT count(*) FROM tollgate.accounts), (SELECT before > now() - interval '3 months' FROM tollgate.removed WHERE what = 'rows'), (SELECT sum(max - free) FROM (SELECT max(max) AS max, sum(free) AS free FROM tollgate.enforce_shares GROUP BY gauge) s)`),
    '28.000000 of 7|5.000000|call, call track read admin metrics|1|t|4', database);
    psql(database, "INSERT INTO usage_tracking (tenant_id, metric_type, metric_value, billing_period) VALUES ('a', 'file_upload', 1, 'x')", 'tollgate_owner');
    assert.equal(psql(database, 'SELECT count(DISTINCT id) || \' \' || max(id) FROM usage_tracking'), '8 8', 'numbers go on');
    assert.doesNotMatch(tollgate(database, 'tollgate_owner', 'migrate').err, /functions|sql/, 'again is a no-op');
  }
});
test('a database of Tollgate\'s own goes on counting its tenants', () => {
  assert.equal(psql('own', counts), 'a|2|2|1');
  psql('own', "INSERT INTO a.patients VALUES (4, 'active'); ALTER TABLE a.patients DISABLE TRIGGER ALL; INSERT INTO a.patients VALUES (5, 'active'); ALTER TABLE a.patients ENABLE TRIGGER ALL", 'tollgate_owner');
  psql('own', "SELECT tollgate.recount('a')", 'tollgate_collector');
  assert.equal(psql('own', counts), 'a|4|2|1');
  assert.equal(psql('own', usage), '4');
});
test('an adopted database asks for the role that may give the rights, and goes on counting with them', () => {
  const refused = tollgate('host', 'tollgate_owner', 'migrate');
  assert.equal(refused.status, 3, refused.err);
  assert.match(refused.err, /adopted by another role: migrate once as that role or as superuser/);
  assert.equal(psql('host', 'SELECT max(version) FROM tollgate.schema_migrations'), '19');
  const r = tollgate('host', 'postgres', 'migrate');
  assert.equal(r.status, 0, r.err);
  psql('host', "INSERT INTO a.patients VALUES (4, 'active'), (5, 'active'); SELECT tollgate.recount('a')");
  assert.equal(psql('host', counts), 'a|4|2|1');
  assert.equal(psql('host', "SELECT has_table_privilege('tollgate_owner', 'a.patients', 'SELECT'), has_any_column_privilege('tollgate_counter', 'a.patients', 'SELECT')"), 'f|t');
  const again = tollgate('host', 'tollgate_owner', 'migrate');
  assert.equal(again.status, 0, again.err);
});
test('what another role put in public in place of PostgreSQL\'s own is not run', () => {
  psql('postgres', 'CREATE ROLE maker LOGIN; CREATE DATABASE shadowed');
  psql('shadowed', 'GRANT CREATE ON SCHEMA public TO maker');
  psql('shadowed', `CREATE TABLE public.ran (who text); GRANT INSERT ON public.ran TO PUBLIC;
    CREATE FUNCTION public.same(varchar, text) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN INSERT INTO public.ran VALUES (current_user); RETURN true; END$$;
    CREATE OPERATOR public.= (LEFTARG = varchar, RIGHTARG = text, FUNCTION = public.same);
    CREATE FUNCTION public.nextval(text) RETURNS bigint LANGUAGE plpgsql AS $$BEGIN INSERT INTO public.ran VALUES (current_user); RETURN 1; END$$`, 'maker');
  const r = tollgate('shadowed', 'postgres', 'migrate', '--new');
  assert.equal(r.status, 0, r.err);
  psql('shadowed', "INSERT INTO tenants (id, name) VALUES ('a', 'A'); INSERT INTO users (tenant_id, email) VALUES ('a', 'x'); SELECT tollgate.recount('a')", 'tollgate_owner');
  assert.equal(psql('shadowed', 'SELECT count(*) FROM public.ran'), '0');
});
