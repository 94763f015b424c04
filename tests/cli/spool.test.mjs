// tollgate spool: what a node's journal holds, how much of it is stored, and what is damaged.
import assert from 'node:assert/strict';
import { cpSync, openSync, readdirSync, statSync, writeSync, closeSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { makeNode } from '../lib/node.mjs';
import { eventually } from '../lib/stack.mjs';

let node;
before(() => { node = makeNode(); });
after(() => node.remove());

const run = (...args) => node.tollgate(['--json', 'spool', ...args]);
const rows = (...args) => { const r = run(...args); assert.equal(r.status, 0, r.err); return JSON.parse(r.out); };
const segments = () => readdirSync(node.spool).filter((name) => name.endsWith('.seg')).sort();

test('list counts each segment\'s events and says from when to when, and that nothing is stored yet', async () => {
  const began = Date.now();
  await node.stop(await node.collector()); // makes the node
  node.write(7);
  node.write(3);
  const list = rows('list');
  assert.deepEqual(list.map((s) => s.events), [7, 3]);
  for (const s of list) {
    assert.equal(s.alive, false);
    assert.equal(s.writer, 'gate');
    assert.equal(s.committed, 0);
    assert.equal(s.waiting, s.bytes - 64);
    assert.ok(Date.parse(s.first) >= began - 1000 && Date.parse(s.last) >= Date.parse(s.first) && Date.parse(s.last) <= Date.now());
  }
  assert.equal(rows('list', '--segment', list[1].segment).length, 1);
  assert.equal(rows('list', '--writer', 'web').length, 0);
  assert.equal(rows('list', '--alive').length, 0);
  assert.equal(rows('list', '--dead').length, 2);
});

test('without PostgreSQL list goes on and says what it can\'t show', () => {
  const r = node.tollgate(['--json', 'spool', 'list'], { TOLLGATE_DATABASE_OWNER: `host=${node.dir} dbname=tollgate` });
  assert.equal(r.status, 0);
  assert.match(r.err, /database is not available.*how much of each segment is stored is not shown/s);
  assert.deepEqual(JSON.parse(r.out).map((s) => [s.events, s.committed]), [[7, null], [3, null]]);
});

test('verify counts records, and damage makes its exit status 1', () => {
  assert.deepEqual(rows('verify').map((s) => [s.events, s.damaged_places, s.state]), [[7, 0, 'sound'], [3, 0, 'sound']]);
  assert.match(node.tollgate(['spool', 'verify']).out, /^10 records in 2 segments, 0 damaged places of 0 bytes, 0 bytes unfinished$/m);
  const fd = openSync(join(node.spool, segments()[0]), 'r+');
  writeSync(fd, 'XXXX', 64 + 100); // within the first record
  closeSync(fd);
  const r = run('verify');
  assert.equal(r.status, 1);
  assert.deepEqual(JSON.parse(r.out).map((s) => [s.events, s.damaged_places]), [[6, 1], [3, 0]]);
  assert.equal(run('verify', '--segment', segments()[1].slice(0, 16)).status, 0);
});

test('show --damaged lists a place of the file, also after the collector recorded it and removed the segment', async () => {
  const list = rows('show', '--damaged');
  assert.equal(list.length, 1);
  assert.equal(list[0].position, 64);
  assert.ok(list[0].bytes > 100);
  assert.equal(list[0].in_file, true);
  assert.equal(list[0].found, null);
  cpSync(join(node.spool, segments()[0]), join(node.dir, 'kept.seg'));
  const collector = await node.collector();
  await eventually(() => segments().length === 0, 'the segments to be stored and removed');
  await node.stop(collector);
  const recorded = rows('show', '--damaged');
  assert.deepEqual(recorded.map((d) => [d.segment, d.position, d.bytes, d.in_file, d.seen]),
    [[list[0].segment, 64, list[0].bytes, false, null]]);
  assert.match(recorded[0].found, /^\d{4}-\d\d-\d\dT/);
  assert.equal(node.tollgate(['doctor', '--seen']).status, 0);
  assert.match(rows('show', '--damaged')[0].seen, /^\d{4}-/);
  assert.equal(node.sql('SELECT count(*) FROM usage_tracking'), '9');
});

test('list tells how far a segment is stored', async () => {
  cpSync(join(node.dir, 'kept.seg'), join(node.spool, `${node.tollgate(['--json', 'spool', 'show', '--damaged']).out.match(/"segment":"(\w+)"/)[1]}.seg`));
  const [back] = rows('list');
  assert.equal(back.committed, statSync(join(node.spool, segments()[0])).size);
  assert.equal(back.waiting, 0);
});

test('wrong filters are usage errors that say what is right', () => {
  for (const [args, says] of [
    [['list', '--segment', 'xyz'], /hexadecimal number/],
    [['list', '--writer', 'mail'], /gate, web or collector/],
    [['show', '--damaged', '--tenant', 'f0'], /lists places, not events/],
    [['show', '--from', 'yesterday'], /RFC 3339/],
  ]) {
    const r = node.tollgate(['spool', ...args]);
    assert.equal(r.status, 2, args.join(' '));
    assert.match(r.err, says);
  }
});
