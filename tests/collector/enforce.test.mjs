// Enforced gauges while the collector looks at their shares: nobody waits for it, and it waits for nobody but a plan's change.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { makeNode } from '../lib/node.mjs';
import { eventually, sleep } from '../lib/stack.mjs';

let node;
before(async () => {
  node = makeNode();
  node.sql(`CREATE SCHEMA f0 AUTHORIZATION tollgate_owner; SET ROLE tollgate_owner;
    CREATE TABLE f0.patients (id serial PRIMARY KEY, status text NOT NULL DEFAULT 'active');
    SELECT tollgate.set_subscription('f0', NULL, '{"max_patients": 1000}'), tollgate.enforce('f0', true)`);
  await node.collector();
});
after(() => node.remove());

const insert = 'INSERT INTO f0.patients DEFAULT VALUES';
const counted = (n) => eventually(() => node.sql("SELECT patients_count FROM usage_summary WHERE tenant_id = 'f0' ORDER BY period_start DESC LIMIT 1") === String(n),
  `${n} patients in the summary`, 5);

test('sessions go on at other shares while the collector, which holds theirs, waits for a lock', async () => {
  const host = node.session(), holder = node.session();
  await host.ask(insert);
  await counted(1);
  await holder.ask('BEGIN; LOCK TABLE usage_tracking IN ACCESS EXCLUSIVE MODE');
  await host.ask(insert);
  await eventually(() => node.waits(), 'the collector to wait', 5);
  assert.notEqual(node.sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 AND granted"), '0', 'it holds a share');
  const began = Date.now();
  for (let i = 0; i < 20; i++) assert.equal(await host.ask(insert), '');
  assert.ok(Date.now() - began < 2000, `20 inserts took ${Date.now() - began} ms`);
  assert.ok(node.waits(), 'all that while');
  await holder.ask('COMMIT');
  await counted(22);
});

test('a plan that changes in a transaction that the collector waits for is changed', async () => {
  const host = node.session(), plan = node.session();
  await plan.ask("BEGIN; UPDATE tenant_subscriptions SET current_usage = current_usage WHERE tenant_id = 'f0'");
  await host.ask(insert);
  await eventually(() => node.waits(), 'the collector to wait', 5);
  await sleep(1500); // PostgreSQL looks for a deadlock when a wait is a second old, and ends who looks
  assert.equal(await plan.ask("SELECT 'changed' FROM (SELECT tollgate.set_subscription('f0', NULL, '{\"max_patients\": 24}')) s"), 'changed');
  assert.equal(await plan.ask('COMMIT'), '');
  await counted(23);
  assert.equal(await host.ask(insert), '');
  assert.match(await host.ask(insert), /the plan allows 24 patients/);
  await counted(24);
});
