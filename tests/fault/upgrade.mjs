// upgrade.mjs [ROUNDS]: a database of migration 019 is upgraded under load, with the programs of that time, built from the history. The
// old gate goes on with its own limit table while `tollgate migrate` runs and until the new one's is made; then the new programs take
// over. No call is refused but by the limit, exactly the limit passes, every call and event that was acknowledged is there once, and
// what was stored before is there still. Exit status 1 when wrong.
import { execFile, execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { callParams, fcgi } from '../lib/fcgi.mjs';
import { compareTable } from '../lib/limit_table.mjs';
import { bareNode } from '../lib/node.mjs';
import { eventually, root, sleep } from '../lib/stack.mjs';
import { checks } from './books.mjs';

const COMMIT = 'b771bac4'; // the last of migration 019
const rounds = Number(process.argv[2] ?? 1), LIMIT = 12000, BEFORE = 50000;
const run = promisify(execFile);
const t = checks();

// Made once, kept in the build folder.
function oldPrograms() {
  const dir = join(root, 'build/migration-019');
  if (existsSync(dir)) return dir;
  const making = `${dir}.new`;
  rmSync(making, { recursive: true, force: true });
  mkdirSync(making, { recursive: true });
  execFileSync('sh', ['-c', `git -c safe.directory='*' archive ${COMMIT} | tar -x -C "$1" && make -s -C "$1" all`, 'sh', making], { cwd: root, stdio: 'inherit' });
  renameSync(making, dir);
  return dir;
}

const of = (folder) => (program) => join(folder, 'build/release', program);
const old = oldPrograms(), before = of(old), after = of(root);

async function round(i) {
  const node = bareNode('', old);
  let on = false;
  const sockets = (name) => ({ gate: join(node.dir, `${name}-gate`), web: join(node.dir, `${name}-web`) });
  const configure = (at, source) => node.configure(`web = host=${node.pg} dbname=tollgate user=tollgate_web\n`
    + `[gate]\nlisten = unix:${at.gate}\nprocesses = 2\non_failure = deny\n[web]\nlisten = unix:${at.web}\npages_listen = unix:${at.web}-pages\nprocesses = 1\n`, source);
  const start = (of, name) => node.spawn(of(name), ['--config', node.file], `${name}.log`);
  const listens = async (child, socket) => { await eventually(() => existsSync(socket), 'it to listen', 20); await sleep(300); return child; };
  const collector = async (of) => {
    const child = start(of, 'tollgate-collector');
    await eventually(() => { try { return node.status().pid === child.pid && node.status().table === 'ready'; } catch { return false; } }, 'the limit table', 60);
    return child;
  };
  const tollgate = (of, ...args) => run(of('tollgate'), ['--config', node.file, ...args]);
  try {
    const was = sockets('old'), is = sockets('new');
    configure(was, old);
    await tollgate(before, 'migrate', '--new');
    node.sql(`INSERT INTO subscription_tiers VALUES ('free', 'Free', '{"api_calls_per_day": ${LIMIT}}');
      INSERT INTO tenants (id, name) VALUES ('f0', 'F'); INSERT INTO tenant_settings (tenant_id, schema_name) VALUES ('f0', 'f0') ON CONFLICT DO NOTHING;
      INSERT INTO tenant_subscriptions (tenant_id, tier_id) VALUES ('f0', 'free');
      INSERT INTO usage_tracking (tenant_id, metric_type, metric_value, recorded_at, billing_period, metadata) SELECT 'f0', 'appointment_created', 1, now(), to_char(now(), 'YYYY-MM'), '{}'
        FROM generate_series(1, ${BEFORE})`);
    const key = JSON.parse((await tollgate(before, 'key', 'create', 'k', '--tenant', 'f0', '--scopes', 'call,track', '--json')).stdout).key;
    const programs = { collector: await collector(before), gate: await listens(start(before, 'tollgate-gate'), was.gate), web: await listens(start(before, 'tollgate-web'), was.web) };

    // Calls with a number each, and events with an id, again and again until they are acknowledged.
    let to = was, sent = 0, ids = 0;
    on = true;
    const answers = {}, admitted = new Set(), events = new Set(), broken = [];
    const call = async () => {
      const n = sent++;
      try {
        const { status } = await fcgi(to.gate, callParams(`/api/n/${n}`, key));
        answers[status] = (answers[status] ?? 0) + 1;
        if (status === 200) admitted.add(n);
      } catch (e) { broken.push(`${n}: ${e.message}`); }
    };
    const post = async () => {
      const id = `e${ids++}`, body = JSON.stringify([{ metric_type: 'file_upload', id }]);
      while (on) {
        const r = await fcgi(to.web, callParams('/api/usage/events', key, { REQUEST_METHOD: 'POST', SCRIPT_NAME: '/api/usage/events', CONTENT_TYPE: 'application/json',
          CONTENT_LENGTH: Buffer.byteLength(body) }), { role: 'responder', body }).catch(() => ({}));
        if (r.status === 202) { events.add(id); return; }
        await sleep(50);
      }
    };
    const loop = async (one, pauseMs) => { while (on) { await one(); await sleep(pauseMs); } };
    const load = Promise.all([loop(call, 3), loop(call, 3), loop(call, 3), loop(call, 3), loop(post, 10)]);
    const more = (n) => { const at = admitted.size + n; return eventually(() => admitted.size >= at, () => `${n} more calls: ${JSON.stringify(answers)}`, 60); };
    await more(300);
    await eventually(() => events.size > 5, 'events', 10);
    await node.stop(programs.collector);
    await more(100);
    const at = { calls: admitted.size, began: Date.now() };
    await run('psql', ['-h', node.pg, '-U', 'postgres', '-d', 'postgres', '-XAtqv', 'ON_ERROR_STOP=1', '-f', join(root, 'sql/roles.sql')]);
    configure(is, root);
    await tollgate(after, 'migrate');
    console.log(`round ${i}: migrated in ${((Date.now() - at.began) / 1000).toFixed(1)} s, ${admitted.size - at.calls} calls meanwhile`);
    await more(100); // nobody reads the spool, and no table is made yet
    programs.collector = await collector(after);
    await more(200);
    const fresh = [await listens(start(after, 'tollgate-gate'), is.gate), await listens(start(after, 'tollgate-web'), is.web)];
    to = is;
    await more(200);
    await Promise.all([node.stop(programs.gate), node.stop(programs.web)]);
    const early = admitted.size;
    t.check(JSON.stringify(Object.keys(answers)) === '["200"]' && early < LIMIT, `round ${i}: no call was refused`, `${early} of ${LIMIT}, ${JSON.stringify(answers)}`);
    await eventually(() => answers[429] > 100, () => `the limit: ${JSON.stringify(answers)}`, 120);
    on = false;
    await load;
    t.check(broken.length === 0 && Object.keys(answers).join() === '200,429' && admitted.size === LIMIT, `round ${i}: exactly the limit passes, and nothing else is refused`,
      `${admitted.size} of ${LIMIT}, ${JSON.stringify(answers)}, ${broken.length} without an answer ${broken[0] ?? ''}`);

    const rows = (sql) => node.sql(sql).split('\n').filter(Boolean);
    const calls = () => rows("SELECT substring(metadata->>'endpoint' FROM '[0-9]+$') FROM usage_tracking WHERE metric_type = 'api_call'").map(Number);
    await eventually(() => calls().length >= admitted.size, () => `${calls().length} of ${admitted.size} rows`, 60).catch(() => {});
    await sleep(1500); // whatever would come twice has come
    const stored = calls(), set = new Set(stored), uploads = rows('SELECT event_id FROM tollgate.usage_event_ids');
    const uploaded = Number(node.sql("SELECT count(*) FROM usage_tracking WHERE metric_type = 'file_upload'"));
    const lost = [...admitted].filter((n) => !set.has(n)).length + [...events].filter((id) => !uploads.includes(id)).length;
    console.log(`calls: acknowledged ${admitted.size} stored ${set.size} doubled ${stored.length - set.size}; events: acknowledged ${events.size} stored ${uploaded} ids ${uploads.length}; lost ${lost}`);
    t.check(lost === 0 && stored.length === set.size && set.size === admitted.size && uploaded === uploads.length, `round ${i}: everything is there once`);
    t.check(node.sql("SELECT count(*) FROM usage_tracking WHERE metric_type = 'appointment_created'") === String(BEFORE), `round ${i}: what was stored before is there`);
    const { wrong } = compareTable(node.run, node.sql);
    t.check(wrong.length === 0, `round ${i}: the limit table counts what the database does`, JSON.stringify(wrong.slice(0, 5)));
    for (const child of [programs.collector, ...fresh]) await node.stop(child);
  } finally {
    on = false;
    await node.remove();
  }
}

for (let i = 1; i <= rounds; i++) await round(i).catch((e) => t.check(false, `round ${i}: ${e.stack}`));
t.end();
