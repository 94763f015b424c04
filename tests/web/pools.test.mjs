// The two pools of tollgate-web: pages that are busy hold up no JSON, and either socket answers every route.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startWeb } from '../lib/web.mjs';

let web;
before(async () => { web = await startWeb('processes = 1\npages_processes = 2'); });
after(() => web?.remove());

test('each address has the processes of its pool', () => {
  assert.equal(web.children().length, 3);
});

test('either socket answers every route', async () => {
  for (const socket of [web.json, web.pages]) {
    assert.equal((await web.ask('GET', '/healthz', { socket })).status, 200);
    assert.equal((await web.ask('GET', '/sign-in', { socket })).status, 200);
    assert.equal((await web.ask('GET', '/api/usage/tenant/f0/check?metric=api_call', { socket, key: web.tenantKey })).status, 200);
  }
});

test('while every process of the pages waits for a form, JSON is answered', async () => {
  const form = web.params('POST', '/sign-in', { length: 1000, type: 'application/x-www-form-urlencoded' });
  const slow = [1, 2, 3].map(() => web.half(form, 'email=', { socket: web.pages }));
  for (let i = 0; i < 5; i++)
    assert.equal((await web.ask('GET', '/api/usage/tenant/f0/check?metric=api_call', { key: web.tenantKey })).status, 200);
  for (const s of slow) s.connection.destroy();
});
