// tollgate setup against a PostgreSQL whose pg_hba.conf is Debian's own: from nothing to a key, again, half-way, and without login.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, beforeEach, test } from 'node:test';

const top = path.resolve(import.meta.dirname, '../..');
const dir = mkdtempSync(path.join(tmpdir(), 'tollgate-setup-'));
const pg = path.join(dir, 'pg');
const conf = path.join(dir, 'tollgate.conf');
const root = process.getuid() === 0;
const self = execFileSync('id', ['-un'], { encoding: 'utf8' }).trim();
// Another user of the system than this one, as tollgate is on a real machine; it needs no home and owns nothing here.
const programs = root ? 'nobody' : self;
const hba = path.join(pg, 'data/pg_hba.conf'), ident = path.join(pg, 'data/pg_ident.conf');
const rule = 'local  tollgate  tollgate_web,tollgate_collector,tollgate_owner  peer map=tollgate';
const map = [`tollgate   ${programs.padEnd(10)} tollgate_web`, `tollgate   ${programs.padEnd(10)} tollgate_collector`, `tollgate   ${self.padEnd(10)} tollgate_owner`];

// As the package postgresql-15 of Debian 12 installs it. Where the tests are not root's, nobody can be the user postgres.
const stock = `# PostgreSQL Client Authentication Configuration File
# ===================================================
#
# DO NOT DISABLE!
# If you change this first entry you will need to make sure that the
# database superuser can access the database using some other method.
#
# Database administrative login by Unix domain socket
local   all             postgres                                ${root ? 'peer' : 'trust'}

# TYPE  DATABASE        USER            ADDRESS                 METHOD

# "local" is for Unix domain socket connections only
local   all             all                                     peer
# IPv4 local connections:
host    all             all             127.0.0.1/32            scram-sha-256
`;

const write = (file, text) => writeFileSync(file, text); // keeps owner and mode
const psql = (database, text) => {
  const as = root ? ['runuser', '-u', 'postgres', '--'] : ['env'];
  return execFileSync(as[0], [...as.slice(1), 'psql', '-h', pg, '-U', 'postgres', '-d', database, '-XAtqv', 'ON_ERROR_STOP=1', '-c', text], { encoding: 'utf8', cwd: '/' }).trim();
};
function setup(args = [], input = '') {
  const r = spawnSync(path.join(top, 'build/release/tollgate'), ['--config', conf, 'setup', ...args], { input, encoding: 'utf8', timeout: 60000 });
  return { status: r.status, out: r.stdout, err: r.stderr };
}
// A number of everything that setup makes, and both files: what a second run must not change.
const made = () => [psql('tollgate', `SELECT (SELECT count(*) FROM tollgate.accounts), (SELECT count(*) FROM subscription_tiers), (SELECT count(*) FROM tenants),
  (SELECT count(*) FROM tollgate.api_keys), (SELECT max(version) FROM tollgate.schema_migrations), (SELECT count(*) FROM pg_roles)`),
  readFileSync(hba, 'utf8'), readFileSync(ident, 'utf8')];
const reload = () => psql('postgres', 'SELECT pg_reload_conf()');
const forget = () => {
  write(hba, stock);
  write(ident, '# MAPNAME SYSTEM-USERNAME PG-USERNAME\n');
  reload();
};

before(() => {
  execFileSync('chmod', ['711', dir]);
  execFileSync(path.join(top, 'tests/pg.sh'), ['start', pg], { stdio: 'ignore' });
  const line = (key) => `${key} = host=${pg} dbname=tollgate user=tollgate_${key}\n`;
  writeFileSync(conf, `[paths]\nsql_dir = ${top}/sql\n[process]\nuser = ${programs}\n[database]\n${line('web')}${line('collector')}${line('owner')}`);
  forget();
});
beforeEach(() => {
  forget();
  psql('postgres', 'DROP DATABASE IF EXISTS tollgate WITH (FORCE)');
  psql('postgres', 'DROP ROLE IF EXISTS tollgate_owner, tollgate_web, tollgate_collector, tollgate_counter');
});
after(() => {
  execFileSync(path.join(top, 'tests/pg.sh'), ['remove', pg], { stdio: 'ignore' });
  rmSync(dir, { recursive: true, force: true });
});

test('from nothing: roles, database, login, schema, operator, tier, tenant and a key, each named before it is made', () => {
  const before = statSync(hba);
  const r = setup(['--json', '--write-login', '--operator-email', 'Me@Example.org', '--tenant-name', 'First One']);
  assert.equal(r.status, 0, r.err);
  const steps = ['answers', 'Connecting', 'Creating the roles', 'Creating the database tollgate', 'log in', 'Adding these lines', 'schema', 'Creating the operator',
    'Creating the tier starter: api_calls_per_day=1000', 'Creating the tenant example', 'Creating a key', 'Left to do', 'systemctl enable', 'tollgate doctor'];
  let at = -1;
  for (const step of steps) {
    assert.ok(r.err.indexOf(step, at + 1) > at, `${step} in its place in ${r.err}`);
    at = r.err.indexOf(step, at + 1);
  }
  const shown = JSON.parse(r.out);
  assert.deepEqual({ ...shown, key: 0, password: 0 }, { operator: 'Me@Example.org', password: 0, tier: 'starter', tenant: 'example', key: 0 });
  assert.equal(psql('postgres', "SELECT pg_get_userbyid(datdba), pg_encoding_to_char(encoding) FROM pg_database WHERE datname = 'tollgate'"), 'tollgate_owner|UTF8');
  assert.equal(psql('tollgate', "SELECT limits FROM subscription_tiers WHERE id = 'starter'"), '{"api_calls_per_day": 1000}');
  assert.equal(psql('tollgate', "SELECT name FROM tenants WHERE id = 'example'"), 'First One');

  // The key is the tenant's: what is stored is its hash.
  assert.match(shown.key, /^tg_[a-z2-7]{8}_[A-Za-z0-9_-]{43}$/);
  const [id, tenant, scopes, hash] = psql('tollgate', "SELECT id, tenant_id, array_to_string(scopes, ','), encode(hash, 'hex') FROM tollgate.api_keys").split('|');
  assert.deepEqual([id, tenant, scopes], [shown.key.slice(3, 11), 'example', 'call,track,read']);
  const b2 = spawnSync('b2sum', ['-l', '256'], { input: shown.key, encoding: 'utf8' }).stdout.slice(0, 64);
  assert.equal(hash, b2);

  // The operator's password is the one that was shown.
  assert.equal(psql('tollgate', "SELECT role, tenant_id IS NULL FROM tollgate.accounts WHERE email = 'me@example.org'"), 'operator|t');
  const stored = psql('tollgate', "SELECT password_hash FROM tollgate.accounts WHERE email = 'me@example.org'");
  const verify = "import ctypes,sys; s=ctypes.CDLL('libsodium.so.23'); s.sodium_init(); p=sys.argv[2].encode(); sys.exit(s.crypto_pwhash_str_verify(sys.argv[1].encode(), p, ctypes.c_ulonglong(len(p))) != 0)";
  assert.equal(spawnSync('python3', ['-c', verify, stored, shown.password]).status, 0, 'the password verifies');
  assert.notEqual(spawnSync('python3', ['-c', verify, stored, 'another one']).status, 0);

  // Debian's lines and comments stay, ours stands before them; owner and mode too.
  const text = readFileSync(hba, 'utf8');
  assert.ok(text.endsWith(stock.slice(stock.indexOf('#\n'))), text);
  assert.ok(text.indexOf(rule) >= 0 && text.indexOf(rule) < text.indexOf('local   all'));
  assert.deepEqual(readFileSync(ident, 'utf8').split('\n').slice(-4), [...map, '']);
  const now = statSync(hba);
  assert.deepEqual([now.uid, now.gid, now.mode], [before.uid, before.gid, before.mode]);
});

test('again it changes nothing, makes no second key, and needs no superuser', () => {
  assert.equal(setup(['--write-login', '--operator-email', 'me@example.org']).status, 0);
  const first = made();
  for (const args of [[], ['--write-login', '--operator-email', 'me@example.org'], ['--superuser', `host=${pg} user=nobody_at_all dbname=postgres`]]) {
    const r = setup(['--json', ...args]);
    assert.equal(r.status, 0, r.err);
    assert.match(r.err, /Roles and database exist, and the programs can log in/);
    assert.match(r.err, /has a key already/);
    assert.deepEqual(JSON.parse(r.out), { operator: null, password: null, tier: null, tenant: null, key: null });
    assert.deepEqual(made(), first);
  }
});

test('another tenant is made on another tier when it is asked for', () => {
  assert.equal(setup(['--write-login']).status, 0);
  const r = setup(['--json', '--tenant', 'acme', '--tier', 'small', '--limit', 'max_users=5,api_calls_per_day=7']);
  assert.equal(r.status, 0, r.err);
  assert.equal(JSON.parse(r.out).tenant, 'acme');
  assert.equal(psql('tollgate', "SELECT s.tier_id, t.limits->>'max_users', t.limits->>'api_calls_per_day' FROM tenant_subscriptions s JOIN subscription_tiers t ON t.id = s.tier_id WHERE tenant_id = 'acme'"), 'small|5|7');
  assert.equal(psql('tollgate', "SELECT string_agg(tenant_id, ',' ORDER BY tenant_id) FROM tollgate.api_keys"), 'acme,example');
});

test('without --write-login it prints exactly the lines that are missing, changes no file, and goes on once they are there', () => {
  const r = setup();
  assert.equal(r.status, 3, r.err);
  const printed = r.err.split('\n').filter((line) => line.startsWith('  ')).map((line) => line.slice(2));
  assert.deepEqual(printed, [...map, rule]);
  assert.ok(r.err.includes(`At the end of ${ident}:`) && r.err.includes(`In ${hba}, before every other line`));
  assert.match(r.err, /Peer authentication failed/);
  assert.equal(readFileSync(hba, 'utf8'), stock);
  // By hand, as they were printed; half of them were there before.
  write(ident, `${readFileSync(ident, 'utf8')}${printed.slice(0, 3).join('\n')}\n`);
  write(hba, stock.replace(/^local/m, `${printed[3]}\n$&`));
  reload();
  const then = setup();
  assert.equal(then.status, 0, then.err);
  assert.match(then.err, /the programs can log in/);
});

test('what is half done is gone on with: roles without a database, a database without its schema, lines without their map', () => {
  execFileSync('sh', ['-c', `cat ${top}/sql/roles.sql > ${dir}/roles.sql; chmod 644 ${dir}/roles.sql`]);
  psql('postgres', readFileSync(path.join(dir, 'roles.sql'), 'utf8'));
  write(hba, `${rule}\n${stock}`);
  write(ident, `${map[1].replaceAll(/ +/g, '\t')}\n`);
  reload();
  let r = setup(['--write-login']);
  assert.equal(r.status, 0, r.err);
  assert.match(r.err, /The roles exist already/);
  assert.match(r.err, /Creating the database/);
  assert.equal(readFileSync(hba, 'utf8'), `${rule}\n${stock}`, 'the line is not added twice');
  assert.equal(readFileSync(ident, 'utf8').split('\n').filter((line) => line.includes('tollgate_collector')).length, 1);

  psql('postgres', 'DROP DATABASE tollgate WITH (FORCE)');
  psql('postgres', 'CREATE DATABASE tollgate OWNER tollgate_owner');
  r = setup();
  assert.equal(r.status, 0, r.err);
  assert.equal(psql('tollgate', 'SELECT count(*) FROM tollgate.api_keys'), '1');
});

test('a failure in the middle leaves no half-made tenant, and the operator that was made is shown', () => {
  const r = setup(['--json', '--write-login', '--operator-email', 'me@example.org', '--limit', 'max_dogs=1']);
  assert.equal(r.status, 1);
  assert.match(r.err, /"max_dogs" is not a limit/);
  assert.equal(JSON.parse(r.out).password.length, 24);
  assert.equal(psql('tollgate', 'SELECT (SELECT count(*) FROM subscription_tiers), (SELECT count(*) FROM tenants), (SELECT count(*) FROM tollgate.api_keys)'), '0|0|0');
  assert.equal(setup(['--limit', 'max_users=1']).status, 0);
});

test("a database of another role's is left alone", () => {
  psql('postgres', 'CREATE DATABASE tollgate');
  const r = setup(['--write-login']);
  assert.equal(r.status, 3);
  assert.match(r.err, /belongs to postgres, so it is left alone.*tollgate adopt/);
  assert.equal(readFileSync(hba, 'utf8'), stock);
});

test('the password is read with --password-stdin, and one that is too short makes no operator', () => {
  let r = setup(['--json', '--write-login', '--operator-email', 'me@example.org', '--password-stdin'], 'short\n');
  assert.equal(r.status, 1);
  assert.match(r.err, /12 to 1024 bytes/);
  r = setup(['--json', '--operator-email', 'me@example.org', '--password-stdin'], 'correct horse battery\n');
  assert.equal(r.status, 0, r.err);
  assert.equal(JSON.parse(r.out).password, null);
  assert.equal(psql('tollgate', 'SELECT count(*) FROM tollgate.accounts'), '1');
});

test('over the network it asks for passwords, and needs no superuser once all three roles log in with them', async () => {
  const port = await new Promise((resolve) => {
    const s = createServer().listen(0, '127.0.0.1', () => { const { port } = s.address(); s.close(() => resolve(port)); });
  });
  psql('postgres', "ALTER SYSTEM SET listen_addresses = '127.0.0.1'");
  const restart = () => {
    execFileSync(path.join(top, 'tests/pg.sh'), ['stop', pg], { stdio: 'ignore' });
    execFileSync(path.join(top, 'tests/pg.sh'), ['start', pg], { stdio: 'ignore' });
  };
  // The port is the socket's, too: it goes into PostgreSQL's file alone, and out again.
  const config = path.join(pg, 'data/postgresql.conf'), was = readFileSync(config, 'utf8'), conf1 = readFileSync(conf, 'utf8');
  write(config, `${was}port = ${port}\n`);
  process.env.PGPORT = String(port);
  restart();
  try {
    for (const [key, owner] of [['web', programs], ['collector', programs], ['owner', self]]) {
      writeFileSync(path.join(dir, `password-${key}`), `127.0.0.1:${port}:tollgate:tollgate_${key}:secret-of-${key}\n`, { mode: 0o600 });
      if (root) execFileSync('chown', [owner, path.join(dir, `password-${key}`)]);
    }
    const line = (key) => `${key} = host=127.0.0.1 port=${port} dbname=tollgate user=tollgate_${key} passfile=${dir}/password-${key}\n`;
    write(conf, `[paths]\nsql_dir = ${top}/sql\n[process]\nuser = ${programs}\n[database]\n${line('web')}${line('collector')}${line('owner')}`);
    let r = setup();
    assert.equal(r.status, 1, r.err);
    assert.match(r.err, /name a superuser who may log in from here.*On another host/);
    r = setup(['--write-login', '--superuser', `host=${pg} port=${port} user=postgres dbname=postgres`]);
    assert.equal(r.status, 3, r.err);
    for (const key of ['web', 'collector', 'owner']) assert.ok(r.err.includes(`\n  \\password tollgate_${key}\n`), r.err);
    assert.match(r.err, /\n {2}hostssl {2}tollgate {2}tollgate_web,tollgate_collector,tollgate_owner {2}ADDRESS {2}scram-sha-256\n/);
    assert.equal(readFileSync(hba, 'utf8'), stock);
    for (const key of ['web', 'collector', 'owner']) psql('postgres', `ALTER ROLE tollgate_${key} PASSWORD 'secret-of-${key}'`);
    r = setup();
    assert.equal(r.status, 0, r.err);
    assert.match(r.err, /Roles and database exist, and the programs can log in/);
    assert.equal(psql('tollgate', 'SELECT count(*) FROM tollgate.api_keys'), '1');
  } finally {
    write(conf, conf1);
    write(config, was);
    psql('postgres', 'ALTER SYSTEM RESET listen_addresses');
    delete process.env.PGPORT;
    restart();
  }
});

test('a PostgreSQL that is away is said with what to do', () => {
  execFileSync(path.join(top, 'tests/pg.sh'), ['stop', pg], { stdio: 'ignore' });
  try {
    const r = setup();
    assert.equal(r.status, 1);
    assert.match(r.err, /PostgreSQL does not answer at .*apt-get install postgresql/);
  } finally {
    execFileSync(path.join(top, 'tests/pg.sh'), ['start', pg], { stdio: 'ignore' });
  }
});
