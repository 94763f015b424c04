// A revoked key is refused within two seconds whatever else the collector does. LONG=1: larger loads, 20 keys each, and the times are told.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { execFileSync } from 'node:child_process';
import { existsSync, linkSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { callParams, fcgi } from '../lib/fcgi.mjs';
import { blake2b256 } from '../lib/keys.mjs';
import { makeNode } from '../lib/node.mjs';
import { eventually, sleep } from '../lib/stack.mjs';

const long = process.env.LONG === '1';
const size = (everyday, most) => (long ? most : everyday);
const REVOCATIONS = size(3, 20), MOST_MS = 2000;

const letters = 'abcdefghijklmnopqrstuvwxyz234567';
const makeKey = () => `tg_${Array.from(randomBytes(8), (b) => letters[b & 31]).join('')}_${randomBytes(32).toString('base64url')}`;

// A node with tenants f0, f1, …, a gate, and keys of f0; `prepare` runs before its collector does.
async function withNode(t, { tenants = 1, conf = '', prepare = () => {} }, run) {
  const node = makeNode(conf);
  t.after(() => node.remove());
  node.configure(`${conf}\n[gate]\nlisten = unix:${node.dir}/gate.sock\nprocesses = 1\n`);
  node.sql(`INSERT INTO tenants (id, name) SELECT 'f' || i, 'F' FROM generate_series(1, ${tenants - 1}) i;
    INSERT INTO tollgate.tenant_settings (tenant_id, schema_name) SELECT 'f' || i, 'f' || i FROM generate_series(1, ${tenants - 1}) i ON CONFLICT DO NOTHING;
    INSERT INTO tenant_subscriptions (tenant_id, tier_id) SELECT 'f' || i, 'free' FROM generate_series(1, ${tenants - 1}) i ON CONFLICT DO NOTHING`);
  const keys = Array.from({ length: REVOCATIONS }, makeKey);
  node.sql(`INSERT INTO tollgate.api_keys (id, tenant_id, name, hash, scopes) VALUES ${keys.map((key) =>
    `('${key.slice(3, 11)}', 'f0', 'test', '\\x${Buffer.from(blake2b256(key)).toString('hex')}', '{call}')`).join(',')}`);
  await prepare(node);
  await node.collector(size(60, 600)); // a table of many tenants takes its time
  node.start('tollgate-gate');
  await eventually(() => existsSync(join(node.dir, 'gate.sock')), 'the gate', 10);
  await run(node, keys);
}

// Revokes each key in turn, and asks the gate until it refuses it. `busy` has to hold before and after each.
async function revokeAll(t, node, keys, busy) {
  const session = node.session(), times = [];
  const status = async (key) => (await fcgi(join(node.dir, 'gate.sock'), callParams('/api/patients', key))).status;
  for (const key of keys) {
    await eventually(busy, 'the load to be under way', 30);
    assert.equal(await status(key), 200);
    await session.ask(`UPDATE tollgate.api_keys SET revoked_at = now() WHERE id = '${key.slice(3, 11)}'`);
    const began = performance.now();
    while (await status(key) === 200) {
      assert.ok(performance.now() - began < 10 * MOST_MS, 'a revoked key still opens the gate after 20 s');
      await sleep(5);
    }
    times.push(performance.now() - began);
    assert.ok(busy(), 'the load is still under way');
  }
  times.sort((a, b) => a - b);
  t.diagnostic(`refused after: median ${times[times.length >> 1].toFixed(0)} ms, longest ${times.at(-1).toFixed(0)} ms of ${times.length}`);
  assert.ok(times.at(-1) <= MOST_MS, `the longest took ${times.at(-1).toFixed(0)} ms`);
}

test('while ingestion is far behind', (t) => withNode(t, { tenants: 20 }, async (node, keys) => {
  node.write(size(300000, 1000000), 20);
  await revokeAll(t, node, keys, () => node.status().lag_events > 1000);
}));

test('while a repair of a tenant holds its locks, and a batch waits for them', (t) => withNode(t, {}, async (node, keys) => {
  const repair = node.session();
  await repair.ask("BEGIN; SELECT tollgate.recount('f0')");
  node.write(1000);
  await revokeAll(t, node, keys, () => node.waits());
  await repair.ask('COMMIT');
  await eventually(() => node.sql('SELECT count(*) FROM usage_tracking')  >= '1000', 'the batch to go in', 10);
}));

// A tree that all tenants' paths point to: links to one file, so that it costs no disk.
function makeTree(node, links) {
  const tree = join(node.dir, 'storage/tree'), file = join(node.dir, 'file');
  mkdirSync(tree, { recursive: true });
  writeFileSync(file, 'x');
  for (let i = 0; i < links; i++) {
    const folder = join(tree, String(Math.floor(i / 10000)));
    if (i % 10000 === 0) mkdirSync(folder);
    linkSync(file, join(folder, String(i)));
  }
}

test('while tenants\' storage is walked through, and the walk lasts', (t) => withNode(t, {
  tenants: size(100, 1000),
  conf: '[storage]\ninterval_s = 10\n',
  prepare(node) {
    makeTree(node, size(60000, 60000));
    node.sql("UPDATE tollgate.tenant_settings SET storage_path = 'tree'");
  },
}, async (node, keys) => {
  const storage = () => node.status().jobs.find((j) => j.name === 'storage');
  // It goes on at once after each slice; between two rounds it rests for ten seconds.
  await revokeAll(t, node, keys, () => storage().busy_since !== null || Date.now() - Date.parse(storage().last_done) < 3000);
  t.diagnostic(`the walk: ${JSON.stringify(storage())}`);
}));

test('while the day of many tenants turns', (t) => withNode(t, {
  prepare(node) {
    const n = size(10000, 100000);
    node.sql(`SET session_replication_role = replica;
      INSERT INTO tenants (id, name) SELECT 't' || i, 'T' FROM generate_series(1, ${n}) i;
      INSERT INTO tollgate.tenant_settings (tenant_id, schema_name) SELECT 't' || i, 't' || i FROM generate_series(1, ${n}) i;
      INSERT INTO tenant_subscriptions (tenant_id, tier_id, usage_limits, current_usage) SELECT 't' || i, 'free', '{"api_calls_per_day": -1}', '{"api_calls_today": 5}' FROM generate_series(1, ${n}) i`);
  },
}, async (node, keys) => {
  const rollover = () => node.status().jobs.find((j) => j.name === 'rollover');
  await revokeAll(t, node, keys, () => node.sql("SELECT count(*) FROM tenant_subscriptions WHERE current_usage ->> 'api_calls_today' = '5'") !== '0');
  t.diagnostic(`the rollover: ${JSON.stringify(rollover())}`);
}));
