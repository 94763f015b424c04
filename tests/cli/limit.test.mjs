// tollgate limit: what an operator sets for a tenant and for a tier, what is refused with advice, and what a dry run says.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';

const top = path.resolve(import.meta.dirname, '../..');
const dir = mkdtempSync(path.join(tmpdir(), 'tollgate-limit-'));
const pg = path.join(dir, 'pg');
const conf = path.join(dir, 'tollgate.conf');

function tollgate(...args) {
  const r = spawnSync(path.join(top, 'build/release/tollgate'), ['--config', conf, ...args], { encoding: 'utf8' });
  return { status: r.status, out: r.stdout, err: r.stderr };
}
function ok(...args) {
  const r = tollgate(...args);
  assert.equal(r.status, 0, `tollgate ${args.join(' ')}: ${r.err}`);
  return r.out;
}
const json = (...args) => JSON.parse(ok('--json', ...args));
const sql = (text) => execFileSync('psql', ['-h', pg, '-U', 'postgres', '-d', 'tollgate', '-XAtqc', text], { encoding: 'utf8' }).trim();
const limits = (tenant) => Object.fromEntries(json('limit', 'list', '--tenant', tenant).map((l) => [l.limit_key, l]));
const fed = (tenant, key) => sql(`SELECT max, mode, grace_percent, expires IS NOT NULL FROM tollgate.feed_limits('${tenant}', '', 1) WHERE limit_key = '${key}'`);
function wrong(message, ...args) {
  const r = tollgate('limit', ...args);
  assert.notEqual(r.status, 0, `tollgate limit ${args.join(' ')} passed`);
  assert.match(r.err, message);
}

before(() => {
  execFileSync('chmod', ['711', dir]);
  execFileSync(path.join(top, 'tests/pg.sh'), ['start', pg], { stdio: 'ignore' });
  const psql = (db, ...rest) => execFileSync('psql', ['-h', pg, '-U', 'postgres', '-d', db, '-Xqv', 'ON_ERROR_STOP=1', ...rest], { stdio: 'ignore' });
  psql('postgres', '-f', path.join(top, 'sql/roles.sql'));
  psql('postgres', '-c', 'CREATE DATABASE tollgate OWNER tollgate_owner');
  writeFileSync(conf, `[paths]\nsql_dir = ${top}/sql\n[database]\nowner = host=${pg} dbname=tollgate user=tollgate_owner\n`);
  ok('migrate', '--new');
  ok('tier', 'create', 'pro', '--name', 'Pro', 'api_calls_per_day=1000', 'max_patients=10');
  for (const id of ['a', 'b', 'c']) ok('tenant', 'create', id, '--name', id.toUpperCase(), '--tier', 'pro', '--zone', 'Europe/Berlin');
  ok('tenant', 'create', 'planless', '--name', 'No plan');
});
after(() => {
  execFileSync(path.join(top, 'tests/pg.sh'), ['remove', pg], { stdio: 'ignore' });
  rmSync(dir, { recursive: true, force: true });
});

test('a limit of a tenant replaces the tier\'s number, until it is removed', () => {
  assert.deepEqual([limits('a').api_calls_per_day.max, limits('a').api_calls_per_day.source], [1000, 'tier']);
  ok('limit', 'set', '--tenant', 'a', 'api_calls_per_day', '2500', '--reason', 'asked on the telephone');
  const l = limits('a').api_calls_per_day;
  assert.deepEqual([l.max, l.source, l.mode, l.reason], [2500, 'override', 'hard', 'asked on the telephone']);
  assert.equal(fed('a', 'api_calls_per_day'), '2500000000|hard|0|f');
  assert.equal(limits('b').api_calls_per_day.max, 1000);
  ok('limit', 'remove', '--tenant', 'a', 'api_calls_per_day');
  assert.deepEqual([limits('a').api_calls_per_day.max, limits('a').api_calls_per_day.source], [1000, 'tier']);
  wrong(/tenant "a" has no limit api_calls_per_day of its own/, 'remove', '--tenant', 'a', 'api_calls_per_day');
});

test('what is not named stays as it is', () => {
  ok('limit', 'set', '--tenant', 'a', 'max_patients', '20', '--mode', 'soft', '--expires', '30d', '--reason', 'trial');
  ok('limit', 'set', '--tenant', 'a', 'max_patients', '25');
  const l = limits('a').max_patients;
  assert.deepEqual([l.max, l.mode, l.reason, l.expires_at > ''], [25, 'soft', 'trial', true]);
  ok('limit', 'set', '--tenant', 'a', 'max_patients', '--mode', 'hard', '--reason', '');
  assert.deepEqual([limits('a').max_patients.mode, limits('a').max_patients.reason], ['hard', null]);
  ok('limit', 'remove', '--tenant', 'a', 'max_patients');
});

test('a tier\'s mode holds for its tenants, and a tenant\'s own mode before it', () => {
  ok('limit', 'set', '--tier', 'pro', 'api_calls_per_day', '--mode', 'soft', '--reason', 'pilot');
  assert.equal(fed('a', 'api_calls_per_day'), '1000000000|soft|0|f');
  assert.equal(sql(`SELECT count(*) > 0 FROM tollgate.config_changes WHERE kind = 'tenant' AND subject = 'c'`), 't');
  ok('limit', 'set', '--tenant', 'b', 'api_calls_per_day', '--grace-percent', '10');
  assert.equal(fed('b', 'api_calls_per_day'), '1000000000|grace|10|f');
  assert.deepEqual([limits('b').api_calls_per_day.source, limits('b').api_calls_per_day.mode], ['tier', 'grace']);
  assert.deepEqual(json('limit', 'list', '--tier', 'pro').map((l) => [l.limit_key, l.max, l.mode, l.reason]),
    [['api_calls_per_day', 1000, 'soft', 'pilot'], ['max_patients', 10, 'hard', null]]);
  assert.deepEqual(json('limit', 'list').map((l) => `${l.kind} ${l.id} ${l.limit_key} ${l.mode}`),
    ['tier pro api_calls_per_day soft', 'tenant b api_calls_per_day grace']);
  ok('limit', 'remove', '--tenant', 'b', 'api_calls_per_day');
  ok('limit', 'set', '--tier', 'pro', 'api_calls_per_day', '1000', '--mode', 'hard');
  assert.equal(fed('b', 'api_calls_per_day'), '1000000000|hard|0|f');
});

test('a tier\'s number holds for its tenants, and none holds when it is removed', () => {
  ok('limit', 'set', '--tier', 'pro', 'file_uploads_per_period', '50');
  assert.deepEqual([limits('c').file_uploads_per_period.max, limits('c').file_uploads_per_period.source], [50, 'tier']);
  ok('limit', 'set', '--tenant', 'c', 'file_uploads_per_period', 'unlimited');
  assert.equal(limits('c').file_uploads_per_period.max, -1);
  ok('limit', 'remove', '--tier', 'pro', 'file_uploads_per_period');
  assert.equal(limits('a').file_uploads_per_period, undefined);
  ok('limit', 'remove', '--tenant', 'c', 'file_uploads_per_period');
});

test('a limit with an end holds until then, number and mode', () => {
  ok('limit', 'set', '--tenant', 'a', 'api_calls_per_day', '9000', '--mode', 'soft', '--expires', '2099-03-31');
  assert.equal(limits('a').api_calls_per_day.expires_at, '2099-03-31T22:00:00Z'); // to the day's end in Berlin
  sql(`UPDATE tollgate.usage_limit_overrides SET expires_at = now() - interval '1 second' WHERE tenant_id = 'a'`);
  assert.equal(fed('a', 'api_calls_per_day'), '1000000000|hard|0|f');
  sql('SELECT tollgate.expire_limits()');
  assert.deepEqual([limits('a').api_calls_per_day.max, limits('a').api_calls_per_day.source, limits('a').api_calls_per_day.mode], [1000, 'tier', 'hard']);
  assert.equal(sql(`SELECT usage_limits ->> 'api_calls_per_day' FROM tenant_subscriptions WHERE tenant_id = 'a'`), '1000');
});

test('a number that the host wrote is shown as the host\'s', () => {
  sql(`UPDATE tenant_subscriptions SET usage_limits = usage_limits || '{"max_patients": 77}' WHERE tenant_id = 'b'`);
  assert.deepEqual([limits('b').max_patients.max, limits('b').max_patients.source], [77, 'host']);
  ok('limit', 'set', '--tenant', 'b', 'max_patients', '78');
  assert.equal(limits('b').max_patients.source, 'override');
  ok('limit', 'remove', '--tenant', 'b', 'max_patients');
});

test('a dry run lists who would be over and changes nothing', () => {
  sql(`INSERT INTO tollgate.usage_counts (tenant_id, metric_type, limit_window, window_start, used)
       SELECT t, 'api_call', 'day', tollgate.day_of(now(), 'Europe/Berlin'), n FROM (VALUES ('a', 700), ('b', 300), ('c', 900)) v (t, n)`);
  const before = sql('SELECT limits FROM subscription_tiers') + sql('SELECT string_agg(usage_limits::text, tenant_id) FROM tenant_subscriptions');
  assert.deepEqual(json('limit', 'set', '--tier', 'pro', 'api_calls_per_day', '500', '--dry-run'),
    [{ tenant_id: 'c', limit_key: 'api_calls_per_day', used: 900, max: 500, mode: 'hard' },
      { tenant_id: 'a', limit_key: 'api_calls_per_day', used: 700, max: 500, mode: 'hard' }]);
  assert.deepEqual(json('limit', 'set', '--tenant', 'b', 'api_calls_per_day', '299', '--dry-run').map((l) => l.used), [300]);
  const none = tollgate('limit', 'set', '--tenant', 'b', 'api_calls_per_day', '300', '--dry-run');
  assert.deepEqual([none.status, none.out], [0, '']);
  assert.match(none.err, /Nothing was changed\. Nobody would be over the limit\./);
  assert.equal(sql('SELECT limits FROM subscription_tiers') + sql('SELECT string_agg(usage_limits::text, tenant_id) FROM tenant_subscriptions'), before);
});


// ---- credits ----

const count = (tenant, metric, window, day, used) => sql(`INSERT INTO tollgate.usage_counts (tenant_id, metric_type, limit_window, window_start, used)
  VALUES ('${tenant}', '${metric}', '${window}', '${day}', ${used}) ON CONFLICT (tenant_id, metric_type, limit_window, window_start) DO UPDATE SET used = excluded.used, xid = pg_current_xact_id()`);
const of = (tenant, key) => sql(`SELECT trim_scale(max), trim_scale(plan), trim_scale(credits), trim_scale(credits_left) FROM tollgate.tenant_limits('${tenant}', '${key}')`);

test('a credit adds to the limit until it is used, is listed, and what is left can be taken back', () => {
  ok('tenant', 'create', 'cr', '--name', 'Credit', '--tier', 'pro', '--zone', 'Europe/Berlin');
  const day = sql("SELECT tollgate.day_of(now(), 'Europe/Berlin')");
  const { id } = json('limit', 'grant', 'cr', 'api_call', '500', '--until', '10d', '--reason', 'launch');
  assert.equal(of('cr', 'api_calls_per_day'), '1500|1000|500|500');
  const row = json('limit', 'list', '--tenant', 'cr').find((l) => l.source.startsWith('credit'));
  assert.deepEqual([row.limit_key, row.max, row.used, row.source, row.reason, row.mode], ['api_calls_per_day', 500, 0, `credit ${id}`, 'launch', null]);
  assert.equal(json('limit', 'list').filter((l) => l.source === `credit ${id}`).length, 1);
  count('cr', 'api_call', 'day', day, 1200);
  assert.equal(of('cr', 'api_calls_per_day'), '1500|1000|500|300');
  ok('limit', 'remove', '--tenant', 'cr', '--credit', id);
  assert.equal(of('cr', 'api_calls_per_day'), '1200|1000|200|0');
  wrong(/tenant "cr" has no credit 999/, 'remove', '--tenant', 'cr', '--credit', '999');
});

test('a credit on a level raises its limit, in the database too, until it ends', () => {
  const max = () => sql("SELECT most FROM tollgate.enforced_max('cr', 'patients_count')");
  assert.equal(max(), '10');
  ok('limit', 'grant', 'cr', 'max_patients', '5', '--until', '3d');
  assert.equal(max(), '15');
  assert.equal(of('cr', 'max_patients'), '15|10|5|5');
  sql("UPDATE tollgate.usage_credits SET expires_at = now() WHERE limit_key = 'max_patients'");
  assert.equal(max(), '10');
  assert.equal(of('cr', 'max_patients'), '10|10|0|0');
});

test('what can\'t be granted is refused with the reason', () => {
  wrong(/api_calls_per_minute refills by itself/, 'grant', 'cr', 'api_calls_per_minute', '5', '--until', '3d');
  wrong(/tenant "cr" has no limit on file_uploads_per_period/, 'grant', 'cr', 'file_upload', '5', '--until', '3d');
  wrong(/"0" is no amount; write a number above 0/, 'grant', 'cr', 'api_call', '0', '--until', '3d');
  wrong(/--until is "soon"; write the last day/, 'grant', 'cr', 'api_call', '5', '--until', 'soon');
  wrong(/--until is 2020-01-01, which has passed/, 'grant', 'cr', 'api_call', '5', '--until', '2020-01-01');
  wrong(/say until when it may be used/, 'grant', 'cr', 'api_call', '5');
  wrong(/there is no tenant "nobody"/, 'grant', 'nobody', 'api_call', '5', '--until', '3d');
  ok('tenant', 'create', 'four', '--name', 'Four', '--tier', 'pro');
  for (let i = 1; i <= 4; i++) ok('limit', 'grant', 'four', 'api_call', '5', '--until', `${i}d`);
  wrong(/tenant "four" has four credits on api_calls_per_day that are not used up/, 'grant', 'four', 'api_call', '5', '--until', '9d');
});

// Unit by unit: each one beyond a window's plan goes to the grant that ends first of those that take part. Windows are lists of days.
function slow(windows, plans, grants) {
  const left = grants.map((g) => g.amount), takes = [];
  windows.forEach((days, w) => {
    let used = 0;
    for (const [day, n] of days) for (let i = 0; i < n; i++) {
      if (++used <= plans[w]) continue;
      const open = grants.map((g, at) => ({ ...g, at })).filter((g) => left[g.at] > 0 && g.from < days.at(-1)[0] + 1 && g.until > day);
      open.sort((a, b) => a.until - b.until || a.at - b.at);
      if (!open.length) continue;
      left[open[0].at]--;
      takes[w] ??= {};
      takes[w][open[0].at] = (takes[w][open[0].at] ?? 0) + 1;
    }
  });
  return { left, takes };
}

let seed = 7;
const chance = (most) => (seed = (seed * 1103515245 + 12345) % 2147483648) % 65536 % most;

for (const window of ['day', 'period']) {
  test(`windows of a ${window} take from grants as a model does that takes unit by unit, settled or not, with late events`, () => {
    const limit = window === 'day' ? 'api_calls_per_day' : 'file_uploads_per_period', metric = window === 'day' ? 'api_call' : 'file_upload';
    const statements = [];
    const rounds = [];
    for (let round = 0; round < 12; round++) {
      const id = `model-${window}-${round}`, n = 24;
      const used = Array.from({ length: n }, () => chance(window === 'day' ? 10 : 3));
      const grants = Array.from({ length: 1 + chance(5) }, () => { const from = chance(n - 2); return { from: from + 0.5, until: from + 1 + chance(8), amount: 1 + chance(9) }; });
      rounds.push({ id, n, used, grants });
    }
    ok('limit', 'set', '--tier', 'pro', limit, '3');
    for (const r of rounds)
      statements.push(`INSERT INTO tenants (id, name) VALUES ('${r.id}', 'M'); INSERT INTO tenant_subscriptions (tenant_id, tier_id) VALUES ('${r.id}', 'pro'); SET CONSTRAINTS ALL IMMEDIATE`);
    for (const r of rounds) {
      // Day 0 is n - 1 days ago. One period holds days 0 to 11, the next one the others.
      const first = (i) => `(date_trunc('day', now() AT TIME ZONE 'UTC') - interval '1 day' * ${r.n - 1 - i})`;
      const at = (x) => `${first(Math.floor(x))} AT TIME ZONE 'UTC' + interval '1 day' * ${x - Math.floor(x)}`;
      statements.push(`DELETE FROM tollgate.tenant_periods WHERE tenant_id = '${r.id}'`);
      for (const [a, b] of [[-20, 0], [0, 12], [12, 42]])
        statements.push(`INSERT INTO tollgate.tenant_periods SELECT '${r.id}', ${first(a)}, ${first(b)} - interval '1 day', ${at(a)}, ${at(b)}, 'UTC', 'x'`);
      r.used.forEach((n, i) => statements.push(`INSERT INTO tollgate.usage_counts (tenant_id, metric_type, limit_window, window_start, used) VALUES ('${r.id}', '${metric}', 'day', ${first(i)}, ${n})`));
      if (window === 'period') for (const [a, b] of [[0, 12], [12, 24]])
        statements.push(`INSERT INTO tollgate.usage_counts (tenant_id, metric_type, limit_window, window_start, used) VALUES ('${r.id}', '${metric}', 'period', ${first(a)}, ${r.used.slice(a, b).reduce((x, y) => x + y, 0)})`);
      for (const g of r.grants)
        statements.push(`INSERT INTO tollgate.usage_credits (tenant_id, limit_key, amount, granted_at, expires_at) VALUES ('${r.id}', '${limit}', ${g.amount}, ${at(g.from)}, ${at(g.until)})`);
    }
    sql(`BEGIN; ${statements.join(';\n')}; COMMIT`);
    const windowsOf = (r) => window === 'day' ? r.used.map((n, i) => [[i, n]]) : [[0, 12], [12, 24]].map(([a, b]) => r.used.slice(a, b).map((n, i) => [a + i, n]));
    const compare = (plans) => {
      const taken = JSON.parse(sql(`SELECT json_object_agg(id, takes) FROM (SELECT c.tenant_id AS id, json_agg(t.taken ORDER BY c.id) AS takes FROM tollgate.usage_credits c
        CROSS JOIN LATERAL (SELECT coalesce(sum(x.taken), 0)::int AS taken FROM tollgate.credit_takes(c.tenant_id, '${limit}') x WHERE x.credit = c.id) t
        WHERE c.tenant_id LIKE 'model-${window}-%' GROUP BY 1) m`));
      const fed = JSON.parse(sql(`SELECT coalesce(json_object_agg(tenant_id, lefts), '{}') FROM tollgate.feed_credits(NULL, 'model-${window}-', 100) WHERE tenant_id LIKE 'model-${window}-%'`));
      for (const r of rounds) {
        const windows = windowsOf(r), { takes, left } = slow(windows, windows.map((_, w) => plans(r, w, windows.length)), r.grants);
        const want = r.grants.map((_, g) => takes.reduce((sum, t) => sum + (t?.[g] ?? 0), 0));
        assert.deepEqual(taken[r.id], want, `${r.id}: ${JSON.stringify(r)}`);
        // what is left of grants that go on is what the limit table is told, less what its own windows take
        const fedLeft = (fed[r.id] ?? []).reduce((a, b) => a + b, 0) / 1e6;
        const before = slow(windows.slice(0, -2), windows.slice(0, -2).map((_, w) => plans(r, w, windows.length)), r.grants);
        const since = window === 'day' ? r.n - 2 : 0, ended = window === 'day' ? r.n - 1 : r.n;
        const tail = r.grants.reduce((sum, g, i) => {
          if (g.until <= since || before.left[i] <= 0) return sum;
          const over = window === 'period' && g.until < ended && g.until !== 12; // it ended within a period: what it was used for
          return sum + (over ? before.left[i] - left[i] : before.left[i]);
        }, 0);
        assert.equal(fedLeft, tail, `${r.id}: fed`);
      }
    };
    compare(() => 3);
    sql('SELECT tollgate.settle_credits(1000)');
    compare(() => 3);
    ok('limit', 'set', '--tier', 'pro', limit, '5'); // what is over had the plan of then
    compare((r, w, n) => w === n - 1 ? 5 : 3);
    const late = rounds.map((r) => { // late events, and a window's counts that were removed once they were settled
      const i = window === 'day' ? r.n - 3 : 5;
      r.used[i] += 4;
      return `UPDATE tollgate.usage_counts SET used = used + 4 WHERE tenant_id = '${r.id}' AND metric_type = '${metric}' AND (limit_window = 'day' AND window_start = (date_trunc('day', now() AT TIME ZONE 'UTC') - interval '1 day' * ${r.n - 1 - i})::date
        OR limit_window = 'period' AND window_start = (date_trunc('day', now() AT TIME ZONE 'UTC') - interval '1 day' * ${r.n - 1})::date)`;
    });
    sql(late.join('; '));
    compare((r, w, n) => w === n - 1 ? 5 : 3);
    sql("UPDATE tollgate.usage_credits SET look_at = now(); SELECT tollgate.settle_credits(1000)");
    sql(`DELETE FROM tollgate.usage_counts WHERE tenant_id LIKE 'model-${window}-%' AND window_start < current_date - 15`);
    compare((r, w, n) => w === n - 1 ? 5 : 3);
    ok('limit', 'set', '--tier', 'pro', 'api_calls_per_day', '1000');
  });
}

test('a key has limits of a minute, which are listed with its tenant\'s', () => {
  const { id } = json('key', 'create', 'batch', '--tenant', 'a'), operator = json('key', 'create', 'ops', '--operator').id;
  ok('limit', 'set', '--key', id, 'api_calls_per_minute', '60', '--expires', '9d', '--reason', 'runs wild');
  const row = json('limit', 'list', '--key', id)[0];
  assert.deepEqual([row.kind, row.id, row.limit_key, row.max, row.source, row.mode, row.reason], ['key', id, 'api_calls_per_minute', 60, 'key', 'hard', 'runs wild']);
  assert.equal(limits('a').api_calls_per_minute.source, 'key');
  assert.equal(json('limit', 'list').filter((l) => l.kind === 'key').length, 1);
  assert.equal(sql("SELECT key_id, max, mode FROM tollgate.feed_key_limits('a', '', 1)"), `${id}|60000000|hard`);
  wrong(/a key's limit is of a minute, and api_calls_per_day is not; of a minute: api_calls_per_minute/, 'set', '--key', id, 'api_calls_per_day', '60');
  wrong(/there is no key "nokey"; `tollgate key list` shows them/, 'set', '--key', 'nokey', 'api_calls_per_minute', '60');
  wrong(new RegExp(`key ${operator} is an operator's, which no limit binds`), 'set', '--key', operator, 'api_calls_per_minute', '60');
  wrong(/--dry-run is for a tenant or a tier/, 'set', '--key', id, 'api_calls_per_minute', '60', '--dry-run');
  ok('limit', 'remove', '--key', id, 'api_calls_per_minute');
  wrong(new RegExp(`key ${id} has no limit api_calls_per_minute of its own`), 'remove', '--key', id, 'api_calls_per_minute');
});

test('what is wrong is said with what to write', () => {
  wrong(/say whose limit it is: --tenant ID, --tier ID or --key ID/, 'set', 'max_patients', '5');
  wrong(/say whose limit it is/, 'set', '--tenant', 'a', '--tier', 'pro', 'max_patients', '5');
  wrong(/there is no tenant "nobody"; `tollgate tenant list` shows them/, 'set', '--tenant', 'nobody', 'max_patients', '5');
  wrong(/tenant "planless" has no plan.*tollgate tenant change ID --tier TIER/, 'set', '--tenant', 'planless', 'max_patients', '5');
  wrong(/there is no tier "gold"; `tollgate tier list` shows them/, 'set', '--tier', 'gold', 'max_patients', '5');
  wrong(/there is no limit "max_patient"; `tollgate metric list` shows the limits/, 'set', '--tenant', 'a', 'max_patient', '5');
  wrong(/"api_call" is a metric; its limits are: api_calls_per_day, api_calls_per_minute/, 'set', '--tenant', 'a', 'api_call', '5');
  wrong(/"-5" is not a number of a limit; write 0 to 1000000000000/, 'set', '--tenant', 'a', 'max_patients', '--', '-5');
  wrong(/"1e3" is not a number/, 'set', '--tenant', 'a', 'max_patients', '1e3');
  wrong(/say what the limit is: a number, --mode, or both/, 'set', '--tenant', 'a', 'max_patients', '--reason', 'x');
  wrong(/--mode is "firm"; it is hard \(refuses\), soft/, 'set', '--tenant', 'a', 'max_patients', '5', '--mode', 'firm');
  wrong(/--mode grace needs --grace-percent or --grace-until/, 'set', '--tenant', 'a', 'max_patients', '5', '--mode', 'grace');
  wrong(/go with --mode grace, not with soft/, 'set', '--tenant', 'a', 'max_patients', '5', '--mode', 'soft', '--grace-percent', '10');
  wrong(/--grace-percent is "1001"; it is a whole number from 0 to 1000/, 'set', '--tenant', 'a', 'max_patients', '5', '--grace-percent', '1001');
  wrong(/--expires is "tomorrow"; write a day such as 2027-01-31/, 'set', '--tenant', 'a', 'max_patients', '5', '--expires', 'tomorrow');
  wrong(/--expires is "2026-02-31"; write a day/, 'set', '--tenant', 'a', 'max_patients', '5', '--expires', '2026-02-31');
  wrong(/--expires is 2020-01-01, which has passed/, 'set', '--tenant', 'a', 'max_patients', '5', '--expires', '2020-01-01');
  wrong(/--expires is for a limit of a tenant or a key/, 'set', '--tier', 'pro', 'max_patients', '5', '--expires', '30d');
  wrong(/tier "pro" does not limit max_users/, 'remove', '--tier', 'pro', 'max_users');
  assert.equal(sql('SELECT count(*) FROM tollgate.usage_limit_overrides'), '0');
});
