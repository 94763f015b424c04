// The status page's samples: the first at once, then one a minute, right across a collector and a limit table made anew.
import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { makeNode } from '../lib/node.mjs';
import { eventually } from '../lib/stack.mjs';

let node;
before(() => { node = makeNode(); });
after(() => node.remove());

const ask = (what, more = '') => node.sql(`SELECT ${what} FROM tollgate.node_samples ${more}`);
const newest = 'ORDER BY taken_at DESC LIMIT 1';

test('a sample is there as soon as the limit table is, and another within a minute', async () => {
  await node.collector();
  await eventually(() => ask('count(*)') === '1', 'the first sample', 5);
  assert.equal(ask('admitted + passed + refused, rows, cardinality(latency)'), '0|0|16');
  node.write(25);
  await eventually(() => ask('rows', newest) === '25', 'the next sample', 70);
  assert.equal(node.sql("SELECT sum(rows) FROM tollgate.operator_node_steps('15 minutes', 96, 10)"), '25');
});

test('rows of a collector that was started anew are added, and another limit table is told', async () => {
  const before = ask('table_id', newest), pid = node.status().pid;
  process.kill(pid, 'SIGTERM');
  await eventually(() => { try { process.kill(pid, 0); return false; } catch { return true; } }, 'the collector to end', 10);
  rmSync(join(node.run, 'limits.4'));
  await node.collector();
  node.write(5);
  await eventually(() => ask('rows', newest) === '5', 'the next sample', 70);
  assert.notEqual(ask('table_id', newest), before);
  assert.equal(node.sql("SELECT sum(rows) FROM tollgate.operator_node_steps('15 minutes', 96, 10)"), '30');
});
