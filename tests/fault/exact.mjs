// exact.mjs [ROUNDS [SERVER…]]: with 1,000 calls left, exactly 1,000 of 6,000 pass, over 64 connections and four gates.
//
// Each server: ROUNDS (20) quiet rounds, and half as many in which gates, collector and web server are killed; with 0 one
// across the turn of the tenant's day, which waits for the next quarter of an hour. Right when, quiet:
// answers = rows = 1,000 = summary; with kills: answers ≤ rows ≤ answers + calls in flight, rows ≤ 1,000, summary =
// rows; across the day: exactly 1,000 in each day. Exit status 1 when wrong.
import { pathToFileURL } from 'node:url';
import { startStack, eventually, sleep } from '../lib/stack.mjs';
import { byStatus, startLoad } from '../lib/load.mjs';

const LEFT = 1000, CALLS = 6000, CONNECTIONS = 64;
const serverName = { lighttpd: /lighttpd/, apache: /apache2/, nginx: /nginx/ };

async function newTenant(stack, round) {
  const tenant = `exact_${round}_${Date.now().toString(36)}`;
  stack.tollgate('tenant', 'create', tenant, '--name', 'Exact', '--tier', 'professional');
  stack.sql(`SELECT tollgate.set_subscription('${tenant}', NULL,
    '{"api_calls_per_day": ${LEFT}, "api_calls_per_minute": -1}'::jsonb) AS s`);
  const { key } = JSON.parse(stack.tollgate('key', 'create', 'exact', '--tenant', tenant, '--scopes', 'call,read', '--json'));
  const check = () => fetch(`${stack.URL}/api/usage/tenant/${tenant}/check?metric=api_call&amount=0`,
    { headers: { authorization: `Bearer ${key}`, connection: 'close' } }).then((r) => r.json());
  await eventually(async () => (await check()).limit === LEFT, 'the limit to be published', 5);
  return { tenant, key };
}

const books = (stack, tenant) => stack.sql(`SELECT
  (SELECT count(*)::int FROM usage_tracking WHERE tenant_id = '${tenant}' AND metric_type = 'api_call') AS rows,
  (SELECT coalesce(sum(api_calls_count), 0)::int FROM usage_summary WHERE tenant_id = '${tenant}') AS summary`)[0];

// The books once they stand still: as many rows as `least`, and two seconds without another.
async function settled(stack, tenant, least) {
  let last = -1, since = Date.now();
  await eventually(async () => {
    let now;
    try { now = books(stack, tenant); } catch { return false; }
    if (now.rows !== last) { last = now.rows; since = Date.now(); }
    return now.rows >= least && Date.now() - since > 2000;
  }, () => `${least} rows and rest; there are ${last}`, 40);
  return books(stack, tenant);
}

async function quiet(stack, round) {
  const { tenant, key } = await newTenant(stack, `q${round}`);
  const { answers, unanswered } = await startLoad({ port: stack.port, key, count: CALLS, connections: CONNECTIONS,
    path: (n) => `/api/demo/exact/${n}` }).finished;
  const by = byStatus(answers), { rows, summary } = await settled(stack, tenant, by[200] ?? 0);
  const right = unanswered.size === 0 && by[200] === LEFT && by[429] === CALLS - LEFT && rows === LEFT && summary === LEFT;
  return { right, text: `answers ${JSON.stringify(by)} unanswered ${unanswered.size} rows ${rows} summary ${summary}` };
}

async function killed(stack, round) {
  const { tenant, key } = await newTenant(stack, `k${round}`);
  const load = startLoad({ port: stack.port, key, count: 1e6, connections: CONNECTIONS, path: (n) => `/api/demo/exact/${n}`,
    seconds: 120, pauseMs: 100 });
  const named = (pattern) => stack.processes().filter((p) => pattern.test(p.name) || pattern.test(p.command.split(' ')[0]));
  const kill = (list) => list.forEach((p) => { try { process.kill(p.pid, 'SIGKILL'); } catch { /* gone */ } });
  const ways = [() => kill(named(/tollgate-gate/).slice(-1)), () => kill(named(/tollgate-colle/)), () => kill(named(/tollgate-gate/)),
    () => kill(named(serverName[stack.server])), () => { kill(named(/tollgate-gate/)); kill(named(/tollgate-colle/)); }];
  const step = LEFT / (ways.length + 1);
  for (const [i, way] of ways.entries()) {
    await eventually(() => load.admitted >= step * (i + 1), () => `${step * (i + 1)} calls to pass, ${load.admitted} did`, 40);
    way();
  }
  // On to the limit, and until 6,000 were sent: what a kill left counted and not recorded is given back by the collector.
  await eventually(() => load.sent >= CALLS && load.admitted >= LEFT - 2 * CONNECTIONS, 'the limit to be reached', 60);
  await sleep(3000);
  load.stop();
  const { answers, unanswered } = await load.finished;
  const by = byStatus(answers), admitted = by[200] ?? 0;
  // What a killed gate may have recorded: calls without an answer, and those for which the server made up a 5xx.
  const open = unanswered.size + [...answers.values()].filter((a) => a.status >= 500).length;
  const { rows, summary } = await settled(stack, tenant, admitted);
  const right = admitted <= rows && rows <= admitted + open && rows <= LEFT && summary === rows;
  return { right, text: `answers ${JSON.stringify(by)} unanswered ${unanswered.size} rows ${rows} summary ${summary}` };
}

// A zone of fixed offset whose midnight is at `seconds` UTC (POSIX: west is positive).
function zoneOf(seconds) {
  const past = seconds % 86400, west = past <= 43200 ? past : past - 86400, abs = Math.abs(west);
  const two = (n) => String(Math.floor(n)).padStart(2, '0');
  return `<local>${west < 0 ? '-' : ''}${two(abs / 3600)}:${two(abs / 60 % 60)}:${two(abs % 60)}`;
}

// The tenant's midnight comes six seconds after the first call, at a quarter of an hour as in every zone that there is. Only
// zones' names are taken from users, so the superuser puts this one past the trigger.
async function acrossTheDay(stack, round) {
  const { tenant, key } = await newTenant(stack, `d${round}`);
  const midnight = Math.ceil((Date.now() / 1000 + 12) / 900) * 900;
  stack.superuser(`DELETE FROM usage_summary WHERE tenant_id = '${tenant}';
    DELETE FROM tollgate.tenant_periods WHERE tenant_id = '${tenant}';
    SET session_replication_role = replica;
    UPDATE tollgate.tenant_settings SET time_zone = '${zoneOf(midnight)}' WHERE tenant_id = '${tenant}';
    RESET session_replication_role;
    SELECT tollgate.ensure_periods('${tenant}', now() - interval '1 day', now() + interval '40 days');
    SELECT tollgate.set_subscription('${tenant}', NULL, '{"api_calls_per_day": ${LEFT}}')`);
  const resets = () => fetch(`${stack.URL}/api/usage/tenant/${tenant}/check?metric=api_call&amount=0`,
    { headers: { authorization: `Bearer ${key}`, connection: 'close' } }).then((r) => r.json()).then((c) => Date.parse(c.resets_at) / 1000);
  let seen;
  await eventually(async () => { seen = await resets(); return seen === midnight; },
    () => `the new midnight ${midnight} to be published; it is ${seen}`, 5);
  await sleep(Math.max(0, midnight * 1000 - 6000 - Date.now()));
  const { answers, unanswered } = await startLoad({ port: stack.port, key, count: CALLS, connections: CONNECTIONS,
    path: (n) => `/api/demo/exact/${n}`, seconds: 60, pauseMs: 100 }).finished;
  const by = byStatus(answers), { rows } = await settled(stack, tenant, by[200] ?? 0);
  const days = stack.sql(`SELECT count(*)::int AS n, (recorded_at >= to_timestamp(${midnight})) AS after FROM usage_tracking
    WHERE tenant_id = '${tenant}' AND metric_type = 'api_call' GROUP BY 2 ORDER BY 2`).map((r) => r.n);
  const daily = stack.sql(`SELECT total::int AS n FROM tollgate.usage_daily WHERE tenant_id = '${tenant}' AND metric_type = 'api_call'
    ORDER BY day`).map((r) => r.n);
  const right = unanswered.size === 0 && by[200] === 2 * LEFT && rows === 2 * LEFT &&
    [days, daily].every((d) => d.length === 2 && d.every((n) => n === LEFT));
  return { right, text: `answers ${JSON.stringify(by)} unanswered ${unanswered.size} rows by day ${days} daily ${daily}` };
}

export async function exact(server, rounds) {
  const stack = await startStack({ server });
  let wrong = 0;
  try {
    const plan = [...Array(rounds).fill(quiet), ...Array(Math.ceil(rounds / 2)).fill(killed)];
    if (rounds === 0) plan.push(acrossTheDay);
    for (const [i, round] of plan.entries()) {
      const { right, text } = await round(stack, i);
      console.log(`${server} ${round.name} ${i + 1}: ${right ? 'right' : 'WRONG'}; ${text}`);
      if (!right) wrong++;
    }
  } finally { await stack.stop(); }
  return wrong;
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const rounds = Number(process.argv[2] ?? 20), servers = process.argv.slice(3);
  let wrong = 0;
  for (const server of servers.length ? servers : ['lighttpd', 'apache', 'nginx']) wrong += await exact(server, rounds);
  console.log(wrong ? `0 passed, ${wrong} failed` : '1 passed, 0 failed');
  process.exit(wrong ? 1 : 0);
}
