// tollgate config lighttpd|apache|nginx: what it prints, and what it refuses to print.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { root } from '../lib/stack.mjs';

const dir = mkdtempSync(join(tmpdir(), 'tg-server-conf-'));
after(() => rmSync(dir, { recursive: true, force: true }));

const TCP = 'listen = unix:/run/tollgate/gate.sock, 127.0.0.1:9001';
function print(words, { paths = `share_dir = ${root}`, gate = '', web = '', backends = '' } = {}) {
  const file = join(dir, 'tollgate.conf');
  writeFileSync(file, `[paths]\n${paths}\n[gate]\n${gate}\n[web]\n${web}\n[backends]\n${backends}\n`);
  const r = spawnSync(join(root, 'build/release/tollgate'), ['--config', file, 'config', ...words], { encoding: 'utf8' });
  return { status: r.status, out: r.stdout, err: r.stderr };
}
const all = [['lighttpd'], ['apache', 'server'], ['apache', 'vhost'], ['nginx', 'http'], ['nginx', 'server']];
const fitting = (words) => ({ gate: words[0] === 'nginx' ? 'nginx = true' : words[0] === 'apache' ? TCP : '' });

test('each part says of what it was made and how it is made again, and leaves no slot open', () => {
  for (const words of all) {
    const r = print(words, fitting(words));
    assert.equal(r.status, 0, r.err);
    assert.ok(r.out.startsWith('# Tollgate behind '), words.join(' '));
    assert.ok(r.out.split('\n')[0].includes(`${dir}/tollgate.conf by \`tollgate config ${words.join(' ')}\``), r.out.split('\n')[0]);
    assert.ok(!r.out.includes('{{') && !r.out.includes('}}'), words.join(' '));
    assert.ok(r.out.endsWith('\n') && !r.out.includes('\n\n'), words.join(' '));
  }
});

test('in lighttpd no regular expression decides anything', () => {
  const lines = print(['lighttpd'], { backends: '/api/orders = http://127.0.0.1:9000' }).out.split('\n').filter((l) => !l.startsWith('#'));
  assert.ok(lines.some((l) => l.includes('=^ "/api/orders/"')));
  assert.deepEqual(lines.filter((l) => /[=!]~/.test(l)), []);
});

test('a server without its part, or with one that it has not, is told which there are', () => {
  for (const words of [['apache'], ['nginx'], ['apache', 'http'], ['nginx', 'vhost']]) {
    const r = print(words, fitting(words));
    assert.equal(r.status, 2, words.join(' '));
    assert.match(r.err, new RegExp(`tollgate config ${words[0]} \\w+.* is the part for /etc/`));
    assert.equal(r.out, '');
  }
  assert.match(print(['lighttpd', 'vhost']).err, /lighttpd has one configuration/);
});

test('what a server\'s configuration can\'t carry, or does not fit the server, is refused with what to do', () => {
  const inject = '/run/x.sock"; }';
  for (const [words, settings, says] of [
    [['apache', 'server'], {}, /gate\.listen: Apache asks the gate over TCP only; add an address such as 127\.0\.0\.1:9001/],
    [['nginx', 'http'], {}, /gate\.nginx: nginx needs a gate with nginx = true/],
    [['lighttpd'], { gate: 'nginx = true' }, /gate\.nginx: a gate that serves nginx serves no other/],
    [['apache', 'vhost'], { gate: `${TCP}\nnginx = true` }, /gate\.nginx: a gate that serves nginx/],
    [['lighttpd'], { gate: `listen = unix:${inject}` }, /gate\.listen: a web server's configuration can't carry/],
    [['lighttpd'], { web: `listen = unix:${inject}` }, /web\.listen: a web server's configuration can't carry/],
    [['nginx', 'http'], { gate: 'nginx = true', web: 'pages_listen = unix:/run/$host.sock' }, /web\.pages_listen: a web server's/],
    [['apache', 'server'], { gate: 'listen = 127.0.0.1:9001/x' }, /gate\.listen: a web server's configuration can't carry/],
    [['lighttpd'], { web: 'trusted_proxies = 10.0.0.1, nobody' }, /web\.trusted_proxies: "nobody" is not an address/],
    [['lighttpd'], { web: 'trusted_proxies = 10.0.0.0/33' }, /web\.trusted_proxies: "10\.0\.0\.0\/33" is not an address/],
    [['lighttpd'], { paths: 'share_dir = /usr/share/"x' }, /paths\.share_dir: a web server's configuration can't carry/],
    [['lighttpd'], { paths: 'share_dir = share' }, /paths\.share_dir: a web server's configuration can't carry/],
    [['lighttpd'], { paths: 'share_dir = /nonexistent' }, /the template \/nonexistent\/lighttpd-conf\/.* can't be read; see paths\.share_dir/],
    [['lighttpd'], { backends: '/api/x = http://127.0.0.1:9000;' }, /backends\./],
  ]) {
    const r = print(words, settings);
    assert.notEqual(r.status, 0, `${words} ${JSON.stringify(settings)}`);
    assert.match(r.err, says);
    assert.equal(r.out, '');
  }
});

test('every server starts with what is printed for it', () => {
  const settings = (words) => ({ ...fitting(words), web: 'trusted_proxies = 10.0.0.1, 10.1.0.0/16, ::1',
    backends: '/api = http://127.0.0.1:9000\n/api/a = http:unix:/run/a b/x.sock\n/api/b = fastcgi://[::1]:9001\n/api/c = fastcgi:unix:/run/c.sock' });
  const one = print(['lighttpd'], settings(['lighttpd'])).out, file = join(dir, 'server.conf');
  writeFileSync(file, `server.document-root = "${dir}"\nserver.modules = ( "mod_access" )\n${one}`);
  const light = spawnSync('/usr/sbin/lighttpd', ['-tt', '-f', file], { encoding: 'utf8' });
  assert.equal(light.status, 0, light.stderr);
  writeFileSync(file, `pid ${dir}/pid;\nerror_log ${dir}/log;\nevents { }\nhttp { access_log off;\n${print(['nginx', 'http'], settings(['nginx'])).out}\n`
    + `server { listen 127.0.0.1:1;\n${print(['nginx', 'server'], settings(['nginx'])).out} } }\n`);
  const ng = spawnSync('/usr/sbin/nginx', ['-t', '-e', join(dir, 'log'), '-c', file], { encoding: 'utf8' });
  assert.equal(ng.status, 0, ng.stderr);
  const modules = ['mpm_event', 'authn_core', 'authz_core', 'authz_user', 'authnz_fcgi', 'proxy', 'proxy_fcgi', 'proxy_http', 'headers', 'lua', 'rewrite', 'alias',
    'mime', 'remoteip', 'reqtimeout', 'setenvif'];
  const apache = (left) => {
    writeFileSync(file, `ServerRoot "${dir}"\nServerName x\nPidFile "${dir}/pid"\nErrorLog "${dir}/log"\nListen 127.0.0.1:1\nTypesConfig /etc/mime.types\n`
      + modules.filter((m) => m !== left).map((m) => `LoadModule ${m}_module /usr/lib/apache2/modules/mod_${m}.so\n`).join('')
      + `${print(['apache', 'server'], settings(['apache'])).out}<VirtualHost *>\n${print(['apache', 'vhost'], settings(['apache'])).out}</VirtualHost>\n`);
    return spawnSync('/usr/sbin/apache2', ['-t', '-f', file], { encoding: 'utf8' });
  };
  const whole = apache();
  assert.equal(whole.status, 0, whole.stderr);
  for (const left of ['lua', 'headers', 'remoteip', 'proxy_http', 'authnz_fcgi'])
    assert.match(apache(left).stderr, new RegExp(`Tollgate needs Apache's module ${left}: a2enmod ${left}`));
});
