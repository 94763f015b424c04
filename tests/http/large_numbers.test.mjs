// large_numbers.test.mjs: limits and counts of any size are answered, and a host's odd number breaks no answer
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, test } from 'node:test';
import { eventually } from './lib.mjs';
import { makeKey, makeTenant, removeTenant } from '../lib/keys.mjs';

const { URL: url, OPERATOR_KEY: operator } = process.env;
const tenant = makeTenant();
const key = makeKey(tenant, ['read']);
after(() => removeTenant(tenant));
const psql = (text) => execFileSync('psql', ['-XqAt', '-v', 'ON_ERROR_STOP=1', '-c', text], { encoding: 'utf8' });
const get = (what, k = key) => fetch(`${url}/api/usage/tenant/${tenant}/${what}`, { headers: { authorization: `Bearer ${k}` } });

before(() => eventually(async () => (await get('current')).status === 200, 'the key to be known'));

for (const limit of ['9007199254740991', '10000000000000', '1e300', '"many"', 'null', '-5']) {
  test(`a limit of ${limit} in the host's subscription is reported`, async () => {
    psql(`UPDATE tenant_subscriptions SET usage_limits = usage_limits || '{"max_patients":${limit},"api_calls_per_day":${limit}}' WHERE tenant_id = '${tenant}'`);
    const r = await get('report');
    assert.equal(r.status, 200, await r.clone().text());
    const { report } = await r.json();
    assert.equal(report.usage_percentage.patients, 0);
    assert.deepEqual(report.warnings, []);
    const list = await fetch(`${url}/api/tenants`, { headers: { authorization: `Bearer ${operator}` } });
    assert.equal(list.status, 200, await list.text());
  });
}
test('counts beyond nine million million millions are answered', async () => {
  psql(`UPDATE tenant_subscriptions SET usage_limits = usage_limits || '{"api_calls_per_day":1000000000000}' WHERE tenant_id = '${tenant}';
    INSERT INTO tollgate.usage_daily (tenant_id, metric_type, day, total, events) VALUES ('${tenant}', 'api_call', current_date, 10000000000000, 10);
    INSERT INTO tollgate.usage_counts (tenant_id, metric_type, limit_window, window_start, used) VALUES ('${tenant}', 'api_call', 'day', current_date, 10000000000000)`);
  for (const what of ['report', 'current', 'history?metric=api_call']) {
    const r = await get(what);
    assert.equal(r.status, 200, `${what} ${await r.text()}`);
  }
  const put = await fetch(`${url}/api/subscription/tenant/${tenant}`, { method: 'PUT', body: '{"usage_limits":{"max_users":7}}',
    headers: { authorization: `Bearer ${operator}`, 'content-type': 'application/json' } });
  assert.equal(put.status, 200, await put.text());
});
