// Who was throttled, when and by what: counted where it is refused, by limit and hour, and shown.
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { eventually, sleep } from '../lib/stack.mjs';
import { startWeb } from '../lib/web.mjs';

let web;
before(async () => {
  web = await startWeb();
  web.node.sql(`INSERT INTO tollgate.usage_limit_overrides (tenant_id, limit_key, max) VALUES ('f0', 'file_uploads_per_period', 2)`);
  await eventually(async () => JSON.parse((await web.ask('GET', '/api/usage/tenant/f0/check?metric=file_upload', { key: web.tenantKey })).body).limit === 2, 'the limit');
});
after(() => web.remove());

const upload = async () => JSON.parse((await web.ask('POST', '/api/usage/tenant/f0/check', { key: web.tenantKey, body: '{"checks":[{"metric":"file_upload"}],"consume":true}' })).body).allowed;
const shown = async () => JSON.parse((await web.ask('GET', '/api/usage/tenant/f0/refusals', { key: web.tenantKey })).body).refusals;
const sum = async () => (await shown()).reduce((n, r) => n + r.refused, 0);
const told = (n) => eventually(async () => await sum() === n, async () => `${n} refusals; ${JSON.stringify(await shown())}`, 15);

test('what a limit refuses is shown by hour and limit, and who only asks is not refused', async () => {
  const began = Date.now();
  for (let i = 0; i < 6; i++) assert.equal(await upload(), i < 2);
  await web.ask('GET', '/api/usage/tenant/f0/check?metric=file_upload', { key: web.tenantKey });
  await told(4);
  for (const r of await shown()) {
    assert.deepEqual([r.limit_key, r.label, r.window], ['file_uploads_per_period', 'File uploads a period', 'period']);
    const hour = Date.parse(r.hour);
    assert.ok(hour % 3600e3 === 0 && hour <= Date.now() && hour > began - 3600e3, r.hour);
  }
  assert.deepEqual(JSON.parse((await web.ask('GET', '/api/usage/tenant/f0/refusals?to=2020-01-01', { key: web.tenantKey })).body).refusals, []);
  assert.equal((await web.ask('GET', '/api/usage/tenant/f0/refusals?from=yesterday', { key: web.tenantKey })).status, 400);
  assert.match((await web.ask('GET', '/metrics', { key: web.operatorKey })).body, /^tollgate_refusals_total\{limit="file_uploads_per_period"\} 4$/m);
});

test('a collector that is killed and one that starts again lose none and count none twice', async () => {
  await web.node.stop(web.collector, 'SIGKILL');
  for (let i = 0; i < 3; i++) assert.equal(await upload(), false);
  web.collector = await web.node.collector();
  await told(7);
  await sleep(2500);
  await told(7);
});

test('a table made anew counts on from what is stored', async () => {
  await web.node.stop(web.collector);
  rmSync(join(web.node.run, 'limits.4'));
  web.collector = await web.node.collector();
  await eventually(async () => await upload().catch(() => true) === false, 'the new table to be looked at');
  await eventually(async () => await sum() >= 8, async () => JSON.stringify(await shown()), 15);
  const before = await sum();
  for (let i = 0; i < 5; i++) assert.equal(await upload(), false);
  await told(before + 5);
});

test('refusals that PostgreSQL did not take are put once it does', async () => {
  const before = await sum();
  web.node.sql('REVOKE EXECUTE ON FUNCTION tollgate.put_refusals(bigint, jsonb) FROM tollgate_collector');
  for (let i = 0; i < 5; i++) assert.equal(await upload(), false);
  await sleep(3000);
  assert.equal(await sum(), before);
  web.node.sql('GRANT EXECUTE ON FUNCTION tollgate.put_refusals(bigint, jsonb) TO tollgate_collector');
  await told(before + 5);
});

test('another tenant sees none of it', async () => {
  web.node.sql("INSERT INTO tenants (id, name) VALUES ('f1', 'Other'); INSERT INTO tenant_subscriptions (tenant_id, tier_id) VALUES ('f1', 'free')");
  const other = web.key('--tenant', 'f1');
  await eventually(async () => (await web.ask('GET', '/api/usage/tenant/f1/refusals', { key: other })).status === 200, 'the other key', 15);
  assert.deepEqual(JSON.parse((await web.ask('GET', '/api/usage/tenant/f1/refusals', { key: other })).body).refusals, []);
  assert.ok((await web.ask('GET', '/api/usage/tenant/f0/refusals', { key: other })).status >= 403);
});
