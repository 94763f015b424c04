// Sign-ins: how long they last, what ends them, what a cookie tells, and what guessing costs.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { db } from './lib.mjs';
import { blake2b256 } from '../lib/keys.mjs';
import { Visitor, makeAccount, signedIn } from '../lib/people.mjs';

const { TENANT_ID: tenant } = process.env;
const idle = 7200, absolute = 86400; // the defaults of web.session_idle_s and web.session_absolute_s
const change = (statement) => execFileSync('psql', ['-XqAt', '-v', 'ON_ERROR_STOP=1', '-c', statement]);
const hash = (bytes) => blake2b256(bytes).toString('hex');
const hashOf = (visitor) => hash(Buffer.from(visitor.cookies.tollgate_session, 'base64url'));
const rows = (visitor) => db(`SELECT 1 AS one FROM tollgate.account_sessions WHERE token_hash = '\\x${hashOf(visitor)}'`).length;
// Moves a session's start and last request into the past.
const age = (visitor, made, seen) => change(`UPDATE tollgate.account_sessions SET created_at = now() - interval '${made} s',
  seen_at = now() - interval '${seen} s' WHERE token_hash = '\\x${hashOf(visitor)}'`);
const isIn = async (visitor) => (await visitor.get('/account')).status === 200;
const forget = () => change('DELETE FROM tollgate.signin_failures');
const median = (values) => values.sort((a, b) => a - b)[values.length >> 1];

test('a sign-in ends after its idle time, and a request before that keeps it', async () => {
  const visitor = await signedIn(makeAccount('viewer', tenant));
  age(visitor, idle, idle - 60);
  assert.ok(await isIn(visitor));
  const [{ seen }] = db(`SELECT extract(epoch FROM now() - seen_at) AS seen FROM tollgate.account_sessions WHERE token_hash = '\\x${hashOf(visitor)}'`);
  assert.ok(seen < 60, 'the request counts as seen');
  age(visitor, idle, idle + 1);
  const r = await visitor.get('/account');
  assert.equal(r.status, 303);
  assert.match(r.location, /\/sign-in$/);
  assert.equal(rows(visitor), 0, 'the row is gone');
  assert.ok(!await isIn(visitor));
});

test('a sign-in ends after its absolute time, however busy it is', async () => {
  const visitor = await signedIn(makeAccount('viewer', tenant));
  age(visitor, absolute - 60, 0);
  assert.ok(await isIn(visitor));
  age(visitor, absolute + 1, 0);
  assert.ok(!await isIn(visitor));
  assert.equal(rows(visitor), 0);
});

test('a form of an expired sign-in changes nothing', async () => {
  const visitor = await signedIn(makeAccount('admin', tenant));
  const csrf = await visitor.token();
  age(visitor, absolute + 1, 0);
  assert.equal((await visitor.send('POST', `/tenant/${tenant}/refresh`, { form: { csrf } })).status, 401);
});

test('a new password ends every sign-in of the account and of no other', async () => {
  const who = makeAccount('admin', tenant), neighbour = await signedIn(makeAccount('admin', tenant));
  const [first, second] = [await signedIn(who), await signedIn(who)];
  assert.equal((await first.post('/account', { current: 'not it at all', new: 'another good password' })).status, 403);
  assert.ok(await isIn(second));
  const r = await first.post('/account', { current: who.password, new: 'another good password' });
  assert.equal(r.status, 303);
  assert.match(r.location, /\/sign-in\?changed=1$/);
  assert.ok(!await isIn(first));
  assert.ok(!await isIn(second));
  assert.ok(await isIn(neighbour));
  assert.equal((await new Visitor().signIn(who)).status, 403, 'the old password is no more');
  assert.ok(await isIn(await signedIn({ ...who, password: 'another good password' })));
});

test('a common password is refused in words, and the old one stays', async () => {
  const who = makeAccount('viewer', tenant), visitor = await signedIn(who);
  for (const [fresh, says] of [['Password1234!', /one of those that are tried first/], ['too short', /12 to 1024 bytes/]]) {
    const r = await visitor.post('/account', { current: who.password, new: fresh });
    assert.equal(r.status, 400);
    assert.match(r.text, says);
  }
  assert.ok(await isIn(await signedIn(who)));
});

test('a password set on the command line, a changed role and a removed account end the sign-ins, too', async () => {
  const cli = (args, input) => execFileSync('/bin/sh', ['-c', `exec ${process.env.TOLLGATE} "$@"`, 'tollgate', 'account', ...args], { input });
  for (const args of [['password', '--password-stdin'], ['change', '--role', 'viewer'], ['remove', '--yes']]) {
    const who = makeAccount('admin', tenant), visitor = await signedIn(who);
    cli([args[0], who.email, ...args.slice(1)], 'yet another password');
    assert.ok(!await isIn(visitor), args[0]);
  }
});

test('signing out ends this sign-in, also for whoever kept the cookie', async () => {
  const who = makeAccount('viewer', tenant), visitor = await signedIn(who), elsewhere = await signedIn(who);
  const kept = new Visitor();
  kept.cookies = { ...visitor.cookies };
  const r = await visitor.post('/sign-out');
  assert.equal(r.status, 303);
  assert.match(r.set.join('\n'), /tollgate_session=;.*Max-Age=0/);
  assert.ok(!await isIn(kept));
  assert.ok(await isIn(elsewhere));
});

test('a new sign-in ends the older one of that browser, and of no other browser', async () => {
  const who = makeAccount('viewer', tenant), visitor = await signedIn(who), elsewhere = await signedIn(who);
  const kept = new Visitor();
  kept.cookies = { ...visitor.cookies };
  assert.equal((await visitor.signIn({ ...who, password: 'not the password' })).status, 403);
  assert.ok(await isIn(kept), 'a wrong password ends nothing');
  assert.equal((await visitor.signIn(makeAccount('viewer', tenant))).status, 303);
  assert.ok(await isIn(visitor));
  assert.ok(!await isIn(kept), 'the older cookie');
  assert.equal(rows(kept), 0);
  assert.ok(await isIn(elsewhere));
});

test('the cookie is HttpOnly, SameSite=Lax, new at each sign-in, and only its hash is stored', async () => {
  const who = makeAccount('viewer', tenant), visitor = new Visitor();
  visitor.cookies.tollgate_session = Buffer.alloc(32, 7).toString('base64url'); // planted
  const r = await visitor.signIn(who);
  const line = r.set.find((l) => l.startsWith('tollgate_session='));
  assert.deepEqual(line.split('; ').slice(1).sort(), ['HttpOnly', 'Path=/', 'SameSite=Lax']);
  const token = Buffer.from(visitor.cookies.tollgate_session, 'base64url');
  assert.equal(token.length, 32);
  assert.notDeepEqual(token, Buffer.alloc(32, 7));
  assert.equal(rows(visitor), 1);
  const again = await signedIn(who);
  assert.notEqual(again.cookies.tollgate_session, visitor.cookies.tollgate_session);
  for (const l of (await new Visitor().get('/sign-in')).set) assert.match(l, /HttpOnly; SameSite=Lax/);
  assert.equal((await visitor.get('/account')).headers['cache-control'], 'private, no-store');
});

test('an unknown address and a wrong password get the same answer in the same time', async () => {
  const who = makeAccount('viewer', tenant), spent = { unknown: [], wrong: [], unread: [] }, texts = {};
  // without the token, the address that was typed and the request's own headers
  const plain = (text) => text.replace(/value="[^"]*"/g, 'value=""');
  const timed = async (kind, guess, status) => {
    const visitor = new Visitor();
    const { text } = await visitor.get('/sign-in');
    const csrf = /name="csrf" value="([^"]+)"/.exec(text)[1];
    const started = performance.now();
    const r = await visitor.send('POST', '/sign-in', { form: { csrf, ...guess } });
    spent[kind].push(performance.now() - started);
    assert.equal(r.status, status);
    (texts[kind] ??= new Set()).add(plain(r.text));
  };
  for (let i = 0; i < 7; i++) {
    forget();
    await timed('unknown', { email: `nobody-${i}@example.org`, password: 'wrong wrong wrong' }, 403);
    await timed('wrong', { email: who.email, password: 'wrong wrong wrong' }, 403);
    await timed('unread', { email: who.email }, 400); // no password: nothing is compared
  }
  forget();
  assert.equal(texts.unknown.size, 1);
  assert.deepEqual(texts.unknown, texts.wrong);
  const [unknown, wrong, unread] = [median(spent.unknown), median(spent.wrong), median(spent.unread)];
  assert.ok(unknown < 3 * wrong && wrong < 3 * unknown, `unknown ${unknown} ms, wrong ${wrong} ms`);
  assert.ok(unknown > 2 * unread && wrong > 2 * unread, `the hash is computed in both: ${unknown}, ${wrong}, without ${unread} ms`);
});

test("a password's hash of another cost is good, and renewed at the sign-in that shows it", async () => {
  const who = makeAccount('viewer', tenant, { TOLLGATE_WEB_PASSWORD_MEMORY_KIB: '8192', TOLLGATE_WEB_PASSWORD_PASSES: '1' });
  const stored = () => db(`SELECT password_hash FROM tollgate.accounts WHERE email = '${who.email}'`)[0].password_hash;
  assert.match(stored(), /^\$argon2id\$v=19\$m=8192,t=1,/);
  assert.equal((await new Visitor().signIn({ ...who, password: 'not the password' })).status, 403);
  assert.match(stored(), /m=8192,t=1,/, 'not for a wrong one');
  const visitor = await signedIn(who), renewed = stored();
  assert.match(renewed, /^\$argon2id\$v=19\$m=65536,t=2,/);
  assert.ok(await isIn(await signedIn(who)));
  assert.equal(stored(), renewed, 'once is enough');
  assert.ok(await isIn(visitor));
});

test('guessing at an account is slowed from that address, and its owner gets in from another', async () => {
  const who = makeAccount('viewer', tenant), guesser = { address: '127.0.0.66' };
  const subject = `subject = '\\x${hash(`account:${who.email}|127.0.0.66`)}'`;
  for (let i = 0; i < 5; i++) assert.equal((await new Visitor(guesser).signIn({ ...who, password: `guess number ${i}` })).status, 403);
  assert.equal(db(`SELECT failures FROM tollgate.signin_failures WHERE ${subject}`)[0].failures, 5);
  change(`UPDATE tollgate.signin_failures SET failures = 9, failed_at = now() WHERE ${subject}`); // a wait that a slow machine sees, too
  const r = await new Visitor(guesser).signIn({ ...who, password: 'guess number 9' });
  assert.equal(r.status, 429);
  assert.ok(Number(r.headers['retry-after']) >= 1);
  assert.match(r.text, /Too many tries/);
  assert.equal((await new Visitor(guesser).signIn(who)).status, 429, 'the right password is not even looked at');
  assert.ok(await isIn(await signedIn(who, { address: '127.0.0.67' })), 'the owner, from elsewhere');
  assert.ok(await isIn(await signedIn(makeAccount('viewer', tenant), guesser)), 'a neighbour of the guesser');
  change(`UPDATE tollgate.signin_failures SET failed_at = now() - interval '16 min' WHERE ${subject}`);
  assert.ok(await isIn(await signedIn(who, guesser)), 'after the wait');
});

test('an address that tries many accounts is slowed, and no other address is', async () => {
  const who = makeAccount('viewer', tenant), guesser = { address: '127.0.0.68' };
  assert.equal((await new Visitor(guesser).signIn({ email: 'first@example.org', password: 'a guess of many' })).status, 403);
  change(`UPDATE tollgate.signin_failures SET failures = 110, failed_at = now() WHERE subject = '\\x${hash('address:127.0.0.68')}'`);
  assert.equal((await new Visitor(guesser).signIn({ email: 'next@example.org', password: 'a guess of many' })).status, 429);
  assert.equal((await new Visitor(guesser).signIn(who)).status, 429);
  assert.ok(await isIn(await signedIn(who, { address: '127.0.0.69' })));
  forget();
});
