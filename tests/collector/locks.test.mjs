// What others hold in PostgreSQL while batches are counted: nobody is ended in a deadlock, neither who changes a plan nor a batch.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { makeNode } from '../lib/node.mjs';
import { eventually } from '../lib/stack.mjs';

let node;
before(async () => {
  node = makeNode();
  node.sql(`INSERT INTO tenants (id, name) SELECT 'f' || i, 'F' FROM generate_series(1, 19) i;
    DELETE FROM tenant_subscriptions;
    INSERT INTO tenant_subscriptions (tenant_id, tier_id) SELECT 'f' || i, 'free' FROM generate_series(19, 0, -1) i`);
  // The plans of a large database: a batch finds its tenants one by one.
  for (const way of ['hashjoin', 'mergejoin', 'seqscan']) node.sql(`ALTER ROLE tollgate_collector SET enable_${way} = off`);
  await node.collector();
  await eventually(() => one("current_usage ? 'storage_used_gb'") === '20', 'the first measures to be counted', 10);
  // They lie the other way round than their ids.
  node.sql('CREATE INDEX backwards ON tenant_subscriptions (tenant_id DESC)');
  node.sql('CLUSTER tenant_subscriptions USING backwards');
});
after(() => node.remove());
const one = (text) => node.sql(`SELECT count(*) FROM tenant_subscriptions WHERE ${text}`);

test('a tier of twenty tenants changes while a batch of their calls waits for it', async () => {
  const holder = node.session(), tier = node.session();
  await holder.ask("BEGIN; UPDATE tenant_subscriptions SET current_usage = current_usage WHERE tenant_id = 'f5'");
  const changed = tier.ask(`UPDATE subscription_tiers SET limits = '{"api_calls_per_day": 7000}' WHERE id = 'free'`, 20);
  await eventually(() => node.sql("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'UPDATE subscription_tiers%' AND wait_event_type = 'Lock'") === '1',
    'the change to wait for the held tenant', 5);
  node.write(200, 20);
  await eventually(() => node.waits(), 'the batch to wait', 5);
  await holder.ask('COMMIT');
  assert.equal(await changed, '');
  assert.equal(one("usage_limits ->> 'api_calls_per_day' = '7000'"), '20');
  await eventually(() => one("current_usage ->> 'api_calls_today' = '10'") === '20', 'the calls to be counted', 10);
  assert.doesNotMatch(readFileSync(join(node.dir, 'tollgate-collector.log'), 'utf8'), /deadlock/);
});
