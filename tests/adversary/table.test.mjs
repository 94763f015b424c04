// The adversary's table (table.mjs), row by row behind the real server: what a back end hears, who it is told calls, what is counted.
// The generated configuration, the stack's own gate, an HTTP and a FastCGI back end that keep every byte. Counts are looked up after each
// row in the gate's memory, and at the end in the database.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { connect } from 'node:net';
import { after, before, test } from 'node:test';
import { makeFront } from '../lib/front.mjs';
import { hearingFcgi, hearingHttp } from '../lib/hearing.mjs';
import { makeKey, makeTenant, removeTenant, revokeKey } from '../lib/keys.mjs';
import { eventually } from '../lib/stack.mjs';
import { table } from './table.mjs';

const { SERVER: server, OPERATOR_KEY: operator, TOLLGATE: program, URL: url } = process.env;
const psql = (query) => execFileSync('psql', ['-XqAt', '-v', 'ON_ERROR_STOP=1', '-c', query], { encoding: 'utf8' });

const who = { tenant: makeTenant(), victim: makeTenant(), suspended: makeTenant(), exhausted: makeTenant() };
psql(`UPDATE tollgate.tenant_settings SET state = 'suspended' WHERE tenant_id = '${who.suspended}';
  SELECT tollgate.set_subscription('${who.exhausted}', (SELECT id FROM subscription_tiers ORDER BY id LIMIT 1), '{"api_calls_per_day":0}')`);
const all = ['call', 'track', 'read', 'admin'];
const keys = { operator, unknown: `tg_aaaaaaaa_${'a'.repeat(43)}`, none: null, revoked: makeKey(who.tenant, all),
  expired: makeKey(who.tenant, all, { expires: '2020-01-01' }), reader: makeKey(who.tenant, ['track', 'read', 'admin']),
  operatorReader: makeKey(null, ['track', 'read', 'admin']),
  ...Object.fromEntries(Object.entries(who).map(([name, id]) => [name, makeKey(id, all)])) };
revokeKey(keys.revoked);

const backends = { http: await hearingHttp(), fcgi: await hearingFcgi() };
const edit = (conf) => conf.replace(/^\[backends\]$/m,
  `[backends]\n/api/http = http://127.0.0.1:${backends.http.port}\n/api/fcgi = fastcgi://127.0.0.1:${backends.fcgi.port}`);
const front = makeFront({ server, program, edit }), whole = makeFront({ server, program, edit });
const running = await front.start();
// The same with the HTTP back end set up for the whole host: what passes with a key is not to be had without one there either.
const everything = await whole.start({
  lighttpd: { behind: `proxy.server = ( "" => (( "host" => "127.0.0.1", "port" => ${backends.http.port} )) )` },
  apache: { before: `ProxyPass "/" "http://127.0.0.1:${backends.http.port}/"` },
  nginx: { behind: `location ~ . { proxy_pass http://127.0.0.1:${backends.http.port}; }` },
}[server]);
after(async () => {
  await everything.stop();
  await running.stop();
  for (const f of [front, whole]) f.remove();
  for (const b of Object.values(backends)) b.close();
  for (const id of Object.values(who)) removeTenant(id);
});

const check = async (tenant, key) => {
  const r = await fetch(`${url}/api/usage/tenant/${tenant}/check?metric=api_call&amount=0`, { headers: { authorization: `Bearer ${key}` } });
  return { status: r.status, ...(await r.json()) };
};
const usage = async (whose) => (await check(who[whose], whose === 'tenant' ? keys.reader : keys.victim)).usage;
before(() => eventually(async () => {
  for (const [name, key] of [['suspended', keys.suspended], ['exhausted', keys.exhausted]]) {
    if ((await check(who[name], key)).allowed !== false) return false;
  }
  if (await usage('tenant') !== 0 || await usage('victim') !== 0) return false;
  return (await check(who.tenant, keys.operatorReader)).status === 200 && (await check(who.tenant, keys.revoked)).status === 401
    && (await check(who.tenant, keys.expired)).status === 401;
}, 'the keys and tenants of the table at the gate', 20));

// ---- what is sent ----

function fill(text, kind, mark) {
  const small = { b: `/api/${kind}`, rest: `/${kind}`, m: mark, key: keys.tenant, KEY: keys.tenant.toUpperCase(), short: keys.tenant.slice(0, -1),
    id: keys.tenant.slice(3, 11), basic: Buffer.from(`${keys.tenant}:`).toString('base64'),
    password: Buffer.from(`x:${keys.tenant}`).toString('base64'), ...who };
  return Object.entries(small).reduce((t, [name, value]) => t.replaceAll(`{${name}}`, value), text);
}

// The bytes of a row; `key` is the key that it has by default, null: none.
function bytesOf(row, kind, mark, key) {
  const line = key ? `Authorization: Bearer ${key}` : 'X-Without: a key';
  const text = row.raw ? row.raw.replaceAll('{auth}', line) : [`${row.method ?? 'GET'} ${row.target} ${row.version ?? 'HTTP/1.1'}`, 'Host: 127.0.0.1',
    ...(row.connection ?? ['close']).map((c) => `Connection: ${c}`), `X-Row: ${mark}`, line, ...(row.headers ?? []), '', row.body ?? ''].join('\r\n');
  const whole = fill(text, kind, mark), split = whole.indexOf('\r\n\r\n') + 4;
  const inner = whole.indexOf(`GET /api/${kind}/${mark}-smuggled`, split), length = inner < 0 ? 0 : whole.indexOf('\r\n\r\n', inner) + 4 - inner;
  return Buffer.from(whole.replaceAll('{s}', String(length + (row.before ?? 0))).replaceAll('{x}', length.toString(16)), 'latin1');
}

// All that comes back until the server closes. One that keeps the connection open has a quarter of a second after its answer, and
// a server that waits for more a second and a half.
function exchange(port, bytes, waits) {
  const closes = !waits && /connection: [^\r\n]*close/i.test(bytes.toString('latin1'));
  return new Promise((done) => {
    const socket = connect(port, '127.0.0.1');
    let text = '', timer = setTimeout(() => socket.destroy(), waits ?? (closes ? 5000 : 1500));
    socket.on('data', (b) => {
      text += b.toString('latin1');
      if (closes) return;
      clearTimeout(timer);
      timer = setTimeout(() => socket.destroy(), 250);
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      clearTimeout(timer);
      done(text);
    });
    socket.write(bytes);
  });
}

// ---- what came of it ----

const plain = (name) => name.toLowerCase().replace(/[^a-z0-9]/g, '-');

// Who calls, and through whom, is what the gate and the server say, whatever the client sent.
function told(heard, kind, as) {
  const of = (name) => heard.headers.filter(([n]) => plain(n) === name).map(([, v]) => v);
  assert.deepEqual(heard.problems, []);
  assert.deepEqual(of('x-tenant-id'), as === 'nobody' ? [] : [who[as]]);
  assert.deepEqual(of('x-tollgate-remaining'), as === 'nobody' ? [] : ['unlimited']);
  assert.equal(of('x-tollgate-tier').length, as === 'nobody' ? 0 : 1);
  assert.deepEqual(of('x-forwarded-for'), ['127.0.0.1']);
  assert.deepEqual(of('x-forwarded-proto'), ['http']);
  for (const [name, value] of heard.headers) {
    if (/^(x-tenant-id$|x-tollgate-|x-forwarded-|forwarded$)/.test(plain(name))) assert.ok(!value.includes('forged') && !value.includes(who.victim) || (as === 'victim' && value === who.victim), `${name}: ${value}`);
    if (plain(name).startsWith('x-tollgate-')) assert.ok(['x-tollgate-tier', 'x-tollgate-remaining'].includes(plain(name)), name);
  }
  if (kind !== 'fcgi') return;
  for (const [name, value] of heard.params) {
    assert.notEqual(name, 'HTTP_PROXY');
    if (!name.startsWith('HTTP_') && /TOLLGATE|USER|TENANT|REMOTE/.test(name)) assert.ok(!value.includes('forged'), `${name}: ${value}`);
  }
}

// A target's path with its dots, slashes and percent signs resolved.
function resolved(target) {
  const path = target.replace(/^https?:\/\/[^/]*/i, '').split(/[?#]/)[0].replace(/%([0-9a-f]{2})/gi, (_, hex) => String.fromCharCode(parseInt(hex, 16)));
  const segments = [];
  for (const s of path.split(/\/+/)) {
    if (s === '..') segments.pop();
    else if (s !== '.') segments.push(s);
  }
  if (/\/\.{1,2}$/.test(path)) segments.push('');
  return segments.join('/');
}

const silent = []; // {mark, backend}: nobody hears of these, at the end either
const marked = new Map(); // by mark, of each tenant how many calls are recorded
const stated = { tenant: 0, victim: 0 }; // the sum of what the rows say
const used = { tenant: 0, victim: 0 }; // as of the last row that was looked at

async function one(row, expected, kind, mark, key, { port } = running) {
  const backend = backends[kind], at = { heard: Object.values(backends).map((b) => b.heard.length), bytes: backends.http.bytes.length + backends.fcgi.bytes.length };
  const bytes = bytesOf(row, kind, mark, key);
  const text = await exchange(port, bytes, row.waits);
  const statuses = [...text.matchAll(/HTTP\/1\.[01] ([2-5]\d\d) /g)].map((m) => Number(m[1]));
  const seen = `${JSON.stringify(bytes.toString('latin1').slice(0, 300))}\n→ ${JSON.stringify(text.slice(0, 300))}`;
  const arrived = Object.values(backends).flatMap((b, i) => b.heard.slice(at.heard[i]));
  if (expected.begun) {
    assert.equal(arrived.length, 0, seen);
    assert.ok(backend.bytes.includes(mark) && backend.bytes.includes(who[expected.as]), seen);
  } else if (expected.hears === 0) {
    silent.push({ mark, backend });
    assert.equal(backends.http.bytes.length + backends.fcgi.bytes.length - at.bytes, 0, `a back end heard ${JSON.stringify(arrived)} of ${seen}`);
    assert.ok(!text.includes('HEARD'), seen);
  } else {
    assert.equal(arrived.length, expected.hears, `a back end heard ${JSON.stringify(arrived)} of ${seen}`);
    assert.equal(backend.heard.length - at.heard[Object.keys(backends).indexOf(kind)], expected.hears, 'the other back end heard of it');
    for (const h of arrived) {
      told(h, kind, expected.as);
      assert.ok(!h.target.includes('smuggled'), h.target);
      assert.ok(row.raw || h.headers.some(([n, v]) => n === 'x-row' && v === mark), seen);
    }
  }
  if (expected.status) assert.ok(expected.status.includes(statuses[0]), seen);
  else if (expected.hears === 0 && !expected.anybody) assert.ok(statuses.every((s) => s >= 400), seen);
  return { seen, arrived };
}

const expectations = (row, kind) => ({ hears: row.hears, as: row.as, counts: row.counts, status: row.status, ...row[kind], ...row[server], ...row[`${server}-${kind}`] });
function sentence(e) {
  const heard = e.hears === 0 ? 'no back end hears of it' : `the back end hears of ${e.hears === 1 ? 'it' : `${e.hears} calls`} from ${e.as === 'tenant' ? 'the tenant' : e.as === 'victim' ? 'the tenant that is named' : 'nobody it could name'}`;
  return `${heard}, ${e.counts === 0 ? 'and nothing is counted' : e.counts === 1 ? 'and it counts' : `and ${e.counts} are counted`}`;
}

let number = 0;
for (const [group, rows] of Object.entries(table)) {
  for (const kind of Object.keys(backends)) {
    test(`${server}, ${kind === 'http' ? 'an HTTP' : 'a FastCGI'} back end: ${group}`, async (t) => {
      for (const row of rows) {
        if (row.only && row.only !== kind) continue;
        const e = expectations(row, kind), mark = `r${String(++number).padStart(4, '0')}${kind}`;
        await t.test(`${row.name}: ${sentence(e)}`, async () => {
          if (!row.key) await one(row, { hears: 0, anybody: e.status?.some((s) => s < 400) }, kind, `${mark}n`, null);
          if (!row.key && e.counts > 0) await one(row, { hears: 0, anybody: true }, kind, `${mark}e`, null, everything);
          const whose = e.as === 'victim' ? 'victim' : 'tenant', was = used[whose];
          stated[whose] += e.counts;
          try {
            const { seen, arrived } = await one(row, e, kind, `${mark}k`, keys[row.key ?? 'tenant']);
            used[whose] = await usage(whose);
            assert.equal(used[whose] - was, e.counts, `what is counted of ${seen}`);
            if (fill(row.raw ?? row.target, kind, mark).split('?')[0].includes(mark)) marked.set(`${mark}k`, { counts: { [who[whose]]: e.counts }, arrived });
          } catch (failed) {
            used[whose] = await usage(whose);
            throw failed;
          }
        });
      }
    });
  }
}

test(`${server}: what no back end hears of, none has heard of later`, () => {
  for (const { mark } of silent) for (const b of Object.values(backends)) assert.ok(!b.bytes.includes(mark), mark);
});

test(`${server}: the database has each call that counts, for the tenant that made it, and no other`, async () => {
  const ids = Object.values(who).map((id) => `'${id}'`).join();
  const rows = () => JSON.parse(psql(`SELECT coalesce(json_agg(r), '[]') FROM (SELECT tenant_id AS tenant, metadata->>'endpoint' AS endpoint
    FROM usage_tracking WHERE tenant_id IN (${ids}) AND metric_type = 'api_call') AS r`));
  for (const whose of Object.keys(used)) used[whose] = await usage(whose);
  assert.deepEqual(used, stated);
  const total = used.tenant + used.victim;
  await eventually(() => rows().length >= total, () => `${total} calls in the database, of which there are ${rows().length}`, 20);
  const stored = rows();
  assert.equal(stored.length, total);
  assert.ok(marked.size > 100);
  let compared = 0;
  for (const [mark, { counts, arrived }] of marked) {
    const of = {}, calls = stored.filter((x) => x.endpoint.includes(mark));
    for (const r of calls) of[r.tenant] = (of[r.tenant] ?? 0) + 1;
    assert.deepEqual(of, Object.fromEntries(Object.entries(counts).filter(([, n]) => n > 0)), mark);
    if (calls.length === 0 || arrived.length !== calls.length) continue;
    // the path that counts is the one that the back end is asked for; bytes beyond ASCII are kept otherwise in JSON
    const heard = arrived.map((h) => resolved(h.target)).sort(), counted = calls.map((r) => r.endpoint).sort();
    if ([...heard, ...counted].some((path) => /[^ -~]/.test(path) || path.length > 500)) continue;
    assert.deepEqual(heard, counted);
    compared++;
  }
  assert.ok(compared > 100, `only ${compared} paths were compared`);
});
