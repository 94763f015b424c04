// One password is hashed at a time on a node: many sign-ins take one processor and the memory of one hash, and hold up no JSON.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { eventually, sleep } from '../lib/stack.mjs';
import { startWeb } from '../lib/web.mjs';

let web;
before(async () => {
  Object.assign(process.env, { TOLLGATE_WEB_PASSWORD_MEMORY_KIB: '65536', TOLLGATE_WEB_PASSWORD_PASSES: '6' }); // slow enough to be seen
  web = await startWeb('processes = 1\npages_processes = 4');
});
after(() => web?.remove());

const check = () => web.ask('GET', '/api/usage/tenant/f0/check?metric=api_call', { key: web.tenantKey });
async function signIn(n) {
  const form = await web.ask('GET', '/sign-in', { socket: web.pages, headers: { HTTP_ACCEPT: 'text/html' } });
  const cookie = /tollgate_form=[^;]+/.exec(String(form.headers['set-cookie']))[0], csrf = /name="csrf" value="([^"]+)"/.exec(form.body)[1];
  const body = new URLSearchParams({ csrf, email: `nobody-${n}@example.org`, password: 'wrong wrong wrong' }).toString();
  return web.ask('POST', '/sign-in', { socket: web.pages, body, type: 'application/x-www-form-urlencoded',
    headers: { HTTP_ACCEPT: 'text/html', HTTP_COOKIE: cookie, REMOTE_ADDR: `192.0.2.${n}` } });
}
// Children that hold the memory of a hash.
const hashing = () => web.children().filter((pid) => {
  try { return Number(readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')[1]) * 4096 > 40e6; } catch { return false; }
});
// Processor time of all children in seconds.
const spent = () => web.children().reduce((sum, pid) => {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
  return sum + (Number(fields[11]) + Number(fields[12])) / 100;
}, 0);

test('twelve sign-ins at the same time are hashed one after the other, and JSON is answered meanwhile', async () => {
  let most = 0, running = true, checks = 0;
  const began = performance.now(), before = spent();
  const all = Promise.all([...Array(12).keys()].map((n) => signIn(n))).finally(() => { running = false; });
  const watched = (async () => { for (; running; await sleep(2)) most = Math.max(most, hashing().length); })();
  for (; running; checks++) assert.equal((await check()).status, 200);
  const answers = await all;
  await watched;
  assert.ok(answers.every((r) => r.status === 403 || r.status === 503), answers.map((r) => r.status).join());
  assert.ok(answers.some((r) => r.status === 403));
  assert.equal(most, 1, 'processes that hash at the same time');
  assert.ok(checks > 12, `${checks} checks`);
  const ratio = (spent() - before) / ((performance.now() - began) / 1000);
  assert.ok(ratio <= 1.3, `${ratio} processors`);
});

test('who can\'t be hashed soon is told so in words and loses no try; a process that is killed leaves its place', async () => {
  const first = signIn(50).catch(() => null);
  const [pid] = await eventually(() => { const found = hashing(); return found.length && found; }, 'a process that hashes');
  process.kill(pid, 'SIGSTOP');
  try {
    const tries = web.node.sql('SELECT sum(failures) FROM tollgate.signin_failures'), r = await signIn(51);
    assert.equal(r.status, 503);
    assert.ok(Number(r.headers['retry-after']) >= 1);
    assert.match(r.body, /Too many people sign in at the moment/);
    assert.match(r.body, /<html/);
    assert.equal(web.node.sql('SELECT sum(failures) FROM tollgate.signin_failures'), tries);
    assert.equal((await check()).status, 200);
  } finally {
    process.kill(pid, 'SIGKILL');
  }
  await first;
  assert.equal((await signIn(52)).status, 403);
});
