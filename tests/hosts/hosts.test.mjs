// hosts.test.mjs: databases of hosts that are none like the specification's are adopted with a mapping, followed, and left as they were
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { after, before, test } from 'node:test';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');
const pg = mkdtempSync(join(tmpdir(), 'tollgate-hosts-'));

function run(program, args, input = '') {
  const r = spawnSync(program, args, { cwd: root, input, encoding: 'utf8', timeout: 240000 });
  return { status: r.status, out: r.stdout, err: r.stderr };
}
function sql(database, text, role = 'postgres') {
  const r = run('psql', ['-qAtX', '-h', pg, '-U', role, '-d', database, '-v', 'ON_ERROR_STOP=1'], text);
  assert.equal(r.status, 0, `${text}\n${r.err}`);
  return r.out.trim();
}
function tollgate(database, ...args) {
  const conf = join(pg, `${database}.conf`);
  writeFileSync(conf, `[paths]\nsql_dir = ${root}/sql\n[database]\nowner = host=${pg} user=postgres dbname=${database}\n`);
  return run(join(root, 'build/release/tollgate'), ['--config', conf, ...args]);
}
// Without the random words by which newer versions of pg_dump frame their output.
function dump(database) {
  const r = run('pg_dump', ['-s', '-h', pg, '-U', 'postgres', database]);
  assert.equal(r.status, 0, r.err);
  return r.out.replace(/^\\(un)?restrict .*$/gm, '');
}
function adopt(database, mapping, ...more) {
  const file = join(pg, `${database}.map`);
  writeFileSync(file, mapping);
  return tollgate(database, 'adopt', '--map', file, ...more);
}

const hosts = {
  uuids: {
    tables: `CREATE TABLE organizations (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), title varchar(100), tariff text, status text NOT NULL DEFAULT 'live');
      INSERT INTO organizations VALUES ('00000000-0000-4000-8000-000000000001', 'One', 'gold', 'live'), ('00000000-0000-4000-8000-000000000002', NULL, NULL, 'closed');`,
    mapping: '[tenants]\ntable = organizations\nid = id\nname = title\nplan = tariff\nstate = status\nsuspended = closed, frozen\n',
    table: 'organizations', first: '00000000-0000-4000-8000-000000000001', second: '00000000-0000-4000-8000-000000000002', third: '00000000-0000-4000-8000-000000000003', plan: 'tariff', name: 'title', schema: '',
  },
  integers: {
    tables: `CREATE SCHEMA core; CREATE TABLE core.accounts (id integer PRIMARY KEY, name text NOT NULL, plan text, status text NOT NULL DEFAULT 'live');
      CREATE TABLE core.projects (id serial PRIMARY KEY, account_id integer REFERENCES core.accounts (id) ON DELETE CASCADE);
      INSERT INTO core.accounts VALUES (17, 'One', 'gold', 'live'), (18, 'Two', NULL, 'closed'); CREATE SCHEMA acct_17;`,
    mapping: '[tenants]\ntable = core.accounts\nid = id\nname = name\nplan = plan\nstate = status\nsuspended = closed\n[schemas]\npattern = acct_{id}\n',
    table: 'core.accounts', first: '17', second: '18', third: '19', plan: 'plan', name: 'name', schema: 'acct_17',
  },
  names: {
    tables: `CREATE SCHEMA "My ""Host"""; CREATE TABLE "My ""Host"""."The Accounts, all of them" ("Id, the" varchar(80) PRIMARY KEY, "Name ""quoted""" text, "PLAN" varchar(20), "${'s'.repeat(63)}" char(10) NOT NULL DEFAULT 'live', home name);
      CREATE TABLE accounts (number int); CREATE TABLE api_keys (key text); CREATE TABLE usage_metrics (metric text); CREATE TABLE users (id int); CREATE TABLE tenants (nothing int); CREATE TABLE usage_summary (mine int);
      INSERT INTO "My ""Host"""."The Accounts, all of them" VALUES ('O''Neil & "sons"', 'One', 'gold', 'live', 'own"schema'), ('two', 'Two', NULL, 'closed', NULL);`,
    mapping: `[tenants]\ntable = "My ""Host"""."The Accounts, all of them"\nid = Id, the\nname = Name "quoted"\nplan = PLAN\nstate = ${'s'.repeat(63)}\nsuspended = closed\n[schemas]\ncolumn = home\n`,
    table: '"My ""Host"""."The Accounts, all of them"', first: 'O\'Neil & "sons"', second: 'two', third: 'three', id: '"Id, the"', plan: '"PLAN"', name: '"Name ""quoted"""', state: `"${'s'.repeat(63)}"`, schema: 'own"schema',
  },
};
const quote = (text) => `'${text.replaceAll("'", "''")}'`;

before(() => {
  assert.equal(run('tests/pg.sh', ['start', pg]).status, 0);
  sql('postgres', 'CREATE ROLE app LOGIN');
});
after(() => {
  run('tests/pg.sh', ['remove', pg]);
  rmSync(pg, { recursive: true, force: true });
});

for (const [name, h] of Object.entries(hosts)) {
  const tenants = () => sql(name, "SELECT string_agg(concat_ws('|', t.id, t.name, s.tier_id, c.state, c.schema_name), E'\\n' ORDER BY t.id) FROM tollgate.tenants t LEFT JOIN tollgate.subscriptions s ON s.tenant_id = t.id LEFT JOIN tollgate.tenant_settings c ON c.tenant_id = t.id");
  const id = h.id ?? 'id', state = h.state ?? 'status';
  let found;

  test(`${name}: a trial says what would be taken and changes nothing`, () => {
    sql('postgres', `CREATE DATABASE ${name}`);
    sql(name, `${h.tables} GRANT USAGE ON SCHEMA ${h.table.includes('.') ? h.table.replace(/\.[^.]*$/, '') : 'public'} TO app; GRANT ALL ON ${h.table} TO app`);
    found = dump(name);
    const r = adopt(name, h.mapping, '--dry-run');
    assert.equal(r.status, 0, r.err);
    assert.ok(r.out.includes(`${h.first}: One, plan gold, active`), r.out);
    assert.match(r.out, /plan none, suspended[^]*2 tenants are taken, 0 left out\.\n1 have no plan: every call of such a tenant is refused[^]*Nothing was changed/);
    assert.equal(dump(name), found);
  });
  test(`${name}: a column that is not there is named`, () => {
    const r = adopt(name, h.mapping.replace(/^plan = .*$/m, 'plan = no_such'), '--yes');
    assert.equal(r.status, 3, r.err);
    assert.match(r.err, /a tenant's plan is in the column no_such, and .* has no such column: it has /);
    assert.equal(dump(name), found);
  });
  test(`${name}: it is adopted, and its tables stay`, () => {
    const r = adopt(name, h.mapping, '--yes');
    assert.equal(r.status, 0, r.err);
    assert.equal(tenants(), [`${h.first}|One|gold|active|${h.schema}`, `${h.second}|${h.name === 'title' ? h.second : 'Two'}|suspended|${h.schema === 'acct_17' ? 'acct_18' : ''}`].sort().join('\n'));
    assert.equal(sql(name, "SELECT to_regclass('tollgate.usage_tracking') IS NOT NULL AND to_regclass('public.usage_tracking') IS NULL"), 't');
    const again = tollgate(name, 'migrate');
    assert.equal(again.status, 0, again.err);
    assert.doesNotMatch(again.err, /functions|sql/);
  });
  test(`${name}: what its program changes there is followed in the same transaction`, () => {
    sql(name, `INSERT INTO ${h.table} (${id}, ${h.name}, ${h.plan}) VALUES (${quote(h.third)}, 'Three', 'new'); UPDATE ${h.table} SET ${h.name} = 'First', ${h.plan} = 'silver' WHERE ${id} = ${quote(h.first)};
      UPDATE ${h.table} SET ${state} = 'live' WHERE ${id} = ${quote(h.second)}`, 'app');
    assert.match(tenants(), /Three\|new\|active/);
    assert.match(tenants(), /First\|silver\|active/);
    assert.doesNotMatch(tenants(), /suspended/);
    sql(name, `DELETE FROM ${h.table} WHERE ${id} = ${quote(h.third)}`, 'app');
    assert.doesNotMatch(tenants(), /Three/);
    assert.equal(sql(name, 'SELECT count(*) FROM tollgate.uncounted'), '0');
  });
  test(`${name}: limits and events count, and the books agree`, () => {
    const set = tollgate(name, 'tier', 'change', 'silver', 'api_calls_per_day=5');
    assert.equal(set.status, 0, set.err);
    assert.equal(sql(name, `SELECT usage_limits FROM tollgate.subscriptions WHERE tenant_id = ${quote(h.first)}`), '{"api_calls_per_day": 5}');
    sql(name, `BEGIN; SELECT tollgate.batch_open(); INSERT INTO pg_temp.batch SELECT i, ${quote(h.first)}, 'api_call', 1, now(), now(), date_bin('15 minutes', now(), '2000-01-01Z'), '', '', 'GET', '/x', '', true, '{"method":"GET","endpoint":"/x","normalized":"/x"}' FROM generate_series(1, 7) i;
      SELECT tollgate.ingest(gen_random_uuid(), NULL, '{}', '{}', '{}', 200); COMMIT`, 'tollgate_collector');
    assert.equal(sql(name, `SELECT (SELECT count(*) FROM tollgate.usage_tracking) || ' ' || current_usage FROM tollgate.subscriptions WHERE tenant_id = ${quote(h.first)}`), '7 {"api_calls_today": 7}');
    assert.equal(sql(name, `SELECT max FROM tollgate.feed_limits(${quote(h.first)}, '', 1)`, 'tollgate_collector'), '5000000');
    sql(name, 'SELECT tollgate.attach_new(50)', 'tollgate_collector');
    const r = tollgate(name, 'reconcile');
    assert.equal(r.status, 0, r.out + r.err);
  });
  test(`${name}: a tenant and a tier that its tables do not have are made by the command line`, () => {
    for (const words of [['tier', 'create', 'extra', '--name', 'Extra'], ['limit', 'set', '--tier', 'extra', 'api_calls_per_minute', '60'],
      ['tenant', 'create', 'by hand', '--name', 'By hand', '--tier', 'extra'], ['tenant', 'change', 'by hand', '--name', 'Renamed']]) {
      const r = tollgate(name, ...words);
      assert.equal(r.status, 0, `${words}: ${r.err}`);
    }
    assert.match(tenants(), /by hand\|Renamed\|extra\|active/);
    assert.equal(sql(name, "SELECT usage_limits FROM tollgate.subscriptions WHERE tenant_id = 'by hand'"), '{"api_calls_per_minute": 60}');
    assert.equal(tollgate(name, 'tier', 'remove', 'extra', '--yes').status, 1);
    assert.equal(tollgate(name, 'tenant', 'remove', 'by hand', '--yes').status, 0);
    assert.equal(tollgate(name, 'tier', 'remove', 'extra', '--yes').status, 0);
    assert.doesNotMatch(tenants(), /by hand/);
  });
  test(`${name}: it is left as it was found`, () => {
    const dry = tollgate(name, 'leave', '--dry-run');
    assert.equal(dry.status, 0, dry.err);
    assert.equal(sql(name, "SELECT to_regclass('tollgate.tenants') IS NOT NULL"), 't');
    const r = tollgate(name, 'leave', '--yes');
    assert.equal(r.status, 0, r.err);
    assert.equal(dump(name), found);
    assert.equal(tollgate(name, 'leave', '--yes').status, 3);
  });
}
test('a database with the specification\'s tables is left as it was found, too', () => {
  sql('postgres', 'CREATE DATABASE clinic');
  sql('clinic', `CREATE TABLE tenants (id varchar(255) PRIMARY KEY, name text); CREATE TABLE users (id serial PRIMARY KEY, tenant_id varchar(255), email text);
    CREATE TABLE subscription_tiers (id varchar(50) PRIMARY KEY, name text, limits jsonb);
    CREATE TABLE tenant_subscriptions (tenant_id varchar(255) PRIMARY KEY, tier_id varchar(50), usage_limits jsonb DEFAULT '{}', current_usage jsonb DEFAULT '{}');
    INSERT INTO tenants VALUES ('a', 'A'); CREATE SCHEMA a; CREATE TABLE a.patients (id int, status text); CREATE TABLE a.appointments (id int)`);
  const found = dump('clinic');
  assert.equal(tollgate('clinic', 'adopt', '--yes').status, 0);
  const r = tollgate('clinic', 'leave', '--yes');
  assert.equal(r.status, 0, r.err);
  assert.equal(dump('clinic'), found);
});
test('a database of Tollgate\'s own is not left', () => {
  sql('postgres', 'CREATE DATABASE own OWNER tollgate_owner');
  assert.equal(tollgate('own', 'migrate', '--new').status, 0);
  const r = tollgate('own', 'leave', '--yes');
  assert.equal(r.status, 3);
  assert.match(r.err, /is Tollgate's own, with its tenants: it can be dropped, not left/);
});
