// node.mjs: a node without its web server for a test: a PostgreSQL, a spool, a configuration, and the programs on request.
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually, root } from './stack.mjs';

const bin = (name) => join(root, 'build/release', name);

// Makes it with an empty database; `conf` is added to the configuration. `source`: of which version the roles, SQL and templates are.
export function bareNode(conf = '', source = root) {
  const dir = mkdtempSync(join(tmpdir(), 'tg-node-'));
  const pg = join(dir, 'pg'), file = join(dir, 'conf'), started = [];
  execFileSync('chmod', ['711', dir]);
  execFileSync(join(root, 'tests/pg.sh'), ['start', pg], { stdio: 'ignore' });
  const psql = (db, ...args) => execFileSync('psql', ['-h', pg, '-U', 'postgres', '-d', db, '-XAtqv', 'ON_ERROR_STOP=1', ...args], { encoding: 'utf8' }).trim();
  psql('postgres', '-f', join(source, 'sql/roles.sql'));
  psql('postgres', '-c', 'CREATE DATABASE tollgate OWNER tollgate_owner');
  for (const d of ['spool', 'run', 'storage']) mkdirSync(join(dir, d), { mode: 0o700 });
  const node = {
    dir, pg, file, spool: join(dir, 'spool'), run: join(dir, 'run'),
    sql: (text) => psql('tollgate', '-c', text),
    configure(more = '', of = source) {
      writeFileSync(file, `[paths]\nspool_dir = ${dir}/spool\nrun_dir = ${dir}/run\nsql_dir = ${of}/sql\ntemplate_dir = ${of}/templates\n[storage]\ndir = ${dir}/storage\n`
        + `[database]\nowner = host=${pg} dbname=tollgate user=tollgate_owner\ncollector = host=${pg} dbname=tollgate user=tollgate_collector\n${more}`);
    },
    tollgate(args, env = {}) {
      const r = spawnSync(bin('tollgate'), ['--config', file, ...args], { encoding: 'utf8', env: { ...process.env, ...env } });
      return { status: r.status, out: r.stdout, err: r.stderr };
    },
    // Calls of "f0", "f1", … in turn into a segment of their own, its writer gone.
    write(rows = 1, tenants = 1) { execFileSync(bin('tools/spool_write'), [node.spool, String(rows), String(tenants), '1'], { stdio: 'ignore' }); },
    start(program) {
      return node.spawn(bin(program), ['--config', file], `${program}.log`);
    },
    spawn(command, args, name = 'other.log') {
      const log = openSync(join(dir, name), 'a');
      const child = spawn(command, args, { stdio: ['ignore', log, log], env: { ...process.env, TOLLGATE_CONF: file } });
      closeSync(log);
      started.push(child);
      return child;
    },
    // A psql that takes one statement after the other; ask() gives what it answered, errors too.
    session() {
      const psql = spawn('psql', ['-h', pg, '-U', 'postgres', '-d', 'tollgate', '-XAtq'], { stdio: 'pipe' });
      let out = '', said = 0;
      started.push(psql);
      psql.stdout.on('data', (text) => { out += text; });
      psql.stderr.on('data', (text) => { out += text; });
      return {
        async ask(text, seconds = 5) {
          const mark = `said ${++said}\n`, from = out.length;
          psql.stdin.write(`${text};\n\\echo said ${said}\n`);
          await eventually(() => out.slice(from).includes(mark), () => `an answer to: ${text}; so far: ${out.slice(from)}`, seconds);
          return out.slice(from).replace(mark, '').trim();
        },
      };
    },
    // Whether a worker of the collector waits for a lock in PostgreSQL.
    waits: (worker = 'import') => node.sql(`SELECT count(*) FROM pg_stat_activity WHERE application_name = 'tollgate-collector ${worker}' AND wait_event_type = 'Lock'`) === '1',
    status: () => JSON.parse(readFileSync(join(dir, 'run/collector.json'), 'utf8')),
    async collector(seconds = 20) {
      const child = node.start('tollgate-collector');
      await eventually(() => { try { return node.status().pid === child.pid && node.status().table === 'ready'; } catch { return false; } },
        () => `the collector's limit table: ${readFileSync(join(dir, 'tollgate-collector.log'), 'utf8')}`, seconds);
      return child;
    },
    async stop(child, signal = 'SIGTERM') {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = new Promise((done) => child.once('exit', done));
      child.kill(signal);
      await ended;
    },
    async remove() {
      for (const child of started) await node.stop(child, 'SIGKILL');
      execFileSync(join(root, 'tests/pg.sh'), ['remove', pg], { stdio: 'ignore' });
      rmSync(dir, { recursive: true, force: true });
    },
  };
  node.configure(conf);
  return node;
}

// The same, with a schema and one tenant "f0", whose calls spool_write writes.
export function makeNode(conf = '') {
  const node = bareNode(conf);
  const made = node.tollgate(['migrate', '--new']);
  if (made.status !== 0) throw new Error(made.err);
  node.sql('INSERT INTO subscription_tiers VALUES (\'free\', \'Free\', \'{"api_calls_per_day": -1}\');'
    + "INSERT INTO tenants (id, name) VALUES ('f0', 'F'); INSERT INTO tollgate.tenant_settings (tenant_id, schema_name) VALUES ('f0', 'f0') ON CONFLICT DO NOTHING;"
    + "INSERT INTO tenant_subscriptions (tenant_id, tier_id) VALUES ('f0', 'free')");
  return node;
}
