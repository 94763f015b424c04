// ids.test.mjs: a tenant's id that no header carries is refused where Tollgate makes the tenant, and left out where the host does
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { sql, start, stop, tollgate } from './lib.mjs';

before(start);
after(stop);

const good = ['acme corp', 'Praxis Müller & Söhne?', 'odd/..;\\~2F %2F', '🏥', 'a\u00a0z', 'x'.repeat(255)];
const bad = { '': 'is empty', 'a,b': 'holds a comma', 'evil\r\nX-Tollgate-Tier: gold': 'holds a control character', 'tab\there': 'holds a control character', 'del\u007f': 'holds a control character',
  'c1\u0085x': 'holds a control character', 'sp ': 'begins or ends with white space', ' sp': 'begins or ends with white space', '\u00a0nbsp': 'begins or ends with white space',
  'thin\u2009': 'begins or ends with white space', '\u3000': 'begins or ends with white space', ['x'.repeat(256)]: 'is longer than 255 bytes', ['é'.repeat(128)]: 'is longer than 255 bytes' };
const quote = (text) => `E'${text.replace(/['\\]/g, (c) => `\\${c}`).replace(/[\x00-\x1f]/g, (c) => `\\x${c.charCodeAt(0).toString(16).padStart(2, '0')}`)}'`;

test('the database and the command line have one rule', () => {
  for (const id of good) {
    assert.equal(sql('own', `SELECT tollgate.tenant_id_problem(${quote(id)}) IS NULL`), 't', id);
    assert.equal(tollgate('own', 'tenant', 'create', id).status, 0, id);
    assert.equal(tollgate('own', '--yes', 'tenant', 'remove', id).status, 0, id);
  }
  for (const [id, problem] of Object.entries(bad)) {
    assert.equal(sql('own', `SELECT tollgate.tenant_id_problem(${quote(id)})`), problem);
    const r = tollgate('own', 'tenant', 'create', id);
    assert.equal(r.status, 2, r.err);
    assert.match(r.err, new RegExp(`this id ${problem}; a tenant's id has 1 to 255 bytes`));
  }
});
test('what the host inserts with such an id is inserted, left out, and named by the doctor', () => {
  sql('host', `BEGIN; INSERT INTO tenants VALUES ('sp ', 'Space'), (E'evil\\r\\nX-Tollgate-Tier: gold', 'Evil'), ('fine', 'Fine'); COMMIT;`);
  sql('host', 'SELECT tollgate.attach_new(50)', 'tollgate_collector');
  assert.equal(sql('host', "SELECT string_agg(tenant_id, ',' ORDER BY tenant_id) FROM tollgate.tenant_settings"), 'a,b,fine');
  const doctor = tollgate('host', 'doctor').out;
  assert.match(doctor, /WRONG.*2 tenants or tables are left out: tenant "evil\\r\\nX-Tollgate-Tier: gold" has an id that holds a control character; tenant "sp " has an id that begins/);
  const dry = tollgate('host', 'adopt', '--dry-run').out;
  assert.match(dry, /It leaves out the tenant "sp ": its id begins or ends with white space/);
  assert.match(dry, /It leaves out the tenant "evil\?\?X-Tollgate-Tier: gold": its id holds a control character/);
  sql('host', "UPDATE tenants SET id = 'sp' WHERE id = 'sp '");
  sql('host', 'SELECT tollgate.attach_new(50)', 'tollgate_collector');
  assert.equal(sql('host', "SELECT count(*) FROM tollgate.tenant_settings WHERE tenant_id = 'sp'"), '1');
});
test('an id of more than 255 bytes gets no key and no account, and is named by the doctor until its tenant is gone', () => {
  const id = 'é'.repeat(200);
  sql('host', `INSERT INTO tenants VALUES ('${id}', 'Long')`);
  sql('host', 'SELECT tollgate.attach_new(50)', 'tollgate_collector');
  for (const words of [['key', 'create', 'x', '--tenant', id], ['account', 'create', 'x@example.org', '--tenant', id, '--role', 'admin', '--password-stdin']]) {
    const r = tollgate('host', ...words);
    assert.equal(r.status, 2, r.err);
    assert.match(r.err, /this id is longer than 255 bytes; a tenant's id has 1 to 255 bytes/);
  }
  assert.equal(sql('host', `SELECT count(*) FROM tollgate.tenant_settings WHERE tenant_id = '${id}'`), '0');
  assert.match(tollgate('host', 'doctor').out, /tenant "é+" has an id that is longer than 255 bytes/);
  sql('host', `DELETE FROM tenants WHERE id = '${id}'`);
  assert.equal(sql('host', 'SELECT tollgate.attach_new(50)', 'tollgate_collector'), '');
  assert.doesNotMatch(tollgate('host', 'doctor').out, /longer than 255 bytes/);
});
test('a tenant that came before the rule is left out of what the gates learn', () => {
  sql('host', "INSERT INTO tollgate.tenant_settings (tenant_id, schema_name) SELECT id, 'x' FROM tenants WHERE name = 'Evil'");
  for (const one of ['NULL', "E'evil\\r\\nX-Tollgate-Tier: gold'"])
    assert.equal(sql('host', `SELECT count(*) FROM tollgate.feed_tenants(${one}, '', 100) WHERE tenant_id LIKE 'evil%'`, 'tollgate_collector'), '0');
  assert.equal(sql('host', "SELECT string_agg(tenant_id, ',' ORDER BY tenant_id) FROM tollgate.feed_tenants(NULL, '', 2)"), 'a,b');
  assert.equal(sql('host', "SELECT string_agg(tenant_id, ',' ORDER BY tenant_id) FROM tollgate.feed_tenants(NULL, 'b', 2)"), 'fine,sp');
});
test('a table that can\'t be counted is named by the doctor, and the rest goes on', () => {
  sql('host', 'ALTER TABLE a.patients ENABLE ROW LEVEL SECURITY', 'clinic');
  assert.match(tollgate('host', 'doctor').out, /a\.patients has row-level security, which hides rows from the count/);
  const enforced = tollgate('host', 'enforce', 'a', 'on');
  assert.equal(enforced.status, 1);
  assert.match(enforced.err, /a\.patients has row-level security/);
  sql('host', "INSERT INTO b.patients VALUES (2, 'B', 'active')");
  sql('host', 'BEGIN; SELECT tollgate.batch_open(); SELECT tollgate.ingest_changes(100); COMMIT;', 'tollgate_collector');
  assert.equal(sql('host', "SELECT patients_count FROM usage_summary WHERE tenant_id = 'b' ORDER BY period_start DESC LIMIT 1"), '2');
});
