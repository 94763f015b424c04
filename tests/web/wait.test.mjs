// ?wait=true: it says what was stored, and however many wait, nobody else does.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { eventually, sleep } from '../lib/stack.mjs';
import { startWeb } from '../lib/web.mjs';

let web;
before(async () => { web = await startWeb('processes = 4'); });
after(() => web?.remove());

const check = () => web.ask('GET', '/api/usage/tenant/f0/check?metric=api_call', { key: web.tenantKey });
const track = (events = [{ metric_type: 'file_upload' }], key = web.tenantKey) =>
  web.ask('POST', '/api/usage/events?wait=true', { key, body: JSON.stringify(events) }).then((r) => ({ status: r.status, ...JSON.parse(r.body) }));
const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];
async function timed(n) {
  const all = [];
  for (let i = 0; i < n; i++) {
    const began = performance.now();
    assert.equal((await check()).status, 200);
    all.push(performance.now() - began);
  }
  return median(all);
}
async function stopped(work) {
  process.kill(web.collector.pid, 'SIGSTOP');
  try { return await work(); } finally { process.kill(web.collector.pid, 'SIGCONT'); }
}

test('it says how many were stored', async () => {
  const r = await track([{ metric_type: 'file_upload' }, { metric_type: 'file_upload', id: 'one' }, { metric_type: 'file_upload', id: 'one' }]);
  assert.deepEqual([r.status, r.accepted, r.committed, r.inserted, r.duplicates], [202, 3, true, 2, 1]);
});

test('for more tenants than the answer tells the usage of, too', async () => {
  const tenants = [...Array(20).keys()].map((n) => `w${n}`);
  web.node.sql(tenants.map((id) => `INSERT INTO tenants (id, name) VALUES ('${id}', 'W'); INSERT INTO tenant_subscriptions (tenant_id, tier_id) VALUES ('${id}', 'free');`).join('')
    + "INSERT INTO tollgate.tenant_settings (tenant_id, schema_name) SELECT id, id FROM tenants ON CONFLICT DO NOTHING");
  const events = tenants.flatMap((tenant_id) => [{ tenant_id, metric_type: 'file_upload', id: 'same' }, { tenant_id, metric_type: 'file_upload' }]);
  const first = await eventually(async () => { const r = await track(events, web.operatorKey); return r.status === 202 && r; }, 'the tenants in the limit table', 20);
  assert.deepEqual([first.committed, first.inserted, first.duplicates], [true, 40, 0]);
  const again = await track(events, web.operatorKey);
  assert.deepEqual([again.committed, again.inserted, again.duplicates], [true, 20, 20]);
});

test('those who ask whether they may are answered as ever while thirty wait', async () => {
  const idle = await timed(100);
  await stopped(async () => {
    const began = performance.now();
    let answered = 0;
    const all = [...Array(30)].map(() => track().then((r) => { answered++; return { ...r, after: performance.now() - began }; }));
    await sleep(1000);
    const busy = await timed(100);
    assert.equal(answered, 0, 'all of them wait still');
    assert.ok(busy < 10 * idle + 50, `a check takes ${busy} ms, ${idle} ms when nobody waits`);
    const answers = await Promise.all(all);
    assert.ok(answers.every((r) => r.status === 202 && r.accepted === 1 && r.committed === false), JSON.stringify(answers));
    const last = Math.max(...answers.map((r) => r.after));
    assert.ok(last < 8000, `they waited side by side, the last one ${last} ms`);
  });
  await eventually(async () => (await track()).committed, 'the collector', 20);
});

test('those who wait are answered as soon as the events are stored', async () => {
  const answers = await stopped(async () => {
    const all = [...Array(30)].map(() => track());
    await sleep(1000);
    return all;
  });
  for (const r of await Promise.all(answers)) assert.deepEqual([r.status, r.committed, r.inserted], [202, true, 1]);
});

test('who waits no more is forgotten, and the process goes on', async () => {
  const children = web.children();
  await stopped(async () => {
    const body = JSON.stringify([{ metric_type: 'file_upload' }]);
    const left = [...Array(100)].map(() => {
      const one = web.half(web.params('POST', '/api/usage/events?wait=true', { key: web.tenantKey, length: body.length, type: 'application/json' }), body);
      one.end();
      return one;
    });
    await sleep(1000);
    for (const one of left) one.connection.destroy();
    await sleep(200);
    assert.equal((await check()).status, 200);
  });
  assert.deepEqual(web.children(), children);
  await eventually(async () => (await track()).committed, 'the collector', 20);
});

test('an answer that is still to come is given when the program ends', async () => {
  await stopped(async () => {
    const one = track();
    await sleep(500);
    web.child.kill('SIGTERM');
    const r = await one;
    assert.deepEqual([r.status, r.accepted, r.committed], [202, 1, false]);
  });
});
