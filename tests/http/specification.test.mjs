// The specification's step 7 as a test: its calls, against the server that the environment names.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { db, eventually } from './lib.mjs';

const { URL: url, TENANT_ID: tenant, TENANT_KEY: key, OPERATOR_KEY: operator, DEMO_TOKEN: token } = process.env;
const get = (path, headers) => fetch(url + path, { headers });
const calls = () => Number(db(`SELECT count(*) AS n FROM usage_tracking
  WHERE tenant_id = '${tenant}' AND metric_type = 'api_call'`)[0].n);

// What one look by psql takes: it is not the service's time.
function psqlSeconds() {
  const began = performance.now();
  calls();
  return 2 * (performance.now() - began) / 1000;
}

for (const [name, bearer] of [["an operator's key", operator], ['the demo token', token]]) {
  test(`five calls of ${name} in the tenant's name are five rows, shown within a second`, async (t) => {
    if (!bearer) return t.skip('no such key in this environment');
    const authorization = `Bearer ${bearer}`;
    const usage = async () => (await (await get(`/api/usage/tenant/${tenant}/current`, { authorization })).json()).usage;
    const before = { rows: calls(), usage: await usage() };
    for (let i = 0; i < 5; i++) {
      const r = await get('/api/tenants', { authorization, 'x-tenant-id': tenant });
      assert.equal(r.status, 200);
    }
    await eventually(() => calls() === before.rows + 5, 'five rows', 1 + psqlSeconds());
    const after = await usage();
    assert.equal(after.api_calls_count, before.usage.api_calls_count + 5);
    assert.equal(after.api_calls_today, before.usage.api_calls_today + 5);
    assert.equal(after.tenant_id, tenant);

    const { report } = await (await get(`/api/usage/tenant/${tenant}/report`, { authorization })).json();
    assert.equal(report.tenant_id, tenant);
    assert.ok(Array.isArray(report.warnings));
    assert.deepEqual(Object.keys(report.usage_percentage).sort(), ['api_calls', 'patients', 'storage', 'users']);
    assert.equal(report.current_period.api_calls_count, after.api_calls_count);

    const refresh = await fetch(`${url}/api/usage/tenant/${tenant}/refresh`, {
      method: 'POST', headers: { authorization, 'content-type': 'application/json' }, body: '{}' });
    assert.equal(refresh.status, 200);
    assert.equal((await refresh.json()).message, 'Usage summary refreshed successfully');
    assert.equal(calls(), before.rows + 5, "Tollgate's own routes are not metered");
  });
}

test("a tenant's own key makes one row a call, with endpoint, method and timestamp in its metadata", async () => {
  const authorization = `Bearer ${key}`;
  const path = `/api/demo/mark-${Date.now()}`;
  assert.equal((await get(path, { authorization })).status, 200);
  const [row] = await eventually(() => {
    const rows = db(`SELECT * FROM usage_tracking WHERE tenant_id = '${tenant}' AND metadata->>'endpoint' = '${path}'`);
    return rows.length && rows;
  }, 'the row', 1 + psqlSeconds());
  assert.equal(row.metric_type, 'api_call');
  assert.equal(Number(row.metric_value), 1);
  assert.equal(row.metadata.method, 'GET');
  assert.ok(Math.abs(Date.parse(row.metadata.timestamp) - Date.now()) < 5000);
  assert.match(row.billing_period, /^\d{4}-\d\d$/);
});
