// What does not fit into the limit table is refused where it is created, and never costs the table that works.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { callParams, fcgi } from '../lib/fcgi.mjs';
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
    if (fresh) rmSync(join(node.run, 'limits.4'));
    const collector = await node.collector(), before = calls();
    await eventually(() => /the limit table has room for \d+ metrics and \d+ limits, and none for the (metric|limit) \w*hand/.test(log()), 'the sentence in the log', 10);
    assert.ok(held().has('api_calls_per_day') && held().has('m0_per_day'), [...held()].join(' '));
    node.write(5);
    await eventually(() => calls() === before + 5, 'calls to be counted', 10);
    assert.equal(node.status().table, 'ready');
    await node.stop(collector);
  }
});

test('a tenant and a key too many are refused; one that a host made is left out and named, and the others go on', async () => {
  // Programs for which the table is small: a million tenants would take gigabytes here.
  execFileSync('make', ['-s', '-C', root, 'BUILD=build/small-table', 'CC=cc -DLIMIT_TABLE_PLACES=256u -DLIMIT_TABLE_KEYS=300u',
    ...['tollgate', 'tollgate-collector'].map((p) => `build/small-table/release/${p}`)], { stdio: 'inherit' });
  const small = makeNode();
  try {
    small.configure(`[gate]\nlisten = unix:${small.dir}/gate\nprocesses = 1\n`);
    const run = (program, ...args) => spawnSync(join(root, 'build/small-table/release', program), ['--config', small.file, ...args], { encoding: 'utf8' });
    const make = (ids) => small.sql(`INSERT INTO tenants (id, name) SELECT i, 'T' FROM (${ids}) x (i);
      INSERT INTO tollgate.tenant_settings (tenant_id, schema_name) SELECT i, i FROM (${ids}) x (i) ON CONFLICT DO NOTHING;
      INSERT INTO tenant_subscriptions (tenant_id, tier_id) SELECT i, 'free' FROM (${ids}) x (i) ON CONFLICT DO NOTHING`);
    make("SELECT 't' || n FROM generate_series(1, 254) n");
    assert.equal(run('tollgate', 'tenant', 'create', 't255').status, 0);
    assert.match(run('tollgate', 'tenant', 'create', 't256').stderr, /there are 256 tenants and \d+ limits, and with so many limits the limit table has room for 256 tenants; remove one/);
    const key = JSON.parse(run('tollgate', 'key', 'create', 'first', '--tenant', 'f0', '--scopes', 'call', '--json').stdout);
    small.sql("INSERT INTO tollgate.api_keys (id, tenant_id, name, hash, scopes) SELECT lpad(n::text, 8, 'a'), 'f0', 'k', sha256(n::text::bytea), '{call}' FROM generate_series(1, 299) n");
    assert.match(run('tollgate', 'key', 'create', 'last', '--tenant', 'f0').stderr, /there are 300 keys, with those that were revoked, and the limit table has room for 300;/);
    assert.equal(small.sql('SELECT (SELECT count(*) FROM tenants), (SELECT count(*) FROM tollgate.api_keys)'), '256|300');

    make("SELECT 'z_by_hand'");
    small.sql("INSERT INTO tollgate.api_keys (id, tenant_id, name, hash, scopes) VALUES ('zzzzzzzz', 'f0', 'k', sha256('z'), '{call}')");
    const held = () => execFileSync(join(root, 'build/release/tools/table_show'), [small.run], { encoding: 'utf8' });
    const log = () => readFileSync(join(small.dir, 'small.log'), 'utf8');
    const start = async () => {
      const child = small.spawn(join(root, 'build/small-table/release/tollgate-collector'), ['--config', small.file], 'small.log');
      await eventually(() => { try { return small.status().pid === child.pid && small.status().table === 'ready'; } catch { return false; } }, log, 20);
      return child;
    };
    let collector = await start();
    assert.match(log(), /the limit table has 256 places for tenants and 300 for keys, and none for all of the (tenant z_by_hand|key \w{8})/);
    assert.ok(/^f0\t/m.test(held()) && /^t255\t/m.test(held()) && !/z_by_hand/.test(held()));
    // What has its place follows.
    small.start('tollgate-gate');
    await eventually(() => existsSync(join(small.dir, 'gate')), 'the gate', 10);
    const status = async () => (await fcgi(join(small.dir, 'gate'), callParams('/api/x', key.key))).status;
    assert.equal(await status(), 200);
    assert.equal(run('tollgate', 'tenant', 'suspend', 'f0').status, 0);
    await eventually(async () => await status() === 403, 'the tenant to be suspended', 5);
    assert.equal(run('tollgate', 'key', 'remove', key.id, '--yes').status, 0);
    await eventually(async () => await status() === 401, 'the key to be refused', 5);
    assert.doesNotMatch(JSON.stringify(small.status().workers ?? []), /"failing":true/);
    // The place of one that is removed is for another.
    small.sql("DELETE FROM tenants WHERE id = 't17'");
    await small.stop(collector);
    collector = await start();
    await eventually(() => /^z_by_hand\t/m.test(held()), () => `the tenant that was left out: ${log()}`, 20);
  } finally { await small.remove(); }
});
