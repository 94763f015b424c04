// A limit's count is one number, whoever says it: the gates' table, check, PostgreSQL and reconcile agree with a slow model, for every aggregation,
// window, mode and zone, at moments at which clocks change or a period ends on the 31st. Everything but this file runs on a clock that is set
// back or ahead. With LONG=1 at more moments.
import assert from 'node:assert/strict';
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { compareTable } from '../lib/limit_table.mjs';
import { eventually } from '../lib/stack.mjs';
import { startWeb } from '../lib/web.mjs';
import { windowOf } from '../lib/windows.mjs';

const faketime = ['/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1', '/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1'].find(existsSync);
const zones = [['UTC', 1], ['Europe/Berlin', 31], ['Asia/Kolkata', 30], ['Asia/Kathmandu', 15], ['America/New_York', 29], ['Australia/Lord_Howe', 31], ['Pacific/Kiritimati', 2]];
const windows = ['hour', 'day', 'week', 'period'], aggregations = ['sum', 'count', 'max', 'unique'];
const moments = [
  ['now', null],
  ['the hour that Berlin goes through a second time, on its day of 25 hours', '2026-10-25T01:30:00Z'],
  ['the half hour with which Lord Howe ends its day of 24.5 hours, on the 31st of its period', '2026-04-05T13:10:00Z'],
  ...(process.env.LONG ? [
    ['the day of 23 hours in Berlin, a Sunday', '2026-03-29T20:30:00Z'],
    ['the last day of a short month with the anchor on the 31st', '2027-02-28T12:00:00Z'],
    ['a Monday that has begun in half of the zones', '2026-06-01T11:00:00Z'],
    ['the turn of the year', '2027-01-01T00:10:00Z'],
  ] : []),
];

let web;
after(async () => { if (web) await web.remove(); });

async function startAt(at) {
  const shift = at === null ? 0 : Math.round((Date.parse(at) - Date.now()) / 1000);
  const fake = shift ? { LD_PRELOAD: faketime, FAKETIME: `${shift < 0 ? '' : '+'}${shift}`, DONT_FAKE_MONOTONIC: '1', TZ: 'UTC' } : {};
  // What is started meanwhile has the clock.
  const withClock = async (run) => {
    Object.assign(process.env, fake);
    try { return await run(); } finally { for (const name of Object.keys(fake)) delete process.env[name]; }
  };
  if (web) await web.remove();
  web = undefined;
  // libfaketime's shared memory is sometimes another user's: then a program ends at its start.
  for (let tries = 1; !web; tries++) {
    try { web = await withClock(() => startWeb()); } catch (error) { if (!shift || tries === 5) throw error; }
  }
  return { clock: () => Date.now() + shift * 1000, withClock };
}

// A metric for each aggregation and window; odd ones are soft with a limit that is passed.
function makeCatalogue(node) {
  const all = aggregations.flatMap((aggregation) => windows.map((window) => `('${aggregation}', '${window}')`)).join(', ');
  node.sql(`INSERT INTO tollgate.usage_metrics (metric_type, aggregation, field, unit, plural, label, limit_key, limit_window)
      SELECT a || '_' || w, a, CASE a WHEN 'unique' THEN 'who' END, 'job', 'jobs', 'Jobs', 'limit_' || a || '_' || w, w FROM (VALUES ${all}) AS x (a, w);
    INSERT INTO tollgate.usage_limit_keys (limit_key, metric_type, limit_window, label)
      SELECT limit_key, metric_type, limit_window, label FROM tollgate.usage_metrics WHERE unit = 'job'`);
  for (const [i, [zone, anchor]] of zones.entries())
    node.sql(`INSERT INTO tenants (id, name) VALUES ('z${i}', '${zone}');
      INSERT INTO tollgate.tenant_settings (tenant_id, schema_name, time_zone, anchor_day) VALUES ('z${i}', 'z${i}', '${zone}', ${anchor})
        ON CONFLICT (tenant_id) DO UPDATE SET time_zone = excluded.time_zone, anchor_day = excluded.anchor_day;
      INSERT INTO tenant_subscriptions (tenant_id, tier_id) VALUES ('z${i}', 'free');
      INSERT INTO tollgate.usage_limit_overrides (tenant_id, limit_key, max, mode)
        SELECT 'z${i}', limit_key, CASE WHEN n % 2 = 0 THEN 1000 ELSE 3 END, CASE WHEN n % 2 = 0 THEN 'hard' ELSE 'soft' END
        FROM (SELECT limit_key, row_number() OVER (ORDER BY limit_key) AS n FROM tollgate.usage_limit_keys WHERE limit_key LIKE 'limit_%') k;
      SELECT tollgate.ensure_periods('z${i}', now() - interval '40 days', now() + interval '40 days')`);
}

// Around the beginning of every window, and of the one before, as far as 34 days back.
function instants(zone, anchor, now) {
  const all = [now - 2000];
  for (const name of windows) {
    const [start] = windowOf(name, zone, anchor, now), [before] = windowOf(name, zone, anchor, start - 1);
    for (const at of [before - 1, before, start - 1, start, start + 1]) all.push(at);
  }
  return [...new Set(all)].filter((at) => at > now - 34 * 86400e3 && at <= now - 2000).sort((a, b) => a - b);
}

function expected(aggregation, events, [start, end]) {
  const inside = events.filter((e) => e.at >= start && e.at < end);
  if (aggregation === 'max') return Math.max(0, ...inside.map((e) => e.value));
  if (aggregation === 'unique') return new Set(inside.map((e) => e.who)).size;
  return inside.reduce((sum, e) => sum + (aggregation === 'count' ? 1 : e.value), 0);
}

async function ask(method, path, body, key = web.operatorKey) {
  const answer = await web.ask(method, path, { key, body: body === undefined ? '' : JSON.stringify(body) });
  assert.ok(answer.status < 300, `${method} ${path}: ${answer.status} ${answer.body}`);
  return JSON.parse(answer.body);
}

for (const [name, at] of moments) {
  test(`every count is the model's: ${name}`, { skip: at !== null && !faketime && 'libfaketime is not installed' }, async () => {
    const { clock, withClock } = await startAt(at), { node } = web;
    makeCatalogue(node);
    await eventually(async () => (await web.ask('GET', '/api/usage/tenant/z6/check?metric=unique_period', { key: web.operatorKey })).status === 200, 'the catalogue in the limit table', 20);
    const now = clock(), posted = [];
    for (const [i, [zone, anchor]] of zones.entries())
      for (const [n, time] of instants(zone, anchor, now).entries())
        posted.push({ tenant: `z${i}`, at: time, value: 1 + (n * 7) % 5, who: `p${(n * 3) % 7}` });
    const events = posted.flatMap((e) => aggregations.flatMap((aggregation) => windows.map((window) => ({
      tenant_id: e.tenant, metric_type: `${aggregation}_${window}`, metric_value: aggregation === 'count' ? 1 : e.value, recorded_at: new Date(e.at).toISOString(), metadata: { who: e.who } }))));
    for (let from = 0; from < events.length; from += 500)
      await ask('POST', '/api/usage/events?wait=true', events.slice(from, from + 500));
    await eventually(() => node.sql("SELECT count(*) FROM usage_tracking WHERE metric_type LIKE '%\\_%' AND tenant_id LIKE 'z%'") === String(events.length), 'all events to be stored', 30);
    const wrong = [];
    for (const [i, [zone, anchor]] of zones.entries()) {
      const mine = posted.filter((e) => e.tenant === `z${i}`);
      const answers = await ask('POST', `/api/usage/tenant/z${i}/check`, { checks: aggregations.flatMap((a) => windows.map((w) => ({ metric: `${a}_${w}`, amount: 0 }))) });
      const used = node.sql(`SELECT m.metric_type, trim_scale(tollgate.used_in('z${i}', m.metric_type, m.limit_window, now())) FROM tollgate.usage_metrics m WHERE m.metric_type ~ '_(hour|day|week|period)$'`)
        .split('\n').map((line) => line.split('|'));
      for (const aggregation of aggregations)
        for (const window of windows) {
          const bounds = windowOf(window, zone, anchor, clock()), right = expected(aggregation, mine, bounds), metric = `${aggregation}_${window}`;
          const check = answers.checks.find((c) => c.metric === metric), stored = Number(used.find(([m]) => m === metric)[1]);
          if (check.usage !== right || Date.parse(check.resets_at) !== bounds[1] || stored !== right)
            wrong.push(`${zone} ${metric}: ${right} until ${new Date(bounds[1]).toISOString()}, check says ${check.usage} until ${check.resets_at}, PostgreSQL ${stored}`);
        }
    }
    assert.deepEqual(wrong, []);
    assert.deepEqual(compareTable(node.run, node.sql).wrong, []);
    const found = node.tollgate(['reconcile', '--json']);
    assert.equal(found.status, 0, found.out + found.err);
    // A table made anew holds the same.
    await node.stop(web.collector);
    rmSync(join(node.run, 'limits.4'));
    web.collector = await withClock(() => node.collector());
    assert.deepEqual(compareTable(node.run, node.sql).wrong, []);
  });
}
