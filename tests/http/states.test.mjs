// Every state of a limit and of a tenant: the page, check, the report, the operators' list and the command line say what the gate then
// answers to a call.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, test } from 'node:test';
import { db, eventually, tollgate } from './lib.mjs';
import { makeAccount, signedIn } from '../lib/people.mjs';

const { URL: url, OPERATOR_KEY: operatorKey } = process.env;
const operator = { authorization: `Bearer ${operatorKey}` };
const mark = Date.now().toString(36);
const sql = (text) => execFileSync('psql', ['-XqAt', '-v', 'ON_ERROR_STOP=1', '-c', text], { encoding: 'utf8' });
const json = async (path) => { const r = await fetch(url + path, { headers: operator }); return { status: r.status, body: await r.json() }; };
const soon = new Date(Date.now() + 86400e3).toISOString(), past = new Date(Date.now() - 86400e3).toISOString();
const noPlan = 'Every call is refused until a plan is set', resumed = 'Every call is refused until the tenant is resumed';
const reset = 'Calls are refused until the limit resets', soft = 'Not refused: the limit is soft';

// Name, calls that are used of 10 a day, mode, grace, and what is expected: state, answer, word, sentence.
const states = [
  ['within', { used: 2 }, 'within', 200, 'Within the limit', null],
  ['near', { used: 9 }, 'near', 200, 'Approaching', null],
  ['reached', { used: 10 }, 'refused', 429, 'Reached', reset],
  ['exceeded', { used: 13 }, 'refused', 429, 'Exceeded', reset],
  ['soft reached', { used: 10, mode: 'soft' }, 'near', 200, 'Reached', soft],
  ['soft over', { used: 13, mode: 'soft' }, 'soft_over', 200, 'Above, not refused', soft],
  ['grace by percent', { used: 11, mode: 'grace', percent: 20 }, 'grace', 200, 'In its grace', 'Not refused up to 12'],
  ['grace used up', { used: 12, mode: 'grace', percent: 20 }, 'refused', 429, 'Exceeded', reset],
  ['grace by date', { used: 13, mode: 'grace', until: soon }, 'grace', 200, 'In its grace', `Not refused until ${soon.slice(0, 16).replace('T', ' ')} UTC`],
  ['grace past', { used: 13, mode: 'grace', until: past }, 'refused', 429, 'Exceeded', reset],
  ['unlimited', { used: 13, max: -1 }, 'within', 200, 'Unlimited', null],
  ['nothing included', { used: 0, max: 0 }, 'refused', 429, 'Not included', 'Refused: the plan has none of it'],
  ['suspended', { used: 2, suspended: true }, 'refused', 403, 'Refused', resumed],
  ['no plan', { used: 2, plan: false }, 'refused', 402, 'Refused', noPlan],
];
const idOf = (name) => `state-${mark}-${name.replaceAll(' ', '-')}`;
let people;

before(async () => {
  people = await signedIn(makeAccount('operator', null));
  tollgate('tier', 'create', `states-${mark}`, '--name', 'States', 'api_calls_per_day=10');
  for (const [name, { max, mode, percent, until, plan }] of states) {
    tollgate('tenant', 'create', idOf(name), '--name', `State ${name}`, ...(plan === false ? [] : ['--tier', `states-${mark}`]));
    if (max !== undefined || mode) {
      sql(`INSERT INTO tollgate.usage_limit_overrides (tenant_id, limit_key, max, mode, grace_percent, grace_until)
        VALUES ('${idOf(name)}', 'api_calls_per_day', ${max ?? 'NULL'}, '${mode ?? 'hard'}', ${percent ?? 0}, ${until ? `'${until}'` : 'NULL'})`);
    }
  }
});
after(() => sql(`DELETE FROM tenants WHERE id LIKE 'state-${mark}-%'`));

async function use(tenant, used) {
  if (used === 0) return;
  await eventually(async () => (await fetch(`${url}/api/usage/events?wait=true`, { method: 'POST',
    headers: { ...operator, 'content-type': 'application/json', 'x-tenant-id': tenant },
    body: JSON.stringify({ metric_type: 'api_call', metric_value: used, id: 'used' }) })).status === 202, 'the use to be taken', 10);
}

for (const [name, { used, suspended, plan }, state, status, word, sentence] of states) {
  test(`${name}: ${state}, and the gate answers ${status}`, async () => {
    const tenant = idOf(name);
    await use(tenant, used);
    if (suspended) tollgate('tenant', 'suspend', tenant);
    const key = JSON.parse(tollgate('key', 'create', 'states', '--tenant', tenant, '--json')).key;
    const check = async () => (await json(`/api/usage/tenant/${tenant}/check?metric=api_call`)).body;
    await eventually(async () => { const c = await check(); return c.usage === used && c.state === state; }, async () => JSON.stringify(await check()), 10);
    const c = await check();
    assert.equal(c.message, sentence, 'check');
    assert.equal(c.allowed, status === 200);

    const current = await json(`/api/usage/tenant/${tenant}/current`);
    const of = (metrics) => metrics.find((m) => m.limit_key === 'api_calls_per_day');
    const m = of(current.body.metrics);
    assert.deepEqual([m.used, m.state, m.message], [used, state, sentence], 'current');
    assert.equal(m.window, 'day');
    const report = await json(`/api/usage/tenant/${tenant}/report`);
    if (plan === false) {
      assert.deepEqual([report.status, report.body.code], [404, 'no_subscription']);
      assert.ok(report.body.detail.startsWith(noPlan), report.body.detail);
    } else {
      assert.deepEqual(of(report.body.metrics), m, 'report');
      if (suspended) assert.equal(report.body.report.warnings[0], resumed);
      else if (used > 10 && m.limit !== null) assert.match(report.body.report.warnings.join(), /API call limit exceeded(; not refused|$)/);
    }

    const page = (await people.get(`/tenant/${tenant}`)).text;
    const listed = (await people.get(`/tenants?q=${tenant}`)).text;
    const shown = JSON.parse(tollgate('tenant', 'show', tenant, '--json'));
    const row = JSON.parse(tollgate('tenant', 'list', '--json')).find((t) => t.id === tenant);
    assert.deepEqual(of(shown.metrics), m, 'command line');
    if (status === 402 || status === 403) {
      for (const text of [page, listed, shown.calls, row.calls]) assert.ok(text.includes(sentence), text);
    } else {
      if (sentence && used > 0) assert.ok(page.includes(sentence), page);
      assert.match(page, name === 'nothing included' ? /Not included in this plan/ : new RegExp(word), 'page');
      if (!['within', 'unlimited', 'nothing included'].includes(name)) assert.match(listed, new RegExp(`<small class="word">${word}`), 'list');
      assert.equal(row.calls, 'admitted within the limits');
      const text = tollgate('tenant', 'show', tenant);
      if (name !== 'unlimited') assert.match(text, new RegExp(`API calls a day +${used} .*${word}`));
    }

    let answer; // 401: the gate does not know the new key yet
    await eventually(async () => (answer = await fetch(`${url}/api/demo/hello`, { headers: { authorization: `Bearer ${key}` } })).status !== 401, 'the key', 5);
    assert.equal(answer.status === 404 ? 200 : answer.status, status, 'the gate');
    if (status === 200) await eventually(() => db(`SELECT api_calls_count AS n FROM usage_summary WHERE tenant_id = '${tenant}'`)[0].n === used + 1, 'the call');
  });
}

test('an upload is refused while the storage is at its limit, and passes once there is room', async () => {
  const { TENANT_ID: tenant, TENANT_KEY: key } = process.env;
  const put = async (limit) => assert.equal((await fetch(`${url}/api/subscription/tenant/${tenant}`, { method: 'PUT',
    headers: { ...operator, 'content-type': 'application/json' }, body: JSON.stringify({ usage_limits: { storage_gb: limit } }) })).status, 200);
  const upload = () => fetch(`${url}/api/files`, { method: 'POST', headers: { authorization: `Bearer ${key}` }, body: 'x' });
  const rows = () => db(`SELECT count(*)::int AS n FROM usage_tracking WHERE tenant_id = '${tenant}' AND metric_type = 'file_upload'`)[0].n;
  const before = rows();
  await put(0.000001);
  try {
    await eventually(async () => (await upload()).status === 429, 'uploads to be refused', 10);
    const p = await (await upload()).json();
    assert.match(p.error, /^storage_used_gb limit reached: /);
    assert.deepEqual(p['violated-policies'], ['storage_gb']);
    const { metrics } = await (await fetch(`${url}/api/usage/tenant/${tenant}/current`, { headers: operator })).json();
    const m = metrics.find((x) => x.limit_key === 'storage_gb');
    assert.deepEqual([m.state, m.message], ['refused', 'More is refused until there is room']);
    assert.equal((await fetch(`${url}/api/demo/hello`, { headers: { authorization: `Bearer ${key}` } })).ok, true);
  } finally {
    await put(null);
  }
  await eventually(async () => (await upload()).status !== 429, 'uploads to pass', 10);
  await eventually(() => rows() > before, 'the upload that passed', 10);
});
