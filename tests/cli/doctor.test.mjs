// tollgate doctor looks at every part itself: each line OK, or what to do.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createServer } from 'node:http';
import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { makeNode } from '../lib/node.mjs';
import { descendants, eventually, root } from '../lib/stack.mjs';

// The doctor runs while this process waits for it, so the door takes its connection and is silent.
let node, door, port;
const running = {};

// The line of a part, and of every part together; an environment may change the configuration.
function doctor(env = {}) {
  const r = node.tollgate(['--json', 'doctor'], env);
  const lines = JSON.parse(r.out);
  assert.equal(r.status, lines.some((l) => l.state === 'wrong') ? 1 : 0);
  return lines;
}
function wrong(part, says, env) {
  const line = doctor(env).find((l) => l.part === part && l.state === 'wrong');
  assert.ok(line, `no wrong line of "${part}"`);
  assert.match(line.text, says);
}
const right = (part) => assert.deepEqual(doctor().filter((l) => l.part === part).map((l) => l.state).filter((s) => s !== 'ok'), []);

before(async () => {
  node = makeNode();
  door = createServer();
  await new Promise((done) => { door.listen(0, '127.0.0.1', done); });
  port = door.address().port;
  node.configure(`web = host=${node.pg} dbname=tollgate user=tollgate_web\n[gate]\nlisten = unix:${node.dir}/gate.sock\nprocesses = 1\n`
    + `[web]\nlisten = unix:${node.dir}/web.sock\npages_listen = unix:${node.dir}/pages.sock\nprocesses = 1\npublic_url = https://127.0.0.1:${port}\n`);
  running.collector = await node.collector();
  running.gate = node.start('tollgate-gate');
  running.web = node.start('tollgate-web');
  await eventually(() => ['gate', 'web'].every((p) => doctor().some((l) => l.part === p && l.state === 'ok')), 'gate and web', 30);
});
after(async () => { door.close(); await node.remove(); });

test('a node that is well has one line a part, each OK, and exit status 0', () => {
  const lines = doctor();
  assert.deepEqual(lines.filter((l) => l.state !== 'ok'), []);
  for (const part of ['web server', 'gate', 'web', 'pages', 'collector', 'limit table', 'sync', 'spool', 'database', 'clock', 'partitions', 'damage', 'rejected', 'nodes'])
    assert.equal(lines.filter((l) => l.part === part).length, 1, part);
  assert.match(node.tollgate(['doctor']).out, /^OK {5}clock +within 0\.\d s of PostgreSQL's/m);
});

test('a web server that is away, silent or does not reach tollgate-web is told', async () => {
  wrong('web server', /nothing listens at .*start the web server/, { TOLLGATE_WEB_PUBLIC_URL: 'http://127.0.0.1:1' });
  wrong('web server', /does not answer \/healthz/, { TOLLGATE_WEB_PUBLIC_URL: `http://127.0.0.1:${port}` }); // this process waits for the doctor
  const other = execFileSync('python3', ['-c', 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'], { encoding: 'utf8' }).trim();
  const server = node.spawn('python3', ['-m', 'http.server', other, '--bind', '127.0.0.1', '--directory', node.run]);
  await eventually(async () => { try { return (await fetch(`http://127.0.0.1:${other}/`)).ok; } catch { return false; } }, 'a server of files');
  wrong('web server', /with 404: it does not reach tollgate-web/, { TOLLGATE_WEB_PUBLIC_URL: `http://127.0.0.1:${other}` });
  await node.stop(server, 'SIGKILL');
});

for (const part of ['gate', 'web']) {
  test(`a ${part} whose processes hang, and one that is stopped, are told`, async () => {
    const children = descendants(running[part].pid).map((p) => p.pid);
    for (const pid of children) process.kill(pid, 'SIGSTOP');
    wrong(part, /does not answer within 3 s/);
    for (const pid of children) process.kill(pid, 'SIGCONT');
    right(part);
    await node.stop(running[part]);
    wrong(part, /nothing listens at unix:.*start tollgate-/);
    running[part] = node.start(`tollgate-${part}`);
    await eventually(() => doctor().some((l) => l.part === part && l.state === 'ok'), part);
  });
}

test('what collector.json says is believed only while its process lives, holds the lock and has a heartbeat', async () => {
  const file = join(node.run, 'collector.json');
  const say = (change) => writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file)), heartbeat: new Date().toISOString(), ...change }));
  running.collector.kill('SIGSTOP');
  say({ lag_seconds: 100 });
  wrong('collector', /100 s: it catches up/);
  say({ database: 'unavailable', last_error: 'no route', lag_seconds: 0 });
  wrong('collector', /can't use PostgreSQL \(no route\)/);
  say({ database: 'connected', table: 'being built' });
  wrong('limit table', /until it is filled/);
  say({ table: 'ready', last_sync_age: 60 });
  wrong('sync', /last synced 60\.0 s ago/);
  say({ last_sync_age: 0, heartbeat: new Date(Date.now() - 60000).toISOString() });
  wrong('collector', /lives, but was last heard of .*it hangs, or its disk does/);
  say({ pid: 4194303 });
  wrong('collector', /of process 4194303, which is gone/);
  running.collector.kill('SIGCONT');
  await node.stop(running.collector);
  say({ pid: process.pid });
  wrong('collector', /does not run.*start tollgate-collector/); // alive and fresh, but nobody holds the lock
  rmSync(file);
  wrong('collector', /collector\.json can't be read/);
  running.collector = await node.collector();
  right('collector');
});

test('a spool that is gone, segments of another node and a full disk are told', (t) => {
  wrong('spool', /the collector makes it/, { TOLLGATE_PATHS_SPOOL_DIR: join(node.dir, 'none') });
  wrong('disk', /is not there/, { TOLLGATE_PATHS_SPOOL_DIR: join(node.dir, 'none') });
  const other = join(node.dir, 'other');
  mkdirSync(other);
  writeFileSync(join(other, 'node'), 'node 11111111-2222-4333-8444-555555555555\ntoken 00000000000000000000000000000000\n');
  execFileSync(join(root, 'build/release/tools/spool_write'), [other, '1', '1', '1'], { stdio: 'ignore' });
  const segment = readdirSync(other).find((name) => name.endsWith('.seg'));
  copyFileSync(join(other, segment), join(node.spool, segment));
  wrong('spool', /1 segments are another node's.*tollgate spool ingest/);
  rmSync(join(node.spool, segment));
  const small = join(node.dir, 'small');
  mkdirSync(small);
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', small], { stdio: 'ignore' });
  } catch {
    t.diagnostic('no right to mount: a full disk was not provoked');
    return;
  }
  try {
    wrong('disk', /only \d MiB free: make room/, { TOLLGATE_PATHS_RUN_DIR: small });
  } finally {
    execFileSync('umount', [small]);
  }
});

test('a database that is away or another\'s has one line, which says what to do', () => {
  wrong('database', /start PostgreSQL, or correct \[database\] owner/, { TOLLGATE_DATABASE_OWNER: `host=${node.dir} dbname=tollgate` });
  const lines = doctor({ TOLLGATE_DATABASE_OWNER: `host=${node.pg} dbname=postgres user=postgres` });
  assert.deepEqual(lines.filter((l) => ['database', 'clock', 'partitions'].includes(l.part)).map((l) => [l.part, l.state]), [['database', 'wrong']]);
  assert.match(lines.find((l) => l.part === 'database').text, /run `tollgate migrate`/);
});

test('a missing partition, an event from the future, damage, rejected events and a node not heard of are told', () => {
  const month = new Date(new Date().getFullYear(), new Date().getMonth() + 1, 15).toISOString().slice(0, 7).replace('-', '_');
  node.sql(`INSERT INTO usage_tracking (tenant_id, metric_type, metric_value, recorded_at, billing_period) VALUES ('f0', 'api_call', 1, now() + interval '1 hour', '2026-01')`);
  wrong('clock', /events from the future, up to \d{4}-/);
  node.sql('TRUNCATE usage_tracking');
  right('clock');
  node.sql(`DROP TABLE usage_tracking_${month}`);
  wrong('partitions', new RegExp(`${month} missing: the collector creates them`));
  node.sql("INSERT INTO tollgate.spool_damage (node, segment, from_position, to_position) VALUES ('11111111-2222-4333-8444-555555555555', 7, 64, 128)");
  wrong('damage', /1 damaged places.*tollgate doctor --seen/);
  assert.equal(node.tollgate(['doctor', '--seen']).status, 0);
  right('damage');
  node.sql("INSERT INTO tollgate.usage_rejected (tenant_id, node, segment, position, reason, metric_type, record) VALUES ('f0', '11111111-2222-4333-8444-555555555555', 7, 64, 'metadata', 'api_call', '')");
  node.sql("INSERT INTO tollgate.removed (what, before, removed) VALUES ('rejected', now(), 3)");
  wrong('rejected', /1 events in a day could not be stored: metadata 1.*3 older ones that nobody replayed were removed/);
  node.sql("INSERT INTO tollgate.collector_nodes (node, token, host, seen_at) VALUES ('11111111-2222-4333-8444-555555555555', '\\x00', 'gone.example', now() - interval '1 hour')");
  wrong('nodes', /gone\.example: start the collector there/);
});
