// With the C program's own check of the tenant switched off (a test build), the database still shows nothing of another tenant.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, chmodSync, rmSync, existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fcgi } from '../lib/fcgi.mjs';
import { eventually, root } from '../lib/stack.mjs';

const { STATE, TENANT_ID: own, TENANT_KEY: key } = process.env;
const other = 'tenant_1762083064611'; // Oakfield Dental Care
let web, dir;

before(async () => {
  execFileSync('make', ['-s', 'MODE=test', 'build/test/tollgate-web'], { cwd: root, stdio: 'ignore', timeout: 300000 });
  dir = mkdtempSync(join(tmpdir(), 'tg-iso-'));
  chmodSync(dir, 0o777);
  const program = join(dir, 'tollgate-web');
  execFileSync('cp', [join(root, 'build/test/tollgate-web'), program]);
  web = spawn(program, {
    cwd: '/', stdio: 'ignore', detached: true,
    ...(process.getuid() === 0 ? { uid: Number(execFileSync('id', ['-u', 'www-data'])), gid: Number(execFileSync('id', ['-g', 'www-data'])) } : {}),
    env: { ...process.env, TOLLGATE_CONF: join(STATE, 'tollgate.conf'), TOLLGATE_WEB_LISTEN: `unix:${dir}/web`, TOLLGATE_WEB_PAGES_LISTEN: `unix:${dir}/pages`, TOLLGATE_WEB_PROCESSES: '1',
      TOLLGATE_TEST_NO_TENANT_CHECK: '1', ASAN_OPTIONS: 'detect_leaks=0' },
  });
  await eventually(() => existsSync(join(dir, 'web')), 'the test build to listen', 20);
});
after(() => { try { process.kill(-web.pid, 'SIGTERM'); } catch { /* it never started */ } rmSync(dir, { recursive: true, force: true }); });

const ask = (path, method = 'GET', body = '') => fcgi(join(dir, 'web'), { REQUEST_METHOD: method, REQUEST_URI: path,
  SERVER_PROTOCOL: 'HTTP/1.1', REMOTE_ADDR: '127.0.0.1', HTTP_AUTHORIZATION: `Bearer ${key}`,
  ...(body ? { CONTENT_TYPE: 'application/json', CONTENT_LENGTH: String(body.length) } : {}) }, { role: 'responder', body });

test('the test build answers its own tenant, so silence about another is not a fault', async () => {
  const r = await ask(`/api/usage/tenant/${own}/current`);
  assert.equal(r.status, 200);
  assert.equal(JSON.parse(r.body).usage.tenant_id, own);
});

for (const [path, method, body] of [
  [`/api/usage/tenant/${other}/current`], [`/api/usage/tenant/${other}/report`], [`/api/usage/tenant/${other}/history`],
  [`/api/usage/tenant/${other}/refresh`, 'POST', '{}'], [`/api/subscription/tenant/${other}`],
  [`/api/usage/tenant/${other}/check?metric=api_call&amount=1`],
])
  test(`${method ?? 'GET'} ${path} shows nothing of the other tenant`, async () => {
    const r = await ask(path, method, body);
    assert.doesNotMatch(r.body, /Oakfield|patients_count"?:\s*[1-9]|"tier_id"|"usage"\s*:\s*[1-9]|"limit"/);
    if (r.status === 200) assert.doesNotMatch(r.body.replaceAll(other, ''), /[1-9]\d{2,}/);
  });
