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

test('the limit that would be one too many is refused in a clear sentence, and those before it are followed', async () => {
  const collector = await node.collector();
  const there = Number(node.sql('SELECT count(*) FROM tollgate.usage_limit_keys'));
  let made = 0, refused;
  while (!refused && made < 200) {
    const r = create(`m${made}`);
    if (r.status === 0) made++;
    else refused = r;
  }
  assert.ok(made > 0 && refused, `${made} were made`);
  assert.match(refused.err, /there is room for \d+ metrics and \d+ limits, and no more; remove one/);
  assert.equal(Number(refused.err.match(/and (\d+) limits/)[1]), there + made);
  assert.equal(Number(node.sql('SELECT count(*) FROM tollgate.usage_limit_keys')), there + made);
  await eventually(() => held().has(`m${made - 1}_per_day`), 'the last limit in the table', 10);
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
