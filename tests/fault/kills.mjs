// kills.mjs [KILLS] [SERVER]: kills at random instants under load; what was answered against what is stored, as sets.
//
// Each round kills one of: a gate, all gates, web, the collector, the web server, a PostgreSQL back end, the postmaster
// (immediate), everything at once. Calls carry a number in their path; events posted to the API carry an id.
// Right when: rows of calls ≥ answers of 2xx and ⊆ answers ∪ calls in flight at a kill, no row twice; events: every
// acknowledged id stored once, none twice. Prints sent, acknowledged, stored, lost, doubled; exit status 1 when wrong.
import { startStack, eventually, sleep } from '../lib/stack.mjs';
import { startLoad } from '../lib/load.mjs';

const kills = Number(process.argv[2] ?? 10);
const server = process.argv[3] ?? 'lighttpd';
const seed = Number(process.env.SEED ?? Date.now() % 1000000);
let state = seed;
const random = () => { // mulberry32: a seed replays the order of the kills
  state = (state + 0x6d2b79f5) | 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
};

const stack = await startStack({ server });
console.log(`kills: ${kills} behind ${server}, seed ${seed}`);
const [{ tenant_id: tenant }] = stack.sql(`SELECT tenant_id FROM tenant_subscriptions
  WHERE (usage_limits->>'api_calls_per_day')::numeric = -1 ORDER BY tenant_id`);
const key = JSON.parse(stack.tollgate('key', 'create', 'kills', '--tenant', tenant, '--scopes', 'call,track', '--json')).key;
await eventually(async () => (await fetch(`${stack.URL}/api/demo/warm`, { headers: { authorization: `Bearer ${key}` } })).status === 200,
  'the key to be known', 5);

const calls = startLoad({ port: stack.port, key, count: 1e9, connections: 16, path: (n) => `/api/demo/kill/${n}`,
  seconds: 60 + kills * 10, pauseMs: 2 });

// Events with ids, each retried until it is acknowledged: a retry must not double it.
const acknowledged = new Set();
let posting = true, posted = 0;
const poster = (async () => {
  while (posting) {
    const ids = Array.from({ length: 5 }, () => `event-${posted++}`);
    for (;;) {
      try {
        const r = await fetch(`${stack.URL}/api/usage/events`, { method: 'POST',
          headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json' },
          body: JSON.stringify(ids.map((id) => ({ metric_type: 'file_upload', id, metadata: { test: id } }))) });
        await r.text();
        if (r.status === 202) { ids.forEach((id) => acknowledged.add(id)); break; }
      } catch { /* the server was killed: the same ids again */ }
      if (!posting) return;
      await sleep(30);
    }
    await sleep(10);
  }
})();

const named = (pattern) => stack.processes().filter((p) => pattern.test(p.name) || pattern.test(p.command.split(' ')[0]));
const kill = (list) => list.forEach((p) => { try { process.kill(p.pid, 'SIGKILL'); } catch { /* gone */ } });
const one = (list) => (list.length ? [list[Math.floor(random() * list.length)]] : []);
const serverName = { lighttpd: /lighttpd/, apache: /apache2/, nginx: /nginx/ }[server];
const postmaster = (signal) => { try { process.kill(stack.postmaster(), signal); } catch { /* being restarted */ } };
const ways = {
  'a gate': () => kill(one(named(/tollgate-gate/))),
  'all gates': () => kill(named(/tollgate-gate/)),
  'web': () => kill(named(/tollgate-web/)),
  'the collector': () => kill(named(/tollgate-colle/)),
  'the web server': () => kill(named(serverName)),
  'a back end of PostgreSQL': () => { try { stack.asSuperuser(`SELECT pg_terminate_backend(pid) AS t FROM pg_stat_activity
    WHERE usename = 'tollgate_collector' OR usename = 'tollgate_web'`); } catch { /* it is away */ } },
  'the postmaster': () => postmaster('SIGQUIT'),
  'everything': () => { kill(named(/tollgate-/)); kill(named(serverName)); postmaster('SIGQUIT'); },
};
const names = Object.keys(ways);
for (let i = 0; i < kills; i++) {
  await sleep(200 + random() * 800);
  const name = names[i % names.length];
  ways[name]();
  if (stack.exited) throw new Error(`make run ended after killing ${name}`);
  if ((i + 1) % 10 === 0 || i + 1 === kills) console.log(`  ${i + 1} of ${kills}, ${calls.admitted} calls admitted, ${acknowledged.size} events`);
  const before = calls.admitted;
  await eventually(() => calls.admitted > before + 20, `calls to be answered again after killing ${name}`, 60);
}
calls.stop(); posting = false;
const { answers, unanswered } = await calls.finished;
await poster;

const admitted = [...answers].filter(([, a]) => a.status >= 200 && a.status < 300).map(([n]) => n);
const refused = [...answers].filter(([, a]) => a.status >= 400).length;
const stored = () => stack.sql(`SELECT substring(metadata->>'endpoint' FROM '[0-9]+$')::int AS n FROM usage_tracking
  WHERE tenant_id = '${tenant}' AND metadata->>'endpoint' LIKE '/api/demo/kill/%'`).map((r) => r.n);
const ids = () => stack.sql(`SELECT event_id AS id FROM usage_event_ids WHERE tenant_id = '${tenant}'`).map((r) => r.id);
const events = () => stack.sql(`SELECT metadata->>'test' AS id FROM usage_tracking WHERE tenant_id = '${tenant}'
  AND metric_type = 'file_upload' AND metadata ? 'test'`).map((r) => r.id);
await eventually(() => {
  try {
    const [there, eventsThere] = [new Set(stored()), new Set(events())];
    return admitted.every((n) => there.has(n)) && [...acknowledged].every((id) => eventsThere.has(id));
  } catch { return false; } // PostgreSQL may still be recovering
}, 'every acknowledged call and event to be stored', 60).catch((e) => console.log(e.message));
await sleep(1500);
const all = stored();
const set = new Set(all);
const lost = admitted.filter((n) => !set.has(n));
const doubled = all.length - set.size;
// A server whose gate was killed answers 5xx, or breaks the connection: such a call may be recorded. A refused one never.
const invented = all.filter((n) => !unanswered.has(n) && (!answers.has(n) || (answers.get(n).status >= 300 && answers.get(n).status < 500)));
const claimed = new Set(ids());
const rows = events();
const eventRows = new Set(rows);
const lostEvents = [...acknowledged].filter((id) => !eventRows.has(id));
const unclaimed = [...eventRows].filter((id) => !claimed.has(id)).length + [...claimed].filter((id) => !eventRows.has(id)).length;
console.log(`calls:  sent ${calls.sent} acknowledged ${admitted.length} refused ${refused} in flight ${unanswered.size} stored ${set.size} lost ${lost.length} doubled ${doubled} invented ${invented.length}`);
console.log(`events: sent ${posted} acknowledged ${acknowledged.size} stored ${eventRows.size} lost ${lostEvents.length} doubled ${rows.length - eventRows.size} apart from their ids ${unclaimed}`);
const books = stack.tollgate('reconcile', '--tenant', tenant, '--json');
console.log(`reconcile: ${books.trim().slice(0, 300)}`);
await stack.stop();
const wrong = lost.length || doubled || invented.length || lostEvents.length || rows.length !== eventRows.size || unclaimed ||
  JSON.parse(books).length;
console.log(wrong ? '0 passed, 1 failed' : '1 passed, 0 failed');
process.exit(wrong ? 1 : 0);
