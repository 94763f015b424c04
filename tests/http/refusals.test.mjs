// What a tenant's limits refused is on its page, on the hour of its own wall, and nowhere when nothing was.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { db } from './lib.mjs';
import { makeAccount, signedIn } from '../lib/people.mjs';

const { TENANT_ID: tenant } = process.env;
const run = (sql) => execFileSync('psql', ['-XqAt', '-v', 'ON_ERROR_STOP=1', '-c', sql], { encoding: 'utf8' });

test('the page says what was refused in the last 24 hours, the most first', async () => {
  run(`DELETE FROM tollgate.usage_refusals WHERE tenant_id = '${tenant}'`);
  const visitor = await signedIn(makeAccount('viewer', tenant)), page = async () => (await visitor.get(`/tenant/${tenant}`)).text;
  assert.doesNotMatch(await page(), /Refused in the last 24 hours/);
  run(`INSERT INTO tollgate.usage_refusals (tenant_id, hour, limit_key, limit_table, refused) VALUES
    ('${tenant}', date_trunc('hour', now()), 'api_calls_per_minute', 7, 3), ('${tenant}', date_trunc('hour', now()), 'api_calls_per_day', 7, 40),
    ('${tenant}', date_trunc('hour', now()) - interval '1 hour', 'api_calls_per_day', 8, 2), ('${tenant}', now() - interval '30 hours', 'api_calls_per_day', 8, 500)`);
  try {
    const [{ at }] = db(`SELECT to_char(date_trunc('hour', now()) AT TIME ZONE p.time_zone, 'HH24:MI') AS at FROM tollgate.tenant_periods p
      WHERE p.tenant_id = '${tenant}' AND p.starts_at <= now() AND p.ends_at > now()`);
    assert.match(await page(), new RegExp(`42 by API calls a day, the last in the hour of ${at}</li><li>3 by API calls a minute, the last in the hour of ${at}</li>`));
  } finally {
    run(`DELETE FROM tollgate.usage_refusals WHERE tenant_id = '${tenant}' AND limit_table IN (7, 8)`);
  }
});
