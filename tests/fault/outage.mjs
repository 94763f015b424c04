// outage.mjs [SECONDS] [SERVER]: PostgreSQL stopped on purpose under load. No call may be refused, the gate must not become
// slower (its times are printed; `make bench` judges them), what fell behind must show, and all must be stored afterwards.
import { execFile, execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { startStack, eventually, sleep } from '../lib/stack.mjs';
import { percentile, startLoad } from '../lib/load.mjs';
import { checks, compare, path, startPoster, unlimited } from './books.mjs';

const seconds = Number(process.argv[2] ?? 10);
const server = process.argv[3] ?? 'lighttpd';
const stack = await startStack({ server });
const { tenant, key } = await unlimited(stack);
const t = checks();
console.log(`outage: PostgreSQL away for ${seconds} s behind ${server}`);

const [{ setting: data }] = stack.asSuperuser(`SELECT setting FROM pg_settings WHERE name = 'data_directory'`);
const bin = execFileSync('sh', ['-c', 'ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1'], { encoding: 'utf8' }).trim();
// Nothing here may block: the load goes on meanwhile.
const run = promisify(execFile);
const pg = (...args) => {
  const command = [join(bin, 'pg_ctl'), '-D', data, '-w', ...args];
  if (process.getuid() === 0) command.unshift('runuser', '-u', 'postgres', '--');
  return run(command[0], command.slice(1), { cwd: '/', stdio: 'ignore', timeout: 60000 });
};
const conf = join(stack.state, 'tollgate.conf');
const status = () => JSON.parse(readFileSync(join(readFileSync(conf, 'utf8').match(/run_dir = (.*)/)[1], 'collector.json'), 'utf8'));
const ms = (answers, from, to) => [...answers].slice(from, to).map(([, a]) => a.ms);

// A connection a call: whether an idle connection may be used once more while it is being closed is HTTP's own race.
const calls = startLoad({ port: stack.port, key, count: 1e9, connections: 8, path, seconds: seconds + 120, pauseMs: 4, headers: { connection: 'close' } });
const poster = startPoster(stack, key);
await sleep(2000); // warm
const a = calls.answers.size;
await sleep(Math.min(seconds, 10) * 1000);
const b = calls.answers.size;
await pg('stop', '-m', 'fast');
await sleep(500);
const c = calls.answers.size;
let lag = 0, lagSeconds = 0, away = false;
for (const until = Date.now() + seconds * 1000; Date.now() < until; await sleep(250)) {
  const s = status();
  lag = Math.max(lag, s.lag_events);
  lagSeconds = Math.max(lagSeconds, s.lag_seconds);
  away ||= s.database !== 'connected';
}
const d = calls.answers.size;
let doctor = '';
try { await run('/bin/sh', ['-c', `exec ${stack.TOLLGATE} doctor`]); } catch (e) { doctor = e.stdout; }
await pg('-l', join(data, '../start.log'), 'start');
const back = Date.now();
// Under load there is always something unread; in seconds, because how many events that is depends on the machine.
await eventually(() => { const s = status(); return s.database === 'connected' && s.lag_seconds < 2; }, 'the collector to have caught up', 60);
const caughtUp = (Date.now() - back) / 1000;
const behind = d - b;
calls.stop();
await poster.stop();
await calls.finished;

const found = await compare(stack, tenant, calls, poster);
t.exact(found);
t.books(stack, tenant);
t.check(Object.keys(found.refused).length === 0 && calls.unanswered.size === 0, 'no call is refused', JSON.stringify(found.refused));
t.check(Object.keys(poster.others).length === 0, 'no event is refused', JSON.stringify(poster.others));
t.check(away && lag > behind / 2, 'the collector says how far it is behind', `${lag} events, ${lagSeconds} s of about ${behind} calls`);
t.check(/WRONG +collector/.test(doctor), 'doctor says that PostgreSQL is away');
const [before, during] = [percentile(ms(calls.answers, a, b), 0.99), percentile(ms(calls.answers, c, d), 0.99)];
console.log(`p99 of calls before ${before.toFixed(2)} ms (${b - a}), during ${during.toFixed(2)} ms (${d - c}), ratio ${(during / before).toFixed(2)}`);
console.log(`caught up ${behind} calls within ${caughtUp.toFixed(1)} s under load: ${Math.round(behind / caughtUp)} a second`);
await stack.stop();
t.end();
