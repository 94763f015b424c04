// docs/hosting.md followed to the letter on a stock Debian 12, from the package and from the source, behind the three servers in
// turn: its own commands, in its order, by one shell of root's. Then an upgrade over an older package, and what a purge leaves.
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Machine, debianRoot, removeFolders } from './machine.mjs';
import { marked, take, under, unused } from './hosting.mjs';
import { root } from '../lib/stack.mjs';

const servers = ['lighttpd', 'apache', 'nginx'];
const here = '/root/tollgate'; // the source folder
const OLDER = '0.0.9';
const machines = [];
let debian;

function machine(name, ...lower) {
  const m = new Machine(name, ...lower, debian);
  machines.push(m);
  return m;
}
async function stopAll() {
  for (const m of machines) await m.stop();
}
before(() => {
  removeFolders();
  debian = debianRoot();
});
after(async () => {
  await stopAll();
  removeFolders();
});

// Runs blocks in one shell, as somebody who pastes them; → what each of them printed.
function follow(m, blocks) {
  const mark = '--- the next block';
  return m.must(blocks.join(`\necho '${mark}'\n`), { cwd: here, timeout: 1500000 }).split(`${mark}\n`);
}

// The document's way from `apt` to running programs.
const database = {
  setup: () => take((b) => b.chapter === 'The database' && b.section === undefined && b.way === ''),
  'by-hand': () => [under('The database')[0], ...marked('by-hand')],
};
const standIn = () => under('Starting it').slice(1); // of the back end

// From a running machine's server to a dashboard, by the document's commands.
function serve(m, server) {
  follow(m, under(server === 'apache' ? 'Apache' : server));
  const [first, limited, dashboard, doctor] = follow(m, under('The first call'));
  assert.match(first, /^HTTP\/1\.1 200/m, 'the first call');
  assert.match(first, /\{"order": 17\}/, 'the back end answers it');
  const statuses = [...limited.matchAll(/(?:^|\})(\d{3})$/gm)].map(([, status]) => status);
  assert.deepEqual(statuses, ['200', '200', '429', '429', '401'], `a limit of 3, of which one is used, then no key: ${limited}`);
  assert.match(limited, /^HTTP\/1\.1 429/m, 'and the whole refusal is shown');
  assert.match(dashboard, /^303\n<h1>[^<]+<\/h1>\n/m, `the sign-in, and the tenant's dashboard: ${dashboard}`);
  assert.doesNotMatch(doctor, /WRONG/);
  assert.match(doctor, /^OK /m);
  assert.doesNotMatch(m.must('cat /var/log/units/tollgate-*.log'), /can't be measured/, 'the storage folder is there');
}

function files(m) {
  const apart = ['/proc', '/sys', '/run', '/dev', '/tmp', '/var/tmp', '/root', '/srv', '/var/log', '/var/cache', '/var/lib/apt', '/var/lib/dpkg',
    '/var/lib/postgresql'];
  return m.must(`find / -xdev \\( ${apart.map((path) => `-path ${path}`).join(' -o ')} \\) -prune -o -print`).trim().split('\n').sort();
}

test('the package is built in the source folder, and lintian has no errors', { timeout: 1800000 }, async () => {
  const m = machine('build');
  m.placeSource(here);
  await m.boot();
  follow(m, marked('build'));
  m.must(`cd ${here} && lintian --allow-root --fail-on error build/deb/*.changes`);
  // The older one has another sample of the configuration, other SQL and another layout of the limit table, as an older version would.
  m.must(`cp -R ${here} /root/older && cd /root/older && rm -rf build
    version=$(sed -n 's/^VERSION := //p' Makefile)
    sed -i "s/$version/${OLDER}/" Makefile debian/changelog CHANGELOG.md
    sed -i '1i # A comment of an older version.' conf/tollgate.conf
    echo '-- as it was' >>sql/functions/operator.sql
    sed -i 's/define LIMIT_TABLE_VERSION [0-9]*/define LIMIT_TABLE_VERSION 9/' lib/meter/limit_table/limit_table.h
    make -s deb`, { timeout: 1500000 });
  await m.stop();
});

const built = (folder) => {
  const dir = join(machines.find((m) => m.name === 'build').layer, folder, 'build/deb');
  return join(dir, readdirSync(dir).find((name) => /^tollgate_.*\.deb$/.test(name)));
};
const placePackage = (m, folder) => m.place(built(folder), `${here}/build/deb/${built(folder).split('/').pop()}`);

for (const [way, login] of [['package', 'setup'], ['source', 'by-hand']]) {
  test(`from the ${way}, the database by ${login}: programs that run`, { timeout: 1800000 }, async () => {
    const m = machine(way);
    if (way === 'source') m.placeSource(here);
    else placePackage(m, here);
    await m.boot();
    follow(m, [...under(way === 'source' ? 'From the source' : 'From the package', way), ...database[login](), under('Starting it')[0]]);
    m.must('systemctl is-active tollgate-collector tollgate-gate.socket tollgate-web.socket');
    await m.stop();
  });
  for (const server of servers)
    test(`from the ${way}, behind ${server}, after a reboot: 200, 429, the dashboard, a well doctor`, { timeout: 1800000 }, async () => {
      const m = machine(`${way}-${server}`, machines.find((made) => made.name === way).layer);
      await m.boot();
      m.must('systemctl is-active tollgate-collector postgresql@15-main');
      follow(m, standIn());
      serve(m, server);
      if (way === 'source') {
        if (server === 'lighttpd') {
          follow(m, [...marked('upgrade-source'), ...marked('upgrade')]);
          // The programs were started again a moment ago: the collector takes a second to fill the limit table.
          assert.doesNotMatch(m.must('for i in $(seq 40); do tollgate doctor >/dev/null && break; sleep 0.5; done; tollgate doctor'), /WRONG/);
        }
        follow(m, [...marked(`remove-${server}`), ...marked('remove-source')]);
        assert.deepEqual(files(m).filter((path) => /tollgate/.test(path)), [], 'what is left');
        m.must(`systemctl is-active ${server === 'apache' ? 'apache2' : server}`);
      }
      await m.stop();
    });
}

test('an upgrade over an older package loses nothing and refuses nobody; a purge leaves nothing but the database', { timeout: 1800000 }, async () => {
  const m = machine('upgrade');
  placePackage(m, '/root/older');
  await m.boot();
  const all = [...database.setup(), ...under('Starting it'), ...under('lighttpd'), ...under('The first call')].join('\n');
  m.must(all.split('\n').filter((line) => line.startsWith('apt-get install')).join('\n'));
  const at_first = files(m);
  follow(m, [...under('From the package', 'package'), ...database.setup(), ...under('Starting it'), ...under('lighttpd'),
    under('The first call')[0]]);
  assert.match(m.must('tollgate --version'), new RegExp(OLDER.replaceAll('.', '\\.')));

  // One who calls all the time; the sockets stay, and calls wait in them.
  m.must(`tollgate tier change starter api_calls_per_day=-1
    cat >/root/caller <<'CALLER'
KEY=$(awk '$1 == "key" { print $2 }' /root/tollgate-first)
while [ ! -e /root/enough ]; do
  curl -s -m 60 -o /dev/null -w '%{http_code}\\n' -H "Authorization: Bearer $KEY" http://127.0.0.1/api/orders/17 || echo "curl $?"
done >/root/answers
mv /root/answers /root/answered
CALLER
    setsid sh /root/caller </dev/null >/dev/null 2>&1 &
    curl -s -o /dev/null http://127.0.0.1/sign-in # starts tollgate-web
    sleep 2`);
  const running = () => m.must("ps -eo pid=,args= | grep '[/]usr/sbin/tollgate-'").trim().split('\n').map((line) => line.trim());
  const older = running();
  m.must(`rm ${here}/build/deb/*`);
  m.must(`cat >${here}/build/deb/${built(here).split('/').pop()}`, { input: readFileSync(built(here)) });
  const placed = follow(m, marked('upgrade-package'));
  const gates = (lines) => lines.filter((line) => /tollgate-gate/.test(line));
  assert.deepEqual(gates(running()), gates(older), 'the older gate goes on, because the new one has no limit table yet');
  m.must('sleep 2');
  follow(m, marked('upgrade'));
  m.must('sleep 2; touch /root/enough; for i in $(seq 100); do [ ! -e /root/answered ] || break; sleep 0.2; done');
  const answers = m.must('cat /root/answered').trim().split('\n');
  assert.deepEqual(answers.filter((status) => status !== '200'), [], `of ${answers.length} calls`);
  assert.ok(answers.length > 20, `${answers.length} calls while it was upgraded`);
  assert.doesNotMatch(m.must('tollgate --version'), new RegExp(OLDER.replaceAll('.', '\\.')));
  assert.deepEqual(running().filter((line) => older.includes(line)), [], `the older programs are gone: ${placed.join('')}`);
  m.must('systemctl is-active tollgate-collector tollgate-gate tollgate-web tollgate-gate.socket tollgate-web.socket');
  assert.equal(m.run('systemctl is-active tollgate-gate-tcp.socket').stdout.trim(), 'inactive', 'what was never started is not started');
  m.must('test -e /etc/tollgate/tollgate.conf.dpkg-dist && grep -q 127.0.0.1:9000 /etc/tollgate/tollgate.conf');
  assert.doesNotMatch(m.must('tollgate doctor'), /WRONG/);

  const calls = () => Number(m.must(`cd / && runuser -u postgres -- psql -XAtc "SELECT count(*) FROM usage_tracking WHERE metric_type = 'api_call'" tollgate`));
  for (let i = 0; i < 50 && calls() < answers.length + 1; i++) m.must('sleep 0.2');
  assert.equal(calls(), answers.length + 1, 'every call that was answered is stored, and the first call before them');

  follow(m, [...marked('remove-lighttpd'), ...marked('remove-package')]);
  const left = files(m).filter((path) => !at_first.includes(path));
  assert.deepEqual(left, [], 'files that were not there before');
  assert.equal(m.run('dpkg-query -W tollgate').status, 1, 'dpkg knows no such package');
  assert.equal(calls(), answers.length + 1, 'the database is left');
  m.must('systemctl is-active lighttpd && curl -s -o /dev/null http://127.0.0.1/');
  await m.stop();
});

test('every block of the document that is marked sh-root was run', () => {
  assert.deepEqual(unused(), []);
});
