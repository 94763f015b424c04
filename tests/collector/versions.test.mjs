// An upgrade of the limit table's layout under load: gates of the other version go on with their table until they are replaced, nobody
// is refused, and what they admit reaches the new table, so that exactly the limit passes.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { callParams, fcgi } from '../lib/fcgi.mjs';
import { makeNode } from '../lib/node.mjs';
import { eventually, root, sleep } from '../lib/stack.mjs';

// The same programs, but for the number of the layout, and for how long they bear gates of another one.
const other = join(root, 'build/other-layout/release');
const limit = 12000;
let node, key;
before(() => {
  execFileSync('make', ['-s', '-C', root, 'BUILD=build/other-layout', 'CC=cc -DLIMIT_TABLE_VERSION=9 -DJOBS_OLDER_US=4000000', ...['gate', 'collector'].map((p) => `build/other-layout/release/tollgate-${p}`)], { stdio: 'inherit' });
  node = makeNode();
  node.sql(`UPDATE subscription_tiers SET limits = '{"api_calls_per_day": ${limit}}' WHERE id = 'free'`);
  const made = node.tollgate(['key', 'create', 'calls', '--tenant', 'f0', '--scopes', 'call']);
  assert.equal(made.status, 0, made.err);
  key = made.out.match(/\S{20,}/)[0];
});
after(() => node.remove());

// A gate on a socket of its own.
async function startGate(program, name) {
  const socket = join(node.dir, `${name}.sock`), file = join(node.dir, `${name}.conf`);
  writeFileSync(file, `[paths]\nspool_dir = ${node.spool}\nrun_dir = ${node.run}\n[gate]\nlisten = unix:${socket}\nprocesses = 2\non_failure = deny\n`);
  const child = node.spawn(program, ['--config', file], `${name}.log`);
  await eventually(() => existsSync(socket), 'the gate to listen', 10);
  await sleep(200);
  return { socket, child };
}
const startOther = async () => {
  const child = node.spawn(join(other, 'tollgate-collector'), ['--config', node.file], 'other-collector.log');
  await eventually(() => { try { return node.status().pid === child.pid && node.status().table === 'ready'; } catch { return false; } }, 'the collector of the other version', 20);
  return child;
};
const rows = () => Number(node.sql("SELECT coalesce(sum(total), 0) FROM tollgate.usage_daily WHERE metric_type = 'api_call'"));
const used = () => execFileSync(join(root, 'build/release/tools/table_show'), [node.run], { encoding: 'utf8' }).split('\n').map((line) => line.split('\t'))
  .filter((f) => f[1] === 'api_calls_per_day').reduce((sum, f) => sum + Number(f[4]) / 1e6, 0);

test('an upgrade under load refuses nobody, and exactly the limit passes', async () => {
  let collector = await startOther();
  const old = await startGate(join(other, 'tollgate-gate'), 'old');
  let to = old.socket, on = true;
  const answers = {}, admitted = () => answers[200] ?? 0;
  const callers = Array.from({ length: 4 }, async () => {
    while (on) {
      const { status } = await fcgi(to, callParams('/api/x', key));
      answers[status] = (answers[status] ?? 0) + 1;
      if (status !== 200) await sleep(5);
    }
  });
  const more = (n) => { const at = admitted() + n; return eventually(() => admitted() >= at, () => `${n} more calls: ${JSON.stringify(answers)}`, 60); };
  await more(300);
  await node.stop(collector);
  await more(100); // nobody reads the spool
  collector = await node.collector();
  assert.ok(existsSync(join(node.run, 'limits.4')) && existsSync(join(node.run, 'limits.9')));
  await more(500); // the gate of the other version goes on with its own table
  const fresh = await startGate(join(root, 'build/release/tollgate-gate'), 'new');
  to = fresh.socket;
  await more(200);
  await node.stop(old.child);
  assert.deepEqual(Object.keys(answers), ['200']);
  assert.ok(admitted() < limit - 500, `${admitted()} calls so far`);
  await eventually(() => answers[429] > 100, () => `the limit: ${JSON.stringify(answers)}`, 120);
  on = false;
  await Promise.all(callers);
  assert.deepEqual([Object.keys(answers), admitted()], [['200', '429'], limit]);
  await eventually(() => rows() === limit, () => `${rows()} of ${limit} rows`, 20);
  assert.equal(used(), limit);

  // The other version's table goes when nobody has it open any more.
  await node.stop(collector);
  collector = await node.collector();
  assert.deepEqual(readdirSync(node.run).filter((name) => name.startsWith('limits.9')), []);
  assert.equal(used(), limit);
  await node.stop(collector);
  await node.stop(fresh.child);
});

test('a gate of another version that is not replaced has no limit table after a while, so that a revoked key does not open it for ever', async () => {
  const made = node.tollgate(['key', 'create', 'revoked', '--tenant', 'f0', '--scopes', 'call', '--json']);
  const revoked = JSON.parse(made.out);
  node.sql("SELECT tollgate.set_subscription('f0', NULL, '{\"api_calls_per_day\": -1}')");
  let collector = await node.collector();
  const old = await startGate(join(root, 'build/release/tollgate-gate'), 'left');
  const status = async (gate, k) => (await fcgi(gate.socket, callParams('/api/x', k))).status;
  await eventually(async () => await status(old, revoked.key) === 200, 'the key to be known', 5);
  const ready = (program) => spawnSync(program, ['--config', node.file, '--ready']).status;
  assert.deepEqual([ready(join(root, 'build/release/tollgate-gate')), ready(join(other, 'tollgate-gate'))], [0, 1]);
  await node.stop(collector);
  collector = await startOther();
  assert.equal(ready(join(other, 'tollgate-gate')), 0);
  assert.equal(node.tollgate(['key', 'remove', revoked.id, '--yes']).status, 0);
  const fresh = await startGate(join(other, 'tollgate-gate'), 'right');
  await eventually(async () => await status(fresh, revoked.key) === 401, 'the gate of the same version to refuse the key', 5);
  assert.equal(await status(old, revoked.key), 200); // it has no news of it
  assert.match(node.tollgate(['doctor']).out, /WRONG +limit table +a gate or tollgate-web of another version runs/);
  await eventually(async () => await status(old, revoked.key) === 503, 'the other one to be told', 20);
  assert.deepEqual([await status(old, key), await status(fresh, key)], [503, 200]);
  assert.match(readFileSync(join(node.dir, 'other-collector.log'), 'utf8'), /gates of another version of Tollgate still run.*restart them/);
  await node.stop(old.child);
  await eventually(() => !existsSync(join(node.run, 'limits.4')), 'their table to go', 20);
  await node.stop(collector);
});
