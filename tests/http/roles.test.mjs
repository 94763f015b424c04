// Every route for keys × every caller: who gets what. What a person may call has its table in roles_pages.test.mjs.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { eventually } from './lib.mjs';
import { makeKey, makeTenant, removeTenant, revokeKey } from '../lib/keys.mjs';
import { readRoutes } from '../lib/routes.mjs';

const { URL: url, TENANT_ID: tenant } = process.env;
const other = makeTenant();
after(() => removeTenant(other));
const all = ['call', 'track', 'read', 'admin'];
const callers = {
  nobody: null, unknown: 'tg_aaaaaaaa_unknown',
  call: makeKey(tenant, ['call']), track: makeKey(tenant, ['track']), read: makeKey(tenant, ['read']), admin: makeKey(tenant, ['admin']),
  every: makeKey(tenant, all), foreign: makeKey(other, all), operator: makeKey(null, [...all, 'metrics']),
  'operator call': makeKey(null, ['call']), 'operator track': makeKey(null, ['track']), 'operator read': makeKey(null, ['read']),
  'operator admin': makeKey(null, ['admin']), 'operator metrics': makeKey(null, ['metrics']),
  expired: makeKey(tenant, all, { expires: '2020-01-01' }), revoked: makeKey(tenant, all),
};
const T = `/api/usage/tenant/${tenant}`;
const json = (body) => ({ body: JSON.stringify(body), type: 'application/json' });
// Callers that get through; the others get 401 (nobody, unknown, expired, revoked) or 403.
const readers = ['read', 'every', 'operator', 'operator read'], checkers = [...readers, 'track', 'operator track'];
const routes = [
  ['GET', `${T}/current`, readers],
  ['GET', `${T}/report`, readers],
  ['GET', `${T}/history`, readers],
  ['GET', `${T}/refusals`, readers],
  ['GET', `${T}/check?metric=api_call&amount=0`, checkers],
  ['POST', `${T}/check`, checkers, json({ checks: [{ metric: 'api_call', amount: 0 }] })],
  ['POST', `${T}/refresh`, ['admin', 'every', 'operator', 'operator admin'], json({})],
  ['GET', `/api/subscription/tenant/${tenant}`, readers],
  ['PUT', `/api/subscription/tenant/${tenant}`, ['operator', 'operator admin'], json({ usage_limits: {} })],
  ['POST', '/api/usage/events', ['track', 'every', 'operator', 'operator track'], json([])],
  ['GET', '/api/tenants', ['every', 'operator']], // the gate wants the scope call, too: it is metered
  ['GET', '/metrics', ['operator', 'operator metrics']],
];
const unauthorized = ['nobody', 'unknown', 'expired', 'revoked'];
const call = (method, path, caller, sent = {}) => fetch(url + path, { method, body: sent.body,
  headers: { ...(sent.type && { 'content-type': sent.type }), ...(callers[caller] && { authorization: `Bearer ${callers[caller]}` }) } });

before(async () => {
  revokeKey(callers.revoked);
  // Every key that is good is known, whatever it may do, before the first question is asked.
  const known = Object.keys(callers).filter((caller) => !unauthorized.includes(caller));
  await eventually(async () => {
    for (const caller of known) if ((await call('GET', `${T}/current`, caller)).status === 401) return false;
    return (await call('GET', `${T}/current`, 'revoked')).status === 401;
  }, 'the keys in the limit table', 10);
});

for (const [method, path, may, sent] of routes) {
  test(`${method} ${path.replace(tenant, ':id')} is for ${may.join(', ')}`, async () => {
    for (const caller of Object.keys(callers)) {
      const r = await call(method, path, caller, sent);
      const text = await r.text();
      const foreignFine = caller === 'foreign' && ['/api/usage/events', '/api/tenants'].includes(path); // its own tenant
      if (may.includes(caller) || foreignFine) assert.ok(r.status >= 200 && r.status < 300, `${caller}: ${r.status} ${text}`);
      else assert.equal(r.status, unauthorized.includes(caller) ? 401 : 403, `${caller}: ${text}`);
      if (!may.includes(caller)) assert.ok(!text.includes('patients_count'), caller);
    }
  });
}

test('consume takes the scope track', async () => {
  const body = json({ consume: true, checks: [{ metric: 'file_upload', amount: 0 }] });
  assert.equal((await call('POST', `${T}/check`, 'read', body)).status, 403);
  assert.equal((await call('POST', `${T}/check`, 'track', body)).status, 200);
});

test('every route of routes.c that takes a key stands in this table', () => {
  const have = routes.map(([method, path]) => `${method} ${path.replace(tenant, ':id').replace(/\?.*/, '')}`);
  assert.deepEqual(have.sort(), readRoutes().filter((r) => r.who.startsWith('KEY')).map((r) => `${r.method} ${r.path}`).sort());
});
