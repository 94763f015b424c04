// Who sends or reads slowly holds up nobody, is told so after a while, and is refused before the body where that can be.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { fcgi, params, record } from '../lib/fcgi.mjs';
import { eventually, sleep } from '../lib/stack.mjs';
import { startWeb } from '../lib/web.mjs';

let web;
before(async () => { web = await startWeb('processes = 2\npages_processes = 1\nrequest_timeout_s = 2'); });
after(() => web?.remove());

const check = (options) => web.ask('GET', '/api/usage/tenant/f0/check?metric=api_call', { key: web.tenantKey, ...options });
const events = () => web.params('POST', '/api/usage/events', { key: web.tenantKey, length: 1000, type: 'application/json' });
const begin = (flags = 0) => { const b = Buffer.alloc(8); b.writeUInt16BE(1, 0); b[2] = flags; return record(1, b); };
const status = (answer) => Number(/Status: (\d+)/.exec(answer)?.[1]);

test('bodies that never end hold no process, with a key or without', async () => {
  const form = web.params('POST', '/sign-in', { length: 1000, type: 'application/x-www-form-urlencoded' });
  const slow = [...Array(20)].map(() => web.half(events(), '[')).concat([...Array(20)].map(() => web.half(form, 'email=')));
  const silent = [...Array(20)].map(() => web.half(null, '', { parts: Buffer.alloc(0) }));
  await sleep(100);
  const began = performance.now();
  for (let i = 0; i < 10; i++) assert.equal((await check()).status, 200);
  assert.ok(performance.now() - began < 1500, 'ten checks waited for the slow');
  for (const s of [...slow, ...silent]) s.connection.destroy();
});

test('a body that arrives in pieces is taken', async () => {
  const body = JSON.stringify([{ metric_type: 'file_upload' }]);
  const slow = web.half({ ...events(), CONTENT_LENGTH: body.length }, body.slice(0, 5));
  await sleep(200);
  slow.send(body.slice(5));
  await sleep(200);
  slow.connection.write(record(5, Buffer.alloc(0)));
  const answer = await slow.ended;
  assert.equal(status(answer), 202, answer);
});

test('a body that does not arrive in time gets 408, however often a byte of it comes', async () => {
  const slow = web.half(events(), '[');
  const drip = setInterval(() => slow.send(' '), 200);
  const began = performance.now(), answer = await slow.ended;
  clearInterval(drip);
  assert.equal(status(answer), 408);
  assert.match(answer, /"code":"request_timeout"/);
  assert.ok(performance.now() - began > 1900);
});

test('a connection that sends nothing, or half of the parameters, is closed in time', async () => {
  const silent = web.half(null, '', { parts: Buffer.alloc(0) }), half = web.half(null, '', { parts: Buffer.concat([begin(), record(4, params({ REQUEST_METHOD: 'GET' }))]) });
  assert.equal(await silent.ended, '');
  assert.equal(await half.ended, '');
});

test('who may not is refused before the body is there', async () => {
  const path = '/api/usage/events';
  for (const [key, expected] of [[undefined, 401], ['tg_wrong_wrong', 401], [web.key('--tenant', 'f0', '--scopes', 'read'), 403]]) {
    if (expected === 403) await eventually(async () => (await web.ask('GET', '/api/usage/tenant/f0/current', { key })).status === 200, 'the key', 5);
    assert.equal(status(await web.half(web.params('POST', path, { key, length: 1000, type: 'application/json' })).ended), expected);
  }
  const foreign = web.params('POST', '/sign-in', { length: 100, type: 'application/x-www-form-urlencoded', headers: { HTTP_ORIGIN: 'https://evil.example' } });
  assert.equal(status(await web.half(foreign).ended), 403);
});

test('each route has its bound, and a longer body is refused by its length alone', async () => {
  for (const [method, path, most] of [['POST', '/sign-in', 16384], ['POST', '/api/usage/tenant/f0/check', 65536],
    ['POST', '/api/usage/tenant/f0/refresh', 65536], ['POST', '/api/usage/events', 8388608], ['GET', '/api/usage/tenant/f0/current', 16384]]) {
    const ask = (length) => web.half(web.params(method, path, { key: web.tenantKey, length, type: path === '/sign-in' ? 'application/x-www-form-urlencoded' : 'application/json' }));
    const refused = await ask(most + 1).ended;
    assert.equal(status(refused), 413, path);
    assert.ok(refused.includes(`At most ${most} bytes`), refused);
    const waiting = ask(most);
    assert.equal(await Promise.race([waiting.ended, sleep(200)]), undefined, `${path} takes ${most} bytes`);
    waiting.connection.destroy();
  }
});

test('a body that grows beyond the bound without a length is refused while it grows', async () => {
  const { CONTENT_LENGTH, ...unsaid } = web.params('POST', '/api/usage/tenant/f0/check', { key: web.tenantKey, length: 1, type: 'application/json' });
  const growing = web.half(unsaid, '{"checks":[');
  for (let i = 0; i < 3; i++) { await sleep(50); growing.send(' '.repeat(30000)); }
  assert.equal(status(await growing.ended), 413);
});

test('a body that ends before its length is refused', async () => {
  const r = await fcgi(web.json, { ...events(), CONTENT_LENGTH: 100 }, { role: 'responder', body: '[{"metric_type":"file_upload"}]' });
  assert.equal(r.status, 400);
  assert.equal(JSON.parse(r.body).code, 'body_short');
});

test('who does not read the answer holds no process, and is closed in time', async () => {
  web.node.sql("INSERT INTO tenants (id, name) SELECT repeat('i', 200) || i, repeat(chr(128512), 250) FROM generate_series(1, 1000) i");
  const all = web.params('GET', '/api/tenants?page[size]=1000', { key: web.operatorKey });
  const slow = [1, 2, 3, 4].map(() => web.half(null, '', { parts: Buffer.concat([begin(), record(4, params(all)), record(4, Buffer.alloc(0)), record(5, Buffer.alloc(0))]) }));
  for (const s of slow) s.connection.pause();
  await sleep(300);
  for (let i = 0; i < 5; i++) assert.equal((await check()).status, 200);
  await sleep(2500);
  for (const s of slow) s.connection.resume();
  for (const s of slow) assert.ok(!(await s.ended).endsWith('\0\0\0\0\0\0\0\0'), 'the whole answer came');
});

test('a kept connection serves one request after another and may be idle longer than a request', async () => {
  const one = Buffer.concat([begin(1), record(4, params(web.params('GET', '/healthz'))), record(4, Buffer.alloc(0)), record(5, Buffer.alloc(0))]);
  const kept = web.half(null, '', { parts: one });
  let bytes = '';
  kept.connection.on('data', (b) => { bytes += b.toString('latin1'); });
  const answers = () => bytes.split('Status: 200').length - 1;
  await eventually(() => answers() === 1, 'an answer', 2);
  await sleep(2500);
  kept.connection.write(one);
  await eventually(() => answers() === 2, 'the second answer', 2);
  kept.connection.destroy();
});
