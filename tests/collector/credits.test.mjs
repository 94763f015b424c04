// Credits and keys' limits at the gate of a node: exactly so many calls more, a new limit table included; and one key that is bound.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, unlinkSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { callParams, fcgi } from '../lib/fcgi.mjs';
import { blake2b256 } from '../lib/keys.mjs';
import { makeNode } from '../lib/node.mjs';
import { eventually } from '../lib/stack.mjs';

const letters = 'abcdefghijklmnopqrstuvwxyz234567';

test('what is granted passes at the gate to the last call, whoever makes the limit table anew', async (t) => {
  const node = makeNode();
  t.after(() => node.remove());
  node.configure(`[gate]\nlisten = unix:${node.dir}/gate.sock\nprocesses = 2\n`);
  const key = `tg_${Array.from(randomBytes(8), (b) => letters[b & 31]).join('')}_${randomBytes(32).toString('base64url')}`;
  node.sql(`INSERT INTO tollgate.api_keys (id, tenant_id, name, hash, scopes) VALUES ('${key.slice(3, 11)}', 'f0', 'test', '\\x${Buffer.from(blake2b256(key)).toString('hex')}', '{call}')`);
  const tollgate = (...args) => { const r = node.tollgate(args); assert.equal(r.status, 0, r.err); return r.out; };
  tollgate('limit', 'set', '--tenant', 'f0', 'api_calls_per_day', '5');
  tollgate('limit', 'set', '--tenant', 'f0', 'api_calls_per_minute', 'unlimited');
  await node.collector();
  node.start('tollgate-gate');
  await eventually(() => existsSync(join(node.dir, 'gate.sock')), 'the gate', 10);
  const status = async () => (await fcgi(join(node.dir, 'gate.sock'), callParams('/api/patients', key))).status;
  // How many pass until one is refused.
  const pass = async () => { let n = 0; while (n < 50 && await status() === 200) n++; return n; };
  const seen = async (want) => { let n = 0; await eventually(async () => (n += await pass()) >= want, () => `${n} of ${want} calls`, 20); return n + await pass(); };
  assert.equal(await seen(5), 5);
  tollgate('limit', 'grant', 'f0', 'api_call', '3', '--until', '5d');
  assert.equal(await seen(3), 3);
  const { id } = JSON.parse(tollgate('--json', 'limit', 'grant', 'f0', 'api_call', '4', '--until', '2d'));
  assert.equal(await seen(4), 4);

  // The table is gone: the collector makes another from PostgreSQL and the spool.
  for (const name of readdirSync(node.run)) if (name.startsWith('limits')) unlinkSync(join(node.run, name));
  await eventually(() => readdirSync(node.run).some((name) => name.startsWith('limits')), 'another table', 30);
  await eventually(async () => await status() === 429, 'the new table', 30);
  assert.equal(await pass(), 0);
  tollgate('limit', 'grant', 'f0', 'api_call', '6', '--until', '5d');
  assert.equal(await seen(6), 6);

  await eventually(() => node.sql("SELECT used::int FROM tollgate.usage_counts WHERE metric_type = 'api_call' AND limit_window = 'day'") === '18', 'the counts', 20);
  const listed = () => JSON.parse(tollgate('--json', 'limit', 'list', '--tenant', 'f0'));
  assert.equal(listed().find((l) => l.limit_key === 'api_calls_per_day').max, 18);
  tollgate('limit', 'grant', 'f0', 'api_call', '10', '--until', '5d');
  assert.equal((await seen(1)) > 0, true);
  const open = listed().filter((l) => l.source.startsWith('credit'));
  for (const l of open) tollgate('limit', 'remove', '--tenant', 'f0', '--credit', l.source.slice(7));
  assert.ok(!open.some((l) => l.source === `credit ${id}`), 'the one that ends first is used up first');
});

test('a key\'s own limit binds that key alone, and the answer names it', async (t) => {
  const node = makeNode();
  t.after(() => node.remove());
  node.configure(`[gate]\nlisten = unix:${node.dir}/gate.sock\nprocesses = 2\n`);
  const keys = [0, 1].map(() => `tg_${Array.from(randomBytes(8), (b) => letters[b & 31]).join('')}_${randomBytes(32).toString('base64url')}`);
  const id = (key) => key.slice(3, 11);
  for (const key of keys)
    node.sql(`INSERT INTO tollgate.api_keys (id, tenant_id, name, hash, scopes) VALUES ('${id(key)}', 'f0', 'test', '\\x${Buffer.from(blake2b256(key)).toString('hex')}', '{call}')`);
  const tollgate = (...args) => { const r = node.tollgate(args); assert.equal(r.status, 0, r.err); return r.out; };
  tollgate('limit', 'set', '--key', id(keys[0]), 'api_calls_per_minute', '3', '--reason', 'runs wild');
  await node.collector();
  node.start('tollgate-gate');
  await eventually(() => existsSync(join(node.dir, 'gate.sock')), 'the gate', 10);
  const call = (key) => fcgi(join(node.dir, 'gate.sock'), callParams('/api/patients', key));
  for (let i = 0; i < 3; i++) assert.equal((await call(keys[0])).status, 200);
  const refused = await call(keys[0]);
  assert.equal(refused.status, 429);
  assert.match(JSON.parse(refused.body).error, /^API call limit of this key reached: 3 in a minute/);
  assert.deepEqual(JSON.parse(refused.body)['violated-policies'], ['key:api_calls_per_minute']);
  for (let i = 0; i < 10; i++) assert.equal((await call(keys[1])).status, 200);
  tollgate('limit', 'set', '--key', id(keys[0]), 'api_calls_per_minute', '1000');
  await eventually(async () => (await call(keys[0])).status === 200, 'the larger limit', 10);
  tollgate('limit', 'set', '--key', id(keys[0]), 'api_calls_per_minute', '0');
  await eventually(async () => (await call(keys[0])).status === 429, 'a limit of 0', 10);
  tollgate('limit', 'remove', '--key', id(keys[0]), 'api_calls_per_minute');
  await eventually(async () => (await call(keys[0])).status === 200, 'no limit', 10);
});
