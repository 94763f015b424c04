// A gauge that is posted: levels and changes count at once at the gate, in check, in reports and on pages; the latest wins, whatever the order.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { db, eventually, tollgate } from './lib.mjs';
import { makeAccount, signedIn } from '../lib/people.mjs';

const { URL: url, OPERATOR_KEY: operatorKey } = process.env;
const mark = Date.now().toString(36), metric = `seats_${mark}`, limit = `max_seats_${mark}`;
const operator = { authorization: `Bearer ${operatorKey}` };
const ago = (seconds) => new Date(Date.now() - seconds * 1000).toISOString();
let made = 0;

before(async () => {
  tollgate('metric', 'create', metric, '--kind', 'gauge', '--unit', 'seats', '--label', 'Seats', '--limit', limit, '--window', 'none');
  tollgate('tier', 'create', `levels-${mark}`, '--name', 'Levels', `${limit}=10`);
});
after(() => { // a tenant's rows go with it
  for (let i = 0; i < made; i++) tollgate('tenant', 'remove', `levels-${mark}-${i}`, '--yes');
  tollgate('tier', 'remove', `levels-${mark}`, '--yes');
});

// A tenant of its own for a test, known to the gates with its limit.
async function tenant() {
  const id = `levels-${mark}-${made++}`;
  tollgate('tenant', 'create', id, '--name', id, '--tier', `levels-${mark}`);
  await eventually(async () => { const c = await check(id); return c.limit === 10; }, async () => JSON.stringify(await check(id)), 15);
  return id;
}
const check = async (id, amount = 0) => (await fetch(`${url}/api/usage/tenant/${id}/check?metric=${metric}&amount=${amount}`, { headers: operator })).json();
async function post(id, events, { wait = true, type = 'application/json' } = {}) {
  const r = await fetch(`${url}/api/usage/events${wait ? '?wait=true' : ''}`, { method: 'POST',
    headers: { ...operator, 'content-type': type, 'x-tenant-id': id }, body: JSON.stringify(events) });
  const body = await r.json();
  if (r.status === 202 && wait) assert.equal(body.committed, true);
  return { status: r.status, body };
}
const level = (value, more = {}) => ({ metric_type: metric, metric_value: value, ...more });
const change = (delta, more = {}) => ({ metric_type: metric, delta, ...more });
const held = (id) => db(`SELECT level::float8 AS level FROM tollgate.usage_levels WHERE tenant_id = '${id}' AND metric_type = '${metric}'`)[0]?.level;
const rows = (id) => db(`SELECT metric_value::float8 AS value, coalesce(metadata -> 'delta' = 'true', false) AS delta FROM usage_tracking
  WHERE tenant_id = '${id}' AND metric_type = '${metric}' ORDER BY recorded_at, id`);
async function stands(id, expected, what) {
  assert.equal(held(id), expected, `${what}: database`);
  await eventually(async () => (await check(id)).usage === expected, async () => `${what}: ${expected}, not ${JSON.stringify(await check(id))}`, 5);
  const { metrics } = await (await fetch(`${url}/api/usage/tenant/${id}/report`, { headers: operator })).json();
  assert.equal(metrics.find((m) => m.type === metric).used, expected, `${what}: report`);
  assert.deepEqual(JSON.parse(tollgate('reconcile', '--tenant', id, '--json')).differences ?? [], [], `${what}: reconcile`);
}

test('a level and its changes count at the next check, before they are stored', async () => {
  const id = await tenant();
  for (const [event, expected] of [[level(5), 5], [change(3), 8], [change(-1.5), 6.5], [level(2), 2], [change(-2), 0]]) {
    const r = await post(id, event, { wait: false });
    assert.equal(r.status, 202, JSON.stringify(r.body));
    assert.equal((await check(id)).usage, expected);
    assert.equal(r.body.usage[0].usage, expected);
  }
  await eventually(() => rows(id).length === 5, 'the rows');
  await stands(id, 0, 'all of them');
  assert.deepEqual(rows(id).map((r) => [r.value, r.delta]), [[5, false], [3, true], [-1.5, true], [2, false], [-2, true]]);
});

test('what was recorded before the level that stands is kept and changes nothing', async () => {
  const id = await tenant();
  await post(id, level(6));
  await post(id, level(9, { recorded_at: ago(3600) }));
  await stands(id, 6, 'an older level');
  await post(id, change(2, { recorded_at: ago(1800) }));
  await stands(id, 6, 'an older change');
  assert.equal(rows(id).length, 3);
  const of = (day) => db(`SELECT total::float8 AS total FROM tollgate.usage_hourly WHERE tenant_id = '${id}' AND metric_type = '${metric}'
    AND hour <= '${day}' ORDER BY hour DESC LIMIT 1`)[0].total;
  assert.equal(of(new Date().toISOString()), 6);
});

test('changes add up in whatever order they come, also around a late level', async () => {
  const id = await tenant();
  await post(id, level(1, { recorded_at: ago(60) }));
  await post(id, change(4, { recorded_at: ago(10) }));
  await post(id, change(2, { recorded_at: ago(20) }));
  await stands(id, 7, 'a change behind another');
  await post(id, level(2, { recorded_at: ago(15) }));
  await stands(id, 6, 'a level between the two');
  await post(id, level(5, { recorded_at: ago(5) }));
  await stands(id, 5, 'a level behind both');
});

test('the order in a body is kept', async () => {
  const id = await tenant();
  await post(id, [level(10), change(5), change(-2)]);
  await stands(id, 13, 'a level, then changes');
  await post(id, [change(100), level(4)]);
  await stands(id, 4, 'a change, then a level');
});

test('a change that is sent twice with an id counts once', async () => {
  const id = await tenant(), event = change(2, { id: randomUUID() });
  await post(id, level(1));
  await post(id, event);
  await post(id, event);
  await post(id, [event, event]);
  await stands(id, 3, 'four times');
  await post(id, change(1));
  await stands(id, 4, 'and one of its own');
});

test('many at once add up', async () => {
  const id = await tenant();
  await post(id, level(0));
  await Promise.all(Array.from({ length: 40 }, (_, i) => post(id, change(i % 2 ? 3 : -1))));
  await stands(id, 40, 'forty changes');
});

test('a level at its limit is refused by check and said on the page', async () => {
  const id = await tenant(), people = await signedIn(makeAccount('operator', null));
  await post(id, level(10), { wait: false });
  const c = await check(id, 1);
  assert.deepEqual([c.allowed, c.state, c.reason], [false, 'refused', 'usage_limit_reached']);
  await eventually(() => held(id) === 10, 'the level');
  const page = (await people.get(`/tenant/${id}`)).text;
  assert.match(page, /<h3>Seats<\/h3>[\s\S]*Reached[\s\S]*More is refused until there is room/);
});

test('CloudEvents carry a change in data.delta', async () => {
  const id = await tenant(), cloud = (data) => ({ specversion: '1.0', id: randomUUID(), source: '/seats', type: metric, subject: id, data });
  await post(id, cloud({ value: 3, by: 'x' }), { type: 'application/cloudevents+json' });
  await post(id, [cloud({ delta: 2 }), cloud({ delta: -1 })], { type: 'application/cloudevents-batch+json' });
  await stands(id, 4, 'three events');
});

test('a change is refused of a counter, beside a value, and beyond its bounds', async () => {
  const id = await tenant();
  for (const [event, code] of [[{ metric_type: 'api_call', delta: 1 }, 'delta_counter'], [{ ...level(1), delta: 1 }, 'delta_and_value'],
    [change(1e12 + 1), 'value_range'], [change('1'), 'value_invalid'], [{ metric_type: 'storage_used_gb', delta: 1 }, 'metric_derived']]) {
    const r = await post(id, event);
    assert.deepEqual([r.status, r.body.errors[0].code], [400, code], JSON.stringify(r.body));
  }
  assert.equal(rows(id).length, 0);
});

test('metadata can not make a level look like a change', async () => {
  const id = await tenant();
  await post(id, level(7, { metadata: { delta: true, by: 'x' } }));
  await post(id, level(8, { recorded_at: ago(600), metadata: { delta: true } }));
  await stands(id, 7, 'two levels');
});

test('reconcile finds a level that its rows do not say, and repairs it', async () => {
  const id = await tenant();
  await post(id, [level(2), change(4)]);
  await stands(id, 6, 'before');
  execFileSync('psql', ['-XqAt', '-c', `UPDATE tollgate.usage_levels SET level = 99 WHERE tenant_id = '${id}'`]);
  assert.throws(() => tollgate('reconcile', '--tenant', id), /./);
  tollgate('reconcile', '--tenant', id, '--repair');
  await stands(id, 6, 'after');
});
