// full_disk.mjs [ROUNDS] [SERVER]: the spool on a file system of 16 MiB (root; else bounded by spool.max_bytes) that is filled
// and freed again under load. Calls go on and are counted in the limit table; what was admitted without a record comes back
// as degraded events, so that rows + degraded = answers. Events are refused with 503 and Retry-After, and store nothing.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, chmodSync, readFileSync, rmSync, statfsSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startStack, eventually, sleep } from '../lib/stack.mjs';
import { startLoad } from '../lib/load.mjs';
import { checks, compare, path, startPoster, unlimited } from './books.mjs';

const rounds = Number(process.argv[2] ?? 2);
const server = process.argv[3] ?? 'lighttpd';
const state = mkdtempSync(join(tmpdir(), 'tg-'));
chmodSync(state, 0o755);
const spool = join(state, 'spool');
mkdirSync(spool, { mode: 0o700 });
let mounted = false;
try {
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=16m,mode=0700', 'spool', spool], { stdio: 'ignore' });
  mounted = true;
} catch { console.log('no right to mount: spool.max_bytes bounds the spool instead'); }
const unmount = () => { if (mounted) execFileSync('umount', ['-l', spool], { stdio: 'ignore' }); };
const t = checks();
const stack = await startStack({ server, state, env: {
  // small segments, so that what is reserved is used up soon
  TOLLGATE_SPOOL_SEGMENT_BYTES: '65536', TOLLGATE_GATE_PROCESSES: '2', TOLLGATE_WEB_PROCESSES: '1',
  ...(mounted ? {} : { TOLLGATE_SPOOL_MAX_BYTES: String(1 << 20) }) } })
  .catch((e) => { unmount(); throw e; });
const { tenant, key } = await unlimited(stack);
console.log(`full disk: ${rounds} rounds behind ${server}`);
const conf = readFileSync(join(state, 'tollgate.conf'), 'utf8');
const status = () => JSON.parse(readFileSync(join(conf.match(/run_dir = (.*)/)[1], 'collector.json'), 'utf8'));
const degradedRows = () => Number(stack.sql(`SELECT coalesce(sum(metric_value), 0) AS n FROM usage_tracking
  WHERE tenant_id = '${tenant}' AND metric_type = 'api_call' AND metadata ? 'degraded'`)[0].n);

// Calls that the gates let through without a record, as /metrics counts them.
const degradedCalls = async () => Number((await (await fetch(`${stack.URL}/metrics`, { headers: { connection: 'close',
  authorization: `Bearer ${stack.demo.OPERATOR_KEY}` } })).text()).match(/^tollgate_gate_decisions_total\{result="degraded"\} (\d+)/m)?.[1] ?? NaN);

// A file of another owner's that takes all that is left.
const filler = join(spool, 'filler');
const fill = () => {
  const { bavail, bsize } = statfsSync(spool);
  writeFileSync(filler, '');
  try { execFileSync('fallocate', ['-l', String(bavail * bsize), filler], { stdio: 'ignore' }); } catch {
    try { execFileSync('dd', ['if=/dev/zero', `of=${filler}`, 'bs=64k'], { stdio: 'ignore' }); } catch { /* full */ }
  }
};
const calls = startLoad({ port: stack.port, key, count: 1e9, connections: 8, path, seconds: 60 + rounds * 40, pauseMs: 3 });
const poster = startPoster(stack, key, { padding: 'x'.repeat(2000) });
let seen503 = 0;
for (let i = 0; i < rounds; i++) {
  await sleep(1500);
  const before = poster.others[503] ?? 0, withoutRecord = await degradedCalls();
  const until = Date.now() + 25000;
  // Each segment's blocks that were reserved are used up first, and the collector frees some; then nothing is left.
  while (Date.now() < until && !(poster.others[503] > before + 2 && await degradedCalls() > withoutRecord)) {
    if (mounted) { rmSync(filler, { force: true }); fill(); }
    await sleep(200);
  }
  if (mounted && i === 0) console.log(`  filled: ${statSync(filler).size} bytes of filler, ${statfsSync(spool).bavail} blocks free`);
  seen503 += (poster.others[503] ?? 0) > before;
  rmSync(filler, { force: true });
}
await sleep(2000);
calls.stop();
await poster.stop();
await calls.finished;
const admitted = [...calls.answers].filter(([, a]) => a.status === 200).length;
await eventually(() => status().lag_events === 0, 'the spool to be empty', 30).catch((e) => console.log(e.message));
let degraded = 0;
await eventually(() => { const d = degradedRows(); const same = d === degraded; degraded = d; return same && d > 0; }, 'degraded counts to be recorded', 15)
  .catch((e) => console.log(e.message));
const found = await compare(stack, tenant, calls, poster, { degraded, seconds: 30 });
console.log(`degraded: ${degraded} calls counted without a row of their own`);
t.check(found.lost === degraded, 'the books balance: rows and degraded counts are the calls admitted', `${admitted} admitted, ${found.rows} rows, ${degraded} degraded`);
t.check(found.doubled === 0 && found.invented === 0, 'no call is stored twice or though it was refused');
t.check(found.lostEvents === 0 && found.doubledEvents === 0 && found.unclaimed === 0, 'each acknowledged event is stored once, a refused one never');
if (mounted) {
  t.check(degraded > 0 && seen503 === rounds, 'the disk was full in each round', `${seen503} of ${rounds}`);
  t.check(Object.keys(poster.others).every((s) => s === '503') && Number(poster.retryAfter) > 0, 'events are refused with 503 and Retry-After', poster.retryAfter);
}
t.check(Object.keys(found.refused).length === 0, 'no call is refused while on_failure is admit', JSON.stringify(found.refused));
t.books(stack, tenant);
await stack.stop({ keep: true });
unmount();
rmSync(state, { recursive: true, force: true });
t.end();
