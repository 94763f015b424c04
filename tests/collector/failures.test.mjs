// What fails in the database, and what the collector makes of it: nothing is rejected, or taken for another collector, that is not.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
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

test('a collector whose node was started elsewhere says so and ends', async () => {
  const collector = await node.collector();
  node.sql("UPDATE tollgate.collector_nodes SET token = '\\x00000000000000000000000000000000'");
  const ended = new Promise((done) => collector.once('exit', done));
  node.write(1);
  assert.equal(await ended, 1);
  assert.equal(stored(), 360);
});
