// ratelimit.test.mjs: RateLimit headers as structured fields (RFC 9651), refusals as problem details (RFC 9457), as they reach a client.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { parseList } from 'structured-headers';
import { makeKey, makeTenant, removeTenant } from '../lib/keys.mjs';
import { db, eventually } from './lib.mjs';

const { URL: url } = process.env;
const tenant = makeTenant();
const key = makeKey(tenant, ['call', 'read']);
after(() => removeTenant(tenant));

const call = (headers = {}, path = '/api/demo/ratelimit', method = 'GET') =>
  fetch(url + path, { method, headers: { authorization: `Bearer ${key}`, ...headers } });
const limits = async (values) => {
  db(`SELECT tollgate.set_subscription('${tenant}', NULL, '${JSON.stringify(values)}'::jsonb) AS s`);
  const least = Math.min(...Object.values(values).filter((v) => v >= 0)); // what check speaks of
  const want = Number.isFinite(least) ? least : null;
  let seen;
  await eventually(async () => {
    const r = await fetch(`${url}/api/usage/tenant/${tenant}/check?metric=api_call&amount=0`, { headers: { authorization: `Bearer ${key}` } });
    seen = await r.text();
    return r.status === 200 && JSON.parse(seen).limit === want;
  }, () => `the limits to act; check says ${seen}`, 5);
};

// [{name, parameters}] of a field; parseList throws where it is no structured field.
const items = (value) => parseList(value).map(([name, parameters]) => ({ name, ...Object.fromEntries(parameters) }));

function checkFields(r, { refused }) {
  const policies = items(r.headers.get('ratelimit-policy')), rates = items(r.headers.get('ratelimit'));
  assert.deepEqual(policies.map((p) => p.name), rates.map((p) => p.name));
  for (const p of policies) {
    assert.equal(typeof p.name, 'string');
    assert.ok(Number.isInteger(p.q) && p.q >= 0 && Number.isInteger(p.w) && p.w > 0, JSON.stringify(p));
    assert.deepEqual(Object.keys(p).sort(), ['name', 'q', 'w']);
  }
  for (const [i, p] of rates.entries()) {
    assert.ok(Number.isInteger(p.r) && p.r >= 0 && p.r <= policies[i].q, JSON.stringify(p));
    assert.ok(Number.isInteger(p.t) && p.t >= 0 && p.t <= policies[i].w, JSON.stringify(p));
    assert.deepEqual(Object.keys(p).sort(), ['name', 'r', 't']);
  }
  if (refused) assert.ok(rates.some((p) => p.r === 0));
  return { policies, rates };
}

// RFC 9457: the media type; type a URI reference, status the one of the answer, title and detail text.
async function checkProblem(r, status) {
  assert.equal(r.status, status);
  assert.equal(r.headers.get('content-type'), 'application/problem+json');
  const p = JSON.parse(await r.text());
  assert.equal(p.status, status);
  for (const member of ['type', 'title', 'detail', 'instance']) assert.equal(typeof p[member], 'string', member);
  assert.ok(p.type === 'about:blank' || URL.canParse(p.type), p.type);
  assert.ok(URL.canParse(p.instance), p.instance);
  assert.match(p.code, /^[a-z_]+$/); // extension members
  assert.ok(p.error.length > 0);
  return p;
}

test('what passes says where it stands', async () => {
  await limits({ api_calls_per_day: 1000, api_calls_per_minute: 500 });
  await eventually(async () => (await call()).status === 200, 'calls to pass', 5);
  const left = async (path) => {
    const r = await call({}, path);
    const { policies, rates } = checkFields(r, { refused: false });
    assert.deepEqual(policies.map(({ name, q }) => [name, q]).sort(), [['api_calls_per_day', 1000], ['api_calls_per_minute', 500]]);
    return rates.find((p) => p.name === 'api_calls_per_day').r;
  };
  const first = await left();
  assert.equal(await left(), first - 1);
  assert.equal(await left('/api/tenants'), first - 2, "a counted route of Tollgate's own says it too");
  assert.equal(await left('/api/demo/ratelimit?status=404'), first - 3, "the back end's own errors were calls as well");
});

test("a back end's own field reaches the client once", async () => {
  const r = await call({}, '/api/demo/ratelimit?own_limit=1');
  const own = items(r.headers.get('ratelimit')).filter((p) => p.name === 'own');
  assert.deepEqual(own, [{ name: 'own', r: 7, t: 60 }], r.headers.get('ratelimit'));
});

test('a refusal by the day has fields that parse, and Retry-After agrees with them', async () => {
  await limits({ api_calls_per_day: 1, api_calls_per_minute: -1 });
  await eventually(async () => (await call()).status === 429, 'the limit to be reached', 5);
  const r = await call();
  const { policies, rates } = checkFields(r, { refused: true });
  assert.deepEqual(policies, [{ name: 'api_calls_per_day', q: 1, w: 86400 }]);
  assert.equal(Number(r.headers.get('retry-after')), rates[0].t);
  const midnight = Math.ceil(Date.now() / 864e5) * 86400;
  assert.ok(Math.abs(Date.now() / 1000 + rates[0].t - midnight) < 2, 'the tenant is in UTC');
  const p = await checkProblem(r, 429);
  assert.equal(p.type, 'https://iana.org/assignments/http-problem-types#quota-exceeded');
  assert.deepEqual(p['violated-policies'], ['api_calls_per_day']);
  assert.match(p.error, /^API call limit reached: \d+ of 1 today, resets \d{4}-\d\d-\d\dT00:00:00(Z|\+00:00)$/);
});

test('a browser gets a page, HEAD gets no body, both with the fields', async () => {
  const page = await call({ accept: 'text/html,application/xhtml+xml;q=0.9' });
  assert.equal(page.status, 429);
  assert.match(page.headers.get('content-type'), /^text\/html;\s*charset=utf-8$/i);
  assert.match(await page.text(), /<h1>Limit reached<\/h1>/);
  checkFields(page, { refused: true });
  const head = await call({}, '/api/demo/ratelimit', 'HEAD');
  assert.equal(head.status, 429);
  assert.equal(await head.text(), '');
  checkFields(head, { refused: true });
});

test('a refusal by the minute names the minute, and the call passes when it said', async () => {
  await limits({ api_calls_per_day: 100000, api_calls_per_minute: 60 });
  let r;
  await eventually(async () => { r = await call(); if (r.status !== 429) await r.text(); return r.status === 429 &&
    items(r.headers.get('ratelimit')).some((i) => i.name === 'api_calls_per_minute'); }, 'the minute to be full', 20);
  checkFields(r, { refused: true });
  assert.deepEqual((await checkProblem(r, 429))['violated-policies'], ['api_calls_per_minute']);
  await new Promise((done) => setTimeout(done, Number(r.headers.get('retry-after')) * 1000));
  assert.equal((await call()).status, 200);
});

test('no limit, no fields', async () => {
  await limits({ api_calls_per_day: -1, api_calls_per_minute: -1 });
  await eventually(async () => !(await call()).headers.has('ratelimit') && (await call()).status === 200, 'calls to pass', 5);
  assert.equal((await call()).headers.get('ratelimit-policy'), null);
});

test('other refusals are problem details too', async () => {
  const none = await fetch(`${url}/api/demo/x`);
  assert.match(none.headers.get('www-authenticate'), /^Bearer realm=/);
  assert.equal((await checkProblem(none, 401)).code, 'key_missing');
  assert.equal((await checkProblem(await call({ authorization: 'Bearer tg_no' }), 401)).code, 'key_unknown');
  assert.equal((await checkProblem(await call({ 'x-tenant-id': 'somebody_else' }), 403)).code, 'tenant_foreign');
  const ambiguous = await call({}, '/api/demo%2fx');
  if (ambiguous.headers.get('content-type') === 'application/problem+json') await checkProblem(ambiguous, 400);
  else assert.ok([400, 404].includes(ambiguous.status)); // the server refused before the gate was asked
});
