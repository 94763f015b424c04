// Every page × everyone who may come: who gets what, by plain HTTP. Routes for keys have their table in roles.test.mjs.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { db } from './lib.mjs';
import { Visitor, makeAccount, signedIn } from '../lib/people.mjs';
import { readRoutes } from '../lib/routes.mjs';

const { URL: url, TENANT_ID: tenant } = process.env;
const [{ id: other }] = db(`SELECT t.id FROM tenants t JOIN tollgate.tenant_settings c ON c.tenant_id = t.id
  WHERE t.id <> '${tenant}' AND c.state = 'active' ORDER BY t.id LIMIT 1`);
const names = ['nobody', 'viewer', 'admin', 'foreign', 'operator'];
const accounts = { viewer: makeAccount('viewer', tenant), admin: makeAccount('admin', tenant),
  foreign: makeAccount('admin', other), operator: makeAccount('operator', null) };
const visitors = { nobody: new Visitor() };
const come = (name) => (name === 'nobody' ? new Visitor() : signedIn(accounts[name]));

// Method, path, what each of `names` gets: a status, and where a redirect goes. A form is sent with the right token.
const ok = [200, 200, 200, 200, 200];
const table = [
  ['GET', '/healthz', ok],
  ['GET', '/readyz', ok],
  ['GET', '/sign-in', ok],
  ['POST', '/sign-in', names.map(() => '303 /'), { ...accounts.admin }],
  ['POST', '/sign-out', [401, '303 /sign-in', '303 /sign-in', '303 /sign-in', '303 /sign-in']],
  ['GET', '/account', ['303 /sign-in', 200, 200, 200, 200]],
  ['POST', '/account', [401, 400, 400, 400, 400], { current: 'x', new: 'too short' }],
  ['GET', '/', ['303 /sign-in', 200, 200, 200, '303 /tenants']],
  ['GET', '/tenant/:id', ['303 /sign-in', 200, 200, 403, 200]],
  ['POST', '/tenant/:id/refresh', [401, 403, `303 /tenant/${tenant}?counted=1`, 403, `303 /tenant/${tenant}?counted=1`]],
  ['GET', '/tenants', ['303 /sign-in', 403, 403, 403, 200]],
  ['GET', '/status', ['303 /sign-in', 403, 403, 403, 200]],
];
const path = (pattern) => pattern.replace(':id', tenant);
const told = (r) => (r.status === 303 ? `303 ${r.location.replace(url, '')}` : r.status);
const send = (visitor, method, to, form) => (method === 'GET' ? visitor.get(to)
  : to === '/sign-in' ? visitor.signIn(form) : visitor.post(to, form));

before(async () => { for (const name of names) visitors[name] = await come(name); });

for (const [method, pattern, expected, form] of table) {
  test(`${method} ${pattern}: ${names.map((name, i) => `${name} ${expected[i]}`).join(', ')}`, async () => {
    for (const [i, name] of names.entries()) {
      // a sign-in and a sign-out use a visitor up
      const r = await send(/^\/sign-/.test(pattern) ? await come(name) : visitors[name], method, path(pattern), form);
      assert.equal(told(r), expected[i], `${name}: ${r.text}`);
      if (r.status >= 400) assert.ok(!r.text.includes('class="figure"'), `${name} sees no figures`);
    }
  });
}

for (const [method, pattern, expected, form] of table.filter(([m]) => m === 'POST')) {
  test(`POST ${pattern} without its token, with a wrong one, another's, or from another site changes nothing`, async () => {
    const [i, name] = [2, 'admin'];
    assert.equal(method, 'POST');
    const visitor = await come(name);
    const csrf = /name="csrf" value="([^"]+)"/.exec((await visitor.get(pattern === '/sign-in' ? '/sign-in' : '/account')).text)[1];
    const others = await visitors.operator.token();
    const sent = [[{}, url], [{ csrf: '' }, url], [{ csrf: 'x' }, url], [{ csrf: `${csrf}x` }, url], [{ csrf: others }, url],
      [{ csrf }, 'http://elsewhere.example'], [{ csrf }, 'null']];
    for (const [token, origin] of sent) {
      const r = await visitor.send('POST', path(pattern), { form: { ...form, ...token }, headers: { origin } });
      assert.equal(r.status, 403, `${JSON.stringify(token)} from ${origin}: ${r.text}`);
      assert.match(r.text, /This form has expired/);
    }
    assert.equal((await visitor.get('/account')).status, 200, 'still signed in');
    const r = await visitor.send('POST', path(pattern), { form: { ...form, csrf }, headers: { origin: url } });
    assert.equal(told(r), expected[i], 'the right one');
  });
}

test('a path answers 405 and names its methods for any other', async () => {
  const routes = readRoutes().filter((r) => r.path[1] !== 'a' || r.path === '/account');
  for (const at of new Set(routes.map((r) => r.path))) {
    const has = routes.filter((r) => r.path === at).map((r) => r.method);
    for (const method of ['GET', 'POST', 'PUT', 'DELETE'].filter((m) => !has.includes(m))) {
      const r = await visitors.operator.send(method, path(at), { form: method === 'GET' ? undefined : {} });
      assert.equal(r.status, 405, `${method} ${at}`);
      for (const m of has) assert.match(r.headers.allow, new RegExp(m), `${method} ${at}`);
    }
  }
});

test("a page's HEAD is its GET without the body", async () => {
  for (const at of ['/sign-in', '/account', '/tenants', path('/tenant/:id')]) {
    const r = await visitors.operator.send('HEAD', at);
    assert.equal(r.status, 200, at);
    assert.equal(r.text, '');
  }
});

test('every route of routes.c that a person may call stands in this table', () => {
  const routes = readRoutes().filter((r) => !r.who.startsWith('KEY')).map((r) => `${r.method} ${r.path}`);
  assert.deepEqual(table.map(([method, pattern]) => `${method} ${pattern}`).sort(), routes.sort());
});

test('every form of a route has a token', () => {
  for (const r of readRoutes().filter(({ who, method }) => !who.startsWith('KEY') && method !== 'GET')) assert.ok(r.csrf, r.path);
});
