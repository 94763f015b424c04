// A database whose functions are of another version than the programs: they wait for `tollgate migrate` and then go on by themselves,
// the gate decides on, events are accepted, and what is counted in the end is exact.
import assert from 'node:assert/strict';
import { appendFileSync, cpSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { after, before, test } from 'node:test';
import { callParams, fcgi } from '../lib/fcgi.mjs';
import { eventually, root, sleep } from '../lib/stack.mjs';
import { startWeb } from '../lib/web.mjs';

let web, node, gate, calls = 0, events = 0;
before(async () => {
  web = await startWeb();
  node = web.node;
  gate = `${node.dir}/gate.sock`;
  appendFileSync(node.file, `[gate]\nlisten = unix:${gate}\n`);
  node.start('tollgate-gate');
  await eventually(() => new Promise((done) => { const c = connect(gate, () => { c.destroy(); done(true); }); c.on('error', () => done(false)); }), 'the gate', 20);
  // The version before: one function stands there differently.
  cpSync(`${root}/sql`, `${node.dir}/sql`, { recursive: true });
  appendFileSync(`${node.dir}/sql/functions/operator.sql`, '\n-- as it was\n');
  writeFileSync(`${node.dir}/before.conf`, readFileSync(node.file, 'utf8').replace(/sql_dir = .*/, `sql_dir = ${node.dir}/sql`));
});
after(() => web?.remove());

async function call() {
  assert.equal((await fcgi(gate, callParams('/api/patients', web.tenantKey))).status, 200, 'the gate decides');
  calls++;
}
async function post() {
  const r = await web.ask('POST', '/api/usage/events', { key: web.tenantKey, body: JSON.stringify([{ metric_type: 'file_upload', id: `e${events}` }]) });
  assert.equal(r.status, 202, r.body);
  events++;
}
const current = () => web.ask('GET', '/api/usage/tenant/f0/current', { key: web.tenantKey });
const rows = () => node.sql("SELECT string_agg(metric_type || ' ' || n, ', ' ORDER BY metric_type) FROM (SELECT metric_type, count(*) AS n FROM usage_tracking GROUP BY 1) x");
const counts = () => node.sql("SELECT string_agg(metric_type || ' ' || trim_scale(used), ', ' ORDER BY metric_type) FROM tollgate.usage_counts WHERE limit_window = 'period'");
const sent = () => `api_call ${calls}, file_upload ${events}`;

test('the same version: everything is answered and stored', async () => {
  await call();
  await post();
  assert.equal((await current()).status, 200);
  await eventually(() => rows() === sent(), () => rows(), 20);
});
test('another version: pages and JSON answer 503 and say what to do, the gate decides, events are accepted, nothing is stored', async () => {
  const before = node.tollgate(['--config', `${node.dir}/before.conf`, 'migrate']);
  assert.match(before.err, /not the files that this program was built with/);
  const stored = rows();
  for (let i = 0; i < 5; i++) {
    await call();
    await post();
    const r = await current();
    assert.equal(r.status, 503, r.body);
    assert.match(r.body, /"code":\s*"database_version".*tollgate migrate/s);
    assert.equal(r.headers['retry-after'], '5');
  }
  const ready = await web.ask('GET', '/readyz');
  assert.deepEqual([ready.status, JSON.parse(ready.body).database], [503, 'of another version']);
  assert.match(node.tollgate(['doctor']).out, /WRONG +database +the database is of another version of Tollgate than this program, which waits: run `tollgate migrate`/);
  assert.match(node.tollgate(['tenant', 'list']).err, /run `tollgate migrate` of the version that is to run/);
  await eventually(() => /another version of Tollgate/.test(JSON.stringify(node.status())), () => JSON.stringify(node.status()), 20);
  await sleep(2000);
  assert.equal(rows(), stored);
});
test('programs that start then wait, too', async () => {
  const stored = rows();
  await node.stop(web.collector);
  await node.stop(web.child);
  web.collector = node.start('tollgate-collector');
  web.child = node.start('tollgate-web');
  await eventually(async () => (await current().catch(() => ({}))).status === 503, () => web.log(), 20);
  await call();
  await post();
  await eventually(() => /run `tollgate migrate`/.test(readFileSync(`${node.dir}/tollgate-collector.log`, 'utf8')), 'the collector says so in its log', 20);
  await sleep(2000);
  assert.equal(rows(), stored);
});
test('after `tollgate migrate` all go on by themselves, and every call and event is counted once', async () => {
  const r = node.tollgate(['migrate']);
  assert.equal(r.status, 0, r.err);
  await eventually(async () => (await current()).status === 200, 'the JSON', 20);
  await call();
  await post();
  await eventually(() => rows() === sent() && counts() === sent(), () => `${rows()}; ${counts()}; sent ${sent()}`, 30);
  await eventually(async () => (await web.ask('GET', '/readyz')).status === 200, 'readyz', 20);
  await sleep(1000);
  assert.equal(rows(), sent());
});
