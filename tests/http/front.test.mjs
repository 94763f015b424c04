// What the web server in front of the gate does itself: takes forged headers away, bounds bodies, refuses what it can't read.
// The same behind each server; where one differs, docs/hosting.md and docs/nginx.md say so and the test names it.
import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { test } from 'node:test';

const { TENANT_ID: tenant, TENANT_KEY: key, OPERATOR_KEY: operator, SERVER: server, PORT: port } = process.env;
const bearer = (k) => `Authorization: Bearer ${k}`;

// One request as these bytes, for fetch would tidy it up; resolves to {status, headers, body} when the server closes.
function raw(line, headers = [], parts = []) {
  return new Promise((done, failed) => {
    const socket = connect(Number(port), '127.0.0.1');
    let text = '';
    socket.setTimeout(20000, () => socket.destroy(new Error(`no end within 20 s: ${text.slice(0, 200)}`)));
    socket.on('data', (bytes) => { text += bytes.toString('latin1'); });
    // a server that refuses a body may close while it is still being sent
    socket.on('error', (e) => { if (!text) failed(e); });
    socket.on('close', () => {
      const split = text.indexOf('\r\n\r\n');
      if (split < 0) return failed(new Error(`no answer: ${text}`));
      const [first, ...rest] = text.slice(0, split).split('\r\n');
      const found = Object.fromEntries(rest.map((h) => [h.slice(0, h.indexOf(':')).toLowerCase(), h.slice(h.indexOf(':') + 1).trim()]));
      done({ status: Number(first.split(' ')[1]), headers: found, body: text.slice(split + 4) });
    });
    socket.write(`${line} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n${headers.map((h) => `${h}\r\n`).join('')}\r\n`, 'latin1');
    for (const part of parts) socket.write(part);
  });
}

// What the back end was sent.
async function echoed(headers, path = '/api/demo/x') {
  const r = await raw(`GET ${path}`, headers);
  // nginx can't take headers away by pattern: those that it hands on at all, the gate refuses
  if (server === 'nginx' && r.status === 400) {
    assert.equal(JSON.parse(r.body).code, 'header_reserved');
    return null;
  }
  assert.equal(r.status, 200, r.body);
  return JSON.parse(r.body.slice(r.body.indexOf('{'), r.body.lastIndexOf('}') + 1)).headers;
}

const names = ['Tenant', 'Gate', 'Tier', 'Remaining', 'Status', 'Type', 'Body'];
const spellings = names.flatMap((n) => [`X-Tollgate-${n}`, `x-tollgate-${n.toLowerCase()}`, `X-TOLLGATE-${n.toUpperCase()}`, `X_Tollgate_${n}`,
  `X-Tollgate_${n}`, `X_Tollgate-${n}`]);

test('no header of the gate that a client sends reaches the back end, however it is spelt', async () => {
  for (const k of [key, operator]) {
    for (const name of spellings) {
      const got = await echoed([bearer(k), `${name}: forged`]);
      assert.equal(got === null, server === 'nginx' && !name.includes('_'), name);
      if (!got) continue;
      for (const [header, value] of Object.entries(got)) assert.ok(!value.includes('forged'), `${name} as ${header}`);
      assert.deepEqual(Object.keys(got).filter((n) => n.startsWith('x-tollgate')).sort(),
        k === key ? ['x-tollgate-remaining', 'x-tollgate-tier'] : [], name);
    }
  }
  const sent = server === 'nginx' ? spellings.filter((n) => n.includes('_')) : spellings;
  const got = await echoed([bearer(key), ...sent.map((n) => `${n}: forged`)]);
  assert.equal(got['x-tollgate-tier'], 'professional');
  assert.ok(!JSON.stringify(got).includes('forged'), JSON.stringify(got));
});

test('a header that is named like the gate\'s, but is none of them, does not get there either', async () => {
  for (const path of ['/api/demo/x', `/api/usage/tenant/${tenant}/current`]) {
    const r = await raw(`GET ${path}`, [bearer(key), 'X-Tollgate-Whatever: forged']);
    assert.equal(r.status, server === 'nginx' ? 400 : 200, r.body);
    if (server === 'nginx') assert.equal(JSON.parse(r.body).code, 'header_reserved');
    assert.ok(!r.body.includes('forged'));
  }
});

const limit = 16 << 20; // of the demo's confs
const chunk = (bytes) => Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')]);
const million = Buffer.alloc(1 << 20, 'x');

test('a body longer than the limit gets 413, by its length before it is sent, and in chunks', async () => {
  for (const path of ['/api/demo/body', '/api/usage/events', '/sign-in']) {
    const r = await raw(`POST ${path}`, [bearer(key), `Content-Length: ${limit + 1}`]);
    assert.equal(r.status, 413, `${path} ${r.body}`);
    const huge = await raw(`POST ${path}`, [bearer(key), 'Content-Length: 4611686018427387904']);
    assert.equal(huge.status, 413, `${path} ${huge.body}`);
  }
  const chunked = await raw('POST /api/demo/body', [bearer(key), 'Transfer-Encoding: chunked'],
    [...Array.from({ length: 17 }, () => chunk(million)), '0\r\n\r\n']);
  assert.equal(chunked.status, server === 'apache' ? 411 : 413, chunked.body);
});

test('a body within the limit arrives whole, with its length and, but for Apache, in chunks', async () => {
  const whole = await raw('POST /api/demo/body', [bearer(key), `Content-Length: ${2 * million.length}`], [million, million]);
  assert.equal(whole.status, 200, whole.body);
  assert.match(whole.body, /"body_bytes":2097152/);
  const chunked = await raw('POST /api/demo/body', [bearer(key), 'Transfer-Encoding: chunked'], [chunk(million), chunk(million), '0\r\n\r\n']);
  if (server === 'apache') return assert.equal(chunked.status, 411, chunked.body);
  assert.equal(chunked.status, 200, chunked.body);
  assert.match(chunked.body, /"body_bytes":2097152/);
});

test('TRACE is not allowed anywhere', async () => {
  for (const path of ['/', '/api/demo/x', `/api/usage/tenant/${tenant}/current`, '/static/tollgate.css']) {
    const r = await raw(`TRACE ${path}`, [bearer(key), 'X-Mark: echoed']);
    assert.equal(r.status, 405, path);
    assert.ok(!r.body.includes('echoed'));
  }
});

test('the style sheet says its charset', async () => {
  const r = await raw('GET /static/tollgate.css');
  assert.equal(r.status, 200);
  assert.equal(r.headers['content-type'].toLowerCase(), 'text/css; charset=utf-8');
});

test('an empty X-Tenant-ID is nobody: refused, or taken away by the server before the gate hears of it', async () => {
  for (const k of [key, operator]) {
    const r = await raw('GET /api/demo/x', [bearer(k), 'X-Tenant-ID:']);
    if (server === 'lighttpd') {
      assert.equal(r.status, 200, r.body);
      assert.equal(JSON.parse(r.body).headers['x-tenant-id'], k === key ? tenant : undefined);
    } else {
      assert.equal(r.status, 400, r.body);
      assert.equal(JSON.parse(r.body).code, 'tenant_header');
    }
  }
});

test('two Authorization headers are refused in JSON', async () => {
  for (const other of [key, 'nobody']) {
    const r = await raw('GET /api/demo/x', [bearer(key), bearer(other)]);
    assert.equal(r.status, server === 'nginx' ? 400 : 401, r.body);
    assert.equal(r.headers['content-type'], 'application/problem+json');
    assert.equal(JSON.parse(r.body).code, server === 'nginx' ? 'request_invalid' : 'key_missing');
  }
});

test('a path with bytes that are no UTF-8 is asked about like any other', async () => {
  for (const path of ['/api/demo/17;%80', '/api/demo/%c3', '/api/demo/%e0%80%af', '/api/demo/%ed%a0%80', '/api/demo/%f4%90%80%80', '/api/demo/\x80', '/api/nobody/%80']) {
    const r = await raw(`GET ${path}`, ['X-Tenant-ID: victim', ...(server === 'nginx' ? [] : ['X-Tollgate-Tier: gold'])]);
    assert.equal(r.status, 401, `${path} ${r.body}`);
  }
  const got = await echoed([bearer(key), `X-Tenant-ID: ${tenant}`], '/api/demo/17;%80');
  assert.equal(got['x-tenant-id'], tenant);
});

test('an address without a path, whose query reads like one, is not that path', async () => {
  for (const target of ['http://127.0.0.1?x/api/tenants', 'http://127.0.0.1#x/api/tenants', 'http://127.0.0.1?/api/demo/x']) {
    const r = await raw(`GET ${target}`, [bearer(operator)]);
    assert.ok(r.status !== 200 && !r.body.includes(tenant) && !r.body.includes('"uri"'), `${target} ${r.status} ${r.body}`);
  }
});

test('who called, and how, is the web server\'s to tell the back end', async () => {
  const got = await echoed([bearer(key), 'X-Forwarded-For: 192.0.2.7', 'X-Forwarded-Proto: https', 'X-Forwarded-Host: forged.example']);
  assert.equal(got['x-forwarded-for'], '127.0.0.1');
  assert.equal(got['x-forwarded-proto'], 'http');
  assert.equal(got['x-forwarded-host'], '127.0.0.1');
});

test('Connection takes none of the headers away that say who calls', async () => {
  for (const options of ['X-Tenant-ID', 'close, X-Tenant-ID, X-Tollgate-Tier, X-Tollgate-Remaining', 'x-tenant-id , TE']) {
    const got = await echoed([bearer(key), `Connection: ${options}`]);
    assert.equal(got['x-tenant-id'], tenant);
    assert.equal(got['x-tollgate-tier'], 'professional');
  }
});
