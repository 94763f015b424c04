// What does not fit into the limit table is refused where it is created, and never costs the table that works.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { makeNode } from '../lib/node.mjs';
import { eventually, root } from '../lib/stack.mjs';

let node;
before(() => { node = makeNode(); });
after(() => node.remove());

const held = () => new Set(execFileSync(join(root, 'build/release/tools/table_show'), [node.run], { encoding: 'utf8' })
  .trim().split('\n').map((line) => line.split('\t')[1]));
const create = (name) => node.tollgate(['metric', 'create', name, '--kind', 'counter', '--unit', 'x', '--label', name, '--limit', `${name}_per_day`, '--window', 'day']);

const count = (table) => Number(node.sql(`SELECT count(*) FROM tollgate.${table}`));
const refusal = /there are (\d+) metrics and (\d+) limits, and the limit table has room for (\d+) and (\d+); remove one/;

test('the 65th metric is refused in a clear sentence, and those before it are followed', async () => {
  const collector = await node.collector();
  let made = 0, refused;
  while (!refused && made < 200) {
    const r = create(`m${made}`);
    if (r.status === 0) made++;
    else refused = r;
  }
  assert.match(refused.err, refusal);
  assert.deepEqual(refused.err.match(refusal).slice(1).map(Number), [64, count('usage_limit_keys'), 64, 128]);
  assert.equal(count('usage_metrics'), 64);
  await eventually(() => held().has(`m${made - 1}_per_day`), 'the last limit in the table', 10);
  await node.stop(collector);
});

test('the 129th limit is refused in a clear sentence, and the first 128 hold', async () => {
  const collector = await node.collector();
  const removed = node.tollgate(['metric', 'remove', 'm0', '--yes']);
  assert.equal(removed.status, 0, removed.err);
  // A metric may have several limits; the command line makes one with it.
  node.sql(`INSERT INTO tollgate.usage_limit_keys (limit_key, metric_type, limit_window, label)
    SELECT w || '_of_' || m.metric_type, m.metric_type, w, 'More' FROM tollgate.usage_metrics m, unnest(ARRAY['period', 'minute']) w WHERE m.metric_type LIKE 'm_%'
    ORDER BY 1 DESC LIMIT 128 - (SELECT count(*) FROM tollgate.usage_limit_keys)`);
  const refused = create('late');
  assert.notEqual(refused.status, 0);
  assert.deepEqual(refused.err.match(refusal)?.slice(1).map(Number), [63, 128, 64, 128]);
  const last = node.sql("SELECT max(limit_key) FROM tollgate.usage_limit_keys WHERE limit_key LIKE 'period_of_m%'");
  await eventually(() => held().has(last), `${last} in the table`, 20);
  node.sql("DELETE FROM tollgate.usage_limit_keys WHERE label = 'More'");
  assert.equal(create('m0').status, 0);
  await eventually(() => held().has('m0_per_day') && !held().has(last), 'the table as it was', 20);
  await node.stop(collector);
});

test('limits beyond it that were inserted by hand are named, and the table goes on and can be made anew', async () => {
  node.sql(`INSERT INTO tollgate.usage_metrics (metric_type, kind, unit, label, created_at) SELECT 'hand' || i, 'counter', 'x', 'By hand', now() FROM generate_series(1, 100) i;
    INSERT INTO tollgate.usage_limit_keys (limit_key, metric_type, limit_window, label) SELECT 'a_hand' || i, 'hand' || i, 'day', 'By hand' FROM generate_series(1, 100) i`);
  const log = () => readFileSync(join(node.dir, 'tollgate-collector.log'), 'utf8');
  const calls = () => Number(node.sql("SELECT coalesce(sum(total), 0) FROM tollgate.usage_daily WHERE metric_type = 'api_call'"));
  for (const fresh of [false, true]) {
    if (fresh) rmSync(join(node.run, 'limits.3'));
    const collector = await node.collector(), before = calls();
    await eventually(() => /the limit table has room for \d+ metrics and \d+ limits, and none for the (metric|limit) \w*hand/.test(log()), 'the sentence in the log', 10);
    assert.ok(held().has('api_calls_per_day') && held().has('m0_per_day'), [...held()].join(' '));
    node.write(5);
    await eventually(() => calls() === before + 5, 'calls to be counted', 10);
    assert.equal(node.status().table, 'ready');
    await node.stop(collector);
  }
});
