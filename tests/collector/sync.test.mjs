// The spool's interval is kept whatever PostgreSQL does.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { makeNode } from '../lib/node.mjs';
import { eventually, sleep } from '../lib/stack.mjs';

let node;
before(() => { node = makeNode('[spool]\nsync_ms = 200\n'); });
after(() => node.remove());

const segments = () => readdirSync(node.spool).filter((name) => name.endsWith('.seg'));
// A segment that its writer left has this mode once it is synced.
const synced = (name) => (statSync(join(node.spool, name)).mode & 0o777) === 0o400;

test('a batch that waits 5 s for a lock in PostgreSQL delays no sync', async () => {
  const collector = await node.collector();
  const holder = spawn('psql', ['-h', node.pg, '-U', 'postgres', '-d', 'tollgate', '-Xqc',
    'BEGIN; LOCK TABLE usage_tracking IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(5); COMMIT'], { stdio: 'ignore' });
  const released = new Promise((done) => holder.once('exit', done));
  await sleep(300);
  node.write(10);
  await eventually(() => node.waits(), 'the batch to wait', 3);
  const slowest = [];
  let written = 10;
  while (holder.exitCode === null) {
    const known = new Set(segments());
    node.write(1);
    written++;
    const made = segments().find((name) => !known.has(name)), began = Date.now();
    await Promise.race([released, eventually(() => synced(made), 'the sync', 4)]);
    if (holder.exitCode === null) slowest.push(Date.now() - began);
  }
  assert.ok(slowest.length >= 5, `only ${slowest.length} syncs while the batch waited`);
  assert.ok(Math.max(...slowest) < 1000, `the slowest sync took ${Math.max(...slowest)} ms`);
  await eventually(() => node.sql('SELECT count(*) FROM usage_tracking') === String(written), 'the events to be stored', 10);
  await sleep(700);
  assert.ok(node.status().last_sync_age < 1);
  await node.stop(collector);
  assert.equal(collector.exitCode, 0);
});

test('with sync=never nothing is synced, and the collector says so', async () => {
  node.configure('[spool]\nsync = never\n');
  const collector = await node.collector();
  assert.equal(node.status().last_sync_age, null);
  await node.stop(collector);
});
