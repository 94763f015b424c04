// busy.mjs: work for each of the collector's workers while something else goes wrong: keys and plans that change, a tenant under repair,
// long walks through storage, and patients inserted at an enforced limit. What was acknowledged is compared with what holds afterwards.
import { execFile } from 'node:child_process';
import { linkSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { compareTable } from '../lib/limit_table.mjs';
import { eventually, sleep } from '../lib/stack.mjs';

const MOST = 60; // patients that the enforced plan allows
const FILES = 20000;

// The environment that `make run` needs for it: storage is measured all the time.
export const busyEnv = { TOLLGATE_STORAGE_INTERVAL_S: '1' };

const setting = (stack, name) => readFileSync(join(stack.state, 'tollgate.conf'), 'utf8').match(new RegExp(`^${name} = (.*)$`, 'm'))[1];

// A folder whose walk lasts: links to one file.
function makeTree(dir) {
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, 'file'), 'x');
  for (let i = 0; i < FILES; i++) linkSync(join(dir, 'file'), join(dir, String(i)));
}

export async function startWork(stack, random) {
  const run = promisify(execFile);
  const env = { ...process.env, ...stack.demo, PGCONNECT_TIMEOUT: '5' };
  const psql = (sql, user = 'postgres') => run('psql', ['-XqAt', '-v', 'ON_ERROR_STOP=1', '-v', 'VERBOSITY=verbose', '-U', user, '-c', sql], { env, timeout: 60000 });
  const tollgate = (...args) => run('/bin/sh', ['-c', `exec ${stack.TOLLGATE} "$@"`, 'tollgate', ...args], { timeout: 60000 });
  const done = { keys: 0, revoked: 0, plans: 0, repairs: 0, inserted: 0, refused: 0, failed: 0 };
  const keys = [], revoked = [], patients = new Map(); // number → 'there', 'gone', 'unknown'
  let working = true, calls = 0;

  stack.superuser(`CREATE SCHEMA busy_enforced AUTHORIZATION tollgate_owner; SET ROLE tollgate_owner;
    CREATE TABLE busy_enforced.patients (id int PRIMARY KEY, status text NOT NULL DEFAULT 'active')`);
  for (const name of ['keys', 'limited', 'repaired', 'enforced']) stack.tollgate('tenant', 'create', `busy_${name}`, '--name', name, '--tier', 'enterprise');
  stack.superuser(`SELECT tollgate.set_subscription('busy_enforced', NULL, '{"max_patients": ${MOST}}')`);
  stack.tollgate('enforce', 'busy_enforced');
  makeTree(join(setting(stack, 'dir'), 'busy_keys'));
  const newKey = async (tenant) => JSON.parse((await tollgate('key', 'create', 'busy', '--tenant', tenant, '--scopes', 'call,read', '--json')).stdout);
  const call = (key, path = '/api/demo/busy') => fetch(`${stack.URL}${path}`, { headers: { authorization: `Bearer ${key}`, connection: 'close' },
    signal: AbortSignal.timeout(20000) });
  const limited = (await newKey('busy_limited')).key, repaired = (await newKey('busy_repaired')).key;

  // Each goes on when PostgreSQL or the web server was killed: what became of a change that got no answer is not known.
  const loop = async (pauseMs, step) => {
    while (working) {
      try { await step(); } catch { done.failed++; }
      await sleep(pauseMs);
    }
  };
  const changeKeys = async () => {
    keys.push(await newKey('busy_keys'));
    done.keys++;
    if (keys.length < 5) return;
    const [key] = keys.splice(Math.floor(random() * keys.length), 1);
    await tollgate('key', 'remove', key.id, '--yes');
    revoked.push(key);
    done.revoked++;
  };
  const changePlan = async () => {
    await psql(`SELECT tollgate.set_subscription('busy_limited', NULL, '{"api_calls_per_day": ${1 + Math.floor(random() * 1e6)}}')`);
    done.plans++;
  };
  const callRepaired = async () => { if ((await call(repaired)).status === 200) calls++; };
  const repair = async () => {
    await psql(`UPDATE tollgate.usage_hourly SET total = total + 1 WHERE tenant_id = 'busy_repaired'; SELECT tollgate.recount('busy_repaired')`);
    await tollgate('reconcile', '--repair', '--tenant', 'busy_repaired').catch((e) => { if (e.code !== 1) throw e; }); // 1: it found something
    done.repairs++;
  };
  const insert = async () => {
    const n = patients.size;
    patients.set(n, 'unknown');
    try {
      await psql(`INSERT INTO busy_enforced.patients VALUES (${n})`, 'tollgate_owner');
      patients.set(n, 'there');
      done.inserted++;
    } catch (e) {
      if (!/TG429/.test(e.stderr)) throw e;
      patients.set(n, 'gone');
      done.refused++;
      const some = [...patients].filter(([, is]) => is === 'there').map(([id]) => id).slice(0, 10);
      for (const id of some) patients.set(id, 'unknown');
      await psql(`DELETE FROM busy_enforced.patients WHERE id IN (${some.join() || -1})`, 'tollgate_owner');
      for (const id of some) patients.set(id, 'gone');
    }
  };
  const finished = Promise.all([loop(100, changeKeys), loop(100, changePlan), loop(50, callRepaired), loop(300, repair), loop(20, insert), loop(20, insert),
    loop(20, insert)]);

  const ids = () => stack.sql('SELECT id FROM busy_enforced.patients').map((r) => r.id);
  async function checkPatients(t) {
    const there = new Set(ids()), is = (what) => [...patients].filter(([, i]) => i === what).map(([n]) => n);
    const lost = is('there').filter((n) => !there.has(n)), back = is('gone').filter((n) => there.has(n));
    t.check(lost.length === 0 && back.length === 0 && there.size <= MOST, 'patients are there as PostgreSQL acknowledged them, no more than the plan allows',
      `${there.size} of at most ${MOST}, ${lost.length} lost, ${back.length} that were refused or deleted, ${is('unknown').length} without an answer`);
    const [{ n: counted }] = stack.sql("SELECT patients_count AS n FROM usage_summary WHERE tenant_id = 'busy_enforced' ORDER BY period_start DESC LIMIT 1");
    t.check(Number(counted) === there.size, 'they are counted', `${counted} of ${there.size}`);
    for (let n = patients.size; n < patients.size + 2 * MOST; n++) await psql(`INSERT INTO busy_enforced.patients VALUES (${n})`, 'tollgate_owner').catch(() => {});
    t.check(ids().length === MOST, 'and exactly as many go in as the plan has left', ids().length);
  }
  async function checkKeys(t) {
    const statuses = async (list) => [...new Set(await Promise.all(list.map(async (k) => (await call(k.key)).status)))].join();
    t.check(await statuses(revoked.slice(-500)) === '401', 'a revoked key is refused', `${revoked.length} keys`);
    t.check(await statuses(keys) === '200', 'and others are not', `${keys.length} keys`);
    const [{ n: plan }] = stack.sql("SELECT (usage_limits->>'api_calls_per_day')::int AS n FROM tenant_subscriptions WHERE tenant_id = 'busy_limited'");
    const { limit } = await (await call(limited, '/api/usage/tenant/busy_limited/check?metric=api_call&amount=0')).json();
    t.check(limit === plan, 'the limit that holds is the database\'s', `${limit}, ${plan}`);
  }
  return {
    done,
    async stop() { working = false; await finished; },
    // Everything is up again, and what was sent is stored.
    async check(t) {
      console.log(`work: ${JSON.stringify(done)}`);
      await repair();
      await eventually(() => stack.sql("SELECT count(*)::int AS n FROM usage_tracking WHERE tenant_id = 'busy_repaired'")[0].n >= calls, 'the calls of the tenant under repair', 30);
      await eventually(() => compareTable(setting(stack, 'run_dir'), stack.superuser).wrong.length === 0, 'the counts', 60).catch(() => {});
      const { matters, wrong } = compareTable(setting(stack, 'run_dir'), stack.superuser);
      t.check(wrong.length === 0 && matters.some((f) => f[0] === 'busy_repaired' && f[4] !== '0'), 'the limit table counts what the database does',
        `${matters.length} windows, ${wrong.length} wrong ${JSON.stringify(wrong.slice(0, 5))}`);
      await checkKeys(t);
      await checkPatients(t);
    },
  };
}
