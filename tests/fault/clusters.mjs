// clusters.mjs: a node whose database goes back in time: by a base backup that is put back, by a standby that had not received all, by a
// dump that is restored into another cluster. Real clusters below the node's folder; nothing here blocks while load goes on.
import { execFile, execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { root } from '../lib/stack.mjs';

const run = promisify(execFile);
const bin = execFileSync('sh', ['-c', 'ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1'], { encoding: 'utf8' }).trim();
// PostgreSQL's programs do not run as root.
const pg = (program, ...args) => (process.getuid() === 0
  ? run('runuser', ['-u', 'postgres', '--', join(bin, program), ...args], { cwd: '/', timeout: 120000 })
  : run(join(bin, program), args, { cwd: '/', timeout: 120000 }));
const psql = (host, db, text) => run('psql', ['-h', host, '-U', 'postgres', '-d', db, '-XAtqv', 'ON_ERROR_STOP=1', '-c', text]);
const start = (host) => pg('pg_ctl', '-D', join(host, 'data'), '-l', join(host, 'start.log'), '-w', 'start');
const stop = (host, how = 'immediate') => pg('pg_ctl', '-D', join(host, 'data'), '-m', how, '-w', 'stop');

const folder = (node, name) => {
  const dir = join(node.dir, name);
  mkdirSync(dir, { recursive: true });
  if (process.getuid() === 0) execFileSync('chown', ['postgres', dir]);
  return dir;
};

/*
 * Each kind: begin() remembers a moment; back() makes the database what it was then and resolves when it serves again, at
 * `node.pg` or `node.other`, one of which takes writes.
 */
export const kinds = {
  // The same system identifier and timeline.
  'base backup': (node) => ({
    async begin() {
      await pg('pg_basebackup', '-h', node.pg, '-U', 'postgres', '-D', join(folder(node, 'backup'), 'data'), '-c', 'fast', '-X', 'stream');
    },
    async back() {
      await stop(node.pg);
      const data = join(node.pg, 'data');
      await run('mv', [data, `${data}.before`]);
      await run('mv', [join(node.dir, 'backup/data'), data]);
      await start(node.pg);
    },
  }),
  // The standby received nothing since begin().
  'standby promoted': (node) => ({
    async begin() {
      const host = folder(node, 'other');
      await pg('pg_basebackup', '-h', node.pg, '-U', 'postgres', '-D', join(host, 'data'), '-c', 'fast', '-X', 'stream', '-R');
      await run('sh', ['-c', `echo "unix_socket_directories = '${host}'" >>"$1"`, 'sh', join(host, 'data/postgresql.conf')]);
      await start(host);
      for (let i = 0; (await psql(node.pg, 'postgres', "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'")).stdout.trim() !== '1'; i++)
        if (i > 200) throw new Error('the standby does not stream');
      await psql(host, 'postgres', "ALTER SYSTEM SET primary_conninfo = ''");
      await psql(host, 'postgres', 'SELECT pg_reload_conf()');
    },
    async back() {
      await stop(node.pg);
      await pg('pg_ctl', '-D', join(node.dir, 'other/data'), '-w', 'promote');
    },
  }),
  // Another system identifier, and transaction ids that start anew.
  'new cluster': (node) => ({
    async begin() {
      const dump = join(folder(node, 'dump'), 'tollgate.dump');
      await pg('pg_dump', '-h', node.pg, '-U', 'postgres', '-Fc', '-f', dump, 'tollgate');
    },
    async back() {
      await stop(node.pg);
      const host = join(node.dir, 'other');
      await run(join(root, 'tests/pg.sh'), ['start', host]);
      await run('psql', ['-h', host, '-U', 'postgres', '-d', 'postgres', '-XAtqv', 'ON_ERROR_STOP=1', '-f', join(root, 'sql/roles.sql')]);
      await psql(host, 'postgres', 'CREATE DATABASE tollgate OWNER tollgate_owner');
      await pg('pg_restore', '-h', host, '-U', 'postgres', '-d', 'tollgate', '--exit-on-error', join(node.dir, 'dump/tollgate.dump'));
    },
  }),
};

// Both hosts, whichever takes writes.
export const conninfo = (node, user) => `host=${node.pg},${join(node.dir, 'other')} dbname=tollgate user=${user} target_session_attrs=read-write`;
// Statements as the superuser, on whichever takes writes.
export const ask = async (node, text) => (await run('psql', ['-d', conninfo(node, 'postgres'), '-XAtqv', 'ON_ERROR_STOP=1', '-c', text], { maxBuffer: 1 << 28 })).stdout.trim();

// Stops what is not the node's own.
export async function endClusters(node) {
  await stop(join(node.dir, 'other')).catch(() => {});
}
