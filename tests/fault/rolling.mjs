// rolling.mjs [ROUNDS] [SERVER]: everything restarted in turn under load: SIGHUP to gate and web (they hand their sockets to a
// new process), SIGTERM to the collector, the web server's own graceful restart. Nothing may be lost, nothing refused.
import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { startStack, eventually, sleep } from '../lib/stack.mjs';
import { startLoad } from '../lib/load.mjs';
import { checks, compare, path, startPoster, unlimited } from './books.mjs';

const rounds = Number(process.argv[2] ?? 2);
const server = process.argv[3] ?? 'lighttpd';
const stack = await startStack({ server });
const { tenant, key } = await unlimited(stack);
const t = checks();
console.log(`rolling: ${rounds} rounds behind ${server}`);

// Processes of a program whose parent is not one of them; a new parent is the old one's child until that ends.
function parents(program) {
  const mine = new Map();
  for (const pid of readdirSync('/proc').filter((e) => /^\d+$/.test(e))) {
    try {
      if (!readFileSync(`/proc/${pid}/cmdline`, 'utf8').startsWith(program)) continue;
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      const [state, ppid] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      if (state !== 'Z') mine.set(Number(pid), Number(ppid));
    } catch { /* ended meanwhile */ }
  }
  return [...mine].filter(([, ppid]) => !mine.has(ppid)).map(([pid]) => pid);
}
const bin = (name) => join(stack.state, 'bin', name);

// A connection a call: whether an idle connection may be used once more while it is being closed is HTTP's own race.
const calls = startLoad({ port: stack.port, key, count: 1e9, connections: 6, path, seconds: 60 + rounds * 60, headers: { connection: 'close' } });
const poster = startPoster(stack, key, { pauseMs: 50 });
async function renew(program, signal) {
  const [old] = parents(bin(program));
  process.kill(old, signal);
  await eventually(() => { const now = parents(bin(program)); return now.length === 1 && now[0] !== old; }, `${program} to be renewed`, 20);
}
for (let i = 0; i < rounds; i++) {
  await sleep(800);
  await renew('tollgate-gate', 'SIGHUP');
  await sleep(300);
  await renew('tollgate-web', 'SIGHUP');
  await sleep(300);
  await renew('tollgate-collector', 'SIGTERM');
  await sleep(300);
  const [main] = stack.processes().filter((p) => (server === 'apache' ? /apache2/ : /lighttpd/).test(p.name)).map((p) => p.pid).sort((a, b) => a - b);
  process.kill(main, 'SIGUSR1');
  const before = calls.admitted;
  await eventually(() => calls.admitted > before + 50, 'calls to go on', 20);
}
await sleep(1000);
calls.stop();
await poster.stop();
await calls.finished;
const found = await compare(stack, tenant, calls, poster);
t.exact(found);
t.check(Object.keys(found.refused).length === 0 && calls.unanswered.size === 0 && calls.failedConnects === 0, 'no call is refused or left without an answer',
  `${JSON.stringify(found.refused)}, ${calls.unanswered.size} without an answer, ${calls.failedConnects} connections refused`);
t.check(Object.keys(poster.others).length === 0, 'no event is refused', JSON.stringify(poster.others));
t.books(stack, tenant);
await stack.stop();
t.end();
