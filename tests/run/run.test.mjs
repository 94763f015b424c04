// `make run` as a new user meets it: starts, stops without leaving anything, goes on where it was, refuses a second one.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, statSync } from 'node:fs';
import { after, test } from 'node:test';
import { descendants, root, startStack } from '../lib/stack.mjs';

let stack;
after(() => stack?.stop());

const again = (...settings) => spawnSync('make', ['--no-print-directory', 'run', ...settings], { cwd: root, encoding: 'utf8', timeout: 60000 });
const rows = (s) => Number(s.sql('SELECT count(*) AS n FROM usage_tracking')[0].n);

test('it answers, with a login for people and keys for scripts in demo.env, readable by its owner alone', async () => {
  stack = await startStack();
  for (const name of ['URL', 'PGHOST', 'PGPORT', 'PGDATABASE', 'PGUSER', 'TENANT_ID', 'TENANT_KEY', 'OPERATOR_KEY', 'ADMIN_EMAIL',
    'ADMIN_PASSWORD', 'OPERATOR_EMAIL', 'OPERATOR_PASSWORD', 'TOLLGATE']) assert.ok(stack.demo[name], name);
  assert.equal(stack.TENANT_ID, 'tenant_1762083064503');
  assert.equal(statSync(`${stack.state}/demo.env`).mode & 0o777, 0o600);
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

test('SIGTERM leaves no process, and it goes on where it was, behind the other server too', async () => {
  const key = stack.TENANT_KEY, before = rows(stack), state = stack.state, pid = stack.child.pid;
  const postmaster = stack.postmaster();
  await stack.stop({ keep: true });
  assert.deepEqual(descendants(pid), []);
  assert.ok(!existsSync(`/proc/${postmaster}`));
  stack = await startStack({ state, server: 'apache' });
  assert.equal(stack.TENANT_KEY, key);
  assert.equal(rows(stack), before);
  assert.equal((await fetch(`${stack.URL}/api/demo/x`, { headers: { authorization: `Bearer ${key}` } })).status, 200);
});
