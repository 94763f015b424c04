// POST /api/usage/events: what is taken, what is refused and how it is named, and that nothing of a refused call is stored.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { randomUUID } from 'node:crypto';
import { db, eventually } from './lib.mjs';
import { makeKey, makeTenant, removeTenant } from '../lib/keys.mjs';

const { URL: url, TENANT_ID: other } = process.env;
const tenant = makeTenant();
after(() => removeTenant(tenant));
const key = makeKey(tenant, ['track']), operator = makeKey(null, ['track', 'read', 'call', 'admin']);
const post = (body, { type = 'application/json', query = '', by = key, headers = {} } = {}) => fetch(`${url}/api/usage/events${query}`, {
  method: 'POST', headers: { authorization: `Bearer ${by}`, ...(type && { 'content-type': type }), ...headers },
  body: typeof body === 'string' || Buffer.isBuffer(body) ? body : JSON.stringify(body) });
const rows = (run) => db(`SELECT tenant_id, metric_type, metric_value::text AS value, recorded_at, metadata, ingested_at FROM usage_tracking
  WHERE metadata->>'run' = '${run}' ORDER BY id`);
const stored = (run, n) => eventually(() => rows(run).length === n && rows(run), () => `${n} rows of ${run}, not ${rows(run).length}`, 5);
const event = (more = {}) => ({ metric_type: 'file_upload', ...more });
const ago = (seconds) => new Date(Date.now() - seconds * 1000).toISOString();

before(() => eventually(async () => (await post([])).status === 202 && (await post([], { by: operator })).status === 202, 'the keys', 5));

test('one object and an array are accepted and become rows', async () => {
  const run = randomUUID();
  let r = await post(event({ metadata: { run } }));
  assert.equal(r.status, 202);
  const answer = await r.json();
  assert.equal(answer.accepted, 1);
  assert.equal(answer.usage[0].tenant_id, tenant);
  assert.equal(answer.usage[0].metric, 'file_upload');
  r = await post([1, 2, 3].map((n) => event({ metric_value: n, metadata: { run } })));
  assert.equal((await r.json()).accepted, 3);
  const found = await stored(run, 4);
  assert.deepEqual(found.map((x) => Number(x.value)).sort(), [1, 1, 2, 3]);
  assert.ok(found.every((x) => x.tenant_id === tenant && x.metric_type === 'file_upload'));
  r = await post([]);
  assert.deepEqual([r.status, (await r.json()).accepted], [202, 0]);
});

test('values are stored to six places without rounding', async () => {
  const run = randomUUID();
  const values = ['0.1', '1e3', '0.000001', '4.35', '1.005', '123456.654321', '1000000000000', '2.50', '1.5e-2', '0', '0.29'];
  const body = `[${values.map((v, i) => `{"metric_type":"file_upload","metric_value":${v},"metadata":{"run":"${run}","i":${i}}}`).join(',')}]`;
  const r = await post(body);
  assert.equal(r.status, 202, await r.clone().text());
  const found = await stored(run, values.length);
  const exact = ['0.100000', '1000.000000', '0.000001', '4.350000', '1.005000', '123456.654321', '1000000000000.000000', '2.500000',
    '0.015000', '0.000000', '0.290000'];
  for (const row of found) assert.equal(row.value, exact[row.metadata.i]);
});

test('the own time of an event is kept, else it is now', async () => {
  const run = randomUUID(), time = ago(3600);
  await post([event({ metadata: { run }, recorded_at: time }), event({ metadata: { run } }),
    event({ metadata: { run }, recorded_at: time.replace('Z', '+00:00') })]);
  const found = await stored(run, 3);
  assert.equal(found.filter((x) => Date.parse(x.recorded_at) === Date.parse(time)).length, 2);
  assert.equal(found.filter((x) => Math.abs(Date.parse(x.recorded_at) - Date.now()) < 10000).length, 1);
});

const long = 'x'.repeat(300);
for (const [name, body, field, code] of [
  ['no metric', { metric_value: 1 }, 'metric_type', 'field_missing'],
  ['an unknown metric', event({ metric_type: 'nonsense' }), 'metric_type', 'metric_unknown'],
  ['a metric that is no string', event({ metric_type: 1 }), 'metric_type', 'type'],
  ['a derived gauge', event({ metric_type: 'patients_count' }), 'metric_type', 'metric_derived'],
  ['storage', event({ metric_type: 'storage_used_gb' }), 'metric_type', 'metric_derived'],
  ['another tenant', event({ tenant_id: other }), 'tenant_id', 'tenant_forbidden'],
  ['a tenant that does not exist', event({ tenant_id: 'nope' }), 'tenant_id', 'tenant_forbidden'],
  ['a value that is text', event({ metric_value: '1' }), 'metric_value', 'value_invalid'],
  ['a value of null', event({ metric_value: null }), 'metric_value', 'value_invalid'],
  ['seven places', '{"metric_type":"file_upload","metric_value":0.0000001}', 'metric_value', 'value_invalid'],
  ['a negative value', event({ metric_value: -1 }), 'metric_value', 'value_range'],
  ['a huge value', '{"metric_type":"file_upload","metric_value":1e13}', 'metric_value', 'value_range'],
  ['a value beyond 64 bits', '{"metric_type":"file_upload","metric_value":99999999999999999999999}', 'metric_value', 'value_range'],
  ['a time that is none', event({ recorded_at: 'yesterday' }), 'recorded_at', 'time_invalid'],
  ['a time without an offset', event({ recorded_at: '2026-11-24T09:00:00' }), 'recorded_at', 'time_invalid'],
  ['36 days ago', event({ recorded_at: ago(36 * 86400) }), 'recorded_at', 'time_window'],
  ['ten minutes ahead', event({ recorded_at: ago(-600) }), 'recorded_at', 'time_window'],
  ['metadata that is text', event({ metadata: 'x' }), 'metadata', 'type'],
  ['metadata of 70 kB', event({ metadata: { x: 'y'.repeat(70000) } }), 'metadata', 'too_long'],
  ['a NUL in metadata', event({ metadata: { x: 'a\u0000b' } }), 'metadata', 'nul'],
  ['an empty id', event({ id: '' }), 'id', 'empty'],
  ['a long id', event({ id: long }), 'id', 'too_long'],
  ['a member that is not known', event({ value: 3 }), 'value', 'field_unknown'],
  ['text in place of an event', '["x"]', '', 'type'],
  ['null in place of an event', '[null]', '', 'type'],
]) {
  test(`${name} is refused by field ${field || '(whole)'} and code ${code}, and nothing of the call is stored`, async () => {
    const run = randomUUID();
    const text = typeof body === 'string' ? body.replace(/^\[|\]$/g, '') : JSON.stringify(body);
    const r = await post(`[${JSON.stringify(event({ metadata: { run } }))},${text}]`);
    const answer = await r.json();
    assert.equal(r.status, 400, JSON.stringify(answer));
    assert.equal(answer.code, 'events_invalid');
    assert.equal(answer.errors.length, 1);
    assert.deepEqual([answer.errors[0].index, answer.errors[0].field, answer.errors[0].code], [1, field, code]);
    assert.ok(answer.errors[0].message.length > 5);
    assert.equal(rows(run).length, 0);
  });
}

test('every wrong event of a call is named', async () => {
  const r = await post([event({ metric_type: 'a' }), event(), event({ metric_value: -1 }), event({ id: 1 })]);
  const { errors } = await r.json();
  assert.deepEqual(errors.map((e) => e.index), [0, 2, 3]);
  assert.ok(errors[0].message.includes('file_upload'), 'the known metrics are listed');
});

test('?partial=true stores the good ones and answers 207', async () => {
  const run = randomUUID();
  const r = await post([event({ metadata: { run } }), event({ metric_type: 'a' })], { query: '?partial=true' });
  assert.equal(r.status, 207);
  const answer = await r.json();
  assert.equal(answer.accepted, 1);
  assert.deepEqual(answer.errors.map((e) => e.index), [1]);
  await stored(run, 1);
});

test('a body that is wrong as a whole gets 400, 413 or 415', async () => {
  for (const [body, options, status, code] of [
    ['{', {}, 400, 'json_invalid'], ['', {}, 400, 'json_invalid'], ['[1,]', {}, 400, 'json_invalid'], ["{'a':1}", {}, 400, 'json_invalid'],
    ['[] []', {}, 400, 'json_invalid'], ['['.repeat(200) + ']'.repeat(200), {}, 400, 'json_invalid'],
    [Buffer.from([0x5b, 0x22, 0xff, 0x22, 0x5d]), {}, 400, 'json_invalid'],
    ['a=1', { type: 'application/x-www-form-urlencoded' }, 415, 'media_type'], ['{}', { type: 'text/plain' }, 415, 'media_type'],
    [event(), { type: 'application/cloudevents-batch+json' }, 400, 'body_invalid'], [[event()], { type: 'application/cloudevents+json' }, 400, 'body_invalid'],
  ]) {
    const r = await post(body, options);
    assert.equal(r.status, status, `${String(body).slice(0, 40)} ${await r.clone().text()}`);
    assert.equal((await r.json()).code, code);
  }
  const many = await post(`[${Array(100001).fill('{}').join(',')}]`);
  assert.equal(many.status, 413);
});

test('an operator names the tenant in the event or in X-Tenant-ID', async () => {
  const run = randomUUID();
  assert.equal((await post(event({ tenant_id: other, metadata: { run } }), { by: operator })).status, 202);
  assert.equal((await post(event({ metadata: { run } }), { by: operator, headers: { 'x-tenant-id': tenant } })).status, 202);
  assert.deepEqual((await stored(run, 2)).map((x) => x.tenant_id).sort(), [tenant, other].sort());
  for (const [body, code] of [[event(), 'tenant_missing'], [event({ tenant_id: 'nope' }), 'tenant_unknown']]) {
    const r = await post(body, { by: operator });
    assert.equal(r.status, 400);
    assert.equal((await r.json()).errors[0].code, code);
  }
});

test('a suspended tenant records nothing', async (t) => {
  const found = db("SELECT tenant_id AS id FROM tollgate.tenant_settings WHERE state = 'suspended' LIMIT 1");
  if (!found.length) return t.skip('none is suspended here');
  const r = await post(event({ tenant_id: found[0].id }), { by: operator });
  assert.equal(r.status, 400);
  assert.equal((await r.json()).errors[0].code, 'suspended');
});

test('lines of JSON are taken, a wrong line is named by its index', async () => {
  const run = randomUUID(), line = JSON.stringify(event({ metadata: { run } }));
  const ok = await post(`${line}\n\n${line}\r\n${line}`, { type: 'application/x-ndjson' });
  assert.equal((await ok.json()).accepted, 3);
  await stored(run, 3);
  const bad = await post(`${line}\n{\n`, { type: 'application/x-ndjson' });
  assert.equal(bad.status, 400);
  assert.deepEqual((await bad.json()).errors.map((e) => [e.index, e.code]), [[1, 'json_invalid']]);
});

const cloud = (more) => ({ specversion: '1.0', id: randomUUID(), source: '/tests', type: 'file_upload', ...more });
test('CloudEvents are taken structured, batched and binary', async () => {
  const run = randomUUID();
  const json = 'Application/CloudEvents+JSON; charset=utf-8';
  assert.equal((await post(cloud({ subject: tenant, time: ago(60), data: { value: 2.5, run } }), { type: json })).status, 202);
  assert.equal((await post([cloud({ data: { run } }), cloud({ data: { run } })], { type: 'application/cloudevents-batch+json' })).status, 202);
  assert.equal((await post([], { type: 'application/cloudevents-batch+json' })).status, 202);
  const headers = { 'ce-specversion': '1.0', 'ce-id': randomUUID(), 'ce-source': '/tests%20a', 'ce-type': 'file_upload' };
  assert.equal((await post({ value: 4, run }, { headers })).status, 202);
  assert.deepEqual((await stored(run, 4)).map((x) => Number(x.value)).sort(), [1, 1, 2.5, 4]);
  for (const [more, field] of [[{ specversion: '0.3' }, 'specversion'], [{ id: '' }, 'id'], [{ source: undefined }, 'source'],
    [{ type: undefined }, 'type'], [{ subject: other }, 'subject'], [{ time: 'x' }, 'time'], [{ data: 'x' }, 'data'],
    [{ data_base64: 'eA==' }, 'data_base64'], [{ data: { value: 'x' } }, 'data.value']]) {
    const r = await post(cloud(more), { type: json });
    assert.equal(r.status, 400, field);
    assert.equal((await r.json()).errors[0].field, field);
  }
});

test('an id makes an event count once, also without a time, and ?wait=true says so', async () => {
  const run = randomUUID(), body = [event({ id: run, metadata: { run } }), event({ id: `${run}-b`, metadata: { run } })];
  const first = await (await post(body, { query: '?wait=true' })).json();
  assert.equal(first.committed, true, JSON.stringify(first));
  assert.deepEqual([first.inserted, first.duplicates], [2, 0]);
  const again = await (await post([...body, event({ metadata: { run } })], { query: '?wait=true' })).json();
  assert.deepEqual([again.accepted, again.inserted, again.duplicates], [3, 1, 2]);
  await Promise.all(Array.from({ length: 8 }, () => post(body)));
  await post([], { query: '?wait=true' });
  await stored(run, 3);
});
