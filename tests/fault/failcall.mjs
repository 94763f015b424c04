// failcall.mjs [PLACES]: each system call of gate, web and collector on spool and limit table, and each step of libpq, made
// to fail in turn under load: the first, second, … PLACES-th time that it comes, with each errno, at work and while the
// program starts. Lost 0, doubled 0. tests/fault/failcall.c does the failing.
import { execFileSync } from 'node:child_process';
import { chmodSync, closeSync, mkdtempSync, openSync, readSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root, startStack, eventually, sleep } from '../lib/stack.mjs';
import { startLoad } from '../lib/load.mjs';
import { checks, compare, path, startPoster, unlimited } from './books.mjs';

const places = Number(process.argv[2] ?? 1);
execFileSync('make', ['--no-print-directory', '-s', 'build/release/tools/failcall.so'], { cwd: root, stdio: 'inherit' });
const state = mkdtempSync(join(tmpdir(), 'tg-'));
chmodSync(state, 0o755);
const control = join(state, 'failcall');
writeFileSync(control, Buffer.alloc(24));
chmodSync(control, 0o666);
const stack = await startStack({ state, env: { LD_PRELOAD: join(root, 'build/release/tools/failcall.so'), FAILCALL: control,
  FAILCALL_DIR: state, TOLLGATE_SPOOL_SEGMENT_BYTES: '65536', TOLLGATE_SPOOL_SEGMENT_AGE_S: '1', TOLLGATE_SPOOL_KEEP_BYTES: '262144', TOLLGATE_SPOOL_SYNC_MS: '50', TOLLGATE_GATE_PROCESSES: '2',
  TOLLGATE_WEB_PROCESSES: '1' } });
const { tenant, key } = await unlimited(stack);
const t = checks();
console.log(`failcall: up to ${places} places of each call`);

const file = openSync(control, 'r+');
const arm = (...words) => writeSync(file, Buffer.from(Int32Array.from(words).buffer), 0, 24, 0);
const failures = () => { const b = Buffer.alloc(24); readSync(file, b, 0, 24, 0); return b.readInt32LE(20); };
const programs = { gate: 1, web: 2, collector: 3 };
const [EIO, ENOSPC, ENOMEM, SHORT] = [5, 28, 12, 0];
const system = [['open', 0, [EIO, ENOSPC]], ['write', 1, [ENOSPC, SHORT]], ['pwrite', 2, [EIO, ENOSPC, SHORT]], ['fdatasync', 3, [EIO]],
  ['fsync', 4, [EIO]], ['rename', 5, [ENOSPC]], ['unlink', 6, [EIO]], ['link', 7, [ENOSPC]], ['mmap', 8, [ENOMEM]],
  ['ftruncate', 9, [EIO]], ['fallocate', 10, [ENOSPC]]];
const libpq = [['connect', 11], ['begin', 12], ['query', 13], ['copy', 14], ['copy end', 15], ['commit, before', 16],
  ['commit, during', 17], ['commit, after', 18]];

const calls = startLoad({ port: stack.port, key, count: 1e9, connections: 6, path, seconds: 3600, pauseMs: 2 });
const poster = startPoster(stack, key, { padding: 'x'.repeat(1000) });
const named = (name) => stack.processes().filter((p) => p.name.startsWith(`tollgate-${name}`.slice(0, 15)));
const done = {};
let orders = 0;
// Waits until the ordered call failed, or never came.
async function fail(program, name, number, place, error, { restart = false, meanwhile = null, ms = 1500 } = {}) {
  arm(1, programs[program], number, place, error, 0);
  orders++;
  if (meanwhile) meanwhile();
  if (restart) for (const p of named(program)) try { process.kill(p.pid, 'SIGKILL'); } catch { /* gone */ }
  for (const until = Date.now() + (restart ? 6000 : ms); Date.now() < until && failures() === 0;) await sleep(10);
  const came = failures() > 0;
  arm(0, 0, 0, 0, 0, 0);
  if (came) (done[program] ??= new Set()).add(name);
  const before = calls.admitted;
  await eventually(() => calls.admitted > before + 5, () => `calls to be admitted after ${name} failed in ${program}`, 30);
  return came;
}
for (const program of Object.keys(programs)) {
  for (const [name, number, errors] of system) {
    let comes = true; // a call that a program never makes is not waited for again
    for (const error of errors) {
      for (let place = 0; comes && place < places; place++) {
        if (!await fail(program, name, number, place, error)) { comes = place > 0; break; }
      }
    }
    if (places > 1 || ['open', 'mmap', 'rename'].includes(name)) {
      for (let place = 0; place < places; place++) if (!await fail(program, name, number, place, errors[0], { restart: true })) break;
    }
  }
}
for (const [name, number] of libpq) {
  for (let place = 0; place < places * 2; place++) {
    // it connects anew when its connection was cut
    const meanwhile = name !== 'connect' ? null : () => stack.asSuperuser(`SELECT pg_terminate_backend(pid) AS t
      FROM pg_stat_activity WHERE usename = 'tollgate_collector'`);
    await fail('collector', name, number, place, 0, { meanwhile, ms: 4000 });
    await sleep(150);
  }
}
console.log(`${orders} failures ordered; failed: ${Object.entries(done).map(([p, s]) => `${p}: ${[...s].join(' ')}`).join('; ')}`);
await sleep(1500);
calls.stop();
await poster.stop();
await calls.finished;
const degradedRows = () => Number(stack.sql(`SELECT coalesce(sum(metric_value), 0) AS n FROM usage_tracking
  WHERE tenant_id = '${tenant}' AND metric_type = 'api_call' AND metadata ? 'degraded'`)[0].n);
await sleep(3000);
const degraded = degradedRows();
const found = await compare(stack, tenant, calls, poster, { degraded });
console.log(`degraded: ${degraded} calls counted without a row of their own`);
t.exact(found, { degraded });
const missed = [...['open', 'write', 'pwrite', 'link', 'mmap', 'fallocate', 'unlink'].filter((c) => !done.gate?.has(c)).map((c) => `gate ${c}`),
  ...['open', 'pwrite', 'fdatasync', 'link'].filter((c) => !done.web?.has(c)).map((c) => `web ${c}`),
  ...['open', 'write', 'fdatasync', 'rename', 'unlink', 'mmap', ...libpq.map(([name]) => name)].filter((c) => !done.collector?.has(c)).map((c) => `collector ${c}`)];
t.check(missed.length === 0, 'every call was reached', missed.join(', '));
t.books(stack, tenant);
closeSync(file);
await stack.stop();
t.end();
