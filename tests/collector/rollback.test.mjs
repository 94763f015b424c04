// What a node makes of a database that went back, of one that is another cluster, and of a spool that was copied or came back. Under load and
// with real restores: tests/fault/back_in_time.mjs.
import assert from 'node:assert/strict';
import { cpSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { makeNode } from '../lib/node.mjs';
import { eventually, sleep } from '../lib/stack.mjs';
import { ask, conninfo, endClusters, kinds } from '../fault/clusters.mjs';

let node;
before(() => { node = makeNode(); });
after(() => node.remove());

const stored = () => Number(node.sql('SELECT count(*) FROM public.usage_tracking'));
const segments = (folder) => readdirSync(folder).filter((name) => name.endsWith('.seg'));
const kept = () => { try { return segments(join(node.spool, 'kept')); } catch { return []; } };
const log = () => readFileSync(join(node.dir, 'tollgate-collector.log'), 'utf8');

test('what is stored is kept, its row goes, and the number below which all is settled grows', async () => {
  const collector = await node.collector();
  for (let i = 0; i < 20; i++) node.write(2);
  await eventually(() => stored() === 40 && kept().length === 20, () => `${stored()} stored, ${kept().length} kept`, 20);
  await eventually(() => node.sql('SELECT count(*) FROM tollgate.collector_progress') === '0', () => `no rows: ${node.sql('SELECT count(*) FROM tollgate.collector_progress')}`, 5);
  assert.equal(node.sql('SELECT settled_below FROM tollgate.collector_nodes'), String(BigInt(`0x${kept().sort().at(-1).slice(0, 16)}`) + 1n));
  await node.stop(collector);
});

test('a segment that comes back is not stored again, and said to be left alone', async () => {
  const [name] = kept();
  cpSync(join(node.spool, 'kept', name), join(node.spool, name));
  const collector = await node.collector();
  await eventually(() => log().includes(`segment ${name.slice(0, 16)} was stored before and put away`), 'the log to say so', 10);
  await sleep(500);
  assert.equal(stored(), 40);
  assert.equal(segments(node.spool).length, 1);
  await node.stop(collector);
  rmSync(join(node.spool, name));
});

test('a database that holds an earlier start of this node went back: the collector goes on by itself, and stores what it lacks', async () => {
  const token = node.sql('SELECT token FROM tollgate.collector_nodes'), below = node.sql('SELECT settled_below FROM tollgate.collector_nodes');
  const commits = node.sql('SELECT commits FROM tollgate.collector_nodes');
  await node.stop(await node.collector());
  let collector = await node.collector();
  node.write(5);
  await eventually(() => stored() === 45 && kept().length === 21, () => `${stored()} stored`, 10);
  await node.stop(collector);
  // As it was before: the newest five events and both starts are gone.
  node.sql(`BEGIN; DELETE FROM public.usage_tracking WHERE id > (SELECT id FROM public.usage_tracking ORDER BY id OFFSET 39 LIMIT 1); DELETE FROM tollgate.collector_progress;
    UPDATE tollgate.collector_nodes SET token = '${token}', settled_below = ${below}, commits = ${commits}; COMMIT`);
  assert.equal(stored(), 40);
  collector = await node.collector();
  await eventually(() => stored() === 45, () => `the five again, ${stored()} are stored`, 10);
  await sleep(500);
  assert.equal(stored(), 45);
  assert.match(log(), /PostgreSQL is not where this node last saw it \(it went back in time\)/);
  assert.match(node.tollgate(['doctor']).out, /OK +history .*went back in time.*nothing is missing/);
  await node.stop(collector);
});

test('a copied spool is refused, and the first advice loses nothing', async () => {
  const copy = join(node.dir, 'copy');
  cpSync(node.spool, join(copy, 'spool'), { recursive: true });
  await node.stop(await node.collector()); // the original starts once more
  writeFileSync(join(copy, 'conf'), readFileSync(node.file, 'utf8').replace(`${node.dir}/spool`, `${copy}/spool`).replace(`${node.dir}/run`, `${copy}/run`));
  const child = node.spawn(new URL('../../build/release/tollgate-collector', import.meta.url).pathname, ['--config', join(copy, 'conf')], 'copy.log');
  assert.equal(await new Promise((done) => child.once('exit', done)), 1);
  const said = readFileSync(join(node.dir, 'copy.log'), 'utf8');
  assert.match(said, /was started elsewhere since/);
  assert.ok(said.indexOf('Nothing is lost while the collector is stopped') < said.indexOf('--take-over') && said.indexOf('spool ingest') < said.indexOf('remove'), said);
  const r = node.tollgate(['spool', 'ingest', join(copy, 'spool')]);
  assert.match(r.out, /0 events stored/);
  assert.equal(stored(), 45);
});

// Processor time in µs of a process and its threads.
const spent = (pid) => { const f = readFileSync(`/proc/${pid}/stat`, 'utf8').replace(/.*\) /, '').split(' '); return (Number(f[11]) + Number(f[12])) * 10000; };
// What the collector and PostgreSQL's processes for it take, µs a second.
async function idle(of, pid, seconds) {
  const all = [pid, ...(await ask(of, "SELECT pid FROM pg_stat_activity WHERE usename = 'tollgate_collector'")).split('\n').map(Number)];
  const sum = () => all.reduce((n, p) => n + spent(p), 0), from = sum();
  await sleep(seconds * 1000);
  return (sum() - from) / seconds;
}

test('in another cluster, whose transaction ids are smaller than those that a dump brought along, the collector idles as before', async () => {
  const other = makeNode(), how = kinds['new cluster'](other);
  try {
    writeFileSync(other.file, readFileSync(other.file, 'utf8').replace(/^owner = .*$/m, `owner = ${conninfo(other, 'tollgate_owner')}`)
      .replace(/^collector = .*$/m, `collector = ${conninfo(other, 'tollgate_collector')}`));
    other.sql("INSERT INTO public.tenants (id, name) SELECT 't' || n, 'T' FROM generate_series(1, 20) n");
    other.sql('DO $$ BEGIN FOR i IN 1..30000 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$');
    other.sql("INSERT INTO tollgate.usage_counts (tenant_id, metric_type, limit_window, window_start, used) SELECT 't' || n, 'api_call', 'day', current_date + d, 1 FROM generate_series(1, 20) n, generate_series(0, 2999) d");
    const collector = await other.collector();
    await sleep(2500);
    const before = await idle(other, collector.pid, 4);
    await how.begin();
    await how.back();
    assert.ok(Number(await ask(other, 'SELECT count(*) FROM tollgate.usage_counts WHERE xid > pg_snapshot_xmax(pg_current_snapshot())')) > 50000, 'the ids are from the future');
    await eventually(() => /another cluster/.test(readFileSync(join(other.dir, 'tollgate-collector.log'), 'utf8')) && other.status().table === 'ready', 'it to go on', 20);
    await sleep(2500);
    const read = async () => Number(await ask(other, "SELECT idx_tup_read FROM pg_stat_user_indexes WHERE indexrelname = 'idx_usage_counts_xid'"));
    const from = await read(), since = await idle(other, collector.pid, 4), rows = await read() - from;
    assert.ok(rows < 10000, `${rows} counts looked at in 4 s, of 60,000 that are not new`);
    console.log(`idle: ${(before / 1e4).toFixed(1)} % of a core before, ${(since / 1e4).toFixed(1)} % after`);
    assert.ok(since < 2 * before + 20000, `${since} µs a second, before ${before}`);
    // and it follows what is changed from now on
    await ask(other, "UPDATE tollgate.usage_counts SET used = used + 1, xid = pg_current_xact_id() WHERE tenant_id = 't1'");
    await other.stop(collector);
  } finally {
    await endClusters(other);
    await other.remove();
  }
});
