// `make run` as a new user meets it: starts, stops without leaving anything, goes on where it was, refuses a second one.
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, request } from 'node:http';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, before, test } from 'node:test';
import { descendants, eventually, root, sleep, startStack } from '../lib/stack.mjs';

let stack;
after(() => stack?.stop());

// A back end of somebody's own, plain HTTP, that says what headers it got.
const backend = createServer((q, r) => r.end(JSON.stringify({ url: q.url, raw: q.rawHeaders })));
before(() => new Promise((done) => backend.listen(0, '127.0.0.1', done)));
after(() => backend.close());
const withBackend = () => ({ env: { BACKEND: `127.0.0.1:${backend.address().port}` } });

// What arrives there when a client forges the tenant's headers in every spelling; sent raw, for fetch would fold them.
async function forged() {
  const headers = { Authorization: `Bearer ${stack.TENANT_KEY}`, X_Tollgate_Tier: 'forged', 'x-tollgate_tier': 'forged',
    X_Tollgate_Remaining: 'forged', X_Tollgate_Gate: 'forged', X_Tollgate_Other: 'forged', X_Tenant_ID: stack.TENANT_ID, 'X-Forwarded-For': 'forged' };
  // behind nginx the gate refuses these, which tests/http looks at
  if (stack.server !== 'nginx') {
    for (const name of ['X-Tollgate-Tier', 'X-TOLLGATE-REMAINING', 'X-Tollgate-Tenant', 'X-Tollgate-Gate', 'X-Tollgate-Other']) headers[name] = 'forged';
  }
  const answer = await new Promise((done, failed) => {
    request({ port: stack.port, host: '127.0.0.1', path: '/api/orders/17?X-Tenant-ID=forged', headers, agent: false }, (r) => {
      let body = '';
      r.on('data', (part) => { body += part; }).on('end', () => done({ status: r.statusCode, body }));
    }).on('error', failed).end();
  });
  assert.equal(answer.status, 200, answer.body);
  const { url, raw } = JSON.parse(answer.body);
  assert.equal(url, '/api/orders/17?X-Tenant-ID=forged');
  assert.ok(!raw.includes('forged'), raw.join(' '));
  const told = Object.fromEntries(Array.from({ length: raw.length / 2 }, (_, i) => [raw[2 * i].toLowerCase(), raw[2 * i + 1]]));
  assert.equal(told['x-tenant-id'], stack.TENANT_ID);
  assert.equal(told['x-tollgate-tier'], 'professional');
  assert.match(told['x-tollgate-remaining'], /^\d+$/);
  assert.equal(told['x-forwarded-for'], '127.0.0.1');
  assert.equal(told['x-forwarded-proto'], 'http');
}

// All below /api is the back end's, to the letter of each path, but Tollgate's own and the demo's.
async function handedOn() {
  const call = (path) => fetch(`${stack.URL}${path}`, { headers: { authorization: `Bearer ${stack.TENANT_KEY}` } });
  for (const path of ['/api', '/api/files', '/api/filesearch', '/api/files/x', '/api/usages', '/api/subscriptions/1', '/api/tenantsearch', '/api/demonstration', '/api/x/usage'])
    assert.equal((await (await call(path)).json()).url, path);
  assert.equal((await (await call('/api/demo/x')).json()).uri, '/api/demo/x');
  assert.ok((await (await call(`/api/usage/tenant/${stack.TENANT_ID}/current`)).json()).usage);
}

// The lines of [rules] that the demo runs with.
const rules = () => readFileSync(/--config '?([^' ]+)/.exec(readFileSync(stack.TOLLGATE, 'utf8'))[1], 'utf8').split('[rules]\n')[1].trim().split('\n');
const ownRules = join(mkdtempSync(join(tmpdir(), 'tg-rules-')), 'rules');
writeFileSync(ownRules, '# mine\n[rules]\nPOST /api/files = file_upload\nPOST /api/papers = file_upload\n');
after(() => rmSync(dirname(ownRules), { recursive: true }));

const again = (...settings) => spawnSync('make', ['--no-print-directory', 'run', ...settings], { cwd: root, encoding: 'utf8', timeout: 60000 });
// Not a zombie, which nobody may have waited for.
const alive = (pid) => { try { return !/^State:\s*[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8')); } catch { return false; } };
const rows = (s) => Number(s.sql('SELECT count(*) AS n FROM usage_tracking')[0].n);
// A call that was just answered is stored a batch later.
async function settledRows(s) {
  for (let before = rows(s); ; before = rows(s)) {
    await sleep(1000);
    if (rows(s) === before) return before;
  }
}

test('it answers, with a login for people and keys for scripts in demo.env, readable by its owner alone', async () => {
  const { env } = withBackend();
  stack = await startStack({ env: { ...env, RULES: ownRules } });
  for (const name of ['URL', 'PGHOST', 'PGPORT', 'PGDATABASE', 'PGUSER', 'TENANT_ID', 'TENANT_KEY', 'OPERATOR_KEY', 'ADMIN_EMAIL',
    'ADMIN_PASSWORD', 'OPERATOR_EMAIL', 'OPERATOR_PASSWORD', 'TOLLGATE']) assert.ok(stack.demo[name], name);
  assert.equal(stack.TENANT_ID, 'tenant_1762083064503');
  assert.equal(statSync(`${stack.state}/demo.env`).mode & 0o777, 0o600);
  const files = existsSync(`${stack.state}/files`) ? `${stack.state}/files` : stack.state;
  assert.equal(statSync(`${files}/log`).mode & 0o777, 0o700);
  assert.equal((await fetch(`${stack.URL}/healthz`)).status, 200);
  assert.match(stack.tollgate('tenant', 'list'), /Riverside Family Clinic/);
});

test('no secret is on a command line', () => {
  const shown = stack.processes().map((p) => p.command).join('\n');
  for (const name of ['TENANT_KEY', 'OPERATOR_KEY', 'ADMIN_PASSWORD', 'OPERATOR_PASSWORD']) assert.ok(!shown.includes(stack.demo[name]), name);
});

test('a second one on the same port or state says so and touches nothing', () => {
  const state = again(`STATE=${stack.state}`, 'PORT=1');
  assert.notEqual(state.status, 0);
  assert.match(state.stderr, /another make run uses STATE/);
  const port = again(`STATE=${stack.state}-other`, `PORT=${stack.port}`);
  assert.notEqual(port.status, 0);
  assert.match(port.stderr, /listens on 127\.0\.0\.1:\d+ already/);
  assert.ok(existsSync(`${stack.state}/demo.env`));
  execFileSync('rm', ['-rf', `${stack.state}-other`]);
});

test('a back end of your own hears from lighttpd who calls, and no client can forge it', forged);
test('lighttpd hands everything below /api to it that is not Tollgate\'s', handedOn);

test('rules of your own stand beside the demo\'s, each once, and a call by one is counted by it', async () => {
  assert.deepEqual(rules(), ['POST /api/files = file_upload, storage_used_gb', '# mine', 'POST /api/papers = file_upload']);
  const uploads = () => Number(stack.sql(`SELECT count(*) AS n FROM usage_tracking WHERE metric_type = 'file_upload' AND tenant_id = '${stack.TENANT_ID}'`)[0].n);
  const before = uploads();
  await fetch(`${stack.URL}/api/papers`, { method: 'POST', headers: { authorization: `Bearer ${stack.TENANT_KEY}` } });
  await eventually(() => uploads() === before + 1, 'the event of the rule');
});

test('SIGTERM leaves no process, and it goes on where it was, behind the other server too', async () => {
  const key = stack.TENANT_KEY, before = await settledRows(stack), state = stack.state, pid = stack.child.pid;
  const postmaster = stack.postmaster();
  await stack.stop({ keep: true });
  assert.deepEqual(descendants(pid), []);
  assert.ok(!alive(postmaster));
  stack = await startStack({ state, server: 'apache', ...withBackend() });
  assert.equal(stack.TENANT_KEY, key);
  assert.equal(rows(stack), before);
  assert.equal((await fetch(`${stack.URL}/api/demo/x`, { headers: { authorization: `Bearer ${key}` } })).status, 200);
});

test('a back end of your own hears from Apache who calls, and no client can forge it', forged);
test('Apache hands everything below /api to it that is not Tollgate\'s', handedOn);
test('the rules are there again without being named', () => assert.ok(rules().includes('POST /api/papers = file_upload')));

test('PostgreSQL that is stopped and started again by hand is left alone, and all goes on', async () => {
  const data = stack.asSuperuser("SELECT setting FROM pg_settings WHERE name = 'data_directory'")[0].setting;
  const bin = execFileSync('sh', ['-c', 'ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1'], { encoding: 'utf8' }).trim();
  const pgCtl = (...words) => {
    const command = [`${bin}/pg_ctl`, '-D', data, '-w', '-l', `${dirname(ownRules)}/pg.log`, ...words];
    execFileSync('setpriv', process.getuid() === 0 ? ['--reuid', 'postgres', '--regid', 'postgres', '--init-groups', ...command] : command, { stdio: 'ignore' });
  };
  chmodSync(dirname(ownRules), 0o777);
  const said = () => readFileSync(stack.log, 'utf8');
  pgCtl('stop', '-m', 'fast');
  await eventually(() => said().includes('PostgreSQL was stopped'), 'the stop to be seen');
  pgCtl('start');
  await eventually(() => said().includes('PostgreSQL is back.'), 'the start to be seen');
  const postmaster = stack.postmaster();
  await sleep(4000);
  assert.equal(stack.exited, null, said().slice(-500));
  assert.equal(stack.postmaster(), postmaster);
  assert.doesNotMatch(said(), /postgres ended; starting it again/);
  await eventually(async () => (await fetch(`${stack.URL}/readyz`)).status === 200, 'the service');
});

test('after SIGKILL of make run the next one stops what was left, touches nothing else, and goes on where it was', async () => {
  const { TENANT_KEY: key, state, port } = stack, before = await settledRows(stack), postmaster = stack.postmaster();
  const left = stack.processes().filter((p) => p.name !== 'sleep');
  const stranger = spawn('sleep', ['300'], { stdio: 'ignore', detached: true });
  after(() => stranger.kill());
  // the number of its session stands in a pid file, as if it had come again
  writeFileSync(`${state}/pids/stranger`, `${stranger.pid} ${state}\n`);
  for (const p of [{ pid: stack.child.pid }, ...left.filter((p) => /demo\/run\.sh/.test(p.command))])
    try { process.kill(p.pid, 'SIGKILL'); } catch { /* a short-lived child of the script */ }
  await eventually(() => stack.exited, 'make to be gone');
  assert.ok(alive(postmaster));
  const { env } = withBackend();
  stack = await startStack({ state, port, server: 'nginx', env: { ...env, RULES: 'none' } });
  assert.match(readFileSync(stack.log, 'utf8'), /An earlier run on this STATE was killed; stopping what it left/);
  assert.equal(stranger.exitCode, null);
  for (const p of left) assert.ok(!alive(p.pid), p.command);
  assert.equal(stack.TENANT_KEY, key);
  assert.equal(rows(stack), before);
  assert.equal((await fetch(`${stack.URL}/api/demo/x`, { headers: { authorization: `Bearer ${key}` } })).status, 200);
});

test('a back end of your own hears from nginx who calls, and no client can forge it', forged);
test('nginx hands everything below /api to it that is not Tollgate\'s', handedOn);
test('RULES=none forgets the rules', () => assert.deepEqual(rules(), ['POST /api/files = file_upload, storage_used_gb']));

test('behind nginx SIGTERM leaves no process either', async () => {
  const left = stack.processes();
  await stack.stop({ keep: true });
  assert.deepEqual(left.filter((p) => p.name !== 'sleep' && alive(p.pid)), []);
});
