// A limit table made anew holds what the database holds, in every window that its rings have.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { rmSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { makeNode } from '../lib/node.mjs';
import { root } from '../lib/stack.mjs';

const zones = ['UTC', 'Europe/Berlin', 'America/Santiago', 'Pacific/Auckland', 'Pacific/Kiritimati', 'Pacific/Pago_Pago'];
let node;
before(() => {
  node = makeNode();
  // A tenant a zone, with anchor days of their own, whose periods are there for the 40 days that the test counts.
  for (const [i, zone] of zones.entries()) {
    node.sql(`INSERT INTO tenants (id, name) VALUES ('z${i}', '${zone}');
      INSERT INTO tenant_settings (tenant_id, schema_name, time_zone, anchor_day) VALUES ('z${i}', 'z${i}', '${zone}', ${[1, 31, 15, 28, 1, 2][i]})
        ON CONFLICT (tenant_id) DO UPDATE SET time_zone = excluded.time_zone, anchor_day = excluded.anchor_day;
      INSERT INTO tenant_subscriptions (tenant_id, tier_id) VALUES ('z${i}', 'free')`);
  }
  node.sql("SELECT tollgate.ensure_periods(id, now() - interval '40 days', now() + interval '40 days') FROM tenants");
});
after(() => node.remove());

test('day and period counts of a fresh table are those of usage_counts', async () => {
  const collector = await node.collector();
  await node.stop(collector);
  node.sql(`INSERT INTO usage_counts (tenant_id, metric_type, limit_window, window_start, used)
    SELECT s.tenant_id, m.metric, 'day', d::date, 1000 + 37 * row_number() OVER (ORDER BY s.tenant_id, d)
    FROM tenant_settings s, (VALUES ('file_upload'), ('api_call')) m (metric),
      generate_series((now() AT TIME ZONE s.time_zone)::date - 40, (now() AT TIME ZONE s.time_zone)::date, interval '1 day') d
    ON CONFLICT DO NOTHING;
    INSERT INTO usage_counts (tenant_id, metric_type, limit_window, window_start, used)
    SELECT c.tenant_id, c.metric_type, 'period', p.period_start, sum(c.used) FROM usage_counts c
    JOIN tenant_periods p ON p.tenant_id = c.tenant_id AND c.window_start BETWEEN p.period_start AND p.period_end
    WHERE c.limit_window = 'day' GROUP BY 1, 2, 4 ON CONFLICT DO NOTHING`);
  for (const name of readdirSync(node.run)) rmSync(join(node.run, name), { recursive: true });
  await node.stop(await node.collector());
  const held = execFileSync(join(root, 'build/release/tools/table_show'), [node.run], { encoding: 'utf8' }).trim().split('\n').map((line) => line.split('\t'));
  const stored = new Map(node.sql(`SELECT c.tenant_id, l.limit_key, c.limit_window, CASE c.limit_window WHEN 'day'
      THEN tollgate.us(c.window_start::timestamp AT TIME ZONE s.time_zone) ELSE tollgate.us(p.starts_at) END, (c.used * 1000000)::bigint
    FROM usage_counts c JOIN tenant_settings s USING (tenant_id) JOIN usage_limit_keys l ON l.metric_type = c.metric_type AND l.limit_window = c.limit_window
    LEFT JOIN tenant_periods p ON p.tenant_id = c.tenant_id AND p.period_start = c.window_start`)
    .split('\n').map((line) => line.split('|')).map((f) => [f.slice(0, 4).join(' '), f[4]]));
  // A window that ended two days ago decides nothing any more, and is not read.
  const open = new Set(node.sql(`SELECT tenant_id, 'period', tollgate.us(starts_at) FROM tenant_periods WHERE ends_at > now() - interval '2 days'`)
    .split('\n').map((line) => line.replaceAll('|', ' ')));
  const matters = ([tenant, , window, start]) => window === 'day' || open.has(`${tenant} ${window} ${start}`);
  const wrong = held.filter((f) => matters(f) && (stored.get(f.slice(0, 4).join(' ')) ?? '0') !== f[4]);
  assert.deepEqual(wrong, []);
  assert.ok(held.filter((f) => f[4] !== '0').length >= zones.length * 3, `only ${held.filter((f) => f[4] !== '0').length} counts are not 0`);
});
