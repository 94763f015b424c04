// After a thousand hostile requests of each kind every process of tollgate-web and of the gate is as small as before, and none had
// to be started again. Of bodies of 8 MB there are twenty: a thousand would be 8 GB through one socket.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { after, before, test } from 'node:test';
import { callParams, fcgi, params, record } from '../lib/fcgi.mjs';
import { descendants, eventually, sleep } from '../lib/stack.mjs';
import { startWeb } from '../lib/web.mjs';

const MOST_KIB = 16 * 1024;
let web, gate, socket, was;
before(async () => {
  web = await startWeb('processes = 2\npages_processes = 1\nrequest_timeout_s = 1\n[gate]\nlisten = unix:/tmp/none\nprocesses = 2');
});
after(() => web?.remove());

// A thousand times, `width` at a time.
async function thousand(one, { times = 1000, width = 16 } = {}) {
  let next = 0;
  await Promise.all([...Array(width)].map(async () => { while (next < times) await one(next++); }));
}
const pss = (pid) => Number(/^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))[1]);
const processes = () => [web.child, gate].flatMap((p) => [p.pid, ...descendants(p.pid).map((d) => d.pid)]);

const form = 'application/x-www-form-urlencoded', checkPath = '/api/usage/tenant/f0/check', eventsPath = '/api/usage/events';
// Asks with the tenant's key; the answer has to be one of `statuses`.
const ask = (statuses, method, path, options = {}) => async () => {
  const r = await web.ask(method, path, { key: web.tenantKey, ...options });
  assert.ok(statuses.includes(r.status), `${method} ${path.slice(0, 60)}: ${r.status} ${r.body.slice(0, 200)}`);
};
const call = (statuses, uri, more) => async () => {
  const r = await fcgi(socket, callParams(uri, web.tenantKey, more));
  assert.ok(statuses.includes(r.status), `${uri.slice(0, 60)}: ${r.status}`);
};
// Connects, writes, maybe a byte more now and then, and goes away after `ms`.
const leave = (to, bytes, ms, drip) => async () => {
  const c = connect(to), gone = new Promise((done) => c.on('close', done));
  c.on('error', () => {});
  c.write(bytes);
  const more = drip && setInterval(() => c.write(drip), 2);
  await sleep(ms);
  clearInterval(more);
  c.destroy();
  await gone;
};
const begin = (role) => { const b = Buffer.alloc(8); b.writeUInt16BE(role, 0); return record(1, b); };
const halfParams = (role, all) => Buffer.concat([begin(role), record(4, params(all)).subarray(0, 60)]);
const halfBody = (path, type, length, body) => Buffer.concat([begin(1), record(4, params(web.params('POST', path, { key: web.tenantKey, type, length }))),
  record(4, Buffer.alloc(0)), record(5, Buffer.from(body))]);

const kinds = {
  'bodies of 8 MB (twenty of them)': () => thousand(ask([413], 'POST', eventsPath, { body: `[${'{},'.repeat(2796000)}{}]` }), { times: 20, width: 2 }),
  'large bodies': () => thousand(ask([413], 'POST', checkPath, { body: `{"checks":[${' '.repeat(70000)}]}` })),
  'large events': () => thousand(ask([400, 207, 422], 'POST', eventsPath, { body: JSON.stringify({ metric_type: 'file_upload', metadata: { a: 'x'.repeat(70000) } }) })),
  'deep bodies': () => thousand(async (n) => ask([400, 413], 'POST', n % 2 ? checkPath : eventsPath, { body: '['.repeat(60000) })()),
  'deep bodies that are whole': () => thousand(ask([400, 413], 'POST', checkPath, { body: `${'{"a":'.repeat(9000)}1${'}'.repeat(9000)}` })),
  'bodies of many values': () => thousand(ask([400, 413, 422], 'POST', checkPath, { body: `{"checks":[${'{},'.repeat(20000)}{}]}` })),
  'events of many values': () => thousand(ask([413], 'POST', eventsPath, { body: `{"metric_type":"file_upload","metadata":{"a":[${'[],'.repeat(90000)}1]}}` })),
  'lines of many faults': () => thousand(ask([400, 207, 422], 'POST', eventsPath, { body: '{"x":1}\n'.repeat(300), type: 'application/x-ndjson' })),
  'forms of many fields': () => thousand(ask([400], 'POST', '/sign-in', { body: 'a=b&'.repeat(4000), type: form, socket: web.pages, headers: { HTTP_ORIGIN: 'http://127.0.0.1' } })),
  'large headers and queries': () => thousand(async (n) => ask([431, 414, 400], 'GET', `${checkPath}?${n % 3 ? 'a=1&'.repeat(100) : 'x'.repeat(9000)}`, { headers: n % 3 === 1 ? { HTTP_COOKIE: 'y'.repeat(60000) } : {} })()),
  'bodies that are sent slowly': () => thousand(async (n) => {
    const slow = web.half(web.params('POST', n % 2 ? eventsPath : checkPath, { key: web.tenantKey, length: 60000, type: 'application/json' }), `[${' '.repeat(30000)}`);
    const drip = setInterval(() => slow.send(' '), 200);
    assert.match(await slow.ended, /Status: 408/);
    clearInterval(drip);
  }, { width: 250 }),
  'requests half sent and left': () => thousand((n) => [
    leave(web.json, halfBody(eventsPath, 'application/json', 500000, `[${'{},'.repeat(15000)}`), 10),
    leave(web.pages, halfBody('/sign-in', form, 16000, `email=${'x'.repeat(8000)}`), 10),
    leave(web.json, halfParams(1, web.params('GET', checkPath, { key: web.tenantKey })), 10),
    leave(web.json, begin(1).subarray(0, 5), 10)][n % 4](), { width: 64 }),
  'calls with large or odd targets': () => thousand(async (n) => call([200, 400, 414], `/api/${['x'.repeat(60000), 'a/../'.repeat(6000), '%2f'.repeat(9000), '%'][n % 4]}`)()),
  'calls with large or many headers': () => thousand(async (n) => call([200, 401, 400, 431], '/api/x', n % 2 ? { HTTP_COOKIE: 'y'.repeat(60000) } : Object.fromEntries([...Array(1000)].map((_, i) => [`HTTP_X_${i}`, 'z'])))()),
  'calls with odd keys': () => thousand(async (n) => call([401], '/api/x', { HTTP_AUTHORIZATION: [`Bearer ${'k'.repeat(60000)}`, `Basic ${'QUFB'.repeat(9000)}`, `Bearer tg_${n}`, 'Bearer a, Bearer b'][n % 4] })()),
  'calls that are sent slowly and left': () => thousand(() => leave(socket, Buffer.concat([begin(2), record(4, params(callParams('/api/x', web.tenantKey))).subarray(0, 20)]), 16, Buffer.from('x'))(), { width: 8 }),
  'calls half sent and left': () => thousand((n) => leave(socket, n % 2 ? halfParams(2, callParams('/api/x', web.tenantKey)) : begin(2).subarray(0, 5), 1)(), { width: 8 }),
};

test('processes are warm', async () => {
  socket = `${web.node.dir}/gate.sock`;
  web.node.configure(readFileSync(web.node.file, 'utf8').split(/^collector = .*\n/m)[1].replace('unix:/tmp/none', `unix:${socket}`));
  gate = web.node.start('tollgate-gate');
  await eventually(() => fcgi(socket, callParams('/api/x', web.tenantKey)).then((r) => r.status === 200, () => false), 'the gate', 20);
  for (const to of [web.json, web.pages]) await thousand(ask([200], 'GET', `${checkPath}?metric=api_call`, { socket: to }), { times: 100 });
  await thousand(ask([202], 'POST', eventsPath, { body: '[{"metric_type":"file_upload"}]' }), { times: 20 });
  await thousand(call([200], '/api/x'), { times: 100 });
  was = new Map(processes().map((pid) => [pid, pss(pid)]));
});

for (const [kind, send] of Object.entries(kinds)) {
  test(`${kind} leave every process as small as it was at first`, async (t) => {
    await send();
    const grown = () => Math.max(...[...was].map(([pid, kib]) => pss(pid) - kib));
    await eventually(() => grown() < MOST_KIB, () => `a process grew by ${grown()} KiB`, 5);
    t.diagnostic(`grown by ${grown()} KiB at most`);
    assert.deepEqual(processes().sort(), [...was.keys()].sort(), 'a process ended');
    await ask([200], 'GET', `${checkPath}?metric=api_call`)();
    await call([200], '/api/x')();
  });
}
