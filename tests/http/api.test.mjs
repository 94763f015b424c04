// The JSON resources: shapes of the specification, errors, what every answer has in common.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { db, eventually } from './lib.mjs';
import { makeKey } from '../lib/keys.mjs';

const { URL: url, TENANT_ID: tenant, TENANT_KEY: tenantKey, OPERATOR_KEY: operatorKey } = process.env;
const key = { authorization: `Bearer ${tenantKey}` };
const operator = { authorization: `Bearer ${operatorKey}` };
const [{ id: other }] = db(`SELECT t.id FROM tenants t JOIN tenant_subscriptions s ON s.tenant_id = t.id
  JOIN tollgate.tenant_settings c ON c.tenant_id = t.id WHERE t.id <> '${tenant}' AND c.state = 'active' ORDER BY t.id LIMIT 1`);
const at = (path, options = {}) => fetch(url + path, { headers: key, ...options });
const usage = (what, id = tenant) => `/api/usage/tenant/${encodeURIComponent(id)}/${what}`;

test('current has the columns of UsageSummary with api_calls_today beside', async () => {
  const r = await at(usage('current'));
  assert.equal(r.status, 200);
  const { usage: u, metrics } = await r.json();
  assert.ok(db('SELECT metric_type AS type FROM tollgate.usage_metrics').every((m) => metrics.some((x) => x.type === m.type)));
  assert.deepEqual(Object.keys(u), ['id', 'tenant_id', 'period_start', 'period_end', 'patients_count', 'users_count',
    'storage_used_gb', 'api_calls_count', 'api_calls_today', 'file_uploads_count', 'appointments_count', 'created_at', 'updated_at']);
  for (const [name, value] of Object.entries(u)) {
    if (/_count$|_gb$|_today$|^id$/.test(name)) assert.equal(typeof value, 'number', name);
  }
  assert.equal(u.tenant_id, tenant);
  assert.match(u.period_start, /^\d{4}-\d\d-\d\d$/);
  assert.ok(Date.parse(u.updated_at) > 0 && u.updated_at.endsWith('Z'));
  const [row] = db(`SELECT patients_count, api_calls_count FROM usage_summary WHERE tenant_id = '${tenant}'
    AND period_start = '${u.period_start}'`);
  assert.equal(u.patients_count, row.patients_count);
  assert.equal(u.api_calls_count, row.api_calls_count);
});

test('a report has plan, limits, percentages, warnings and alerts that agree, and every metric beside them', async () => {
  const suspended = db("SELECT tenant_id AS id FROM tollgate.tenant_settings WHERE state = 'suspended'").map((r) => r.id);
  const members = 'type,label,unit,limit_key,used,limit,percent,window,resets_at,mode,state,message';
  for (const { id } of db("SELECT tenant_id AS id FROM tenant_subscriptions ORDER BY 1 LIMIT 20")) {
    const r = await at(usage('report', id), { headers: operator });
    assert.equal(r.status, 200, id);
    const { report, metrics } = await r.json();
    assert.deepEqual(Object.keys(report), ['tenant_id', 'tenant_name', 'tier_id', 'current_period', 'limits', 'usage_percentage',
      'warnings', 'alerts']);
    const { limits: l, usage_percentage: p, current_period: u } = report;
    for (const name of ['max_patients', 'max_users', 'storage_gb', 'api_calls_per_day']) assert.equal(typeof l[name], 'number', `${id} ${name}`);
    const percent = (used, max) => (max === -1 ? 0 : max === 0 ? (used > 0 ? 100 : 0) : (used / max) * 100);
    const expected = { patients: percent(u.patients_count, l.max_patients), users: percent(u.users_count, l.max_users),
      storage: percent(u.storage_used_gb, l.storage_gb), api_calls: percent(u.api_calls_today, l.api_calls_per_day) };
    for (const name of Object.keys(expected)) assert.ok(Math.abs(expected[name] - p[name]) < 0.00001, `${id} ${name} ${p[name]}`);
    const subjects = { patients: 'Patient', users: 'User', storage: 'Storage', api_calls: 'API call' };
    const word = (n) => (n > 100 ? 'exceeded' : 'approaching');
    const main = ['max_patients', 'max_users', 'storage_gb', 'api_calls_per_day'];
    const others = report.alerts.filter((a) => !main.includes(a.limit_key));
    assert.deepEqual(report.warnings, [...(suspended.includes(id) ? ['Every call is refused until the tenant is resumed'] : []),
      ...Object.keys(subjects).filter((n) => p[n] > 80).map((n) => `${subjects[n]} limit ${word(p[n])}`),
      ...others.map((a) => `${metrics.find((m) => m.limit_key === a.limit_key).label}: limit ${word(a.percent)}`)]);
    assert.deepEqual(metrics.map((m) => Object.keys(m).join()).filter((k) => k !== members), []);
    for (const [name, key] of Object.entries({ patients: 'max_patients', users: 'max_users', storage: 'storage_gb', api_calls: 'api_calls_per_day' })) {
      const m = metrics.find((x) => x.limit_key === key);
      assert.equal(m.limit ?? -1, l[key], `${id} ${key}`);
      assert.equal(m.percent ?? 0, p[name], `${id} ${key}`);
    }
    for (const a of report.alerts) {
      assert.equal(a.level, a.used > a.limit ? 'exceeded' : a.used === a.limit ? 'reached' : 'approaching');
      assert.ok(a.percent > 80 && a.message.length > 10);
    }
  }
});

test('a tenant without a subscription has no report and says which code', async (t) => {
  const found = db(`SELECT t.id FROM tenants t JOIN tollgate.tenant_settings c ON c.tenant_id = t.id
    WHERE NOT EXISTS (SELECT FROM tenant_subscriptions s WHERE s.tenant_id = t.id) LIMIT 1`);
  if (!found.length) return t.skip('every tenant has one here');
  const r = await at(usage('report', found[0].id), { headers: operator });
  assert.equal(r.status, 404);
  assert.equal((await r.json()).code, 'no_subscription');
});

test('refresh counts anew', async () => {
  const r = await at(usage('refresh'), { method: 'POST', headers: { ...operator, 'content-type': 'application/json' }, body: '{}' });
  assert.equal(r.status, 200);
  assert.deepEqual(await r.json(), { message: 'Usage summary refreshed successfully' });
});

test('history gives daily totals, and refuses days that are none', async () => {
  const { history } = await (await at(usage('history?metric=api_call'))).json();
  assert.ok(history.every((h) => h.metric_type === 'api_call' && /^\d{4}-\d\d-\d\d$/.test(h.day) && typeof h.total === 'number'));
  for (const query of ['from=yesterday', 'to=2026-13-40', 'from=2026-02-30']) {
    const r = await at(usage(`history?${query}`));
    assert.equal(r.status, 400, query);
    assert.equal((await r.json()).code, 'day_invalid');
  }
});

test('an operator pages through all tenants by key, a tenant sees itself', async () => {
  const all = db('SELECT id FROM tenants ORDER BY id COLLATE "C"').map((r) => r.id);
  const seen = [];
  let next = '/api/tenants?page[size]=3';
  while (next) {
    const r = await at(next, { headers: operator });
    assert.equal(r.status, 200);
    const page = await r.json();
    assert.ok(page.data.length <= 3);
    seen.push(...page.data.map((t) => t.id));
    next = page.links.next;
  }
  assert.deepEqual([...seen].sort(), [...all].sort());
  assert.equal(new Set(seen).size, seen.length);
  const own = await (await at('/api/tenants')).json();
  assert.deepEqual(own.data.map((t) => t.id), [tenant]);
  assert.equal((await at('/api/tenants?page[size]=0', { headers: operator })).status, 400);
});

test('a subscription is read, changed by an operator, and refuses what it does not know', async () => {
  const path = `/api/subscription/tenant/${encodeURIComponent(other)}`;
  const put = (body) => at(path, { method: 'PUT', headers: { ...operator, 'content-type': 'application/json' }, body: JSON.stringify(body) });
  const before = (await (await at(path, { headers: operator })).json()).subscription;
  after(() => put({ tier_id: before.tier_id, usage_limits: { api_calls_per_day: before.overrides.api_calls_per_day?.max ?? null,
    max_patients: before.overrides.max_patients?.max ?? null } }));
  let r = await put({ usage_limits: { api_calls_per_day: 123456 } });
  assert.equal(r.status, 200);
  assert.equal((await r.json()).subscription.usage_limits.api_calls_per_day, 123456);
  r = await put({ usage_limits: { api_calls_per_day: null } });
  const back = (await r.json()).subscription;
  assert.equal(back.overrides.api_calls_per_day, undefined);
  const [{ n }] = db(`SELECT patients_count AS n FROM usage_summary WHERE tenant_id = '${other}' ORDER BY period_start DESC LIMIT 1`);
  r = await put({ usage_limits: { max_patients: 0 } });
  const low = await r.json();
  assert.equal(r.status, 200);
  if (n > 0) assert.ok(low.warnings.some((w) => w.startsWith('max_patients')), JSON.stringify(low.warnings));
  for (const [body, code, place] of [
    [{ usage_limits: { nonsense: 1 } }, 'limit_unknown', 'nonsense'],
    [{ usage_limits: { max_patients: -2 } }, 'limit_invalid', 'max_patients'],
    [{ usage_limits: { max_patients: 'x' } }, 'limit_invalid', 'max_patients'],
    [{ tier_id: 'nonsense' }, 'tier_unknown', 'tier_id'],
    [{ tier: 'x' }, 'body_invalid', 'tier'], [{}, 'body_invalid', ''], [[], 'body_invalid', ''], [{ tier_id: 1 }, 'body_invalid', 'tier_id'],
  ]) {
    r = await put(body);
    const e = await r.json();
    assert.equal(r.status, 400, JSON.stringify(body));
    assert.equal(e.code, code, JSON.stringify(body));
    assert.ok(e.detail.includes(place), e.detail);
  }
});

test('check answers from the limit table in one shape, for one and for several', async () => {
  const r = await at(usage('check?metric=api_call&amount=1'));
  assert.equal(r.status, 200);
  const c = await r.json();
  assert.deepEqual(Object.keys(c).slice(0, 5), ['metric', 'allowed', 'usage', 'limit', 'remaining']);
  for (const name of ['overage', 'unlimited', 'resets_at', 'reason']) assert.ok(name in c, name);
  assert.equal(c.unlimited, c.limit === null);
  for (const [query, code] of [['', 'metric_missing'], ['metric=nonsense', 'metric_unknown'], ['metric=api_call&amount=x', 'amount_invalid'],
    ['metric=api_call&amount=-1', 'amount_invalid'], ['metric=api_call&amount=0.0000001', 'amount_invalid']]) {
    const bad = await at(usage(`check?${query}`));
    assert.equal(bad.status, 400, query);
    assert.equal((await bad.json()).code, code, query);
  }
  const many = await at(usage('check'), { method: 'POST', headers: { ...key, 'content-type': 'application/json' },
    body: JSON.stringify({ checks: [{ metric: 'file_upload', amount: 2 }, { metric: 'patients_count' }] }) });
  assert.equal(many.status, 200);
  const m = await many.json();
  assert.equal(m.consumed, false);
  assert.deepEqual(m.checks.map((x) => x.metric), ['file_upload', 'patients_count']);
});

test('consume takes in the same step and is one row', async () => {
  const path = usage('check', other);
  const before = await (await at(usage('check?metric=file_upload&amount=0', other), { headers: operator })).json();
  const mine = { authorization: `Bearer ${makeKey(other, ['track'])}`, 'content-type': 'application/json' };
  const r = await eventually(async () => {
    const x = await at(path, { method: 'POST', headers: mine,
      body: JSON.stringify({ consume: true, checks: [{ metric: 'file_upload', amount: 3 }] }) });
    return x.status !== 401 && x;
  }, 'the new key', 5);
  assert.equal(r.status, 200, await r.clone().text());
  const { consumed, allowed } = await r.json();
  if (!allowed) return;
  assert.equal(consumed, true);
  const now = await (await at(usage('check?metric=file_upload&amount=0', other), { headers: operator })).json();
  assert.ok(now.usage >= before.usage + 3 || now.limit_key === null);
  await eventually(() => db(`SELECT 1 FROM usage_tracking WHERE tenant_id = '${other}' AND metric_type = 'file_upload'
    AND metric_value = 3 AND metadata->>'consumed' = 'true' AND recorded_at > now() - interval '1 minute'`).length === 1, 'the row', 5);
  const denied = await at(path, { method: 'POST', headers: mine,
    body: JSON.stringify({ consume: true, checks: [{ metric: 'patients_count' }] }) });
  assert.equal(denied.status, 400);
});

test('errors are JSON with error, code and what to do', async () => {
  for (const [path, options, status, code] of [
    [usage('current'), { headers: {} }, 401, 'unauthorized'],
    [usage('current'), { headers: { authorization: 'Bearer tg_nonsense' } }, 401, 'unauthorized'],
    [usage('current'), { headers: { authorization: 'Basic eA==' } }, 401, 'unauthorized'],
    [usage('current', other), {}, 403, 'tenant_forbidden'],
    [usage('current', 'no-such-tenant'), {}, 403, 'tenant_forbidden'],
    [usage('current', 'no-such-tenant'), { headers: operator }, 404, 'tenant_unknown'],
    [usage('current'), { headers: { ...key, 'x-tenant-id': other } }, 403, undefined],
    [usage('nothing'), {}, 404, 'not_found'],
    [usage('current'), { method: 'DELETE' }, 405, 'method_not_allowed'],
    [usage('check'), { method: 'POST', headers: { ...key, 'content-type': 'text/plain' }, body: '{}' }, 415, 'media_type'],
    [usage('check'), { method: 'POST', headers: { ...key, 'content-type': 'application/json' }, body: '{"checks":' }, 400, 'json_invalid'],
    [usage('check'), { method: 'POST', headers: { ...key, 'content-type': 'application/json' }, body: 'null' }, 400, 'json_invalid'],
  ]) {
    const r = await at(path, options);
    assert.equal(r.status, status, `${options.method ?? 'GET'} ${path}`);
    assert.match(r.headers.get('content-type'), /json/);
    const body = await r.json();
    assert.equal(typeof body.error, 'string');
    if (code) assert.equal(body.code, code);
    if (status === 401) assert.match(r.headers.get('www-authenticate'), /^Bearer/);
    if (status === 405) assert.equal(r.headers.get('allow'), 'GET, HEAD');
  }
});

test('a foreign tenant and one that does not exist get the same answer', async () => {
  const answers = await Promise.all([other, 'no-such-tenant', 'ä b', "'; DROP TABLE tenants; --"].map(async (id) => {
    const r = await at(usage('report', id));
    return [r.status, await r.text()];
  }));
  for (const a of answers) assert.deepEqual(a, answers[0]);
});

test('no answer is kept by anyone, and each has a number', async () => {
  for (const path of [usage('current'), usage('nothing'), '/healthz', '/api/tenants']) {
    const r = await at(path);
    assert.equal(r.headers.get('cache-control'), 'private, no-store', path);
    assert.equal(r.headers.get('x-content-type-options'), 'nosniff', path);
    assert.match(r.headers.get('x-request-id'), /^[0-9a-f]{24}$/, path);
  }
});

test('HEAD is GET without the body', async () => {
  const [get, head] = await Promise.all([at(usage('current')), at(usage('current'), { method: 'HEAD' })]);
  assert.equal(head.status, 200);
  assert.equal(head.headers.get('content-type'), get.headers.get('content-type'));
  assert.equal(await head.text(), '');
});

test('health, readiness and metrics', async () => {
  assert.deepEqual(await (await fetch(`${url}/healthz`)).json(), { status: 'ok' });
  const ready = await fetch(`${url}/readyz`);
  assert.equal(ready.status, 200, await ready.clone().text());
  assert.equal((await ready.json()).status, 'ready');
  assert.equal((await fetch(`${url}/metrics`)).status, 401);
  assert.equal((await at('/metrics')).status, 403);
  const text = await (await at('/metrics', { headers: operator })).text();
  for (const name of ['tollgate_gate_decisions_total{result="admitted"}', 'tollgate_gate_duration_seconds_bucket{le="+Inf"}',
    'tollgate_spool_bytes', 'tollgate_limit_table_keys', 'tollgate_build_info']) assert.ok(text.includes(name), name);
  for (const line of text.trim().split('\n')) assert.match(line, /^(# (HELP|TYPE) \S+ .+|[a-z_]+(\{[a-z]+="[^"]*"\})? [0-9.e+-]+)$/, line);
});
