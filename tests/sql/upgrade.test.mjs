// upgrade.test.mjs: a database as it was before tollgate_counter, with data, is brought up to date; what is missing for that is said
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFileSync, cpSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { root } from './lib.mjs';

const pg = mkdtempSync(join(tmpdir(), 'tollgate-upgrade-'));
const files = mkdtempSync(join(tmpdir(), 'tollgate-upgradesql-'));
const later = readdirSync(join(root, 'sql')).filter((name) => /^\d{3}_/.test(name) && name >= '020');

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
  writeFileSync(conf, `[paths]\nsql_dir = ${join(files, 'sql')}\n[database]\nowner = host=${pg} user=${role} dbname=${database}\n`);
  return run(join(root, 'build/release/tollgate'), ['--config', conf, ...args]);
}
const counts = "SELECT tenant_id, patients_count, users_count, appointments_count FROM usage_summary ORDER BY 1";
const usage = "SELECT current_usage ->> 'patients_count' FROM tenant_subscriptions WHERE tenant_id = 'a'";
const rows = `INSERT INTO tenants (id, name) VALUES ('a', 'A'); INSERT INTO users (tenant_id, email) VALUES ('a', 'x'), ('a', 'y');
  INSERT INTO subscription_tiers (id, name, limits) VALUES ('t', 'T', '{"max_patients":5}');`;
const schema = `CREATE SCHEMA a; CREATE TABLE a.patients (id int, status text); CREATE TABLE a.appointments (id int);
  INSERT INTO a.patients VALUES (1, 'active'), (2, 'active'), (3, 'left'); INSERT INTO a.appointments VALUES (1);`;

// As adopt left it: the rights were tollgate_owner's alone.
const adoptBefore = `CREATE OR REPLACE FUNCTION tollgate.grant_schema(tenant text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  EXECUTE format('GRANT USAGE ON SCHEMA %I TO tollgate_owner', tenant);
  EXECUTE format('GRANT SELECT, TRIGGER ON %I.patients, %I.appointments TO tollgate_owner', tenant, tenant);
END $$;
GRANT EXECUTE ON FUNCTION tollgate.grant_schema(text) TO tollgate_owner; SELECT tollgate.grant_schema('a');`;

before(() => {
  assert.equal(run('tests/pg.sh', ['start', pg]).status, 0);
  cpSync(join(root, 'sql'), join(files, 'sql'), { recursive: true });
  for (const name of later) renameSync(join(files, 'sql', name), join(files, name));
  writeFileSync(join(files, 'sql/adopt.sql'), adoptBefore);
  assert.equal(run('psql', ['-qX', '-h', pg, '-U', 'postgres', '-d', 'postgres', '-f', 'sql/roles.sql']).status, 0);
  psql('postgres', 'CREATE DATABASE own OWNER tollgate_owner');
  psql('postgres', 'CREATE DATABASE host');
  let r = tollgate('own', 'tollgate_owner', 'migrate', '--new');
  assert.equal(r.status, 0, r.err);
  psql('own', `${rows} ${schema} SELECT tollgate.set_subscription('a', 't', NULL), tollgate.attach('a'), tollgate.recount('a')`, 'tollgate_owner');
  psql('host', `CREATE TABLE tenants (id varchar(255) PRIMARY KEY, name text); CREATE TABLE users (id serial PRIMARY KEY, tenant_id varchar(255), email text);
    CREATE TABLE subscription_tiers (id varchar(50) PRIMARY KEY, name text, limits jsonb);
    CREATE TABLE tenant_subscriptions (tenant_id varchar(255) PRIMARY KEY, tier_id varchar(50), usage_limits jsonb DEFAULT '{}', current_usage jsonb DEFAULT '{}');
    ${rows} INSERT INTO tenant_subscriptions (tenant_id, tier_id) VALUES ('a', 't'); ${schema}`);
  r = tollgate('host', 'postgres', 'adopt', '--yes');
  assert.equal(r.status, 0, r.err);
  for (const database of ['own', 'host']) {
    assert.equal(psql(database, counts), 'a|2|2|1');
    psql(database, 'DROP OWNED BY tollgate_counter');
  }
  psql('postgres', 'DROP ROLE tollgate_counter');
  for (const name of later) renameSync(join(files, name), join(files, 'sql', name));
  copyFileSync(join(root, 'sql/adopt.sql'), join(files, 'sql/adopt.sql'));
});
after(() => {
  run('tests/pg.sh', ['remove', pg]);
  for (const dir of [pg, files]) rmSync(dir, { recursive: true, force: true });
});

test('without tollgate_counter migrate changes nothing and says what to run', () => {
  const r = tollgate('own', 'tollgate_owner', 'migrate');
  assert.equal(r.status, 3, r.err);
  assert.match(r.err, /not all of Tollgate's roles are there.*as superuser run psql -f .*roles\.sql/);
  assert.equal(psql('own', 'SELECT max(version) FROM tollgate.schema_migrations'), '19');
  assert.equal(run('psql', ['-qX', '-h', pg, '-U', 'postgres', '-d', 'postgres', '-v', 'ON_ERROR_STOP=1', '-f', 'sql/roles.sql']).status, 0);
});
test('a database of Tollgate\'s own goes on counting its tenants', () => {
  const r = tollgate('own', 'tollgate_owner', 'migrate');
  assert.equal(r.status, 0, r.err);
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
  assert.equal(tollgate('host', 'tollgate_owner', 'migrate').status, 0);
});
test('what another role put in public in place of PostgreSQL\'s own is named, and nothing is run', () => {
  psql('postgres', 'CREATE ROLE maker LOGIN; CREATE DATABASE shadowed');
  psql('shadowed', 'GRANT CREATE ON SCHEMA public TO maker');
  psql('shadowed', `CREATE FUNCTION public.same(varchar, text) RETURNS boolean LANGUAGE sql AS 'SELECT true';
    CREATE OPERATOR public.= (LEFTARG = varchar, RIGHTARG = text, FUNCTION = public.same); CREATE FUNCTION public.now(int) RETURNS int LANGUAGE sql AS 'SELECT 1'`, 'maker');
  const r = tollgate('shadowed', 'postgres', 'migrate', '--new');
  assert.equal(r.status, 3, r.err);
  assert.match(r.err, /schema public holds what would be taken for PostgreSQL's own: operator .*=\(character varying,text\), function .*now\(integer\)/);
  psql('shadowed', 'DROP OWNED BY maker CASCADE');
  assert.equal(tollgate('shadowed', 'postgres', 'migrate', '--new').status, 0);
});
