// tollgate spool rejected: events that could not be stored: which, why, and once more.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { makeNode } from '../lib/node.mjs';
import { eventually } from '../lib/stack.mjs';

let node, collector;
before(async () => { node = makeNode(); collector = await node.collector(); });
after(() => node.remove());

const run = (...args) => node.tollgate(['--json', 'spool', 'rejected', ...args]);
const json = (...args) => { const r = run(...args); assert.equal(r.status, 0, r.err); return JSON.parse(r.out); };
const count = (table, where = 'true') => Number(node.sql(`SELECT count(*) FROM ${table} WHERE ${where}`));
const stored = (tenant) => count('public.usage_tracking', `tenant_id = '${tenant}'`);

test('events of tenants that are not there are listed, by tenant, reason and time', async () => {
  node.write(30, 3); // f0, f1 and f2 in turn; f0 alone is a tenant
  await eventually(() => stored('f0') === 10 && count('tollgate.usage_rejected') === 20, 'the batch', 15);
  const list = json('list');
  assert.equal(list.length, 20);
  assert.deepEqual([...new Set(list.map((r) => `${r.tenant_id} ${r.metric} ${r.reason}`))].sort(), ['f1 api_call tenant_unknown', 'f2 api_call tenant_unknown']);
  assert.equal(json('list', '--tenant', 'f2').length, 10);
  assert.equal(json('list', '--reason', 'metadata').length, 0);
  assert.equal(json('list', '--since', new Date(Date.now() + 60000).toISOString().replace(/\.\d+/, '')).length, 0);
  assert.equal(json('list', '--most', '3').length, 3);
  assert.match(node.tollgate(['spool', 'rejected', 'list', '--tenant', 'f1']).out, /f1 +api_call +tenant_unknown/);
});

test('explain says the reason in words, what is in the event and what to do', () => {
  const [first] = json('list', '--tenant', 'f1');
  const e = json('explain', String(first.id));
  assert.equal(e.reason, 'tenant_unknown');
  assert.match(e.meaning, /no tenant has this id/);
  assert.match(e.advice, /replay/);
  assert.equal(e.tenant_id, 'f1');
  assert.equal(e.metric, 'api_call');
  assert.equal(e.segment, first.segment);
  assert.ok(JSON.parse(e.metadata));
  assert.equal(run('explain', '999999').status, 1);
  assert.equal(run('explain', 'x').status, 2);
});

test('a dry run changes nothing and says what would come of it', () => {
  node.sql("INSERT INTO public.tenants (id, name) VALUES ('f1', 'F'); INSERT INTO public.tenant_subscriptions (tenant_id, tier_id) VALUES ('f1', 'free') ON CONFLICT DO NOTHING");
  assert.deepEqual(json('replay', '--all', '--dry-run'), { dry_run: true, stored: 10, duplicates: 0, rejected: 10, unreadable: 0 });
  assert.equal(stored('f1'), 0);
  assert.equal(count('tollgate.usage_rejected'), 20);
});

test('what can be stored is stored once, what can\'t stays as it is', () => {
  const ids = json('list', '--tenant', 'f2').map((r) => r.id);
  const [one, two] = json('list', '--tenant', 'f1');
  assert.deepEqual(json('replay', String(one.id), String(two.id)), { dry_run: false, stored: 2, duplicates: 0, rejected: 0, unreadable: 0 });
  assert.equal(stored('f1'), 2);
  assert.deepEqual(json('replay', String(one.id)), { dry_run: false, stored: 0, duplicates: 0, rejected: 0, unreadable: 0 });
  assert.deepEqual(json('replay', '--reason', 'tenant_unknown'), { dry_run: false, stored: 8, duplicates: 0, rejected: 10, unreadable: 0 });
  assert.equal(stored('f1'), 10);
  assert.deepEqual(json('list').map((r) => r.id), ids, 'the same rows');
  const r = node.tollgate(['reconcile', '--tenant', 'f1']);
  assert.equal(r.status, 0, r.out);
  assert.equal(run('replay').status, 2, 'which?');
});

test('two that replay at once store nothing twice', async () => {
  node.sql("INSERT INTO public.tenants (id, name) VALUES ('f2', 'F'); INSERT INTO public.tenant_subscriptions (tenant_id, tier_id) VALUES ('f2', 'free') ON CONFLICT DO NOTHING");
  const both = [1, 2, 3].map(() => node.spawn(new URL('../../build/release/tollgate', import.meta.url).pathname, ['--config', node.file, 'spool', 'rejected', 'replay', '--all']));
  await Promise.all(both.map((c) => new Promise((done) => c.once('exit', done))));
  assert.equal(stored('f2'), 10);
  assert.equal(count('tollgate.usage_rejected'), 0);
});

// A constraint of the host's (class 23) concerns one event; what a trigger of the host's says for a while (P0001, 0A000) concerns none.
test('what a constraint refused comes in when the constraint is gone, by its id once', async () => {
  node.sql('ALTER TABLE public.usage_tracking ADD CONSTRAINT small CHECK (metric_value < 1) NOT VALID');
  node.write(4);
  await eventually(() => count('tollgate.usage_rejected', "reason = 'refused'") === 4, 'them to be rejected', 15);
  assert.deepEqual(json('replay', '--all'), { dry_run: false, stored: 0, duplicates: 0, rejected: 4, unreadable: 0 });
  node.sql('ALTER TABLE public.usage_tracking DROP CONSTRAINT small');
  const before = stored('f0');
  assert.deepEqual(json('replay', '--reason', 'refused'), { dry_run: false, stored: 4, duplicates: 0, rejected: 0, unreadable: 0 });
  assert.equal(stored('f0'), before + 4);
  assert.equal(collector.exitCode, null);
});
