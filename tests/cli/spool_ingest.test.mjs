// tollgate spool ingest: a dead node's journal into PostgreSQL, each event once, whichever nodes' segments lie in the folder.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { makeNode } from '../lib/node.mjs';
import { root } from '../lib/stack.mjs';

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
