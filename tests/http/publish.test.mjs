// What the command line and the database change is known at the gate within a second, whatever else changes in the same instant.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { after, test } from 'node:test';
import { eventually } from './lib.mjs';
import { blake2b256, removeTenant } from '../lib/keys.mjs';

const { URL: url } = process.env;
const made = [];
after(() => made.forEach(removeTenant));

test('a tenant and its key made in the same instant are both known', async () => {
  for (let i = 0; i < 5; i++) {
    const tenant = `twin_${randomBytes(6).toString('hex')}`, id = `twin${randomBytes(2).toString('hex')}`, key = `tg_${id}_${randomBytes(32).toString('base64url')}`;
    execFileSync('psql', ['-XqAt', '-v', 'ON_ERROR_STOP=1', '-c', `
      INSERT INTO tenants (id, name) VALUES ('${tenant}', 'Twin');
      INSERT INTO tollgate.tenant_settings (tenant_id, schema_name) VALUES ('${tenant}', '${tenant}') ON CONFLICT DO NOTHING;
      SELECT tollgate.set_subscription('${tenant}', 'starter', NULL), tollgate.ensure_periods('${tenant}', now(), now() + interval '70 days');
      INSERT INTO tollgate.api_keys (id, tenant_id, name, hash, scopes) VALUES ('${id}', '${tenant}', 'twin', '\\x${blake2b256(key).toString('hex')}', '{call}')`]);
    made.push(tenant);
    await eventually(async () => (await fetch(`${url}/api/demo/twin`, { headers: { authorization: `Bearer ${key}` } })).status === 200,
      'the key of a tenant made with it', 2);
  }
  assert.equal(made.length, 5);
});
