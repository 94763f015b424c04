// kills.mjs [KILLS] [SERVER]: kills at random instants under load; what was answered against what is stored, as sets.
//
// Each round kills one of: a gate, all gates, web, the collector, the web server, a PostgreSQL back end, the postmaster
// (immediate), everything at once. Calls carry a number in their path; events posted to the API carry an id.
// Right when: rows of calls ≥ answers of 2xx and ⊆ answers ∪ calls in flight at a kill, no row twice; events: every
// acknowledged id stored once, none twice. Prints sent, acknowledged, stored, lost, doubled; exit status 1 when wrong.
import { startStack, eventually, sleep } from '../lib/stack.mjs';
import { startLoad } from '../lib/load.mjs';
import { checks, compare, path, startPoster, unlimited } from './books.mjs';

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
const { tenant, key } = await unlimited(stack);
const t = checks();
const calls = startLoad({ port: stack.port, key, count: 1e9, connections: 8, path, seconds: 120 + kills * 10, pauseMs: 8 });
const poster = startPoster(stack, key);

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
  if ((i + 1) % 10 === 0 || i + 1 === kills) console.log(`  ${i + 1} of ${kills}, ${calls.admitted} calls admitted, ${poster.acknowledged.size} events`);
  const before = calls.admitted;
  await eventually(() => calls.admitted > before + 20, `calls to be answered again after killing ${name}`, 60);
}
calls.stop();
await poster.stop();
await calls.finished;
const found = await compare(stack, tenant, calls, poster);
t.exact(found);
const [{ n: damage }] = stack.sql('SELECT count(*) AS n FROM tollgate.spool_damage');
t.check(Number(damage) === 0, 'no kill leaves damage in the spool', damage);
t.books(stack, tenant);
await stack.stop();
t.end();
