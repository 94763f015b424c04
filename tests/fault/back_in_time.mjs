// back_in_time.mjs [ROUNDS [KIND…]]: the database goes back in time under load, while everything runs (odd rounds) or while the node's
// collector is stopped (even ones). Each kind in ROUNDS rounds (1): a base backup put back, an asynchronous standby promoted, a dump
// restored into a new cluster. After each: every acknowledged call and event is there once, what the database says of keys, tenants and
// limits holds within seconds, also of what is changed from then on, and the limit table counts what the rows are. `nothing kept` is the
// counter-example: with spool.keep_minutes = 0 events are lost, and it is said how many. Exit status 1 when wrong.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeNode } from '../lib/node.mjs';
import { eventually, sleep } from '../lib/stack.mjs';
import { callParams, fcgi } from '../lib/fcgi.mjs';
import { checks } from './books.mjs';
import { ask, conninfo, endClusters, kinds } from './clusters.mjs';

const rounds = Number(process.argv[2] ?? 1);
const wanted = process.argv.slice(3);
const REVOKED_WITHIN = 5; // seconds, under load on a busy machine; the promise is 2 of a quiet one
const t = checks();

// A gate, a web program and a collector; small, short segments, so that many are stored to their end.
async function startAll(keep) {
  const node = makeNode();
  const gate = join(node.dir, 'gate'), web = join(node.dir, 'web');
  const hosts = (user) => conninfo(node, user);
  node.configure(''); // the folders, with one host
  const lines = readFileSync(node.file, 'utf8').replace(/^owner = .*$/m, `owner = ${hosts('tollgate_owner')}`)
    .replace(/^collector = .*$/m, `collector = ${hosts('tollgate_collector')}`);
  const { writeFileSync } = await import('node:fs');
  writeFileSync(node.file, `${lines}web = ${hosts('tollgate_web')}\n[spool]\nsegment_age_s = 1\n${keep ? '' : 'keep_minutes = 0\n'}`
    + `[gate]\nlisten = unix:${gate}\nprocesses = 2\n[web]\nlisten = unix:${web}\nprocesses = 1\npages_listen = unix:${web}.pages\n`);
  node.call = (path, key) => fcgi(gate, callParams(path, key)).then((r) => r.status, () => 0);
  node.web = (method, path, key, body = '') => fcgi(web, callParams(path, key, { REQUEST_METHOD: method, PATH_INFO: path, CONTENT_TYPE: 'application/json',
    CONTENT_LENGTH: Buffer.byteLength(body) }), { role: 'responder', body }).catch(() => ({ status: 0, body: '{}' }));
  node.running = { collector: await node.collector(), gate: node.start('tollgate-gate'), web: node.start('tollgate-web') };
  return node;
}

const must = (node, ...args) => {
  const r = node.tollgate(args);
  if (r.status !== 0) throw new Error(`tollgate ${args.join(' ')}: ${r.err}`);
  return r.out;
};
const key = (node, tenant) => JSON.parse(must(node, 'key', 'create', 'k', '--tenant', tenant, '--scopes', 'call,track,read', '--json'));
const holds = (node, path, k, status, what, seconds = REVOKED_WITHIN) => eventually(async () => await node.call(path, k) === status,
  async () => `${what}: ${status}`, seconds).then(() => true, () => false);

// Calls with a number in their path, and events with an id: what was acknowledged.
function startLoad(node, k, at) {
  const calls = new Set(), events = new Set(), slow = [];
  let going = true, n = 0;
  const loop = async (one) => { while (going) { await one(++n); await sleep(4); } };
  const call = async (i) => { const began = Date.now(); if (await node.call(`/api/n/${i}`, k) === 200) calls.add(i); slow.push(Date.now() - began); };
  const post = async (i) => {
    const r = await node.web('POST', '/api/usage/events', k, JSON.stringify([{ metric_type: 'file_upload', id: `e${at}-${i}`, metadata: { test: i } }]));
    if (r.status === 202) events.add(i);
  };
  const all = Promise.all([loop(call), loop(call), loop(call), loop(post)]);
  return { calls, events, slow, async stop() { going = false; await all; } };
}

const rows = async (node, metric, expression) => (await ask(node, `SELECT ${expression} FROM usage_tracking WHERE tenant_id = 'load'
  AND metric_type = '${metric}' AND (metadata ? 'test' OR metadata->>'endpoint' LIKE '/api/n/%')`)).split('\n').filter(Boolean).map(Number);
const storedCalls = (node) => rows(node, 'api_call', "substring(metadata->>'endpoint' FROM '[0-9]+$')");
const storedEvents = (node) => rows(node, 'file_upload', "metadata->>'test'");

async function compare(node, load) {
  let calls = [], events = [];
  await eventually(async () => {
    try { [calls, events] = [await storedCalls(node), await storedEvents(node)]; } catch { return false; }
    const c = new Set(calls), e = new Set(events);
    return [...load.calls].every((n) => c.has(n)) && [...load.events].every((n) => e.has(n));
  }, 'all to be stored', load.patience).catch(() => {});
  await sleep(1500); // whatever would come twice has come
  [calls, events] = [await storedCalls(node), await storedEvents(node)];
  const c = new Set(calls), e = new Set(events);
  return { acknowledged: load.calls.size + load.events.size, stored: c.size + e.size, lost: [...load.calls].filter((n) => !c.has(n)).length + [...load.events].filter((n) => !e.has(n)).length,
    doubled: calls.length - c.size + events.length - e.size };
}

async function round(kind, i, keep = true) {
  const node = await startAll(keep), how = kinds[kind](node), away = i % 2 === 0;
  const name = `${kind}, ${away ? 'the collector stopped' : 'all running'}, round ${i}${keep ? '' : ', nothing kept'}`;
  try {
    for (const id of ['load', 'removed', 'suspended', 'lowered', 'other']) must(node, 'tenant', 'create', id, '--name', id, '--tier', 'free');
    const keys = Object.fromEntries(['load', 'removed', 'suspended', 'lowered', 'other'].map((id) => [id, key(node, id)]));
    const gone = key(node, 'other'); // removed before the moment that the database goes back to
    for (const id of Object.keys(keys)) t.check(await holds(node, '/api/x', keys[id].key, 200, id), `${name}: the gate knows ${id}`);
    must(node, 'key', 'remove', gone.id, '--yes');
    const load = startLoad(node, keys.load.key, i);
    load.patience = keep ? 30 : 8;
    await sleep(1500);
    await how.begin();
    await sleep(1500);
    // What is changed now is undone.
    const late = key(node, 'other');
    must(node, 'key', 'remove', keys.removed.id, '--yes');
    must(node, 'tenant', 'suspend', 'suspended', '--yes');
    t.check(await holds(node, '/api/x', late.key, 200, 'the late key') && await holds(node, '/api/x', keys.removed.key, 401, 'the removed key')
      && await holds(node, '/api/x', keys.suspended.key, 403, 'the suspended tenant'), `${name}: changes hold before`);
    await sleep(2500);
    if (away) await node.stop(node.running.collector);
    const began = Date.now();
    await how.back();
    if (away) node.running.collector = node.start('tollgate-collector');
    const down = (Date.now() - began) / 1000;
    const undone = [await holds(node, '/api/x', late.key, 401, 'the late key', 12), await holds(node, '/api/x', keys.removed.key, 200, 'the removed key'),
      await holds(node, '/api/x', keys.suspended.key, 200, 'the suspended tenant'), await holds(node, '/api/x', gone.key, 401, 'the key removed before')];
    t.check(undone.every(Boolean), `${name}: keys and tenants hold as the database says`, JSON.stringify(undone));
    // What is changed from now on has smaller transaction ids than what was followed before.
    must(node, 'key', 'remove', keys.removed.id, '--yes');
    const since = Date.now();
    const removed = await holds(node, '/api/x', keys.removed.key, 401, 'the key removed after');
    const took = Date.now() - since;
    must(node, 'tenant', 'suspend', 'suspended', '--yes');
    const suspended = await holds(node, '/api/x', keys.suspended.key, 403, 'the tenant suspended after');
    await ask(node, "SELECT tollgate.set_subscription('lowered', NULL, '{\"api_calls_per_day\": 0}'::jsonb)");
    const lowered = await holds(node, '/api/x', keys.lowered.key, 429, 'the limit lowered after');
    t.check(removed && suspended && lowered, `${name}: revocations hold`, JSON.stringify([removed, suspended, lowered]));
    await sleep(1000);
    await load.stop();
    const found = await compare(node, load);
    console.log(`${name}: acknowledged ${found.acknowledged} stored ${found.stored} lost ${found.lost} doubled ${found.doubled}; down ${down.toFixed(1)} s, a removed key refused after ${took} ms`);
    if (keep) t.check(found.lost === 0 && found.doubled === 0, `${name}: nothing is lost or doubled`, JSON.stringify(found));
    else t.check(found.lost > 0 && found.doubled === 0, `${name}: without kept segments something is lost`, JSON.stringify(found));
    // The limit table: what is used is what the rows are.
    await ask(node, "SELECT tollgate.set_subscription('load', NULL, '{\"api_calls_per_day\": 1000000}'::jsonb)");
    const counted = Number(await ask(node, "SELECT count(*) FROM usage_tracking WHERE tenant_id = 'load' AND metric_type = 'api_call'"));
    let check = {};
    t.check(await eventually(async () => {
      check = JSON.parse((await node.web('GET', '/api/usage/tenant/load/check?metric=api_call&amount=0', keys.load.key)).body || '{}');
      return check.limit === 1000000 && check.limit - check.remaining === counted;
    }, 'the count', keep ? 5 : 30).then(() => true, () => false), `${name}: the limit table counts the rows`, `${counted}, ${JSON.stringify(check)}`);
    const reconciled = node.tollgate(['reconcile']);
    t.check(reconciled.status === 0, `${name}: rollups and counts agree with the rows`, reconciled.out);
    const log = readFileSync(join(node.dir, 'tollgate-collector.log'), 'utf8');
    t.check(/is not where this node last saw it/.test(log) && /are stored again, each event once/.test(log), `${name}: the log says so`, log.slice(-3000));
    const doctor = node.tollgate(['doctor']).out;
    t.check(keep ? /OK +history .*went back|OK +history .*another cluster|OK +history .*timeline/.test(doctor) : /WRONG +history .*can't come back/.test(doctor),
      `${name}: doctor says so`, doctor);
  } catch (e) {
    t.check(false, `${name}: ${e.stack}`, readFileSync(join(node.dir, 'tollgate-collector.log'), 'utf8').slice(-3000));
  } finally {
    await endClusters(node);
    await node.remove();
  }
}

for (const kind of Object.keys(kinds)) {
  if (wanted.length && !wanted.some((w) => kind.startsWith(w))) continue;
  for (let i = 1; i <= rounds; i++) await round(kind, rounds === 1 && kind === 'standby promoted' ? 2 : i);
}
if (!wanted.length || wanted.includes('nothing')) await round('base backup', 1, false);
t.end();
