// The configuration file: the installed one loads in every program, and a wrong one is named line by line.
import assert from 'node:assert/strict';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { root, sleep } from '../lib/stack.mjs';

const dir = mkdtempSync(join(tmpdir(), 'tg-config-'));
const installed = join(dir, 'root'), conf = join(installed, 'etc/tollgate/tollgate.conf');
const program = (name) => join(installed, 'usr', name === 'tollgate' ? 'bin' : 'sbin', name);
const tollgate = (...args) => {
  const r = spawnSync(program('tollgate'), args, { encoding: 'utf8' });
  return { status: r.status, out: r.stdout, err: r.stderr };
};
const file = (text) => {
  const name = join(dir, 'wrong.conf');
  writeFileSync(name, text);
  return name;
};

before(() => execFileSync('make', ['-s', 'install', `DESTDIR=${installed}`, 'PREFIX=/usr', 'SYSCONFDIR=/etc'], { cwd: root, stdio: 'ignore' }));
after(() => rmSync(dir, { recursive: true, force: true }));

// Where the installed file's defaults would reach outside of the test's folder.
const inside = {
  TOLLGATE_PATHS_SPOOL_DIR: `${dir}/spool`, TOLLGATE_PATHS_RUN_DIR: `${dir}/run`, TOLLGATE_PATHS_TEMPLATE_DIR: `${root}/templates`,
  TOLLGATE_GATE_LISTEN: `unix:${dir}/gate.sock`, TOLLGATE_WEB_LISTEN: `unix:${dir}/web.sock`, TOLLGATE_WEB_PAGES_LISTEN: `unix:${dir}/pages.sock`,
  TOLLGATE_DATABASE_COLLECTOR: `host=${dir}/nowhere`, TOLLGATE_DATABASE_OWNER: `host=${dir}/nowhere`,
};
const starts = {
  'tollgate-gate': () => existsSync(`${dir}/gate.sock`),
  'tollgate-web': () => existsSync(`${dir}/web.sock`),
  'tollgate-collector': () => existsSync(`${dir}/run/collector.json`),
};
for (const [name, started] of Object.entries(starts)) {
  test(`the installed configuration is read by ${name}`, async (t) => {
    let said = '';
    const child = spawn(program(name), ['--config', conf], { env: { ...process.env, ...inside }, stdio: ['ignore', 'ignore', 'pipe'] });
    child.stderr.on('data', (d) => { said += d; });
    t.after(() => child.kill('SIGKILL'));
    for (let i = 0; i < 600 && !started(); i++) {
      assert.equal(child.exitCode, null, said);
      await sleep(20);
    }
    assert.ok(started(), said);
  });
}

test('the installed configuration is read by tollgate, which then misses the database alone', () => {
  const r = spawnSync(program('tollgate'), ['--config', conf, 'tenant', 'list'], { encoding: 'utf8', env: { ...process.env, ...inside } });
  assert.equal(r.status, 1);
  assert.match(r.stderr, /the database is not available/);
});

test('a rule of a counter that Tollgate counts itself, or of no metric, is named with its line; one of a gauge is right', () => {
  const at = mkdtempSync(join(tmpdir(), 'tg-rules-')), [run, spool] = ['run', 'spool'].map((d) => join(at, d));
  for (const d of [run, spool]) mkdirSync(d, { mode: 0o700 });
  assert.equal(spawnSync(join(root, 'build/release/tools/table_make'), [run, spool], { input: 'ready\n' }).status, 0);
  const r = tollgate('config', '--check', file(`[paths]\nrun_dir = ${run}\n[rules]\nPOST /api/files = file_upload, storage_used_gb\n` +
    'POST /api/appointments = appointment_created\nPOST /api/x = nonsense\n'));
  rmSync(at, { recursive: true });
  assert.equal(r.status, 2);
  assert.match(r.err, /wrong\.conf:5: rules: "POST \/api\/appointments = appointment_created" names a metric that Tollgate counts itself, so the gate leaves the rule out; remove the line/);
  assert.match(r.err, /wrong\.conf:6: rules: "POST \/api\/x = nonsense" names a metric that does not exist/);
  assert.doesNotMatch(r.err, /file_upload|storage_used_gb/);
});

test('more processes than the limit table has room for are refused with what fits', () => {
  const r = tollgate('config', '--check', file('[gate]\nprocesses = 32\n[web]\nprocesses = 32\n'));
  assert.equal(r.status, 2);
  assert.match(r.err, /wrong\.conf: gate\.processes 32 .* are 66 processes; the limit table has room for 64, since a reload runs twice as many: ask for 2 fewer/);
});

test('no line of the shipped file is longer than 100 columns', () => {
  for (const line of readFileSync(conf, 'utf8').split('\n')) assert.ok([...line].length <= 100, line);
});

test('config --check says OK to the installed file', () => {
  assert.deepEqual(tollgate('config', '--check', conf), { status: 0, out: `${conf}: OK\n`, err: '' });
  assert.equal(tollgate('--config', conf, 'config', '--check').status, 0);
});

test('config --check names every problem with its line, and ends with status 2', () => {
  const name = file('[gate]\nproceses = 2\nprocesses = 0\n  listen = unix:/a\n[gate]\nnginx = true\nnginx = true\n[gatte]\nx = 1\n');
  const r = tollgate('config', '--check', name);
  assert.equal(r.status, 2);
  assert.deepEqual(r.err.match(/wrong\.conf:\d+: .{12}/g)?.map((l) => l.replace(/^wrong\.conf:/, '')), [
    '2: gate.procese', '3: gate.process', '4: this line be', '7: gate.nginx i', '8: [gatte] is n',
  ]);
  assert.match(r.err, /tollgate: 5 problems in .*wrong\.conf/);
});

test('a file that is not there, a folder and one of another kind are named', () => {
  assert.match(tollgate('config', '--check', `${dir}/none.conf`).err, /none\.conf: No such file or directory/);
  assert.match(tollgate('config', '--check', dir).err, /Is a directory/);
  assert.match(tollgate('config', '--check', file('\ufeff[gate]\0\n')).err, /wrong\.conf:1: there is a NUL byte/);
  assert.match(tollgate('config', '--check', file('#'.repeat(1 << 20) + '\n')).err, /larger than 1 MiB/);
});

test('a connection string of 5,000 bytes reaches libpq whole', () => {
  const long = 'x'.repeat(5000);
  const name = file(`[database]\nowner = host=${dir}/nowhere application_name=${long} port=54321\n`);
  assert.match(tollgate('--config', name, 'tenant', 'list').err, /54321/);
});
