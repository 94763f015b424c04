// A host's tenant may have any text as its id: its page, its buttons and its JSON work behind every server.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { eventually } from './lib.mjs';
import { makeKey, makeTenant, removeTenant } from '../lib/keys.mjs';
import { makeAccount, signedIn } from '../lib/people.mjs';

const { URL: url } = process.env;
const ids = ['odd/slash', 'odd ~2F %2F', 'Praxis Müller & Söhne?', 'odd#..;\\'].map((id) => `${id} ${process.pid}`);
const segment = (id) => [...Buffer.from(id)].map((b) => (/[\w.-]/.test(String.fromCharCode(b)) && b < 128 ? String.fromCharCode(b)
  : `~${b.toString(16).toUpperCase().padStart(2, '0')}`)).join('');

before(() => { for (const id of ids) makeTenant(id); });
after(() => { for (const id of ids) removeTenant(id); });

for (const id of ids) {
  test(`a tenant called ${JSON.stringify(id)} is found, opened, counted again and read by its key`, async () => {
    const operator = await signedIn({ email: process.env.OPERATOR_EMAIL, password: process.env.OPERATOR_PASSWORD });
    const list = await operator.get(`/tenants?q=${encodeURIComponent(id)}`);
    const path = /<td><a href="([^"]+)">/.exec(list.text)[1];
    assert.equal(path, `/tenant/${segment(id)}`);
    assert.equal((await operator.get(path)).status, 200);
    const r = await operator.post(`${path}/refresh`);
    assert.equal(r.status, 303, r.text);
    assert.match(r.location, /\?counted=1$/);
    assert.equal((await operator.get(r.location.replace(url, ''))).status, 200);
    const admin = await signedIn(makeAccount('admin', id));
    assert.equal((await admin.get(path)).status, 200);
    const key = makeKey(id, ['read']);
    const current = await eventually(async () => {
      const answer = await fetch(`${url}/api/usage/tenant/${segment(id)}/current`, { headers: { authorization: `Bearer ${key}` } });
      return answer.status === 200 && answer.json();
    }, 'the key in the limit table', 10);
    assert.equal(current.usage.tenant_id, id);
  });
}
