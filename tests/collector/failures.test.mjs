// What fails in the database, and what the collector makes of it: nothing is rejected, or taken for another collector, that is not.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { callParams, fcgi } from '../lib/fcgi.mjs';
import { makeNode } from '../lib/node.mjs';
import { eventually, sleep } from '../lib/stack.mjs';

let node;
before(() => { node = makeNode('[database]\nstatement_timeout_s = 1\n'); });
after(() => node.remove());

const stored = () => Number(node.sql('SELECT count(*) FROM usage_tracking'));
const rejected = () => Number(node.sql('SELECT count(*) FROM tollgate.usage_rejected'));

// 0A000 is what Citus says of a statement that it can't carry out; neither is of class 22 or 23.
for (const [i, state] of ['P0001', '0A000'].entries()) test(`a trigger of the host's that fails for a while with ${state} rejects no event`, async () => {
  const collector = await node.collector();
  node.sql(`CREATE OR REPLACE FUNCTION broken() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'the host is being changed' USING ERRCODE = '${state}'; END $$;
    CREATE TRIGGER broken BEFORE UPDATE ON tenant_subscriptions FOR EACH ROW EXECUTE FUNCTION broken()`);
  node.write(150);
  await eventually(() => /the host is being changed/.test(node.status().last_error), 'the cause in collector.json', 10);
  await sleep(1500);
  assert.equal(rejected(), 0);
  node.sql('DROP TRIGGER broken ON tenant_subscriptions');
  await eventually(() => stored() === 150 * (i + 1), () => `${150 * (i + 1)} events, ${stored()} are stored`, 15);
  assert.equal(rejected(), 0);
  await node.stop(collector);
});

test('a missing right is named, ends nothing, and is made up for when it is there', async () => {
  const collector = await node.collector();
  node.sql('REVOKE INSERT ON tollgate.usage_hourly FROM tollgate_collector');
  node.write(20);
  await eventually(() => /permission denied for .*usage_hourly/.test(node.status().last_error), 'the cause in collector.json', 10);
  assert.equal(collector.exitCode, null);
  node.sql('GRANT INSERT ON tollgate.usage_hourly TO tollgate_collector');
  await eventually(() => stored() === 320, () => `320 events, ${stored()} are stored`, 15);
  assert.equal(rejected(), 0);
  await node.stop(collector);
});

test('a batch that takes longer than the statement timeout is split until its parts go in', async () => {
  node.write(40);
  node.sql(`CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.05); RETURN NEW; END $$;
    CREATE TRIGGER slow BEFORE INSERT ON usage_tracking FOR EACH ROW EXECUTE FUNCTION slow()`);
  const collector = await node.collector();
  await eventually(() => stored() === 360, () => `360 events, ${stored()} are stored`, 30);
  assert.equal(rejected(), 0);
  await node.stop(collector);
});

test('calls that were admitted without a record are counted once, whatever became of a limit table that was to take the place of theirs', async () => {
  const socket = join(node.dir, 'gate'), conf = join(node.dir, 'full.conf');
  // A spool that takes nothing: the gate counts in its table alone.
  writeFileSync(conf, `${readFileSync(node.file, 'utf8')}[gate]\nlisten = unix:${socket}\nprocesses = 1\n[spool]\nmax_bytes = 1\n`);
  const { key } = JSON.parse(node.tollgate(['key', 'create', 'k', '--tenant', 'f0', '--scopes', 'call', '--json']).out);
  const another = () => node.tollgate(['metric', 'create', 'other', '--kind', 'counter', '--unit', 'x', '--label', 'x', '--limit', 'other_limit', '--window', 'day']);
  const degraded = () => Number(node.sql("SELECT coalesce(sum(metric_value), 0) FROM usage_tracking WHERE metadata ? 'degraded'"));
  const counted = (n) => eventually(() => degraded() >= n, () => `${degraded()} of ${n}`, 10);
  assert.equal(another().status, 0);
  let collector = await node.collector();
  const gate = node.spawn(new URL('../../build/release/tollgate-gate', import.meta.url).pathname, ['--config', conf], 'gate.log');
  await eventually(() => existsSync(socket), 'the gate', 10);
  const call = async (n) => { while (n--) assert.equal((await fcgi(socket, callParams('/api/x', key))).status, 200); };
  await eventually(async () => (await fcgi(socket, callParams('/api/x', key))).status === 200, 'the key', 10);
  await call(6);
  await counted(7);
  // A metric that goes has the table made anew, which fails half-way; then the collector is killed, and goes on with the table that is there.
  node.sql('REVOKE EXECUTE ON FUNCTION tollgate.feed_tenants(text, text, bigint) FROM tollgate_collector');
  assert.equal(node.tollgate(['metric', 'remove', 'other', '--yes']).status, 0);
  await eventually(() => /permission denied for function feed_tenants/.test(node.status().last_error), 'it to fail', 10);
  await node.stop(collector, 'SIGKILL');
  node.sql('GRANT EXECUTE ON FUNCTION tollgate.feed_tenants(text, text, bigint) TO tollgate_collector');
  assert.equal(another().status, 0);
  collector = await node.collector();
  assert.match(readFileSync(join(node.dir, 'tollgate-collector.log'), 'utf8').split('\n').filter((line) => /the limit table is/.test(line)).at(-1), /gone on with/);
  await sleep(2500); // they are looked at every second
  assert.equal(degraded(), 7);
  await call(3);
  await counted(10);
  assert.equal(node.tollgate(['metric', 'remove', 'other', '--yes']).status, 0);
  await eventually(() => (readFileSync(join(node.dir, 'tollgate-collector.log'), 'utf8').match(/the limit table is filled/g) ?? []).length > 1, 'another table', 10);
  await call(2); // fewer than the table before had
  await counted(12);
  await sleep(1500);
  assert.equal(degraded(), 12);
  await node.stop(gate);
  await node.stop(collector);
});

test('a collector whose node was started elsewhere says so and ends', async () => {
  const collector = await node.collector();
  node.sql("UPDATE tollgate.collector_nodes SET token = '\\x00000000000000000000000000000000'");
  const ended = new Promise((done) => collector.once('exit', done)), before = stored();
  node.write(1);
  assert.equal(await ended, 1);
  assert.equal(stored(), before);
});
