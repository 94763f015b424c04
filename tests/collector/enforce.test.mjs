// Enforced gauges while the collector looks at their shares: nobody waits for it, and it waits for nobody but a plan's change.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { after, before, test } from 'node:test';
import { makeNode } from '../lib/node.mjs';
import { eventually, sleep } from '../lib/stack.mjs';

let node;
const sessions = [];
before(async () => {
  node = makeNode();
  node.sql(`CREATE SCHEMA f0 AUTHORIZATION tollgate_owner; SET ROLE tollgate_owner;
    CREATE TABLE f0.patients (id serial PRIMARY KEY, status text NOT NULL DEFAULT 'active');
    SELECT tollgate.set_subscription('f0', NULL, '{"max_patients": 1000}'), tollgate.enforce('f0', true)`);
  await node.collector();
});
after(async () => {
  for (const psql of sessions) psql.kill('SIGKILL');
  await node.remove();
});

// A psql that takes one statement after the other; says what each answered.
function session() {
  const psql = spawn('psql', ['-h', node.pg, '-U', 'postgres', '-d', 'tollgate', '-XAtq'], { stdio: 'pipe' });
  sessions.push(psql);
  let out = '', said = 0;
  psql.stdout.on('data', (text) => { out += text; });
  psql.stderr.on('data', (text) => { out += text; });
  return {
    async ask(text) {
      const mark = `said ${++said}\n`, from = out.length;
      psql.stdin.write(`${text};\n\\echo said ${said}\n`);
      await eventually(() => out.slice(from).includes(mark), () => `an answer to: ${text}; so far: ${out.slice(from)}`, 5);
      return out.slice(from).replace(mark, '').trim();
    },
  };
}
const insert = 'INSERT INTO f0.patients DEFAULT VALUES';
const waits = () => node.sql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'tollgate_collector' AND wait_event_type = 'Lock'") === '1';
const counted = (n) => eventually(() => node.sql("SELECT patients_count FROM usage_summary WHERE tenant_id = 'f0' ORDER BY period_start DESC LIMIT 1") === String(n),
  `${n} patients in the summary`, 5);

test('sessions go on at other shares while the collector, which holds theirs, waits for a lock', async () => {
  const host = session(), holder = session();
  await host.ask(insert);
  await counted(1);
  await holder.ask('BEGIN; LOCK TABLE usage_tracking IN ACCESS EXCLUSIVE MODE');
  await host.ask(insert);
  await eventually(waits, 'the collector to wait', 5);
  assert.notEqual(node.sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 AND granted"), '0', 'it holds a share');
  const began = Date.now();
  for (let i = 0; i < 20; i++) assert.equal(await host.ask(insert), '');
  assert.ok(Date.now() - began < 2000, `20 inserts took ${Date.now() - began} ms`);
  assert.ok(waits(), 'all that while');
  await holder.ask('COMMIT');
  await counted(22);
});

test('a plan that changes in a transaction that the collector waits for is changed', async () => {
  const host = session(), plan = session();
  await plan.ask("BEGIN; UPDATE tenant_subscriptions SET current_usage = current_usage WHERE tenant_id = 'f0'");
  await host.ask(insert);
  await eventually(waits, 'the collector to wait', 5);
  await sleep(1500); // PostgreSQL looks for a deadlock when a wait is a second old, and ends who looks
  assert.equal(await plan.ask("SELECT 'changed' FROM (SELECT tollgate.set_subscription('f0', NULL, '{\"max_patients\": 24}')) s"), 'changed');
  assert.equal(await plan.ask('COMMIT'), '');
  await counted(23);
  assert.equal(await host.ask(insert), '');
  assert.match(await host.ask(insert), /the plan allows 24 patients/);
  await counted(24);
});
