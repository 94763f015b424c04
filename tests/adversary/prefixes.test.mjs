// Other addresses than the defaults, behind the real server: everything metered, several prefixes, pages and API elsewhere. A gate and a
// tollgate-web of the test's own read the configuration that the server's is made of.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { chownSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { makeFront, send, writingBackend } from '../lib/front.mjs';
import { eventually, freePort, root } from '../lib/stack.mjs';

const { SERVER: server, TENANT_KEY: key, TENANT_ID: tenant, TOLLGATE: program } = process.env;
const backend = await writingBackend();
after(() => backend.close());
const bearer = [`Authorization: Bearer ${key}`];

// Starts gate, web and server for these lines of [gate], [web] and [backends]; stops them when the test ends.
async function start(t, { gate = '', web = '', backends }) {
  const port = await freePort();
  let sockets;
  const front = makeFront({ server, program, edit: (conf, dir) => {
    sockets = dir;
    return conf.replace(/^\[gate\]\nlisten = .*$/m, `[gate]\n${gate}\nlisten = ${server === 'apache' ? `127.0.0.1:${port}` : `unix:${dir}/gate`}`)
      .replace(/^listen = unix:.*\/web$/m, `${web}\nlisten = unix:${dir}/web`).replace(/^pages_listen = .*$/m, `pages_listen = unix:${dir}/pages`)
      .replace(/^\[backends\]\n(\/.*\n)*/m, `[backends]\n${backends.replaceAll('PORT', backend.port)}\n`);
  } });
  const file = join(front.dir, 'tollgate.conf');
  const run = /^run_dir = (.*)$/m.exec(front.conf)[1], { uid, gid } = statSync(run);
  chownSync(front.dir, uid, gid);
  const children = ['tollgate-gate', 'tollgate-web'].map((name) => spawn(join(root, 'build/release', name), ['--config', file], { uid, gid, stdio: 'ignore' }));
  t.after(() => {
    for (const child of children) child.kill();
    front.remove();
  });
  await eventually(() => ['web', 'pages'].every((name) => { try { return statSync(join(sockets, name)).isSocket(); } catch { return false; } }), 'the sockets');
  const running = await front.start();
  t.after(() => running.stop());
  return async (path, headers = []) => {
    backend.bytes = '';
    const answer = await send(running.port, path, headers);
    return { status: Number(/^HTTP\/1\.1 (\d+)/.exec(answer)?.[1]), answer, heard: backend.bytes };
  };
}

// A call without a key is refused by the gate and nobody hears of it.
async function refused(ask, path) {
  const r = await ask(path);
  assert.ok([400, 401].includes(r.status), `${path}: ${r.answer}`);
  assert.equal(r.heard, '', path);
}

test(`${server}: everything is metered but Tollgate's own pages and API, which lie elsewhere`, async (t) => {
  const ask = await start(t, { gate: 'prefix = /', web: 'page_prefix = /usage\napi_prefix = /tollgate', backends: '/ = http://127.0.0.1:PORT' });
  for (const path of ['/', '/orders/17', '/orders/17;%80', '/usagex', '/usage-x/healthz', '/healthz', '/sign-in', '/static/tollgate.css', '/api/usage', '/tollgates',
    '//orders', '/usage/../orders', '/\x80']) await refused(ask, path);
  assert.equal((await ask('/usage/static/tollgate.css')).status, 200);
  for (const path of ['/usage/healthz', '/usage/sign-in']) { // tollgate-web's to answer, without a key
    const r = await ask(path);
    assert.ok(r.status > 0 && ![400, 401, 503].includes(r.status), `${path}: ${r.answer}`);
    assert.equal(r.heard, '', path);
  }
  for (const path of ['/', '/orders/17', '/healthz', '/tollgates']) {
    const r = await ask(path, bearer);
    assert.equal(r.status, 200, `${path}: ${r.answer}`);
    assert.ok(r.heard.startsWith(`GET ${path} `) && r.heard.includes(tenant), r.heard);
  }
  assert.equal((await ask('/usage/sign-in', bearer)).heard, '');
});

test(`${server}: several prefixes, the longest path wins, and the rest of the host name is not Tollgate's`, async (t) => {
  const ask = await start(t, { gate: 'prefix = /v1, /v2.5', web: 'page_prefix = /dash\napi_prefix = /v1',
    backends: '/v1 = http://127.0.0.1:PORT\n/v2.5/files = http://127.0.0.1:PORT' });
  for (const path of ['/v1', '/v1/', '/v1/orders', '/v2.5', '/v2.5/files/1', '/v2.5/%c3', '/v1;%80/../v1/x']) await refused(ask, path);
  for (const path of ['/', '/v2x5/files', '/v11', '/v2.5x', '/elsewhere']) {
    const r = await ask(path, bearer);
    assert.ok([403, 404].includes(r.status), `${path}: ${r.answer}`);
    assert.equal(r.heard, '', path);
  }
  for (const path of ['/v1', '/v1/usages', '/v1/orders', '/v2.5/files', '/v2.5/files/1']) assert.ok((await ask(path, bearer)).heard.includes(tenant), path);
  for (const path of ['/v2.5', '/v2.5/filesearch']) {
    const r = await ask(path, bearer);
    assert.equal(r.status, 404, `${path}: ${r.answer}`);
    assert.equal(r.heard, '', path);
  }
});
