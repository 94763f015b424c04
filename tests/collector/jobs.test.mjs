// Periodic work: a job that fails and one that takes too long are told by name, and hold up no other.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { makeNode } from '../lib/node.mjs';
import { eventually, sleep } from '../lib/stack.mjs';

let node;
before(async () => {
  node = makeNode('[storage]\ninterval_s = 10\n');
  await node.collector();
});
after(() => node.remove());

const job = (name) => node.status().jobs.find((j) => j.name === name);
const worker = (name) => node.status().workers.find((w) => w.name === name);
const done = (part) => Date.parse(part.last_done);
const doctor = (part) => JSON.parse(node.tollgate(['doctor', '--json']).out).filter((l) => l.part === part)[0];

test('every worker and every job says when it was last at work', async () => {
  await eventually(() => node.status().jobs.every((j) => j.last_done), () => `all jobs to be done once: ${JSON.stringify(node.status().jobs.filter((j) => !j.last_done))}`, 30);
  assert.deepEqual(node.status().workers.map((w) => w.name), ['import', 'replicate', 'jobs']);
  for (const part of [...node.status().workers, ...node.status().jobs]) assert.equal(part.failing, false, JSON.stringify(part));
  for (const name of ['import', 'replicate', 'jobs']) assert.match(doctor(`worker ${name}`).text, /was at work \d s ago/);
  assert.match(doctor('jobs').text, /and none fails/);
});

test('a job that lacks a right fails by its name; the others, the import and the limit table go on, and it works again when it has it', async () => {
  node.sql('REVOKE EXECUTE ON FUNCTION tollgate.expire_limits() FROM tollgate_collector');
  await eventually(() => job('overrides').failing, 'it to fail', 10);
  assert.match(job('overrides').last_error, /permission denied for function expire_limits/);
  assert.equal(doctor('job overrides').state, 'wrong');
  assert.match(doctor('job overrides').text, /fails since .*permission denied for/);
  assert.match(readFileSync(join(node.dir, 'tollgate-collector.log'), 'utf8'), /overrides: permission denied/);
  const { failed } = job('overrides');
  await eventually(() => job('overrides').failed >= failed + 2, 'it to be tried again by its own interval', 10);
  const since = Date.now();
  await eventually(() => done(job('report')) > since && ['import', 'replicate', 'jobs'].every((name) => done(worker(name)) > since), 'the others to go on', 10);
  assert.deepEqual(node.status().jobs.filter((j) => j.failing).map((j) => j.name), ['overrides']);
  assert.equal(node.status().database, 'connected');
  node.sql('GRANT EXECUTE ON FUNCTION tollgate.expire_limits() TO tollgate_collector');
  await eventually(() => !job('overrides').failing, 'it to work again', 10);
});

test('a job that waits for a lock is cut off at its deadline and told; the others wait for it no longer than that', async () => {
  const holder = node.session();
  await holder.ask('BEGIN; LOCK TABLE tollgate.tenant_settings IN ACCESS EXCLUSIVE MODE'); // measuring reads it
  await eventually(() => job('storage').overran > 0, () => `it to overrun: ${JSON.stringify(job('storage'))}`, 30);
  assert.match(job('storage').last_error, /took longer than the 5\.0 s that it may/);
  assert.match(doctor('job storage').text, /took longer than/);
  let longest = 0;
  for (const until = Date.now() + 8000; Date.now() < until; await sleep(100)) longest = Math.max(longest, Date.now() - done(job('report')));
  assert.ok(longest < 10000, `the report, due every 2 s, was ${longest} ms old`);
  await holder.ask('COMMIT');
  await eventually(() => !job('storage').failing, 'it to work again', 40);
});
