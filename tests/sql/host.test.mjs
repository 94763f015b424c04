// host.test.mjs: the host's own numbers win, its statements fail for nothing of Tollgate's but an enforced plan, and what was let
// through is noted once and counted later
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { attempt, sql, start, stop, tollgate } from './lib.mjs';

before(start);
after(stop);

const host = (text) => sql('host', text, 'host_owner');
const limits = (id) => JSON.parse(sql('host', `SELECT usage_limits FROM tenant_subscriptions WHERE tenant_id = '${id}'`));
const overrides = (id) => sql('host', `SELECT coalesce(string_agg(limit_key || ' ' || coalesce(max::text, 'none') || ' ' || coalesce(mode, 'tier'), ', ' ORDER BY limit_key), '') FROM tollgate.usage_limit_overrides WHERE tenant_id = '${id}'`);
let made = 0;
function subscribe(own, tier = 't') {
  const id = `n${++made}`;
  host(`INSERT INTO tenants VALUES ('${id}', 'N'); INSERT INTO tenant_subscriptions (tenant_id, tier_id${own ? ', usage_limits' : ''}) VALUES ('${id}', '${tier}'${own ? `, '${own}'` : ''})`);
  return id;
}
const write = (id, set) => host(`UPDATE tenant_subscriptions SET ${set} WHERE tenant_id = '${id}'`);
const tier = (text, id = 't') => host(`UPDATE subscription_tiers SET limits = '${text}' WHERE id = '${id}'`);

// ---- numbers ----

test('a number in a new subscription becomes an override, and outlives a change of the tier', () => {
  const id = subscribe('{"max_patients": 9000}');
  assert.equal(overrides(id), 'max_patients 9000 tier');
  assert.deepEqual(limits(id), { max_patients: 9000, max_users: 100 });
  tier('{"max_patients": 200, "max_users": 200}');
  assert.deepEqual(limits(id), { max_patients: 9000, max_users: 200 });
  tier('{"max_patients": 100, "max_users": 100}');
});
test('a number that the host writes later does the same', () => {
  const id = subscribe();
  write(id, `usage_limits = usage_limits || '{"max_patients": 9000}'`);
  tier('{"max_patients": 200, "max_users": 200}');
  tier('{"max_patients": 100, "max_users": 100}');
  assert.deepEqual(limits(id), { max_patients: 9000, max_users: 100 });
  assert.equal(overrides(id), 'max_patients 9000 tier');
});
for (const [what, own] of Object.entries({ 'nothing': null, 'an empty object': '{}', 'the tier\'s numbers': '{"max_patients": 100.0, "max_users": 100}',
  'nulls': '{"max_patients": null}', 'a text': '{"max_patients": "many"}', 'a list': '[1]', 'an unknown key': '{"max_dogs": 3}' }))
  test(`${what} in a new subscription is no number of the host's`, () => {
    const id = subscribe(own);
    assert.equal(overrides(id), '');
    assert.deepEqual(limits(id), { max_patients: 100, max_users: 100 });
  });
for (const [what, set] of Object.entries({ 'the tier\'s number': `usage_limits = usage_limits || '{"max_patients": 100}'`, 'null': `usage_limits = usage_limits || '{"max_patients": null}'`,
  'a text': `usage_limits = usage_limits || '{"max_patients": "many"}'`, 'no such key': `usage_limits = usage_limits - 'max_patients'`, 'an empty object': `usage_limits = '{}'` }))
  test(`${what} written over the host's number takes it back`, () => {
    const id = subscribe('{"max_patients": 9000}');
    write(id, set);
    assert.equal(overrides(id), '');
    assert.deepEqual(limits(id), { max_patients: 100, max_users: 100 });
  });
test('what the host writes as it was is no number of its own, and a new tier counts', () => {
  host(`INSERT INTO subscription_tiers (id, name, limits) VALUES ('big', 'Big', '{"max_patients": 700, "max_users": 70}')`);
  const id = subscribe('{"max_users": 7}');
  write(id, "tier_id = 'big'");
  assert.deepEqual(limits(id), { max_patients: 700, max_users: 7 });
  write(id, `tier_id = 't', usage_limits = '${JSON.stringify(limits(id))}'`); // as a program that writes whole rows does
  assert.deepEqual(limits(id), { max_patients: 100, max_users: 7 });
  write(id, `tier_id = 'big', usage_limits = '{"max_patients": 700, "max_users": 70}'`);
  assert.equal(overrides(id), '');
  write(id, `tier_id = 't', usage_limits = usage_limits || '{"max_patients": 5}'`);
  assert.deepEqual(limits(id), { max_patients: 5, max_users: 100 });
});
test('numbers of any size are kept as they are, below zero is unlimited', () => {
  const id = subscribe('{"max_patients": 9007199254740993, "max_users": 1e300, "storage_gb": -5, "api_calls_per_day": 0.1234567}');
  assert.equal(sql('host', `SELECT usage_limits = '{"max_patients": 9007199254740993, "max_users": 1e300, "storage_gb": -1, "api_calls_per_day": 0.123457}' FROM tenant_subscriptions WHERE tenant_id = '${id}'`), 't');
});
test('the mode of an override stays, and so does its end while its number is not written', () => {
  const id = subscribe();
  sql('host', `INSERT INTO tollgate.usage_limit_overrides (tenant_id, limit_key, max, mode, expires_at) VALUES ('${id}', 'max_patients', 150, 'soft', now() + interval '1 day')`);
  write(id, `usage_limits = usage_limits || '{"max_users": 3}'`);
  assert.equal(sql('host', `SELECT expires_at > now() FROM tollgate.usage_limit_overrides WHERE tenant_id = '${id}' AND limit_key = 'max_patients'`), 't');
  write(id, `usage_limits = usage_limits || '{"max_patients": 160}'`);
  assert.equal(sql('host', `SELECT max || ' ' || mode || ' ' || (expires_at IS NULL) FROM tollgate.usage_limit_overrides WHERE tenant_id = '${id}' AND limit_key = 'max_patients'`), '160 soft true');
  write(id, `usage_limits = usage_limits - 'max_patients'`);
  assert.equal(overrides(id), 'max_patients none soft, max_users 3 tier');
});
test('what Tollgate writes itself makes no override', () => {
  const id = subscribe();
  sql('host', `SELECT tollgate.set_subscription('${id}', 'big', '{"max_users": 5}')`, 'tollgate_owner');
  assert.equal(overrides(id), 'max_users 5 tier');
  sql('host', `SELECT tollgate.set_subscription('${id}', 't', NULL)`, 'tollgate_owner');
  assert.deepEqual(limits(id), { max_patients: 100, max_users: 5 });
  sql('host', `SELECT tollgate.set_subscription('${id}', NULL, '{"max_users": null}')`, 'tollgate_owner');
  assert.equal(overrides(id), '');
  sql('host', `UPDATE tollgate.usage_limit_overrides SET expires_at = now() WHERE tenant_id = '${id}'; SELECT tollgate.expire_limits()`);
  assert.deepEqual(limits(id), { max_patients: 100, max_users: 100 });
});

// ---- statements that Tollgate can't count ----

const attach = () => sql('host', 'SELECT tollgate.attach_new(50)', 'tollgate_collector');
const ingest = () => sql('host', 'BEGIN; SELECT tollgate.batch_open(); SELECT tollgate.ingest_changes(1000); COMMIT;', 'tollgate_collector');
const counted = (id, column = 'patients_count') => {
  ingest();
  return Number(sql('host', `SELECT ${column} FROM usage_summary WHERE tenant_id = '${id}' ORDER BY period_start DESC LIMIT 1`));
};
const noted = (id) => sql('host', `SELECT string_agg(table_name || ': ' || problem, '; ' ORDER BY id) FROM tollgate.uncounted WHERE tenant_id = '${id}'`);
const doctor = () => tollgate('host', 'doctor').out;
const add = (id, n = 1, status = 'active') => `INSERT INTO ${id}.patients (name, status) SELECT 'x', '${status}' FROM generate_series(1, ${n});`;
// A tenant with its schema, two active patients and one that left; enforced with room for ten.
function tenant(enforced) {
  const id = subscribe('{"max_patients": 10}');
  sql('host', `CREATE SCHEMA ${id} AUTHORIZATION clinic`);
  sql('host', `CREATE TABLE ${id}.patients (id bigint GENERATED ALWAYS AS IDENTITY, name text, status varchar(50) DEFAULT 'active'); CREATE TABLE ${id}.appointments (id int);
    ${add(id, 2)} ${add(id, 1, 'left')}`, 'clinic');
  attach();
  if (enforced) sql('host', `SELECT tollgate.enforce('${id}', true)`);
  assert.equal(counted(id), 2);
  return id;
}

for (const enforced of [false, true]) {
  const words = enforced ? 'enforced' : 'counted';
  for (const [what, breaking, mending] of [
    ['dropped', 'DROP COLUMN status', "ADD COLUMN status text DEFAULT 'active'"],
    ['renamed', 'RENAME COLUMN status TO state', 'RENAME COLUMN state TO status']])
    test(`a ${what} column fails no statement where patients are ${words}; it is noted, and counted when it is back`, () => {
      const id = tenant(enforced);
      // One session, so that the trigger's plans are those of the table as it was.
      const plain = `INSERT INTO ${id}.patients (name) VALUES ('y');`;
      sql('host', `${plain} ALTER TABLE ${id}.patients ${breaking}; ${plain} ${plain} UPDATE ${id}.patients SET name = 'z' WHERE name = 'x'; DELETE FROM ${id}.patients WHERE name = 'y' AND id = 4;`, 'clinic');
      assert.match(noted(id), new RegExp(`^${id}.patients: (column \\w+.status does not exist|has no column status)$`));
      attach();
      assert.match(doctor(), new RegExp(`WRONG.*${id}.patients of tenant "${id}" was written at .* without being counted: (column|has no)`));
      assert.equal(noted(id).split(';').length, 1);
      sql('host', `ALTER TABLE ${id}.patients ${mending}`, 'clinic');
      attach();
      assert.equal(noted(id), '');
      const active = Number(sql('host', `SELECT count(*) FROM ${id}.patients WHERE status = 'active'`));
      assert.equal(counted(id), active);
      const more = attempt('host', 'clinic', add(id, 11 - active));
      assert.equal(more.status, enforced ? 3 : 0, more.err);
      assert.equal(more.err.includes('the plan allows 10 patients'), enforced, more.err);
    });
}
test('a column that is gone and back before anybody looked is noticed', () => {
  const id = tenant(true);
  sql('host', `ALTER TABLE ${id}.patients RENAME COLUMN status TO state; INSERT INTO ${id}.patients (name) VALUES ('y'); ALTER TABLE ${id}.patients RENAME COLUMN state TO status`, 'clinic');
  attach();
  assert.equal(counted(id), 3);
});
test('a table that nobody writes while its column is gone is counted anew, too', () => {
  const id = tenant(false);
  sql('host', `ALTER TABLE ${id}.patients DROP COLUMN status`, 'clinic');
  attach();
  assert.match(noted(id), /has no column status/);
  sql('host', `ALTER TABLE ${id}.patients ADD COLUMN status text DEFAULT 'active'`, 'clinic');
  attach();
  assert.equal(counted(id), 3);
});
test('users without their tenant_id are inserted, changed and deleted, and counted when it is back', () => {
  const id = tenant(true), other = tenant(false);
  sql('host', `INSERT INTO users (tenant_id, email) VALUES ('${id}', 'a'), ('${other}', 'b')`, 'app');
  sql('host', `INSERT INTO users (tenant_id, email) VALUES ('${id}', 'c'); ALTER TABLE users RENAME tenant_id TO practice; INSERT INTO users (practice, email) VALUES ('${id}', 'd');
    INSERT INTO users (practice, email) VALUES ('${id}', 'e'), ('${other}', 'f'); UPDATE users SET email = 'x' WHERE email = 'a'; DELETE FROM users WHERE email = 'x'; ALTER TABLE users RENAME practice TO tenant_id`, 'host_owner');
  assert.match(noted(''), /^public.users: has no column tenant_id$/);
  attach();
  assert.equal(noted(''), '');
  assert.deepEqual([counted(id, 'users_count'), counted(other, 'users_count')], [3, 2]);
});
test('a plan that is enforced refuses as before', () => {
  const id = tenant(true);
  const r = attempt('host', 'clinic', add(id, 9));
  assert.match(r.err, /the plan allows 10 patients/);
  assert.match(r.err, /has 2 of 10 patients, 9 more would be 11/);
  assert.equal(noted(id), '');
});

// What is broken, and how it is put right. Each breaks every trigger that writes.
const broken = {
  'a broken function of Tollgate\'s': [`ALTER FUNCTION tollgate.note(text, text, bigint, bigint, boolean) RENAME TO kept_note; ALTER FUNCTION tollgate.change(text, text, integer, bigint, bigint) RENAME TO kept;
    CREATE FUNCTION tollgate.change(text, text, integer, bigint, bigint DEFAULT 0) RETURNS void LANGUAGE plpgsql AS 'BEGIN RAISE ''broken''; END'`,
  'DROP FUNCTION tollgate.change; ALTER FUNCTION tollgate.kept RENAME TO change; ALTER FUNCTION tollgate.kept_note RENAME TO note'],
  'a missing table of Tollgate\'s': ['ALTER TABLE tollgate.usage_changes RENAME TO gone', 'ALTER TABLE tollgate.gone RENAME TO usage_changes'],
  'a missing right on a table of Tollgate\'s': ['REVOKE INSERT ON tollgate.usage_changes FROM tollgate_owner', 'GRANT INSERT ON tollgate.usage_changes TO tollgate_owner'],
};
for (const [what, [breaking, mending]] of Object.entries(broken))
  test(`${what} fails no insert, update or delete of the host's`, () => {
    const id = tenant(false);
    const everything = `${add(id, 3)} UPDATE ${id}.patients SET status = 'left' WHERE id = 1; DELETE FROM ${id}.patients WHERE id = 2; INSERT INTO ${id}.appointments VALUES (1); DELETE FROM ${id}.appointments; TRUNCATE ${id}.appointments;`;
    sql('host', breaking);
    try {
      sql('host', everything, 'clinic');
      sql('host', `INSERT INTO users (tenant_id, email) VALUES ('${id}', 'u')`, 'app');
    } finally {
      sql('host', mending);
    }
    assert.match(noted(id), new RegExp(`${id}.patients: `));
    attach();
    assert.equal(noted(id), '');
    assert.equal(counted(id), 3);
    assert.equal(counted(id, 'users_count'), 1);
  });
test('a locked table of Tollgate\'s makes the host wait no longer than it wants to', async () => {
  const id = tenant(false);
  sql('host', `CREATE EXTENSION IF NOT EXISTS dblink`);
  sql('host', `SELECT dblink_connect('holder', 'dbname=host user=postgres host=' || current_setting('unix_socket_directories')); SELECT dblink_exec('holder', 'BEGIN; LOCK TABLE tollgate.usage_changes');
    SET lock_timeout = '100ms'; ${add(id, 1)}`);
  assert.match(noted(id), /lock timeout/);
  attach();
  assert.equal(counted(id), 3);
});
test('a missing right of tollgate_counter fails no subscription, no tier and no tenant; what the host wrote counts when it is back', () => {
  const id = subscribe('{"max_patients": 10}');
  sql('host', 'REVOKE UPDATE ON tenant_subscriptions FROM tollgate_counter CASCADE');
  sql('host', 'REVOKE UPDATE (tier_id, usage_limits, current_usage) ON tenant_subscriptions FROM tollgate_counter CASCADE', 'tollgate_owner');
  write(id, `usage_limits = '{"max_patients": 20}'`);
  tier('{"max_patients": 100, "max_users": 300}');
  const late = subscribe();
  attach();
  assert.match(noted(id), /public.tenant_subscriptions: permission denied/);
  sql('host', 'GRANT UPDATE (tier_id, usage_limits, current_usage) ON tenant_subscriptions TO tollgate_counter', 'tollgate_owner');
  attach();
  assert.equal(noted(id) + noted(late), '');
  assert.deepEqual(limits(id), { max_patients: 20, max_users: 300 });
  assert.deepEqual(limits(late), { max_patients: 100, max_users: 300 });
  tier('{"max_patients": 100, "max_users": 100}');
});
test('a tenant that the host makes and deletes while the gates can\'t be told is made and deleted', () => {
  const id = subscribe();
  sql('host', 'ALTER TABLE tollgate.config_changes RENAME TO gone');
  try {
    host("INSERT INTO tenants VALUES ('late', 'Late')");
    host(`DELETE FROM tenant_subscriptions WHERE tenant_id = '${id}'`);
  } finally {
    sql('host', 'ALTER TABLE tollgate.gone RENAME TO config_changes');
  }
  attach();
  assert.equal(noted('late') + noted(id), '');
  assert.equal(sql('host', "SELECT string_agg(DISTINCT subject, ',' ORDER BY subject) FROM tollgate.config_changes WHERE subject IN ('late')"), 'late');
  assert.equal(sql('host', "SELECT count(*) FROM tollgate.tenant_settings WHERE tenant_id = 'late'"), '1');
});

// ---- schemas ----

const long = { 'of 64 bytes': 'y'.repeat(64), 'of 255 bytes': 'z'.repeat(255), 'cut within a character': `${'w'.repeat(62)}éé`, 'cut within four bytes': `${'v'.repeat(60)}🏥x` };
for (const [what, id] of Object.entries(long))
  test(`an id ${what} is counted in the schema whose name PostgreSQL cut`, () => {
    host(`INSERT INTO tenants VALUES ('${id}', 'Long')`);
    sql('host', `CREATE SCHEMA "${id}" AUTHORIZATION clinic; CREATE TABLE "${id}".patients (id int, status text); CREATE TABLE "${id}".appointments (id int)`);
    sql('host', `ALTER TABLE "${id}".patients OWNER TO clinic; ALTER TABLE "${id}".appointments OWNER TO clinic; INSERT INTO "${id}".patients VALUES (1, 'active'); INSERT INTO "${id}".appointments VALUES (1)`);
    attach();
    sql('host', `INSERT INTO "${id}".patients VALUES (2, 'active'); INSERT INTO "${id}".appointments VALUES (2), (3)`, 'clinic');
    assert.equal(counted(id), 2);
    assert.equal(counted(id, 'appointments_count'), 3);
    assert.equal(sql('host', `SELECT count(*) FROM tollgate.reconcile_gauges('${id}')`), '0');
  });
test('of two tenants whose schema would have one name the first is counted there, the other named by the doctor until the first is gone', () => {
  const first = `${'y'.repeat(63)}`.concat('y'), second = `${'y'.repeat(63)}2`;
  host(`INSERT INTO tenants VALUES ('${second}', 'Second')`);
  attach();
  assert.equal(counted(second), 0);
  assert.equal(counted(first), 2);
  assert.match(doctor(), new RegExp(`tenant "${second}" has no schema of its own: PostgreSQL cuts the name at 63 bytes, and so cut it is that of tenant "${first}"`));
  sql('host', `DELETE FROM tenants WHERE id = '${first}'`);
  attach();
  sql('host', `SELECT tollgate.attach('${second}'), tollgate.recount('${second}')`);
  assert.equal(counted(second), 2);
  assert.doesNotMatch(doctor(), /has no schema of its own/);
});
