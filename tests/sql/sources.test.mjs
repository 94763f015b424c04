// sources.test.mjs: a gauge that an operator makes of any table: counted, summed, refused, compared and removed; and what can't be one is
// said where it is made
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { attempt, sql, start, stop, tollgate } from './lib.mjs';

const metric = (...args) => tollgate('own', 'metric', ...args);
const made = (...args) => {
  const r = metric('create', ...args);
  assert.equal(r.status, 0, r.err);
};
const refused = (wanted, ...args) => {
  const r = metric('create', 'nothing', '--kind', 'gauge', ...args);
  assert.notEqual(r.status, 0, args.join(' '));
  assert.match(r.err, wanted);
  assert.equal(sql('own', "SELECT count(*) FROM tollgate.usage_metrics WHERE metric_type = 'nothing'"), '0');
};
// As the collector does: what the triggers brought, and the events that it makes.
const collect = () => sql('own', `BEGIN; SELECT tollgate.batch_open(); SELECT tollgate.ingest_changes(1000);
  SELECT tollgate.ingest(gen_random_uuid(), '\\x01', '{}', '{}', '{}', 100); COMMIT`, 'tollgate_collector');
const level = (tenant, what) => {
  collect();
  return sql('own', `SELECT trim_scale(level) FROM tollgate.usage_levels WHERE tenant_id = '${tenant}' AND metric_type = '${what}'`);
};
const differences = (tenant) => sql('own', `SELECT count(*) FROM tollgate.reconcile_gauges('${tenant}')`);
const doctor = () => tollgate('own', 'doctor').out;

before(() => {
  start();
  sql('own', `SET ROLE tollgate_owner; CREATE SCHEMA c; CREATE SCHEMA d; INSERT INTO tenants (id, name) VALUES ('c', 'C'), ('d', 'D');
    INSERT INTO subscription_tiers VALUES ('p', 'P', '{"max_projects": 3, "max_gigabytes": 10}');
    SELECT tollgate.set_subscription('c', 'p', NULL), tollgate.set_subscription('d', 'p', NULL);
    CREATE TABLE c.projects (id serial, status text, size int); CREATE TABLE d.projects (id serial, status text, size int);
    INSERT INTO c.projects (status) VALUES ('active'), ('active'), ('done');
    CREATE SCHEMA "Core Stuff"; CREATE TYPE "Core Stuff".kind AS ENUM ('x', 'y');
    CREATE TABLE "Core Stuff"."My ""Files""" ("Org Id" uuid, "kind of" "Core Stuff".kind DEFAULT 'x', gigabytes float8, made date DEFAULT '2026-01-02');`);
});
after(stop);

test('rows of a table in each tenant\'s schema are counted, refused and compared', () => {
  made('projects', '--kind', 'gauge', '--limit', 'max_projects', '--from', '{schema}.projects', '--where', "status = 'active'");
  assert.deepEqual([level('c', 'projects'), level('d', 'projects')], ['2', '0']);
  sql('own', "INSERT INTO c.projects (status) VALUES ('active'), ('active'), ('done'); UPDATE c.projects SET status = 'done' WHERE id = 1; DELETE FROM c.projects WHERE id = 2");
  assert.equal(level('c', 'projects'), '2');
  assert.equal(sql('own', "SELECT current_usage ->> 'projects' FROM tenant_subscriptions WHERE tenant_id = 'c'"), '2');
  assert.equal(sql('own', "SELECT trim_scale(total) FROM tollgate.usage_daily WHERE tenant_id = 'c' AND metric_type = 'projects'"), '2');
  assert.equal(tollgate('own', 'enforce', 'c', 'on').status, 0);
  const r = attempt('own', 'postgres', "INSERT INTO c.projects (status) VALUES ('active'), ('active')");
  assert.match(r.err, /the plan allows 3 projects/);
  assert.match(r.err, /has 2 of 3 projects, 2 more would be 4/);
  sql('own', "INSERT INTO c.projects (status) VALUES ('active')");
  assert.equal(level('c', 'projects'), '3');
  assert.equal(differences('c'), '0');
  const listed = JSON.parse(tollgate('own', '--json', 'enforce', 'list').out);
  const of = (tenant) => (listed.items ?? listed).find((x) => x.tenant_id === tenant && x.metric === 'projects');
  assert.deepEqual([of('c').enforced, of('d').enforced, of('d').why], [true, false, 'off for this tenant']);
});
test('a schema that comes later is counted by itself', () => {
  sql('own', "SET ROLE tollgate_owner; CREATE SCHEMA e; INSERT INTO tenants (id, name) VALUES ('e', 'E'); CREATE TABLE e.projects (status varchar(9)); INSERT INTO e.projects VALUES ('active')");
  sql('own', 'SELECT tollgate.attach_new(50)', 'tollgate_collector');
  sql('own', "INSERT INTO e.projects VALUES ('active'), ('done')");
  assert.equal(level('e', 'projects'), '2');
});
test('a column of a shared table is summed, under any names and types, and each new row is recorded', () => {
  const ids = ['6f3b0d3e-0000-4000-8000-000000000001', '6f3b0d3e-0000-4000-8000-000000000002'];
  sql('own', `INSERT INTO tenants (id, name) VALUES ('${ids[0]}', 'One'), ('${ids[1]}', 'Two'); SELECT tollgate.set_subscription('${ids[0]}', 'p', NULL)`, 'tollgate_owner');
  made('uploads', '--kind', 'counter', '--unit', 'files', '--label', 'Uploads');
  const table = ['--from', '"Core Stuff"."My ""Files"""', '--tenant-column', 'Org Id'];
  made('gigabytes', '--kind', 'gauge', '--limit', 'max_gigabytes', ...table, '--value', 'gigabytes', '--where', `"kind of" = 'x' AND made > '2000-01-01'::date`);
  made('files', '--kind', 'gauge', ...table, '--records', 'uploads');
  const add = (n, kind, gigabytes) => sql('own', `INSERT INTO "Core Stuff"."My ""Files""" VALUES ('${ids[n]}', '${kind}', ${gigabytes})`);
  add(0, 'x', 1.25);
  add(0, 'y', 100);
  sql('own', `INSERT INTO "Core Stuff"."My ""Files""" VALUES ('${ids[0]}', 'x', 2), ('${ids[1]}', 'x', 0.5), (NULL, 'x', 7)`);
  assert.deepEqual([level(ids[0], 'gigabytes'), level(ids[1], 'gigabytes'), level(ids[0], 'files')], ['3.25', '0.5', '3']);
  assert.equal(sql('own', `SELECT string_agg(trim_scale(total)::text, ' ' ORDER BY tenant_id) FROM tollgate.usage_daily WHERE metric_type = 'uploads'`), '3 1');
  assert.equal(tollgate('own', 'enforce', ids[0], 'on').status, 0);
  assert.match(attempt('own', 'postgres', `INSERT INTO "Core Stuff"."My ""Files""" VALUES ('${ids[0]}', 'x', 6.75), ('${ids[0]}', 'x', 0.000001)`).err,
    /has 3.25 of 10 gigabytes, 6.750001 more would be 10.000001/);
  add(0, 'x', 6.75);
  sql('own', `UPDATE "Core Stuff"."My ""Files""" SET gigabytes = gigabytes - 0.25 WHERE "kind of" = 'x'; DELETE FROM "Core Stuff"."My ""Files""" WHERE gigabytes = 1.75`);
  assert.deepEqual([level(ids[0], 'gigabytes'), level(ids[1], 'gigabytes'), level(ids[0], 'files'), differences(ids[0]), differences(ids[1])], ['7.5', '0.25', '3', '0', '0']);
  sql('own', 'TRUNCATE "Core Stuff"."My ""Files"""');
  assert.deepEqual([level(ids[0], 'gigabytes'), level(ids[1], 'files')], ['0', '0']);
});
test('a condition that fails on a row lets the host\'s statement through, and doctor says so', () => {
  sql('own', "SET ROLE tollgate_owner; INSERT INTO tenants (id, name) VALUES ('f', 'F'); CREATE SCHEMA f; CREATE TABLE f.jobs (n text); INSERT INTO f.jobs VALUES ('7')");
  made('jobs', '--kind', 'gauge', '--from', '{schema}.jobs', '--where', 'n::int > 5');
  assert.equal(level('f', 'jobs'), '1');
  assert.match(sql('own', "INSERT INTO f.jobs VALUES ('many'); SELECT count(*) FROM f.jobs"), /^2$/);
  assert.match(doctor(), /f\.jobs of tenant "f" was written at .* without being counted: invalid input syntax for type integer/);
  sql('own', "DELETE FROM f.jobs WHERE n = 'many'; INSERT INTO f.jobs VALUES ('8')");
  sql('own', 'SELECT tollgate.attach_new(50)', 'tollgate_collector');
  assert.equal(level('f', 'jobs'), '2');
});
test('a condition is changed, and everything is counted anew', () => {
  const r = metric('change', 'projects', '--where', "status <> 'nothing'");
  assert.equal(r.status, 0, r.err);
  assert.equal(level('e', 'projects'), '3');
  assert.match(metric('show', 'projects').out, /rows of {schema}\.projects where status <> 'nothing'/);
});
test('a shared table that is gone is named by doctor, and nothing stops', () => {
  const all = sql('own', "SELECT count(*) FROM tollgate.usage_levels WHERE metric_type = 'files'");
  sql('own', 'ALTER TABLE "Core Stuff"."My ""Files""" RENAME TO elsewhere');
  assert.match(doctor(), /"Core Stuff"\."My ""Files""" is gone: files was counted from it/);
  sql('own', 'SELECT tollgate.attach_new(50)', 'tollgate_collector');
  assert.equal(level('c', 'projects') !== '', true);
  assert.equal(sql('own', "SELECT count(*) FROM tollgate.usage_levels WHERE metric_type = 'files'"), all);
  sql('own', 'DROP TABLE "Core Stuff".elsewhere');
});
test('what could run the host\'s code, or is no condition, is refused with a sentence', () => {
  sql('own', `CREATE SEQUENCE public.sprung; CREATE FUNCTION public.evil() RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT nextval(''public.sprung'') > 0';
    CREATE FUNCTION public.evil(text) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT public.evil()'; CREATE OPERATOR public.=== (LEFTARG = text, RIGHTARG = text, FUNCTION = texteq);
    CREATE DOMAIN public.checked AS text CHECK (public.evil(VALUE)); CREATE FUNCTION public.made(text) RETURNS public.checked IMMUTABLE LANGUAGE sql AS 'SELECT $1::public.checked'`);
  for (const [condition, wanted] of [['public.evil()', /names function public\.evil\(\)/], ['public.evil(status)', /names function/], ['evil(status)', /function evil\(text\) does not exist/],
    ["status OPERATOR(public.===) 'x'", /names .*operator public\.===/], ["status = 'x'::public.checked", /names type public\.checked/], ["public.made(status) = 'x'", /names function/],
    ["status = (SELECT 'x')", /cannot use subquery/], ["EXISTS (SELECT FROM public.users)", /names .*table public\.users/], ["now() > '2020-01-01'", /must be immutable/], ['random() < 0.5', /must be immutable/],
    ["stauts = 'x'", /column "stauts" does not exist/], ["status = 'x'; DROP TABLE c.projects", /semicolon/], ['count(*) > 1', /aggregate/], ['status', /boolean/], ['status =', /syntax error/],
    ["true) UNION SELECT (1", /UNION types|syntax error/], ["status = 'x' /*", /comment/]])
    refused(wanted, '--from', '{schema}.projects', '--where', condition);
  assert.equal(sql('own', 'SELECT is_called FROM public.sprung'), 'f');
  refused(/no tenant's schema has a table nothing/, '--from', '{schema}.nothing');
  refused(/there is no table public\.nothing/, '--from', 'public.nothing', '--tenant-column', 'x');
  refused(/has no column nothing/, '--from', 'public.users', '--tenant-column', 'nothing');
  refused(/--tenant-column/, '--from', 'public.users');
  refused(/is no number/, '--from', 'public.users', '--tenant-column', 'tenant_id', '--value', 'email');
  refused(/written as \{schema\}\.NAME/, '--from', 'users', '--tenant-column', 'tenant_id');
  refused(/another metric's type/, '--from', 'public.users', '--tenant-column', 'tenant_id', '--records', 'storage_used_gb');
  assert.match(metric('create', 'nothing', '--kind', 'counter', '--from', 'public.users', '--tenant-column', 'tenant_id').err, /only a gauge/);
});
test('a metric goes with its triggers and what was counted of it', () => {
  for (const name of ['projects', 'gigabytes', 'files', 'jobs']) {
    const r = metric('remove', name, '--yes');
    assert.equal(r.status, 0, r.err);
  }
  assert.equal(sql('own', "SELECT string_agg(DISTINCT split_part(tgname, '_', 2), ' ') FROM pg_trigger WHERE tgname ~ '^tollgate_[0-9]+_'"), '1 2 3');
  assert.equal(sql('own', "SELECT count(*) FROM pg_proc WHERE proname ~ '^source_([4-9]|[0-9][0-9])'"), '0');
  assert.equal(sql('own', "SELECT count(*) FROM usage_tracking WHERE metric_type = 'projects'"), '0');
  sql('own', "INSERT INTO c.projects (status) VALUES ('active')");
});
test('a second migrate keeps what an operator made and removed', () => {
  made('again', '--kind', 'gauge', '--from', 'public.users', '--tenant-column', 'tenant_id');
  assert.equal(metric('remove', 'appointments_count', '--yes').status, 0);
  const r = tollgate('own', 'migrate');
  assert.equal(r.status, 0, r.err);
  assert.equal(sql('own', "SELECT string_agg(metric_type, ' ' ORDER BY metric_type) FROM tollgate.usage_sources"), 'again patients_count users_count');
  sql('own', 'ALTER FUNCTION tollgate.percent(numeric, numeric) COST 7');
  assert.match(tollgate('own', 'migrate').err, /functions \(/);
  sql('own', "INSERT INTO users (tenant_id, email) VALUES ('c', 'x')");
  assert.equal(level('c', 'again'), '1');
});
