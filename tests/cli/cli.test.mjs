// The command line against a real PostgreSQL: what each command says, writes and refuses.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, test } from 'node:test';

const top = path.resolve(import.meta.dirname, '../..');
const dir = mkdtempSync(path.join(tmpdir(), 'tollgate-cli-'));
const pg = path.join(dir, 'pg');
const conf = path.join(dir, 'tollgate.conf');

function tollgate(args, input = '') {
  const r = spawnSync(path.join(top, 'build/release/tollgate'), ['--config', conf, ...args], { input, encoding: 'utf8' });
  return { status: r.status, out: r.stdout, err: r.stderr };
}

function ok(args, input) {
  const r = tollgate(args, input);
  assert.equal(r.status, 0, `tollgate ${args.join(' ')}: ${r.err}`);
  return r.out;
}

const json = (args, input) => JSON.parse(ok(['--json', ...args], input));

function sql(text) {
  return execFileSync('psql', ['-h', pg, '-U', 'postgres', '-d', 'tollgate', '-XAtqc', text], { encoding: 'utf8' }).trim();
}

before(() => {
  execFileSync('chmod', ['711', dir]);
  execFileSync(path.join(top, 'tests/pg.sh'), ['start', pg], { stdio: 'ignore' });
  const psql = (db, ...rest) => execFileSync('psql', ['-h', pg, '-U', 'postgres', '-d', db, '-Xqv', 'ON_ERROR_STOP=1', ...rest], { stdio: 'ignore' });
  psql('postgres', '-f', path.join(top, 'sql/roles.sql'));
  psql('postgres', '-c', 'CREATE DATABASE tollgate OWNER tollgate_owner');
  writeFileSync(conf, `[paths]\nsql_dir = ${top}/sql\n[database]\nowner = host=${pg} dbname=tollgate user=tollgate_owner\n`);
  ok(['migrate', '--new']);
});

after(() => {
  execFileSync(path.join(top, 'tests/pg.sh'), ['remove', pg], { stdio: 'ignore' });
  rmSync(dir, { recursive: true, force: true });
});

test('every program says its version, which is the Makefile\'s', () => {
  const version = /^VERSION := (.*)$/m.exec(readFileSync(path.join(top, 'Makefile'), 'utf8'))[1];
  for (const name of ['tollgate', 'tollgate-gate', 'tollgate-web', 'tollgate-collector'])
    assert.equal(execFileSync(path.join(top, 'build/release', name), ['--version'], { encoding: 'utf8' }), `${name} ${version}\n`);
});
test('a daemon reads --config in both forms, and nothing that it does not know', () => {
  for (const name of ['tollgate-gate', 'tollgate-web', 'tollgate-collector']) {
    const run = (...args) => spawnSync(path.join(top, 'build/release', name), args, { encoding: 'utf8' });
    assert.match(run('--help').stdout, new RegExp(`^usage: ${name} `));
    for (const args of [['--config', '/none.conf'], ['--config=/none.conf']]) assert.match(run(...args).stderr, /\/none\.conf: No such file/);
    for (const args of [['--colour'], ['word'], ['--config'], ['--version=1']]) {
      const r = run(...args);
      assert.equal(r.status, 2, args.join(' '));
      assert.match(r.stderr, new RegExp(`usage: ${name} `));
    }
  }
});
test('every command tells what it takes with --help, without a configuration', () => {
  const all = spawnSync(path.join(top, 'build/release/tollgate'), ['help'], { encoding: 'utf8' });
  assert.equal(all.status, 0);
  for (const [, line] of all.stdout.matchAll(/^ {2}tollgate (.+)$/gm)) {
    const words = line.split(/ [A-Z[(-]/)[0].split(' ');
    const r = tollgate([...words, '--help']);
    assert.equal(r.status, 0, words.join(' '));
    assert.match(r.out, /--config FILE/);
  }
});

test('wrong usage ends with status 2 and says what would be right', () => {
  for (const [args, says] of [
    [['tenent', 'list'], /is not a command; `tollgate help`/],
    [['tenant'], /tollgate tenant create/],
    [['tenant', 'show'], /a word is missing/],
    [['tenant', 'show', 'a', 'b'], /one word too many/],
    [['tenant', 'list', '--colour'], /--colour is not an option/],
    [['tenant', 'show', '-xy', 'a'], /-xy is not an option/],
    [['tenant', 'create', 'x', '--name'], /--name needs a value/],
    [['migrate', '--new=3'], /--new takes no value/],
    [['tenant', 'list', '--', '--json'], /"--json" is one word too many/],
    [['tenant', 'list', '--config'], /--config needs a file/],
    [['tenant', 'create', 'x', '--anchor', '32'], /from 1 to 31/],
    [['tier', 'create', 'x', 'max_users'], /is not a limit/],
    [['account', 'create', 'a@b.org', '--role', 'operator', '--tenant', 'x'], /say --tenant ID --role viewer/],
    [['key', 'create', 'x', '--tenant', 'x', '--scopes', 'root'], /call, track, read, admin and metrics/],
    [['key', 'create', 'x', '--tenant', 'x', '--scopes', 'read,metrics'], /metrics is for an operator's key/],
  ]) {
    const r = tollgate(args);
    assert.equal(r.status, 2, args.join(' '));
    assert.match(r.err, says);
  }
});

test('a mistyped key of the configuration stops every command with its line', () => {
  const wrong = path.join(dir, 'wrong.conf');
  writeFileSync(wrong, '[gate]\nproceses = 2\n');
  const r = tollgate(['--config', wrong, 'tenant', 'list']);
  assert.equal(r.status, 2);
  assert.match(r.err, /wrong\.conf:2: .*did you mean processes/);
});

test('a tier is made, changed and shown with its limits', () => {
  ok(['tier', 'create', 'small', '--name', 'Small', 'max_patients=50', 'api_calls_per_day=1000']);
  ok(['tier', 'change', 'small', 'max_users=5', 'max_patients=', 'storage_gb=0.5']);
  assert.deepEqual(json(['tier', 'show', 'small']).limits, { max_users: 5, storage_gb: 0.5, api_calls_per_day: 1000 });
});

test('an unknown limit leaves no half-made tier', () => {
  const r = tollgate(['tier', 'create', 'half', 'max_users=5', 'max_dogs=1']);
  assert.equal(r.status, 1);
  assert.match(r.err, /"max_dogs" is not a limit/);
  assert.equal(sql("SELECT count(*) FROM subscription_tiers WHERE id = 'half'"), '0');
});

test('a tenant is made with its settings, subscription and current period', () => {
  ok(['tenant', 'create', 'acme', '--name', 'Acmé', '--tier', 'small', '--zone', 'Europe/Berlin', '--anchor', '15']);
  const t = json(['tenant', 'show', 'acme']);
  assert.equal(t.name, 'Acmé');
  assert.equal(t.time_zone, 'Europe/Berlin');
  assert.equal(t.anchor_day, 15);
  assert.equal(t.usage_limits.api_calls_per_day, 1000);
  assert.equal(sql("SELECT count(*) FROM tollgate.tenant_periods WHERE tenant_id = 'acme' AND starts_at <= now() AND ends_at > now()"), '1');
  const again = tollgate(['tenant', 'create', 'acme']);
  assert.equal(again.status, 1);
  assert.match(again.err, /exists already/);
});

test('a time zone that does not exist makes no tenant', () => {
  const r = tollgate(['tenant', 'create', 'nowhere', '--zone', 'Europe/Nowhere']);
  assert.equal(r.status, 1);
  assert.match(r.err, /no such time zone/);
  assert.equal(sql("SELECT count(*) FROM tenants WHERE id = 'nowhere'"), '0');
});

test('a tenant is suspended and resumed, and the collectors are told', () => {
  const told = () => Number(sql("SELECT count(*) FROM tollgate.config_changes WHERE kind = 'tenant' AND subject = 'acme'"));
  const first = told();
  ok(['tenant', 'suspend', 'acme']);
  assert.equal(json(['tenant', 'show', 'acme']).state, 'suspended');
  assert.equal(told(), first + 1);
  ok(['tenant', 'resume', 'acme']);
  assert.equal(json(['tenant', 'show', 'acme']).state, 'active');
});

test('a password is stored as Argon2id, and setting it ends every session', () => {
  ok(['account', 'create', 'Ann@acme.org', '--tenant', 'acme', '--role', 'admin', '--password-stdin'], 'correct horse\n');
  const stored = sql("SELECT password_hash FROM tollgate.accounts WHERE email = 'ann@acme.org'");
  assert.match(stored, /^\$argon2id\$/);
  sql("INSERT INTO tollgate.account_sessions (token_hash, account_id) SELECT sha256('x'), id FROM tollgate.accounts WHERE email = 'ann@acme.org'");
  assert.equal(json(['account', 'show', 'ann@acme.org']).sessions, 1);
  ok(['account', 'password', 'ann@acme.org', '--password-stdin'], 'battery staple\n');
  assert.equal(json(['account', 'show', 'ann@acme.org']).sessions, 0);
  assert.notEqual(sql("SELECT password_hash FROM tollgate.accounts WHERE email = 'ann@acme.org'"), stored);
});

test('a short password, one that everybody tries and one without a terminal are refused', () => {
  assert.match(tollgate(['account', 'password', 'ann@acme.org', '--password-stdin'], 'short\n').err, /12 to 1024 bytes/);
  assert.match(tollgate(['account', 'password', 'ann@acme.org', '--password-stdin'], 'Password1234!\n').err, /one of those that are tried first/);
  assert.match(tollgate(['account', 'create', 'ann.miller@acme.org', '--role', 'operator', '--password-stdin'], 'annmiller2024\n').err, /own e-mail address/);
  assert.equal(sql("SELECT count(*) FROM tollgate.accounts WHERE email = 'ann.miller@acme.org'"), '0');
  assert.match(tollgate(['account', 'password', 'ann@acme.org'], 'long enough\n').err, /--password-stdin/);
});

test('a key is shown once and stored as its hash', () => {
  const made = json(['key', 'create', 'ci', '--tenant', 'acme', '--expires', '90d']);
  assert.match(made.key, /^tg_[a-z2-7]{8}_[A-Za-z0-9_-]{43}$/);
  assert.equal(made.key.slice(3, 11), made.id);
  assert.equal(sql(`SELECT count(*) FROM tollgate.api_keys k WHERE k::text LIKE '%${made.key.slice(12)}%'`), '0');
  const shown = ok(['key', 'list']) + ok(['--json', 'key', 'show', made.id]);
  assert.ok(!shown.includes(made.key.slice(12)));
  const k = json(['key', 'show', made.id]);
  assert.equal(k.state, 'active');
  assert.deepEqual(k.scopes, ['call', 'track', 'read']);
  ok(['key', 'change', made.id, '--expires', 'never', '--scopes', 'read']);
  assert.equal(json(['key', 'show', made.id]).expires_at, null);
  ok(['key', 'remove', made.id, '--yes']);
  assert.equal(json(['key', 'show', made.id]).state, 'revoked');
});

test("an operator's key has every scope, or those that it is given", () => {
  assert.deepEqual(json(['key', 'show', json(['key', 'create', 'all', '--operator']).id]).scopes, ['call', 'track', 'read', 'admin', 'metrics']);
  assert.deepEqual(json(['key', 'show', json(['key', 'create', 'prometheus', '--operator', '--scopes', 'metrics']).id]).scopes, ['metrics']);
});

test('a key of one\'s own has to be hard to guess', () => {
  const give = (text, ...more) => tollgate(['key', 'create', 'own', '--operator', '--key-stdin', ...more], text);
  for (const weak of ['test_token', 'a'.repeat(64), 'Summer2024!', 'abcdabcdabcdabcdabcdabcd', '1234567890123456789012345678901234567890', '0123456789abcdef0123456', 'with blanks ' + randomBytes(24).toString('base64'), '']) {
    const r = give(weak);
    assert.equal(r.status, 1, weak);
    if (weak) assert.match(r.err, /at least 128 random bits.*openssl rand -base64 24/);
  }
  for (const strong of [randomBytes(16).toString('base64url'), randomBytes(16).toString('hex'), randomBytes(24).toString('base64')])
    assert.equal(give(strong).status, 0, strong);
  const demo = give('test_token', '--demo-token');
  assert.equal(demo.status, 0);
  assert.match(demo.err, /easy to guess/);
});

test('a metric is made with its limit, and Tollgate\'s own stay', () => {
  ok(['metric', 'create', 'sms', '--kind', 'counter', '--unit', 'messages', '--label', 'SMS', '--limit', 'sms_per_period']);
  ok(['tier', 'change', 'small', 'sms_per_period=100']);
  ok(['metric', 'change', 'sms', '--label', 'Texts']);
  assert.equal(json(['metric', 'show', 'sms']).label, 'Texts');
  assert.equal(tollgate(['metric', 'remove', 'api_call', '--yes']).status, 3);
  ok(['metric', 'remove', 'sms', '--yes']);
});

test('what can\'t be undone is refused without a terminal and without --yes', () => {
  for (const args of [['tenant', 'remove', 'acme'], ['account', 'remove', 'ann@acme.org'], ['tier', 'remove', 'small']]) {
    const r = tollgate(args, `${args[2]}\n`);
    assert.equal(r.status, 3, args.join(' '));
    assert.match(r.err, /--yes/);
  }
  assert.equal(json(['tenant', 'show', 'acme']).id, 'acme');
});

test('a tier that a tenant is on stays', () => {
  const r = tollgate(['tier', 'remove', 'small', '--yes']);
  assert.equal(r.status, 1);
  assert.match(r.err, /something else still uses it/);
});

test('a removed tenant takes its accounts and keys along', () => {
  ok(['tenant', 'remove', 'acme', '--yes']);
  assert.equal(sql("SELECT (SELECT count(*) FROM tollgate.accounts) + (SELECT count(*) FROM tollgate.api_keys WHERE tenant_id IS NOT NULL)"), '0');
  assert.equal(tollgate(['tenant', 'remove', 'acme', '--yes']).status, 1);
});

test('a database that is away is said, with what to look at', () => {
  const r = spawnSync(path.join(top, 'build/release/tollgate'), ['--config', conf, 'tenant', 'list'],
    { encoding: 'utf8', env: { ...process.env, TOLLGATE_DATABASE_OWNER: `host=${dir} dbname=tollgate` } });
  assert.equal(r.status, 1);
  assert.match(r.stderr, /database is not available.*\[database\] owner/s);
});
