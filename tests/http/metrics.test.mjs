// metrics.test.mjs: /metrics is clean by promtool, and counts what a client counted, call by call.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { callParams, fcgi } from '../lib/fcgi.mjs';
import { byStatus, load } from '../lib/load.mjs';
import { makeKey, makeTenant, removeTenant } from '../lib/keys.mjs';
import { db, eventually, sleep } from './lib.mjs';

const { URL: url, OPERATOR_KEY: operator } = process.env;
const port = Number(process.env.PORT);
const tenant = makeTenant();
const key = makeKey(tenant, ['call', 'read']);
after(() => removeTenant(tenant));

const metrics = async () => (await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${operator}` } })).text();
const value = (text, name) => Number(text.split('\n').find((l) => l.startsWith(`${name} `))?.split(' ')[1]);
const results = (text) => Object.fromEntries([...text.matchAll(/^tollgate_gate_decisions_total\{result="(\w+)"\} (\d+)$/gm)]
  .map(([, name, n]) => [name, Number(n)]));
const buckets = (text) => [...text.matchAll(/^tollgate_gate_duration_seconds_bucket\{le="([^"]+)"\} (\d+)$/gm)]
  .map(([, le, n]) => ({ le: le === '+Inf' ? Infinity : Number(le), n: Number(n) }));

test('promtool finds nothing to complain about', async () => {
  execFileSync('promtool', ['check', 'metrics'], { input: await metrics() });
});

test('decisions by result and the histogram grow by exactly the calls that were made', async () => {
  db(`SELECT tollgate.set_subscription('${tenant}', NULL, '{"api_calls_per_day": 150, "api_calls_per_minute": -1}'::jsonb) AS s`);
  await eventually(async () => (await (await fetch(`${url}/api/usage/tenant/${tenant}/check?metric=api_call&amount=0`,
    { headers: { authorization: `Bearer ${key}` } })).json()).limit === 150, 'the limit', 5);
  const before = await metrics();
  const many = (count, more) => load({ port, count, connections: 8, path: () => '/api/demo/metrics', key, ...more });
  assert.deepEqual(byStatus((await many(200, {})).answers), { 200: 150, 429: 50 });
  assert.deepEqual(byStatus((await many(30, { key: 'tg_unknown' })).answers), { 401: 30 });
  assert.deepEqual(byStatus((await many(20, { headers: { 'x-tenant-id': 'another' } })).answers), { 403: 20 });
  assert.deepEqual(byStatus((await many(10, { key: operator })).answers), { 200: 10 });
  assert.deepEqual(byStatus((await many(7, { key: operator, headers: { 'x-tenant-id': 'nobody' } })).answers), { 404: 7 });
  const text = await metrics();
  const [a, b] = [results(before), results(text)];
  const grown = Object.fromEntries(Object.keys(b).map((k) => [k, b[k] - a[k]]).filter(([, n]) => n));
  assert.deepEqual(grown, { admitted: 150, limited: 50, unauthorized: 30, forbidden: 20, passed: 10, not_found: 7 });

  const [old, now] = [buckets(before), buckets(text)];
  const counts = now.map((x, i) => x.n - old[i].n);
  assert.equal(counts.at(-1), 267);
  assert.equal(value(text, 'tollgate_gate_duration_seconds_count') - value(before, 'tollgate_gate_duration_seconds_count'), 267);
  for (let i = 1; i < now.length; i++) assert.ok(now[i].n >= now[i - 1].n && now[i].le > now[i - 1].le);
});

// Calls that stay under way for a while, because their last bytes are held back; the client has a clock of its own. No pause is so
// short that what the client takes by itself would be another bucket or two.
test('durations agree within one bucket with a FastCGI client that talks to the gate directly', async () => {
  const conf = readFileSync(join(process.env.STATE, 'tollgate.conf'), 'utf8');
  const [, path, host, tcp] = conf.match(/\[gate\][^[]*listen = (?:unix:(\S+)|(\S+):(\d+))/);
  const socket = path ?? { host, port: Number(tcp) };
  db(`SELECT tollgate.set_subscription('${tenant}', NULL, '{"api_calls_per_day": -1, "api_calls_per_minute": -1}'::jsonb) AS s`);
  await eventually(async () => (await fcgi(socket, callParams('/api/demo/direct', key))).status === 200, 'the limit is lifted', 5);
  for (const ms of [25, 70, 200]) {
    const before = buckets(await metrics());
    const began = performance.now();
    const answer = await fcgi(socket, callParams('/api/demo/direct', key), { pauseAfter: 20, pause: () => sleep(ms) });
    const seconds = (performance.now() - began) / 1000;
    assert.equal(answer.status, 200);
    const now = buckets(await metrics());
    const gate = now.findIndex((x, i) => x.n > before[i].n), client = now.findIndex((x) => seconds <= x.le);
    assert.equal(now.at(-1).n - before.at(-1).n, 1);
    assert.ok(Math.abs(gate - client) <= 1, `the client took ${seconds} s, the gate says at most ${now[gate].le} s`);
  }
});

test('no label comes from a client', async () => {
  await fetch(`${url}/api/demo/label-of-a-client`, { headers: { authorization: 'Bearer label-of-a-client', 'x-tenant-id': 'label-of-a-client' } });
  const text = await metrics();
  assert.ok(!text.includes('label-of-a-client') && !text.includes(tenant));
});
