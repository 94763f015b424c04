// gate.mjs: gate processes of their own with a limit table made by tests/tools/table_make.c; no database, no web server.
import { spawn } from 'node:child_process';
import { mkdtempSync, writeFileSync, mkdirSync, rmSync, openSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root, sleep } from './stack.mjs';
import { fcgi, callParams } from './fcgi.mjs';

export async function startTable(dir) {
  for (const d of ['run', 'spool']) mkdirSync(join(dir, d), { recursive: true, mode: 0o700 });
  const child = spawn(join(root, 'build/release/tools/table_make'), [join(dir, 'run'), join(dir, 'spool')], { stdio: ['pipe', 'pipe', 'inherit'] });
  const waiting = [];
  let lines = [];
  createInterface({ input: child.stdout }).on('line', (line) => {
    if (line === 'ok') waiting.shift().done(lines);
    else if (line.startsWith('failed ')) waiting.shift().failed(new Error(line));
    else { lines.push(line); return; }
    lines = [];
  });
  const say = (command) => new Promise((done, failed) => {
    waiting.push({ done, failed });
    child.stdin.write(`${command}\n`);
  });
  return { say, stop: () => { child.stdin.end(); } };
}

// Bound is not listening yet.
const listens = (socket) => new Promise((done) => {
  const connection = connect(socket, () => { connection.destroy(); done(true); });
  connection.on('error', () => done(false));
});

// `listen` is more of gate.listen, `settings` more of the configuration file; `table: false` starts without one (gate.makeTable() later).
export async function startGate({ settings = '', processes = 2, table = true, gate = '', listen = '', program = join(root, 'build/release/tollgate-gate') } = {}) {
  const dir = mkdtempSync(join(tmpdir(), 'tg-gate-'));
  const socket = join(dir, 'gate.sock');
  const self = { dir, socket, table: null };
  const made = await startTable(dir); // also makes the spool's node
  await made.say('tenant alpha 1 -1 -1');
  await made.say('key alpha-key alpha 15');
  if (table) await made.say('ready');
  self.table = made;
  const conf = join(dir, 'tollgate.conf');
  writeFileSync(conf, `[paths]\nspool_dir = ${dir}/spool\nrun_dir = ${dir}/run\n[gate]\nlisten = unix:${socket}${listen}\n` +
    `processes = ${processes}\n${gate}\n${settings}\n`);
  const child = spawn(program, ['--config', conf], { stdio: ['ignore', 'ignore', openSync(join(dir, 'gate.log'), 'a')] });
  let code = null;
  const ended = new Promise((done) => child.on('exit', (c) => { code = c; done(c); }));
  for (let i = 0; i < 200 && !await listens(socket); i++) {
    if (code !== null) throw new Error(`the gate ended with ${code}, see ${dir}/gate.log`);
    await sleep(20);
  }
  self.call = (uri, key, more, how) => fcgi(socket, callParams(uri, key, more), how);
  self.params = (params) => fcgi(socket, params);
  self.pid = child.pid;
  self.conf = conf;
  self.log = () => readFileSync(join(dir, 'gate.log'), 'utf8');
  self.hangUp = () => child.kill('SIGHUP');
  self.ended = ended;
  self.stop = async () => {
    child.kill('SIGTERM');
    const c = await ended;
    made.stop();
    rmSync(dir, { recursive: true, force: true });
    return c;
  };
  self.events = async () => (await made.say('events')).map((line) => {
    const [tenant, metric, flags] = line.split(' ', 3);
    return { tenant, metric, flags: Number(flags), metadata: JSON.parse(line.slice(tenant.length + metric.length + flags.length + 3)) };
  });
  return self;
}
