// tollgate reconcile: what rows inserted by hand lack is found and repaired, of one tenant and of all.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { makeNode } from '../lib/node.mjs';

let node;
before(() => {
  node = makeNode();
  node.sql(`INSERT INTO usage_tracking (tenant_id, metric_type, metric_value, recorded_at, billing_period, metadata) VALUES
    ('f0', 'api_call', 1, now(), 'x', '{"method": "GET", "normalized": "/a"}'), ('f0', 'file_upload', 2, now(), 'x', '{}');
    INSERT INTO tollgate.usage_daily (tenant_id, metric_type, day, total, events) SELECT 'f0', 'api_call', current_date - i, 1, 1 FROM generate_series(400, 410) i`);
});
after(() => node.remove());
const kinds = (r) => [...new Set(JSON.parse(r.out).map((d) => `${d.tenant_id} ${d.aggregate} ${d.metric}`))].sort();
const lacking = ['f0 counts api_call', 'f0 counts file_upload', 'f0 current_usage api_calls_today', 'f0 daily api_call', 'f0 daily file_upload',
  'f0 hourly api_call', 'f0 hourly file_upload', 'f0 summary api_calls_count', 'f0 summary file_uploads_count'];

test('rows of a tenant that has no period yet are said', () => {
  assert.deepEqual(kinds(node.tollgate(['--json', 'reconcile'])), ['f0 periods ']);
  node.sql("SELECT tollgate.ensure_periods('f0', now(), now())");
});
test('all tenants at once and one alone find the same, and nothing is changed', () => {
  for (const options of [[], ['--tenant', 'f0'], []]) {
    const r = node.tollgate(['--json', 'reconcile', ...options]);
    assert.equal(r.status, 1, r.err);
    assert.deepEqual(kinds(r), lacking);
  }
});
test('a tenant that is not there is said', () => {
  const r = node.tollgate(['reconcile', '--tenant', 'f']);
  assert.equal(r.status, 1);
  assert.match(r.err, /there is no tenant f;/);
});
test('a repair says what it found, and nothing is left; days whose rows are gone stay', () => {
  const r = node.tollgate(['reconcile', '--repair']);
  assert.equal(r.status, 0, r.err);
  assert.match(r.out, /differences, repaired\n$/);
  const again = node.tollgate(['--json', 'reconcile']);
  assert.deepEqual([again.status, again.out.trim()], [0, '[]'], again.err);
  assert.equal(node.sql("SELECT count(*) FROM tollgate.usage_daily WHERE tenant_id = 'f0' AND day < current_date - 300"), '11');
});
