// Behind a proxy that ends TLS: a tollgate-web of its own with web.trusted_proxies, asked as the web server asks it.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { chmodSync, chownSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { eventually } from './lib.mjs';
import { fcgi } from '../lib/fcgi.mjs';
import { root } from '../lib/stack.mjs';

const { URL: url, ADMIN_EMAIL: email, ADMIN_PASSWORD: password, TOLLGATE: program } = process.env;
const proxy = '192.0.2.10', stranger = '192.0.2.99';
const dir = mkdtempSync(join(tmpdir(), 'tg-proxy-')), socket = join(dir, 'web.sock');
let web;

before(async () => {
  const shared = /--config '?([^' ]+)/.exec(readFileSync(program, 'utf8'))[1];
  const conf = readFileSync(shared, 'utf8').replace(/^listen = unix:.*\/web\npages_listen = .*$/m, `listen = unix:${socket}\npages_listen = unix:${socket}.pages\ntrusted_proxies = ${proxy}\nprocesses = 1`);
  assert.ok(conf.includes(socket));
  writeFileSync(join(dir, 'tollgate.conf'), conf);
  // as the user that the demo's own runs as, whom the database knows
  const run = /^run_dir = (.*)$/m.exec(conf)[1], { uid, gid } = statSync(run);
  chmodSync(dir, 0o755);
  chownSync(dir, uid, gid);
  web = spawn(join(root, 'build/release/tollgate-web'), [], { uid, gid, stdio: 'ignore',
    env: { ...process.env, TOLLGATE_CONF: join(dir, 'tollgate.conf') } });
  await eventually(() => { try { return statSync(socket).isSocket(); } catch { return web.exitCode !== null; } }, 'the socket');
  assert.equal(web.exitCode, null);
});
after(() => {
  web?.kill();
  rmSync(dir, { recursive: true });
});

const ask = (method, from, proto, more = {}, body = '') => fcgi(socket, { REQUEST_METHOD: method, REQUEST_URI: '/sign-in', SCRIPT_NAME: '/sign-in',
  QUERY_STRING: '', SERVER_PROTOCOL: 'HTTP/1.1', REMOTE_ADDR: from, HTTP_HOST: '127.0.0.1', HTTP_X_FORWARDED_PROTO: proto,
  HTTP_X_FORWARDED_FOR: '198.51.100.7', ...more }, { role: 'responder', body });

// Signs in as `from`; the Set-Cookie of the session.
async function cookieOf(from, proto) {
  const form = await ask('GET', from, proto, { HTTP_ACCEPT: 'text/html' });
  assert.equal(form.status, 200, form.body);
  const [pair] = form.headers['set-cookie'].split(';');
  const token = /name="([a-z_]*csrf[a-z_]*|token)" value="([^"]+)"/.exec(form.body);
  assert.ok(token, form.body);
  const body = new URLSearchParams({ [token[1]]: token[2], email, password }).toString();
  const done = await ask('POST', from, proto, { HTTP_ACCEPT: 'text/html', HTTP_COOKIE: pair, CONTENT_TYPE: 'application/x-www-form-urlencoded',
    CONTENT_LENGTH: Buffer.byteLength(body), HTTP_ORIGIN: url, HTTP_SEC_FETCH_SITE: 'same-origin' }, body);
  assert.equal(done.status, 303, done.body);
  return done.headers['set-cookie'];
}

test('HTTPS at a trusted proxy gives a Secure cookie of this host alone', async () => {
  const cookie = await cookieOf(proxy, 'https');
  assert.match(cookie, /^__Host-tollgate_session=/);
  assert.match(cookie, /; Secure/);
  assert.match(cookie, /; Path=\//);
  assert.doesNotMatch(cookie, /Domain=/i);
});

for (const [what, from, proto] of [['HTTP at a trusted proxy', proxy, 'http'], ['HTTPS that an untrusted address claims', stranger, 'https']]) {
  test(`${what} gives a cookie for HTTP`, async () => {
    const cookie = await cookieOf(from, proto);
    assert.match(cookie, /^tollgate_session=/);
    assert.doesNotMatch(cookie, /Secure/);
  });
}
