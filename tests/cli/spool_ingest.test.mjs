// tollgate spool ingest: a dead node's journal into PostgreSQL, each event once, whichever nodes' segments lie in the folder.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { makeNode } from '../lib/node.mjs';
import { eventually, root } from '../lib/stack.mjs';

let node;
before(() => { node = makeNode(); });
after(() => node.remove());

const ingest = () => { const r = node.tollgate(['--json', 'spool', 'ingest', node.spool]); return { status: r.status, err: r.err, ...JSON.parse(r.out || '{}') }; };
const write = (dir, rows) => execFileSync(join(root, 'build/release/tools/spool_write'), [dir, String(rows), '1', '1'], { stdio: 'ignore' });

test('segments of two nodes in one folder are stored each with its own node, once', async () => {
  await node.stop(await node.collector()); // makes the node
  const other = join(node.dir, 'other');
  mkdirSync(other, { mode: 0o700 });
  writeFileSync(join(other, 'node'), readFileSync(join(node.spool, 'node'), 'utf8').replace(/node [0-9a-f]{8}/, 'node 00000000'));
  node.write(2500); // more than a batch
  write(other, 40);
  for (const name of readdirSync(other).filter((n) => n.endsWith('.seg'))) cpSync(join(other, name), join(node.spool, name));
  const files = readdirSync(node.spool).sort();

  const first = ingest();
  assert.deepEqual({ ...first, err: '' }, { status: 0, err: '', segments: 2, stored: 2540, duplicates: 0, rejected: 0, damaged: 0, failed: 0 });
  assert.equal(node.sql('SELECT count(*) FROM usage_tracking'), '2540');
  assert.deepEqual(readdirSync(node.spool).sort(), files); // its own collector removes them
  const again = ingest();
  assert.deepEqual([again.status, again.stored, again.failed], [0, 0, 0]);
});

test('without PostgreSQL it says which segments are not stored, and fails', () => {
  node.write(3);
  const r = node.tollgate(['--json', 'spool', 'ingest', node.spool], { TOLLGATE_DATABASE_OWNER: `host=${node.dir} dbname=tollgate` });
  assert.equal(r.status, 1);
  assert.equal(JSON.parse(r.out).failed, 3); // nothing is known of the other two either
  assert.match(r.err, /segment [0-9a-f]{16} is not stored to its end: /);
  assert.equal(ingest().stored, 3);
});

test('what a dead node stored and kept is stored again when the database went back since, once; what the database holds is not read', async () => {
  const dead = makeNode('[spool]\nsegment_age_s = 1\n');
  try {
    const rows = () => Number(dead.sql('SELECT count(*) FROM public.usage_tracking'));
    const kept = () => { try { return readdirSync(join(dead.spool, 'kept')).length; } catch { return 0; } };
    const store = async (segments) => {
      const collector = await dead.collector(), before = rows(), there = kept();
      for (let i = 0; i < segments; i++) dead.write(20);
      await eventually(() => rows() === before + 20 * segments && kept() === there + segments, () => `${rows()} stored, ${kept()} kept`, 20);
      await eventually(() => dead.sql('SELECT count(*) FROM tollgate.collector_progress') === '0', 'all to be settled', 10);
      await dead.stop(collector, 'SIGKILL');
    };
    const take = () => JSON.parse(dead.tollgate(['--json', 'spool', 'ingest', dead.spool]).out);
    await store(2);
    execFileSync('pg_dump', ['-h', dead.pg, '-U', 'postgres', '-Fc', '-f', join(dead.dir, 'dump'), 'tollgate']);
    await store(3);
    assert.deepEqual([take().stored, rows()], [0, 100]);
    execFileSync('pg_restore', ['-h', dead.pg, '-U', 'postgres', '-d', 'postgres', '--clean', '--create', '--exit-on-error', join(dead.dir, 'dump')]);
    assert.equal(rows(), 40);
    assert.deepEqual([take(), rows()], [{ segments: 5, stored: 60, duplicates: 0, rejected: 0, damaged: 0, failed: 0 }, 100]);
    assert.deepEqual([take().stored, rows(), kept()], [0, 100, 5]); // the files stay as they are
    assert.equal(dead.tollgate(['reconcile']).status, 0);
  } finally { await dead.remove(); }
});
