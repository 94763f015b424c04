// stack.mjs: a whole Tollgate of its own for a test (`make run` with its own STATE and PORT), and ways to look inside.
import { spawn, execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, existsSync, rmSync, chmodSync, readdirSync, openSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

export async function freePort() {
  return new Promise((done, failed) => {
    const s = createServer();
    s.once('error', failed);
    s.listen(0, '127.0.0.1', () => { const { port } = s.address(); s.close(() => done(port)); });
  });
}

function parseEnv(text) {
  const out = {};
  for (const line of text.split('\n')) {
    const m = /^(?:export )?([A-Z_]+)=(.*)$/.exec(line);
    if (m) out[m[1]] = execFileSync('/bin/sh', ['-c', `printf %s ${m[2]}`], { encoding: 'utf8' });
  }
  return out;
}

// Starts `make run`; `state` goes on where an earlier stack was. Extra variables go to make's environment.
export async function startStack({ server = 'lighttpd', port, state, env = {}, seconds = 240 } = {}) {
  port ??= await freePort();
  if (!state) {
    state = mkdtempSync(join(tmpdir(), 'tg-'));
    chmodSync(state, 0o755);
  }
  const log = join(state, 'make-run.log');
  const out = openSync(log, 'a');
  const ready = join(state, 'demo.env');
  rmSync(ready, { force: true });
  const child = spawn('make', ['--no-print-directory', 'run', `PORT=${port}`, `STATE=${state}`, `SERVER=${server}`],
    { cwd: root, env: { ...process.env, ...env }, stdio: ['ignore', out, out], detached: true });
  let exited = null;
  child.on('exit', (code, signal) => { exited = { code, signal }; });
  const until = Date.now() + seconds * 1000;
  while (!existsSync(ready)) {
    if (exited || Date.now() > until) {
      throw new Error(`make run ${exited ? 'ended' : 'did not answer'}:\n${readFileSync(log, 'utf8').slice(-3000)}`);
    }
    await sleep(100);
  }
  const demo = parseEnv(readFileSync(ready, 'utf8'));
  const stack = {
    ...demo, demo, server, port, state, log, child,
    // Rows of a query as objects.
    sql(query) { return query_rows(demo, query); },
    // The same as the cluster's superuser.
    asSuperuser(query) { return query_rows({ ...demo, PGUSER: 'postgres' }, query); },
    // Statements, one after another, as the cluster's superuser.
    superuser(statements) {
      return execFileSync('psql', ['-XqAt', '-v', 'ON_ERROR_STOP=1', '-U', 'postgres', '-c', statements],
        { encoding: 'utf8', env: { ...process.env, ...demo, PGUSER: 'postgres' } });
    },
    // Runs the command line program; returns its standard output.
    tollgate(...args) {
      return execFileSync('/bin/sh', ['-c', `exec ${demo.TOLLGATE} "$@"`, 'tollgate', ...args], { encoding: 'utf8' });
    },
    get exited() { return exited; },
    processes() { return descendants(child.pid); },
    postmaster() {
      const dir = query_rows({ ...demo, PGUSER: 'postgres' }, 'SELECT setting FROM pg_settings WHERE name = \'data_directory\'')[0].setting;
      return Number(readFileSync(join(dir, 'postmaster.pid'), 'utf8').split('\n')[0]);
    },
    async stop({ keep = false, signal = 'SIGTERM' } = {}) {
      if (!exited) {
        try { process.kill(-child.pid, signal); } catch { /* gone already */ }
        for (let i = 0; i < 300 && !exited; i++) await sleep(100);
        if (!exited) throw new Error('make run did not stop within 30 s');
      }
      if (!keep) rmSync(state, { recursive: true, force: true });
      return exited;
    },
  };
  return stack;
}

function query_rows(env, query) {
  const text = execFileSync('psql', ['-XqAt', '-v', 'ON_ERROR_STOP=1', '-c',
    `WITH q AS (${query.replace(/;\s*$/, '')}) SELECT coalesce(json_agg(q), '[]') FROM q`], {
    encoding: 'utf8', maxBuffer: 1 << 30,
    env: { ...process.env, PGHOST: env.PGHOST, PGPORT: env.PGPORT, PGDATABASE: env.PGDATABASE, PGUSER: env.PGUSER },
  });
  return JSON.parse(text);
}

// All processes below pid: [{pid, ppid, name, command}].
export function descendants(pid) {
  const all = [];
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const stat = readFileSync(`/proc/${entry}/stat`, 'utf8');
      const close = stat.lastIndexOf(')');
      const [state, ppid] = stat.slice(close + 2).split(' ');
      if (state === 'Z') continue;
      all.push({ pid: Number(entry), ppid: Number(ppid), name: stat.slice(stat.indexOf('(') + 1, close),
        command: readFileSync(`/proc/${entry}/cmdline`, 'utf8').replaceAll('\0', ' ').trim() });
    } catch { /* ended meanwhile */ }
  }
  const found = new Set([pid]);
  for (let grew = true; grew;) {
    grew = false;
    for (const p of all) if (found.has(p.ppid) && !found.has(p.pid)) { found.add(p.pid); grew = true; }
  }
  found.delete(pid);
  return all.filter((p) => found.has(p.pid));
}

// Waits until look() gives something true; fails with `what` after `seconds`.
export async function eventually(look, what, seconds = 10) {
  const until = Date.now() + seconds * 1000;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > until) throw new Error(`not within ${seconds} s: ${typeof what === 'function' ? what() : what}`);
    await sleep(50);
  }
}
