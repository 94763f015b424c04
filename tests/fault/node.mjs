// node.mjs: further nodes beside that of `make run`: gates, a spool and a collector of their own on the same database.
import { execFileSync, spawn } from 'node:child_process';
import { chownSync, existsSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { eventually, descendants } from '../lib/stack.mjs';
import { fcgi, callParams } from '../lib/fcgi.mjs';

// The database lets the programs in only as the user that `make run` gives them.
const user = process.getuid() === 0 ? ['www-data'].map((u) => ({
  uid: Number(execFileSync('id', ['-u', u], { encoding: 'utf8' })), gid: Number(execFileSync('id', ['-g', u], { encoding: 'utf8' })) }))[0] : {};

// Starts node `name` below the stack's state, once more if it was there before; `key` is one that its gate must know.
export async function startNode(stack, name, key, env = {}) {
  const dir = join(stack.state, name);
  for (const d of [dir, join(dir, 'spool'), join(dir, 'run')]) {
    mkdirSync(d, { recursive: true, mode: 0o755 });
    if (user.uid !== undefined) chownSync(d, user.uid, user.gid);
  }
  const node = { name, dir, socket: join(dir, 'gate'), pids: [], up: true };
  const all = { ...process.env, TOLLGATE_CONF: join(stack.state, 'tollgate.conf'), TOLLGATE_PATHS_SPOOL_DIR: join(dir, 'spool'),
    TOLLGATE_PATHS_RUN_DIR: join(dir, 'run'), TOLLGATE_GATE_LISTEN: `unix:${node.socket}`, TOLLGATE_GATE_PROCESSES: '2', ...env };
  const start = (program) => {
    const log = openSync(join(dir, `${program}.log`), 'a');
    node.pids.push(spawn(join(stack.state, 'bin', program), [], { env: all, ...user, stdio: ['ignore', log, log] }).pid);
  };
  start('tollgate-collector');
  await eventually(() => existsSync(join(dir, 'spool/node')), `node ${name} to have an id`, 10);
  start('tollgate-gate');
  await eventually(async () => { try { return (await fcgi(node.socket, callParams('/api/demo/warm', key))).status === 200; } catch { return false; } },
    () => `node ${name} to admit calls`, 15);
  return node;
}

export function killNode(node) {
  node.up = false;
  for (const pid of node.pids) for (const p of [{ pid }, ...descendants(pid)]) try { process.kill(p.pid, 'SIGKILL'); } catch { /* gone */ }
}

export async function endNode(node) {
  for (const pid of node.pids) try { process.kill(pid, 'SIGTERM'); } catch { /* gone */ }
  await eventually(() => node.pids.every((pid) => { try { process.kill(pid, 0); return /\) Z/.test(readFileSync(`/proc/${pid}/stat`, 'utf8')); } catch { return true; } }),
    `node ${node.name} to end`, 10);
}
