// The blocks of docs/operating.md that are marked sh-runbook, run as they stand, each with a node and clusters of its own.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { makeNode } from '../lib/node.mjs';
import { eventually, root, sleep } from '../lib/stack.mjs';
import { ask, conninfo, endClusters, kinds } from '../fault/clusters.mjs';

const text = readFileSync(join(root, 'docs/operating.md'), 'utf8');
const blocks = Object.fromEntries([...text.matchAll(/^```sh-runbook (\S+)\n([\s\S]*?)^```/gm)].map(([, name, block]) => [name, block]));
const bin = execFileSync('sh', ['-c', 'ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1'], { encoding: 'utf8' }).trim();
const used = new Set();

// As PostgreSQL's user where the machine has one; `own`: as ourselves, for what belongs to the node.
function run(name, env, own = false) {
  used.add(name);
  const bash = ['bash', '-euo', 'pipefail', '-c', blocks[name]];
  const command = process.getuid() === 0 && !own ? ['runuser', '-u', 'postgres', '--', ...bash] : bash;
  const r = spawnSync(command[0], command.slice(1), { cwd: '/', encoding: 'utf8', timeout: 120000,
    env: { PATH: `${bin}:${process.env.PATH}`, PGUSER: 'postgres', LC_ALL: 'C.UTF-8', ...env } });
  assert.equal(r.status, 0, `${blocks[name]}\n${r.stdout}\n${r.stderr}`);
  return r.stdout;
}

const psql = (node, sql) => execFileSync('psql', ['-h', node.pg, '-U', 'postgres', '-d', 'tollgate', '-XAtqc', sql], { encoding: 'utf8' }).trim();
const log = (node) => readFileSync(join(node.dir, 'tollgate-collector.log'), 'utf8');
const stored = async (node) => Number(await ask(node, 'SELECT count(*) FROM public.usage_tracking').catch(() => -1));

// A node with both hosts in its configuration; 40 events before `mark`, 60 after, all stored; then `go`; all have to be there again, once.
async function aside(mark, go, { stop = false } = {}) {
  const node = makeNode();
  try {
    writeFileSync(node.file, readFileSync(node.file, 'utf8').replace(/^owner = .*$/m, `owner = ${conninfo(node, 'tollgate_owner')}`)
      .replace(/^collector = .*$/m, `collector = ${conninfo(node, 'tollgate_collector')}`));
    let collector = await node.collector();
    node.write(40);
    await eventually(async () => await stored(node) === 40, '40 events', 15);
    const env = await mark(node) ?? {};
    node.write(60);
    await eventually(async () => await stored(node) === 100, '100 events', 15);
    if (stop) await node.stop(collector);
    await go(node, { PGDATA: join(node.pg, 'data'), TOLLGATE: `${root}/build/release/tollgate --config ${node.file}`, SPOOL: node.spool, ...env });
    if (stop) collector = await node.collector();
    await eventually(async () => await stored(node) === 100, async () => `100 events again, there are ${await stored(node)}: ${log(node)}`, 30);
    await sleep(1000);
    assert.equal(await stored(node), 100);
    assert.match(log(node), /is not where this node last saw it/);
    const said = run('afterwards', { TOLLGATE: `${root}/build/release/tollgate --config ${node.file}` }, true);
    assert.match(said, /OK +history .*nothing is missing/);
    assert.match(said, /0 differences/);
  } finally {
    await endClusters(node);
    await node.remove();
  }
}

test('a point-in-time restore', () => aside(async (node) => {
  const archive = join(node.dir, 'archive');
  mkdirSync(archive);
  chmodSync(archive, 0o777);
  psql(node, 'ALTER SYSTEM SET archive_mode = on');
  psql(node, `ALTER SYSTEM SET archive_command = 'cp "%p" "${archive}/%f"'`);
  execFileSync(join(root, 'tests/pg.sh'), ['stop', node.pg], { stdio: 'ignore' });
  execFileSync(join(root, 'tests/pg.sh'), ['start', node.pg], { stdio: 'ignore' });
  await kinds['base backup'](node).begin();
  await sleep(2500); // a report of the collector's, so that it has something to go back behind
  const until = psql(node, 'SELECT now()');
  await sleep(2500); // commits behind the target, so that it is reached
  return { ARCHIVE: archive, BACKUP: join(node.dir, 'backup/data'), UNTIL: until };
}, async (node, env) => {
  psql(node, 'SELECT pg_switch_wal()');
  await sleep(1000);
  run('point-in-time', env);
}));

test('a snapshot of the storage, put back', () => aside(async (node) => {
  await kinds['base backup'](node).begin();
  return { SNAPSHOT: join(node.dir, 'backup/data') };
}, (node, env) => run('snapshot', env)));

test('failover to an asynchronous standby', () => aside(async (node) => {
  await kinds['standby promoted'](node).begin();
  return { STANDBY: join(node.dir, 'other/data') };
}, (node, env) => {
  execFileSync(join(root, 'tests/pg.sh'), ['stop', node.pg, 'immediate'], { stdio: 'ignore' });
  run('failover', env);
}));

test('into a new cluster', () => aside(async () => {}, async (node, env) => {
  const other = join(node.dir, 'other');
  execFileSync(join(root, 'tests/pg.sh'), ['start', other], { stdio: 'ignore' });
  mkdirSync(join(node.dir, 'dump'));
  chmodSync(join(node.dir, 'dump'), 0o777);
  run('new-cluster', { ...env, OLD: node.pg, NEW: other, DUMP: join(node.dir, 'dump/tollgate.dump'), SQL: join(root, 'sql') });
  execFileSync(join(root, 'tests/pg.sh'), ['stop', node.pg], { stdio: 'ignore' });
}, { stop: true }));

test('a full disk, a node that died, a copied node', async () => {
  const node = makeNode();
  const env = { TOLLGATE: `${root}/build/release/tollgate --config ${node.file}`, SPOOL: node.spool };
  try {
    const collector = await node.collector();
    node.write(10);
    await eventually(async () => Number(node.sql('SELECT count(*) FROM public.usage_tracking')) === 10 && existsSync(join(node.spool, 'kept')), 'ten events', 15);
    run('disk-full', env, true);
    await node.stop(collector);
    node.write(7);
    const dead = join(node.dir, 'dead'), copy = join(node.dir, 'copy');
    for (const to of [dead, copy]) cpSync(node.spool, join(to, 'spool'), { recursive: true });
    assert.match(run('dead-node', { ...env, DEAD: dead }, true), /7 events stored/);
    assert.match(run('copied-node', { ...env, COPY: copy }, true), /0 events stored/);
    assert.ok(!existsSync(join(copy, 'spool')));
    assert.equal(Number(node.sql('SELECT count(*) FROM public.usage_tracking')), 17);
  } finally { await node.remove(); }
});

test('every block was run', () => assert.deepEqual(Object.keys(blocks).filter((name) => !used.has(name)), []));
