// Every ```sh block of the README and docs/ is run, in order, against a running demo; the words around it say what it needs.
// Blocks marked sh-demo start a demo of their own (tests/run does), sh-root install on the machine (make install DESTDIR= is tried).
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { root } from '../lib/stack.mjs';

// What differs from run to run in an answer that is shown: numbers, times, ids.
const shape = (text) => text.replaceAll('\r', '').replace(/\d{4}-\d\d-\d\dT[\d:]+([+-]\d\d:\d\d|Z)/g, 'TIME').replace(/\d+(,\d{3})*/g, 'N');
const files = ['README.md', ...readdirSync(join(root, 'docs')).filter((f) => f.endsWith('.md')).map((f) => `docs/${f}`)];
for (const file of files) {
  const text = readFileSync(join(root, file), 'utf8');
  for (const found of text.matchAll(/^```sh\n([\s\S]*?)^```/gm)) {
    const [, block] = found;
    // The API's examples answer JSON: an object with the member that is named first behind the block.
    const behind = text.slice(found.index + found[0].length).split('```sh')[0];
    const member = file === 'docs/api.md' ? /\{"(\w+)":/.exec(behind)?.[1] : undefined;
    // An answer that is shown behind the block: its first line word for word, each other one but for what differs.
    const shown = /^\s*```http\n([\s\S]*?)\n```/.exec(behind)?.[1].replace(/\n\s+/g, '').split('\n');
    if (/^make (run|test)\b/m.test(block)) continue; // the two commands: tests/run, and this very run
    test(`${file}: ${block.trim().split('\n')[0]}`, () => {
      const script = block.replaceAll('. var/demo.env', '. "$STATE/demo.env"');
      const r = spawnSync('bash', ['-euo', 'pipefail', '-c', script], { cwd: root, encoding: 'utf8', timeout: 180000, env: process.env });
      assert.equal(r.status, 0, `${script}\n${r.stdout}\n${r.stderr}`);
      if (shown) assert.ok(r.stdout.includes(`${shown[0]}\r\n`), r.stdout);
      for (const line of shown ?? []) assert.ok(shape(r.stdout).includes(shape(line)), `${line} in ${r.stdout}`);
      if (member) assert.ok(member in JSON.parse(r.stdout), `${member} in ${r.stdout}`);
    });
  }
  test(`${file}: what it links to is there`, () => {
    for (const [, target] of text.matchAll(/\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)/g))
      assert.ok(existsSync(join(root, file, '..', target)), target);
  });
}

test('make install puts programs, templates, schema, confs and units into DESTDIR', () => {
  const dir = mkdtempSync(join(tmpdir(), 'tg-install-'));
  const r = spawnSync('make', ['-s', 'install', `DESTDIR=${dir}`, 'PREFIX=/usr'], { cwd: root, encoding: 'utf8', timeout: 120000 });
  assert.equal(r.status, 0, r.stderr);
  const found = spawnSync('find', ['.', '-type', 'f'], { cwd: dir, encoding: 'utf8' }).stdout.split('\n').map((name) => name.slice(1));
  const conf = (folder) => readdirSync(join(root, folder)).map((name) => `/usr/share/tollgate/${folder}/${name}`);
  for (const name of ['/usr/bin/tollgate', '/usr/sbin/tollgate-gate', '/usr/sbin/tollgate-web', '/usr/sbin/tollgate-collector',
    '/etc/tollgate/tollgate.conf', '/usr/lib/sysusers.d/tollgate.conf', '/usr/share/tollgate/sql/roles.sql', '/usr/share/tollgate/sql/schema/001_schema.sql',
    '/usr/share/tollgate/htdocs/tollgate.css', '/usr/share/tollgate/templates/overview.tpl',
    '/usr/lib/tmpfiles.d/tollgate.conf', '/usr/share/man/man1/tollgate.1', '/usr/share/bash-completion/completions/tollgate', '/usr/share/man/man5/tollgate.conf.5', '/usr/share/man/man8/tollgate-gate.8',
    ...['collector.service', 'gate.service', 'gate.socket', 'gate-tcp.socket', 'web.service', 'web.socket'].map((unit) => `/usr/lib/systemd/system/tollgate-${unit}`),
    ...conf('apache-conf'), ...conf('lighttpd-conf'), ...conf('nginx-conf')]) assert.ok(found.includes(name), name);
  for (const unit of ['collector', 'gate', 'web']) {
    const [, started, path] = /^ExecStart=(\S+) --config (\S+)$/m.exec(readFileSync(join(dir, `usr/lib/systemd/system/tollgate-${unit}.service`), 'utf8'));
    assert.ok(found.includes(started) && found.includes(path), unit);
    // each takes the --config that its unit gives
    const r = spawnSync(join(dir, started), ['--config', '/nonexistent/tollgate.conf'], { encoding: 'utf8', timeout: 10000 });
    assert.match(r.stderr, /\/nonexistent\/tollgate\.conf/, unit);
  }
  // what the docs name below /usr/share/tollgate is there
  for (const file of files) {
    for (const [, name] of readFileSync(join(root, file), 'utf8').matchAll(/(\/usr\/share\/tollgate\/[\w./-]+\.(?:conf|sql))/g))
      assert.ok(found.includes(name), `${file}: ${name}`);
  }
  const gone = spawnSync('make', ['-s', 'uninstall', `DESTDIR=${dir}`, 'PREFIX=/usr'], { cwd: root, encoding: 'utf8', timeout: 120000 });
  assert.match(gone.stdout, /Left as they are: \/etc\/tollgate/);
  assert.deepEqual(spawnSync('find', ['.', '-type', 'f'], { cwd: dir, encoding: 'utf8' }).stdout.trim(), './etc/tollgate/tollgate.conf');
  rmSync(dir, { recursive: true });
});
