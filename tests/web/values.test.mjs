// Values that would cost memory, be lost or change on their way into the database are refused where they come in.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { eventually } from '../lib/stack.mjs';
import { startWeb } from '../lib/web.mjs';

let web;
before(async () => { web = await startWeb('processes = 1\npages_processes = 1'); });
after(() => web?.remove());

const post = (body, type = 'application/json', path = '/api/usage/events', headers = {}) => web.ask('POST', path, { key: web.tenantKey, body, type, headers });
const problem = (r) => [r.status, JSON.parse(r.body).code];
const memory = () => Math.max(...web.children().map((pid) => Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1])));
const resident = () => Math.max(...web.children().map((pid) => Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1])));

const large = 8388608, many = (unit) => `[${unit.repeat(Math.floor((large - 20) / unit.length))}${unit.replace(/,$/, '')}]`;
for (const [name, body, type] of [
  ['empty objects', many('{},')], ['nested objects', many('{"a":{}},')], ['empty arrays', many('[],')], ['numbers', many('1,')],
  ['keys', `{${[...Array(700000)].map((_, i) => `"${i}":1`).join(',')}}`],
  ['lines', '{}\n'.repeat(large / 3 - 1), 'application/x-ndjson'], ['lines of many values', `{"metadata":{"a":[${'1,'.repeat(30000)}1]}}\n`.repeat(100), 'application/x-ndjson'],
  ['CloudEvents', many('{},'), 'application/cloudevents-batch+json'], ['one CloudEvent', `{"data":${many('{},').slice(0, 8000000)}`, 'application/cloudevents+json'],
]) {
  test(`8 MB of ${name} are refused before memory is spent, and none is kept`, async () => {
    const r = await post(body, type);
    assert.equal(r.status, 413, r.body);
    assert.ok(memory() < 128 * 1024, `it took ${memory()} KiB`);
  });
}

test('after all of them the process is as small as before', async () => {
  await post('[{"metric_type":"file_upload"}]');
  assert.ok(resident() < 40 * 1024, `${resident()} KiB`);
});

test('a full body of ordinary events is taken, and its memory given back', async () => {
  const before = resident();
  const events = [...Array(10000)].map((_, i) => ({ metric_type: 'file_upload', metric_value: 1, id: `e${i}`, recorded_at: new Date().toISOString(), metadata: { file: `scan-${i}.pdf`, by: 'x', pages: [1, 2, 3], more: { a: 1, b: 2 } } }));
  const r = await post(JSON.stringify(events));
  assert.equal(r.status, 202, r.body);
  await eventually(() => resident() - before < 16 * 1024, () => `grown by ${resident() - before} KiB`, 3); // it answers first
});

test('numbers that the database can not hold are refused, not accepted and lost', async () => {
  for (const number of ['1e200000', '1e-200000', `0.${'1'.repeat(2000)}`, '123456789012345678901234567890']) {
    const r = await post(`[{"metric_type":"file_upload","metadata":{"a":[{"b":${number}}]}}]`);
    assert.equal(r.status, 400, number);
    assert.equal(JSON.parse(r.body).errors[0].code, 'number_range');
  }
  const ce = await post('{"value":1,"deep":{"n":1e200000}}', 'application/json', '/api/usage/events', { HTTP_CE_SPECVERSION: '1.0', HTTP_CE_ID: '1', HTTP_CE_SOURCE: 's', HTTP_CE_TYPE: 'file_upload' });
  assert.equal(ce.status, 400);
  assert.equal((await post('[{"metric_type":"file_upload","metadata":{"a":1e300,"b":12345678901234567890.5}}]')).status, 202);
  await eventually(() => web.node.sql("SELECT count(*) FROM usage_tracking WHERE metadata ? 'a'") === '1', 'the event', 10);
  assert.equal(web.node.sql('SELECT count(*) FROM tollgate.usage_rejected'), '0');
});

test("a NUL in a member's name is refused as one in a value is", async () => {
  assert.deepEqual(problem(await post('[{"metric_type":"file_upload","metadata":{"a\\u0000b":1}}]')), [400, 'json_invalid']);
  assert.equal((await post('[{"metric_type":"file_upload","metadata":{"a":"b\\u0000"}}]')).status, 400);
});

test('a plan gets no number that the database can not hold', async () => {
  const put = (limits) => web.ask('PUT', '/api/subscription/tenant/f0', { key: web.operatorKey, body: `{"usage_limits":${limits}}` });
  for (const number of ['1e999999', '1e-999999', '1e400', '-5', '"many"']) {
    const r = await put(`{"api_calls_per_day":${number}}`);
    assert.deepEqual(problem(r), [400, 'limit_invalid'], number);
  }
  assert.equal((await put('{"api_calls_per_day":1e6}')).status, 200);
});

test('checks take few values, and refuse many', async () => {
  const r = await post(`{"checks":[${'{},'.repeat(16000)}{}]}`, 'application/json', '/api/usage/tenant/f0/check');
  assert.deepEqual(problem(r), [413, 'too_many_values']);
});

test('a history that is too long for one answer says where it goes on, and no day is lost or told twice', async () => {
  web.node.sql(`INSERT INTO tollgate.usage_daily (tenant_id, metric_type, day, total, events) SELECT 'f0', m, date '2001-01-01' + i, 1, 1
    FROM generate_series(0, 5999) i, unnest(ARRAY['api_call', 'file_upload', 'appointment_created']) m`);
  const seen = [];
  let from = '2001-01-01', answers = 0;
  while (from) {
    const r = await web.ask('GET', `/api/usage/tenant/f0/history?from=${from}&to=2018-01-01`, { key: web.tenantKey });
    assert.equal(r.status, 200, r.body);
    const { history, next_from: next } = JSON.parse(r.body);
    assert.ok(history.length <= 10000);
    seen.push(...history.map((h) => `${h.day} ${h.metric_type}`));
    from = next;
    answers++;
  }
  assert.equal(answers, 2);
  assert.equal(seen.length, 18000);
  assert.equal(new Set(seen).size, 18000);
});
