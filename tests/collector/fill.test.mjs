// A limit table made anew holds what the database holds, in every window that decides something, at every hour of a week in which
// clocks are set back. PostgreSQL and the collector run on one fake clock.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { compareTable } from '../lib/limit_table.mjs';
import { makeNode } from '../lib/node.mjs';

// Berlin's clocks go back on 25 October 2026 at 01:00 UTC, and so do those of London and the Azores.
const begins = Date.UTC(2026, 9, 22, 0, 30), hours = 7 * 24;
const tenants = [['Europe/Berlin', 1], ['Europe/Berlin', 25], ['Europe/London', 31], ['Atlantic/Azores', 26], ['UTC', 24], ['Pacific/Kiritimati', 25], ['America/New_York', 23]];
const clock = join(mkdtempSync(join(tmpdir(), 'tg-clock-')), 'now');
// In one step: a program that read an empty file would go by the real clock.
const set = (ms) => {
  writeFileSync(`${clock}.new`, `@${new Date(ms).toISOString().slice(0, 19).replace('T', ' ')}\n`, { mode: 0o644 });
  renameSync(`${clock}.new`, clock);
};
const fake = { LD_PRELOAD: '/usr/$LIB/faketime/libfaketime.so.1', FAKETIME_TIMESTAMP_FILE: clock, FAKETIME_NO_CACHE: '1', DONT_FAKE_MONOTONIC: '1', TZ: 'UTC' };

let node;
before(() => {
  execFileSync('chmod', ['755', join(clock, '..')]);
  set(begins);
  Object.assign(process.env, fake);
  // libfaketime's shared memory is sometimes another user's: then a program ends at its start.
  for (let tries = 1; !node; tries++) {
    try { node = makeNode(); } catch (error) { if (tries === 5) throw error; }
  }
  delete process.env.LD_PRELOAD;
  for (const [i, [zone, anchor]] of tenants.entries()) {
    node.sql(`INSERT INTO tenants (id, name) VALUES ('z${i}', '${zone}');
      INSERT INTO tollgate.tenant_settings (tenant_id, schema_name, time_zone, anchor_day) VALUES ('z${i}', 'z${i}', '${zone}', ${anchor})
        ON CONFLICT (tenant_id) DO UPDATE SET time_zone = excluded.time_zone, anchor_day = excluded.anchor_day;
      INSERT INTO tenant_subscriptions (tenant_id, tier_id) VALUES ('z${i}', 'free');
      SELECT tollgate.ensure_periods('z${i}', now() - interval '40 days', now() + interval '40 days')`);
  }
});
after(() => { node.remove(); rmSync(join(clock, '..'), { recursive: true }); });

// `n` uploads and calls of each tenant at that hour, as a batch counts them.
const count = (at, n) => node.sql(`INSERT INTO tollgate.usage_counts AS c (tenant_id, metric_type, limit_window, window_start, used)
  SELECT p.tenant_id, m.metric, w.w, CASE w.w WHEN 'day' THEN tollgate.day_of('${at}', p.time_zone) ELSE p.period_start END, ${n}
  FROM tollgate.tenant_periods p, (VALUES ('file_upload'), ('api_call')) m (metric), (VALUES ('day'), ('period')) w (w)
  WHERE p.starts_at <= '${at}' AND p.ends_at > '${at}' AND p.tenant_id LIKE 'z%'
  ON CONFLICT (tenant_id, metric_type, limit_window, window_start) DO UPDATE SET used = c.used + excluded.used`);

// The table, made anew, against the database.
async function compare() {
  for (const name of readdirSync(node.run)) rmSync(join(node.run, name), { recursive: true });
  // The collector has threads, and libfaketime reads its file for one at a time: the time is given to it at its start.
  const own = { ...fake, FAKETIME: readFileSync(clock, 'utf8').trim(), FAKETIME_TIMESTAMP_FILE: undefined, FAKETIME_NO_CACHE: undefined };
  const was = Object.fromEntries(Object.keys(own).map((name) => [name, process.env[name]]));
  const put = (values) => { for (const [name, value] of Object.entries(values)) if (value === undefined) delete process.env[name]; else process.env[name] = value; };
  put(own);
  let collector;
  try { collector = node.collector(); } finally { put(was); }
  await node.stop(await collector, 'SIGKILL');
  return compareTable(node.run, node.sql);
}

test('day and period counts of a table made anew are those of the database, at every hour of the week', async () => {
  for (let hour = 1; hour <= 20 * 24; hour++) if (hour % 5 === 0) count(new Date(begins - hour * 3600e3).toISOString(), 100 + hour);
  for (let hour = 0; hour < hours; hour++) {
    const at = begins + hour * 3600e3;
    set(at);
    count(new Date(at).toISOString(), 1 + hour);
    const { matters, wrong } = await compare();
    assert.deepEqual(wrong, [], new Date(at).toISOString());
    assert.ok(matters.filter((f) => f[4] !== '0').length >= tenants.length * 2, new Date(at).toISOString());
  }
});
