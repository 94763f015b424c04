// large_numbers.test.mjs: limits and counts of any size are answered by every route and page that shows them, and an odd value of the
// host's, in a subscription or in a tier, breaks no answer
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, test } from 'node:test';
import { parseList } from 'structured-headers';
import { eventually, tollgate } from './lib.mjs';
import { makeKey, makeTenant, removeTenant } from '../lib/keys.mjs';
import { makeAccount, signedIn } from '../lib/people.mjs';

const { URL: url, OPERATOR_KEY: operator } = process.env;
const tenant = makeTenant(), tier = `tier_${tenant}`;
const key = makeKey(tenant, ['read', 'call', 'track']);
const psql = (text) => execFileSync('psql', ['-XqAt', '-v', 'ON_ERROR_STOP=1', '-c', text], { encoding: 'utf8' }).trim();
const send = (path, { k = key, ...more } = {}) => fetch(url + path, { headers: { authorization: `Bearer ${k}`, 'content-type': 'application/json' }, ...more });
const get = (what) => send(`/api/usage/tenant/${tenant}/${what}`);
const json = async (r) => {
  const text = await r.text();
  assert.equal(r.status, 200, `${r.url} ${text}`);
  return JSON.parse(text);
};
const keys = ['max_patients', 'max_users', 'storage_gb', 'api_calls_per_day', 'api_calls_per_minute', 'file_uploads_per_period', 'appointments_per_period'];
const all = (value) => `{${keys.map((k) => `"${k}":${value}`).join(',')}}`;
const plain = 77; // what the tier says where the subscription's value is tried
let admin, boss;

before(async () => {
  psql(`INSERT INTO subscription_tiers (id, name, limits) VALUES ('${tier}', 'Large', '${all(plain)}'); DELETE FROM tollgate.usage_limit_overrides WHERE tenant_id = '${tenant}';
    SELECT tollgate.set_subscription('${tenant}', '${tier}', NULL)`);
  [admin, boss] = [await signedIn(makeAccount('admin', tenant)), await signedIn(makeAccount('operator', null))];
  await eventually(async () => (await get('current')).status === 200, 'the key to be known');
});
after(() => {
  removeTenant(tenant);
  psql(`DELETE FROM subscription_tiers WHERE id = '${tier}'`);
});

const most = 9223372036854.775807; // what the limit table holds; more is as good as this
// What each route says when the limit in force is `limit`: a number, -1 unlimited; `shown`: what usage_limits holds.
async function everywhere(limit, shown) {
  const unlimited = limit < 0, check = async () => json(await get('check?metric=api_call&amount=1'));
  const want = unlimited ? null : Math.min(limit, most);
  let seen;
  await eventually(async () => {
    seen = await check();
    return seen.limit === want && seen.allowed === (unlimited || limit >= 1);
  }, () => `the limit ${want} to act: ${JSON.stringify(seen)}`, 10);
  const several = await send(`/api/usage/tenant/${tenant}/check`, { method: 'POST', body: '{"checks":[{"metric":"api_call","amount":1},{"metric":"file_upload","amount":1}]}' });
  assert.ok([200, 429].includes(several.status), await several.clone().text());
  const { report } = await json(await get('report'));
  for (const k of ['patients', 'users', 'storage', 'api_calls']) assert.ok(Number.isFinite(report.usage_percentage[k]), JSON.stringify(report.usage_percentage));
  if (unlimited || limit > 50) assert.deepEqual(report.warnings, []); // the calls of the tests before are counted
  await json(await get('current'));
  await json(await get('history?metric=api_call'));
  const { subscription } = await json(await send(`/api/subscription/tenant/${tenant}`, { k: operator }));
  assert.deepEqual(subscription.usage_limits.max_patients, shown);
  const list = await json(await send('/api/tenants', { k: operator }));
  assert.ok(list.data.length > 0);
  assert.deepEqual(JSON.parse(tollgate('--json', 'tenant', 'show', tenant)).usage_limits.max_patients, shown);
  for (const [who, path] of [[admin, '/'], [boss, `/tenant/${tenant}`], [boss, '/tenants']]) {
    const page = await who.get(path);
    assert.equal(page.status, 200, `${path} ${page.text}`);
    assert.doesNotMatch(page.text, /\b(NaN|Infinity|inf)\b/, path);
  }
  const call = await send('/api/demo/large');
  assert.equal(call.status, unlimited || limit >= 1 ? 200 : 429, await call.text());
  for (const field of ['ratelimit-policy', 'ratelimit'])
    for (const [, parameters] of parseList(call.headers.get(field) ?? '')) {
      const n = parameters.get('q') ?? parameters.get('r');
      assert.ok(Number.isInteger(n) && n >= 0 && n < 1e15, `${field}: ${call.headers.get(field)}`);
    }
}

// Value, the limit in force, what usage_limits shows.
const numbers = [['9007199254740991', 9007199254740991], ['9007199254740993', 9007199254740992], ['10000000000000', 1e13], ['999999999999', 999999999999], ['1e300', 1e300], ['1e-7', 0],
  ['0.5', 0.5], ['1000.5', 1000.5], ['0', 0], ['-1', -1], ['-5', -1], ['-0.5', -1]];
for (const [value, limit] of numbers)
  test(`a limit of ${value} in the host's subscription is answered everywhere`, async () => {
    psql(`UPDATE tenant_subscriptions SET usage_limits = '${all(value)}' WHERE tenant_id = '${tenant}'`);
    await everywhere(limit, limit);
  });
for (const value of ['"many"', 'null', '[]', '{}', 'true', '"5"'])
  test(`${value} in place of a limit in the host's subscription leaves the tier's`, async () => {
    psql(`UPDATE tenant_subscriptions SET usage_limits = '${all(value)}' WHERE tenant_id = '${tenant}'`);
    await everywhere(plain, plain);
  });
for (const [value, limit] of [['9007199254740991', 9007199254740991], ['1e300', 1e300], ['-5', -1], ['"many"', -1], ['null', -1], ['[]', -1], ['true', -1]])
  test(`${value} in place of a limit in the host's tier is answered everywhere`, async () => {
    psql(`UPDATE tenant_subscriptions SET usage_limits = '{}' WHERE tenant_id = '${tenant}'; UPDATE subscription_tiers SET limits = '${all(value)}' WHERE id = '${tier}'`);
    await everywhere(limit, JSON.parse(value));
  });
test('a subscription that is no object, or holds a million digits, breaks nothing', async () => {
  psql(`UPDATE subscription_tiers SET limits = '${all(plain)}' WHERE id = '${tier}'`);
  for (const value of ['5', '"x"', '[1]', 'null', `{"max_patients":1${'0'.repeat(100000)}}`]) {
    psql(`UPDATE tenant_subscriptions SET usage_limits = '${value}' WHERE tenant_id = '${tenant}'`);
    const { report } = await json(await get('report'));
    assert.equal(report.usage_percentage.patients, 0);
    await json(await send('/api/tenants', { k: operator }));
    assert.equal((await boss.get('/tenants')).status, 200);
  }
  psql(`UPDATE tenant_subscriptions SET usage_limits = '{}' WHERE tenant_id = '${tenant}'`);
});
test('an operator\'s number is taken up to its bound and refused beyond', async () => {
  const put = (value) => send(`/api/subscription/tenant/${tenant}`, { k: operator, method: 'PUT', body: `{"usage_limits":{"api_calls_per_day":${value}}}` });
  for (const value of ['1000000000000', '999999999999.999999', '0.000001', '0', '-1']) {
    const { subscription } = await json(await put(value));
    assert.equal(subscription.usage_limits.api_calls_per_day, Number(value));
  }
  for (const value of ['1000000000001', '1e300', '1e999999', '-2', '0.0000001', '"5"', 'true']) {
    const r = await put(value);
    assert.equal(r.status, 400, `${value} ${await r.clone().text()}`);
    assert.match((await r.json()).code, /^(limit_invalid|body_invalid)$/, value);
  }
});
test('counts beyond nine million million millions are answered', async () => {
  psql(`UPDATE tenant_subscriptions SET usage_limits = usage_limits || '{"api_calls_per_day":1000000000000}' WHERE tenant_id = '${tenant}';
    INSERT INTO tollgate.usage_daily (tenant_id, metric_type, day, total, events) VALUES ('${tenant}', 'api_call', current_date, 10000000000000, 10)
      ON CONFLICT (tenant_id, metric_type, day, method, endpoint) DO UPDATE SET total = excluded.total;
    INSERT INTO tollgate.usage_counts (tenant_id, metric_type, limit_window, window_start, used) VALUES ('${tenant}', 'api_call', 'day', current_date, 10000000000000)
      ON CONFLICT (tenant_id, metric_type, limit_window, window_start) DO UPDATE SET used = excluded.used`);
  for (const what of ['report', 'current', 'history?metric=api_call']) await json(await get(what));
  for (const [who, path] of [[admin, '/'], [boss, `/tenant/${tenant}`], [boss, '/tenants']]) assert.equal((await who.get(path)).status, 200, path);
  await json(await send(`/api/subscription/tenant/${tenant}`, { k: operator, method: 'PUT', body: '{"usage_limits":{"max_users":7}}' }));
});
