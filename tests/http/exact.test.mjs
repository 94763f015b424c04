// Exactness under load: rows against answers, to the row. CALLS (default 2,000; the long form 20,000) over 64 connections.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { byStatus, load } from '../lib/load.mjs';
import { db, eventually, tollgate } from './lib.mjs';

const count = Number(process.env.CALLS ?? 2000);
const port = Number(process.env.PORT);

// A new key, once the gates know it.
async function newKey(tenant) {
  const { key } = JSON.parse(tollgate('key', 'create', 'load', '--tenant', tenant, '--scopes', 'call,read', '--json'));
  await eventually(async () => (await fetch(`${process.env.URL}/api/usage/tenant/${tenant}/check?metric=api_call&amount=0`,
    { headers: { authorization: `Bearer ${key}` } }).catch(() => ({}))).status === 200, 'the new key to be known', 5);
  return key;
}

test(`${count} calls of an unlimited tenant over 64 connections are as many rows as answers of 2xx`, async () => {
  const [{ tenant_id: tenant }] = db(`SELECT tenant_id FROM tenant_subscriptions s
    WHERE (usage_limits->>'api_calls_per_day')::numeric = -1 ORDER BY tenant_id`);
  const key = await newKey(tenant);
  const mark = Date.now().toString(36);
  const { answers, unanswered } = await load({ port, key, count, path: (n) => `/api/demo/${mark}/${n}` });
  assert.equal(unanswered.size, 0);
  const admitted = [...answers].filter(([, a]) => a.status >= 200 && a.status < 300).map(([n]) => n);
  assert.equal(admitted.length, count);
  const stored = () => db(`SELECT metadata->>'endpoint' AS e FROM usage_tracking
    WHERE tenant_id = '${tenant}' AND metadata->>'endpoint' LIKE '/api/demo/${mark}/%'`).map((r) => Number(r.e.split('/').pop()));
  await eventually(() => stored().length >= count, 'all rows', 20);
  assert.deepEqual(stored().sort((a, b) => a - b), admitted.sort((a, b) => a - b));

  const [books] = db(`SELECT
    (SELECT count(*) FROM usage_tracking u WHERE u.tenant_id = p.tenant_id AND metric_type = 'api_call'
       AND recorded_at >= p.starts_at AND recorded_at < p.ends_at) AS rows,
    (SELECT api_calls_count FROM usage_summary s WHERE s.tenant_id = p.tenant_id AND s.period_start = p.period_start) AS summary,
    (SELECT sum(total) FROM tollgate.usage_daily d WHERE d.tenant_id = p.tenant_id AND metric_type = 'api_call'
       AND day BETWEEN p.period_start AND p.period_end) AS daily,
    (SELECT sum(total) FROM tollgate.usage_hourly h WHERE h.tenant_id = p.tenant_id AND metric_type = 'api_call'
       AND hour >= p.starts_at AND hour < p.ends_at) AS hourly,
    (SELECT (current_usage->>'api_calls_today')::numeric FROM tenant_subscriptions t WHERE t.tenant_id = p.tenant_id) AS today,
    (SELECT count(*) FROM usage_tracking u WHERE u.tenant_id = p.tenant_id AND metric_type = 'api_call'
       AND (recorded_at AT TIME ZONE p.time_zone)::date = (now() AT TIME ZONE p.time_zone)::date) AS today_rows
    FROM tollgate.tenant_periods p WHERE p.tenant_id = '${tenant}' AND now() >= p.starts_at AND now() < p.ends_at`);
  for (const part of ['summary', 'daily', 'hourly']) assert.equal(Number(books[part]), Number(books.rows), part);
  assert.equal(Number(books.today), Number(books.today_rows), 'current_usage');
});

test('with N calls left, N of three times as many pass, and the rest get 429', async () => {
  const tenant = `exact_${process.env.SERVER}_${Date.now().toString(36)}`;
  const left = Math.min(1000, count / 2);
  tollgate('tenant', 'create', tenant, '--name', 'Exact', '--tier', 'professional');
  db(`SELECT tollgate.set_subscription('${tenant}', NULL,
    '{"api_calls_per_day": ${left}, "api_calls_per_minute": -1}'::jsonb) AS s`);
  const key = await newKey(tenant);
  await eventually(async () => (await fetch(`${process.env.URL}/api/usage/tenant/${tenant}/check?metric=api_call&amount=0`,
    { headers: { authorization: `Bearer ${process.env.OPERATOR_KEY}` } }).then((r) => r.json()).catch(() => ({}))).limit === left, 'the limit', 2);
  const { answers, unanswered } = await load({ port, key, count: left * 3, path: (n) => `/api/demo/exact/${n}` });
  assert.equal(unanswered.size, 0);
  assert.deepEqual(byStatus(answers), { 200: left, 429: left * 2 });
  const rows = () => Number(db(`SELECT count(*) AS n FROM usage_tracking
    WHERE tenant_id = '${tenant}' AND metric_type = 'api_call'`)[0].n);
  await eventually(() => rows() === left, 'the rows', 10);
});
