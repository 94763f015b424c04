// kills.mjs [KILLS] [SERVER]: kills at random instants while all of the collector's workers have work (busy.mjs); what was answered
// against what is stored, as sets.
//
// Each round kills one of: a gate, all gates, web, the collector, the web server, PostgreSQL's back ends, the postmaster
// (immediate), everything at once. Calls carry a number in their path; events posted to the API carry an id.
// Right when: rows of calls ≥ answers of 2xx and ⊆ answers ∪ calls in flight at a kill, no row twice; events: every
// acknowledged id stored once, none twice; reconcile finds nothing; the limit table holds what the database does; revoked keys are
// refused. Prints sent, acknowledged, stored, lost, doubled; exit status 1 when wrong.
import { startStack, eventually, sleep } from '../lib/stack.mjs';
import { startLoad } from '../lib/load.mjs';
import { checks, compare, path, startPoster, unlimited } from './books.mjs';
import { busyEnv, startWork } from './busy.mjs';

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

const stack = await startStack({ server, env: busyEnv });
console.log(`kills: ${kills} behind ${server}, seed ${seed}`);
const { tenant, key } = await unlimited(stack);
const t = checks();
const calls = startLoad({ port: stack.port, key, count: 1e9, connections: 8, path, seconds: 120 + kills * 20, pauseMs: 20 });
const poster = startPoster(stack, key);
const work = await startWork(stack, random);

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
const names = Object.keys(ways), killed = {};
for (let i = 0; i < kills; i++) {
  await sleep(200 + random() * 1800);
  const name = names[i < names.length ? i : Math.floor(random() * names.length)]; // each of them, also when there are few
  killed[name] = (killed[name] ?? 0) + 1;
  ways[name]();
  if (stack.exited) throw new Error(`make run ended after killing ${name}`);
  if ((i + 1) % 10 === 0 || i + 1 === kills) console.log(`  ${i + 1} of ${kills}, ${calls.admitted} calls admitted, ${poster.acknowledged.size} events`);
  const before = calls.admitted;
  await eventually(() => calls.admitted > before + 20, `calls to be answered again after killing ${name}`, 60);
}
console.log(`killed: ${JSON.stringify(killed)}`);
await work.stop();
calls.stop();
await poster.stop();
await calls.finished;
const found = await compare(stack, tenant, calls, poster);
t.exact(found);
const [{ n: damage }] = stack.sql('SELECT count(*) AS n FROM tollgate.spool_damage');
t.check(Number(damage) === 0, 'no kill leaves damage in the spool', damage);
await work.check(t);
t.books(stack);
await stack.stop();
t.end();
