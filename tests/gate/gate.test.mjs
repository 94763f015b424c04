// gate.test.mjs: every answer of the gate, asked as a web server asks it.
import test from 'node:test';
import assert from 'node:assert/strict';
import { startGate } from '../lib/gate.mjs';
import { chmodSync, copyFileSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually, root, sleep } from '../lib/stack.mjs';

const rules = '[rules]\nPOST /api/files = file_upload\n';

async function withGate(t, options, body) {
  const gate = await startGate(options);
  t.after(() => gate.stop());
  await body(gate);
}

test('an admitted call tells the back end who it is, and is in the spool before the answer', (t) => withGate(t, {}, async (gate) => {
  await gate.table.say('tenant beta 1 10 -1');
  await gate.table.say('key beta-key beta 1');
  const a = await gate.call('/api/patients/123?x=1', 'beta-key');
  assert.equal(a.status, 200);
  assert.equal(a.headers['variable-tollgate_tenant'], 'beta');
  assert.equal(a.headers['variable-tollgate_tier'], 'starter');
  assert.equal(a.headers['variable-tollgate_remaining'], '9');
  assert.equal(a.headers['ratelimit-policy'], '"api_calls_per_day";q=10;w=86400');
  assert.match(a.headers.ratelimit, /^"api_calls_per_day";r=9;t=\d+$/);
  const [e] = await gate.events();
  assert.equal(e.tenant, 'beta');
  assert.equal(e.metric, 'api_call');
  assert.equal(e.flags & 1, 1); // counted; the other bits say in which table
  assert.equal(e.metadata.endpoint, '/api/patients/123');
  assert.equal(e.metadata.normalized, '/api/patients/:id');
  assert.equal(e.metadata.method, 'GET');
  assert.equal(e.metadata.key, 'testkey1');
  assert.ok(Math.abs(Date.parse(e.metadata.timestamp) - Date.now()) < 60000);
}));

test('exactly what is left passes, whatever the concurrency, and refused calls cost nothing', (t) => withGate(t, { processes: 4 }, async (gate) => {
  await gate.table.say('tenant beta 1 100 -1');
  await gate.table.say('key beta-key beta 1');
  const answers = await Promise.all(Array.from({ length: 300 }, () => gate.call('/api/x', 'beta-key')));
  assert.equal(answers.filter((a) => a.status === 200).length, 100);
  assert.equal(answers.filter((a) => a.status === 429).length, 200);
  assert.deepEqual(await gate.table.say('used beta'), ['100']);
  assert.equal((await gate.events()).length, 100);
}));

test('a call beyond the limit gets 429 with a problem document', (t) => withGate(t, {}, async (gate) => {
  await gate.table.say('tenant beta 1 1 -1');
  await gate.table.say('key beta-key beta 1');
  await gate.call('/api/x', 'beta-key');
  const a = await gate.call('/api/x', 'beta-key');
  assert.equal(a.status, 429);
  assert.equal(a.headers['content-type'], 'application/problem+json');
  const left = Number(/^"api_calls_per_day";r=0;t=(\d+)$/.exec(a.headers.ratelimit)[1]);
  assert.ok(Number(a.headers['retry-after']) >= left);
  const midnight = (Math.floor(Date.now() / 864e5) + 1) * 864e5;
  assert.ok(Math.abs(left - (midnight - Date.now()) / 1000) < 2);
  const p = JSON.parse(a.body);
  assert.equal(p.type, 'https://iana.org/assignments/http-problem-types#quota-exceeded');
  assert.equal(p.status, 429);
  assert.equal(p.code, 'usage_limit_reached');
  assert.deepEqual(p['violated-policies'], ['api_calls_per_day']);
  assert.match(p.error, /^API call limit reached: 1 of 1 today, resets \d{4}-\d\d-\d\dT00:00:00Z$/);
  assert.match(p.instance, /^urn:request:[0-9a-f]{16}$/);
  const html = await gate.call('/api/x', 'beta-key', { HTTP_ACCEPT: 'text/html,*/*;q=0.8' });
  assert.equal(html.status, 429);
  assert.match(html.headers['content-type'], /^text\/html/);
  assert.match(html.body, /<h1>Limit reached<\/h1>/);
  assert.doesNotMatch(html.body, /<style|<script|style=/);
  const head = await gate.call('/api/x', 'beta-key', { REQUEST_METHOD: 'HEAD' });
  assert.equal(head.status, 429);
  assert.equal(head.body, '');
}));

test('a minute refuses a burst and says when the next passes', (t) => withGate(t, {}, async (gate) => {
  await gate.table.say('tenant beta 1 -1 2');
  await gate.table.say('key beta-key beta 1');
  for (const status of [200, 200, 429]) assert.equal((await gate.call('/api/x', 'beta-key')).status, status);
  const a = await gate.call('/api/x', 'beta-key');
  assert.ok(Number(a.headers['retry-after']) >= 25 && Number(a.headers['retry-after']) <= 30);
}));

test('who may not call is told why', (t) => withGate(t, {}, async (gate) => {
  for (const command of ['tenant held 2 -1 -1', 'tenant bare 3 -1 -1', 'key held-key held 1', 'key bare-key bare 1',
    'key reader alpha 4', 'key gone alpha 1 revoked', 'key old alpha 1 expired', 'key op - 15', 'key op-reader - 12']) await gate.table.say(command);
  const cases = [
    [undefined, {}, 401, 'key_missing'],
    ['nobody', {}, 401, 'key_unknown'],
    ['x'.repeat(300), {}, 401, 'key_unknown'],
    ['gone', {}, 401, 'key_expired'],
    ['old', {}, 401, 'key_expired'],
    ['reader', {}, 403, 'scope_missing'],
    ['op-reader', {}, 403, 'scope_missing'],
    ['op-reader', { HTTP_X_TENANT_ID: 'alpha' }, 403, 'scope_missing'],
    ['held-key', {}, 403, 'suspended'],
    ['bare-key', {}, 402, 'no_subscription'],
    ['alpha-key', { HTTP_X_TENANT_ID: 'held' }, 403, 'tenant_foreign'],
    ['alpha-key', { HTTP_X_TENANT_ID: 'nowhere' }, 403, 'tenant_foreign'],
    ['alpha-key', { HTTP_X_TENANT_ID: 'alpha, held' }, 400, 'tenant_header'],
    ['alpha-key', { HTTP_X_TENANT_ID: '' }, 400, 'tenant_header'],
    ['op', { HTTP_X_TENANT_ID: 'nowhere' }, 404, 'tenant_unknown'],
    ['alpha-key', { HTTP_AUTHORIZATION: 'Basic abc' }, 401, 'key_missing'],
    ['alpha-key', { HTTP_AUTHORIZATION: 'Bearer alpha-key, Bearer nobody' }, 401, 'key_missing'],
  ];
  for (const [key, more, status, code] of cases) {
    const a = await gate.call('/api/x', key, more);
    assert.equal(a.status, status, code);
    assert.equal(a.headers['content-type'], 'application/problem+json');
    const p = JSON.parse(a.body);
    assert.equal(p.code, code);
    assert.ok(p.detail.length > 10);
    if (status === 401) assert.match(a.headers['www-authenticate'], /^Bearer realm="tollgate"/);
  }
  assert.equal((await gate.events()).length, 0);
}));

test("an operator's key is counted for the tenant it names and for nobody without one", (t) => withGate(t, {}, async (gate) => {
  await gate.table.say('key op - 15');
  const free = await gate.call('/api/x', 'op');
  assert.equal(free.status, 200);
  assert.equal(free.headers['variable-tollgate_tenant'], undefined);
  const named = await gate.call('/api/x', 'op', { HTTP_X_TENANT_ID: 'alpha' });
  assert.equal(named.headers['variable-tollgate_tenant'], 'alpha');
  assert.equal(named.headers['variable-tollgate_remaining'], 'unlimited');
  assert.deepEqual(await gate.table.say('used alpha'), ['1']);
}));

test('own routes pass uncounted, but not by a path that only looks like one', (t) => withGate(t, {}, async (gate) => {
  assert.equal((await gate.call('/api/usage/tenant/alpha/current')).status, 200);
  for (const uri of ['/api/usage/../px/a', '/api/usage/%2e%2e/px/a', '/api/usages', '/api/x?/api/usage']) {
    assert.equal((await gate.call(uri)).status, 401, uri);
  }
  for (const uri of ['/api/usage%2f..%2fpx', '/api/%00', '/api/\\x', '/api/%', '/api/../../x', `/api/${'a'.repeat(3000)}`]) {
    assert.equal((await gate.call(uri, 'alpha-key')).status, 400, uri.slice(0, 40));
  }
  assert.equal((await gate.events()).length, 0);
}));

test('a rule is not left out by a method in lower case or a slash behind the path', (t) => withGate(t, { settings: rules }, async (gate) => {
  const calls = [['post', '/api/files'], ['Post', '/api/files?x'], ['POST', '/api/files/'], ['POST', '/api/files//'], ['POST', '/api/./files/x/..']];
  for (const [method, path] of calls) assert.equal((await gate.call(path, 'alpha-key', { REQUEST_METHOD: method })).status, 200);
  for (const path of ['/api/filesx', '/api/files/x', '/api/file']) assert.equal((await gate.call(path, 'alpha-key', { REQUEST_METHOD: 'POST' })).status, 200);
  const events = await gate.events();
  assert.equal(events.filter((e) => e.metric === 'file_upload').length, calls.length);
}));

test('a rule of a metric that Tollgate counts itself is left out, and said once', (t) => withGate(t, { processes: 1, settings: '[rules]\nPOST /api/appointments = appointment_created\nPOST /api/appointments = file_upload\n' }, async (gate) => {
  for (let i = 0; i < 3; i++) assert.equal((await gate.call('/api/appointments', 'alpha-key', { REQUEST_METHOD: 'POST' })).status, 200);
  assert.deepEqual((await gate.events()).map((e) => e.metric).sort(), ['api_call', 'api_call', 'api_call', 'file_upload', 'file_upload', 'file_upload']);
  const said = gate.log().match(/the rule .* is left out.*/g);
  assert.equal(said.length, 1);
  assert.match(said[0], /POST \/api\/appointments = appointment_created/);
  assert.match(said[0], /remove line \d+ of the configuration/);
}));

test('a rule records its metric with the call', (t) => withGate(t, { settings: rules }, async (gate) => {
  assert.equal((await gate.call('/api/files', 'alpha-key', { REQUEST_METHOD: 'POST' })).status, 200);
  assert.equal((await gate.call('/api/files', 'alpha-key')).status, 200);
  const events = await gate.events();
  assert.deepEqual(events.map((e) => e.metric).sort(), ['api_call', 'api_call', 'file_upload']);
  assert.deepEqual(events.find((e) => e.metric === 'file_upload').metadata, { endpoint: '/api/files', method: 'POST', rule: 'POST /api/files' });
}));

test('a rule that names a gauge refuses the call while the gauge is at its limit, and records nothing of it', (t) => withGate(t,
  { settings: '[rules]\nPOST /api/files = file_upload, storage_used_gb\n' }, async (gate) => {
    const upload = () => gate.call('/api/files', 'stored-key', { REQUEST_METHOD: 'POST' });
    await gate.table.say('storage stored 0.5 1');
    await gate.table.say('key stored-key stored 15');
    const passed = await upload();
    assert.equal(passed.status, 200);
    assert.equal(passed.headers['variable-tollgate_remaining'], 'unlimited');
    for (const level of ['1', '2.25']) {
      await gate.table.say(`storage stored ${level} 1`);
      const refused = await upload();
      assert.equal(refused.status, 429, level);
      const p = JSON.parse(refused.body);
      assert.equal(p.error, `storage_used_gb limit reached: ${level} of 1 are in use, the call passes when there is room`);
      assert.deepEqual(p['violated-policies'], ['storage_gb']);
      assert.equal(refused.headers['retry-after'], undefined);
      assert.equal((await gate.call('/api/files', 'stored-key')).status, 200, 'reading is no upload');
    }
    await gate.table.say('storage stored 0.999999 1');
    assert.equal((await upload()).status, 200);
    const events = (await gate.events()).filter((e) => e.tenant === 'stored').map((e) => e.metric).sort();
    assert.deepEqual(events, ['api_call', 'api_call', 'api_call', 'api_call', 'file_upload', 'file_upload']);
  }));

test('behind nginx a refusal is a 403 with the real answer in headers', (t) => withGate(t, { gate: 'nginx = true' }, async (gate) => {
  const a = await gate.call('/api/x', 'nobody');
  assert.equal(a.status, 403);
  assert.equal(a.headers['x-tollgate-status'], '401');
  assert.equal(a.headers['x-tollgate-type'], 'application/problem+json');
  assert.equal(JSON.parse(a.headers['x-tollgate-body']).code, 'key_unknown');
}));

test('a limit, a suspension and a revocation act at the next call', (t) => withGate(t, {}, async (gate) => {
  const status = async () => (await gate.call('/api/x', 'alpha-key')).status;
  assert.equal(await status(), 200);
  await gate.table.say('tenant alpha 1 1 -1');
  assert.equal(await status(), 429);
  await gate.table.say('tenant alpha 1 5 -1');
  assert.equal(await status(), 200);
  await gate.table.say('tenant alpha 2 5 -1');
  assert.equal(await status(), 403);
  await gate.table.say('tenant alpha 1 5 -1');
  await gate.table.say('key alpha-key alpha 15 revoked');
  assert.equal(await status(), 401);
}));

test('a table that is being filled is not seen: callers wait until it is complete', (t) => withGate(t, { table: false }, async (gate) => {
  for (const key of ['nobody', 'alpha-key']) {
    const a = await gate.call('/api/x', key);
    assert.equal(a.status, 503);
    assert.equal(a.headers['retry-after'], '1');
  }
  await gate.table.say('ready');
  await sleep(400);
  assert.equal((await gate.call('/api/x', 'nobody')).status, 401);
  assert.equal((await gate.call('/api/x', 'alpha-key')).status, 200);
}));

test('when the table is gone, callers that were known go on and are recorded uncounted; others wait', (t) => withGate(t, { processes: 1 }, async (gate) => {
  assert.equal((await gate.call('/api/x', 'alpha-key')).status, 200);
  await gate.table.say('retire');
  await sleep(400);
  assert.equal((await gate.call('/api/x', 'alpha-key')).status, 200);
  assert.equal((await gate.call('/api/x', 'nobody')).status, 503);
  assert.deepEqual((await gate.events()).map((e) => e.flags & 1), [1, 0]);
}));

test('on_failure=deny lets nobody by without a table', (t) => withGate(t, { processes: 1, gate: 'on_failure = deny' }, async (gate) => {
  assert.equal((await gate.call('/api/x', 'alpha-key')).status, 200);
  await gate.table.say('retire');
  await sleep(400);
  assert.equal((await gate.call('/api/x', 'alpha-key')).status, 503);
}));

test('the gate ends on SIGTERM with 0 and leaves its records', async () => {
  const gate = await startGate();
  assert.equal((await gate.call('/api/x', 'alpha-key')).status, 200);
  assert.equal(await gate.stop(), 0);
});

for (const [choice, status, degraded] of [['admit', 200, '1'], ['deny', 503, '0']]) {
  test(`a spool that is full and on_failure=${choice} give ${status}`, (t) => withGate(t, { gate: `on_failure = ${choice}`, settings: '[spool]\nmax_bytes = 1\n' }, async (gate) => {
    assert.equal((await gate.call('/api/x', 'alpha-key')).status, status);
    assert.deepEqual(await gate.table.say('degraded alpha'), [degraded]);
    assert.deepEqual(await gate.table.say('used alpha'), [degraded]);
  }));
}

// The gate's processes that run with this configuration.
const running = (conf) => readdirSync('/proc').filter((pid) => /^\d+$/.test(pid)).filter((pid) => {
  try { return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(conf); } catch { return false; }
}).map(Number);

test('SIGHUP hands over to a new gate, and no call is refused meanwhile', async (t) => {
  const gate = await startGate();
  t.after(() => { for (const pid of running(gate.conf)) process.kill(pid, 'SIGTERM'); return gate.stop(); });
  let over = false;
  const calls = (async () => { while (!over) assert.equal((await gate.call('/api/x', 'alpha-key')).status, 200); })();
  gate.hangUp();
  assert.equal(await gate.ended, 0);
  over = true;
  await calls;
  assert.equal((await gate.call('/api/x', 'alpha-key')).status, 200);
});

for (const pauseAfter of [0, 7, 60]) {
  test(`a call of which ${pauseAfter} bytes have come is answered after SIGTERM`, async (t) => {
    const gate = await startGate({ processes: 1 });
    let ended = null;
    t.after(() => ended ?? gate.stop());
    const answer = await gate.call('/api/x', 'alpha-key', {}, { pauseAfter, pause: async () => {
      await sleep(300); // it is accepted and waited for
      ended = gate.stop();
      await sleep(500);
    } });
    assert.equal(answer.status, 200);
    const before = performance.now();
    assert.equal(await ended, 0);
    assert.ok(performance.now() - before < 3000, 'and then the gate ends, not killed after PREFORK_GRACE_MS');
  });
}

const broken = {
  'that is gone': (program) => rmSync(program),
  'that is no program any more': (program) => { rmSync(program); writeFileSync(program, 'rubbish'); chmodSync(program, 0o755); },
  'whose configuration is wrong': (program, gate) => writeFileSync(gate.conf, '[gate]\nnonsense = 1\n'),
  'whose spool is away': (program, gate) => renameSync(`${gate.dir}/spool`, `${gate.dir}/spool-away`),
};
for (const [what, spoil] of Object.entries(broken)) {
  test(`after SIGHUP with a program ${what} the old gate goes on and says so`, async (t) => {
    const dir = mkdtempSync(join(tmpdir(), 'tg-program-')), program = join(dir, 'tollgate-gate');
    copyFileSync(join(root, 'build/release/tollgate-gate'), program);
    const gate = await startGate({ program });
    t.after(async () => { await gate.stop(); rmSync(dir, { recursive: true }); });
    assert.equal((await gate.call('/api/x', 'alpha-key')).status, 200);
    spoil(program, gate);
    gate.hangUp();
    await eventually(() => /the new process ended before it could serve; this one goes on/.test(gate.log()), () => gate.log(), 8);
    await sleep(300);
    assert.ok(running(gate.conf).includes(gate.pid));
    assert.equal((await gate.call('/api/x', 'alpha-key')).status, 200);
  });
}
